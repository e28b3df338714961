import { useId, useState, type JSX } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import type { AccessRequest, Dataset } from '../api/types.js';
import { Await, Button, Day, Empty, Facts, LabelBadge, Moment, ProblemView, StateBadge, Tags } from './basics.js';
import { count, loadCode, maskWord } from './format.js';
import { useAction, useLoad } from './hooks.js';

const SHORTEST_PURPOSE = 10;
const LONGEST_DAYS = 365;
const USUAL_DAYS = 30;

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
  const datasets = useLoad(() => client.datasets(), `datasets#${revision}`);
  const requests = useLoad(() => client.accessRequests(), `requests#${revision}`);
  const reload = (): void => {
    datasets.reload();
    requests.reload();
  };

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
        <p className="sr-Said" role="status">
          {said}
        </p>
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
                      insert={() => {
                        setSaid(
                          insert(loadCode(dataset.name))
                            ? `The code that loads ${dataset.name} is in your notebook. Run the cell to read it.`
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
  readonly insert: () => void;
  readonly changed: () => void;
}): JSX.Element {
  const [asking, setAsking] = useState(false);
  const access = dataset.access ?? null;
  const readable = access?.read === true;
  const waiting = access?.request != null;
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
            <Button tone="primary" name={`Insert load code for ${dataset.name}`} onClick={insert}>
              Insert load code
            </Button>
          )}
          {!asking && !waiting && !(readable && access.until === null) && (
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
        <Facts
          facts={[
            ['Version', String(dataset.version)],
            ['Rows', dataset.rows === null ? null : dataset.rows.toLocaleString()],
            ['Owner', dataset.owner],
            ['Stewards', dataset.stewards.join(', ')],
            ['Source', dataset.source],
            ['Licence', dataset.licence]
          ]}
        />
        <h3>Columns</h3>
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
                {column.description != null && column.description !== '' && (
                  <span className="sr-Columns-text">{column.description}</span>
                )}
              </li>
            );
          })}
        </ul>
      </div>
    </details>
  );
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
      No access yet
    </span>
  );
}

function AccessRequestForm({
  dataset,
  client,
  done
}: {
  readonly dataset: Dataset;
  readonly client: EnclaveClient;
  readonly done: (sent: boolean) => void;
}): JSX.Element {
  const id = useId();
  const [purpose, setPurpose] = useState('');
  const [days, setDays] = useState(String(USUAL_DAYS));
  const [columns, setColumns] = useState<ReadonlySet<string>>(new Set());
  const names = dataset.columns.map(column => column.name);
  const wantedDays = Number(days);

  const missing = [
    ...(purpose.trim().length < SHORTEST_PURPOSE ? [`a purpose of at least ${SHORTEST_PURPOSE} letters`] : []),
    ...(columns.size === 0 ? ['at least one column'] : []),
    ...(Number.isInteger(wantedDays) && wantedDays >= 1 && wantedDays <= LONGEST_DAYS
      ? []
      : [`a duration from 1 to ${LONGEST_DAYS} days`])
  ];
  const submit = useAction(async () => {
    await client.requestAccess({
      dataset: dataset.name,
      columns: names.filter(name => columns.has(name)),
      purpose: purpose.trim(),
      days: wantedDays
    });
    done(true);
  });

  return (
    <form
      className="sr-Form"
      aria-label={`Request access to ${dataset.name}`}
      onSubmit={event => {
        event.preventDefault();
        if (missing.length === 0) {
          void submit.run();
        }
      }}
    >
      <label htmlFor={`${id}-purpose`}>Purpose</label>
      <textarea
        id={`${id}-purpose`}
        className="sr-Input"
        rows={3}
        value={purpose}
        aria-describedby={`${id}-purpose-hint`}
        onChange={event => {
          setPurpose(event.target.value);
        }}
      />
      <p className="sr-Hint" id={`${id}-purpose-hint`}>
        The steward decides by it: what will you find out, and why from these columns?
      </p>
      <fieldset className="sr-Fieldset">
        <legend>Columns</legend>
        <label className="sr-Check">
          <input
            type="checkbox"
            checked={columns.size === names.length}
            onChange={event => {
              setColumns(new Set(event.target.checked ? names : []));
            }}
          />
          <span>All {names.length}</span>
        </label>
        {dataset.columns.map(column => (
          <label className="sr-Check" key={column.name}>
            <input
              type="checkbox"
              checked={columns.has(column.name)}
              onChange={event => {
                const next = new Set(columns);
                if (event.target.checked) {
                  next.add(column.name);
                } else {
                  next.delete(column.name);
                }
                setColumns(next);
              }}
            />
            <span className="sr-Tags">
              <code>{column.name}</code>
              <Tags tags={column.tags ?? []} />
            </span>
          </label>
        ))}
      </fieldset>
      <label htmlFor={`${id}-days`}>Duration in days</label>
      <input
        id={`${id}-days`}
        className="sr-Input sr-Input-short"
        type="number"
        min={1}
        max={LONGEST_DAYS}
        value={days}
        onChange={event => {
          setDays(event.target.value);
        }}
      />
      <p className="sr-Hint" id={`${id}-missing`} role="status">
        {missing.length > 0 && `Still needed: ${missing.join(', ')}.`}
      </p>
      {submit.problem !== null && <ProblemView problem={submit.problem} />}
      <div className="sr-Actions">
        <Button submit tone="primary" busy={submit.busy} disabled={missing.length > 0} describedBy={`${id}-missing`}>
          Submit request
        </Button>
        <Button
          disabled={submit.busy}
          onClick={() => {
            done(false);
          }}
        >
          Cancel
        </Button>
      </div>
    </form>
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
