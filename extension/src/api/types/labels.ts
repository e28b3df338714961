/** Labels, and what may be shown of what has one (wire formats, section 6). */

export const LABELS = ['public', 'internal', 'confidential', 'secret'] as const;
export type Label = (typeof LABELS)[number];

/** What is not a known label is treated as the highest. */
export function asLabel(value: unknown): Label {
  return LABELS.find(label => label === value) ?? 'secret';
}

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
