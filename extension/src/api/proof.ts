import type { Entry } from './types.js';

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
    }
  | { readonly ok: false; readonly why: string };

const FIELDS = ['index', 'time', 'action', 'actor', 'project', 'server', 'kernel', 'object', 'label', 'sources', 'detail'] as const;
const HASH_BYTES = 32;

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
    return { ok: true, compared, ...head };
  } catch (error) {
    return { ok: false, why: `The proof cannot be read: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function differences(leaf: Uint8Array, shown: Entry): readonly string[] {
  const said = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(leaf)) as Record<string, unknown>;
  return FIELDS.filter(name => JSON.stringify(said[name]) !== JSON.stringify(shown[name]));
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
  return last === 0 && node.every((value, at) => value === root[at]);
}

/** Size and root (base64) of a checkpoint. Throws for what is none. */
function headOf(note: string): { readonly size: number; readonly root: string } {
  const [, size = '', root = ''] = note.split('\n');
  if (!/^(0|[1-9]\d{0,15})$/.test(size)) {
    throw new Error('the checkpoint names no size');
  }
  return { size: Number(size), root };
}

async function digest(...parts: readonly ArrayLike<number>[]): Promise<Uint8Array> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest('SHA-256', joined));
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
}
