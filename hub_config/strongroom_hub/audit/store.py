"""Where a verifier reads a log from: the database, opened read-only, or an exported folder of static tiles.

Nothing here needs the service, its settings or a secret.
"""

from __future__ import annotations

import itertools
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from pydantic_core import SchemaValidator, core_schema, from_json
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from strongroom_hub.audit.entries import MAX_LEAF_BYTES, SEARCH_COLUMNS
from strongroom_hub.audit.indexes import SeenColumns, differing_indexes
from strongroom_hub.audit.tree import HASH_BYTES, TILE_WIDTH, tile_width, tiles_of
from strongroom_hub.database import driver_of

_LENGTH_BYTES = 2
_NO_PAYLOAD = (float("inf"), b"", None)
_END = 1 << 63
"""One more than SQLite's highest number of a row."""
_BETWEEN = b"\n"
"""Stands between leaves that are fetched together, and in no leaf that the log writes."""
_COLUMNS = [f'"{name}"' for name in SEARCH_COLUMNS]
_ROWS = f'SELECT "index", leaf, {", ".join(_COLUMNS)} FROM log_entries'  # noqa: S608 - constants
_ARRAYS = ", ".join(f"json_group_array({name})" for name in _COLUMNS)
_TOGETHER = (
    f'SELECT count(leaf), json_group_array("index"), CAST(group_concat(leaf, char(10)) AS BLOB), json_array({_ARRAYS})'  # noqa: S608 - constants
    ' FROM log_entries WHERE "index" BETWEEN ? AND ?'
)
_text = core_schema.nullable_schema(core_schema.str_schema(strict=True))
_texts = SchemaValidator(core_schema.list_schema(core_schema.list_schema(_text))).validate_json
_TABLES = (
    "log_entries",
    "log_tiles",
    "log_hashes",
    "log_head",
    "log_payloads",
    "log_payload_keys",
    "log_cosignatures",
)


class UnreadableLogError(Exception):
    """There is no log to verify at this place, in words for the person who named it."""


@dataclass(slots=True)
class StoredEntry:
    """One entry as it lies in the store, believed in nothing."""

    index: int
    leaf: bytes
    columns: tuple[Any, ...] | None = None
    """The search columns, in the order of `SEARCH_COLUMNS`; None where the store has none."""
    ciphertext: bytes | None = None
    subject: str | None = None
    """Of the stored payload."""


@dataclass(slots=True)
class StoredBlock:
    """The stored entries whose numbers lie under one tile of level 0, side by side: one at least, by rising number."""

    number: int
    indexes: Sequence[int]
    leaves: Sequence[bytes]
    columns: Sequence[Sequence[Any]] | None = None
    """The values of each of the `SEARCH_COLUMNS`; None where the store has none."""
    payloads: dict[int, tuple[bytes, Any]] = field(default_factory=dict)
    """Ciphertext and subject, by the entry's number."""

    def entry(self, place: int) -> StoredEntry:
        index = self.indexes[place]
        values = None if self.columns is None else tuple(column[place] for column in self.columns)
        return StoredEntry(index, self.leaves[place], values, *self.payloads.get(index, (None, None)))

    def entries(self) -> Iterator[StoredEntry]:
        return map(self.entry, range(len(self.indexes)))

    def cut(self, end: int) -> tuple[StoredBlock | None, StoredBlock | None]:
        """The entries before number `end`, and those from there on."""
        if self.indexes[-1] < end:
            return self, None
        at = bisect_left(self.indexes, end)

        def part(some: slice) -> StoredBlock | None:
            if not self.indexes[some]:
                return None
            columns = None if self.columns is None else [column[some] for column in self.columns]
            return StoredBlock(self.number, self.indexes[some], self.leaves[some], columns, self.payloads)

        return part(slice(at)), part(slice(at, None))


class StoredLog(Protocol):
    """What `verify` needs of a store."""

    keeps_payloads: bool

    def note(self) -> str | None: ...
    def edge(self) -> tuple[int, bytes] | None:
        """Size and right edge kept beside the checkpoint; None where the store keeps none."""
        ...

    def cosigned(self) -> str | None:
        """The newest checkpoint that witnesses co-signed, with their signatures; None where there is none."""
        ...

    def length(self) -> int:
        """One more than the highest index that is stored, whatever the checkpoint says."""
        ...

    def blocks(self, size: int) -> Iterator[StoredBlock]:
        """All stored entries by rising number; `size` is what the checkpoint says."""
        ...

    def entries(self, size: int) -> Iterator[StoredEntry]:
        """The same, one by one."""
        ...

    def leaf(self, index: int, size: int) -> bytes | None:
        """One entry's bytes, of a log of `size` entries; None when they are not stored."""
        ...

    def tile(self, level: int, number: int, width: int) -> bytes | None: ...
    def tile_places(self) -> Iterator[tuple[int, int]]:
        """(level, number) of every stored tile."""
        ...

    def loose_hashes(self) -> list[int]:
        """The entries whose hashes are stored singly: those under the last tile of level 0 while it is not whole."""
        ...

    def stray_payloads(self) -> list[int]:
        """Entry numbers of payloads whose entry is not stored."""
        ...

    def subjects_with_key(self) -> set[str] | None:
        """Pseudonyms whose payloads can still be read; None where no keys are stored. The keys are not looked at."""
        ...

    def damage(self) -> list[str]:
        """What is wrong with the storage itself and with its indexes; asked for after `blocks` was read to the end."""
        ...


class DatabaseLog:
    """The log in a SQLite file, seen in one read transaction."""

    keeps_payloads = True

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seen: SeenColumns | None = None

    def note(self) -> str | None:
        row = self._one("SELECT note FROM log_head WHERE id = 1")
        return None if row is None else str(row[0])

    def edge(self) -> tuple[int, bytes] | None:
        row = self._one("SELECT size, edge FROM log_head WHERE id = 1")
        return (-1, b"") if row is None else (row[0], _bytes(row[1]))

    def cosigned(self) -> str | None:
        query = "SELECT note, line FROM log_cosignatures WHERE size = (SELECT max(size) FROM log_cosignatures)"
        rows = list(self._rows(query))
        return rows[0][0] + "".join(sorted(line for note, line in rows if note == rows[0][0])) if rows else None

    def length(self) -> int:
        row = self._one('SELECT max("index") FROM log_entries')
        return 0 if row is None or row[0] is None else int(row[0]) + 1

    def blocks(self, size: int) -> Iterator[StoredBlock]:  # noqa: ARG002 - the database knows its own rows
        # Two sorted lists side by side: few entries have a payload, and a join would look for one at each.
        payloads = self._many("SELECT entry, ciphertext, subject FROM log_payloads ORDER BY entry")
        at, ciphertext, subject = next(payloads, _NO_PAYLOAD)
        seen = self._new_seen()
        for block in self._bare_blocks():
            while at <= block.indexes[-1]:
                block.payloads[int(at)] = (_bytes(ciphertext), subject)
                at, ciphertext, subject = next(payloads, _NO_PAYLOAD)
            if seen is not None and block.columns is not None:
                seen.add(block.indexes, block.columns)
            yield block
        self._seen = seen

    def entries(self, size: int) -> Iterator[StoredEntry]:
        return itertools.chain.from_iterable(block.entries() for block in self.blocks(size))

    def leaf(self, index: int, size: int) -> bytes | None:  # noqa: ARG002 - the database knows its own rows
        row = self._one('SELECT leaf FROM log_entries WHERE "index" = ?', index)
        return None if row is None else _bytes(row[0])

    def tile(self, level: int, number: int, width: int) -> bytes | None:  # noqa: ARG002 - one row, whatever its width
        row = self._one("SELECT hashes FROM log_tiles WHERE level = ? AND number = ?", level, number)
        if row is not None or level:
            return None if row is None else _bytes(row[0])
        first = number * TILE_WIDTH
        query = 'SELECT hash FROM log_hashes WHERE "index" BETWEEN ? AND ? ORDER BY "index"'
        return b"".join(_bytes(one) for (one,) in self._rows(query, first, first + TILE_WIDTH - 1)) or None

    def tile_places(self) -> Iterator[tuple[int, int]]:
        yield from self._rows("SELECT level, number FROM log_tiles")

    def loose_hashes(self) -> list[int]:
        return [row[0] for row in self._rows('SELECT "index" FROM log_hashes ORDER BY "index"')]

    def stray_payloads(self) -> list[int]:
        query = 'SELECT entry FROM log_payloads WHERE entry NOT IN (SELECT "index" FROM log_entries) ORDER BY entry'
        return [row[0] for row in self._rows(query)]

    def subjects_with_key(self) -> set[str] | None:
        return {row[0] for row in self._rows("SELECT subject FROM log_payload_keys")}

    def damage(self) -> list[str]:
        indexes = differing_indexes(self._connection, self._seen) if self._seen else None
        found = indexes or []
        for table in _TABLES:
            # The quick one leaves out just what the indexes were already asked.
            check = "integrity_check" if table != "log_entries" or indexes is None else "quick_check"
            rows = self._connection.execute(f"PRAGMA {check}({table})")
            found += [f"{table}: {text}" for (text,) in rows if text != "ok"]
        return found

    def _bare_blocks(self) -> Iterator[StoredBlock]:
        """All entries without their payloads: a tile at once where it is whole and plain, else row by row."""
        at_once = self._one("PRAGMA encoding") == ("UTF-8",)
        yield from _in_blocks(self._rows(f'{_ROWS} WHERE "index" < 0 ORDER BY "index"'))
        start = 0
        while start < _END:
            if at_once and (block := self._plain_block(start)):
                yield block
            else:
                [found] = self._one('SELECT min("index") FROM log_entries WHERE "index" >= ?', start) or (None,)
                if found is None:
                    return
                if found < start:
                    raise _disorder(found)
                start = found // TILE_WIDTH * TILE_WIDTH
                query = f'{_ROWS} WHERE "index" BETWEEN ? AND ? ORDER BY "index"'
                for block in _in_blocks(self._rows(query, start, start + TILE_WIDTH - 1)):
                    if block.indexes[0] < start:
                        raise _disorder(block.indexes[0])
                    yield block
            start += TILE_WIDTH

    def _plain_block(self, first: int) -> StoredBlock | None:
        """The tile's entries from number `first` on, if all are there and none has a line's end or is no text.

        One row with all values of a tile in it costs half of what its 256 rows cost. Should SQLite ever join them in
        another order than that of the rows, no hash fits.
        """
        try:
            count, numbers, leaves, columns = self._one(_TOGETHER, first, first + TILE_WIDTH - 1) or (0, "", b"", "")
            # In a damaged file so many rows can be other ones, or one of them twice.
            if count != TILE_WIDTH or from_json(numbers) != list(range(first, first + TILE_WIDTH)):
                return None
            values = _texts(columns)
        except (
            sqlite3.DatabaseError,
            ValueError,
        ):  # bytes for a text; a page on which the rows will stumble
            return None
        split = leaves.split(_BETWEEN)
        if len(split) != TILE_WIDTH:
            return None
        return StoredBlock(first // TILE_WIDTH, range(first, first + TILE_WIDTH), split, values)

    def _new_seen(self) -> SeenColumns | None:
        return SeenColumns()

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        return next(self._rows(query, *values), None)

    def _rows(self, query: str, *values: object) -> Iterator[Any]:
        return self._connection.execute(query, values)

    def _many(self, query: str) -> Iterator[Any]:
        """Rows of which there may be more than fit into memory."""
        return self._rows(query)


_CURSORS = itertools.count()


class PostgresLog(DatabaseLog):
    """The log in a PostgreSQL database, seen in one read transaction of the driver's connection."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._seen = None

    def damage(self) -> list[str]:
        return []  # PostgreSQL checks its pages when it reads them, and a failed check raises

    def _bare_blocks(self) -> Iterator[StoredBlock]:
        return _in_blocks(self._many(f'{_ROWS} ORDER BY "index"'))

    def _new_seen(self) -> None:
        return None  # its indexes are not looked into

    def _rows(self, query: str, *values: object) -> Iterator[Any]:
        yield from self._driver.execute(query.replace("?", "%s"), values)

    def _many(self, query: str) -> Iterator[Any]:
        with self._driver.cursor(name=f"strongroom_{next(_CURSORS)}") as cursor:
            cursor.itersize = 20_000
            yield from cursor.execute(query)


def _in_blocks(rows: Iterator[Any]) -> Iterator[StoredBlock]:
    """Rows of `_ROWS`, by rising number."""
    for number, some in _by_block(rows):
        indexes, leaves, *values = zip(*some, strict=True)
        if set(map(type, leaves)) != {bytes}:
            leaves = tuple(map(_bytes, leaves))
        yield StoredBlock(number, indexes, leaves, values)


def _by_block(rows: Iterator[Any]) -> Iterator[tuple[int, list[Any]]]:
    """Rows that begin with an entry's number, by rising number, cut where a new tile begins."""
    left: list[Any] = []
    while some := list(itertools.islice(rows, TILE_WIDTH)):
        left += some
        for (before, *_), (after, *_) in itertools.pairwise(left):
            if after <= before:
                raise _disorder(after)
        start = 0
        while (number := left[start][0] // TILE_WIDTH) < left[-1][0] // TILE_WIDTH:
            end = bisect_left(left, (number + 1) * TILE_WIDTH, start, key=itemgetter(0))
            yield number, left[start:end]
            start = end
        left = left[start:]
    if left:
        yield left[0][0] // TILE_WIDTH, left


def _disorder(number: int) -> sqlite3.DatabaseError:
    """In a damaged tree rows can come in any order, and come again."""
    return sqlite3.DatabaseError(f"row {number} of log_entries is not where its number belongs")


def _bytes(value: object) -> bytes:
    """A column's bytes; SQLite lets a tampered one have any type."""
    return value if isinstance(value, bytes) else str(value).encode()


@contextmanager
def open_database(path: Path) -> Iterator[DatabaseLog]:
    """The log in a SQLite file. Nothing is written. Raises UnreadableLogError."""
    if not path.is_file():
        raise UnreadableLogError(f"there is no database at {path}")
    connection = _connect(path)
    try:
        yield DatabaseLog(connection)
    finally:
        connection.close()


@contextmanager
def open_postgres(engine: Engine) -> Iterator[PostgresLog]:
    """The log in a PostgreSQL database. Nothing is written. Raises UnreadableLogError."""
    try:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
            if not set(_TABLES).issubset(inspect(connection).get_table_names()):
                raise UnreadableLogError("the database holds no Strongroom audit log")
            yield PostgresLog(driver_of(connection))
    except SQLAlchemyError as error:
        raise UnreadableLogError(f"the database cannot be read: {type(error).__name__}") from error


def _connect(path: Path) -> sqlite3.Connection:
    modes = ["mode=ro"]
    wal = path.with_name(path.name + "-wal")
    if not wal.exists() or wal.stat().st_size == 0:
        modes.append("mode=ro&immutable=1")  # a copy on read-only media, where SQLite cannot make its -shm file
    cause = None
    for mode in modes:
        connection = sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except (
            sqlite3.DatabaseError,
            UnicodeDecodeError,
        ) as error:  # a spoilt name in what SQLite says
            connection.close()
            cause = error
            continue
        if not found.issuperset(_TABLES):
            connection.close()
            raise UnreadableLogError(f"{path} holds no Strongroom audit log")
        return connection
    raise UnreadableLogError(f"{path} cannot be read as a SQLite database: {cause}") from cause


class DirectoryLog:
    """An exported log: `checkpoint`, `tile/LEVEL/NUMBER[.p/WIDTH]`, `tile/entries/NUMBER[.p/WIDTH]`."""

    keeps_payloads = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self) -> str | None:
        data = _read(self._folder / "checkpoint")
        return None if data is None else data.decode("utf-8", errors="replace")

    def edge(self) -> tuple[int, bytes] | None:
        return None

    def cosigned(self) -> str | None:
        return self.note()

    def length(self) -> int:
        return 0  # without a checkpoint nothing says how many entries there should be

    def blocks(self, size: int) -> Iterator[StoredBlock]:
        for number in range(-(-size // TILE_WIDTH)):
            width = tile_width(size, 0, number)
            data = _read(self._folder / tile_path("entries", number, width))
            if leaves := _unbundle(data or b"", width):
                first = number * TILE_WIDTH
                yield StoredBlock(number, range(first, first + len(leaves)), leaves)

    def entries(self, size: int) -> Iterator[StoredEntry]:
        return itertools.chain.from_iterable(block.entries() for block in self.blocks(size))

    def leaf(self, index: int, size: int) -> bytes | None:
        number, place = divmod(index, TILE_WIDTH)
        width = tile_width(size, 0, number)
        data = _read(self._folder / tile_path("entries", number, width)) or b""
        return dict(enumerate(_unbundle(data, width))).get(place)

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        return _read(self._folder / tile_path(str(level), number, width))

    def tile_places(self) -> Iterator[tuple[int, int]]:
        return iter(())  # an export may keep older partial tiles; clients ask only for those that they need

    def loose_hashes(self) -> list[int]:
        return []

    def stray_payloads(self) -> list[int]:
        return []

    def subjects_with_key(self) -> set[str] | None:
        return None

    def damage(self) -> list[str]:
        return []


def open_directory(folder: Path) -> DirectoryLog:
    """An exported log. Raises UnreadableLogError."""
    if not (folder / "checkpoint").is_file():
        raise UnreadableLogError(f"{folder} is not an exported log: it has no file 'checkpoint'")
    return DirectoryLog(folder)


def export(log: DatabaseLog, folder: Path, size: int, note: str) -> None:
    """Write the log as it was at `note`, of `size` entries, as static tiles (C2SP tlog-tiles) into a new folder.

    Payloads are left out. Raises UnreadableLogError when the folder is not empty or the log is incomplete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UnreadableLogError(f"{folder} is not empty: export into a new folder")
    bundle: list[bytes] = []
    number = 0
    for entry in log.entries(size):
        if entry.index >= size:
            break
        if entry.index != number * TILE_WIDTH + len(bundle) or len(entry.leaf) > MAX_LEAF_BYTES:
            raise UnreadableLogError(
                f"the log is damaged near entry {entry.index}: run `strongroom audit verify` first"
            )
        bundle.append(len(entry.leaf).to_bytes(_LENGTH_BYTES, "big") + entry.leaf)
        if len(bundle) == tile_width(size, 0, number):
            _write(folder / tile_path("entries", number, len(bundle)), b"".join(bundle))
            bundle, number = [], number + 1
    for level, place, width in tiles_of(size):
        data = log.tile(level, place, width)
        if data is None:
            raise UnreadableLogError(f"tile {level}/{place} is missing: run `strongroom audit verify` first")
        _write(folder / tile_path(str(level), place, width), data[: width * HASH_BYTES])
    _write(folder / "checkpoint", note.encode())


def tile_path(level: str, number: int, width: int) -> Path:
    """A tile's place: numbers in groups of three digits, all but the last with an `x`; partial tiles below `.p`."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03d}")
    path = Path("tile", level, *groups)
    return path if width == TILE_WIDTH else path.with_name(path.name + ".p") / str(width)


def _unbundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle. What does not parse becomes part of an entry, whose hash then does not fit."""
    found: list[bytes] = []
    at = 0
    try:
        for _ in range(width):
            start = at + _LENGTH_BYTES
            at = start + (data[at] << 8 | data[at + 1])
            found.append(data[start:at])
    except IndexError:
        at = -1
    if at == len(data):
        return found
    found.clear()
    at = 0
    while at < len(data) and len(found) < width:
        end = at + _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
        if len(found) == width - 1 or end > len(data):
            start = at + _LENGTH_BYTES if end == len(data) else at
            found.append(data[start:])
            break
        found.append(data[at + _LENGTH_BYTES : end])
        at = end
    return found


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
