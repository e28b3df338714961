import { describe, expect, it } from 'vitest';
import { checkEntry, isIncluded } from '../../src/api/proof.js';
import published from '../../../tests/vectors/merkle-published.json' with { type: 'json' };
import vectors from '../../../tests/vectors/merkle.json' with { type: 'json' };
import { PROVEN } from '../world.js';

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], pair => parseInt(pair, 16));
}

describe('isIncluded', () => {
  it.each(vectors.inclusion)('agrees with the vectors: $index of $size', async ({ index, size, path }) => {
    const leaf = hex(vectors.leaves[index] ?? '');
    const root = hex(vectors.roots[size] ?? '');
    const hashes = path.map(hex);
    expect(await isIncluded(index, size, leaf, hashes, root)).toBe(true);
    expect(await isIncluded(index, size, Uint8Array.of(...leaf, 1), hashes, root)).toBe(false);
    expect(await isIncluded(index, size, leaf, [...hashes, root], root)).toBe(false);
    expect(await isIncluded(index, size, leaf, hashes, hex(vectors.roots[size - 1] ?? ''))).toBe(false);
    expect(await isIncluded(index + size, size, leaf, hashes, root)).toBe(false);
    if (hashes.length > 0) {
      expect(await isIncluded(index, size, leaf, hashes.slice(1), root)).toBe(false);
      expect(await isIncluded((index + 1) % size, size, leaf, hashes, root)).toBe(false);
    }
  });

  it('counts beyond 32 bits', async () => {
    const leaf = Uint8Array.of(7);
    const other = hex(vectors.roots[1] ?? '');
    const hash = async (...parts: readonly Uint8Array[]): Promise<Uint8Array> =>
      new Uint8Array(await crypto.subtle.digest('SHA-256', Uint8Array.from(parts.flatMap(part => [...part]))));
    let node = await hash(Uint8Array.of(0), leaf);
    for (let level = 0; level < 32; level++) {
      node = await hash(Uint8Array.of(1), node, other);
    }
    const root = await hash(Uint8Array.of(1), other, node);
    const path = Array<Uint8Array>(33).fill(other);
    expect(await isIncluded(2 ** 32, 2 ** 33, leaf, path, root)).toBe(true);
    expect(await isIncluded(0, 2 ** 33, leaf, path, root)).toBe(false);
  });
});

describe('checkEntry', () => {
  const { entry, proof } = PROVEN;
  const leaf = proof.leaf ?? '';

  it.each(published.inclusion)('agrees with those who publish logs: $name', async one => {
    const shown = { ...entry, index: one.leafIdx, narrowed: true };
    const told = {
      index: one.leafIdx,
      size: one.treeSize,
      leaf_hash: one.leafHash,
      hashes: one.proof ?? [],
      checkpoint: `log\n${one.treeSize}\n${one.root}\n`
    };
    expect((await checkEntry(shown, told)).ok).toBe(!one.wantErr);
  });

  it('finds an entry of a real log in its checkpoint', async () => {
    expect(await checkEntry(entry, proof)).toEqual({
      ok: true,
      compared: true,
      size: proof.size,
      root: proof.checkpoint.split('\n')[2]
    });
  });

  it('says when something else is shown than the log holds', async () => {
    const verdict = await checkEntry({ ...entry, actor: 'user:mallory' }, proof);
    expect(verdict).toEqual({ ok: false, why: 'What is shown is not what the log holds (actor).' });
  });

  it('finds an entry of which not all may be told by its hash, and compares nothing', async () => {
    const bytes = Uint8Array.from(`\0${atob(leaf)}`, letter => letter.charCodeAt(0));
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    const hash = btoa(String.fromCharCode(...digest));
    const bare = { index: proof.index, size: proof.size, hashes: proof.hashes, checkpoint: proof.checkpoint };
    const shown = { ...entry, detail: {}, narrowed: true };
    expect(await checkEntry(shown, { ...bare, leaf_hash: hash })).toMatchObject({ ok: true, compared: false });
    expect(await checkEntry(shown, { ...bare, leaf_hash: btoa('x'.repeat(32)) })).toMatchObject({ ok: false });
    expect(await checkEntry(shown, bare)).toMatchObject({ ok: false });
    expect(await checkEntry({ ...shown, index: entry.index + 1 }, { ...bare, leaf_hash: hash })).toMatchObject({ ok: false });
    // what is not narrowed is compared: a hash alone is not enough
    expect(await checkEntry(entry, { ...bare, leaf_hash: hash })).toMatchObject({ ok: false });
  });

  it.each([
    ['another place', { index: proof.index + 1 }],
    ['another size', { size: proof.size + 1 }],
    ['another leaf', { leaf: btoa(atob(leaf).replace('{', '{ ')) }],
    ['a hash too few', { hashes: proof.hashes.slice(1) }],
    ['half a hash', { hashes: proof.hashes.map(hash => hash.slice(0, 20)) }],
    ['hashes in another order', { hashes: [...proof.hashes].reverse() }],
    ['no base64', { hashes: ['?'] }],
    ['another root', { checkpoint: proof.checkpoint.replace(/\n[^\n]{44}\n/, `\n${proof.hashes[0] ?? ''}\n`) }],
    ['no checkpoint', { checkpoint: '' }]
  ])('refuses %s', async (_, change) => {
    expect((await checkEntry(entry, { ...proof, ...change })).ok).toBe(false);
  });
});
