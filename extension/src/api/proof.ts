import type { Entry } from './types/log.js';

/** That an entry is in the log, as control tells it: everything in it is checked here and believed in nothing. */
export interface InclusionProof {
  readonly index: number;
  readonly size: number;
  /** Base64 of the entry's exact bytes. Missing where the reader may not be told all of them. */
  readonly leaf?: string;
  /** Base64 of the hash of those bytes; only there in their place. */
  readonly leaf_hash?: string;
  /** Base64, from the leaf upwards. */
  readonly hashes: readonly string[];
  /** The signed note. */
  readonly checkpoint: string;
}

export type Verdict =
  | {
      readonly ok: true;
      readonly size: number;
      readonly root: string;
      /** Whether what is shown was compared with the log; else only that an entry of that hash is in it. */
      readonly compared: boolean;
      /** What was checked, as the content of a `.tlog-proof` file; null without the entry's bytes. */
      readonly file: string | null;
    }
  | { readonly ok: false; readonly why: string };

const FIELDS = ['index', 'time', 'action', 'actor', 'project', 'server', 'kernel', 'object', 'label', 'sources', 'detail'] as const;
const HASH_BYTES = 32;
const ID_BYTES = 4;

/**
 * Whether what is shown of an entry is the leaf, and the leaf is in the tree whose root the checkpoint names.
 *
 * Of an entry of which not all may be told there is the leaf's hash alone, and nothing to compare.
 * The checkpoint's signature is not checked: its key would come from the same service. Whoever kept a checkpoint or has
 * the key compares.
 */
export async function checkEntry(shown: Entry, proof: InclusionProof): Promise<Verdict> {
  try {
    const compared = shown.narrowed !== true;
    const leaf = compared ? bytesOf(proof.leaf ?? '') : null;
    const differing = leaf === null ? [] : differences(leaf, shown);
    if (differing.length > 0 || proof.index !== shown.index) {
      return { ok: false, why: `What is shown is not what the log holds (${differing.join(', ') || 'index'}).` };
    }
    const head = headOf(proof.checkpoint);
    if (head.size !== proof.size) {
      return { ok: false, why: 'The proof is not for this checkpoint.' };
    }
    const hashes = proof.hashes.map(bytesOf);
    const node = leaf === null ? bytesOf(proof.leaf_hash ?? '') : await digest([0], leaf);
    if (!(await leadsTo(bytesOf(head.root), proof.index, head.size, node, hashes))) {
      return { ok: false, why: 'The proof does not lead from the entry to the root in the checkpoint.' };
    }
    return { ok: true, compared, file: leaf === null ? null : proofFile(proof.index, leaf, hashes, proof.checkpoint), ...head };
  } catch (error) {
    return { ok: false, why: `The proof cannot be read: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function differences(leaf: Uint8Array, shown: Entry): readonly string[] {
  const said = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(leaf)) as Record<string, unknown>;
  return FIELDS.filter(name => JSON.stringify(said[name]) !== JSON.stringify(shown[name]));
}

/**
 * A proof as a file that stands by itself (C2SP tlog-proof). From the bytes that were checked and not from the texts in which
 * they came: those may hold spaces and line ends that would be lines of the file.
 */
function proofFile(index: number, leaf: Uint8Array, hashes: readonly Uint8Array[], checkpoint: string): string {
  const lines = ['c2sp.org/tlog-proof@v1', `extra ${base64Of(leaf)}`, `index ${index}`, ...hashes.map(base64Of)];
  return `${lines.join('\n')}\n\n${checkpoint}`;
}

/** A run as the gate told of it, and whose it is. */
export interface ShownRun {
  readonly entry: number;
  /** The signed note that covered the entry when the cell began; null where none was told. */
  readonly checkpoint: string | null;
  readonly cell: string;
  readonly user: string;
  readonly project: string;
}

/** What the server tells of a run: believed in nothing. */
export interface RunProof {
  readonly proof: InclusionProof;
  /** Base64: from the log that the run's checkpoint signed to that of `proof`. */
  readonly consistency: readonly string[];
}

export type RunVerdict =
  | {
      readonly state: 'verified';
      readonly time: string;
      readonly key: string;
      readonly now: Head;
      readonly then: Head | null;
      /** What was checked, as the content of a `.tlog-proof` file. */
      readonly file: string;
    }
  | { readonly state: 'failed'; readonly why: string }
  | { readonly state: 'unknown'; readonly why: string };

/**
 * Whether the log whose public key is `vkey` holds the run: the leaf is that of this cell, person and project, leads to the
 * root of a checkpoint that the key signed, and that log goes on from the one that was signed when the cell began.
 */
export async function checkRun(run: ShownRun, { proof, consistency }: RunProof, vkey: string): Promise<RunVerdict> {
  try {
    if (!('subtle' in crypto)) {
      throw new CannotCheck('the page was not loaded over https');
    }
    const key = await readKey(vkey);
    const now = await openCheckpoint(proof.checkpoint, key);
    const then = run.checkpoint === null ? null : await openCheckpoint(run.checkpoint, key);
    if (then !== null && then.size <= run.entry) {
      return { state: 'failed', why: 'The checkpoint that came with this run does not cover it.' };
    }
    if (then !== null && now.size < then.size) {
      return { state: 'failed', why: `The log has ${now.size} entries; it had ${then.size} when this cell ran.` };
    }
    const root = bytesOf(now.root);
    if (then !== null && !(await isExtended(then.size, now.size, bytesOf(then.root), root, consistency.map(bytesOf)))) {
      return { state: 'failed', why: 'The log is not the one that it was when this cell ran: its history was changed.' };
    }
    const leaf = bytesOf(proof.leaf ?? '');
    const hashes = proof.hashes.map(bytesOf);
    if (!(await isIncluded(run.entry, now.size, leaf, hashes, root))) {
      return { state: 'failed', why: `What is told of entry ${run.entry} is not what the log holds.` };
    }
    const said = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(leaf)) as Leaf;
    const differing = aboutAnother(run, said);
    if (differing.length > 0) {
      return { state: 'failed', why: `Entry ${run.entry} of the log is about another ${differing.join(', ')}.` };
    }
    const file = proofFile(run.entry, leaf, hashes, proof.checkpoint);
    return { state: 'verified', time: said.time, key: key.name, now, then, file };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return error instanceof CannotCheck
      ? { state: 'unknown', why: `It cannot be checked here: ${why}.` }
      : { state: 'failed', why: `The proof cannot be read: ${why}.` };
  }
}

interface Leaf {
  readonly index: number;
  readonly time: string;
  readonly action: string;
  readonly actor: string;
  readonly project: string | null;
  readonly detail: { readonly cell?: string | null };
}

function aboutAnother(run: ShownRun, said: Leaf): readonly string[] {
  const wanted = [
    ['number', said.index, run.entry],
    ['action', said.action, 'server:cell:begin'],
    ['person', said.actor, `user:${run.user}`],
    ['project', said.project, run.project],
    ['cell', said.detail.cell, run.cell]
  ] as const;
  return wanted.filter(([, is, expected]) => is !== expected).map(([name]) => name);
}

/** Whether `hashes` lead from the bytes `leaf`, number `index`, to the root of a tree of `size` (RFC 9162, 2.1.3.2). */
export async function isIncluded(
  index: number,
  size: number,
  leaf: Uint8Array,
  hashes: readonly Uint8Array[],
  root: Uint8Array
): Promise<boolean> {
  return leadsTo(root, index, size, await digest([0], leaf), hashes);
}

async function leadsTo(
  root: Uint8Array,
  index: number,
  size: number,
  leafHash: Uint8Array,
  hashes: readonly Uint8Array[]
): Promise<boolean> {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) {
    return false;
  }
  if ([...hashes, leafHash, root].some(hash => hash.length !== HASH_BYTES)) {
    return false;
  }
  // No bit operators: they cut numbers to 32 bits.
  let place = index;
  let last = size - 1;
  let node = leafHash;
  for (const step of hashes) {
    if (last === 0) {
      return false;
    }
    if (place % 2 === 1 || place === last) {
      node = await digest([1], step, node);
      while (place % 2 === 0 && place > 0) {
        place /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      node = await digest([1], node, step);
    }
    place = Math.floor(place / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && equal(node, root);
}

/** Whether `hashes` show that the tree of `old` leaves is the beginning of that of `size` (RFC 9162, 2.1.4.2). */
export async function isExtended(
  old: number,
  size: number,
  oldRoot: Uint8Array,
  root: Uint8Array,
  hashes: readonly Uint8Array[]
): Promise<boolean> {
  if (!Number.isSafeInteger(old) || !Number.isSafeInteger(size) || old < 1 || old > size) {
    return false;
  }
  if ([...hashes, oldRoot, root].some(hash => hash.length !== HASH_BYTES)) {
    return false;
  }
  if (old === size) {
    return hashes.length === 0 && equal(oldRoot, root);
  }
  if (hashes.length === 0) {
    return false;
  }
  let place = old - 1;
  let last = size - 1;
  while (place % 2 === 1) {
    place = Math.floor(place / 2);
    last = Math.floor(last / 2);
  }
  // Where the old tree is one whole subtree its root is the first step, and left out.
  const [first, ...steps] = place === 0 ? [oldRoot, ...hashes] : hashes;
  let before = first ?? oldRoot;
  let after = before;
  for (const step of steps) {
    if (last === 0) {
      return false;
    }
    if (place % 2 === 1 || place === last) {
      before = await digest([1], step, before);
      after = await digest([1], step, after);
      while (place % 2 === 0 && place > 0) {
        place /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      after = await digest([1], after, step);
    }
    place = Math.floor(place / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && equal(before, oldRoot) && equal(after, root);
}

/** What a checkpoint says: so many entries, this root (base64). */
export interface Head {
  readonly size: number;
  readonly root: string;
}

/** This browser lacks what a check needs: nothing is known then, neither good nor bad. */
export class CannotCheck extends Error {}

/** A log's public key, `NAME+KEYID+BASE64` (C2SP signed-note). Throws for what is none. */
export async function readKey(text: string): Promise<{ readonly name: string; readonly id: Uint8Array; readonly key: CryptoKey }> {
  const [, name = '', id = '', encoded = ''] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(text) ?? [];
  if (name === '') {
    throw new CannotCheck("the log's public key is not known here");
  }
  const raw = bytesOf(encoded);
  const hash = await digest(new TextEncoder().encode(`${name}\n`), raw);
  if (raw.length !== 33 || raw[0] !== 1 || hexOf(hash.slice(0, ID_BYTES)) !== id) {
    throw new CannotCheck("the log's public key is none, or was changed");
  }
  try {
    const key = await crypto.subtle.importKey('raw', raw.slice(1), 'Ed25519', false, ['verify']);
    return { name, id: hash.slice(0, ID_BYTES), key };
  } catch {
    throw new CannotCheck('this browser does not know Ed25519 signatures; a newer one does');
  }
}

/** What a checkpoint says, its signature by `key` checked; signatures of others are passed over. Throws for all else. */
export async function openCheckpoint(note: string, key: Awaited<ReturnType<typeof readKey>>): Promise<Head> {
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || !note.endsWith('\n')) {
    throw new Error('the checkpoint is not a signed note');
  }
  const text = note.slice(0, end + 1);
  if (text.split('\n')[0] !== key.name) {
    throw new Error('the checkpoint is of another log');
  }
  const signatures = note.slice(end + 2, -1).split('\n');
  const prefix = `\u2014 ${key.name} `;
  for (const line of signatures.filter(one => one.startsWith(prefix))) {
    const blob = bytesOf(line.slice(prefix.length));
    const signed = blob.length === ID_BYTES + 64 && equal(blob.slice(0, ID_BYTES), key.id);
    if (signed && (await crypto.subtle.verify('Ed25519', key.key, blob.slice(ID_BYTES), new TextEncoder().encode(text)))) {
      return headOf(text);
    }
  }
  throw new Error("the checkpoint does not carry the log's signature");
}

/** How many entries a checkpoint says that the log had, its signature unchecked; null for what is no checkpoint. */
export function sizeOf(note: string): number | null {
  try {
    return headOf(note).size;
  } catch {
    return null;
  }
}

/** Size and root of a checkpoint. Throws for what is none. */
function headOf(note: string): Head {
  const [, size = '', root = ''] = note.split('\n');
  if (!/^(0|[1-9]\d{0,15})$/.test(size)) {
    throw new Error('the checkpoint names no size');
  }
  return { size: Number(size), root };
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((value, at) => value === other[at]);
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, value => value.toString(16).padStart(2, '0')).join('');
}

async function digest(...parts: readonly ArrayLike<number>[]): Promise<Uint8Array<ArrayBuffer>> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest('SHA-256', joined));
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
}

function base64Of(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, value => String.fromCharCode(value)).join(''));
}
