/**
 * The shapes that the server REST and the public API share (docs/developers/wire-formats.md, sections 4, 6 and 7).
 *
 * Times are RFC 3339 UTC, sizes are bytes. Fields are only ever added: readers ignore what they do not know.
 */

import type { InclusionProof } from './proof.js';

export const LABELS = ['public', 'internal', 'confidential', 'secret'] as const;
export type Label = (typeof LABELS)[number];

/** What is not a known label is treated as the highest. */
export function asLabel(value: unknown): Label {
  return LABELS.find(label => label === value) ?? 'secret';
}

/** A mask as policies write it: `hash`, `prefix(3)`, `generalise(width=5)` (docs/admins/masks.md). */
export type Mask = string;
export type Masks = Readonly<Record<string, Mask>>;

export type Turn = 'steward' | 'requester' | 'nobody';

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

/** What may be shown right now; null means no limit, `allowed: false` that nothing may be shown. */
export interface Display {
  readonly allowed: boolean;
  readonly cell_bytes: number | null;
  readonly day_bytes_left: number | null;
  readonly image_bytes: number | null;
  readonly rule: string;
  readonly text: string;
}

export interface SourceVersion {
  readonly dataset: string;
  readonly version: number;
}

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

export interface WorkEntry {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'other';
  readonly bytes: number | null;
  readonly modified: string | null;
}

export interface WorkFolder {
  readonly path: string;
  readonly entries: readonly WorkEntry[];
  readonly truncated: boolean;
}

export interface CellEntry {
  readonly cell: string;
  readonly entry: number;
  readonly time: string;
  /** The log's signed note that covered the entry when the cell began. */
  readonly checkpoint: string | null;
}

/** What stands in a cell in the place of an output that was withheld; the gate's own words, nothing of the kernel's. */
export interface Withheld {
  readonly id: string;
  /** null where not even the size may be told. */
  readonly bytes: number | null;
  readonly rule: string;
  readonly text: string;
  readonly next: string;
  /** Whether it can be sent to review from where it stands. */
  readonly reviewable: boolean;
}

/** A withheld output that this server still keeps. */
export interface KeptOutput {
  readonly id: string;
  readonly entry: number;
  readonly notebook: string;
  readonly cell: string;
  readonly bytes: number | null;
  readonly at: string;
}

/** The label as the event stream and `execute_reply` metadata report it. */
export interface LabelState {
  readonly label: Label;
  readonly sources: readonly SourceVersion[];
  readonly display: Display;
}

export interface Notice {
  readonly kernel: string;
  readonly rule: string;
  readonly text: string;
  readonly bytes: number;
}

export interface StateChange {
  readonly id: string;
  readonly state: string;
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

export interface AccessDecision {
  readonly verdict: 'approve' | 'deny';
  readonly days: number;
  readonly columns: readonly string[];
  readonly masks: Masks;
  readonly comment: string;
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

/** On what one person asked for and another decides on. */
export type TwoPeopleVerdict = 'approve' | 'reject' | 'withdraw';

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

/** What was asked to be made unreadable for good by removing its keys. */
export interface Shred {
  readonly id: string;
  /** `approved`: decided, and the vault has not said yet that the keys are gone; nothing of it is read. */
  readonly state: 'open' | 'approved' | 'done' | 'rejected' | 'withdrawn';
  readonly dataset: string;
  readonly version: number;
  /** null: everything of the version. */
  readonly columns: readonly string[] | null;
  readonly why: string;
  readonly asked_by: string;
  readonly asked_at: string;
  readonly entry: number;
  readonly decided_by: string | null;
  readonly decided_at: string | null;
  readonly decided_entry: number | null;
  readonly done_entry: number | null;
  /** The keys that the vault removed, and the hash of the signed order that it keeps beside the data. */
  readonly proof: { readonly removed: readonly string[]; readonly order: string } | null;
  readonly may: { readonly decide: boolean; readonly withdraw: boolean };
}

/** Tokens that somebody asked to have turned back into values. */
export interface Reidentification {
  readonly id: string;
  /** `approved`: can be looked at, once, before `until`. */
  readonly state: 'open' | 'approved' | 'shown' | 'expired' | 'rejected' | 'withdrawn';
  readonly project: string;
  readonly dataset: string;
  readonly version: number;
  readonly column: string;
  readonly tokens: readonly string[];
  /** Who sees the values: who asked, or the steward who agreed. */
  readonly shown_to: 'asker' | 'steward';
  readonly why: string;
  readonly asked_by: string;
  readonly asked_at: string;
  readonly entry: number;
  readonly decided_by: string | null;
  readonly decided_at: string | null;
  readonly decided_entry: number | null;
  readonly until: string | null;
  readonly shown_at: string | null;
  readonly shown_entry: number | null;
  readonly may: { readonly decide: boolean; readonly withdraw: boolean; readonly show: boolean };
}

/** What a token stands for; null: nothing that the asker may look among. */
export interface TokenValue {
  readonly token: string;
  readonly value: string | null;
}

/** What was asked to be erased of what one person typed. */
export interface Erasure {
  readonly id: string;
  readonly state: 'open' | 'done' | 'rejected' | 'withdrawn';
  readonly person: string;
  readonly why: string;
  readonly asked_by: string;
  readonly asked_at: string;
  readonly entry: number;
  readonly decided_by: string | null;
  readonly decided_at: string | null;
  readonly done_entry: number | null;
  /** Since when the database's leavings are clear of the key, too. */
  readonly cleared_at: string | null;
  readonly may: { readonly decide: boolean; readonly withdraw: boolean };
}

export interface Erasures {
  readonly setting: 'off' | 'two-person';
  readonly erasures: readonly Erasure[];
}

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
