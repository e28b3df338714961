/** What the notebook server says of files, cells and outputs (wire formats, sections 6 and 10). */

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
