"""Whether SQLite's search indexes hold what the table holds: an index that lacks an entry hides it from every search.

`PRAGMA integrity_check` looks each row up in each index, which is most of the cost of verifying. Here the table is read
once (by who verifies it anyway), each index is walked once in its own order, and both are compared in bulk.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from strongroom_hub.audit.entries import SEARCH_COLUMNS

_TABLE = "log_entries"
_PART = 1 << 16
"""Values that are compared at once."""
_CLOSED_AT = 1 << 14
"""Values of a column that are kept before they are hashed: so many that the calls cost less than the work."""
_RUN = 1 << 40
"""More than there are entries."""


class SeenColumns:
    """The search columns of all rows of the table as they were read: 4 bytes of a hash for each value.

    The hash's key is drawn anew for each run, so that nobody can prepare two values that are taken for each other.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.plain = True
        """Whether rows are numbered 0, 1, 2 ... and hold text or nothing; else nothing can be said here."""
        self._key = secrets.randbits(64)
        self._open: list[list[Any]] = [[] for _ in SEARCH_COLUMNS]
        self._closed: list[list[pl.Series]] = [[] for _ in SEARCH_COLUMNS]

    def add(self, indexes: Sequence[int], columns: Sequence[Sequence[Any]]) -> None:
        """The next rows, by rising number."""
        if indexes[0] != self.rows or indexes[-1] != self.rows + len(indexes) - 1:
            self.plain = False
        if not self.plain:
            return
        self.rows += len(indexes)
        for values, more in zip(self._open, columns, strict=True):
            values.extend(more)
        if len(self._open[0]) >= _CLOSED_AT:
            self._close()

    def hashes(self, values: pl.Series) -> pl.Series:
        """Of texts, or nothing."""
        hashed = values.hash(self._key)
        return (hashed % (1 << 32)).cast(pl.UInt32)

    def columns(self) -> dict[str, pl.Series] | None:
        """All hashes, by the column's name; None where nothing can be said."""
        self._close()
        if not self.plain or not self.rows:
            return None
        return {name: pl.concat(parts) for name, parts in zip(SEARCH_COLUMNS, self._closed, strict=True)}

    def _close(self) -> None:
        try:
            for values, parts in zip(self._open, self._closed, strict=True):
                if values:
                    parts.append(self.hashes(pl.Series(values, dtype=pl.String)))
        except TypeError:
            self.plain = False
        self._open = [[] for _ in SEARCH_COLUMNS]


def differing_indexes(connection: sqlite3.Connection, seen: SeenColumns) -> list[str] | None:
    """What is wrong with the indexes, one line each; None where only `PRAGMA integrity_check` can tell."""
    indexes = _indexes(connection)
    columns = seen.columns()
    if indexes is None or columns is None:
        return None
    try:
        found = [(name, _difference(_groups(connection, name, key), columns[key], seen)) for name, key in indexes]
    except sqlite3.DataError:  # a group whose numbers make a longer text than SQLite can hold
        return None
    return [f"index {name} {text}: a search may miss entries" for name, text in found if text]


def _indexes(connection: sqlite3.Connection) -> list[tuple[str, str]] | None:
    """Each index with its search column; None with one of another kind."""
    found = []
    for _, name, _, _, partial in connection.execute(f"PRAGMA index_list({_TABLE})").fetchall():
        rows = connection.execute(f"PRAGMA index_xinfo({_quoted(name)})").fetchall()
        keys = [row[2] for row in rows if row[5]]
        usual = all((row[3], row[4]) == (0, "BINARY") for row in rows)
        if partial or not usual or len(keys) != 1 or keys[0] not in SEARCH_COLUMNS:
            return None
        found.append((name, keys[0]))
    return found


def _groups(connection: sqlite3.Connection, name: str, key: str) -> Iterator[Any]:
    """An index in its own order: its values, how many entries have each, and those entries' numbers."""
    query = f'SELECT {key}, count(*), group_concat("index") FROM {_TABLE} INDEXED BY {_quoted(name)} GROUP BY {key}'  # noqa: S608 - quoted
    return connection.execute(query)


def _difference(groups: Iterator[Any], column: pl.Series, seen: SeenColumns) -> str | None:
    last: str | None = None
    rows = 0
    while part := _some(groups):
        try:
            values = pl.Series([last, *(group[0] for group in part)], dtype=pl.String)
        except TypeError:
            return "holds what is no text"
        if not _rises(values, begins=not rows):
            return "is out of order"
        last = values[-1]
        counts = pl.Series([group[1] for group in part])
        numbers = pl.Series([group[2] for group in part]).str.split(",").explode().cast(pl.Int64)
        runs = pl.select(pl.lit(pl.Series(range(len(part)))).repeat_by(counts).explode()).to_series()
        if not (runs * _RUN + numbers).diff().drop_nulls().gt(0).all():
            return "is out of order"
        if numbers.min() < 0 or numbers.max() >= seen.rows:  # type: ignore[operator]
            return "names an entry that is not there"
        if not (column.gather(numbers) == seen.hashes(values[1:]).gather(runs)).all():
            return "does not say what the entries say"
        rows += len(numbers)
    return None if rows == seen.rows else "lacks entries"


def _rises(values: pl.Series, *, begins: bool) -> bool:
    """Whether each is greater than the one before it, by its bytes; nothing comes before all texts.

    The first is the last of what went before, except where it `begins`.
    """
    texts = values[1:] if begins else values
    if texts[0] is None:
        texts = texts[1:]
    return texts.null_count() == 0 and bool((texts[1:] > texts[:-1]).all())


def _some(groups: Iterator[Any]) -> list[Any]:
    """The next groups, together of about `_PART` entries."""
    some, count = [], 0
    for group in groups:
        some.append(group)
        count += group[1]
        if count >= _PART:
            break
    return some


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
