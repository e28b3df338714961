/** Exports: files, checks, votes (wire formats, sections 6 and 7). */

import type { Label, SourceVersion } from './labels.js';
import type { Turn } from './requests.js';

export interface Finding {
  readonly check: string;
  readonly severity: 'block' | 'warn' | 'pass';
  readonly text: string;
  readonly evidence?: Readonly<Record<string, unknown>> | null;
}

export interface ExportFile {
  readonly index: number;
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly type: string | null;
  readonly findings: readonly Finding[];
}

export interface ExportCell {
  readonly entry: number;
  readonly time: string;
  readonly notebook: string | null;
  /** Reviewers and the owner only. */
  readonly code?: string | null;
}

export interface Vote {
  readonly reviewer: string;
  readonly verdict: ExportVerdict;
  readonly comment: string;
  readonly at: string;
  /** Whether it still holds: files, policy or checks that change void it. */
  readonly valid: boolean;
}

export interface ExportRequest {
  readonly id: string;
  readonly state: string;
  readonly user: string;
  readonly project: string;
  readonly label: Label;
  readonly justification: string;
  readonly submitted_at: string | null;
  readonly files: readonly ExportFile[];
  readonly sources: readonly SourceVersion[];
  readonly cells: readonly ExportCell[];
  readonly votes: readonly Vote[];
  readonly reviewers_needed: number;
  readonly turn: Turn;
  readonly may: { readonly vote: boolean; readonly withdraw: boolean; readonly download: boolean };
  readonly released_at: string | null;
  /** The entry of the cell whose code prepared it. */
  readonly prepared?: number | null;
}

export type ExportVerdict = 'approve' | 'reject' | 'changes';

export interface ExportVote {
  readonly verdict: ExportVerdict;
  readonly comment: string;
}

export type Preview =
  | {
      readonly kind: 'table';
      readonly columns: readonly string[];
      readonly rows: readonly (readonly (string | number | boolean | null)[])[];
      readonly truncated: boolean;
    }
  | { readonly kind: 'text'; readonly text: string; readonly truncated: boolean }
  | { readonly kind: 'image'; readonly mime: string; readonly base64: string };
