import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { Dataset } from '../../api/types/datasets.js';
import type { Me } from '../../api/types/session.js';
import { Await, Day, Empty, Facts, LabelBadge, StateBadge } from '../basics.js';
import { useLoad } from '../hooks.js';
import { ColumnsTable } from './Columns.js';
import { DatasetPage } from './Dataset.js';
import { VersionPage } from './DatasetVersion.js';
import { Page } from './Page.js';
import { href } from './route.js';

/** The list, one dataset (`ns/name`) or one of its versions (`ns/name@3`). */
export function DatasetsPages({
  client,
  me,
  id
}: {
  readonly client: ConsoleClient;
  readonly me: Me;
  readonly id: string | null;
}): JSX.Element {
  if (id === null) {
    return <DatasetsPage client={client} me={me} />;
  }
  const [name = '', version] = id.split('@');
  return version === undefined ? (
    <DatasetPage key={id} client={client} name={name} />
  ) : (
    <VersionPage key={id} client={client} name={name} version={Number(version)} />
  );
}

function DatasetsPage({ client, me }: { readonly client: ConsoleClient; readonly me: Me }): JSX.Element {
  const id = useId();
  const datasets = useLoad(() => client.datasets(), 'datasets');
  const [words, setWords] = useState('');
  return (
    <Page title="Datasets" intro="What the vault holds, who answers for it, and how each column is tagged.">
      {me.can.approve_access && <Drafts client={client} />}
      <p className="sr-Filter">
        <label htmlFor={id}>Find</label>
        <input
          id={id}
          className="sr-Input"
          type="search"
          placeholder="Name, title, label, owner or column"
          value={words}
          onChange={event => {
            setWords(event.target.value);
          }}
        />
      </p>
      <Await loaded={datasets} what="datasets">
        {all => {
          const found = all.filter(dataset => fits(dataset, words));
          if (found.length === 0) {
            return <Empty>{all.length === 0 ? 'There are no datasets that you may see.' : 'No dataset fits these words.'}</Empty>;
          }
          return found.map(dataset => <DatasetCard key={dataset.name} dataset={dataset} open={me.can.approve_access} />);
        }}
      </Await>
    </Page>
  );
}

function fits(dataset: Dataset, words: string): boolean {
  const told = [dataset.name, dataset.title, dataset.label, dataset.owner, ...dataset.columns.map(column => column.name)]
    .join(' ')
    .toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every(word => told.includes(word));
}

function Drafts({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const drafts = useLoad(() => client.drafts(), 'drafts');
  return (
    <Await loaded={drafts} what="drafts">
      {all =>
        all.length === 0 ? (
          <></>
        ) : (
          <section className="sr-Section" aria-label="Drafts">
            <h2>Not visible yet</h2>
            <ul className="sr-Plain">
              {all.map(draft => (
                <li key={`${draft.name}@${draft.version}`} className="sr-Card-line">
                  <a href={href('datasets', `${draft.name}@${draft.version}`)}>
                    {draft.title}, version {draft.version}
                  </a>
                  <LabelBadge label={draft.label} />
                  <StateBadge state={draft.state === 'draft' ? 'arriving' : draft.state} />
                  <span className="sr-Quiet">
                    {draft.waits_for.length > 0
                      ? `you decide on ${draft.waits_for.join(', ')}`
                      : draft.state === 'draft'
                        ? 'its file is on the way'
                        : 'nothing is open about its columns'}
                  </span>
                </li>
              ))}
            </ul>
          </section>
        )
      }
    </Await>
  );
}

function DatasetCard({ dataset, open }: { readonly dataset: Dataset; readonly open: boolean }): JSX.Element {
  return (
    <details className="sr-Card">
      <summary>
        <span className="sr-Card-title">{dataset.title}</span>
        <span className="sr-Card-line">
          <LabelBadge label={dataset.label} />
          <code>{dataset.name}</code>
          <span className="sr-Quiet">version {dataset.version}</span>
        </span>
      </summary>
      <div className="sr-Card-body">
        <p>{dataset.description}</p>
        {open && (
          <p>
            <a href={href('datasets', dataset.name)}>Versions, grants and what was found in {dataset.name}</a>
          </p>
        )}
        <DatasetFacts dataset={dataset} />
        <ColumnsTable name={dataset.name} columns={dataset.columns} />
      </div>
    </details>
  );
}

export function DatasetFacts({ dataset }: { readonly dataset: Dataset }): JSX.Element {
  const until = dataset.retained_until ?? null;
  return (
    <Facts
      facts={[
        ['Rows', dataset.rows === null ? null : dataset.rows.toLocaleString()],
        ['Owner', dataset.owner],
        ['Stewards', dataset.stewards.join(', ')],
        ['Contact', dataset.contact],
        ['Source', dataset.source],
        ['Licence', dataset.licence],
        ['Legal basis', dataset.legal_basis],
        ['Consent stands in', dataset.consent_column],
        ['Kept until', until === null ? null : <Day key="until" time={until} />],
        ['Made from', (dataset.sources ?? []).join(', ')]
      ]}
    />
  );
}
