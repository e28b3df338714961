import { useId, useState, type JSX, type ReactNode } from 'react';
import type { Asked } from '../../api/types/twoPeople.js';
import { Button, Empty, Facts, Moment, ProblemView, StateBadge } from '../basics.js';
import { personName } from '../format.js';
import { useAction } from '../hooks.js';
import { href } from './route.js';

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
          ['Asked by', personName(one.asked_by)],
          ['Asked', <Step key="asked" time={one.asked_at} entry={one.entry} />],
          ['Decided by', one.decided_by === null ? null : personName(one.decided_by)],
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
