import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { AccessContext, AccessRequest } from '../../api/types/access.js';
import type { Mask } from '../../api/types/datasets.js';
import { asLabel } from '../../api/types/labels.js';
import type { Me } from '../../api/types/session.js';
import { ColumnTick, DaysInput, asDays } from '../AccessFields.js';
import { Await, Button, Day, Facts, LabelBadge, Moment, ProblemView, StateBadge } from '../basics.js';
import { count, filledInBy, maskWord } from '../format.js';
import { useAction, useLoad } from '../hooks.js';
import { MaskChoice, isWholeMask } from './MaskChoice.js';
import { AccessLine } from './Overview.js';
import { Page, Table } from './Page.js';
import { QueuePage } from './QueuePage.js';
import { Unread } from './Grants.js';
import { href } from './route.js';

export function AccessRequestsPage({ client, me }: { readonly client: ConsoleClient; readonly me: Me }): JSX.Element {
  return (
    <QueuePage
      title="Access requests"
      intro="Who asks for which of your datasets, and why."
      what="access requests"
      none={{ open: 'No access request waits for a decision.', all: 'There are no access requests.' }}
      load={which => client.accessRequests(which)}
      line={request => <AccessLine key={request.id} request={request} me={me} />}
    />
  );
}

export function AccessRequestPage({
  client,
  me,
  id
}: {
  readonly client: ConsoleClient;
  readonly me: Me;
  readonly id: string;
}): JSX.Element {
  const loaded = useLoad(() => client.accessRequest(id), `access ${id}`);
  return (
    <Await loaded={loaded} what="the request">
      {request => (
        <Page
          title={
            <>
              {request.user} asks for {request.dataset} <StateBadge state={request.state} />
            </>
          }
          back={{ href: href('access'), text: 'Access requests' }}
        >
          <div className="sr-Split">
            <div>
              <section className="sr-Section" aria-labelledby="purpose">
                <h2 id="purpose">Purpose</h2>
                <blockquote>{request.purpose}</blockquote>
                <Facts
                  facts={[
                    ['Project', request.project],
                    ['Dataset', request.dataset],
                    ['Version when asked', request.version_at_request === null ? null : String(request.version_at_request)],
                    ['Duration', count(request.days, 'day')],
                    ['Asked', <Moment key="asked" time={request.submitted_at} />],
                    ['Filled in by', filledInBy(request)]
                  ]}
                />
              </section>
              {request.context != null && <ContextSection request={request} context={request.context} />}
            </div>
            <section className="sr-Section" aria-labelledby="decision">
              <h2 id="decision">Decision</h2>
              {request.turn === 'steward' ? (
                <DecisionForm
                  request={request}
                  client={client}
                  own={request.user === me.user}
                  decided={loaded.reload}
                />
              ) : (
                <Outcome request={request} />
              )}
            </section>
          </div>
        </Page>
      )}
    </Await>
  );
}

function ContextSection({
  request,
  context
}: {
  readonly request: AccessRequest;
  readonly context: AccessContext;
}): JSX.Element {
  const { project, dataset } = context;
  return (
    <section className="sr-Section" aria-labelledby="context">
      <h2 id="context">Context</h2>
      <Facts
        facts={[
          ['Dataset', dataset?.title],
          ['Label', dataset === null ? null : <LabelBadge key="label" label={asLabel(dataset.label)} />],
          ['Project', project?.title],
          ['Its purpose', project?.purpose],
          ['Open until', project?.until == null ? null : <Day key="until" time={project.until} />],
          ['Membership', context.member ? `${request.user} is a member` : `${request.user} is no member any more`]
        ]}
      />
      {context.last_grant != null && (
        <p>
          The last grant, until <Day time={context.last_grant.until} />: <StateBadge state={context.last_grant.state} />
          <Unread grant={context.last_grant} />
          {context.last_grant.unread?.length === 0 && (
            <span className="sr-Quiet sr-Block">All of its columns were read.</span>
          )}
        </p>
      )}
      <h3>Earlier requests of {request.user}</h3>
      {context.earlier_requests.length === 0 ? (
        <p className="sr-Quiet">None.</p>
      ) : (
        <ul className="sr-List">
          {context.earlier_requests.map(earlier => (
            <li key={earlier.id} className="sr-Card-line">
              <code>{earlier.dataset}</code>
              <StateBadge state={earlier.state} />
              <span className="sr-Quiet">
                {earlier.project}, <Day time={earlier.submitted_at} />
                {earlier.decided_by !== null && `, ${earlier.decided_by}`}
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Outcome({ request }: { readonly request: AccessRequest }): JSX.Element {
  const grant = request.grant;
  return (
    <>
      <Facts
        facts={[
          ['State', <StateBadge key="state" state={request.state} />],
          ['Decided by', request.decided_by],
          ['At', request.decided_at === null ? null : <Moment key="at" time={request.decided_at} />],
          ['Comment', request.comment]
        ]}
      />
      {grant !== null && (
        <>
          <h3>Grant</h3>
          <Facts
            facts={[
              ['State', <StateBadge key="state" state={grant.state} />],
              ['Until', <Day key="until" time={grant.until} />],
              ['Columns', grant.columns.map(name => masked(name, grant.masks[name])).join(', ')]
            ]}
          />
          <p>
            <a href={href('grants')}>All grants</a>
          </p>
        </>
      )}
    </>
  );
}

function masked(column: string, mask: Mask | undefined): string {
  return mask === undefined ? column : `${column} (${maskWord(mask)})`;
}

function DecisionForm({
  request,
  client,
  own,
  decided
}: {
  readonly request: AccessRequest;
  readonly client: ConsoleClient;
  readonly own: boolean;
  readonly decided: () => void;
}): JSX.Element {
  const id = useId();
  const [days, setDays] = useState(String(request.days));
  const [granted, setGranted] = useState<ReadonlySet<string>>(new Set(request.columns));
  const [masks, setMasks] = useState<Readonly<Record<string, Mask | undefined>>>({});
  const [comment, setComment] = useState('');
  const wantedDays = asDays(days);
  const commented = comment.trim() !== '';
  const validMasks = request.columns.every(name => !granted.has(name) || isWholeMask(masks[name]));

  const decide = useAction(async (verdict: 'approve' | 'deny') => {
    const kept = request.columns.filter(name => granted.has(name));
    await client.decide(request.id, {
      verdict,
      days: wantedDays ?? request.days,
      columns: kept,
      masks: Object.fromEntries(
        kept.flatMap(name => {
          const mask = masks[name];
          return mask === undefined ? [] : [[name, mask]];
        })
      ),
      comment: comment.trim()
    });
    decided();
  });

  return (
    <form
      className="sr-Form"
      aria-label="Decision"
      onSubmit={event => {
        event.preventDefault();
      }}
    >
      {own && (
        <p className="sr-Note" id={`${id}-own`}>
          This is your own request: nobody decides on what they asked for themselves. Another steward of this dataset must.
        </p>
      )}
      <fieldset className="sr-Fieldset sr-Fieldset-plain" disabled={own || decide.busy}>
        <legend className="sr-hidden">What to grant</legend>
        <label htmlFor={`${id}-days`}>Days</label>
        <DaysInput id={`${id}-days`} days={days} change={setDays} />
        <Table caption="Columns asked for" head={['Column', 'Mask']}>
          {request.columns.map(name => {
            const verdict = request.context?.policy.find(candidate => candidate.column === name);
            return (
              <tr key={name}>
                <th scope="row">
                  <ColumnTick
                    column={name}
                    tags={verdict?.tags ?? []}
                    name={`Grant ${name}`}
                    ticked={granted}
                    tick={setGranted}
                  />
                </th>
                <td>
                  <MaskChoice
                    column={name}
                    type={request.context?.dataset?.columns.find(known => known.name === name)?.type ?? ''}
                    policy={verdict?.mask ?? null}
                    disabled={!granted.has(name)}
                    mask={masks[name]}
                    choose={mask => {
                      setMasks({ ...masks, [name]: mask });
                    }}
                  />
                </td>
              </tr>
            );
          })}
        </Table>
        <label htmlFor={`${id}-comment`}>Comment</label>
        <textarea
          id={`${id}-comment`}
          className="sr-Input"
          rows={3}
          value={comment}
          aria-describedby={`${id}-comment-hint`}
          onChange={event => {
            setComment(event.target.value);
          }}
        />
        <p className="sr-Hint" id={`${id}-comment-hint`}>
          {request.user} reads it. To deny, say why.
        </p>
      </fieldset>
      {decide.problem !== null && <ProblemView problem={decide.problem} />}
      <div className="sr-Actions">
        <Button
          tone="primary"
          busy={decide.busy}
          disabled={own || granted.size === 0 || wantedDays === null || !validMasks}
          {...(own ? { describedBy: `${id}-own` } : {})}
          onClick={() => {
            void decide.run('approve');
          }}
        >
          Approve
        </Button>
        <Button
          tone="danger"
          busy={decide.busy}
          disabled={own || !commented}
          describedBy={own ? `${id}-own` : `${id}-comment-hint`}
          onClick={() => {
            void decide.run('deny');
          }}
        >
          Deny
        </Button>
      </div>
    </form>
  );
}
