/** Access requests and grants (wire formats, sections 6 and 7). */

import type { Dataset, Mask, Masks } from './datasets.js';
import type { Turn } from './requests.js';
import type { Session } from './session.js';

export interface Grant {
  readonly id: string;
  readonly state: string;
  readonly user: string;
  readonly project: string;
  readonly dataset: string;
  readonly columns: readonly string[];
  readonly masks: Masks;
  readonly since: string;
  readonly until: string;
  readonly request: string | null;
  readonly revoked_by: string | null;
  readonly reason: string | null;
  /** For stewards: granted columns that were never read. */
  readonly unread?: readonly string[];
}

/** What the policy itself says on one wanted column. */
export interface ColumnVerdict {
  readonly column: string;
  readonly tags: readonly string[];
  readonly readable_now: boolean;
  /** The mask that the policy lays on it, whatever a steward decides. */
  readonly mask: Mask | null;
  readonly why: readonly string[];
}

/** What a steward should know before deciding. */
export interface AccessContext {
  readonly project: Session['project'] | null;
  readonly member: boolean;
  readonly dataset: Dataset | null;
  readonly earlier_requests: readonly {
    readonly id: string;
    readonly dataset: string;
    readonly project: string;
    readonly state: string;
    readonly submitted_at: string;
    readonly decided_by: string | null;
  }[];
  readonly policy: readonly ColumnVerdict[];
  /** The person's newest grant on this dataset before this request. */
  readonly last_grant?: Grant | null;
}

export interface AccessRequest {
  readonly id: string;
  readonly state: string;
  readonly user: string;
  readonly project: string;
  readonly dataset: string;
  readonly version_at_request: number | null;
  readonly columns: readonly string[];
  readonly purpose: string;
  readonly days: number;
  readonly submitted_at: string;
  readonly decided_at: string | null;
  readonly decided_by: string | null;
  readonly comment: string | null;
  readonly grant: Grant | null;
  readonly turn: Turn;
  /** Only stewards receive it. */
  readonly context?: AccessContext | null;
  /** The entry of the cell whose code prepared it. */
  readonly prepared?: number | null;
}

export interface AccessDecision {
  readonly verdict: 'approve' | 'deny';
  readonly days: number;
  readonly columns: readonly string[];
  readonly masks: Masks;
  readonly comment: string;
}
