/** What one person asks for and another decides on (wire formats, section 7). */

export type TwoPeopleVerdict = 'approve' | 'reject' | 'withdraw';

/** Who asked and why, who decided, and the entries of the log that say so. */
export interface Asked {
  readonly id: string;
  readonly state: string;
  readonly why: string;
  readonly asked_by: string;
  readonly asked_at: string;
  readonly entry: number;
  readonly decided_by: string | null;
  readonly decided_at: string | null;
  readonly decided_entry?: number | null;
  readonly may: { readonly decide: boolean; readonly withdraw: boolean };
}

/** What was asked to be made unreadable for good by removing its keys. */
export interface Shred extends Asked {
  /** `approved`: decided, and the vault has not said yet that the keys are gone; nothing of it is read. */
  readonly state: 'open' | 'approved' | 'done' | 'rejected' | 'withdrawn';
  readonly dataset: string;
  readonly version: number;
  /** null: everything of the version. */
  readonly columns: readonly string[] | null;
  readonly decided_entry: number | null;
  readonly done_entry: number | null;
  /** The keys that the vault removed, and the hash of the signed order that it keeps beside the data. */
  readonly proof: { readonly removed: readonly string[]; readonly order: string } | null;
}

/** Tokens that somebody asked to have turned back into values. */
export interface Reidentification extends Asked {
  /** `approved`: can be looked at, once, before `until`. */
  readonly state: 'open' | 'approved' | 'shown' | 'expired' | 'rejected' | 'withdrawn';
  readonly project: string;
  readonly dataset: string;
  readonly version: number;
  readonly column: string;
  readonly tokens: readonly string[];
  /** Who sees the values: who asked, or the steward who agreed. */
  readonly shown_to: 'asker' | 'steward';
  readonly decided_entry: number | null;
  readonly until: string | null;
  readonly shown_at: string | null;
  readonly shown_entry: number | null;
  readonly may: Asked['may'] & { readonly show: boolean };
}

/** What a token stands for; null: nothing that the asker may look among. */
export interface TokenValue {
  readonly token: string;
  readonly value: string | null;
}

/** What was asked to be erased of what one person typed. */
export interface Erasure extends Asked {
  readonly state: 'open' | 'done' | 'rejected' | 'withdrawn';
  readonly person: string;
  readonly done_entry: number | null;
  /** Since when the database's leavings are clear of the key, too. */
  readonly cleared_at: string | null;
}

export interface Erasures {
  readonly setting: 'off' | 'two-person';
  readonly erasures: readonly Erasure[];
}
