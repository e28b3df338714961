import { useSyncExternalStore, type JSX } from 'react';
import type { EnclaveState, EnclaveStore } from '../api/store.js';
import type { Session } from '../api/types/session.js';
import { LabelBadge } from './basics.js';

function useEnclave(store: EnclaveStore): EnclaveState {
  return useSyncExternalStore(store.subscribe, store.snapshot);
}

/** The badge alone, for toolbars. */
export function LiveLabel({ store }: { readonly store: EnclaveStore }): JSX.Element {
  const { session } = useEnclave(store);
  return <LabelBadge label={session?.label ?? null} />;
}

/** Badge, project and profile, for the status bar. */
export function LabelStatus({
  store,
  showLimits
}: {
  readonly store: EnclaveStore;
  readonly showLimits: () => void;
}): JSX.Element {
  const { session, lost } = useEnclave(store);
  return (
    <>
      <LabelBadge label={session?.label ?? null} />
      {session !== null && <span>{session.project.name}</span>}
      {session?.profile != null && (
        <button type="button" className="sr-Status-limits" aria-label="Limits of the kernels here" onClick={showLimits}>
          {session.profile.title}
        </button>
      )}
      {lost && <span>reconnecting</span>}
    </>
  );
}

/** One line over the whole application: the label, why it is what it is, and what it means for display. */
export function LabelBanner({ store }: { readonly store: EnclaveStore }): JSX.Element {
  const { session, problem, lost } = useEnclave(store);
  return (
    <div className="sr-Banner-line" data-label={session?.label ?? 'unknown'} role="status">
      <LabelBadge label={session?.label ?? null} />
      <span className="sr-Banner-text">
        {session !== null && summary(session)}
        {session === null && (problem === null ? 'Asking Strongroom…' : `${problem.title}. ${problem.next}`)}
        {lost && ' · Connection lost: what you see may be out of date. Reconnecting…'}
      </span>
      {session?.console_url !== undefined && (
        <a href={session.console_url} target="_blank" rel="noopener">
          Console
        </a>
      )}
    </div>
  );
}

function summary(session: Session): string {
  const read = session.sources.map(source => `${source.dataset} v${source.version}`).join(', ');
  return [session.project.title, read === '' ? 'nothing read yet' : `has read ${read}`, session.display.text]
    .filter(part => part !== '')
    .join(' · ');
}

/** Panels that reload when the server reports a change. */
export function WithRevision({
  store,
  of,
  children
}: {
  readonly store: EnclaveStore;
  readonly of: 'requests' | 'exports';
  readonly children: (revision: number) => JSX.Element;
}): JSX.Element {
  return children(useEnclave(store)[of]);
}
