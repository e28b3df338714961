import type { JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { Policy, PolicyProblem } from '../../api/types/policy.js';
import type { Me } from '../../api/types/session.js';
import { Await, Facts, Moment } from '../basics.js';
import { useLoad } from '../hooks.js';
import { Page } from './Page.js';
import { Guards, HistorySection, ProposalSection, ProposeForm, Results } from './PolicyHistory.js';
import { QuestionsSection } from './PolicyQuestions.js';
import { CompareSection, RecertifySection, WhatIfSection } from './PolicyReview.js';

const INTROS: Readonly<Record<Policy['activation'], string>> = {
  file: 'what parses, passes its tests and breaks no guard takes effect by itself.',
  'two-person': 'they take effect when somebody proposes them here and another administrator approves.'
};

/** The policy in force, how it came about and what it says; and what waits to replace it. Files are edited in the folder. */
export function PolicyPage({ client, me }: { readonly client: ConsoleClient; readonly me: Me }): JSX.Element {
  const loaded = useLoad(() => client.policy(), 'policy');
  return (
    <Page
      title="Policy"
      intro={
        <>
          Rules are files. Edit them in the policy folder and try them with <code>strongroom policy check</code>;{' '}
          {INTROS[loaded.value?.activation ?? 'file']}
        </>
      }
    >
      <Await loaded={loaded} what="the policy">
        {policy => (
          <>
            {policy.state === 'refused' && (
              <section className="sr-Problem" aria-labelledby="refused">
                <h2 className="sr-Problem-title" id="refused">
                  The files in the policy folder are refused
                </h2>
                <p>
                  {policy.loaded_at === null
                    ? 'No version has been good yet, so everything is denied.'
                    : 'The last good version stays in force, with the texts below; nothing of the new files has taken effect.'}{' '}
                  Mend these lines, then run <code>strongroom policy check</code>.
                </p>
                <Problems problems={policy.problems} />
              </section>
            )}
            {policy.draft.differs && policy.state !== 'refused' && (
              <section className="sr-Section" aria-labelledby="draft">
                <h2 id="draft">In the policy folder</h2>
                <Problems problems={policy.draft.problems} />
                {policy.activation === 'two-person' && me.can.administer ? (
                  <ProposeForm client={client} version={policy.draft.version} done={loaded.reload} />
                ) : (
                  <p className="sr-Note">The files there are others than those in force. They wait until somebody edits them.</p>
                )}
              </section>
            )}
            {policy.proposals
              .filter(proposal => proposal.state === 'open')
              .map(proposal => (
                <ProposalSection key={proposal.id} proposal={proposal} client={client} me={me} decided={loaded.reload} />
              ))}
            <section className="sr-Section" aria-labelledby="version">
              <h2 id="version">In force</h2>
              <Facts
                facts={[
                  ['Version', <code key="version">{policy.version}</code>],
                  ['Since', <Moment key="since" time={policy.loaded_at} />]
                ]}
              />
              {policy.checks !== null && (
                <>
                  <Results results={policy.checks} />
                  <Guards guards={policy.checks.guards} />
                </>
              )}
            </section>
            <QuestionsSection client={client} />
            <CompareSection client={client} versions={policy.versions} />
            <WhatIfSection client={client} />
            <RecertifySection client={client} />
            <HistorySection versions={policy.versions} client={client} me={me} changed={loaded.reload} />
            {policy.files.map(file => (
              <section className="sr-Section" key={file.name} aria-label={file.name}>
                <h2>{file.name}, as in force</h2>
                <Numbered name={file.name} text={file.text} />
              </section>
            ))}
          </>
        )}
      </Await>
    </Page>
  );
}

function Problems({ problems }: { readonly problems: readonly PolicyProblem[] }): JSX.Element {
  return (
    <ul>
      {problems.map((problem, index) => (
        <li key={index}>
          <code>
            {problem.file}
            {(problem.line ?? 0) > 0 && `:${problem.line}`}
          </code>{' '}
          {problem.message}
        </li>
      ))}
    </ul>
  );
}

/** Text with line numbers, because every reason in the product names one. */
function Numbered({ name, text }: { readonly name: string; readonly text: string }): JSX.Element {
  return (
    <pre className="sr-Code sr-Numbered" tabIndex={0} role="region" aria-label={`Text of ${name}`}>
      {text
        .replace(/\n$/, '')
        .split('\n')
        .map((line, index) => (
          <code key={index} data-line={index + 1}>
            {line === '' ? '\u00a0' : line}
          </code>
        ))}
    </pre>
  );
}
