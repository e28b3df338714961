import type { JSX } from 'react';
import type { Session } from '../api/types/session.js';
import { Facts } from './basics.js';
import { count, formatBytes } from './format.js';

/** What a kernel here may use, and what this machine does not give its boxes. */
export function LimitsView({ session }: { readonly session: Session | null }): JSX.Element {
  const profile = session?.profile ?? null;
  const weaker = session?.weaker ?? [];
  return (
    <div className="sr-Panel sr-Panel-inline">
      {profile === null ? (
        <p>The server has not said which limits its kernels have.</p>
      ) : (
        <Facts
          facts={[
            ['Profile', profile.title],
            ['Box', profile.sandbox],
            ['Memory of a kernel', formatBytes(profile.memory_bytes)],
            ['Processors', profile.cpus.toLocaleString()],
            ['Processes and threads', profile.processes.toLocaleString()],
            ['Work folder', `${formatBytes(profile.work_bytes)}, ${count(profile.work_files, 'file')}`],
            ['Largest file', formatBytes(profile.file_bytes)]
          ]}
        />
      )}
      <p className="sr-Hint">Another profile can be chosen on the projects page, when the server is stopped.</p>
      {weaker.length > 0 && (
        <>
          <h3>Weaker on this machine</h3>
          <ul className="sr-Plain">
            {weaker.map(sentence => (
              <li key={sentence} className="sr-Note">
                {sentence}
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}
