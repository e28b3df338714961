import type { JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import { Await, Empty, Facts, LabelBadge, Tags } from '../basics.js';
import { useLoad } from '../hooks.js';
import { Page, Table } from './Page.js';

export function DatasetsPage({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const datasets = useLoad(() => client.datasets(), 'datasets');
  return (
    <Page title="Datasets" intro="What the vault holds, who answers for it, and how each column is tagged.">
      <Await loaded={datasets} what="datasets">
        {all =>
          all.length === 0 ? (
            <Empty>There are no datasets that you may see.</Empty>
          ) : (
            all.map(dataset => (
              <details key={dataset.name} className="sr-Card">
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
                  <Facts
                    facts={[
                      ['Rows', dataset.rows === null ? null : dataset.rows.toLocaleString()],
                      ['Owner', dataset.owner],
                      ['Stewards', dataset.stewards.join(', ')],
                      ['Source', dataset.source],
                      ['Licence', dataset.licence]
                    ]}
                  />
                  <Table caption={`Columns of ${dataset.name}`} head={['Column', 'Type', 'Tags', 'Description']}>
                    {dataset.columns.map(column => (
                      <tr key={column.name}>
                        <th scope="row">
                          <code>{column.name}</code>
                        </th>
                        <td>{column.type}</td>
                        <td>
                          <span className="sr-Tags">
                            <Tags tags={column.tags ?? []} />
                          </span>
                        </td>
                        <td>{column.description}</td>
                      </tr>
                    ))}
                  </Table>
                </div>
              </details>
            ))
          )
        }
      </Await>
    </Page>
  );
}
