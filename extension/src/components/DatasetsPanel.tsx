import { useId, useState, type JSX } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import type { AccessRequest } from '../api/types/access.js';
import type { Column, Dataset } from '../api/types/datasets.js';
import type { AccessDraft } from '../api/types/requests.js';
import { AccessRequestForm } from './AccessRequestForm.js';
import { Await, Button, Code, Day, Empty, Facts, LabelBadge, Moment, ProblemView, StateBadge, Tags } from './basics.js';
import { DraftCard } from './Drafts.js';
import { count, HABITS, loadCode, maskWord, openCode, type Habit } from './format.js';
import { useAction, useLoad } from './hooks.js';
import { missingWord, ProfileNote, ProfileValues } from './Profile.js';

const CODES_SHOWN = 6;

/** What may be discovered, what may be read, and the way from the one to the other. */
export function DatasetsPanel({
  client,
  insert,
  revision
}: {
  readonly client: EnclaveClient;
  /** Put code into the active notebook; false when there is none. */
  readonly insert: (code: string) => boolean;
  /** Counts up when requests have changed elsewhere. */
  readonly revision: number;
}): JSX.Element {
  const heading = useId();
  const requestsHeading = useId();
  const [filter, setFilter] = useState('');
  const [said, setSaid] = useState('');
  const [habit, setHabit] = useState<Habit>('pandas');
  const drafts = useLoad(() => client.drafts(), `drafts#${revision}`);
  const datasets = useLoad(() => client.datasets(), `datasets#${revision}`);
  const requests = useLoad(() => client.accessRequests(), `requests#${revision}`);
  const reload = (): void => {
    datasets.reload();
    requests.reload();
    drafts.reload();
  };
  const prepared = (drafts.value ?? []).filter(draft => draft.kind === 'access-request');

  return (
    <div className="sr-Panel">
      <section aria-labelledby={heading}>
        <header className="sr-Panel-header">
          <h2 id={heading}>Datasets</h2>
          <Button name="Refresh datasets" onClick={reload}>
            Refresh
          </Button>
        </header>
        <input
          type="search"
          className="sr-Input"
          aria-label="Filter datasets"
          placeholder="Name, column or tag"
          value={filter}
          onChange={event => {
            setFilter(event.target.value);
          }}
        />
        <label className="sr-Together">
          <span>Insert code for</span>
          <select
            className="sr-Input sr-Input-short"
            value={habit}
            onChange={event => {
              setHabit(event.target.value as Habit);
            }}
          >
            {HABITS.map(one => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        <p className="sr-Said" role="status">
          {said}
        </p>
        {prepared.length > 0 && (
          <ul className="sr-List" aria-label="Prepared by code, not sent">
            {prepared.map(draft => (
              <li key={draft.id}>
                <PreparedRequest
                  draft={draft}
                  dataset={datasets.value?.find(dataset => dataset.name === draft.dataset)}
                  client={client}
                  changed={reload}
                />
              </li>
            ))}
          </ul>
        )}
        <Await loaded={datasets} what="datasets">
          {all => {
            const found = all.filter(dataset => matches(dataset, filter));
            if (all.length === 0) {
              return <Empty>Nothing here may be discovered by you in this project.</Empty>;
            }
            return found.length === 0 ? (
              <Empty>No dataset matches “{filter}”.</Empty>
            ) : (
              <ul className="sr-List">
                {found.map(dataset => (
                  <li key={dataset.name}>
                    <DatasetItem
                      dataset={dataset}
                      client={client}
                      changed={reload}
                      insert={synthetic => {
                        const what = synthetic ? `the synthetic twin of ${dataset.name}` : dataset.name;
                        setSaid(
                          insert(loadCode(dataset.name, habit, synthetic))
                            ? `The code that loads ${what} is in your notebook. Run the cell to read it.`
                            : 'Open a notebook first: the code goes into its active cell.'
                        );
                      }}
                    />
                  </li>
                ))}
              </ul>
            );
          }}
        </Await>
      </section>
      <section aria-labelledby={requestsHeading}>
        <h2 id={requestsHeading}>My requests</h2>
        <Await loaded={requests} what="requests">
          {mine =>
            mine.length === 0 ? (
              <Empty>You have not asked for access in this project.</Empty>
            ) : (
              <ul className="sr-List">
                {mine.map(request => (
                  <li key={request.id}>
                    <RequestItem request={request} client={client} changed={reload} />
                  </li>
                ))}
              </ul>
            )
          }
        </Await>
      </section>
    </div>
  );
}

function PreparedRequest({
  draft,
  dataset,
  client,
  changed
}: {
  readonly draft: AccessDraft;
  readonly dataset: Dataset | undefined;
  readonly client: EnclaveClient;
  readonly changed: () => void;
}): JSX.Element {
  const [reviewing, setReviewing] = useState(false);
  return (
    <DraftCard
      draft={draft}
      what={`access to ${draft.dataset}, ${count(draft.columns.length, 'column')}, for ${count(draft.days, 'day')}`}
      client={client}
      changed={changed}
      {...(dataset === undefined || reviewing
        ? {}
        : {
            review: () => {
              setReviewing(true);
            }
          })}
    >
      {reviewing && dataset !== undefined && (
        <AccessRequestForm
          dataset={dataset}
          client={client}
          draft={draft}
          done={sent => {
            setReviewing(false);
            if (sent) {
              changed();
            }
          }}
        />
      )}
    </DraftCard>
  );
}

function matches(dataset: Dataset, filter: string): boolean {
  const wanted = filter.trim().toLowerCase();
  return [
    dataset.name,
    dataset.title,
    dataset.label,
    ...dataset.columns.flatMap(column => [column.name, ...(column.tags ?? [])])
  ].some(text => text.toLowerCase().includes(wanted));
}

function DatasetItem({
  dataset,
  client,
  insert,
  changed
}: {
  readonly dataset: Dataset;
  readonly client: EnclaveClient;
  readonly insert: (synthetic: boolean) => void;
  readonly changed: () => void;
}): JSX.Element {
  const [asking, setAsking] = useState(false);
  const access = dataset.access ?? null;
  const readable = access?.read === true;
  const waiting = access?.request != null;
  const derived = dataset.derived ?? null;
  return (
    <details className="sr-Card">
      <summary>
        <span className="sr-Card-title">{dataset.title}</span>
        <span className="sr-Card-line">
          <LabelBadge label={dataset.label} />
          <code>{dataset.name}</code>
        </span>
        <AccessLine dataset={dataset} />
      </summary>
      <div className="sr-Card-body">
        <p>{dataset.description}</p>
        <div className="sr-Actions">
          {readable && (
            <Button
              tone="primary"
              name={`Insert load code for ${dataset.name}`}
              onClick={() => {
                insert(false);
              }}
            >
              Insert load code
            </Button>
          )}
          {derived === null && !asking && !waiting && !(readable && access.until === null) && (
            <Button
              tone={readable ? 'plain' : 'primary'}
              name={readable ? `Request more of ${dataset.name}` : `Request access to ${dataset.name}`}
              onClick={() => {
                setAsking(true);
              }}
            >
              {readable ? 'Request more' : 'Request access'}
            </Button>
          )}
        </div>
        {asking && (
          <AccessRequestForm
            dataset={dataset}
            client={client}
            done={sent => {
              setAsking(false);
              if (sent) {
                changed();
              }
            }}
          />
        )}
        {dataset.synthetic === true && (
          <Twin
            dataset={dataset}
            insert={() => {
              insert(true);
            }}
          />
        )}
        <Facts
          facts={[
            ['Version', String(dataset.version)],
            ['Rows', dataset.rows === null ? null : dataset.rows.toLocaleString()],
            ['Owner', dataset.owner],
            ['Stewards', dataset.stewards.join(', ')],
            ['Source', dataset.source],
            ['Made from', names(dataset.sources)],
            ['Used in', names(dataset.used_by)],
            ['Licence', dataset.licence]
          ]}
        />
        {derived?.quiet === true && (
          <p className="sr-Hint">It was saved where nothing may be shown, so only its name is told here. Code can open it.</p>
        )}
        {dataset.columns.length > 0 && <h3>Columns</h3>}
        <ul className="sr-Columns">
          {dataset.columns.map(column => {
            const mask = access?.masked[column.name];
            return (
              <li key={column.name}>
                <span className="sr-Tags">
                  <code>{column.name}</code>
                  <span className="sr-Quiet">{column.type}</span>
                  <Tags tags={column.tags ?? []} />
                  {readable && !access.columns.includes(column.name) && <span className="sr-Quiet">not granted</span>}
                  {readable && mask !== undefined && <span className="sr-Quiet">{maskWord(mask)}</span>}
                </span>
                {meaning(column) !== '' && <span className="sr-Columns-text">{meaning(column)}</span>}
              </li>
            );
          })}
        </ul>
        {derived === null && dataset.columns.length > 0 && <ProfileSection name={dataset.name} client={client} />}
      </div>
    </details>
  );
}

/** For code that is written before access is granted. */
function Twin({ dataset, insert }: { readonly dataset: Dataset; readonly insert: () => void }): JSX.Element {
  return (
    <section aria-label={`Synthetic twin of ${dataset.name}`}>
      <h3>Synthetic twin</h3>
      <p>
        Made-up rows with these columns and types, to try code on. No access is needed and no label rises. Never take a
        result from them.
      </p>
      <Code name={`Code that opens the synthetic twin of ${dataset.name}`}>{openCode(dataset.name, true)}</Code>
      <div className="sr-Actions">
        <Button name={`Insert code for the synthetic twin of ${dataset.name}`} onClick={insert}>
          Insert code for the twin
        </Button>
      </div>
    </section>
  );
}

/** How the values lie and how the checks went, as far as the label lets it be told; asked for when wanted. */
function ProfileSection({ name, client }: { readonly name: string; readonly client: EnclaveClient }): JSX.Element {
  const [shown, setShown] = useState(false);
  return shown ? (
    <Told name={name} client={client} />
  ) : (
    <div className="sr-Actions">
      <Button
        name={`Show profile and checks of ${name}`}
        onClick={() => {
          setShown(true);
        }}
      >
        Show profile and checks
      </Button>
    </div>
  );
}

function Told({ name, client }: { readonly name: string; readonly client: EnclaveClient }): JSX.Element {
  const loaded = useLoad(() => client.profile(name), `profile ${name}`);
  return (
    <section aria-label={`Profile and checks of ${name}`}>
      <h3>Profile and checks</h3>
      <Await loaded={loaded} what="the profile">
        {({ profile, quality }) => (
          <>
            {profile === null ? (
              <p className="sr-Quiet">There is no profile: it was taken in before there were any, or is no table.</p>
            ) : (
              <>
                <ProfileNote profile={profile} />
                <ul className="sr-Columns">
                  {Object.entries(profile.columns).map(([column, one]) => (
                    <li key={column}>
                      <span className="sr-Tags">
                        <code>{column}</code>
                        <span className="sr-Quiet">
                          {missingWord(one)} missing
                          {one.different !== undefined && `, ${one.different} different`}
                        </span>
                      </span>
                      <span className="sr-Columns-text">
                        <ProfileValues profile={one} />
                      </span>
                    </li>
                  ))}
                </ul>
              </>
            )}
            <p>
              {quality === null
                ? 'No checks were declared.'
                : `${quality.passed} of ${count(quality.checks, 'declared check')} passed.`}
              {quality?.failed === null && quality.passed < quality.checks && ' The label lets no more be told.'}
            </p>
            {(quality?.failed ?? []).map(one => (
              <p key={one.text}>
                <StateBadge state={one.state} /> {one.text}
                {one.why !== '' && <span className="sr-Quiet"> ({one.why})</span>}
              </p>
            ))}
          </>
        )}
      </Await>
    </section>
  );
}

function names(versions: readonly string[] | undefined): string | null {
  return versions === undefined || versions.length === 0 ? null : versions.join(', ');
}

/** What a column holds: its description, its unit, and what the first of its codes stand for. */
function meaning({ description, unit, codes }: Column): string {
  const coded = Object.entries(codes ?? {});
  const told = coded.slice(0, CODES_SHOWN).map(([value, text]) => `${value} = ${text}`);
  return [
    ...(description ? [description] : []),
    ...(unit ? [`in ${unit}`] : []),
    ...(told.length > 0 ? [`codes: ${told.join(', ')}${coded.length > CODES_SHOWN ? ', …' : ''}`] : [])
  ].join(' · ');
}

function AccessLine({ dataset }: { readonly dataset: Dataset }): JSX.Element {
  const access = dataset.access;
  if (access?.read === true) {
    const masked = Object.keys(access.masked).length;
    return (
      <span className="sr-Card-access" data-tone="good">
        You may read {access.columns.length} of {count(dataset.columns.length, 'column')}
        {masked > 0 && ` (${masked} masked)`}
        {access.until !== null && (
          <>
            {' '}
            until <Day time={access.until} />
          </>
        )}
      </span>
    );
  }
  return access?.request != null ? (
    <span className="sr-Card-access" data-tone="waiting">
      Your request waits for a steward
    </span>
  ) : (
    <span className="sr-Card-access" data-tone="quiet">
      No access yet{dataset.synthetic === true && '; its synthetic twin may be read'}
    </span>
  );
}

function RequestItem({
  request,
  client,
  changed
}: {
  readonly request: AccessRequest;
  readonly client: EnclaveClient;
  readonly changed: () => void;
}): JSX.Element {
  const withdraw = useAction(async () => {
    await client.withdrawAccessRequest(request.id);
    changed();
  });
  return (
    <div className="sr-Card sr-Card-body">
      <p className="sr-Card-line">
        <code>{request.dataset}</code>
        <StateBadge state={request.grant?.state === 'revoked' ? 'revoked' : request.state} />
      </p>
      <p>
        {count(request.columns.length, 'column')} for {count(request.days, 'day')}, asked <Moment time={request.submitted_at} />
      </p>
      {request.decided_by !== null && (
        <p>
          Decided by {request.decided_by}, <Moment time={request.decided_at} />
        </p>
      )}
      {request.comment !== null && request.comment !== '' && <blockquote>{request.comment}</blockquote>}
      {request.grant?.reason != null && <blockquote>{request.grant.reason}</blockquote>}
      {withdraw.problem !== null && <ProblemView problem={withdraw.problem} />}
      {request.turn === 'steward' && (
        <div className="sr-Actions">
          <Button
            busy={withdraw.busy}
            name={`Withdraw the request for ${request.dataset}`}
            onClick={() => {
              void withdraw.run();
            }}
          >
            Withdraw
          </Button>
        </div>
      )}
    </div>
  );
}
