import type { JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { Check, Violation } from '../../api/types/status.js';
import { Await, Empty } from '../basics.js';
import { useLoad } from '../hooks.js';
import { Page, Table } from './Page.js';
import { href } from './route.js';

const NEWEST = 100;
const WORST_FIRST: readonly Check['state'][] = ['broken', 'weaker', 'fine'];
const KIND_WORDS: Readonly<Record<string, string>> = {
  syscall: 'forbidden system call',
  limit: 'limit reached',
  start: 'box not started',
  message: 'messages dropped',
  rate: 'too many questions'
};

/** Whether the boxes hold on this machine, and what kernels have tried. */
export function MachinePage({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const status = useLoad(() => client.status(), 'status');
  const violations = useLoad(() => client.violations(NEWEST), 'violations');
  return (
    <Page title="Machine" intro="What this machine gives the kernels’ boxes, and what kernels tried and were refused.">
      <section className="sr-Section" aria-labelledby="checks">
        <h2 id="checks">Checks at the hub’s last start</h2>
        <Await loaded={status} what="checks">
          {({ machine = [] }) =>
            machine.length === 0 ? (
              <Empty>The hub has not reported. On the machine itself, `strongroom doctor` makes the same checks.</Empty>
            ) : (
              <ul className="sr-Findings">
                {WORST_FIRST.flatMap(state => machine.filter(check => check.state === state)).map(check => (
                  <CheckLine key={check.name} check={check} />
                ))}
              </ul>
            )
          }
        </Await>
      </section>
      <section className="sr-Section" aria-labelledby="violations">
        <h2 id="violations">Violations</h2>
        <Await loaded={violations} what="violations">
          {found =>
            found.length === 0 ? (
              <Empty>None is in the log.</Empty>
            ) : (
              <Table caption="Violations" head={['Entry', 'Time', 'Who', 'Project', 'Kind', 'What']}>
                {found.map(violation => (
                  <ViolationRow key={violation.entry} violation={violation} />
                ))}
              </Table>
            )
          }
        </Await>
      </section>
    </Page>
  );
}

const SEVERITIES = { broken: 'block', weaker: 'warn', fine: 'pass' } as const;

function CheckLine({ check }: { readonly check: Check }): JSX.Element {
  return (
    <li>
      <span className="sr-Severity" data-severity={SEVERITIES[check.state]}>
        {check.state}
      </span>
      <span>
        <strong>{check.name}</strong>: {check.text}
        {check.next !== '' && <span className="sr-Columns-text">{check.next}</span>}
      </span>
    </li>
  );
}

function ViolationRow({ violation }: { readonly violation: Violation }): JSX.Element {
  const counts = Object.entries(violation.counts).map(([name, number]) => `${name} ×${number.toLocaleString()}`);
  return (
    <tr>
      <th scope="row">
        <a href={href('audit', violation.entry)}>{violation.entry}</a>
      </th>
      <td className="sr-Time">{violation.time.replace('T', ' ').replace('Z', '')}</td>
      <td>{violation.user}</td>
      <td>{violation.project}</td>
      <td>{KIND_WORDS[violation.kind] ?? violation.kind}</td>
      <td>
        {violation.text}
        {counts.length > 0 && <span className="sr-Columns-text">{counts.join(', ')}</span>}
      </td>
    </tr>
  );
}
