"""Verifying a whole log with nothing but its bytes and the public key.

Each entry's hash is recomputed and compared with the tile that stores it, all tiles with each other, the root with
the signed checkpoint, the search columns and payloads with the entry. Where entry and stored hash differ, the signed
root tells which of the two was changed. Pure: reading is done by a `StoredLog`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from pydantic_core import from_json

from strongroom_hub.audit import entries as leaves
from strongroom_hub.audit.note import Checkpoint, NoteError, VerifierKey, open_checkpoint
from strongroom_hub.audit.store import StoredBlock, StoredEntry, StoredLog
from strongroom_hub.audit.tree import (
    HASH_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Edge,
    full_root,
    leaf_hashes,
    split,
    tile_width,
)

_ACTION = leaves.SEARCH_COLUMNS.index("action")
_ERASED = leaves.Action.ERASURE_CARRY_OUT.value
_NO_PAYLOAD = (None, None)
_fields = partial(from_json, cache_strings="keys")


class Part(StrEnum):
    """Which part of the log a finding is about."""

    LEAF = "leaf"
    COLUMN = "search column"
    INDEX = "index"
    PAYLOAD = "payload"
    TILE = "tile"
    HEAD = "head"
    CHECKPOINT = "checkpoint"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `entry` is the (first) entry concerned, None when it cannot be tied to one."""

    part: Part
    entry: int | None
    text: str

    def __str__(self) -> str:
        return f"{'log' if self.entry is None else f'entry {self.entry}'}: {self.part}: {self.text}"


@dataclass(slots=True)
class Report:
    """What was verified. The log is sound only when there are no findings."""

    size: int = 0
    root: bytes = b""
    """As computed; the signed one when there are no findings."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings

    def add(self, part: Part, entry: int | None, text: str) -> None:
        self.findings.append(Finding(part, entry, text))


@dataclass(slots=True)
class _Block:
    """The 256 (or, at the end, fewer) entries under one tile of level 0."""

    number: int
    by_entries: list[bytes]
    """Leaf hashes as the entries give them; the stored ones where an entry is missing."""
    by_tile: list[bytes]
    """Leaf hashes as the tile stores them; those of the entries where the tile is unusable."""
    differing: list[int]

    @property
    def first(self) -> int:
        return self.number * TILE_WIDTH


@dataclass(slots=True)
class _Roots:
    """The roots over a full block's hashes, from both sources."""

    by_entries: bytes
    by_tile: bytes


def verify(log: StoredLog, verifier: VerifierKey, earlier: Checkpoint | None = None) -> Report:
    """Check everything; `earlier` is an already opened checkpoint that this log must extend."""
    report = Report()
    try:
        _Verification(log, verifier, report).run(earlier)
        for text in log.damage():
            report.add(Part.DATABASE, None, text)
    except sqlite3.DatabaseError as error:
        report.add(Part.DATABASE, None, f"it cannot be read to the end: {error}")
    report.findings.sort(key=lambda finding: -1 if finding.entry is None else finding.entry)
    return report


class _Verification:
    """One run over a log; the methods are its steps."""

    def __init__(self, log: StoredLog, verifier: VerifierKey, report: Report) -> None:
        self.log = log
        self.verifier = verifier
        self.report = report
        self.signed: bytes | None = None
        self.full: list[_Roots] = []
        self.doubtful: dict[int, _Block] = {}
        """Blocks whose entries and tile differ, by number."""
        self.last: _Block | None = None
        """The partial block at the end."""
        self.cut: _Block | None = None
        """The block in which an earlier checkpoint ends."""
        self.named: dict[str, int] = {}
        """Whose payloads entries name, with the first such entry."""
        self.erased: set[str] = set()

    def run(self, earlier: Checkpoint | None) -> None:
        self._open_checkpoint()
        self._read_blocks(earlier)
        trusted = self._decide()
        edge = self._edge(trusted)
        self.report.root = edge.root()
        self._check_upper_tiles(trusted)
        self._check_surplus_tiles()
        self._check_head(edge)
        self._check_erasures()
        if earlier is not None:
            self._check_earlier(earlier, trusted)

    def _open_checkpoint(self) -> None:
        try:
            checkpoint = open_checkpoint(self.log.note() or "", self.verifier)
        except NoteError as error:
            self.report.add(Part.CHECKPOINT, None, str(error))
            self.report.size = self.log.length()
            return
        self.report.size = checkpoint.size
        self.signed = checkpoint.root

    # reading

    def _read_blocks(self, earlier: Checkpoint | None) -> None:
        size = self.report.size
        beyond: int | None = None
        more = due = 0
        for stored in self.log.blocks(size):
            if stored.number < 0:
                for index in stored.indexes:
                    self.report.add(Part.INDEX, index, "an entry cannot have a negative number")
                continue
            found, surplus = stored.cut(size)
            if found is not None:
                while due < found.number:
                    due = self._read_block(due, None, earlier)
                due = self._read_block(due, found, earlier)
            if surplus is not None:
                beyond = surplus.indexes[0] if beyond is None else beyond
                more += len(surplus.indexes)
        while due * TILE_WIDTH < size:
            due = self._read_block(due, None, earlier)
        if beyond is not None:
            text = f"it lies beyond the signed checkpoint of {size} entries"
            self.report.add(Part.INDEX, beyond, text + (f", and {more - 1} after it" if more > 1 else ""))
        for index in self.log.stray_payloads():
            self.report.add(Part.PAYLOAD, index, "a payload is stored for an entry that is not there")

    def _read_block(self, number: int, found: StoredBlock | None, earlier: Checkpoint | None) -> int:
        """Answers with the number of the next one."""
        block = self._block(number, found)
        if len(block.by_entries) == TILE_WIDTH:
            self._add_full(block)
        else:
            self.last = block
        if block.differing:
            self.doubtful[number] = block
        if earlier is not None and earlier.size // TILE_WIDTH == number:
            self.cut = block
        if found is not None:
            self._check_stored(block, found)
        return number + 1

    def _block(self, number: int, found: StoredBlock | None) -> _Block:
        first = number * TILE_WIDTH
        width = tile_width(self.report.size, 0, number)
        data = self.log.tile(0, number, width)
        hashes = leaf_hashes(found.leaves) if found else []
        wanted = range(first, first + width)
        whole = found is not None and (found.indexes == wanted or tuple(found.indexes) == tuple(wanted))
        if whole and data == b"".join(hashes):
            return _Block(number, hashes, hashes, [])
        own: list[bytes | None] = [None] * width
        for index, value in zip(found.indexes if found else (), hashes, strict=True):
            own[index - first] = value
        self._check_missing(own, first)
        if data is None or len(data) != width * HASH_BYTES:
            self._tile_finding(0, number, "it is missing" if data is None else f"it has {len(data)} bytes")
            stored: list[bytes | None] = [None] * width
        else:
            stored = list(split(data))
        zero = bytes(HASH_BYTES)
        pairs = list(zip(own, stored, strict=True))
        return _Block(
            number,
            [mine or theirs or zero for mine, theirs in pairs],
            [theirs or mine or zero for mine, theirs in pairs],
            [place for place, (mine, theirs) in enumerate(pairs) if mine and theirs and mine != theirs],
        )

    def _add_full(self, block: _Block) -> None:
        root = full_root(block.by_entries)
        self.full.append(_Roots(root, root if not block.differing else full_root(block.by_tile)))

    def _check_missing(self, own: list[bytes | None], first: int) -> None:
        place = 0
        while place < len(own):
            start = place
            while place < len(own) and own[place] is None:
                place += 1
            if place > start:
                many = f"entries {first + start} to {first + place - 1} are" if place - start > 1 else "it is"
                self.report.add(Part.INDEX, first + start, f"{many} missing")
            place += 1

    # entries against what lies beside them

    def _check_stored(self, block: _Block, found: StoredBlock) -> None:
        """All at once, and only entries with a text singly, where all is well; else each one singly."""
        texts = None if block.differing else self._agreeing(found)
        if texts is not None:
            for place, fields in texts:
                index = found.indexes[place]
                self._check_text(index, fields, *found.payloads.get(index, _NO_PAYLOAD))
            return
        differing = {block.first + place for place in block.differing}
        for place, index in enumerate(found.indexes):
            if index not in differing:
                self._check_row(found.entry(place))

    @staticmethod
    def _agreeing(found: StoredBlock) -> list[tuple[int, dict[str, Any]]] | None:
        """The entries that have a text, by their place; None where one must be looked at singly."""
        say = leaves.said_of_place if found.columns is None else leaves.said
        said, texts = [], []
        try:
            for place, fields in enumerate(map(leaves.plain_fields, found.leaves)):
                said.append(say(fields))
                if "payload" in fields:
                    texts.append((place, fields))
        except ValueError:
            return None
        if found.columns is not None:
            with_text = {found.indexes[place] for place, _ in texts}
            if _ERASED in found.columns[_ACTION] or not with_text.issuperset(found.payloads):
                return None
        return texts if leaves.agree(said, found.indexes, found.columns) else None

    def _check_row(self, row: StoredEntry) -> None:
        try:
            fields = leaves.parse(row.leaf, _fields)
        except ValueError as error:
            self.report.add(Part.LEAF, row.index, str(error))
            return
        if not leaves.same(fields.get("index"), row.index):
            self.report.add(Part.INDEX, row.index, f"it was written as entry {fields.get('index')}")
        if row.columns is not None:
            columns = dict(zip(leaves.SEARCH_COLUMNS, row.columns, strict=True))
            for name in leaves.differing_columns(fields, columns):
                text = f"'{name}' was changed: it does not say what the entry says"
                self.report.add(Part.COLUMN, row.index, text)
        self._check_text(row.index, fields, row.ciphertext, row.subject)

    def _check_text(self, index: int, fields: dict[str, Any], ciphertext: bytes | None, subject: object) -> None:
        try:
            reference = leaves.payload_reference(fields)
        except ValueError as error:
            self.report.add(Part.LEAF, index, str(error))
            return
        if reference is not None:
            self.named.setdefault(reference.subject, index)
        if fields.get("action") == _ERASED and isinstance(detail := fields.get("detail"), dict):
            self.erased.add(str(detail.get("subject")))
        if self.log.keeps_payloads:
            text = _wrong_payload(reference, ciphertext, subject)
            if text is not None:
                self.report.add(Part.PAYLOAD, index, text)

    def _check_erasures(self) -> None:
        """A key goes only together with an entry that says so."""
        kept = self.log.subjects_with_key()
        if kept is None:
            return
        for subject, index in self.named.items():
            if subject not in kept and subject not in self.erased:
                text = "the key of this person's texts is gone, and no entry says that they were erased"
                self.report.add(Part.PAYLOAD, index, text)
        for subject in kept & self.erased:
            text = f"the log says that the texts of {subject} were erased, but their key is still there"
            self.report.add(Part.PAYLOAD, self.named.get(subject), text)

    # who is right

    def _decide(self) -> list[bytes]:
        """The roots of the full blocks that are believed, after naming what was changed."""
        by_entries = [roots.by_entries for roots in self.full]
        by_tile = [roots.by_tile for roots in self.full]
        if self._gives_signed(by_entries, self.last.by_entries if self.last else []):
            return self._name(by_entries, dict.fromkeys(self.doubtful, Part.TILE))
        if self._gives_signed(by_tile, self.last.by_tile if self.last else []):
            if self.last:
                self.last.by_entries = self.last.by_tile
            return self._name(by_tile, dict.fromkeys(self.doubtful, Part.LEAF))
        return self._decide_by_block()

    def _decide_by_block(self) -> list[bytes]:
        """Several changes, or one that was carried upwards: let each block be judged by the hash above it."""
        above = [self._stored_above(number) for number in range(len(self.full))]
        trusted, verdicts = [], {}
        for number, (roots, want) in enumerate(zip(self.full, above, strict=True)):
            from_tile = roots.by_entries != want
            trusted.append(roots.by_tile if from_tile else roots.by_entries)
            if want in {roots.by_entries, roots.by_tile}:
                verdicts[number] = Part.LEAF if from_tile else Part.TILE
        sound = self._gives_signed(trusted, self.last.by_entries if self.last else [])
        if self.last and not sound and self._gives_signed(trusted, self.last.by_tile):
            self.last.by_entries = self.last.by_tile
            verdicts[self.last.number] = Part.LEAF
            sound = True
        elif self.last and sound:
            verdicts[self.last.number] = Part.TILE
        if not sound and self.signed is not None:
            self.report.add(Part.CHECKPOINT, None, "the entries do not lead to the signed root: history was rewritten")
            self._narrow(trusted, above)
        return self._name(trusted, verdicts)

    def _narrow(self, trusted: list[bytes], above: list[bytes | None]) -> None:
        """Find entries that were changed together with their own hashes by the hash above, if that is the old one."""
        for number, (root, want) in enumerate(zip(trusted, above, strict=True)):
            if want is not None and root != want and number not in self.doubtful:
                first = number * TILE_WIDTH
                text = f"one of the entries {first} to {first + TILE_WIDTH - 1} was changed together with its hash"
                self.report.add(Part.LEAF, first, text)

    def _name(self, trusted: list[bytes], verdicts: dict[int, Part]) -> list[bytes]:
        texts = {
            Part.LEAF: "it was changed: its hash is not the one that the tree and the checkpoint hold",
            Part.TILE: "its hash in tile 0/{} was changed; the entry itself is sound",
            None: "it and its stored hash differ, and the checkpoint fits neither: it was changed, and so was the tree",
        }
        for number, block in self.doubtful.items():
            verdict = verdicts.get(number)
            for place in block.differing:
                text = texts[verdict].format(number)
                self.report.add(verdict or Part.LEAF, block.first + place, text)
        return trusted

    def _stored_above(self, number: int) -> bytes | None:
        group, place = divmod(number, TILE_WIDTH)
        data = self.log.tile(1, group, tile_width(self.report.size, 1, group)) or b""
        return data[place * HASH_BYTES : (place + 1) * HASH_BYTES] or None

    def _gives_signed(self, roots: list[bytes], rest: list[bytes]) -> bool:
        return _edge_over(roots, rest).root() == self.signed

    def _edge(self, trusted: list[bytes]) -> Edge:
        return _edge_over(trusted, self.last.by_entries if self.last else [])

    # the tree above, and what is kept beside it

    def _check_upper_tiles(self, trusted: list[bytes]) -> None:
        level, nodes = 1, trusted
        while nodes:
            for number in range(-(-len(nodes) // TILE_WIDTH)):
                self._check_upper_tile(level, number, nodes[number * TILE_WIDTH : (number + 1) * TILE_WIDTH])
            whole = len(nodes) // TILE_WIDTH
            nodes = [full_root(nodes[at * TILE_WIDTH : (at + 1) * TILE_WIDTH]) for at in range(whole)]
            level += 1

    def _check_upper_tile(self, level: int, number: int, want: list[bytes]) -> None:
        data = self.log.tile(level, number, len(want))
        if data is None or len(data) != len(want) * HASH_BYTES:
            self._tile_finding(level, number, "it is missing" if data is None else f"it has {len(data)} bytes")
            return
        for place, (stored, right) in enumerate(zip(split(data), want, strict=True)):
            if stored != right:
                span = 1 << (TILE_HEIGHT * level)
                first = (number * TILE_WIDTH + place) * span
                text = (
                    f"hash {place} of tile {level}/{number} does not fit entries {first} to {first + span - 1} below it"
                )
                self.report.add(Part.TILE, first, text)

    def _tile_finding(self, level: int, number: int, what: str) -> None:
        first = number << (TILE_HEIGHT * (level + 1))
        self.report.add(Part.TILE, first, f"tile {level}/{number} is not as it was written: {what}")

    def _check_surplus_tiles(self) -> None:
        size = self.report.size
        for level, number in self.log.tile_places():
            width = tile_width(size, level, number)
            if level < 0 or number < 0 or not width:
                self.report.add(Part.TILE, None, f"tile {level}/{number} lies beyond the signed checkpoint")
            elif level == 0 and width < TILE_WIDTH:
                self._tile_finding(level, number, "it is not whole, so its hashes are stored singly")
        for index in self.log.loose_hashes():
            if index >= size or index // TILE_WIDTH != size // TILE_WIDTH:
                self.report.add(Part.TILE, index, "a hash of it is stored singly, and belongs to no tile that is open")

    def _check_head(self, edge: Edge) -> None:
        kept = self.log.edge()
        if kept is not None and kept != (edge.size, edge.to_bytes()):
            self.report.add(Part.HEAD, None, "size or right edge in log_head are not those of the entries")

    def _check_earlier(self, earlier: Checkpoint, trusted: list[bytes]) -> None:
        if earlier.size > self.report.size:
            text = (
                f"the log was cut back: the earlier checkpoint had {earlier.size} entries, this has {self.report.size}"
            )
            self.report.add(Part.CHECKPOINT, None, text)
            return
        whole, rest = divmod(earlier.size, TILE_WIDTH)
        hashes = self.cut.by_entries[:rest] if self.cut else []
        if _edge_over(trusted[:whole], hashes).root() != earlier.root:
            text = f"history was rewritten: the first {earlier.size} entries are not those of the earlier checkpoint"
            self.report.add(Part.CHECKPOINT, None, text)


def _wrong_payload(reference: leaves.PayloadReference | None, ciphertext: bytes | None, subject: object) -> str | None:
    """What is wrong with a stored payload, or with there being none."""
    if reference is None:
        return None if ciphertext is None else "a payload is stored that the entry does not name"
    if ciphertext is None:
        return "the encrypted text is missing"
    if hashlib.sha256(ciphertext).hexdigest() != reference.sha256:
        return "the encrypted text was changed"
    return None if subject == reference.subject else "the stored payload is filed under another person"


def _edge_over(roots: list[bytes], rest: list[bytes]) -> Edge:
    """The tree over the roots of full blocks and the leaf hashes after them."""
    edge = Edge()
    for root in roots:
        edge.append(root, TILE_HEIGHT)
    for leaf in rest:
        edge.append(leaf)
    return edge
