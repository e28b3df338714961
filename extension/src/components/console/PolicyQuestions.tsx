import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { PolicyAnswer, PolicyAnswers } from '../../api/types/policy.js';
import { Button, Code, Empty, ProblemView } from '../basics.js';
import { count } from '../format.js';
import { useAction } from '../hooks.js';
import { Table } from './Page.js';

const KINDS = {
  'who-can': { words: 'Who can …?', needs: ['action', 'object'] },
  'what-can': { words: 'What can … do?', needs: ['user'] },
  explain: { words: 'Why may, or may not …?', needs: ['user', 'action', 'object'] }
} as const;
type Kind = keyof typeof KINDS;

const FIELDS = ['user', 'action', 'object', 'project'] as const;
type Field = (typeof FIELDS)[number];
const EXAMPLES: Readonly<Record<Field, string>> = {
  user: 'analyst',
  action: 'read',
  object: 'health/randhie#age',
  project: 'cardio'
};
const LISTED = 4;

type Answer = { readonly answers: PolicyAnswers } | { readonly texts: readonly string[] };

/** Ask the policy in force, grants included. Asking changes nothing and is no decision. */
export function QuestionsSection({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const id = useId();
  const [kind, setKind] = useState<Kind>('who-can');
  const [words, setWords] = useState<Readonly<Record<Field, string>>>({ user: '', action: '', object: '', project: '' });
  const [answer, setAnswer] = useState<Answer | null>(null);
  const needed: readonly Field[] = KINDS[kind].needs;
  const ask = useAction(async () => {
    setAnswer(null);
    setAnswer(await asked(client, kind, words));
  });
  return (
    <section className="sr-Section" aria-labelledby={`${id}-heading`}>
      <h2 id={`${id}-heading`}>Ask</h2>
      <form
        className="sr-Filter"
        aria-label="Ask the policy"
        onSubmit={event => {
          event.preventDefault();
          void ask.run();
        }}
      >
        <p>
          <label htmlFor={`${id}-kind`}>Question</label>
          <select
            id={`${id}-kind`}
            className="sr-Input"
            value={kind}
            onChange={event => {
              setKind(event.target.value as Kind);
              setAnswer(null);
            }}
          >
            {Object.entries(KINDS).map(([name, one]) => (
              <option key={name} value={name}>
                {one.words}
              </option>
            ))}
          </select>
        </p>
        {FIELDS.filter(field => field === 'project' || needed.includes(field)).map(field => (
          <p key={field}>
            <label htmlFor={`${id}-${field}`}>
              {field.charAt(0).toUpperCase() + field.slice(1)}
              {field === 'project' && ' (optional)'}
            </label>
            <input
              id={`${id}-${field}`}
              className="sr-Input"
              placeholder={EXAMPLES[field]}
              value={words[field]}
              onChange={event => {
                setWords({ ...words, [field]: event.target.value });
              }}
            />
          </p>
        ))}
        <div className="sr-Actions">
          <Button submit tone="primary" busy={ask.busy} disabled={needed.some(field => words[field].trim() === '')}>
            Ask
          </Button>
        </div>
      </form>
      {ask.problem !== null && <ProblemView problem={ask.problem} />}
      <div aria-live="polite">
        {answer !== null && ('texts' in answer ? <Texts texts={answer.texts} /> : <Answers found={answer.answers} />)}
      </div>
    </section>
  );
}

async function asked(client: ConsoleClient, kind: Kind, words: Readonly<Record<Field, string>>): Promise<Answer> {
  const user = words.user.trim().replace(/^user:/, '');
  const project = words.project.trim().replace(/^project:/, '');
  const [action, object] = [words.action.trim(), words.object.trim()];
  switch (kind) {
    case 'who-can':
      return { answers: await client.whoCan(action, object, project) };
    case 'what-can':
      return { answers: await client.whatCan(user, project) };
    case 'explain':
      return { texts: await client.explain(user, action, object, project) };
  }
}

function Texts({ texts }: { readonly texts: readonly string[] }): JSX.Element {
  return (
    <>
      {texts.map((text, index) => (
        <Code key={index} name={`Decision ${index + 1}`}>
          {text}
        </Code>
      ))}
    </>
  );
}

function Answers({ found }: { readonly found: PolicyAnswers }): JSX.Element {
  if (found.answers.length === 0) {
    return <Empty>Nobody may, by any rule or grant.</Empty>;
  }
  const more = found.answers_in_all - found.answers.length;
  return (
    <>
      <Table caption="Who may do what" head={['Who', 'May', 'On', 'In', 'By', 'Owing']}>
        {found.answers.map((one, index) => (
          <AnswerRow key={index} answer={one} />
        ))}
      </Table>
      {more > 0 && <p className="sr-Hint">… and {count(more, 'more line')}: ask about one project, or one object.</p>}
    </>
  );
}

function AnswerRow({ answer }: { readonly answer: PolicyAnswer }): JSX.Element {
  return (
    <tr>
      <th scope="row">{listed(answer.who)}</th>
      <td>{answer.action}</td>
      <td>{listed(answer.objects)}</td>
      <td>{answer.project ?? <span className="sr-Quiet">outside projects</span>}</td>
      <td>
        {answer.rules.map(rule => (
          <span key={rule.name} className="sr-Block" title={rule.why === '' ? rule.text : `${rule.text}: ${rule.why}`}>
            {rule.name}
          </span>
        ))}
      </td>
      <td>
        {Object.entries(answer.owing).map(([kind, due]) => (
          <span key={kind} className="sr-Block">
            {kind} {due.value} <span className="sr-Quiet">by {due.rule}</span>
          </span>
        ))}
      </td>
    </tr>
  );
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, LISTED).join(', ');
  return names.length > LISTED ? `${shown} and ${(names.length - LISTED).toLocaleString()} more` : shown;
}
