import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { ExportFile, ExportRequest, ExportVerdict, Preview } from '../../api/types/exports.js';
import type { Me } from '../../api/types/session.js';
import { Await, Button, Code, Empty, Facts, LabelBadge, Moment, ProblemView, StateBadge } from '../basics.js';
import { FileLine, Findings, Votes } from '../ExportFacts.js';
import { filledInBy } from '../format.js';
import { useAction, useLoad } from '../hooks.js';
import { save } from '../save.js';
import { ExportLine } from './Overview.js';
import { Page, Table } from './Page.js';
import { QueuePage } from './QueuePage.js';
import { href } from './route.js';
import { timelineHref } from './Timelines.js';

export function ExportsPage({ client, me }: { readonly client: ConsoleClient; readonly me: Me }): JSX.Element {
  return (
    <QueuePage
      title="Exports"
      intro="What analysts ask to take out. An approval holds for exactly the bytes that you have seen."
      what="exports"
      none={{ open: 'No export waits for a review.', all: 'There are no exports.' }}
      load={which => client.exports(which)}
      line={request => <ExportLine key={request.id} request={request} me={me} />}
    />
  );
}

export function ExportPage({
  client,
  me,
  id
}: {
  readonly client: ConsoleClient;
  readonly me: Me;
  readonly id: string;
}): JSX.Element {
  const loaded = useLoad(() => client.export(id), `export ${id}`);
  return (
    <Await loaded={loaded} what="the export">
      {request => (
        <Page
          title={
            <>
              Export by {request.user} <StateBadge state={request.state} />
            </>
          }
          back={{ href: href('exports'), text: 'Exports' }}
        >
          <div className="sr-Split">
            <div>
              <section className="sr-Section" aria-labelledby="justification">
                <h2 id="justification">Justification</h2>
                <blockquote>{request.justification}</blockquote>
                <Facts
                  facts={[
                    ['Project', request.project],
                    ['Label', <LabelBadge key="label" label={request.label} />],
                    ['Made from', request.sources.map(source => `${source.dataset} v${source.version}`).join(', ')],
                    ['Filled in by', filledInBy(request)],
                    [
                      'Where from',
                      <a key="chain" href={timelineHref({ kind: 'export', name: request.id })}>
                        All that led to these files
                      </a>
                    ],
                    ['Submitted', <Moment key="submitted" time={request.submitted_at} />],
                    ['Released', request.released_at === null ? null : <Moment key="released" time={request.released_at} />]
                  ]}
                />
              </section>
              {request.files.map(file => (
                <FileSection key={file.index} request={request} file={file} client={client} />
              ))}
              <CellsSection request={request} />
            </div>
            <section className="sr-Section" aria-labelledby="verdict">
              <h2 id="verdict">Verdict</h2>
              <Votes votes={request.votes} needed={request.reviewers_needed} />
              <VoteForm request={request} client={client} me={me} voted={loaded.reload} />
            </section>
          </div>
        </Page>
      )}
    </Await>
  );
}

function FileSection({
  request,
  file,
  client
}: {
  readonly request: ExportRequest;
  readonly file: ExportFile;
  readonly client: ConsoleClient;
}): JSX.Element {
  const heading = useId();
  const preview = useLoad(() => client.preview(request.id, file.sha256), file.sha256);
  const fetched = useAction(async () => {
    save(await client.file(request.id, file.sha256), file.name.split('/').at(-1) ?? file.name);
  });
  return (
    <section className="sr-Section" aria-labelledby={heading}>
      <header className="sr-Panel-header">
        <h2 id={heading}>{file.name}</h2>
        <Button
          busy={fetched.busy}
          name={`Fetch ${file.name}`}
          onClick={() => {
            void fetched.run();
          }}
        >
          Fetch the file
        </Button>
      </header>
      {fetched.problem !== null && <ProblemView problem={fetched.problem} />}
      <FileLine file={file} />
      <Findings file={file} />
      <Await loaded={preview} what="the preview">
        {value => <PreviewView preview={value} name={file.name} />}
      </Await>
    </section>
  );
}

function PreviewView({ preview, name }: { readonly preview: Preview; readonly name: string }): JSX.Element {
  switch (preview.kind) {
    case 'table':
      return (
        <>
          <Table caption={`Preview of ${name}`} head={preview.columns}>
            {preview.rows.map((row, index) => (
              <tr key={index}>
                {row.map((cell, column) => (
                  <td key={column}>{cell === null ? '' : String(cell)}</td>
                ))}
              </tr>
            ))}
          </Table>
          {preview.truncated && <p className="sr-Hint">The file goes on: fetch it to see all of it.</p>}
        </>
      );
    case 'text':
      return (
        <>
          <Code name={`Preview of ${name}`}>{preview.text}</Code>
          {preview.truncated && <p className="sr-Hint">The file goes on: fetch it to see all of it.</p>}
        </>
      );
    case 'image':
      return <img className="sr-Preview" alt={`Preview of ${name}`} src={`data:${preview.mime};base64,${preview.base64}`} />;
  }
}

function CellsSection({ request }: { readonly request: ExportRequest }): JSX.Element {
  return (
    <section className="sr-Section" aria-labelledby="cells">
      <h2 id="cells">The cells that ran</h2>
      {request.cells.length === 0 ? (
        <Empty>The requester named no cells.</Empty>
      ) : (
        request.cells.map(cell => (
          <article key={cell.entry} className="sr-Cell">
            <p className="sr-Quiet">
              <a href={href('audit', cell.entry)}>Entry {cell.entry}</a>
              {cell.notebook !== null && `, ${cell.notebook}`}, <Moment time={cell.time} />
            </p>
            {cell.code != null ? (
              <Code name={`Code of entry ${cell.entry}`}>{cell.code}</Code>
            ) : (
              <p className="sr-Quiet">Its code is not open to you.</p>
            )}
          </article>
        ))
      )}
    </section>
  );
}

const VERDICTS: readonly { verdict: ExportVerdict; words: string; tone: 'primary' | 'plain' | 'danger' }[] = [
  { verdict: 'approve', words: 'Approve', tone: 'primary' },
  { verdict: 'changes', words: 'Ask for changes', tone: 'plain' },
  { verdict: 'reject', words: 'Reject', tone: 'danger' }
];

function VoteForm({
  request,
  client,
  me,
  voted
}: {
  readonly request: ExportRequest;
  readonly client: ConsoleClient;
  readonly me: Me;
  readonly voted: () => void;
}): JSX.Element {
  const id = useId();
  const [comment, setComment] = useState('');
  const vote = useAction(async (verdict: ExportVerdict) => {
    await client.vote(request.id, { verdict, comment: comment.trim() });
    voted();
  });
  const own = request.user === me.user;
  const closed = own || !request.may.vote;
  return (
    <form
      className="sr-Form"
      aria-label="Verdict"
      onSubmit={event => {
        event.preventDefault();
      }}
    >
      {closed && (
        <p className="sr-Note" id={`${id}-closed`}>
          {whyClosed(request, me)}
        </p>
      )}
      <label htmlFor={`${id}-comment`}>Comment</label>
      <textarea
        id={`${id}-comment`}
        className="sr-Input"
        rows={4}
        disabled={closed || vote.busy}
        value={comment}
        aria-describedby={`${id}-hint`}
        onChange={event => {
          setComment(event.target.value);
        }}
      />
      <p className="sr-Hint" id={`${id}-hint`}>
        {request.user} reads it. To reject or to ask for changes, say why.
      </p>
      {vote.problem !== null && <ProblemView problem={vote.problem} />}
      <div className="sr-Actions">
        {VERDICTS.map(({ verdict, words, tone }) => (
          <Button
            key={verdict}
            tone={tone}
            busy={vote.busy}
            disabled={closed || (verdict !== 'approve' && comment.trim() === '')}
            describedBy={closed ? `${id}-closed` : `${id}-hint`}
            onClick={() => {
              void vote.run(verdict);
            }}
          >
            {words}
          </Button>
        ))}
      </div>
    </form>
  );
}

function whyClosed(request: ExportRequest, me: Me): string {
  if (request.user === me.user) {
    return 'This is your own export: nobody decides on what they asked for themselves.';
  }
  if (request.turn !== 'steward') {
    return 'This export does not wait for a verdict.';
  }
  return request.votes.some(vote => vote.reviewer === me.user)
    ? 'You have given your verdict. Another reviewer has to give theirs.'
    : 'You are not a reviewer of the datasets that this export was made from.';
}
