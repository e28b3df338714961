import type { JSX, ReactNode } from 'react';
import type { Problem } from '../api/problem.js';
import type { Label } from '../api/types/labels.js';
import { formatDay, formatMoment, stateTone, stateWord } from './format.js';
import type { Loaded } from './hooks.js';

/** The label as text first; colour and bars only repeat it. `null`: not known (yet), which counts as secret. */
export function LabelBadge({ label }: { readonly label: Label | null }): JSX.Element {
  return (
    <span className="sr-Label" data-label={label ?? 'unknown'}>
      <span className="sr-hidden">Label: </span>
      {label ?? 'label unknown'}
    </span>
  );
}

export function StateBadge({ state }: { readonly state: string }): JSX.Element {
  return (
    <span className="sr-State" data-tone={stateTone(state)}>
      {stateWord(state)}
    </span>
  );
}

export function Tags({ tags }: { readonly tags: readonly string[] }): JSX.Element {
  return (
    <>
      {tags.map(tag => (
        <span key={tag} className="sr-Tag">
          {tag}
        </span>
      ))}
    </>
  );
}

/** What happened, why, and what to do next: every refusal looks like this. */
export function ProblemView({
  problem,
  children
}: {
  readonly problem: Problem;
  readonly children?: ReactNode;
}): JSX.Element {
  return (
    <div className="sr-Problem" role="alert">
      <p className="sr-Problem-title">{problem.title}</p>
      {problem.detail !== '' && <p>{problem.detail}</p>}
      {problem.why.length > 0 && (
        <>
          <p className="sr-Problem-part">Why</p>
          <ul>
            {problem.why.map(line => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </>
      )}
      {problem.next !== '' && (
        <>
          <p className="sr-Problem-part">What to do next</p>
          <p>{problem.next}</p>
        </>
      )}
      {children}
    </div>
  );
}

/** Loading, failed or there: the three states that everything fetched can be in. */
export function Await<T>({
  loaded,
  what,
  children
}: {
  readonly loaded: Loaded<T> & { readonly reload: () => void };
  /** Names what is being loaded: "datasets". */
  readonly what: string;
  readonly children: (value: T) => ReactNode;
}): JSX.Element {
  if (loaded.state === 'failed') {
    return (
      <ProblemView problem={loaded.problem}>
        <div className="sr-Actions">
          <Button onClick={loaded.reload}>Try again</Button>
          {loaded.problem.status === 401 && (
            <Button
              onClick={() => {
                window.location.reload();
              }}
            >
              Log in
            </Button>
          )}
        </div>
      </ProblemView>
    );
  }
  return (
    <div aria-busy={loaded.state === 'loading'}>
      {loaded.value === null ? (
        <p className="sr-Quiet" role="status">
          Loading {what}…
        </p>
      ) : (
        children(loaded.value)
      )}
    </div>
  );
}

export function Empty({ children }: { readonly children: ReactNode }): JSX.Element {
  return <p className="sr-Empty">{children}</p>;
}

export function Button({
  children,
  onClick,
  tone = 'plain',
  busy = false,
  disabled = false,
  submit = false,
  name,
  describedBy
}: {
  readonly children: ReactNode;
  readonly onClick?: () => void;
  readonly tone?: 'plain' | 'primary' | 'danger';
  readonly busy?: boolean;
  readonly disabled?: boolean;
  readonly submit?: boolean;
  /** The accessible name where the visible words alone would repeat on the page. */
  readonly name?: string;
  readonly describedBy?: string;
}): JSX.Element {
  return (
    <button
      type={submit ? 'submit' : 'button'}
      className="sr-Button"
      data-tone={tone}
      disabled={disabled || busy}
      aria-busy={busy}
      aria-label={name}
      aria-describedby={describedBy}
      onClick={onClick}
    >
      {children}
    </button>
  );
}

export function Moment({ time }: { readonly time: string | null }): JSX.Element {
  return time === null ? <>—</> : <time dateTime={time}>{formatMoment(time)}</time>;
}

export function Day({ time }: { readonly time: string | null }): JSX.Element {
  return time === null ? <>—</> : <time dateTime={time}>{formatDay(time)}</time>;
}

/** Term and description pairs; those without a description are left out. */
export function Facts({ facts }: { readonly facts: readonly (readonly [string, ReactNode])[] }): JSX.Element {
  return (
    <dl className="sr-Facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== '')
        .map(([term, value]) => (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

export function Code({ children, name }: { readonly children: string; readonly name: string }): JSX.Element {
  return (
    // Long code scrolls, and what scrolls must be reachable by keyboard.
    <pre className="sr-Code" tabIndex={0} role="region" aria-label={name}>
      <code>{children}</code>
    </pre>
  );
}

/** Keys and values that have no form of their own: nested ones as JSON, words as they are. */
export function Details({ values }: { readonly values: Readonly<Record<string, unknown>> }): JSX.Element {
  return <Facts facts={Object.entries(values).map(([key, value]) => [humanised(key), shown(value)])} />;
}

export function humanised(key: string): string {
  const words = key.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function shown(value: unknown): ReactNode {
  if (value === null || value === undefined || value === '') {
    return null;
  }
  if (typeof value === 'string' || typeof value === 'number') {
    return String(value);
  }
  if (typeof value === 'boolean') {
    return value ? 'yes' : 'no';
  }
  if (Array.isArray(value)) {
    if (value.length === 0) {
      return 'none';
    }
    return value.every(item => typeof item !== 'object') ? (
      value.join(', ')
    ) : (
      <ul className="sr-Plain">
        {value.map((item, index) => (
          <li key={index}>{shown(item)}</li>
        ))}
      </ul>
    );
  }
  return Object.entries(value)
    .map(([key, inner]) => `${humanised(key)}: ${typeof inner === 'object' ? JSON.stringify(inner) : String(inner)}`)
    .join(' · ');
}
