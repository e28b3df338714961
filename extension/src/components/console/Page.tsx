import { useEffect, useRef, type JSX, type ReactNode } from 'react';

/** One page of the console: its heading takes the focus, so that a keyboard or a screen reader lands on what is new. */
export function Page({
  title,
  intro,
  back,
  actions,
  children
}: {
  readonly title: ReactNode;
  readonly intro?: ReactNode;
  readonly back?: { readonly href: string; readonly text: string };
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus();
  }, []);
  return (
    <>
      {back !== undefined && (
        <p className="sr-Back">
          <a href={back.href}>← {back.text}</a>
        </p>
      )}
      <header className="sr-Page-header">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {actions}
      </header>
      {intro !== undefined && <p className="sr-Intro">{intro}</p>}
      {children}
    </>
  );
}

/** Which requests a list shows. */
export function WhichPicker({
  value,
  pick
}: {
  readonly value: 'open' | 'all';
  readonly pick: (value: 'open' | 'all') => void;
}): JSX.Element {
  return (
    <fieldset className="sr-Switch">
      <legend className="sr-hidden">Show</legend>
      {(['open', 'all'] as const).map(which => (
        <label key={which}>
          <input
            type="radio"
            name="which"
            checked={value === which}
            onChange={() => {
              pick(which);
            }}
          />
          <span>{which === 'open' ? 'Open' : 'All'}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** A table that scrolls sideways by itself on a narrow screen. */
export function Table({
  caption,
  head,
  children
}: {
  readonly caption: string;
  readonly head: readonly string[];
  readonly children: ReactNode;
}): JSX.Element {
  return (
    <div className="sr-Scroll" tabIndex={0} role="region" aria-label={caption}>
      <table className="sr-Table">
        <caption className="sr-hidden">{caption}</caption>
        <thead>
          <tr>
            {head.map(name => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
