import type { JSX } from 'react';
import type { Column } from '../../api/types/datasets.js';
import { Tags } from '../basics.js';
import { Table } from './Page.js';

/** What each column is: type and unit, tags, what its codes mean. */
export function ColumnsTable({
  name,
  columns
}: {
  readonly name: string;
  readonly columns: readonly Column[];
}): JSX.Element {
  return (
    <Table caption={`Columns of ${name}`} head={['Column', 'Type', 'Tags', 'Description']}>
      {columns.map(column => (
        <tr key={column.name}>
          <th scope="row">
            <code>{column.name}</code>
          </th>
          <td>
            {column.type}
            {(column.unit ?? '') !== '' && <span className="sr-Quiet sr-Block">in {column.unit}</span>}
            {column.nullable === false && <span className="sr-Quiet sr-Block">never missing</span>}
          </td>
          <td>
            <span className="sr-Tags">
              <Tags tags={column.tags ?? []} />
            </span>
          </td>
          <td>
            {column.description}
            <Codes column={column} />
          </td>
        </tr>
      ))}
    </Table>
  );
}

function Codes({ column }: { readonly column: Column }): JSX.Element | null {
  const codes = Object.entries(column.codes ?? {});
  if (codes.length === 0) {
    return null;
  }
  return (
    <details className="sr-Codes">
      <summary>{codes.length === 1 ? 'One code' : `${codes.length} codes`}</summary>
      <dl>
        {codes.map(([value, meaning]) => (
          <div key={value}>
            <dt>
              <code>{value}</code>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
