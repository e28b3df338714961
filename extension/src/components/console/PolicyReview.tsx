import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { PolicyReplay, PolicyReplayed, PolicyStanding } from '../../api/types.js';
import { Button, Empty, Moment, ProblemView } from '../basics.js';
import { count } from '../format.js';
import { useAction, type Action } from '../hooks.js';
import { Table } from './Page.js';
import { href } from './route.js';

/** What the service takes at most. */
const MOST_DECISIONS = 2000;
const MOST_MONTHS = 1200;
const SHOWN_CHANGES = 100;
const SHOWN_LINES = 5;

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
        label="Decisions, the newest"
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
  const more = told.changes.length - SHOWN_CHANGES;
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
          {told.changes.slice(0, SHOWN_CHANGES).map(change => (
            <ChangeRow key={change.entry} change={change} />
          ))}
        </Table>
      )}
      {more > 0 && <p className="sr-Hint">… and {count(more, 'older one')}.</p>}
    </>
  );
}

function ChangeRow({ change }: { readonly change: PolicyReplayed }): JSX.Element {
  const more = change.differs.length - SHOWN_LINES;
  return (
    <tr>
      <th scope="row">
        <a href={href('audit', change.entry)}>{change.entry}</a>
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
          <h3>{owner === 'nobody' ? 'Nobody’s' : owner.replace(/^user:/, '')}</h3>
          <ul className="sr-Plain">
            {told.overdue
              .filter(row => row.owner === owner)
              .map(row => (
                <li key={row.place}>{row.text}</li>
              ))}
          </ul>
        </section>
      ))}
    </>
  );
}
