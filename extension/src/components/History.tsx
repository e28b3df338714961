import { useId, useState, type JSX } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import type { ExportChain, TimelineEntry } from '../api/types/log.js';
import { Button, ProblemView } from './basics.js';
import { useAction } from './hooks.js';
import { Timeline } from './Timeline.js';

const NARROWED =
  'Above the label public, what your code can choose (sizes, names, exact times, further reads) is kept from you here as in the notebook; auditors see all.';

/** All that led to an own export, on demand: looking is an entry of the log. */
export function ExportHistory({
  client,
  id,
  names
}: {
  readonly client: EnclaveClient;
  readonly id: string;
  readonly names: string;
}): JSX.Element {
  const [chain, setChain] = useState<ExportChain | null>(null);
  const look = useAction(async () => {
    setChain(await client.exportHistory(id));
  });
  return (
    <>
      <div className="sr-Actions">
        <Button busy={look.busy} name={`Show all that led to ${names}`} onClick={() => void look.run()}>
          {chain === null ? 'Show all that led to it' : 'Refresh'}
        </Button>
      </div>
      {look.problem !== null && <ProblemView problem={look.problem} />}
      {chain !== null && (
        <>
          <Timeline name={`All that led to ${names}`} entries={chain.entries} href={null} />
          {chain.entries.some(entry => entry.narrowed === true) && <p className="sr-Hint">{NARROWED}</p>}
        </>
      )}
    </>
  );
}

/** How the notebook in front ran, on demand, the newest part first. */
export function NotebookHistory({
  client,
  notebook
}: {
  readonly client: EnclaveClient;
  readonly notebook: () => string | null;
}): JSX.Element {
  const heading = useId();
  const [shown, setShown] = useState<{ readonly path: string; readonly entries: readonly TimelineEntry[]; readonly next: number | null } | null>(null);
  const [said, setSaid] = useState('');
  const look = useAction(async (path: string, before: number | null, known: readonly TimelineEntry[]) => {
    const page = await client.notebookHistory(path, before);
    // the log's order is newest first; a notebook is read from its beginning
    setShown({ path, entries: [...[...page.entries].reverse(), ...known], next: page.next });
  });
  return (
    <section aria-labelledby={heading}>
      <header className="sr-Panel-header">
        <h2 id={heading}>History of a notebook</h2>
        <Button
          name="Show how the open notebook ran"
          busy={look.busy}
          onClick={() => {
            const path = notebook();
            setSaid(path === null ? 'Open a notebook first.' : '');
            if (path !== null) {
              void look.run(path, null, []);
            }
          }}
        >
          Show
        </Button>
      </header>
      <p className="sr-Hint" role="status">
        {said !== '' ? said : shown === null ? 'How the open notebook ran, as the audit log has it. That you look is recorded.' : shown.path}
      </p>
      {look.problem !== null && <ProblemView problem={look.problem} />}
      {shown !== null && (
        <>
          {shown.next !== null && (
            <div className="sr-Actions">
              <Button
                busy={look.busy}
                onClick={() => {
                  void look.run(shown.path, shown.next, shown.entries);
                }}
              >
                Earlier
              </Button>
            </div>
          )}
          <Timeline name={`How ${shown.path} ran`} entries={shown.entries} href={null} />
          {shown.entries.some(entry => entry.narrowed === true) && <p className="sr-Hint">{NARROWED}</p>}
        </>
      )}
    </section>
  );
}
