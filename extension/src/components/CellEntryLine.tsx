import { useState, type JSX, type ReactNode } from 'react';
import type { RunVerdict } from '../api/proof.js';
import type { Label } from '../api/types/labels.js';
import { Button, LabelBadge } from './basics.js';
import { count, formatBytes, formatMoment, formatTime } from './format.js';
import { useAction } from './hooks.js';
import { SaveProof } from './SaveProof.js';

/** What this server says of a cell's last run: the gate's mark on the reply, or after a reload what the server remembers. */
export interface CellSeal {
  readonly entry: number;
  readonly time: string;
  readonly checkpoint: string | null;
  readonly label?: Label;
  readonly shown?: number;
  readonly withheld?: number;
}

/** Asks the log about a run; what cannot be asked is a verdict, too. */
export type Check = (seal: CellSeal) => Promise<RunVerdict>;

export type CellOrigin =
  /** Its entry comes with the reply. */
  | { readonly kind: 'running' }
  /** It ran here, and what stands below came while this page looked on. */
  | { readonly kind: 'ran'; readonly seal: CellSeal }
  /** It ran here; what stands below was put back, from the file or by undo. */
  | { readonly kind: 'restored'; readonly seal: CellSeal }
  /** It has output, and this server knows of no run. */
  | { readonly kind: 'not-run' }
  /** It has output, and the server could not be asked. */
  | { readonly kind: 'unknown' };

const NOT_RUN =
  'Since this notebook server started it has run no such cell. What stands here came with the notebook file, or from elsewhere: run the cell to have it recorded.';
const UNKNOWN = 'The notebook server did not say which cells it ran. Reload the page to ask again.';
const RESTORED =
  'This cell ran here, but this page did not see its output come: it was put back, from the notebook file or by undo. Run the cell again to be sure of it.';

/** Below a cell: its entry in the audit log, checked on click, or that it was not run here. */
export function CellEntryLine({ origin, check }: { readonly origin: CellOrigin; readonly check: Check }): JSX.Element {
  switch (origin.kind) {
    case 'running':
      return <>Running…</>;
    case 'not-run':
      return <Mark words="not run here" why={NOT_RUN} />;
    case 'unknown':
      return <Mark words="not known whether it ran here" why={UNKNOWN} />;
    case 'ran':
    case 'restored':
      return (
        <Entry key={origin.seal.entry} seal={origin.seal} check={check}>
          {origin.kind === 'restored' && <Mark words="output was put back" why={RESTORED} />}
        </Entry>
      );
  }
}

/** A few words whose reason opens on click, without a mouse, too. */
function Mark({ words, why }: { readonly words: string; readonly why: string }): JSX.Element {
  return (
    <details className="sr-CellEntry-mark">
      <summary>
        <span className="sr-State" data-tone="waiting">
          {words}
        </span>
      </summary>
      <p>{why}</p>
    </details>
  );
}

function Entry({
  seal,
  check,
  children
}: {
  readonly seal: CellSeal;
  readonly check: Check;
  readonly children: ReactNode;
}): JSX.Element {
  const [verdict, setVerdict] = useState<RunVerdict | null>(null);
  const [open, setOpen] = useState(false);
  const checking = useAction(async () => {
    setVerdict(null);
    setVerdict(await check(seal));
  });
  const pressed = (): void => {
    if (open) {
      setOpen(false);
      return;
    }
    setOpen(true);
    void checking.run();
  };
  return (
    <>
      <button
        type="button"
        className="sr-CellEntry-entry"
        aria-expanded={open}
        aria-busy={checking.busy}
        title="Check it against the audit log"
        onClick={pressed}
      >
        Audit entry {seal.entry} · <time dateTime={seal.time}>{formatTime(seal.time)}</time>
        {verdict !== null && <Outcome verdict={verdict} />}
      </button>
      {seal.label !== undefined && <LabelBadge label={seal.label} />}
      {seal.shown !== undefined && <span>{formatBytes(seal.shown)} shown</span>}
      {seal.withheld !== undefined && seal.withheld > 0 && <span>{formatBytes(seal.withheld)} withheld</span>}
      {children}
      {open && (
        <div className="sr-CellEntry-verdict">
          <div role="status">
            {checking.busy && <p>Checking…</p>}
            {verdict?.state === 'verified' && <Verified verdict={verdict} seal={seal} />}
            {verdict?.state === 'unknown' && <p>{verdict.why}</p>}
          </div>
          {verdict?.state === 'failed' && (
            <div role="alert">
              <p>
                <strong>The log does not show this run.</strong> {verdict.why}
              </p>
              <p>
                Leave the notebook as it is and tell your auditor: entry {seal.entry}, {formatMoment(seal.time)}.
              </p>
            </div>
          )}
          {!checking.busy && (
            <div className="sr-Actions">
              {verdict?.state === 'verified' && <SaveProof entry={seal.entry} file={verdict.file} />}
              <Button name={`Check entry ${seal.entry} again`} onClick={() => void checking.run()}>
                Check again
              </Button>
            </div>
          )}
        </div>
      )}
    </>
  );
}

function Outcome({ verdict }: { readonly verdict: RunVerdict }): JSX.Element {
  const [words, tone] = (
    {
      verified: ['verified', 'good'],
      failed: ['NOT VERIFIED', 'bad'],
      unknown: ['not checked', 'waiting']
    } as const
  )[verdict.state];
  return (
    <>
      {' '}
      <span className="sr-State" data-tone={tone}>
        {words}
      </span>
    </>
  );
}

function Verified({
  verdict,
  seal
}: {
  readonly verdict: RunVerdict & { readonly state: 'verified' };
  readonly seal: CellSeal;
}): JSX.Element {
  return (
    <>
      <p>
        The audit log holds this run as entry {seal.entry}, written {formatMoment(verdict.time)}, before the code ran. This
        browser has checked:
      </p>
      <ul>
        <li>The entry is about you, this project and this cell.</li>
        <li>
          It leads to the root of the log of {count(verdict.now.size, 'entry', 'entries')}, which the key of{' '}
          <span className="sr-CellEntry-name">{verdict.key}</span> has signed.
        </li>
        <li>
          {verdict.then === null
            ? 'No checkpoint came with the run, so nothing is said about what the log was then.'
            : `That log goes on from the one of ${count(verdict.then.size, 'entry', 'entries')} that was signed when the cell ran: nothing before was changed or removed.`}
        </li>
      </ul>
      <p>The proof is about the run and its code. It does not say that the output here is all, or only, what that run showed.</p>
    </>
  );
}
