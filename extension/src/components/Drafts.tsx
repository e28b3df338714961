import type { JSX, ReactNode } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import type { Draft } from '../api/types/requests.js';
import { Button, Moment, ProblemView } from './basics.js';
import { useAction } from './hooks.js';

/** Something that code prepared: nothing was sent, and nothing will be unless the person says so here. */
export function DraftCard({
  draft,
  what,
  client,
  changed,
  review,
  children
}: {
  readonly draft: Draft;
  readonly what: string;
  readonly client: EnclaveClient;
  readonly changed: () => void;
  /** Opens the form; absent while it is open. */
  readonly review?: () => void;
  readonly children?: ReactNode;
}): JSX.Element {
  const discard = useAction(async () => {
    await client.discardDraft(draft.id);
    changed();
  });
  return (
    <div className="sr-Card sr-Card-body sr-Draft">
      <p>
        <strong>Prepared by code, not sent:</strong> {what}.
      </p>
      <p className="sr-Quiet">
        Code in {draft.notebook === '' ? 'a notebook' : <code>{draft.notebook}</code>} (entry {draft.entry}) filled it in,{' '}
        <Moment time={draft.at} />. Read it before you send it: it goes out in your name.
      </p>
      {discard.problem !== null && <ProblemView problem={discard.problem} />}
      <div className="sr-Actions">
        {review !== undefined && (
          <Button tone="primary" name={`Review and submit: ${what}`} onClick={review}>
            Review and submit
          </Button>
        )}
        <Button
          busy={discard.busy}
          name={`Discard: ${what}`}
          onClick={() => {
            void discard.run();
          }}
        >
          Discard
        </Button>
      </div>
      {children}
    </div>
  );
}
