import { useCallback, useEffect, useRef, useState } from 'react';
import { asProblem, type Problem } from '../api/problem.js';

export type Loaded<T> =
  | { readonly state: 'loading'; readonly value: T | null }
  | { readonly state: 'ready'; readonly value: T }
  | { readonly state: 'failed'; readonly value: null; readonly problem: Problem };

/**
 * Load something now, and again whenever `key` changes or `reload` is called.
 *
 * While it loads again, the earlier value of the same subject (`key` up to the first `#`) stays; an answer that a later
 * call has overtaken is dropped.
 */
export function useLoad<T>(load: () => Promise<T>, key: string): Loaded<T> & { readonly reload: () => void } {
  const [loaded, setLoaded] = useState<Loaded<T>>({ state: 'loading', value: null });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  const subject = useRef(key);
  useEffect(() => {
    latest.current = load;
  });

  useEffect(() => {
    let overtaken = false;
    const same = subject.current.split('#')[0] === key.split('#')[0];
    subject.current = key;
    setLoaded(before => ({ state: 'loading', value: same ? before.value : null }));
    latest.current().then(
      value => {
        if (!overtaken) {
          setLoaded({ state: 'ready', value });
        }
      },
      (error: unknown) => {
        if (!overtaken) {
          setLoaded({ state: 'failed', value: null, problem: asProblem(error) });
        }
      }
    );
    return () => {
      overtaken = true;
    };
  }, [key, round]);

  const reload = useCallback(() => {
    setRound(before => before + 1);
  }, []);
  return { ...loaded, reload };
}

export interface Action<A extends readonly unknown[]> {
  readonly busy: boolean;
  readonly problem: Problem | null;
  readonly run: (...parameters: A) => Promise<void>;
}

/** Run something that can be refused: never twice at once, its refusal kept until the next run. */
export function useAction<A extends readonly unknown[]>(act: (...parameters: A) => Promise<void>): Action<A> {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const running = useRef(false);
  const run = async (...parameters: A): Promise<void> => {
    if (running.current) {
      return;
    }
    running.current = true;
    setBusy(true);
    setProblem(null);
    try {
      await act(...parameters);
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      running.current = false;
      setBusy(false);
    }
  };
  return { busy, problem, run };
}
