import type { JSX, ReactNode } from 'react';
import { Tags } from './basics.js';

export const LONGEST_DAYS = 365;

/** The days that somebody typed; null where no grant can last so long. */
export function asDays(typed: string): number | null {
  const days = Number(typed);
  return Number.isInteger(days) && days >= 1 && days <= LONGEST_DAYS ? days : null;
}

export function DaysInput({
  id,
  days,
  change
}: {
  readonly id: string;
  readonly days: string;
  readonly change: (typed: string) => void;
}): JSX.Element {
  return (
    <input
      id={id}
      className="sr-Input sr-Input-short"
      type="number"
      min={1}
      max={LONGEST_DAYS}
      value={days}
      onChange={event => {
        change(event.target.value);
      }}
    />
  );
}

/** One column to be asked for or granted, among those that are ticked. */
export function ColumnTick({
  column,
  tags,
  name,
  ticked,
  tick,
  children
}: {
  readonly column: string;
  readonly tags: readonly string[];
  /** Its accessible name; by default what stands beside it. */
  readonly name?: string;
  readonly ticked: ReadonlySet<string>;
  readonly tick: (ticked: ReadonlySet<string>) => void;
  readonly children?: ReactNode;
}): JSX.Element {
  return (
    <label className="sr-Check">
      <input
        type="checkbox"
        aria-label={name}
        checked={ticked.has(column)}
        onChange={event => {
          const next = new Set(ticked);
          if (event.target.checked) {
            next.add(column);
          } else {
            next.delete(column);
          }
          tick(next);
        }}
      />
      <span className="sr-Tags">
        <code>{column}</code>
        <Tags tags={tags} />
        {children}
      </span>
    </label>
  );
}
