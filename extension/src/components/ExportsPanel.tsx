import { useId, useState, type JSX } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import type { ExportRequest } from '../api/types/exports.js';
import type { ExportDraft } from '../api/types/requests.js';
import type { WorkEntry } from '../api/types/work.js';
import { Await, Button, Empty, LabelBadge, Moment, ProblemView, StateBadge } from './basics.js';
import { DraftCard } from './Drafts.js';
import { FileLine, Findings, Votes } from './ExportFacts.js';
import { formatBytes } from './format.js';
import { useAction, useLoad } from './hooks.js';
import { ExportHistory, NotebookHistory } from './History.js';
import { JustificationField, outcome, SHORTEST_JUSTIFICATION } from './Justification.js';
import { save } from './save.js';
import { KeptOutputs } from './Withheld.js';

/** The airlock from the analyst's side: pick work files, say why, follow the review, fetch the release. */
export function ExportsPanel({
  client,
  revision,
  notebook
}: {
  readonly client: EnclaveClient;
  /** The path of the notebook in front; null where none is open. */
  readonly notebook: () => string | null;
  /** Counts up when exports have changed elsewhere. */
  readonly revision: number;
}): JSX.Element {
  const heading = useId();
  const exportsHeading = useId();
  const exports = useLoad(() => client.exports(), `exports#${revision}`);
  const drafts = useLoad(() => client.drafts(), `drafts#${revision}`);
  const [draft, setDraft] = useState<ExportDraft | null>(null);
  const prepared = (drafts.value ?? []).filter(one => one.kind === 'export');
  const reload = (): void => {
    exports.reload();
    drafts.reload();
  };
  return (
    <div className="sr-Panel">
      <section aria-labelledby={heading}>
        <h2 id={heading}>Ask for a release</h2>
        {prepared.length > 0 && (
          <ul className="sr-List" aria-label="Prepared by code, not sent">
            {prepared.map(one => (
              <li key={one.id}>
                <DraftCard
                  draft={one}
                  what={`an export of ${one.paths.join(', ')}`}
                  client={client}
                  changed={() => {
                    setDraft(null);
                    reload();
                  }}
                  {...(one.id === draft?.id
                    ? {}
                    : {
                        review: () => {
                          setDraft(one);
                        }
                      })}
                />
              </li>
            ))}
          </ul>
        )}
        <ExportForm
          key={draft?.id ?? ''}
          client={client}
          draft={draft}
          sent={() => {
            setDraft(null);
            reload();
          }}
        />
      </section>
      <KeptOutputs client={client} revision={revision} sent={exports.reload} />
      <section aria-labelledby={exportsHeading}>
        <header className="sr-Panel-header">
          <h2 id={exportsHeading}>My exports</h2>
          <Button name="Refresh exports" onClick={exports.reload}>
            Refresh
          </Button>
        </header>
        <Await loaded={exports} what="exports">
          {mine =>
            mine.length === 0 ? (
              <Empty>You have not asked for a release in this project.</Empty>
            ) : (
              <ul className="sr-List">
                {mine.map(request => (
                  <li key={request.id}>
                    <ExportItem request={request} client={client} changed={exports.reload} />
                  </li>
                ))}
              </ul>
            )
          }
        </Await>
      </section>
      <NotebookHistory client={client} notebook={notebook} />
    </div>
  );
}

function ExportForm({
  client,
  draft,
  sent
}: {
  readonly client: EnclaveClient;
  /** What code prepared and is filled in here. */
  readonly draft: ExportDraft | null;
  readonly sent: () => void;
}): JSX.Element {
  const id = useId();
  const [folder, setFolder] = useState('');
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set(draft?.paths ?? []));
  const [justification, setJustification] = useState(draft?.justification ?? '');
  const [named, setNamed] = useState('');
  const [said, setSaid] = useState('');
  const work = useLoad(() => client.work(folder), `work ${folder}`);

  const missing = [
    ...(picked.size === 0 ? ['at least one file'] : []),
    ...(justification.trim().length < SHORTEST_JUSTIFICATION
      ? [`a justification of at least ${SHORTEST_JUSTIFICATION} letters`]
      : [])
  ];
  const submit = useAction(async () => {
    setSaid('');
    const request = await client.requestExport({ paths: [...picked], justification: justification.trim(), ...(draft === null ? {} : { draft: draft.id }) });
    setPicked(new Set());
    setJustification('');
    setSaid(outcome(request));
    sent();
  });
  const pick = (path: string, wanted: boolean): void => {
    const next = new Set(picked);
    if (wanted) {
      next.add(path);
    } else {
      next.delete(path);
    }
    setPicked(next);
  };

  return (
    <form
      className="sr-Form"
      aria-label="Ask for a release"
      onSubmit={event => {
        event.preventDefault();
        if (missing.length === 0) {
          void submit.run();
        }
      }}
    >
      <fieldset className="sr-Fieldset">
        <legend>Files in {folder === '' ? 'your work folder' : `work/${folder}`}</legend>
        <div className="sr-Actions">
          {folder !== '' && (
            <Button
              onClick={() => {
                setFolder(folder.split('/').slice(0, -1).join('/'));
              }}
            >
              Up
            </Button>
          )}
          <Button name="Refresh work files" onClick={work.reload}>
            Refresh
          </Button>
        </div>
        <Await loaded={work} what="work files">
          {shown => (
            <>
              {shown.entries.length === 0 && <Empty>No files here. A cell can write them: its current folder is this one.</Empty>}
              <ul className="sr-Files">
                {shown.entries.map(entry => (
                  <li key={entry.name}>
                    <WorkLine
                      entry={entry}
                      checked={picked.has(joined(folder, entry.name))}
                      pick={wanted => {
                        pick(joined(folder, entry.name), wanted);
                      }}
                      enter={() => {
                        setFolder(joined(folder, entry.name));
                      }}
                    />
                  </li>
                ))}
              </ul>
              {shown.truncated && <p className="sr-Hint">There are more files here than may be listed.</p>}
            </>
          )}
        </Await>
      </fieldset>
      <label htmlFor={`${id}-named`}>Or by name</label>
      <div className="sr-Together">
        <input
          id={`${id}-named`}
          className="sr-Input"
          placeholder="results/table.csv"
          value={named}
          onChange={event => {
            setNamed(event.target.value);
          }}
        />
        <Button
          name="Add the named file"
          disabled={named.trim() === ''}
          onClick={() => {
            pick(named.trim(), true);
            setNamed('');
          }}
        >
          Add
        </Button>
      </div>
      {picked.size > 0 && (
        <ul className="sr-Picked" aria-label="Picked files">
          {[...picked].map(path => (
            <li key={path}>
              <code>{path}</code>
              <Button
                name={`Do not export ${path}`}
                onClick={() => {
                  pick(path, false);
                }}
              >
                Remove
              </Button>
            </li>
          ))}
        </ul>
      )}
      <JustificationField value={justification} change={setJustification} />
      <p className="sr-Hint" id={`${id}-missing`} role="status">
        {missing.length > 0 && said === '' ? `Still needed: ${missing.join(', ')}.` : said}
      </p>
      {submit.problem !== null && <ProblemView problem={submit.problem} />}
      <div className="sr-Actions">
        <Button submit tone="primary" busy={submit.busy} disabled={missing.length > 0} describedBy={`${id}-missing`}>
          {submit.busy ? 'Checking the files…' : 'Submit for review'}
        </Button>
      </div>
    </form>
  );
}

function joined(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

function WorkLine({
  entry,
  checked,
  pick,
  enter
}: {
  readonly entry: WorkEntry;
  readonly checked: boolean;
  readonly pick: (wanted: boolean) => void;
  readonly enter: () => void;
}): JSX.Element {
  if (entry.type === 'directory') {
    return (
      <Button name={`Open folder ${entry.name}`} onClick={enter}>
        {entry.name}/
      </Button>
    );
  }
  return (
    <label className="sr-Check">
      <input
        type="checkbox"
        checked={checked}
        disabled={entry.type === 'other'}
        onChange={event => {
          pick(event.target.checked);
        }}
      />
      <span>
        <code>{entry.name}</code>{' '}
        <span className="sr-Quiet">
          {entry.type === 'other' ? 'not a regular file: cannot leave' : entry.bytes !== null && formatBytes(entry.bytes)}
        </span>
      </span>
    </label>
  );
}

function ExportItem({
  request,
  client,
  changed
}: {
  readonly request: ExportRequest;
  readonly client: EnclaveClient;
  readonly changed: () => void;
}): JSX.Element {
  const names = request.files.map(file => file.name).join(', ');
  const withdraw = useAction(async () => {
    await client.withdrawExport(request.id);
    changed();
  });
  const download = useAction(async () => {
    save(await client.download(request.id), `strongroom-export-${request.id}.zip`);
  });
  const problem = withdraw.problem ?? download.problem;
  return (
    <details className="sr-Card">
      <summary>
        <span className="sr-Card-title">{names}</span>
        <span className="sr-Card-line">
          <StateBadge state={request.state} />
          <LabelBadge label={request.label} />
        </span>
        <span className="sr-Card-access" data-tone="quiet">
          {request.submitted_at === null ? 'not submitted' : <Moment time={request.submitted_at} />}
        </span>
      </summary>
      <div className="sr-Card-body">
        {(request.may.download || request.may.withdraw) && (
          <div className="sr-Actions">
            {request.may.download && (
              <Button
                tone="primary"
                busy={download.busy}
                name={`Download ${names}`}
                onClick={() => {
                  void download.run();
                }}
              >
                Download
              </Button>
            )}
            {request.may.withdraw && (
              <Button
                busy={withdraw.busy}
                name={`Withdraw the export of ${names}`}
                onClick={() => {
                  void withdraw.run();
                }}
              >
                Withdraw
              </Button>
            )}
          </div>
        )}
        {problem !== null && <ProblemView problem={problem} />}
        <h3>Justification</h3>
        <p>{request.justification}</p>
        <h3>Files and checks</h3>
        {request.files.map(file => (
          <div key={file.index}>
            <p>
              <code>{file.name}</code>
            </p>
            <FileLine file={file} />
            <Findings file={file} />
          </div>
        ))}
        <h3>Review</h3>
        <Votes votes={request.votes} needed={request.reviewers_needed} />
        <ExportHistory client={client} id={request.id} names={names} />
      </div>
    </details>
  );
}
