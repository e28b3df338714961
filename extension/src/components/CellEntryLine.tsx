import type { JSX } from 'react';
import type { Label } from '../api/types.js';
import { LabelBadge } from './basics.js';
import { formatBytes } from './format.js';

/** What the gate wrote on a cell's reply; after a reload only the entry is known. */
export interface CellSeal {
  readonly entry: number;
  readonly label?: Label;
  readonly shown?: number;
  readonly withheld?: number;
}

/** Which audit entry a cell's last run made, and how much of its output was shown. */
export function CellEntryLine({ seal }: { readonly seal: CellSeal }): JSX.Element {
  return (
    <>
      Audit entry {seal.entry}
      {seal.label !== undefined && (
        <>
          {' '}
          <LabelBadge label={seal.label} />
        </>
      )}
      {seal.shown !== undefined && ` ${formatBytes(seal.shown)} shown`}
      {seal.withheld !== undefined && seal.withheld > 0 && `, ${formatBytes(seal.withheld)} withheld`}
    </>
  );
}
