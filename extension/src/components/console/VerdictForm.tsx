import { useId, useState, type JSX } from 'react';
import type { TwoPeopleVerdict } from '../../api/types/twoPeople.js';
import { Button, ProblemView } from '../basics.js';
import { useAction } from '../hooks.js';

/** What one person asked for and another decides on; who asked can only take it back. */
export function VerdictForm({
  what,
  may,
  own,
  hint,
  approveOnly = false,
  decide
}: {
  /** Names it beside the buttons' words: "proposal 8f3c". */
  readonly what: string;
  readonly may: { readonly decide: boolean; readonly withdraw: boolean };
  /** Said to who may not decide. */
  readonly own: string;
  /** What approving does. */
  readonly hint: string;
  /** It was approved before, and carrying it out has failed. */
  readonly approveOnly?: boolean;
  readonly decide: (verdict: TwoPeopleVerdict, comment: string) => Promise<void>;
}): JSX.Element {
  const id = useId();
  const [comment, setComment] = useState('');
  const run = useAction((verdict: TwoPeopleVerdict) => decide(verdict, comment.trim()));
  const button = (verdict: TwoPeopleVerdict, words: string, tone: 'primary' | 'danger' | 'plain', disabled = false) => (
    <Button
      tone={tone}
      busy={run.busy}
      disabled={disabled}
      name={`${words} ${what}`}
      onClick={() => {
        void run.run(verdict);
      }}
    >
      {words}
    </Button>
  );
  if (!may.decide) {
    return (
      <>
        <p className="sr-Note">{own}</p>
        {run.problem !== null && <ProblemView problem={run.problem} />}
        {may.withdraw && <div className="sr-Actions">{button('withdraw', 'Take back', 'plain')}</div>}
      </>
    );
  }
  return (
    <form
      className="sr-Form"
      aria-label={`Verdict on ${what}`}
      onSubmit={event => {
        event.preventDefault();
      }}
    >
      {!approveOnly && (
        <>
          <label htmlFor={`${id}-comment`}>Comment</label>
          <textarea
            id={`${id}-comment`}
            className="sr-Input"
            rows={2}
            value={comment}
            aria-describedby={`${id}-hint`}
            onChange={event => {
              setComment(event.target.value);
            }}
          />
        </>
      )}
      <p className="sr-Hint" id={`${id}-hint`}>
        {hint}
        {!approveOnly && ' To reject, say why.'}
      </p>
      {run.problem !== null && <ProblemView problem={run.problem} />}
      <div className="sr-Actions">
        {button('approve', approveOnly ? 'Carry out' : 'Approve', 'primary')}
        {!approveOnly && button('reject', 'Reject', 'danger', comment.trim() === '')}
      </div>
    </form>
  );
}
