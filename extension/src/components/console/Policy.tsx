import type { JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import { Await, Facts, Moment } from '../basics.js';
import { useLoad } from '../hooks.js';
import { Page } from './Page.js';

/** The policy in force and what is wrong with the files that wait to replace it. Files are edited in the folder. */
export function PolicyPage({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const loaded = useLoad(() => client.policy(), 'policy');
  return (
    <Page
      title="Policy"
      intro={
        <>
          Rules are files. Edit them in the policy folder and try them with <code>strongroom policy check</code>; what parses
          and passes its tests takes effect by itself.
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
                <ul>
                  {policy.problems.map((problem, index) => (
                    <li key={index}>
                      <code>
                        {problem.file}
                        {problem.line !== null && `:${problem.line}`}
                      </code>{' '}
                      {problem.message}
                    </li>
                  ))}
                </ul>
              </section>
            )}
            <section className="sr-Section" aria-labelledby="version">
              <h2 id="version">In force</h2>
              <Facts
                facts={[
                  ['Version', <code key="version">{policy.version}</code>],
                  ['Since', <Moment key="since" time={policy.loaded_at} />]
                ]}
              />
            </section>
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
