import { useId, useState, type JSX } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import type { KeptOutput, Withheld } from '../api/types/work.js';
import { Await, Button, Empty, Moment, ProblemView } from './basics.js';
import { formatBytes } from './format.js';
import { useAction, useLoad } from './hooks.js';
import { JustificationField, outcome, SHORTEST_JUSTIFICATION } from './Justification.js';

/** What stands in the place of an output: which rule withheld it, and the way to a reviewer. */
export function WithheldOutput({
  client,
  withheld
}: {
  readonly client: EnclaveClient;
  readonly withheld: Withheld;
}): JSX.Element {
  const heading = useId();
  const [said, setSaid] = useState('');
  return (
    <section className="sr-Withheld" aria-labelledby={heading}>
      <p className="sr-Withheld-title" id={heading}>
        Withheld{withheld.bytes !== null && `: ${formatBytes(withheld.bytes)}`}
      </p>
      <p>{withheld.text}</p>
      {withheld.rule !== '' && <p className="sr-Quiet">Rule: {withheld.rule}</p>}
      {said === '' && withheld.next !== '' && <p>{withheld.next}</p>}
      {said === '' && withheld.reviewable && (
        <details>
          <summary>Send to review…</summary>
          <ReviewForm client={client} name={`Send output ${withheld.id} to review`} ids={[withheld.id]} sent={setSaid} />
        </details>
      )}
      <p role="status" className="sr-Said">
        {said}
      </p>
    </section>
  );
}

function ReviewForm({
  client,
  name,
  ids,
  sent
}: {
  readonly client: EnclaveClient;
  /** The accessible name of form and button: several of them can stand on one page. */
  readonly name: string;
  readonly ids: readonly string[];
  /** Called with what became of it, in words. */
  readonly sent: (said: string) => void;
}): JSX.Element {
  const [justification, setJustification] = useState('');
  const needed = useId();
  const missing = [
    ...(ids.length === 0 ? ['at least one output'] : []),
    ...(justification.trim().length < SHORTEST_JUSTIFICATION
      ? [`a justification of at least ${SHORTEST_JUSTIFICATION} letters`]
      : [])
  ];
  const submit = useAction(async () => {
    const request = await client.reviewWithheld({ ids, justification: justification.trim() });
    setJustification('');
    sent(outcome(request));
  });
  return (
    <form
      className="sr-Form"
      aria-label={name}
      onSubmit={event => {
        event.preventDefault();
        if (missing.length === 0) {
          void submit.run();
        }
      }}
    >
      <JustificationField label="Why it may leave" value={justification} change={setJustification} />
      <p className="sr-Hint" id={needed} role="status">
        {missing.length > 0 && `Still needed: ${missing.join(', ')}.`}
      </p>
      {submit.problem !== null && <ProblemView problem={submit.problem} />}
      <div className="sr-Actions">
        <Button submit tone="primary" name={name} busy={submit.busy} disabled={missing.length > 0} describedBy={needed}>
          {submit.busy ? 'Checking…' : 'Submit for review'}
        </Button>
      </div>
    </form>
  );
}

/** The withheld outputs that the server still keeps, to be reviewed together. */
export function KeptOutputs({
  client,
  revision,
  sent
}: {
  readonly client: EnclaveClient;
  readonly revision: number;
  readonly sent: () => void;
}): JSX.Element {
  const heading = useId();
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [said, setSaid] = useState('');
  const kept = useLoad(() => client.withheld(), `withheld#${revision}`);
  return (
    <section aria-labelledby={heading}>
      <header className="sr-Panel-header">
        <h2 id={heading}>Withheld outputs</h2>
        <Button name="Refresh withheld outputs" onClick={kept.reload}>
          Refresh
        </Button>
      </header>
      <Await loaded={kept} what="withheld outputs">
        {outputs =>
          outputs.length === 0 ? (
            <Empty>None is kept. What a rule withholds from a cell can be sent to review here as long as the server runs.</Empty>
          ) : (
            <>
              <ul className="sr-Files">
                {outputs.map(output => (
                  <li key={output.id}>
                    <KeptLine
                      output={output}
                      checked={picked.has(output.id)}
                      pick={wanted => {
                        const others = [...picked].filter(id => id !== output.id);
                        setPicked(new Set(wanted ? [...others, output.id] : others));
                      }}
                    />
                  </li>
                ))}
              </ul>
              <ReviewForm
                client={client}
                name="Send withheld outputs to review"
                ids={outputs.map(output => output.id).filter(id => picked.has(id))}
                sent={words => {
                  setPicked(new Set());
                  setSaid(words);
                  kept.reload();
                  sent();
                }}
              />
            </>
          )
        }
      </Await>
      <p role="status" className="sr-Said">
        {said}
      </p>
    </section>
  );
}

function KeptLine({
  output,
  checked,
  pick
}: {
  readonly output: KeptOutput;
  readonly checked: boolean;
  readonly pick: (wanted: boolean) => void;
}): JSX.Element {
  return (
    <label className="sr-Check">
      <input
        type="checkbox"
        checked={checked}
        onChange={event => {
          pick(event.target.checked);
        }}
      />
      <span>
        {output.notebook === '' ? 'A cell' : output.notebook}, entry {output.entry}{' '}
        <span className="sr-Quiet">
          {output.bytes !== null && `${formatBytes(output.bytes)}, `}
          <Moment time={output.at} />
        </span>
      </span>
    </label>
  );
}
