"""Reading the log. What is returned is the parsed leaf, checked against the tree; search columns only find it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    LargeBinary,
    RowMapping,
    SmallInteger,
    cast,
    func,
    literal_column,
    select,
    text,
)

from strongroom_hub import postgres
from strongroom_hub.audit import entries as leaves
from strongroom_hub.audit import payloads
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.models import LogEntry, LogHash, LogHead, LogPayload, LogPayloadKey, LogTile
from strongroom_hub.audit.proof import Proof
from strongroom_hub.audit.tree import (
    HASH_BYTES,
    TILE_WIDTH,
    TileAt,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    nodes_from_tiles,
    root_from,
)
from strongroom_hub.problems import Problem

_ENTRIES, _TILES, _HASHES = LogEntry.__table__, LogTile.__table__, LogHash.__table__  # type: ignore[attr-defined]
_PLACE = _ENTRIES.c.index % literal_column(str(TILE_WIDTH))
_IN_TILE = func.substr(
    _TILES.c.hashes,
    cast(_PLACE * literal_column(str(HASH_BYTES)) + literal_column("1"), SmallInteger),  # else PostgreSQL has no substr
    literal_column(str(HASH_BYTES)),
    type_=LargeBinary,
)
_WITH_HASH = (
    select(_ENTRIES, func.coalesce(_IN_TILE, _HASHES.c.hash).label("stored_hash"))
    .join(_TILES, (_TILES.c.level == 0) & (_TILES.c.number == _ENTRIES.c.index // TILE_WIDTH), isouter=True)
    .join(_HASHES, _HASHES.c.index == _ENTRIES.c.index, isouter=True)
)
"""Each entry with the hash that the tree stores for it: one query, however many tiles the entries are spread over."""
_HEAD, _PAYLOADS, _KEYS = LogHead.__table__, LogPayload.__table__, LogPayloadKey.__table__  # type: ignore[attr-defined]


JITTER = 10_000
"""Entries within which times may be out of order, where several processes write."""
FEW = 20_000
"""How far entries of a value are counted, to find the rarest."""


class AlteredEntryError(Problem):
    """A stored entry that does not fit the tree: it was changed after it was written."""

    def __init__(self, index: int, detail: str) -> None:
        super().__init__(
            500,
            "audit-altered",
            "The audit log was altered",
            f"entry {index}: {detail}",
            why=("what is shown must fit the log's hash tree",),
            next="Keep the database as it is, run `strongroom audit verify` and tell the auditor.",
        )
        self.index = index


class PayloadUnreadableError(Problem):
    """A payload whose key was erased, or which was changed."""

    def __init__(self, index: int, detail: str) -> None:
        super().__init__(
            410,
            "payload-unreadable",
            "The text of this entry cannot be read",
            f"entry {index}: {detail}",
            next="The entry itself still verifies. If nobody erased the text, run `strongroom audit verify`.",
        )


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """A verified leaf with the proof that it is part of the log."""

    fields: dict[str, Any]
    leaf: bytes
    """Its exact bytes, which are what is hashed."""
    index: int
    size: int
    hashes: tuple[bytes, ...]
    """Audit path from the leaf upwards, for the tree of `size` entries."""
    checkpoint: str
    """The signed note whose root the path leads to."""

    def proof(self) -> dict[str, Any]:
        """The proof as the wire carries it; leaf and hashes in base64."""
        return {
            "index": self.index,
            "size": self.size,
            "leaf": base64.b64encode(self.leaf).decode(),
            "hashes": [base64.b64encode(value).decode() for value in self.hashes],
            "checkpoint": self.checkpoint,
        }


def entries(
    engine: Engine,
    *,
    actor: str | None = None,
    action: str | None = None,
    object: str | None = None,  # noqa: A002 - the field's name
    project: str | None = None,
    label: str | None = None,
    since: str | None = None,
    until: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Verified leaves, newest first, that match all filters; `before` is the index to go on from.

    `since` (inclusive) and `until` (exclusive) are times as the log writes them. Raises AlteredEntryError.
    """
    query = _WITH_HASH.order_by(_ENTRIES.c.index.desc()).limit(limit)
    named = {"actor": actor, "action": action, "object": object, "project": project, "label": label}
    equal = {name: value for name, value in named.items() if value is not None}
    if before is not None:
        query = query.where(_ENTRIES.c.index < before)
    with engine.connect() as connection:
        query = _between(connection, _with_all(connection, query, equal), since, until)
        return [_verified(row) for row in connection.execute(query).mappings()]


def _with_all(connection: Connection, query: Any, equal: Mapping[str, str]) -> Any:
    """Entries that have all these values. PostgreSQL knows how frequent each is; for SQLite it is counted here.

    It goes along the rarest value's own index and looks the others up in theirs, without touching a row that lacks one.
    """
    if connection.dialect.name == postgres.NAME or len(equal) < 2:  # noqa: PLR2004 - one needs no other
        return query.where(*(_ENTRIES.c[name] == value for name, value in equal.items()))

    def count(name: str) -> int:
        few = select(literal_column("1")).where(_ENTRIES.c[name] == equal[name]).limit(FEW).subquery()
        return int(connection.execute(select(func.count()).select_from(few)).scalar_one())

    rarest, *others = sorted(equal, key=count)
    query = query.where(_ENTRIES.c[rarest] == equal[rarest])
    for name in others:
        looked_up = (
            f"EXISTS (SELECT 1 FROM log_entries AS other INDEXED BY ix_log_entries_{name} "  # noqa: S608 - constants
            f'WHERE other.{name} = :other_{name} AND other."index" = log_entries."index")'
        )
        query = query.where(text(looked_up).bindparams(**{f"other_{name}": equal[name]}))
    return query


def _between(connection: Connection, query: Any, since: str | None, until: str | None) -> Any:
    """Times as bounds of the index, so that another filter's own index can be used; then the exact times."""
    time, index = _ENTRIES.c.time, _ENTRIES.c.index
    if since is not None:
        first = connection.execute(select(index).where(time >= since).order_by(time, index).limit(1)).scalar()
        query = query.where(time >= since, index >= (2**62 if first is None else first - JITTER))
    if until is not None:
        last = connection.execute(
            select(index).where(time < until).order_by(time.desc(), index.desc()).limit(1)
        ).scalar()
        query = query.where(time < until, index <= (-1 if last is None else last + JITTER))
    return query


def entries_about(
    engine: Engine,
    objects: Sequence[str],
    *,
    actions: Sequence[str] | None = None,
    project: str | None = None,
    before: int | None = None,
    limit: int = 1000,
) -> list[dict[str, Any]]:
    """Verified leaves about any of these, newest first. For objects with few entries each. Raises AlteredEntryError."""
    query = _WITH_HASH.where(_ENTRIES.c.object.in_(objects)).order_by(_ENTRIES.c.index.desc()).limit(limit)
    if actions is not None:
        query = query.where(_ENTRIES.c.action.in_(actions))
    if project is not None:
        query = query.where(_ENTRIES.c.project == project)
    if before is not None:
        query = query.where(_ENTRIES.c.index < before)
    with engine.connect() as connection:
        return [_verified(row) for row in connection.execute(query).mappings()]


def entries_between(
    engine: Engine, first: int, before: int, *, actors: Sequence[str], actions: Sequence[str], limit: int
) -> list[dict[str, Any]]:
    """Verified leaves of some people from `first` on, up to `before`, newest first. Raises AlteredEntryError."""
    query = _WITH_HASH.order_by(_ENTRIES.c.index.desc()).limit(limit)
    query = query.where(_ENTRIES.c.actor.in_(actors), _ENTRIES.c.action.in_(actions))
    query = query.where(_ENTRIES.c.index >= first, _ENTRIES.c.index < before)
    with engine.connect() as connection:
        return [_verified(row) for row in connection.execute(query).mappings()]


def entries_at(engine: Engine, indexes: Sequence[int]) -> list[dict[str, Any]]:
    """Verified leaves by their indexes, in that order. Raises AlteredEntryError."""
    with engine.connect() as connection:
        rows = connection.execute(_WITH_HASH.where(_ENTRIES.c.index.in_(indexes))).mappings()
        found = {row["index"]: _verified(row) for row in rows}
    return [found[index] for index in indexes if index in found]


def following(engine: Engine, first: int, limit: int) -> list[tuple[bytes, dict[str, Any]]]:
    """Verified entries from `first` on, oldest first, each with its exact bytes. Raises AlteredEntryError."""
    query = _WITH_HASH.where(_ENTRIES.c.index >= first).order_by(_ENTRIES.c.index).limit(limit)
    with engine.connect() as connection:
        return [(_leaf(row), _verified(row)) for row in connection.execute(query).mappings()]


def entry(engine: Engine, index: int) -> ProvenEntry | None:
    """One verified leaf with its inclusion proof; None when the log has no such entry. Raises AlteredEntryError."""
    with engine.connect() as connection:
        row = _row(connection, index)
        if row is None:
            return None
        tile_at = _tiles(connection)
        fields = _verified(row)
        head = connection.execute(select(_HEAD.c.size, _HEAD.c.note)).one()
        try:
            path = inclusion_proof(index, head.size, nodes_from_tiles(tile_at))
        except ValueError as error:
            raise AlteredEntryError(index, str(error)) from error
        return ProvenEntry(fields, _leaf(row), index, head.size, tuple(path), head.note)


def proof(engine: Engine, index: int) -> Proof:
    """A proof that stands by itself, against the newest checkpoint. Raises LookupError and AlteredEntryError."""
    proven = entry(engine, index)
    if proven is None:
        raise LookupError(f"the log has no entry {index}")
    return Proof(index, proven.leaf, proven.hashes, proven.checkpoint)


def checkpoint(engine: Engine) -> str:
    """The newest signed note. Raises LookupError when the log was never opened for writing."""
    with engine.connect() as connection:
        note: str | None = connection.execute(select(_HEAD.c.note)).scalar_one_or_none()
    if note is None:
        raise LookupError("the log has no checkpoint yet")
    return note


def consistency(engine: Engine, old: int, new: int) -> list[bytes]:
    """The proof that the log of `new` entries extends that of `old`. Raises ValueError where tiles do not allow one."""
    with engine.connect() as connection:
        return consistency_proof(old, new, nodes_from_tiles(_tiles(connection)))


def root_at(engine: Engine, size: int) -> bytes:
    """The root that the log had at `size` entries, as its tiles say. Raises ValueError."""
    with engine.connect() as connection:
        return root_from(size, nodes_from_tiles(_tiles(connection)))


def size(engine: Engine) -> int:
    """How many entries the log has."""
    with engine.connect() as connection:
        return connection.execute(select(_HEAD.c.size)).scalar_one_or_none() or 0


def texts(engine: Engine, keys: LogKeys, entries: Sequence[dict[str, Any]]) -> dict[int, str]:
    """The decrypted texts of verified entries, by index; those that cannot be read, or have none, are not there."""
    wanted = {one["index"]: found for one in entries if (found := leaves.payload_reference(one)) is not None}
    subjects = {one.subject for one in wanted.values()}
    with engine.connect() as connection:
        ciphertexts = connection.execute(
            select(_PAYLOADS.c.entry, _PAYLOADS.c.ciphertext).where(_PAYLOADS.c.entry.in_(wanted))
        ).all()
        wrapped = connection.execute(
            select(_KEYS.c.subject, _KEYS.c.wrapped).where(_KEYS.c.subject.in_(subjects))
        ).all()
    known, told = {}, {}
    for subject, sealed in wrapped:
        with suppress(payloads.PayloadError):
            known[subject] = payloads.unwrap(keys.payload, subject, bytes(sealed))
    for index, ciphertext in ciphertexts:
        key = known.get(wanted[index].subject)
        with suppress(payloads.PayloadError):
            if key is not None:
                told[index] = payloads.unseal(key, bytes(ciphertext), wanted[index])
    return told


def payload(engine: Engine, keys: LogKeys, index: int) -> str | None:
    """The decrypted text of an entry; None when it has none (or there is no such entry).

    Who may read it is the caller's decision, and reading it is to be recorded. Raises AlteredEntryError and
    PayloadUnreadableError.
    """
    with engine.connect() as connection:
        row = _row(connection, index)
        if row is None:
            return None
        reference = leaves.payload_reference(_verified(row))
        if reference is None:
            return None
        ciphertext = connection.execute(
            select(_PAYLOADS.c.ciphertext).where(_PAYLOADS.c.entry == index)
        ).scalar_one_or_none()
        wrapped = connection.execute(
            select(_KEYS.c.wrapped).where(_KEYS.c.subject == reference.subject)
        ).scalar_one_or_none()
    if ciphertext is None:
        raise PayloadUnreadableError(index, "the encrypted text is missing")
    if wrapped is None:
        raise PayloadUnreadableError(index, "the key that it is encrypted under was erased")
    try:
        key = payloads.unwrap(keys.payload, reference.subject, bytes(wrapped))
        return payloads.unseal(key, bytes(ciphertext), reference)
    except payloads.PayloadError as error:
        raise PayloadUnreadableError(index, str(error)) from error


def _tiles(connection: Connection) -> TileAt:
    seen: dict[tuple[int, int], bytes] = {}

    def tile(level: int, number: int) -> bytes:
        key = (level, number)
        if key not in seen:
            query = select(_TILES.c.hashes).where(_TILES.c.level == level, _TILES.c.number == number)
            stored = connection.execute(query).scalar_one_or_none()
            seen[key] = bytes(stored or b"") if stored or level else _open_tile(connection, number)
        return seen[key]

    return tile


def _open_tile(connection: Connection, number: int) -> bytes:
    """A tile of level 0 that is not whole yet, from its single hashes."""
    first = number * TILE_WIDTH
    query = select(_HASHES.c.hash).where(_HASHES.c.index >= first, _HASHES.c.index < first + TILE_WIDTH)
    return b"".join(map(bytes, connection.execute(query.order_by(_HASHES.c.index)).scalars()))


def _row(connection: Connection, index: int) -> RowMapping | None:
    return connection.execute(_WITH_HASH.where(_ENTRIES.c.index == index)).mappings().one_or_none()


def _leaf(row: RowMapping) -> bytes:
    """SQLite lets a tampered column have any type; its hash then does not fit."""
    leaf = row["leaf"]
    return str(leaf).encode() if isinstance(leaf, str | int | float) else bytes(leaf or b"")


def _verified(row: RowMapping) -> dict[str, Any]:
    """The parsed leaf of a row of `_WITH_HASH`. Raises AlteredEntryError."""
    index, leaf = row["index"], _leaf(row)
    if leaf_hash(leaf) != bytes(row["stored_hash"] or b""):
        raise AlteredEntryError(index, "its content does not fit the hash in the tree")
    try:
        fields = leaves.parse(leaf)
    except ValueError as error:
        raise AlteredEntryError(index, str(error)) from error
    if fields["index"] != index:
        raise AlteredEntryError(index, "it was written as another entry")
    differing = leaves.differing_columns(fields, {name: row[name] for name in leaves.SEARCH_COLUMNS})
    if differing:
        raise AlteredEntryError(index, f"its search columns say something else than the entry: {', '.join(differing)}")
    return fields
