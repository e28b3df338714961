import { useId, type JSX } from 'react';
import type { ExportRequest } from '../api/types/exports.js';

export const SHORTEST_JUSTIFICATION = 10;

/** Why something should leave, in the requester's words. */
export function JustificationField({
  label = 'Justification',
  value,
  change
}: {
  readonly label?: string;
  readonly value: string;
  readonly change: (value: string) => void;
}): JSX.Element {
  const id = useId();
  return (
    <>
      <label htmlFor={id}>{label}</label>
      <textarea
        id={id}
        className="sr-Input"
        rows={3}
        value={value}
        aria-describedby={`${id}-hint`}
        onChange={event => {
          change(event.target.value);
        }}
      />
      <p className="sr-Hint" id={`${id}-hint`}>
        The reviewers read it: what is in the files, who will see it, and why nobody can be recognised in it?
      </p>
    </>
  );
}

/** What became of a request that was just sent. */
export function outcome(request: ExportRequest): string {
  return request.state === 'blocked'
    ? 'An automatic check blocks this release. The Exports panel shows its findings.'
    : 'Submitted for review. The Exports panel shows how it goes on.';
}
