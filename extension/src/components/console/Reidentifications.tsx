import { useId, useState, type JSX } from 'react';
import type { ConsoleClient, Which } from '../../api/console.js';
import type { Reidentification, TokenValue } from '../../api/types/twoPeople.js';
import { Await, Button, Moment, ProblemView } from '../basics.js';
import { count } from '../format.js';
import { useAction, useLoad } from '../hooks.js';
import { Page, Table, WhichPicker } from './Page.js';
import { AskForm, Case, Cases, Field } from './TwoPeople.js';
import { VerdictForm } from './VerdictForm.js';

const WHY = [10, 500] as const;
const MOST_TOKENS = 20;
const WAITS: readonly Reidentification['state'][] = ['open', 'approved'];

/** Tokens turned back into values: who asked and why, the steward's verdict, and the values, once. */
export function ReidentificationsPage({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const [which, setWhich] = useState<Which>('open');
  const loaded = useLoad(() => client.reidentifications(), 'reidentifications');
  // Kept here and nowhere else: the server shows them once, and leaving the page forgets them.
  const [told, setTold] = useState<Readonly<Record<string, readonly TokenValue[]>>>({});
  return (
    <Page
      title="Re-identifications"
      intro="Tokens turned back into the values they stand for. Who may ask stands in the policy (action reidentify); a steward of the dataset agrees, never who asked. The values are shown once, within 24 hours, to the person the request names, and never to a notebook."
      actions={<WhichPicker value={which} pick={setWhich} />}
    >
      <Await loaded={loaded} what="re-identifications">
        {all => (
          <Cases
            all={all.filter(one => which === 'all' || WAITS.includes(one.state) || one.id in told)}
            none={
              which === 'all'
                ? 'You neither asked for a re-identification nor decide on one.'
                : 'No re-identification waits for you.'
            }
            show={one => (
              <ReidentificationCase
                key={one.id}
                one={one}
                client={client}
                values={told[one.id]}
                tell={values => {
                  setTold(before => ({ ...before, [one.id]: values }));
                }}
                changed={loaded.reload}
              />
            )}
          />
        )}
      </Await>
      <AskToReidentify client={client} done={loaded.reload} />
    </Page>
  );
}

function ReidentificationCase({
  one,
  client,
  values,
  tell,
  changed
}: {
  readonly one: Reidentification;
  readonly client: ConsoleClient;
  readonly values: readonly TokenValue[] | undefined;
  readonly tell: (values: readonly TokenValue[]) => void;
  readonly changed: () => void;
}): JSX.Element {
  const what = `${count(one.tokens.length, 'token')} of ${one.column} in ${one.dataset}@${one.version}`;
  return (
    <Case
      one={one}
      title={
        <>
          <code>
            {one.dataset}@{one.version}
          </code>
          : {count(one.tokens.length, 'token')} of {one.column}
        </>
      }
      doneAt={one.shown_entry}
      more={[
        ['Project', one.project],
        ['Tokens', <code key="tokens">{one.tokens.join(', ')}</code>],
        ['Shown to', one.shown_to === 'asker' ? 'who asked' : 'the steward who agrees'],
        ['Can be seen until', one.state === 'approved' ? <Moment key="until" time={one.until} /> : null],
        ['Shown', one.shown_at === null ? null : <Moment key="shown" time={one.shown_at} />]
      ]}
    >
      {one.state === 'open' && (
        <VerdictForm
          what={`the re-identification of ${what}`}
          may={one.may}
          own="You asked for it: a steward of the dataset has to decide."
          hint={
            one.shown_to === 'asker'
              ? 'Approving lets who asked see these values once, within 24 hours.'
              : 'Approving lets you see these values once, within 24 hours; who asked does not see them.'
          }
          decide={async (verdict, comment) => {
            await client.decideReidentification(one.id, verdict, comment);
            changed();
          }}
        />
      )}
      {one.state === 'approved' && values === undefined && (
        <ShowOnce one={one} what={what} client={client} tell={tell} changed={changed} />
      )}
      {values !== undefined && <Values values={values} column={one.column} />}
    </Case>
  );
}

function ShowOnce({
  one,
  what,
  client,
  tell,
  changed
}: {
  readonly one: Reidentification;
  readonly what: string;
  readonly client: ConsoleClient;
  readonly tell: (values: readonly TokenValue[]) => void;
  readonly changed: () => void;
}): JSX.Element {
  const run = useAction(async () => {
    tell(await client.showReidentified(one.id));
    changed();
  });
  if (!one.may.show) {
    return <p className="sr-Note">It is approved; {one.shown_to === 'asker' ? 'who asked' : 'the steward'} can see it.</p>;
  }
  return (
    <>
      <p className="sr-Hint">
        They are shown once: note what you need where the project’s rules let you, before you leave the page.
      </p>
      {run.problem !== null && <ProblemView problem={run.problem} />}
      <div className="sr-Actions">
        <Button
          tone="primary"
          busy={run.busy}
          name={`Show the values of ${what}`}
          onClick={() => {
            void run.run();
          }}
        >
          Show the values now
        </Button>
      </div>
    </>
  );
}

function Values({ values, column }: { readonly values: readonly TokenValue[]; readonly column: string }): JSX.Element {
  return (
    <>
      <Table caption={`Values of ${column}`} head={['Token', column]}>
        {values.map(({ token, value }) => (
          <tr key={token}>
            <td>
              <code>{token}</code>
            </td>
            <td>{value ?? <em>no value of this version, as you read it in this project</em>}</td>
          </tr>
        ))}
      </Table>
      <p className="sr-Note">Shown this once: they are gone when you leave the page.</p>
    </>
  );
}

function AskToReidentify({ client, done }: { readonly client: ConsoleClient; readonly done: () => void }): JSX.Element {
  const id = useId();
  const [project, setProject] = useState('');
  const [wanted, setWanted] = useState('');
  const [column, setColumn] = useState('');
  const [text, setText] = useState('');
  const [shownTo, setShownTo] = useState<Reidentification['shown_to']>('asker');
  const [, dataset, number] = /^([^@\s]+)(?:@([1-9]\d{0,8}))?$/.exec(wanted.trim()) ?? [];
  const tokens = [...new Set(text.split('\n').map(line => line.replace(/\r$/, '')))].filter(line => line !== '');
  const fits = tokens.length > 0 && tokens.length <= MOST_TOKENS;
  return (
    <AskForm
      title="Ask for a re-identification"
      ready={dataset !== undefined && project.trim() !== '' && column.trim() !== '' && fits}
      length={WHY}
      whyHint="The steward decides by it. It is kept encrypted beside the log: name no person."
      action={fits ? `Ask to turn back ${count(tokens.length, 'token')}` : 'Ask to turn tokens back'}
      ask={async why => {
        await client.askToReidentify({
          project: project.trim(),
          dataset: dataset ?? '',
          version: number === undefined ? null : Number(number),
          column: column.trim(),
          tokens,
          shown_to: shownTo,
          why
        });
        setText('');
        done();
      }}
    >
      <Field label="Project" value={project} change={setProject} hint="In which you read the tokens: each has its own." />
      <Field label="Dataset" value={wanted} change={setWanted} hint="namespace/name, or with its version: namespace/name@3" />
      <Field label="Column" value={column} change={setColumn} hint="The one that you are shown as tokens." />
      <label htmlFor={`${id}-tokens`}>Tokens</label>
      <textarea
        id={`${id}-tokens`}
        className="sr-Input"
        rows={4}
        value={text}
        aria-describedby={`${id}-hint`}
        onChange={event => {
          setText(event.target.value);
        }}
      />
      <p className="sr-Hint" id={`${id}-hint`}>
        One on each line, as they stand in the data; at most {MOST_TOKENS}.
      </p>
      <label htmlFor={`${id}-shown`}>Who sees the values</label>
      <select
        id={`${id}-shown`}
        className="sr-Input"
        value={shownTo}
        onChange={event => {
          setShownTo(event.target.value === 'steward' ? 'steward' : 'asker');
        }}
      >
        <option value="asker">I do</option>
        <option value="steward">The steward who agrees, and not I</option>
      </select>
    </AskForm>
  );
}
