import type { JSX } from 'react';
import type { LogStatus, Witness } from '../../api/types/status.js';
import { Empty, Moment } from '../basics.js';
import { count } from '../format.js';
import { href } from './route.js';

/** The name under which control tells its own memory beside the database. */
const HERE = 'this machine';
const SEVERITIES: Readonly<Record<Witness['state'], 'pass' | 'warn' | 'block'>> = {
  fine: 'pass',
  waiting: 'warn',
  silent: 'warn',
  refused: 'warn',
  'rolled-back': 'block',
  split: 'block'
};

/** Who vouches for the log, what they raised an alarm about, and whether its entries reach the SIEM. */
export function LogSection({ log }: { readonly log: LogStatus }): JSX.Element {
  const elsewhere = log.witnesses.some(witness => witness.witness !== HERE);
  return (
    <section className="sr-Section" aria-labelledby="log-line">
      <h2 id="log-line">Audit log</h2>
      {log.alarms.length > 0 && (
        <div className="sr-Problem" role="alert">
          <p className="sr-Problem-title">{count(log.alarms.length, 'alarm')} about the log</p>
          <ul>
            {log.alarms.map(alarm => (
              <li key={alarm}>{alarm}</li>
            ))}
          </ul>
          <p className="sr-Problem-part">What to do next</p>
          <p>
            Entries <code>control:witness:alarm</code> say since when. What each alarm means, and what to do, is in the
            operators’ guide, under witnesses.
          </p>
        </div>
      )}
      <p>
        The log holds {count(log.size, 'entry', 'entries')}. <a href={href('audit')}>See the log</a>
      </p>
      <ul className="sr-Findings" aria-label="Witnesses">
        {log.witnesses.map(witness => (
          <WitnessLine
            key={witness.witness}
            witness={witness}
            told={log.alarms.includes(`${witness.witness}: ${witness.text}`)}
          />
        ))}
      </ul>
      {!elsewhere && (
        <Empty>No witness on another machine co-signs it: whoever holds this one could write it anew, from the start.</Empty>
      )}
      {log.push !== null && (
        <p className={log.push.state === 'failing' ? 'sr-Note' : undefined}>
          {log.push.state === 'failing'
            ? `Sending entries on to the SIEM fails: ${log.push.text}. `
            : 'Entries are sent on to the SIEM. '}
          {log.push.waiting === 0 ? 'None waits.' : `Waiting: ${count(log.push.waiting, 'entry', 'entries')}.`}
        </p>
      )}
    </section>
  );
}

/** `told`: its words stand above, as an alarm. */
function WitnessLine({ witness, told }: { readonly witness: Witness; readonly told: boolean }): JSX.Element {
  return (
    <li>
      <span className="sr-Severity" data-severity={SEVERITIES[witness.state]}>
        {witness.state}
      </span>
      <span>
        <strong>{witness.witness}</strong>
        {!told && witness.text !== '' && `: ${witness.text}`}
        <span className="sr-Columns-text">
          {witness.witness === HERE ? (
            'compares the log with the checkpoint that it kept last'
          ) : witness.at === null ? (
            'has not co-signed yet'
          ) : (
            <>
              co-signed {count(witness.size, 'entry', 'entries')}, <Moment time={witness.at} />
            </>
          )}
        </span>
      </span>
    </li>
  );
}
