import { describe, expect, it, vi } from 'vitest';
import { checkEntry, checkRun, isExtended, isIncluded, type RunProof } from '../../src/api/proof.js';
import published from '../../../tests/vectors/merkle-published.json' with { type: 'json' };
import runs from '../../../tests/vectors/run-proof-v1.json' with { type: 'json' };
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

describe('isExtended', () => {
  it.each(vectors.consistency.filter(({ old }) => old > 0))('agrees with the vectors: $old to $new', async one => {
    const old = hex(vectors.roots[one.old] ?? '');
    const root = hex(vectors.roots[one.new] ?? '');
    const hashes = one.proof.map(hex);
    expect(await isExtended(one.old, one.new, old, root, hashes)).toBe(true);
    expect(await isExtended(one.old, one.new, root, old, hashes)).toBe(one.old === one.new);
    expect(await isExtended(one.old, one.new, old, root, [...hashes, root])).toBe(false);
    expect(await isExtended(one.new + 1, one.new, old, root, hashes)).toBe(false);
    expect(await isExtended(0, one.new, old, root, hashes)).toBe(false);
    const another = Uint8Array.from(root, value => value ^ 1);
    expect(await isExtended(one.old, one.new, another, root, hashes)).toBe(false);
    expect(await isExtended(one.old, one.new, old, another, hashes)).toBe(false);
    for (let at = 0; at < hashes.length; at++) {
      expect(await isExtended(one.old, one.new, old, root, hashes.toSpliced(at, 1))).toBe(false);
      expect(await isExtended(one.old, one.new, old, root, hashes.with(at, another))).toBe(false);
    }
  });
});

describe('checkRun', () => {
  type Told = RunProof & { readonly checkpoint: string; readonly file: string };
  const good: readonly Told[] = runs.good;
  const check = ({ checkpoint, ...told }: Told, run: object = {}, vkey = runs.vkey): ReturnType<typeof checkRun> =>
    checkRun({ ...runs.run, checkpoint, ...run }, told, vkey);
  const why = async (verdict: ReturnType<typeof checkRun>): Promise<string> => {
    const said = await verdict;
    expect(said.state).toBe('failed');
    return 'why' in said ? said.why : '';
  };
  const [, , told] = good;
  if (told === undefined) {
    throw new Error('no vectors');
  }

  it.each(good)('finds the run in the log that goes on from its checkpoint ($#)', async one => {
    const verdict = await check(one);
    expect(verdict).toMatchObject({ state: 'verified', time: '2026-11-21T05:44:04.125Z', now: { size: one.proof.size } });
    expect(verdict.state === 'verified' && verdict.then?.size).toBe(Number(one.checkpoint.split('\n')[1]));
  });

  it.each([...good.map(one => [one, runs.vkey] as const), [runs.other_key, runs.other_vkey] as const])(
    'makes of what it checked the file that others verify ($#)',
    async (one, vkey) => {
      expect(await check(one, {}, vkey)).toMatchObject({ state: 'verified', file: one.file });
    }
  );

  it('makes the same file of what came with spaces and line ends', async () => {
    const spaced = (text: string): string => text.replace(/^(..)(.*)$/, '$1\n\t $2\n');
    const proof = { ...told.proof, leaf: spaced(told.proof.leaf ?? ''), hashes: told.proof.hashes.map(spaced) };
    expect(await check({ ...told, proof })).toMatchObject({ state: 'verified', file: told.file });
  });

  it('finds it without an earlier checkpoint, and says that it had none', async () => {
    expect(await check(told, { checkpoint: null })).toMatchObject({ state: 'verified', then: null });
  });

  it.each(['person', 'project', 'cell', 'action', 'number'] as const)('refuses a run of another %s', async what => {
    expect(await why(check(runs.about_another[what]))).toBe(`Entry 4 of the log is about another ${what}.`);
    const mine = { person: { user: 'other' }, project: { project: 'other' }, cell: { cell: 'x' }, action: {}, number: {} };
    if (what !== 'action' && what !== 'number') {
      expect(await why(check(told, mine[what]))).toContain(what);
    }
  });

  it('refuses what another key signed, wherever it stands', async () => {
    expect(await why(check(runs.other_key))).toContain('signature');
    expect((await check(runs.other_key, {}, runs.other_vkey)).state).toBe('verified');
    expect(await why(check({ ...told, checkpoint: runs.other_key.checkpoint }))).toContain('signature');
    expect(await why(check({ ...told, proof: { ...told.proof, checkpoint: runs.other_key.proof.checkpoint } }))).toContain(
      'signature'
    );
  });

  it('refuses a history that was rewritten and signed anew', async () => {
    expect((await check(runs.rewritten)).state).toBe('verified');
    expect(await why(check({ ...runs.rewritten, checkpoint: told.checkpoint }))).toContain('history was changed');
    expect(await why(check({ ...told, checkpoint: runs.rewritten.checkpoint }))).toContain('history was changed');
  });

  it('refuses a log that is shorter than it was, and a checkpoint that does not cover the run', async () => {
    const [shorter, , , , , , , longer] = good;
    expect(await why(check({ ...told, ...shorter, checkpoint: longer?.checkpoint ?? '' }))).toContain('it had 13');
    expect(await why(check(told, { entry: 6 }))).toContain('does not cover');
  });

  it('refuses the entry beside', async () => {
    expect(await why(check({ ...told, proof: runs.neighbour }))).toContain('not what the log holds');
  });

  it.each([
    ['another leaf', { leaf: btoa(atob(told.proof.leaf ?? '').replace('cardio', 'Cardio')) }],
    ['a hash too few', { hashes: told.proof.hashes.slice(1) }],
    ['hashes in another order', { hashes: [...told.proof.hashes].reverse() }],
    ['half a hash', { hashes: told.proof.hashes.map(hash => btoa(atob(hash).slice(0, 20))) }],
    ['no base64', { hashes: ['?'] }],
    ['another size in the note', { checkpoint: told.proof.checkpoint.replace('\n11\n', '\n12\n') }],
    ['another root in the note', { checkpoint: told.proof.checkpoint.replace(/\n[^\n]{44}\n/, `\n${told.proof.hashes[0] ?? ''}\n`) }],
    ['another log', { checkpoint: told.proof.checkpoint.replace('00c0ffee', '00c0ffef') }],
    ['a line more in the text', { checkpoint: told.proof.checkpoint.replace('\n\n', '\nmore\n\n') }],
    ['a note without signatures', { checkpoint: told.proof.checkpoint.split('\n\n')[0] ?? '' }],
    ['a note whose last line is cut', { checkpoint: told.proof.checkpoint.trimEnd() }],
    ['no note', { checkpoint: '' }]
  ])('refuses %s', async (_, change) => {
    expect((await check({ ...told, proof: { ...told.proof, ...change } })).state).toBe('failed');
  });

  it.each([
    ['none', []],
    ['one too few', told.consistency.slice(1)],
    ['in another order', [...told.consistency].reverse()],
    ['no base64', ['?']]
  ])('refuses a proof of consistency: %s', async (_, consistency) => {
    expect((await check({ ...told, consistency })).state).toBe('failed');
  });

  it.each([
    ['none', ''],
    ['no key', 'x'],
    ['another id', runs.vkey.replace(/\+[0-9a-f]{8}\+/, '+00000000+')],
    ['another name', runs.vkey.replace('00c0ffee', '00c0ffef')],
    ['half a key', runs.vkey.slice(0, -8)]
  ])('says that it cannot check with such a key: %s', async (_, vkey) => {
    expect((await check(told, {}, vkey)).state).toBe('unknown');
  });

  it('says that it cannot check where the browser knows no such signatures', async () => {
    const known = vi.spyOn(crypto.subtle, 'importKey').mockRejectedValue(new DOMException('no', 'NotSupportedError'));
    expect(await check(told)).toMatchObject({ state: 'unknown', why: expect.stringContaining('Ed25519') as string });
    known.mockRestore();
    vi.stubGlobal('crypto', {});
    expect(await check(told)).toMatchObject({ state: 'unknown', why: expect.stringContaining('https') as string });
    vi.unstubAllGlobals();
  });
});

describe('checkEntry', () => {
  const { entry, proof, file } = PROVEN;
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
      file,
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
    expect(await checkEntry(shown, { ...bare, leaf_hash: hash })).toMatchObject({ ok: true, compared: false, file: null });
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
