import type { JSX } from 'react';
import { LABELS, type Label } from '../../api/types/labels.js';

/** The labels to choose from; its form says beside it what the choice does. */
export function LabelChoice({
  id,
  describedBy,
  label,
  choose
}: {
  readonly id: string;
  readonly describedBy: string;
  readonly label: Label;
  readonly choose: (label: Label) => void;
}): JSX.Element {
  return (
    <select
      id={id}
      className="sr-Input"
      value={label}
      aria-describedby={describedBy}
      onChange={event => {
        choose(event.target.value as Label);
      }}
    >
      {LABELS.map(one => (
        <option key={one}>{one}</option>
      ))}
    </select>
  );
}
