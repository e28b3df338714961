import { useId, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { AccessRequest } from '../../api/types/access.js';
import type { ExportRequest } from '../../api/types/exports.js';
import type { Me } from '../../api/types/session.js';
import type { Status } from '../../api/types/status.js';
import { Await, Empty, LabelBadge, Moment, StateBadge } from '../basics.js';
import { count } from '../format.js';
import { useLoad } from '../hooks.js';
import { LogSection } from './LogHealth.js';
import { Page } from './Page.js';
import { href } from './route.js';

/** What waits for the one who looks, the oldest first. */
export function OverviewPage({ client, me }: { readonly client: ConsoleClient; readonly me: Me }): JSX.Element {
  const { approve_access, approve_exports, administer, audit } = me.can;
  return (
    <Page title="Overview" intro={`Good day, ${me.full_name}. This is what waits for a decision.`}>
      {approve_access && (
        <Queue
          title="Access requests"
          what="access requests"
          none="No access request waits."
          load={() => client.accessRequests('open')}
          line={request => <AccessLine key={request.id} request={request} me={me} />}
        />
      )}
      {approve_exports && (
        <Queue
          title="Exports"
          what="exports"
          none="No export waits for a review."
          load={() => client.exports('open')}
          line={request => <ExportLine key={request.id} request={request} me={me} />}
        />
      )}
      {(administer || audit) && <PolicyLine client={client} />}
      {(administer || audit) && <StatusLines client={client} administer={administer} />}
      {!approve_access && !approve_exports && !administer && !audit && (
        <Empty>Nothing: your roles take no decisions. You find your own requests in JupyterLab, in the side panels.</Empty>
      )}
    </Page>
  );
}

function Queue<T extends { readonly submitted_at: string | null }>({
  title,
  what,
  none,
  load,
  line
}: {
  readonly title: string;
  readonly what: string;
  readonly none: string;
  readonly load: () => Promise<readonly T[]>;
  readonly line: (one: T) => JSX.Element;
}): JSX.Element {
  const heading = useId();
  const waiting = useLoad(load, what);
  return (
    <section className="sr-Section" aria-labelledby={heading}>
      <h2 id={heading}>{title}</h2>
      <Await loaded={waiting} what={what}>
        {open => (open.length === 0 ? <Empty>{none}</Empty> : <ul className="sr-Queue">{oldestFirst(open).map(line)}</ul>)}
      </Await>
    </section>
  );
}

export function AccessLine({ request, me }: { readonly request: AccessRequest; readonly me: Me }): JSX.Element {
  return (
    <li>
      <a href={href('access', request.id)}>
        <span className="sr-Queue-title">
          {request.user} asks for {request.dataset}
        </span>
        <span className="sr-Queue-text">{request.purpose}</span>
      </a>
      <span className="sr-Queue-side">
        <StateBadge state={request.state} />
        {request.user === me.user && <span className="sr-Quiet">your own</span>}
        <span className="sr-Quiet">
          <Moment time={request.submitted_at} />
        </span>
      </span>
    </li>
  );
}

export function ExportLine({ request, me }: { readonly request: ExportRequest; readonly me: Me }): JSX.Element {
  const warnings = request.files.flatMap(file => file.findings).filter(finding => finding.severity !== 'pass').length;
  return (
    <li>
      <a href={href('exports', request.id)}>
        <span className="sr-Queue-title">{request.files.map(file => file.name).join(', ')}</span>
        <span className="sr-Queue-text">
          {request.user}, {request.project}: {request.justification}
        </span>
      </a>
      <span className="sr-Queue-side">
        <StateBadge state={request.state} />
        <LabelBadge label={request.label} />
        {warnings > 0 && <span>{count(warnings, 'finding')}</span>}
        {request.user === me.user && <span className="sr-Quiet">your own</span>}
        <span className="sr-Quiet">
          <Moment time={request.submitted_at} />
        </span>
      </span>
    </li>
  );
}

function PolicyLine({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const policy = useLoad(() => client.policy(), 'policy');
  return (
    <section className="sr-Section" aria-labelledby="policy-line">
      <h2 id="policy-line">Policy</h2>
      <Await loaded={policy} what="the policy">
        {value => (
          <p className={value.state === 'refused' ? 'sr-Note' : undefined}>
            {value.state === 'refused'
              ? `The files in the policy folder are refused (${count(value.problems.length, 'problem')}). Version `
              : 'Version '}
            <code>{value.version}</code> is in force since <Moment time={value.loaded_at} />.{' '}
            <a href={href('policy')}>See the policy</a>
          </p>
        )}
      </Await>
    </section>
  );
}

function StatusLines({ client, administer }: { readonly client: ConsoleClient; readonly administer: boolean }): JSX.Element {
  const status = useLoad(() => client.status(), 'status');
  return (
    <Await loaded={status} what="the status">
      {value => (
        <>
          <LogSection log={value.log} />
          {administer && <Installation status={value} />}
        </>
      )}
    </Await>
  );
}

function Installation({ status }: { readonly status: Status }): JSX.Element {
  return (
    <section className="sr-Section" aria-labelledby="status-line">
      <h2 id="status-line">Installation</h2>
      <p>{status.mode === 'one-uid' ? 'All parts run under one uid.' : 'Each part runs under a uid of its own.'}</p>
      <MachineSummary status={status} />
      {status.weaker.map(line => (
        <p key={line} className="sr-Note">
          {line}
        </p>
      ))}
    </section>
  );
}

function MachineSummary({ status }: { readonly status: Status }): JSX.Element {
  const { machine = [], violations = {} } = status;
  const broken = machine.filter(check => check.state === 'broken').length;
  const weaker = machine.filter(check => check.state === 'weaker').length;
  const tried = Object.values(violations).reduce((sum, number) => sum + number, 0);
  return (
    <p className={broken > 0 ? 'sr-Note' : undefined}>
      {broken > 0 ? `${count(broken, 'check')} of the machine failed. ` : ''}
      {weaker > 0 ? `${count(weaker, 'thing')} could be stronger. ` : ''}
      {count(tried, 'violation')} in the last day. <a href={href('machine')}>See the machine</a>
    </p>
  );
}

function oldestFirst<T extends { readonly submitted_at: string | null }>(requests: readonly T[]): readonly T[] {
  return requests.toSorted((a, b) => (a.submitted_at ?? '').localeCompare(b.submitted_at ?? ''));
}
