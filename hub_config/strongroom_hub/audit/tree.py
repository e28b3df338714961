"""The Merkle tree of RFC 6962, as pure functions: hashes, growth, tiles, proofs.

Hashes are 32 bytes (SHA-256). A *subtree* (height, number) covers the leaves from `number << height` up to, not
including, `(number + 1) << height`. A *tile* (level, number) holds up to 256 hashes of subtrees of height `8 * level`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
FULL_TILE_BYTES = TILE_WIDTH * HASH_BYTES
EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeAt = Callable[[int, int], bytes]
"""(height, number) -> the hash of that full subtree."""
TileAt = Callable[[int, int], bytes]
"""(level, number) -> the tile's hashes, concatenated."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one entry's bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """The hashes of many entries."""
    begun = hashlib.sha256(b"\x00").copy
    hashes = []
    for leaf in leaves:
        state = begun()
        state.update(leaf)
        hashes.append(state.digest())
    return hashes


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(hashes: bytes) -> list[bytes]:
    """A tile's bytes as its single hashes."""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def full_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of sibling hashes."""
    begun = hashlib.sha256(b"\x01").copy  # cheaper than to begin anew: with the leaves a third of verifying a folder
    row = list(hashes)
    while len(row) > 1:
        above = []
        for left, right in zip(row[::2], row[1::2], strict=True):
            state = begun()
            state.update(left + right)
            above.append(state.digest())
        row = above
    return row[0]


@dataclass(slots=True)
class Edge:
    """The right edge of a tree: the roots of its full subtrees, largest first. Enough to grow it and know its root."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def append(self, node: bytes, height: int = 0) -> list[tuple[int, bytes]]:
        """Add a full subtree (height 0: one leaf hash) and return the tile hashes it completes, as (level, hash).

        Raises ValueError when the tree's size is not a multiple of the subtree's.
        """
        if self.size % (1 << height):
            raise ValueError(f"a subtree of height {height} does not fit at {self.size}")
        done = [(height // TILE_HEIGHT, node)] if height % TILE_HEIGHT == 0 else []
        number = self.size >> height
        self.size += 1 << height
        while number & 1:
            node = node_hash(self.hashes.pop(), node)
            number >>= 1
            height += 1
            if height % TILE_HEIGHT == 0:
                done.append((height // TILE_HEIGHT, node))
        self.hashes.append(node)
        return done

    def root(self) -> bytes:
        """The root hash of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Edge:
        """Raises ValueError when `data` cannot be the edge of a tree of that size."""
        if size < 0 or len(data) != size.bit_count() * HASH_BYTES:
            raise ValueError(f"{len(data)} bytes are not the right edge of a tree of {size} entries")
        return cls(size, split(data))


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root of the tree over these leaf hashes."""
    edge = Edge()
    for leaf in leaf_hashes:
        edge.append(leaf)
    return edge.root()


def tile_width(size: int, level: int, number: int) -> int:
    """How many hashes (0 to 256) the tile holds in a tree of `size` leaves."""
    return max(0, min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - number * TILE_WIDTH))


def tiles_of(size: int) -> Iterable[tuple[int, int, int]]:
    """Every tile of a tree of `size` leaves as (level, number, width)."""
    level = 0
    while count := size >> (TILE_HEIGHT * level):
        for number in range(-(-count // TILE_WIDTH)):
            yield level, number, tile_width(size, level, number)
        level += 1


class Growth:
    """Appends leaf hashes to a tree and collects what changes of it: tiles, and the hashes of the open one."""

    def __init__(self, edge: Edge, tile_at: TileAt) -> None:
        """`tile_at` answers with what is stored of a tile; it is asked once for each that grows, or becomes whole."""
        self.edge = edge
        self.changed: dict[tuple[int, int], bytes] = {}
        """Tiles, whole or not; of level 0 only whole ones."""
        self.open = edge.size
        """The first entry of which `loose` has the hash."""
        self.loose: list[bytes] = []
        """Hashes of new entries under no whole tile, to be stored one by one: a tile is not written with each entry."""
        self._tile_at = tile_at

    def append(self, leaf: bytes) -> None:
        """Raises ValueError when a stored tile has not the length that the tree's size says."""
        size = self.edge.size
        for level, node in self.edge.append(leaf):
            place = size >> (TILE_HEIGHT * level)
            if level == 0:
                self._add_loose(node, place)
            else:
                self._add(level, node, place)

    def _add_loose(self, leaf: bytes, index: int) -> None:
        self.loose.append(leaf)
        if (index + 1) % TILE_WIDTH:
            return
        stored = self._stored(0, index // TILE_WIDTH, TILE_WIDTH - len(self.loose))
        self.changed[0, index // TILE_WIDTH] = stored + b"".join(self.loose)
        self.open = index + 1
        self.loose = []

    def _add(self, level: int, node: bytes, place: int) -> None:
        key = (level, place // TILE_WIDTH)
        if key not in self.changed:
            self.changed[key] = self._stored(*key, place % TILE_WIDTH)
        self.changed[key] += node

    def _stored(self, level: int, number: int, width: int) -> bytes:
        stored = self._tile_at(level, number) if width else b""
        if len(stored) != width * HASH_BYTES:
            raise ValueError(f"tile {level}/{number} holds {len(stored)} bytes, not {width * HASH_BYTES}")
        return stored


def nodes_from_tiles(tile_at: TileAt) -> NodeAt:
    """Read full subtrees of any height out of tiles; each tile is fetched once."""
    seen: dict[tuple[int, int], bytes] = {}

    def node(height: int, number: int) -> bytes:
        level, inner = divmod(height, TILE_HEIGHT)
        first = number << inner
        key = (level, first // TILE_WIDTH)
        if key not in seen:
            seen[key] = tile_at(*key)
        start = (first % TILE_WIDTH) * HASH_BYTES
        hashes = split(seen[key][start : start + (HASH_BYTES << inner)])
        if len(hashes) != 1 << inner or len(hashes[-1]) != HASH_BYTES:
            raise ValueError(f"tile {key[0]}/{key[1]} is too short")
        return full_root(hashes)

    return node


def _range_root(begin: int, end: int, node_at: NodeAt) -> bytes:
    """The RFC 6962 hash of the leaves begin..end, where begin is a multiple of the largest subtree in it."""
    count = end - begin
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return node_at(height, begin >> height)
    middle = begin + _left_size(count)
    return node_hash(_range_root(begin, middle, node_at), _range_root(middle, end, node_at))


def root_from(size: int, node_at: NodeAt) -> bytes:
    """The root of the tree over the first `size` leaves. Raises ValueError where a tile is too short."""
    return _range_root(0, size, node_at) if size else EMPTY_ROOT


def _left_size(count: int) -> int:
    """The largest power of two below `count` (at least 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def inclusion_proof(index: int, size: int, node_at: NodeAt) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, from the leaf upwards. Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError(f"entry {index} is not in a log of {size} entries")
    begin, end, proof = 0, size, []
    while end - begin > 1:
        middle = begin + _left_size(end - begin)
        if index < middle:
            proof.append(_range_root(middle, end, node_at))
            end = middle
        else:
            proof.append(_range_root(begin, middle, node_at))
            begin = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node_at: NodeAt) -> list[bytes]:
    """The proof that the tree of `old` leaves is a prefix of that of `new`. Raises ValueError."""
    if not 0 <= old <= new:
        raise ValueError(f"a log of {new} entries cannot extend one of {old}")
    if old in {0, new}:
        return []
    begin, end, proof, whole = 0, new, [], True
    while old != end:
        middle = begin + _left_size(end - begin)
        if old <= middle:
            proof.append(_range_root(middle, end, node_at))
            end = middle
        else:
            proof.append(_range_root(begin, middle, node_at))
            begin, whole = middle, False
    if not whole:
        proof.append(_range_root(begin, end, node_at))
    return proof[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf hash `leaf` is number `index` of the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    place, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(step, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, step)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the old tree is a prefix of the new one (RFC 9162, 2.1.4.2).

    The empty tree is one of every tree, as C2SP tlog-witness has it; RFC 9162 says nothing of it.
    """
    if old == new:
        return old >= 0 and not proof and old_root == new_root and (old > 0 or old_root == EMPTY_ROOT)
    if not 0 <= old < new or not _are_hashes(old_root, new_root, *proof):
        return False
    if old == 0 or not proof:
        return old == 0 and not proof and old_root == EMPTY_ROOT
    return _grows(old, new, old_root, new_root, proof)


def _grows(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, step)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _are_hashes(*values: bytes) -> bool:
    """Joined, two values of other lengths could be read as two others."""
    return all(len(value) == HASH_BYTES for value in values)
