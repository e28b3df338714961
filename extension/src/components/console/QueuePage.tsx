import { useState, type JSX } from 'react';
import type { Which } from '../../api/console.js';
import { Await, Empty } from '../basics.js';
import { useLoad } from '../hooks.js';
import { Page, WhichPicker } from './Page.js';

/** A list of what waits for a decision, or of all there ever was. */
export function QueuePage<T>({
  title,
  intro,
  what,
  none,
  load,
  line
}: {
  readonly title: string;
  readonly intro: string;
  /** What the list holds, as it is said while it loads. */
  readonly what: string;
  readonly none: Readonly<Record<Which, string>>;
  readonly load: (which: Which) => Promise<readonly T[]>;
  readonly line: (one: T) => JSX.Element;
}): JSX.Element {
  const [which, setWhich] = useState<Which>('open');
  const loaded = useLoad(() => load(which), `${what} ${which}`);
  return (
    <Page title={title} intro={intro} actions={<WhichPicker value={which} pick={setWhich} />}>
      <Await loaded={loaded} what={what}>
        {shown =>
          shown.length === 0 ? <Empty>{none[which]}</Empty> : <ul className="sr-Queue">{shown.map(line)}</ul>
        }
      </Await>
    </Page>
  );
}
