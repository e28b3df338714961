import type { Mask } from '../api/types/datasets.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB'] as const;

export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit] ?? 'B'}`;
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });

export function formatMoment(time: string): string {
  return formatted(moment, time);
}

/** A time of today to the second, another one with its day. */
export function formatTime(time: string): string {
  return new Date(time).toDateString() === new Date().toDateString() ? formatted(clock, time) : formatMoment(time);
}

export function formatDay(time: string): string {
  return formatted(day, time);
}

function formatted(format: Intl.DateTimeFormat, time: string): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : format.format(date);
}

/** A whole number with its noun: `1 file`, `3 files`. */
export function count(number: number, noun: string, nouns = `${noun}s`): string {
  return `${number.toLocaleString()} ${number === 1 ? noun : nouns}`;
}

const MASK_WORDS: Readonly<Record<string, (parameter: string) => string>> = {
  null: () => 'emptied',
  redact: () => 'redacted',
  hash: () => 'pseudonyms',
  token: () => 'tokens',
  generalise: width => `classes of ${width.replace('width=', '')}`,
  prefix: characters => `first ${characters} characters`,
  date: unit => `only the ${unit}`,
  round: decimals => (decimals.startsWith('-') ? `rounded to ${10 ** -Number(decimals)}s` : `${decimals} decimals`),
  topcode: share => `at most the ${share} quantile`,
  bottomcode: share => `at least the ${share} quantile`,
  'shift-date': () => 'shifted dates'
};

/** What a mask leaves of a column, in a few words. */
export function maskWord(mask: Mask): string {
  const [method = '', parameter = ''] = mask.replace(/\)$/, '').split('(');
  return MASK_WORDS[method]?.(parameter) ?? mask;
}

const STATE_WORDS: Readonly<Record<string, string>> = {
  submitted: 'waiting for a steward',
  approved: 'approved',
  denied: 'denied',
  withdrawn: 'withdrawn',
  expired: 'expired',
  revoked: 'revoked',
  active: 'active',
  draft: 'being checked',
  blocked: 'blocked by a check',
  in_review: 'in review',
  returned: 'returned for changes',
  rejected: 'rejected',
  released: 'released',
  open: 'waiting for a second person',
  activated: 'brought into force',
  loaded: 'waits for its steward',
  signed: 'decided, not visible yet',
  arriving: 'file on its way',
  outdated: 'outdated',
  shown: 'shown'
};

/** A state as people read it; an unknown one is shown as it came. */
export function stateWord(state: string): string {
  return STATE_WORDS[state] ?? state.replaceAll('_', ' ');
}

export type Tone = 'good' | 'bad' | 'waiting' | 'quiet';

const TONES: Readonly<Record<string, Tone>> = {
  approved: 'good',
  released: 'good',
  active: 'good',
  activated: 'good',
  done: 'good',
  readable: 'good',
  passed: 'good',
  failed: 'bad',
  unchecked: 'bad',
  loaded: 'waiting',
  signed: 'waiting',
  denied: 'bad',
  rejected: 'bad',
  blocked: 'bad',
  revoked: 'bad',
  submitted: 'waiting',
  in_review: 'waiting',
  returned: 'waiting',
  open: 'waiting'
};

export function stateTone(state: string): Tone {
  return TONES[state] ?? 'quiet';
}

/** The libraries for whose users code can be inserted. */
export const HABITS = ['pandas', 'polars', 'duckdb', 'arrow'] as const;
export type Habit = (typeof HABITS)[number];

/** What opens a dataset, or its synthetic twin; a JSON string of a dataset name is a Python string, too. */
export function openCode(dataset: string, synthetic: boolean): string {
  return `strongroom.open(${JSON.stringify(dataset)}${synthetic ? ', synthetic=True' : ''})`;
}

/** The cell that reads a dataset, or its synthetic twin. */
export function loadCode(dataset: string, habit: Habit, synthetic = false): string {
  const opened = openCode(dataset, synthetic);
  const lines: Readonly<Record<Habit, string>> = {
    pandas: `df = ${opened}.to_pandas()`,
    polars: `df = ${opened}.to_polars()`,
    duckdb: `import duckdb\ndata = ${opened}\nduckdb.sql("select count(*) from data")`,
    arrow: `table = ${opened}.arrow()`
  };
  return `import strongroom\n${lines[habit]}`;
}

/** An actor of the log without the kind: `user:ada` is `ada`. */
export function personName(actor: string): string {
  return actor.replace(/^user:/, '');
}

/** Where code filled in what a person submitted: which cell's. */
export function filledInBy(request: { readonly prepared?: number | null; readonly user: string }): string | null {
  return request.prepared == null ? null : `code of the cell with entry ${request.prepared}; submitted by ${request.user}`;
}
