import { useId, useState, type JSX, type ReactNode } from 'react';
import type { ConsoleClient, Which } from '../../api/console.js';
import type { Erasure, Shred } from '../../api/types/twoPeople.js';
import { Await, Button, Empty, Facts, Moment, ProblemView, StateBadge } from '../basics.js';
import { useAction, useLoad } from '../hooks.js';
import { Page, WhichPicker } from './Page.js';
import { href } from './route.js';
import { VerdictForm } from './VerdictForm.js';

/** Characters of a reason, as the services take them. */
const WHY = { shred: [10, 500], erase: [1, 2000] } as const;

/** Destroying data by its keys: what was asked for, who agreed, and the proof that it is gone. */
export function ShreddingsPage({
  client,
  version
}: {
  readonly client: ConsoleClient;
  /** What to ask for, where somebody came here from its page: `namespace/name@3`. */
  readonly version: string | null;
}): JSX.Element {
  const [which, setWhich] = useState<Which>('open');
  const loaded = useLoad(() => client.shreds(), 'shreddings');
  return (
    <Page
      title="Shreddings"
      intro="Data made unreadable for good: the vault removes its keys. Two people decide. Backups of wrapped keys open until the operator destroys the old generation of the master key."
      actions={<WhichPicker value={which} pick={setWhich} />}
    >
      <Await loaded={loaded} what="shreddings">
        {all => (
          <Cases
            all={all.filter(one => which === 'all' || one.state === 'open' || one.state === 'approved')}
            none={which === 'all' ? 'Nothing was ever asked to be shredded.' : 'No shredding waits for a decision.'}
            show={shred => <ShredCase key={shred.id} shred={shred} client={client} decided={loaded.reload} />}
          />
        )}
      </Await>
      <AskToShred client={client} version={version} done={loaded.reload} />
    </Page>
  );
}

/** Erasing what one person typed: what was asked for, who agreed, and the entry that says it was done. */
export function ErasuresPage({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const [which, setWhich] = useState<Which>('open');
  const loaded = useLoad(() => client.erasures(), 'erasures');
  return (
    <Page
      title="Erasures"
      intro="The key to all that one person typed in the log is deleted; entries stay, and the log verifies as before. Two people decide, neither of them that person. Backups, and what requests and exports say, are not reached."
      actions={<WhichPicker value={which} pick={setWhich} />}
    >
      <Await loaded={loaded} what="erasures">
        {({ setting, erasures }) => (
          <>
            {setting === 'off' && (
              <p className="sr-Note">
                This instance keeps what people typed as long as the log. To allow erasing, the operator sets{' '}
                <code>erasure = &quot;two-person&quot;</code> in the table <code>[audit]</code> of instance.toml.
              </p>
            )}
            {(setting !== 'off' || erasures.length > 0) && (
              <Cases
                all={erasures.filter(one => which === 'all' || one.state === 'open')}
                none={which === 'all' ? 'Nothing was ever asked to be erased.' : 'No erasure waits for a decision.'}
                show={erasure => <ErasureCase key={erasure.id} erasure={erasure} client={client} decided={loaded.reload} />}
              />
            )}
            {setting !== 'off' && <AskToErase client={client} done={loaded.reload} />}
          </>
        )}
      </Await>
    </Page>
  );
}

export function Cases<T>({
  all,
  none,
  show
}: {
  readonly all: readonly T[];
  readonly none: string;
  readonly show: (one: T) => JSX.Element;
}): JSX.Element {
  return all.length === 0 ? <Empty>{none}</Empty> : <>{all.map(show)}</>;
}

function ShredCase({
  shred,
  client,
  decided
}: {
  readonly shred: Shred;
  readonly client: ConsoleClient;
  readonly decided: () => void;
}): JSX.Element {
  const what = `${shred.columns === null ? 'everything' : shred.columns.join(', ')} of ${shred.dataset}@${shred.version}`;
  return (
    <Case
      one={shred}
      title={
        <>
          <code>
            {shred.dataset}@{shred.version}
          </code>
          : {shred.columns === null ? 'everything' : shred.columns.join(', ')}
        </>
      }
      doneAt={shred.done_entry}
      more={[
        ['Keys removed', shred.proof?.removed.join(', ')],
        [
          'The vault’s order',
          shred.proof === null ? null : (
            <span key="order">
              SHA-256 <code>{shred.proof.order}</code>; <code>strongroom dataset verify</code> fails where a key that it names
              lies there again
            </span>
          )
        ]
      ]}
    >
      {(shred.state === 'open' || shred.state === 'approved') && (
        <VerdictForm
          what={`the shredding of ${what}`}
          may={shred.may}
          own={
            shred.state === 'approved'
              ? 'It is approved, and nothing of it is read; the vault has not removed the keys yet. Someone other than who asked carries it out again.'
              : 'You asked for it: another steward of the dataset or an administrator has to decide.'
          }
          hint={
            shred.state === 'approved'
              ? 'The vault did not answer when this was approved. Nothing of it is read since.'
              : 'Approving destroys it at once and for good.'
          }
          approveOnly={shred.state === 'approved'}
          decide={async (verdict, comment) => {
            try {
              await client.decideShred(shred.id, verdict, comment);
            } finally {
              // Also where the vault was away: it is approved from then on.
              decided();
            }
          }}
        />
      )}
    </Case>
  );
}

function ErasureCase({
  erasure,
  client,
  decided
}: {
  readonly erasure: Erasure;
  readonly client: ConsoleClient;
  readonly decided: () => void;
}): JSX.Element {
  const what = `what ${name(erasure.person)} typed`;
  return (
    <Case
      one={erasure}
      title={`What ${name(erasure.person)} typed`}
      doneAt={erasure.done_entry}
      more={[
        [
          'Database cleared',
          erasure.state !== 'done' ? null : erasure.cleared_at === null ? (
            'not yet: its leavings still hold the key, and are cleared as soon as nobody reads them'
          ) : (
            <Moment key="cleared" time={erasure.cleared_at} />
          )
        ]
      ]}
    >
      {erasure.state === 'open' && (
        <VerdictForm
          what={`the erasure of ${what}`}
          may={erasure.may}
          own={
            erasure.may.withdraw
              ? 'You asked for it: another person who looks after the enclave has to decide.'
              : 'These are your own texts: two others decide.'
          }
          hint="Approving erases all of these texts at once and for good."
          decide={async (verdict, comment) => {
            await client.decideErasure(erasure.id, verdict, comment);
            decided();
          }}
        />
      )}
    </Case>
  );
}

/** What one person asked for and another decided on. */
export interface Asked {
  readonly state: string;
  readonly why: string;
  readonly asked_by: string;
  readonly asked_at: string;
  readonly entry: number;
  readonly decided_by: string | null;
  readonly decided_at: string | null;
  readonly decided_entry?: number | null;
}

/** Who asked and why, who decided, and the entries of the log that say so. */
export function Case({
  one,
  title,
  doneAt,
  more,
  children
}: {
  readonly one: Asked;
  readonly title: ReactNode;
  readonly doneAt: number | null;
  readonly more: readonly (readonly [string, ReactNode])[];
  readonly children: ReactNode;
}): JSX.Element {
  const heading = useId();
  const decision = one.decided_entry ?? null;
  return (
    <section className="sr-Section" aria-labelledby={heading}>
      <h2 id={heading}>
        {title} <StateBadge state={one.state} />
      </h2>
      <blockquote>{one.why}</blockquote>
      <Facts
        facts={[
          ['Asked by', name(one.asked_by)],
          ['Asked', <Step key="asked" time={one.asked_at} entry={one.entry} />],
          ['Decided by', one.decided_by === null ? null : name(one.decided_by)],
          ['Decided', one.decided_at === null ? null : <Step key="decided" time={one.decided_at} entry={decision} />],
          ['Recorded', doneAt === null ? null : <EntryLink key="done" entry={doneAt} />],
          ...more
        ]}
      />
      {children}
    </section>
  );
}

function Step({ time, entry }: { readonly time: string; readonly entry: number | null }): JSX.Element {
  return (
    <>
      <Moment time={time} />
      {entry !== null && (
        <>
          {' · '}
          <EntryLink entry={entry} />
        </>
      )}
    </>
  );
}

function EntryLink({ entry }: { readonly entry: number }): JSX.Element {
  return <a href={href('audit', entry)}>entry {entry} of the log</a>;
}

function name(actor: string): string {
  return actor.replace(/^user:/, '');
}

function AskToShred({
  client,
  version,
  done
}: {
  readonly client: ConsoleClient;
  readonly version: string | null;
  readonly done: () => void;
}): JSX.Element {
  const [wanted, setWanted] = useState(version ?? '');
  const [columns, setColumns] = useState('');
  const [, dataset, number] = /^([^@\s]+)@([1-9]\d{0,8})$/.exec(wanted.trim()) ?? [];
  const named = columns.split(/[\s,]+/).filter(column => column !== '');
  return (
    <AskForm
      title="Ask for a shredding"
      ready={dataset !== undefined}
      length={WHY.shred}
      whyHint="It stays in the log and beside the data: name no person."
      action={named.length === 0 ? 'Ask to shred the whole version' : `Ask to shred ${named.join(', ')}`}
      ask={async why => {
        await client.askToShred({
          dataset: dataset ?? '',
          version: Number(number),
          columns: named.length === 0 ? null : named,
          why
        });
        setColumns('');
        done();
      }}
    >
      <Field label="Version" value={wanted} change={setWanted} hint="Its name and number: namespace/name@3" />
      <Field
        label="Columns or files"
        value={columns}
        change={setColumns}
        hint="Their names, with commas between them. Empty: everything of the version, its synthetic twin included."
      />
    </AskForm>
  );
}

function AskToErase({ client, done }: { readonly client: ConsoleClient; readonly done: () => void }): JSX.Element {
  const [person, setPerson] = useState('');
  return (
    <AskForm
      title="Ask for an erasure"
      ready={person.trim() !== ''}
      length={WHY.erase}
      whyHint="It stays in the log for ever, so name no private matter."
      action="Ask to erase"
      ask={async why => {
        await client.askToErase(`user:${person.trim()}`, why);
        setPerson('');
        done();
      }}
    >
      <Field
        label="Person"
        value={person}
        change={setPerson}
        hint="The login name. All code, justifications and comments of that person become unreadable."
      />
    </AskForm>
  );
}

export function AskForm({
  title,
  ready,
  length: [shortest, longest],
  whyHint,
  action,
  ask,
  children
}: {
  readonly title: string;
  readonly ready: boolean;
  readonly length: readonly [number, number];
  readonly whyHint: string;
  readonly action: string;
  readonly ask: (why: string) => Promise<void>;
  readonly children: ReactNode;
}): JSX.Element {
  const heading = useId();
  const [why, setWhy] = useState('');
  const run = useAction(async () => {
    await ask(why.trim());
    setWhy('');
  });
  const whole = ready && why.trim().length >= shortest && why.trim().length <= longest;
  return (
    <form
      className="sr-Section sr-Form"
      aria-labelledby={heading}
      onSubmit={event => {
        event.preventDefault();
        if (whole) {
          void run.run();
        }
      }}
    >
      <h2 id={heading}>{title}</h2>
      {children}
      <Field
        label="Why"
        value={why}
        change={setWhy}
        hint={`${shortest} to ${longest.toLocaleString()} characters. ${whyHint}`}
      />
      {run.problem !== null && <ProblemView problem={run.problem} />}
      <div className="sr-Actions">
        <Button submit tone="danger" busy={run.busy} disabled={!whole}>
          {action}
        </Button>
      </div>
    </form>
  );
}

export function Field({
  label,
  value,
  change,
  hint
}: {
  readonly label: string;
  readonly value: string;
  readonly change: (value: string) => void;
  readonly hint: string;
}): JSX.Element {
  const id = useId();
  return (
    <>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        className="sr-Input"
        value={value}
        aria-describedby={`${id}-hint`}
        onChange={event => {
          change(event.target.value);
        }}
      />
      <p className="sr-Hint" id={`${id}-hint`}>
        {hint}
      </p>
    </>
  );
}
