/** Who works here, on what, under which limits (wire formats, sections 6 and 7). */

import type { Display, Label, SourceVersion } from './labels.js';

export interface Session {
  readonly user: string;
  readonly project: {
    readonly name: string;
    readonly title: string;
    readonly purpose: string;
    readonly until: string | null;
  };
  readonly label: Label;
  readonly sources: readonly SourceVersion[];
  readonly display: Display;
  readonly policy_version: string;
  readonly mode: 'separate-uids' | 'one-uid';
  readonly console_url?: string;
  /** The audit log's public key, as set-up wrote it; empty where this server does not know it. */
  readonly log_key?: string;
  /** The limits that this server's kernels run under, where the server knows them. */
  readonly profile?: Profile | null;
  /** What this machine lacks, in sentences. */
  readonly weaker?: readonly string[];
}

/** A set of limits that the policy names (wire formats, section 9). */
export interface Profile {
  readonly name: string;
  readonly title: string;
  readonly sandbox: string;
  readonly memory_bytes: number;
  readonly cpus: number;
  readonly processes: number;
  readonly file_bytes: number;
  readonly work_bytes: number;
  readonly work_files: number;
}

export interface Me {
  readonly user: string;
  readonly full_name: string;
  readonly can: {
    readonly approve_access: boolean;
    readonly approve_exports: boolean;
    readonly administer: boolean;
    readonly audit: boolean;
  };
}
