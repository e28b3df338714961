/** How the installation is (wire formats, section 7). */

export interface Status {
  readonly mode: 'separate-uids' | 'one-uid';
  /** What this installation leaves out, in words. */
  readonly weaker: readonly string[];
  readonly log: LogStatus;
  /** What the hub found on its machine at its last start. */
  readonly machine?: readonly Check[];
  /** Violations of the last day, by kind. */
  readonly violations?: Readonly<Record<string, number>>;
}

export interface LogStatus {
  readonly size: number;
  /** `WITNESS: words`. */
  readonly alarms: readonly string[];
  /** This machine's own memory first. */
  readonly witnesses: readonly Witness[];
  /** null: entries are not sent on. */
  readonly push: {
    readonly next: number;
    readonly waiting: number;
    readonly state: 'fine' | 'failing';
    readonly text: string;
  } | null;
}

/** How it stands with one who co-signs checkpoints of the log. */
export interface Witness {
  readonly witness: string;
  readonly state: 'waiting' | 'fine' | 'silent' | 'refused' | 'rolled-back' | 'split';
  readonly text: string;
  /** Entries of the checkpoint that it co-signed last. */
  readonly size: number;
  readonly at: string | null;
}

/** One thing that `strongroom doctor` looks at. */
export interface Check {
  readonly name: string;
  readonly state: 'fine' | 'weaker' | 'broken';
  readonly text: string;
  readonly next: string;
}

/** What a kernel tried and was refused, or the limit that ended it. */
export interface Violation {
  readonly entry: number;
  readonly time: string;
  readonly user: string;
  readonly project: string;
  readonly kernel: string;
  readonly kind: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly text: string;
}
