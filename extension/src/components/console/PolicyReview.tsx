import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type {
  PolicyComparison,
  PolicyReplay,
  PolicyReplayed,
  PolicyStanding,
  PolicyVersion
} from '../../api/types/policy.js';
import { Button, Empty, Moment, ProblemView } from '../basics.js';
import { count, personName } from '../format.js';
import { useAction, type Action } from '../hooks.js';
import { Table } from './Page.js';
import { Changes } from './PolicyHistory.js';
import { href } from './route.js';

/** What the service takes at most. */
const MOST_DECISIONS = 2000;
const MOST_MONTHS = 1200;
const SHOWN_CHANGES = 100;
const SHOWN_LINES = 5;
const SHOWN_ENTRIES = 5;

/** Who may do what under one policy and not under another. Nothing is proved: files that are refused can be compared, too. */
export function CompareSection({
  client,
  versions
}: {
  readonly client: ConsoleClient;
  readonly versions: readonly PolicyVersion[];
}): JSX.Element {
  const id = useId();
  const [old, setOld] = useState('');
  const [next, setNext] = useState('');
  const [told, setTold] = useState<PolicyComparison | null>(null);
  const compare = useAction(async () => {
    setTold(null);
    setTold(await client.comparePolicies(old, next));
  });
  const choices = [
    { name: 'old', label: 'From', first: 'what is in force', value: old, pick: setOld },
    { name: 'new', label: 'To', first: 'the policy folder', value: next, pick: setNext }
  ];
  return (
    <section className="sr-Section" aria-labelledby={`${id}-heading`}>
      <h2 id={`${id}-heading`}>Compare</h2>
      <p>Who may do what now, or no longer, and what is owed: not which lines differ.</p>
      <form
        className="sr-Filter"
        aria-label="Compare"
        onSubmit={event => {
          event.preventDefault();
          void compare.run();
        }}
      >
        {choices.map(({ name, label, first, value, pick }) => (
          <p key={name}>
            <label htmlFor={`${id}-${name}`}>{label}</label>
            <select
              id={`${id}-${name}`}
              className="sr-Input"
              value={value}
              onChange={event => {
                pick(event.target.value);
                setTold(null);
              }}
            >
              <option value="">{first}</option>
              {versions.map(version => (
                <option key={version.number} value={version.number}>
                  version {version.number} ({version.version})
                </option>
              ))}
            </select>
          </p>
        ))}
        <div className="sr-Actions">
          <Button submit tone="primary" busy={compare.busy}>
            Compare
          </Button>
        </div>
      </form>
      {compare.problem !== null && <ProblemView problem={compare.problem} />}
      <div aria-live="polite">
        {told !== null && (
          <>
            <p>
              From <code>{told.old}</code> to <code>{told.new}</code>:
            </p>
            <Changes changes={told} />
          </>
        )}
      </div>
    </section>
  );
}

/** Decisions of the log once more, under the files in the policy folder. It decides nothing; that one looked is recorded. */
export function WhatIfSection({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const id = useId();
  const [told, setTold] = useState<PolicyReplay | null>(null);
  const replay = useAction(async (last: number) => {
    setTold(null);
    setTold(await client.whatIf(last));
  });
  return (
    <section className="sr-Section" aria-labelledby={`${id}-heading`}>
      <h2 id={`${id}-heading`}>What if</h2>
      <p>
        Would the files in the policy folder have changed anything that happened? The log’s newest readings, outputs and
        exports are decided once more under them. That you looked is recorded.
      </p>
      <NumberForm
        name="What if"
        label="Newest"
        first="100"
        most={MOST_DECISIONS}
        words="Decide once more"
        action={replay}
      />
      <div aria-live="polite">{told !== null && <Replay told={told} />}</div>
    </section>
  );
}

/** Rows in force that nobody has stood for in so many months, listed to their owners. */
export function RecertifySection({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const id = useId();
  const [told, setTold] = useState<PolicyStanding | null>(null);
  const list = useAction(async (months: number) => {
    setTold(null);
    setTold(await client.recertify(months));
  });
  return (
    <section className="sr-Section" aria-labelledby={`${id}-heading`}>
      <h2 id={`${id}-heading`}>Recertify</h2>
      <p>
        Which rows in force has nobody stood for in a while? Whoever still does writes{' '}
        <code># certified DAY by user:NAME</code> above them.
      </p>
      <NumberForm name="Recertify" label="Months" first="12" most={MOST_MONTHS} words="List old rows" action={list} />
      <div aria-live="polite">{told !== null && <Overdue told={told} />}</div>
    </section>
  );
}

function NumberForm({
  name,
  label,
  first,
  most,
  words,
  action
}: {
  readonly name: string;
  readonly label: string;
  readonly first: string;
  readonly most: number;
  readonly words: string;
  readonly action: Action<[number]>;
}): JSX.Element {
  const id = useId();
  const [typed, setTyped] = useState(first);
  const number = Number(typed);
  const fits = Number.isInteger(number) && number >= 1 && number <= most;
  return (
    <>
      <form
        className="sr-Filter"
        aria-label={name}
        noValidate
        onSubmit={event => {
          event.preventDefault();
          if (fits) {
            void action.run(number);
          }
        }}
      >
        <p>
          <label htmlFor={`${id}-number`}>
            {label} (1 to {most.toLocaleString()})
          </label>
          <input
            id={`${id}-number`}
            className="sr-Input"
            type="number"
            min={1}
            max={most}
            value={typed}
            aria-invalid={!fits}
            onChange={event => {
              setTyped(event.target.value);
            }}
          />
        </p>
        <div className="sr-Actions">
          <Button submit tone="primary" busy={action.busy} disabled={!fits}>
            {words}
          </Button>
        </div>
      </form>
      {action.problem !== null && <ProblemView problem={action.problem} />}
    </>
  );
}

function Replay({ told }: { readonly told: PolicyReplay }): JSX.Element {
  const groups = alike(told.changes);
  const more = groups.length - SHOWN_CHANGES;
  if (told.looked_at === 0 && told.not_by_rules === 0) {
    return <Empty>The log holds no reading, output or export yet, so nothing could have been otherwise.</Empty>;
  }
  return (
    <>
      <p>
        {told.changes.length.toLocaleString()} of {count(told.looked_at, 'decision')} would be others under{' '}
        <code>{told.version}</code>.
        {told.not_by_rules > 0 && ` ${told.not_by_rules.toLocaleString()} more were not decided by rules.`}
      </p>
      {told.changes.length > 0 && (
        <Table
          caption="Decisions that would be others"
          head={['Entry', 'Time', 'Who', 'Action', 'In', 'Was', 'Would be', 'Why']}
        >
          {groups.slice(0, SHOWN_CHANGES).map(group => (
            <ChangeRow key={group.newest.entry} change={group.newest} older={group.older} />
          ))}
        </Table>
      )}
      {more > 0 && <p className="sr-Hint">… and {count(more, 'more line')}.</p>}
    </>
  );
}

interface Alike {
  readonly newest: PolicyReplayed;
  /** Entries that differ in nothing but their time. */
  readonly older: readonly number[];
}

/** One line for all that would be otherwise in the same way: a day of work is many outputs of the same data. */
function alike(changes: readonly PolicyReplayed[]): readonly Alike[] {
  const groups = new Map<string, PolicyReplayed[]>();
  for (const change of changes) {
    const key = JSON.stringify({ ...change, entry: 0, time: '' });
    groups.set(key, [...(groups.get(key) ?? []), change]);
  }
  return [...groups.values()].flatMap(([newest, ...older]) =>
    newest === undefined ? [] : [{ newest, older: older.map(change => change.entry) }]
  );
}

function ChangeRow({ change, older }: { readonly change: PolicyReplayed } & Pick<Alike, 'older'>): JSX.Element {
  const more = change.differs.length - SHOWN_LINES;
  const beyond = older.length - SHOWN_ENTRIES;
  return (
    <tr>
      <th scope="row">
        <a href={href('audit', change.entry)}>{change.entry}</a>
        {older.length > 0 && (
          <span className="sr-Quiet sr-Block">
            and{' '}
            {older.slice(0, SHOWN_ENTRIES).map((entry, index) => (
              <span key={entry}>
                {index > 0 && ', '}
                <a href={href('audit', entry)}>{entry}</a>
              </span>
            ))}
            {beyond > 0 && ` and ${beyond.toLocaleString()} more`}
          </span>
        )}
      </th>
      <td>
        <Moment time={change.time} />
      </td>
      <td>{change.user}</td>
      <td>{change.action}</td>
      <td>{change.project === '' ? <span className="sr-Quiet">outside projects</span> : change.project}</td>
      <td>{verdict(change.was)}</td>
      <td>{change.was && change.would_be ? 'allowed otherwise' : verdict(change.would_be)}</td>
      <td>
        {change.differs.slice(0, SHOWN_LINES).map(line => (
          <span key={line} className="sr-Block">
            {line}
          </span>
        ))}
        {more > 0 && <span className="sr-Quiet sr-Block">and {count(more, 'more line')}</span>}
      </td>
    </tr>
  );
}

function verdict(allowed: boolean): string {
  return allowed ? 'allowed' : 'denied';
}

function Overdue({ told }: { readonly told: PolicyStanding }): JSX.Element {
  const age = count(told.months, 'month');
  if (told.overdue.length === 0) {
    return <Empty>{`None of ${count(told.rows, 'row')} is older than ${age}.`}</Empty>;
  }
  const owners = [...new Set(told.overdue.map(row => row.owner))].toSorted((a, b) => a.localeCompare(b));
  return (
    <>
      <p>
        {told.overdue.length.toLocaleString()} of {count(told.rows, 'row')} are older than {age}.
      </p>
      {owners.map(owner => (
        <section key={owner} aria-label={`Rows of ${owner}`}>
          <h3>{owner === 'nobody' ? 'Nobody’s' : personName(owner)}</h3>
          <ul className="sr-Plain">
            {told.overdue
              .filter(row => row.owner === owner)
              .map(row => (
                <li key={row.place}>
                  {row.text}
                  <code className="sr-Block">{row.says}</code>
                </li>
              ))}
          </ul>
        </section>
      ))}
    </>
  );
}
