import { Fragment, useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import { checkEntry, type InclusionProof, type Verdict } from '../../api/proof.js';
import type { AuditFilter, CellEnd, Entry, EntryDetail, TimelineOf } from '../../api/types/log.js';
import { asLabel } from '../../api/types/labels.js';
import { Await, Button, Code, Details, Empty, Facts, LabelBadge } from '../basics.js';
import { personName } from '../format.js';
import { useAction, useLoad } from '../hooks.js';
import { SaveProof } from '../SaveProof.js';
import { Page, Table } from './Page.js';
import { Paging, useTrail } from './Paging.js';
import { href } from './route.js';
import { timelineHref } from './Timelines.js';

const PAGE = 50;
const NO_FILTER: AuditFilter = { actor: '', action: '', object: '', project: '' };
const EXAMPLES: AuditFilter = { actor: 'analyst', action: 'server:cell:begin', object: 'health/randhie', project: 'cardio' };
const FIELDS = ['actor', 'action', 'object', 'project'] as const;

/** The audit log, newest first. Looking is an entry, too, so nothing here loads by itself while one types. */
export function AuditPage({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const id = useId();
  const [draft, setDraft] = useState(NO_FILTER);
  const [filter, setFilter] = useState(NO_FILTER);
  const trail = useTrail();
  const page = useLoad(
    () => client.entries(filter, trail.before, PAGE),
    `entries ${JSON.stringify(filter)} ${String(trail.before)}`
  );
  return (
    <Page title="Audit log" intro="What you may see of the log, newest first. That you read here is recorded as well.">
      <form
        className="sr-Filter"
        aria-label="Filter entries"
        onSubmit={event => {
          event.preventDefault();
          trail.restart();
          setFilter({ ...draft, actor: actorName(draft.actor) });
        }}
      >
        {FIELDS.map(field => (
          <p key={field}>
            <label htmlFor={`${id}-${field}`}>{field.charAt(0).toUpperCase() + field.slice(1)}</label>
            <input
              id={`${id}-${field}`}
              className="sr-Input"
              placeholder={EXAMPLES[field]}
              value={draft[field]}
              onChange={event => {
                setDraft({ ...draft, [field]: event.target.value.trim() });
              }}
            />
          </p>
        ))}
        <div className="sr-Actions">
          <Button submit tone="primary">
            Filter
          </Button>
          <Button
            onClick={() => {
              setDraft(NO_FILTER);
              trail.restart();
              setFilter(NO_FILTER);
            }}
          >
            Clear
          </Button>
        </div>
      </form>
      <Await loaded={page} what="entries">
        {value => (
          <>
            {value.entries.length === 0 ? (
              <Empty>{value.next === null ? 'No entry matches.' : 'No entry matches among the newest; look at older ones.'}</Empty>
            ) : (
              <Table caption="Entries" head={['Entry', 'Time (UTC)', 'Who', 'Action', 'Object', 'Project', 'Label']}>
                {value.entries.map(entry => (
                  <EntryRow key={entry.index} entry={entry} />
                ))}
              </Table>
            )}
            <Paging trail={trail} next={value.next}>
              <span className="sr-Quiet">{value.size.toLocaleString()} entries in the log</span>
            </Paging>
          </>
        )}
      </Await>
      <Checkpoint client={client} />
    </Page>
  );
}

/** Actors are `user:NAME`, `hub`, ...: people may leave the kind out. */
function actorName(typed: string): string {
  return typed === '' || typed.includes(':') || typed === 'hub' || typed === 'control' ? typed : `user:${typed}`;
}

function EntryRow({ entry }: { readonly entry: Entry }): JSX.Element {
  return (
    <tr>
      <th scope="row">
        <a href={href('audit', entry.index)}>{entry.index}</a>
      </th>
      <td className="sr-Time">{utc(entry.time)}</td>
      <td>{entry.actor}</td>
      <td>
        <code>{entry.action}</code>
        {entry.end !== undefined && entry.end.state !== 'ended' && (
          <span className="sr-Block">
            <EndView end={entry.end} />
          </span>
        )}
      </td>
      <td>{entry.object}</td>
      <td>{entry.project}</td>
      <td>{entry.label !== null && <LabelBadge label={asLabel(entry.label)} />}</td>
    </tr>
  );
}

/** Auditors compare times between machines: always UTC, to the millisecond. */
function utc(time: string): string {
  return time.replace('T', ' ').replace('Z', '');
}

function Checkpoint({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const checkpoint = useLoad(() => client.checkpoint(), 'checkpoint');
  return (
    <section className="sr-Section" aria-labelledby="checkpoint">
      <h2 id="checkpoint">Signed checkpoint</h2>
      <p>
        It fixes every entry up to its size. Keep a copy elsewhere: with it and the public key,{' '}
        <code>strongroom audit verify</code> proves that nothing before it was changed.
      </p>
      <Await loaded={checkpoint} what="the checkpoint">
        {note => <Code name="Text of the checkpoint">{note}</Code>}
      </Await>
    </section>
  );
}

export function EntryPage({ client, index }: { readonly client: ConsoleClient; readonly index: number }): JSX.Element {
  const loaded = useLoad(() => client.entry(index), `entry ${index}`);
  return (
    <Page title={`Entry ${index}`} back={{ href: href('audit'), text: 'Audit log' }}>
      <Await loaded={loaded} what="the entry">
        {entry => (
          <>
            <section className="sr-Section" aria-labelledby="leaf">
              <h2 id="leaf">What is recorded</h2>
              <Facts
                facts={[
                  ['Time (UTC)', utc(entry.time)],
                  ['Action', <code key="action">{entry.action}</code>],
                  ['End', entry.end === undefined ? null : <EndView key="end" end={entry.end} />],
                  ['Who', entry.actor],
                  ['Object', entry.object],
                  ['Project', entry.project],
                  ['Server', entry.server],
                  ['Kernel', entry.kernel],
                  ['Label', entry.label === null ? null : <LabelBadge key="label" label={asLabel(entry.label)} />],
                  ['Sources', (entry.sources ?? []).join(', ')]
                ]}
              />
              {entry.detail != null && <Details values={entry.detail} />}
              <EntryTimelines entry={entry} />
              {entry.narrowed === true && (
                <p className="sr-Note">
                  Above the label public, what the code in a kernel can choose is not shown to its author, here as in the
                  notebook: sizes, names, exact times. Auditors see all of the entry.
                </p>
              )}
            </section>
            {entry.payload_state !== 'none' && (
              <section className="sr-Section" aria-labelledby="payload">
                <h2 id="payload">What was written</h2>
                <Payload entry={entry} />
              </section>
            )}
            {entry.proof != null && (
              <section className="sr-Section" aria-labelledby="proof">
                <h2 id="proof">Proof of inclusion</h2>
                <Verified entry={entry} proof={entry.proof} />
                <Code name="Text of the proof">{JSON.stringify(entry.proof, null, 2)}</Code>
              </section>
            )}
          </>
        )}
      </Await>
    </Page>
  );
}

/** Where this entry stands among others: its person's, dataset's, notebook's or export's. */
function EntryTimelines({ entry }: { readonly entry: Entry }): JSX.Element | null {
  const found = timelinesOf(entry);
  return found.length === 0 ? null : (
    <p>
      Timelines:{' '}
      {found.map((of, at) => (
        <Fragment key={of.kind}>
          {at > 0 && ', '}
          <a href={timelineHref(of)}>
            {of.kind} {of.name}
          </a>
        </Fragment>
      ))}
    </p>
  );
}

function timelinesOf(entry: Entry): readonly TimelineOf[] {
  const found: TimelineOf[] = [];
  const [, user] = /^user:(.+)$/.exec(entry.actor) ?? [];
  if (user !== undefined) {
    found.push({ kind: 'person', name: user });
  }
  const aboutData = /^control:(?:read|access-request|grant|dataset):/.test(entry.action);
  const [, dataset] = aboutData ? (/^([^@]+\/[^@]+)/.exec(entry.object ?? '') ?? []) : [];
  if (dataset !== undefined) {
    found.push({ kind: 'dataset', name: dataset });
  }
  const [, made] = /^export:(.+)$/.exec(entry.object ?? '') ?? [];
  if (made !== undefined) {
    found.push({ kind: 'export', name: made });
  }
  if (entry.action.startsWith('server:') && entry.object !== null && user !== undefined) {
    found.push({ kind: 'notebook', name: entry.object, user, project: entry.project ?? '' });
  }
  return found;
}

/** What became of what began: a cell without an end is what an auditor looks for. */
function EndView({ end }: { readonly end: CellEnd }): JSX.Element {
  switch (end.state) {
    case 'ended':
      return end.entry === null ? <>recorded</> : <a href={href('audit', end.entry)}>entry {end.entry}</a>;
    case 'running':
      return (
        <span className="sr-State" data-tone="waiting">
          still runs
        </span>
      );
    case 'missing':
      return (
        <>
          <span className="sr-State" data-tone="bad">
            no end
          </span>{' '}
          <span className="sr-Quiet">{end.why}</span>
        </>
      );
  }
}

/** The text, or why it is not there. The entry verifies without it. */
function Payload({ entry }: { readonly entry: EntryDetail }): JSX.Element {
  if (entry.erased !== null) {
    return (
      <p className="sr-Note">
        Erased on {utc(entry.erased.time)} by <a href={href('audit', entry.erased.entry)}>entry {entry.erased.entry}</a>{' '}
        ({personName(entry.erased.actor)}). The entry itself stays and verifies, with the hash and the commitment
        of the text.
      </p>
    );
  }
  if (entry.payload != null) {
    return <Code name={`Text of entry ${entry.index}`}>{entry.payload}</Code>;
  }
  return entry.payload_state === 'not-yours' ? (
    <p className="sr-Quiet">Encrypted. Only auditors and whoever wrote it may read it.</p>
  ) : (
    <p className="sr-Note">
      It cannot be read, and no entry says that it was erased: its key or its ciphertext is gone, or was changed. Run{' '}
      <code>strongroom audit verify</code>.
    </p>
  );
}

/** Checks on click, in this browser, that what stands above is in the log that the checkpoint fixes. */
function Verified({ entry, proof }: { readonly entry: Entry; readonly proof: InclusionProof }): JSX.Element {
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const check = useAction(async () => {
    setVerdict(await checkEntry(entry, proof));
  });
  return (
    <>
      <div className="sr-Actions">
        <Button busy={check.busy} onClick={() => void check.run()}>
          Verify in this browser
        </Button>
        {verdict?.ok === true && verdict.file !== null && <SaveProof entry={entry.index} file={verdict.file} />}
      </div>
      <p role="status">
        {verdict?.ok === true &&
          !verdict.compared &&
          `Verified: an entry with this number and hash is in the log of ${verdict.size.toLocaleString()} entries with the root ${verdict.root}. What is shown above is a part of it and can neither be compared nor saved as a proof here; an auditor can do both.`}
        {verdict?.ok === true &&
          verdict.compared &&
          `Verified: this entry is in the log of ${verdict.size.toLocaleString()} entries with the root ${verdict.root}. Compare that with a checkpoint that you kept.`}
        {verdict?.ok === false && `NOT VERIFIED. ${verdict.why} Tell the auditor, and run: strongroom audit verify`}
      </p>
    </>
  );
}
