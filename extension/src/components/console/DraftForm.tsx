import { useId, useState, type JSX } from 'react';
import type { DraftDecision, Group, Proposal, Verdict, Version } from '../../api/types/catalogue.js';
import type { ConsoleClient } from '../../api/console.js';
import type { Label } from '../../api/types/labels.js';
import { Button, ProblemView, Tags } from '../basics.js';
import { useAction } from '../hooks.js';
import { LabelChoice } from './LabelChoice.js';
import { Table } from './Page.js';

interface Choice {
  readonly verdict: Verdict | null;
  readonly tags: string;
}

const WORDS: Readonly<Record<Verdict, string>> = { accept: 'Accept', change: 'Change', refuse: 'Refuse' };

/** The steward's decision on a draft: each column about which something is proposed, and the label. */
export function DraftForm({
  client,
  version,
  done
}: {
  readonly client: ConsoleClient;
  readonly version: Version;
  readonly done: () => void;
}): JSX.Element {
  const id = useId();
  const proposed = version.proposals;
  const [choices, setChoices] = useState<Readonly<Record<string, Choice>>>({});
  const [label, setLabel] = useState<Label>(version.raises_label && proposed !== null ? proposed.label.label : version.label);
  const [comment, setComment] = useState('');
  const open = version.undecided.filter(name => (choices[name]?.verdict ?? null) === null);
  const publish = useAction(async () => {
    await client.decideDraft(version.name, version.version, decision(version.undecided, choices, label, comment));
    done();
  });
  return (
    <form
      className="sr-Section sr-Form"
      aria-label="Decide on this draft"
      onSubmit={event => {
        event.preventDefault();
        if (open.length === 0) {
          void publish.run();
        }
      }}
    >
      <h2>Your decision</h2>
      {version.undecided.length > 0 && proposed !== null && (
        <Table caption="Proposed tags" head={['Column', 'Proposed', 'Why', 'You decide']}>
          {version.undecided.map(name => (
            <ColumnChoice
              key={name}
              name={name}
              proposal={proposed.columns[name]}
              choice={choices[name] ?? { verdict: null, tags: '' }}
              choose={choice => {
                setChoices(before => ({ ...before, [name]: choice }));
              }}
            />
          ))}
        </Table>
      )}
      <label htmlFor={`${id}-label`}>Label of the version</label>
      <LabelChoice id={`${id}-label`} describedBy={`${id}-why`} label={label} choose={setLabel} />
      <div id={`${id}-why`} className="sr-Quiet">
        {version.raises_label && proposed !== null ? (
          <>
            <p>
              It was drafted as {version.label}; {proposed.label.label} is proposed, because
            </p>
            <ul>
              {proposed.label.evidence.map(text => (
                <li key={text}>{text}</li>
              ))}
            </ul>
          </>
        ) : (
          <p>It was drafted as {version.label}, and no higher label is proposed.</p>
        )}
      </div>
      <label htmlFor={`${id}-comment`}>Comment (kept encrypted beside the log)</label>
      <input
        id={`${id}-comment`}
        className="sr-Input"
        value={comment}
        onChange={event => {
          setComment(event.target.value);
        }}
      />
      {publish.problem !== null && <ProblemView problem={publish.problem} />}
      <div className="sr-Actions">
        <Button submit tone="primary" busy={publish.busy} disabled={open.length > 0}>
          Decide and publish
        </Button>
        <span className="sr-Quiet" role="status">
          {open.length > 0 && `Still open: ${open.join(', ')}`}
        </span>
      </div>
    </form>
  );
}

function decision(
  undecided: readonly string[],
  choices: Readonly<Record<string, Choice>>,
  label: Label,
  comment: string
): DraftDecision {
  const columns = undecided.map(name => {
    const { verdict, tags } = choices[name] ?? { verdict: null, tags: '' };
    const given = tags.split(/[\s,]+/).filter(tag => tag !== '');
    return [name, { verdict: verdict ?? 'refuse', tags: verdict === 'change' ? given : [] }] as const;
  });
  return { columns: Object.fromEntries(columns), label, comment: comment.trim() };
}

function ColumnChoice({
  name,
  proposal,
  choice,
  choose
}: {
  readonly name: string;
  readonly proposal: Proposal | undefined;
  readonly choice: Choice;
  readonly choose: (choice: Choice) => void;
}): JSX.Element {
  return (
    <tr>
      <th scope="row">
        <code>{name}</code>
      </th>
      <td>
        <span className="sr-Tags">
          <Tags tags={proposal?.tags ?? []} />
        </span>
      </td>
      <td>
        <ul className="sr-Plain">
          {(proposal?.evidence ?? []).map(one => (
            <li key={one.text}>{one.text}</li>
          ))}
        </ul>
      </td>
      <td>
        <fieldset className="sr-Switch">
          <legend className="sr-hidden">Tags of {name}</legend>
          {(['accept', 'change', 'refuse'] as const).map(verdict => (
            <label key={verdict}>
              <input
                type="radio"
                name={`tags-${name}`}
                checked={choice.verdict === verdict}
                onChange={() => {
                  choose({ verdict, tags: choice.tags === '' ? (proposal?.tags ?? []).join(', ') : choice.tags });
                }}
              />
              <span>{WORDS[verdict]}</span>
            </label>
          ))}
        </fieldset>
        {choice.verdict === 'change' && (
          <input
            className="sr-Input"
            aria-label={`Other tags of ${name}`}
            value={choice.tags}
            onChange={event => {
              choose({ verdict: 'change', tags: event.target.value });
            }}
          />
        )}
      </td>
    </tr>
  );
}

/** The combinations of quasi-identifiers in which the most rows are alone. */
export function Groups({ groups }: { readonly groups: readonly Group[] }): JSX.Element | null {
  const worst = [...groups].filter(one => one.small > 0).sort((one, other) => other.alone - one.alone || other.small - one.small);
  if (worst.length === 0) {
    return null;
  }
  return (
    <Table caption="Groups of quasi-identifiers" head={['Taken together', 'Smallest group', 'Alone', 'In groups below ten']}>
      {worst.slice(0, 6).map(one => (
        <tr key={one.columns.join('+')}>
          <th scope="row">{one.columns.join(' + ')}</th>
          <td>{one.exact ? one.smallest : `at most ${one.smallest}`}</td>
          <td>{(100 * one.alone).toFixed(1)} % of rows</td>
          <td>{(100 * one.small).toFixed(1)} % of rows</td>
        </tr>
      ))}
    </Table>
  );
}
