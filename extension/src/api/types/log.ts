/** The audit log: entries and timelines (wire formats, section 7). */

import type { InclusionProof } from '../proof.js';
import type { Label } from './labels.js';

/** One record of the audit log: the verified leaf, parsed. */
export interface Entry {
  readonly index: number;
  readonly v: number;
  readonly time: string;
  readonly action: string;
  readonly actor: string;
  readonly project: string | null;
  readonly server: string | null;
  readonly kernel: string | null;
  readonly object: string | null;
  readonly label: Label | null;
  /** Dataset versions, as `NS/NAME@VERSION`. */
  readonly sources?: readonly string[] | null;
  readonly detail?: Readonly<Record<string, unknown>> | null;
  /** Of begins alone. */
  readonly end?: CellEnd;
  /** Only there where something is left out that code in a kernel chose; auditors see all. */
  readonly narrowed?: boolean;
}

/** What became of what began. */
export interface CellEnd {
  readonly state: 'ended' | 'running' | 'missing';
  /** The entry that says how it ended. */
  readonly entry: number | null;
  /** Why there is none. */
  readonly why: string;
}

/** One entry with what belongs to it: the decrypted text where the caller may, and the proof that it is in the log. */
export interface EntryDetail extends Entry {
  readonly payload?: string | null;
  readonly payload_state: 'none' | 'shown' | 'not-yours' | 'erased' | 'unreadable';
  /** The entry by which two people had it erased. */
  readonly erased: { readonly entry: number; readonly time: string; readonly actor: string } | null;
  readonly proof?: InclusionProof | null;
}

export interface EntryPage {
  readonly entries: readonly Entry[];
  readonly next: number | null;
  readonly size: number;
}

/** An entry in a timeline, with its text where the reader may have it. */
export interface TimelineEntry extends Entry {
  /** What it has to do with an export: `data`, `access`, `read`, `cell` or `export`. */
  readonly role?: string;
  readonly text?: {
    readonly payload: string | null;
    readonly payload_state: 'shown' | 'erased' | 'unreadable';
  } | null;
}

export interface TimelinePage {
  readonly entries: readonly TimelineEntry[];
  readonly next: number | null;
}

/** Of what: a notebook is known by its path, and by whose it is in which project (empty: whoever, wherever). */
export type TimelineOf =
  | { readonly kind: 'person' | 'dataset' | 'export'; readonly name: string }
  | { readonly kind: 'notebook'; readonly name: string; readonly user: string; readonly project: string };

/** All that led to the files of an export, oldest first. */
export interface ExportChain {
  readonly export: { readonly id: string; readonly user: string; readonly project: string; readonly state: string };
  readonly entries: readonly TimelineEntry[];
  /** Whether some steps are not told to the reader. */
  readonly left_out: boolean;
}

export interface AuditFilter {
  readonly actor: string;
  readonly action: string;
  readonly object: string;
  readonly project: string;
}
