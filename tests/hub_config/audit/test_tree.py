"""The tree against an independent implementation (pymerkle), published roots, and its own invariants."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from strongroom_hub.audit import standalone, tree

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "merkle.json").read_text(encoding="utf-8"))
PUBLISHED = json.loads((Path(__file__).parents[2] / "vectors" / "merkle-published.json").read_text(encoding="utf-8"))
leaves_st = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


def nodes(leaves: list[bytes]) -> tree.NodeAt:
    hashes = [tree.leaf_hash(leaf) for leaf in leaves]
    return lambda height, number: tree.full_root(hashes[number << height : (number + 1) << height])


def root(leaves: list[bytes]) -> bytes:
    return tree.root_of(map(tree.leaf_hash, leaves))


def independent(leaves: list[bytes]) -> InmemoryTree:
    other = InmemoryTree(algorithm="sha256")
    for leaf in leaves:
        other.append_entry(leaf)
    return other


@given(leaves_st)
def test_roots_equal_those_of_another_implementation(leaves: list[bytes]) -> None:
    assert root(leaves) == independent(leaves).get_root()


@given(leaves_st, st.data())
def test_inclusion_paths_equal_those_of_another_implementation(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    size = data.draw(st.integers(index + 1, len(leaves)))
    path = tree.inclusion_proof(index, size, nodes(leaves))
    theirs = independent(leaves).prove_inclusion(index + 1, size)
    assert path == [bytes.fromhex(value) for value in theirs.serialize()["path"]][1:]
    assert tree.verify_inclusion(index, size, tree.leaf_hash(leaves[index]), path, root(leaves[:size]))


@given(leaves_st, st.data())
def test_an_altered_inclusion_claim_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = tree.inclusion_proof(index, size, nodes(leaves))
    leaf, top = tree.leaf_hash(leaves[index]), root(leaves)
    flip = data.draw(st.integers(0, 255))
    altered = bytes([leaf[0] ^ (flip or 1), *leaf[1:]])
    assert not tree.verify_inclusion(index, size, altered, path, top)
    assert not tree.verify_inclusion(index, size, leaf, [*path, leaf], top)
    assert not tree.verify_inclusion(index, size, leaf, path, leaf if leaf != top else altered)
    assert not tree.verify_inclusion(size, size, leaf, path, top)
    if path:
        assert not tree.verify_inclusion(index, size, leaf, path[:-1], top)
        assert not tree.verify_inclusion(index, size, leaf, [*path[:-1], altered], top)


@given(leaves_st, st.data())
def test_consistency_proofs_hold_and_altered_ones_do_not(leaves: list[bytes], data: st.DataObject) -> None:
    new = len(leaves)
    old = data.draw(st.integers(0, new))
    proof = tree.consistency_proof(old, new, nodes(leaves))
    before, after = root(leaves[:old]), root(leaves)
    assert tree.verify_consistency(old, new, before, after, proof)
    wrong = tree.leaf_hash(b"some other history")
    assert not tree.verify_consistency(old, new, wrong, after, proof)
    if 0 < old < new:
        assert not tree.verify_consistency(old, new, before, wrong, proof)
        assert not tree.verify_consistency(old, new, before, after, proof[:-1])
        assert not tree.verify_consistency(old, new, before, after, [*proof, wrong])
        assert not tree.verify_consistency(old, new, before, after, [])
    assert not tree.verify_consistency(new + 1, new, before, after, proof)


@pytest.mark.parametrize("size", range(len(VECTORS["roots"])))
def test_published_roots(size: int) -> None:
    leaves = [bytes.fromhex(value) for value in VECTORS["leaves"]]
    assert root(leaves[:size]).hex() == VECTORS["roots"][size]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"{case['index']}-{case['size']}")
def test_inclusion_vectors(case: dict[str, object]) -> None:
    leaves = [bytes.fromhex(value) for value in VECTORS["leaves"]]
    path = tree.inclusion_proof(case["index"], case["size"], nodes(leaves))  # type: ignore[arg-type]
    assert [value.hex() for value in path] == case["path"]


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: f"{case['old']}-{case['new']}")
def test_consistency_vectors(case: dict[str, object]) -> None:
    leaves = [bytes.fromhex(value) for value in VECTORS["leaves"]]
    proof = tree.consistency_proof(case["old"], case["new"], nodes(leaves))  # type: ignore[arg-type]
    assert [value.hex() for value in proof] == case["proof"]


def published(kind: str) -> pytest.MarkDecorator:
    """The cases that transparency-dev/merkle tests its own verifier with, right ones and many kinds of wrong ones."""
    return pytest.mark.parametrize("case", PUBLISHED[kind], ids=lambda case: case["name"])


def hashes(case: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(value) for value in case["proof"] or []]


@published("inclusion")
def test_published_inclusion_proofs(case: dict[str, Any]) -> None:
    leaf, root = base64.b64decode(case["leafHash"] or ""), base64.b64decode(case["root"] or "")
    index, size, path = case["leafIdx"], case["treeSize"], hashes(case)
    assert tree.verify_inclusion(index, size, leaf, path, root) is not case["wantErr"]
    if index < size and {len(value) for value in (leaf, root, *path)} == {32}:  # as who calls it makes sure
        assert (standalone.root_from_path(index, size, leaf, path) == root) is not case["wantErr"]


@published("consistency")
def test_published_consistency_proofs(case: dict[str, Any]) -> None:
    before, after = base64.b64decode(case["root1"] or ""), base64.b64decode(case["root2"] or "")
    told = tree.verify_consistency(case["size1"], case["size2"], before, after, hashes(case))
    assert told is not case["wantErr"]


def test_all_published_proofs_are_there() -> None:
    assert [len(PUBLISHED[kind]) for kind in ("inclusion", "consistency")] == [98, 98]
    assert {case["wantErr"] for case in PUBLISHED["inclusion"] + PUBLISHED["consistency"]} == {True, False}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_growing_in_batches_gives_the_tiles_of_growing_at_once(batches: list[int]) -> None:
    stored: dict[tuple[int, int], bytes] = {}
    loose: dict[int, bytes] = {}

    def tile_at(level: int, number: int) -> bytes:
        return stored[level, number] if level or (level, number) in stored else b"".join(loose.values())

    edge = tree.Edge()
    for count in batches:
        growth = tree.Growth(tree.Edge.from_bytes(edge.size, edge.to_bytes()), tile_at)
        for number in range(edge.size, edge.size + count):
            growth.append(tree.leaf_hash(str(number).encode()))
        assert all(len(data) == 256 * 32 for (level, _), data in growth.changed.items() if level == 0)
        stored |= growth.changed
        loose |= dict(enumerate(growth.loose, growth.open))
        loose = {index: one for index, one in loose.items() if index >= growth.open or not growth.changed}
        assert len(loose) == growth.edge.size % 256
        edge = growth.edge
    if loose:
        stored[0, edge.size // 256] = b"".join(loose.values())
    leaves = [tree.leaf_hash(str(number).encode()) for number in range(sum(batches))]
    assert edge.root() == tree.root_of(leaves)
    assert {(*key, len(data) // 32) for key, data in stored.items()} == set(tree.tiles_of(len(leaves)))
    assert b"".join(data for (level, _), data in sorted(stored.items()) if level == 0) == b"".join(leaves)
    by_tiles = tree.nodes_from_tiles(tile_at)
    index = len(leaves) // 2
    path = tree.inclusion_proof(index, len(leaves), by_tiles)
    assert tree.verify_inclusion(index, len(leaves), leaves[index], path, edge.root())


def test_a_third_level_of_tiles_is_reached() -> None:
    block = [tree.leaf_hash(bytes([number])) for number in range(256)]
    edge, root_of_block = tree.Edge(), tree.full_root(block)
    done = [edge.append(root_of_block, 8) for _ in range(256)]
    assert [level for level, _ in done[0]] == [1]
    assert [level for level, _ in done[-1]] == [1, 2]
    assert edge.root() == tree.full_root([root_of_block] * 256)


@pytest.mark.parametrize(("size", "data"), [(1, b""), (3, bytes(32)), (-1, b""), (2, bytes(33))])
def test_an_edge_of_the_wrong_length_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="right edge"):
        tree.Edge.from_bytes(size, data)


def test_a_tile_of_the_wrong_length_stops_growth() -> None:
    edge = tree.Edge()
    for _ in range(255):
        edge.append(bytes(32))
    growth = tree.Growth(edge, lambda level, number: bytes(64))
    with pytest.raises(ValueError, match="tile 0/0 holds 64 bytes, not 8160"):
        growth.append(bytes(32))


def test_a_short_tile_gives_no_proof() -> None:
    with pytest.raises(ValueError, match="too short"):
        tree.inclusion_proof(0, 4, tree.nodes_from_tiles(lambda level, number: bytes(64)))


def test_a_subtree_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        tree.Edge(1, [bytes(32)]).append(bytes(32), 8)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 3)])
def test_no_proof_for_an_entry_outside(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a log"):
        tree.inclusion_proof(index, size, nodes([]))
