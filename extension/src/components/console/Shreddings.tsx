import { useState, type JSX } from 'react';
import type { ConsoleClient, Which } from '../../api/console.js';
import type { Shred } from '../../api/types/twoPeople.js';
import { Await } from '../basics.js';
import { useLoad } from '../hooks.js';
import { Page, WhichPicker } from './Page.js';
import { AskForm, Case, Cases, Field } from './TwoPeople.js';
import { VerdictForm } from './VerdictForm.js';

/** Characters of a reason, as the service takes them. */
const WHY = [10, 500] as const;

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
      length={WHY}
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
