/** Datasets as the catalogue tells them (wire formats, sections 6 and 7). */

import type { Label } from './labels.js';

/** A mask as policies write it: `hash`, `prefix(3)`, `generalise(width=5)` (docs/admins/masks.md). */
export type Mask = string;
export type Masks = Readonly<Record<string, Mask>>;

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly description?: string | null;
  readonly tags?: readonly string[];
  readonly unit?: string;
  /** What coded values mean. */
  readonly codes?: Readonly<Record<string, string>>;
  readonly nullable?: boolean;
}

export interface DatasetAccess {
  readonly read: boolean;
  readonly columns: readonly string[];
  readonly masked: Masks;
  readonly until: string | null;
  /** The open request of this user and project, if there is one. */
  readonly request: string | null;
}

export interface Dataset {
  readonly name: string;
  readonly version: number;
  readonly title: string;
  readonly description: string;
  readonly label: Label;
  readonly rows: number | null;
  readonly owner: string;
  readonly stewards: readonly string[];
  readonly source: string;
  readonly licence: string;
  readonly columns: readonly Column[];
  readonly legal_basis?: string;
  readonly retained_until?: string | null;
  readonly consent_column?: string | null;
  readonly contact?: string;
  /** Absent where nobody's access is meant: the stewards' view of the catalogue. */
  readonly access?: DatasetAccess | null;
  /** The versions it was made from, and those that were made from it: `namespace/name@version`. */
  readonly sources?: readonly string[];
  readonly used_by?: readonly string[];
  /** Set for what a project saved. `quiet`: saved where nothing may be shown, so pages are told its name alone. */
  readonly derived?: { readonly project: string; readonly user: string; readonly quiet: boolean; readonly entry: number } | null;
  /** Whether it has a synthetic twin that may be read: by whoever sees this, without access. */
  readonly synthetic?: boolean;
  /** Columns that code says it used: a hint. */
  readonly used?: readonly string[];
}
