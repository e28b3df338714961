import { useId, useState, type JSX } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import type { Dataset } from '../api/types/datasets.js';
import type { AccessDraft } from '../api/types/requests.js';
import { ColumnTick, DaysInput, LONGEST_DAYS, asDays } from './AccessFields.js';
import { Button, ProblemView } from './basics.js';
import { count } from './format.js';
import { useAction } from './hooks.js';

const SHORTEST_PURPOSE = 10;
const USUAL_DAYS = 30;

/** What, what for and how long; ticked are the columns that code prepared or said it used: fewer are granted sooner. */
export function AccessRequestForm({
  dataset,
  client,
  draft = null,
  done
}: {
  readonly dataset: Dataset;
  readonly client: EnclaveClient;
  /** What the code of a cell prepared. */
  readonly draft?: AccessDraft | null;
  readonly done: (sent: boolean) => void;
}): JSX.Element {
  const id = useId();
  const names = dataset.columns.map(column => column.name);
  const used = draft?.used ?? dataset.used ?? [];
  const [purpose, setPurpose] = useState(draft?.purpose ?? '');
  const [days, setDays] = useState(String(draft?.days ?? USUAL_DAYS));
  const [columns, setColumns] = useState<ReadonlySet<string>>(new Set(draft?.columns ?? used));
  const wantedDays = asDays(days);

  const missing = [
    ...(purpose.trim().length < SHORTEST_PURPOSE ? [`a purpose of at least ${SHORTEST_PURPOSE} letters`] : []),
    ...(columns.size === 0 ? ['at least one column'] : []),
    ...(wantedDays === null ? [`a duration from 1 to ${LONGEST_DAYS} days`] : [])
  ];
  const submit = useAction(async (wanted: number) => {
    await client.requestAccess({
      dataset: dataset.name,
      columns: names.filter(name => columns.has(name)),
      purpose: purpose.trim(),
      days: wanted,
      ...(draft === null ? {} : { draft: draft.id })
    });
    done(true);
  });

  return (
    <form
      className="sr-Form"
      aria-label={`Request access to ${dataset.name}`}
      onSubmit={event => {
        event.preventDefault();
        if (missing.length === 0 && wantedDays !== null) {
          void submit.run(wantedDays);
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
        {used.length > 0 && (
          <p className="sr-Hint">
            {draft === null ? 'Ticked are the' : 'Marked are the'} {count(used.length, 'column')} of {names.length} that your code
            has used. Fewer columns are granted sooner.
          </p>
        )}
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
          <ColumnTick key={column.name} column={column.name} tags={column.tags ?? []} ticked={columns} tick={setColumns}>
            {used.includes(column.name) && <span className="sr-Quiet">used by your code</span>}
          </ColumnTick>
        ))}
      </fieldset>
      <label htmlFor={`${id}-days`}>Duration in days</label>
      <DaysInput id={`${id}-days`} days={days} change={setDays} />
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
