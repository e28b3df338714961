/** The shapes of the stewards' catalogue pages (wire formats, section 7). */

import type { Grant } from './access.js';
import type { Column, Dataset } from './datasets.js';
import type { Label } from './labels.js';

export interface VersionLine {
  readonly name: string;
  readonly version: number;
  readonly state: 'draft' | 'loaded' | 'signed' | 'active' | 'retired' | 'abandoned';
  readonly label: Label;
  readonly rows: number | null;
  readonly created: string;
  readonly activated: string | null;
  readonly retained_until: string | null;
  readonly retired: string | null;
  readonly retired_by: string | null;
  readonly retired_why: string | null;
  readonly failed_checks: number;
}

export interface DraftLine extends VersionLine {
  readonly title: string;
  /** Columns on which nobody has decided. */
  readonly waits_for: readonly string[];
}

export interface Relabelling {
  readonly id: string;
  readonly state: 'open' | 'done' | 'refused' | 'outdated';
  readonly dataset: string;
  readonly version: number;
  readonly before: Label;
  readonly after: Label;
  readonly why: string;
  readonly proposed_by: string;
  readonly at: string;
  readonly decided_by: string | null;
  readonly may_approve: boolean;
}

/** The synthetic twin of the version that people see. */
export interface Twin {
  readonly version: number;
  /** null: there is none, and `why` says why. */
  readonly rows: number | null;
  readonly made: string | null;
  readonly why: string;
  /** Read by whoever may discover the dataset, or withheld. */
  readonly allowed: boolean;
  /** No: it follows from the label. */
  readonly decided: boolean;
  readonly may_decide: boolean;
}

export interface DatasetPage {
  readonly name: string;
  readonly title: string;
  /** Its newest visible version; null while there is none. */
  readonly dataset: Dataset | null;
  readonly versions: readonly VersionLine[];
  readonly grants: readonly Grant[];
  readonly relabellings: readonly Relabelling[];
  readonly used_by: readonly string[];
  /** null while no version is visible. */
  readonly twin: Twin | null;
}

export interface Proposal {
  readonly tags: readonly string[];
  /** Why; never with a value. */
  readonly evidence: readonly { readonly kind: string; readonly text: string }[];
}

export interface Group {
  readonly columns: readonly string[];
  readonly smallest: number;
  /** Shares of rows: alone in their group, in groups of fewer than ten. */
  readonly alone: number;
  readonly small: number;
  readonly exact: boolean;
}

export interface Proposals {
  readonly columns: Readonly<Record<string, Proposal>>;
  readonly groups: readonly Group[];
  readonly label: { readonly label: Label; readonly evidence: readonly string[] };
}

export interface CheckResult {
  readonly kind: string;
  readonly severity: 'error' | 'warn';
  readonly state: 'passed' | 'failed' | 'unchecked';
  readonly text: string;
  readonly why: string;
}

export interface ColumnProfile {
  readonly missing: number;
  readonly different?: number | string;
  readonly min?: string | number | null;
  readonly max?: string | number | null;
  readonly quantiles?: Readonly<Record<string, string | number | null>>;
  readonly values?: readonly (readonly [string | number | boolean | null, number])[];
  readonly histogram?: {
    readonly edges: readonly (string | number)[];
    readonly shares: readonly (number | null)[];
    /** Whether the first and the last bar reach beyond the edges. */
    readonly open: boolean;
  };
}

export interface Profile {
  readonly label: Label;
  readonly columns: Readonly<Record<string, ColumnProfile>>;
}

/** What may be told of the newest version to who may discover it. */
export interface ToldProfile {
  readonly dataset: string;
  readonly version: number;
  readonly label: Label;
  /** null: there is none. */
  readonly profile: Profile | null;
  /** null: no checks were declared. `failed` null: the label lets only their number be told. */
  readonly quality: {
    readonly checks: number;
    readonly passed: number;
    readonly failed: readonly CheckResult[] | null;
  } | null;
}

export interface Version extends VersionLine {
  readonly title: string;
  readonly description: string;
  readonly owner: string;
  readonly stewards: readonly string[];
  readonly source: string;
  readonly licence: string;
  readonly legal_basis: string;
  readonly consent_column: string | null;
  readonly contact: string;
  readonly sources: readonly string[];
  readonly columns: readonly Column[];
  readonly decided: {
    readonly by: string;
    readonly at: string;
    readonly comment: string;
    readonly accept: readonly string[];
    readonly change: readonly string[];
    readonly refuse: readonly string[];
  } | null;
  readonly profile: Profile | null;
  readonly undecided: readonly string[];
  readonly raises_label: boolean;
  readonly proposals: Proposals | null;
  readonly quality: readonly CheckResult[];
  readonly notes: readonly string[];
}

export type Verdict = 'accept' | 'change' | 'refuse';

export interface DraftDecision {
  readonly columns: Readonly<Record<string, { readonly verdict: Verdict; readonly tags: readonly string[] }>>;
  readonly label: Label;
  readonly comment: string;
}

export interface Difference {
  readonly before: { readonly version: number; readonly label: Label; readonly rows: number | null };
  readonly after: { readonly version: number; readonly label: Label; readonly rows: number | null };
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly {
    readonly name: string;
    readonly fields: readonly string[];
    readonly before: Readonly<Record<string, unknown>>;
    readonly after: Readonly<Record<string, unknown>>;
  }[];
  readonly missing: readonly { readonly name: string; readonly before: number | null; readonly after: number | null }[];
}
