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
_CLOSED_AT = 1 << 13
"""Values that are kept as they are before they are hashed: few enough to stay in the processor's cache."""
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

    def hashes(self, values: list[Any]) -> pl.Series:
        """Raises TypeError where one is neither text nor nothing."""
        hashed = pl.Series(values, dtype=pl.String).hash(self._key)
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
                    parts.append(self.hashes(values))
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
        found = [
            (name, _difference(_groups(connection, name, *keys), keys[0], seen, columns)) for name, keys in indexes
        ]
    except sqlite3.DataError:  # a group whose numbers make a longer text than SQLite can hold
        return None
    return [f"index {name} {text}: a search may miss entries" for name, text in found if text]


def _indexes(connection: sqlite3.Connection) -> list[tuple[str, tuple[list[str], bool]]] | None:
    """Each index with its search columns and whether the entry's number follows them; None with one of another kind."""
    found = []
    for _, name, _, _, partial in connection.execute(f"PRAGMA index_list({_TABLE})").fetchall():
        rows = connection.execute(f"PRAGMA index_xinfo({_quoted(name)})").fetchall()
        keys = [row[2] for row in rows if row[5]]
        numbered = keys[-1] == "index"
        searched = keys[:-1] if numbered else keys
        usual = all((row[3], row[4]) == (0, "BINARY") for row in rows)
        if partial or not usual or not searched or not set(searched) <= set(SEARCH_COLUMNS):
            return None
        found.append((name, (searched, numbered)))
    return found


def _groups(connection: sqlite3.Connection, name: str, keys: list[str], numbered: bool) -> Iterator[Any]:
    """An index in its own order: the values of its columns, how many entries have them, and those entries' numbers."""
    index = _quoted(name)
    chosen = ", ".join(f"a.{key}" for key in keys)
    query = f'SELECT {chosen}, count(*), group_concat(a."index") FROM {_TABLE} a INDEXED BY {index}'  # noqa: S608 - quoted
    if numbered:
        # The number lies in such an index twice, and only a lookup reads the one that it is ordered by.
        same = " AND ".join(f"b.{key} IS a.{key}" for key in keys)
        query += f' CROSS JOIN {_TABLE} b INDEXED BY {index} ON {same} AND b."index" = a."index"'
    return connection.execute(f"{query} GROUP BY {chosen}")


def _difference(groups: Iterator[Any], keys: list[str], seen: SeenColumns, columns: dict[str, pl.Series]) -> str | None:
    last: list[tuple[bool, str]] = []
    rows = 0
    while part := _some(groups):
        for group in part:
            if not all(value is None or isinstance(value, str) for value in group[:-2]):
                return "holds what is no text"
            place = [(value is not None, value or "") for value in group[:-2]]
            if not last < place:
                return "is out of order"
            last = place
        counts = pl.Series([group[-2] for group in part])
        numbers = pl.Series([group[-1] for group in part]).str.split(",").explode().cast(pl.Int64)
        runs = pl.select(pl.lit(pl.Series(range(len(part)))).repeat_by(counts).explode()).to_series()
        if not (runs * _RUN + numbers).diff().drop_nulls().gt(0).all():
            return "is out of order"
        if numbers.min() < 0 or numbers.max() >= seen.rows:  # type: ignore[operator]
            return "names an entry that is not there"
        for at, key in enumerate(keys):
            wanted = seen.hashes([group[at] for group in part]).gather(runs)
            if not (columns[key].gather(numbers) == wanted).all():
                return "does not say what the entries say"
        rows += len(numbers)
    return None if rows == seen.rows else "lacks entries"


def _some(groups: Iterator[Any]) -> list[Any]:
    """The next groups, together of about `_PART` entries."""
    some, count = [], 0
    for group in groups:
        some.append(group)
        count += group[-2]
        if count >= _PART:
            break
    return some


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
