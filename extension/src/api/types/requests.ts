/** What requests have in common: whose turn it is, what code prepared (wire formats, section 6). */

export type Turn = 'steward' | 'requester' | 'nobody';

interface Prepared {
  readonly id: string;
  readonly notebook: string;
  /** The entry of the cell whose code it was. */
  readonly entry: number;
  readonly at: string;
}

export interface AccessDraft extends Prepared {
  readonly kind: 'access-request';
  readonly dataset: string;
  readonly columns: readonly string[];
  readonly purpose: string;
  readonly days: number;
  readonly used: readonly string[];
}

export interface ExportDraft extends Prepared {
  readonly kind: 'export';
  readonly paths: readonly string[];
  readonly justification: string;
}

/** What code prepared and nobody has submitted. */
export type Draft = AccessDraft | ExportDraft;

export interface StateChange {
  readonly id: string;
  readonly state: string;
}
