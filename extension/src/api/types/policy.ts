/** Policies: what is in force, proposals, questions (wire formats, section 7). */

export interface PolicyProblem {
  readonly file: string;
  readonly line: number | null;
  readonly message: string;
}

export interface Policy {
  readonly version: string;
  /** null: no policy has ever been good, and everything is denied. */
  readonly loaded_at: string | null;
  readonly state: 'in-force' | 'refused';
  readonly problems: readonly PolicyProblem[];
  /** The texts in force, not those that were refused. */
  readonly files: readonly { readonly name: string; readonly text: string }[];
  /** How a change comes into force: by itself, or by a proposal that another person approves. */
  readonly activation: 'file' | 'two-person';
  /** What checks say about the policy in force; null without one. */
  readonly checks: PolicyResults | null;
  /** The files that stand in the policy folder; `version` null: they cannot be read. */
  readonly draft: {
    readonly version: string | null;
    readonly differs: boolean;
    readonly problems: readonly PolicyProblem[];
  };
  readonly proposals: readonly PolicyProposal[];
  /** The newest first. */
  readonly versions: readonly PolicyVersion[];
}

export interface PolicyChanges {
  readonly changed: boolean;
  /** No: more would have had to be asked than one comparison asks. */
  readonly complete: boolean;
  readonly changes: readonly { readonly kind: string; readonly text: string }[];
  readonly changes_in_all: number;
}

/** What one policy would change against another; each is named by its digest's first digits. */
export interface PolicyComparison extends PolicyChanges {
  readonly old: string;
  readonly new: string;
}

export interface PolicyResults {
  readonly notes: readonly string[];
  readonly tests: number;
  readonly guards: readonly { readonly name: string; readonly kind: string; readonly why: string }[];
  /** Those that grants of before break, as they did already; absent in a proposal of an earlier release. */
  readonly guards_broken?: number;
  readonly rows: number;
  /** Places of rows that no test reaches. */
  readonly untested: readonly string[];
  /** Empty where there is nothing to compare with. */
  readonly changes: PolicyChanges | Readonly<Record<string, never>>;
}

export interface PolicyProposal {
  readonly id: string;
  readonly state: 'open' | 'activated' | 'rejected' | 'withdrawn' | 'outdated';
  readonly digest: string;
  readonly version: string;
  readonly base: string;
  readonly author: string;
  readonly why: string;
  readonly at: string;
  readonly results: PolicyResults;
  readonly decided_by: string | null;
  readonly decided_at: string | null;
  readonly comment: string;
  readonly may: { readonly decide: boolean; readonly withdraw: boolean };
}

export interface PolicyVersion {
  readonly number: number;
  readonly version: string;
  readonly at: string;
  readonly actor: string;
  readonly why: string;
  readonly source: string;
  readonly entry: number;
  readonly changes: PolicyChanges | Readonly<Record<string, never>>;
  readonly in_force: boolean;
}

/** Who may do what: one line of who-can and what-can. */
export interface PolicyAnswer {
  readonly who: readonly string[];
  readonly action: string;
  readonly objects: readonly string[];
  /** null: outside projects. */
  readonly project: string | null;
  readonly rules: readonly { readonly name: string; readonly text: string; readonly why: string }[];
  readonly owing: Readonly<Record<string, { readonly value: string; readonly rule: string }>>;
}

export interface PolicyAnswers {
  readonly answers: readonly PolicyAnswer[];
  readonly answers_in_all: number;
}

/** A recorded decision that would have been another one. */
export interface PolicyReplayed {
  readonly entry: number;
  readonly time: string;
  readonly user: string;
  /** Empty: outside projects. */
  readonly project: string;
  readonly action: string;
  readonly was: boolean;
  readonly would_be: boolean;
  /** What differs and by which rules, in sentences. */
  readonly differs: readonly string[];
}

export interface PolicyReplay {
  /** Of the files that were tried. */
  readonly version: string;
  readonly looked_at: number;
  readonly not_by_rules: number;
  readonly changes: readonly PolicyReplayed[];
}

/** Rows in force, and those that nobody stood for in so many months. */
export interface PolicyStanding {
  readonly months: number;
  readonly rows: number;
  readonly overdue: readonly {
    readonly place: string;
    /** As the file names them; `nobody` where it names none. */
    readonly owner: string;
    /** null: nobody knows since when. */
    readonly on: string | null;
    readonly text: string;
    /** The row itself. */
    readonly says: string;
  }[];
}
