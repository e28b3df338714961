import { useState, type JSX, type ReactNode } from 'react';
import { Button } from '../basics.js';

/** Where one stands in what is shown page by page, the newest first. */
export interface Trail {
  /** Below which entry this page begins; null: at the newest. */
  readonly before: number | null;
  readonly newest: boolean;
  readonly restart: () => void;
  readonly newer: () => void;
  readonly older: (next: number | null) => void;
}

export function useTrail(): Trail {
  const [steps, setSteps] = useState<readonly (number | null)[]>([null]);
  return {
    before: steps.at(-1) ?? null,
    newest: steps.length === 1,
    restart: () => {
      setSteps([null]);
    },
    newer: () => {
      setSteps(steps.slice(0, -1));
    },
    older: next => {
      setSteps([...steps, next]);
    }
  };
}

export function Paging({
  trail,
  next,
  children
}: {
  readonly trail: Trail;
  /** Below which entry the next page begins; null: there is none. */
  readonly next: number | null;
  readonly children?: ReactNode;
}): JSX.Element {
  return (
    <div className="sr-Actions">
      <Button disabled={trail.newest} onClick={trail.newer}>
        Newer
      </Button>
      <Button
        disabled={next === null}
        onClick={() => {
          trail.older(next);
        }}
      >
        Older
      </Button>
      {children}
    </div>
  );
}
