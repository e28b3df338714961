"""Excel (.xlsx): one sheet, its first row the header, every cell by its own type.

Two passes over the sheet, which is read row by row. What a column holds more than one kind of becomes text.
"""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import openpyxl
import polars as pl
from openpyxl.utils import get_column_letter

from strongroom_hub.vault.formats.table import BATCH_ROWS, Told, bad_file, check_names, place

_MAX_UNPACKED = 4 << 30
"""Bytes that a workbook's parts may take unpacked: an archive can claim anything."""
_ERRORS = ("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A")
_TYPES: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    dt.date: pl.Date(),
    dt.datetime: pl.Datetime("us"),
    dt.time: pl.Time(),
    dt.timedelta: pl.Duration("us"),
    str: pl.String(),
}
_DECLARED: dict[str, tuple[set[type], str]] = {
    "integer": ({int}, "a whole number"),
    "number": ({int, float}, "a number"),
    "boolean": ({bool}, "true or false"),
    "date": ({dt.date}, "a date"),
    "datetime": ({dt.date, dt.datetime}, "a date with a time"),
}
_INT64 = range(-(2**63), 2**63)


class ExcelTable:
    """A sheet that was looked at once; `declared`: types by column, as `ColumnAbout.type`."""

    def __init__(
        self, stream: BinaryIO, sheet: str | None, declared: dict[str, str], missing: tuple[str, ...] = ()
    ) -> None:
        self._stream = stream
        self._missing = frozenset({"", *missing})
        self._sheet = sheet
        self.notes: list[str] = []
        self.told: dict[str, Told] = {}
        rows = self._rows()
        header = next(rows, ())
        self._names = ["" if value is None else str(value).strip() for value in header]
        while self._names and not self._names[-1]:
            self._names.pop()
        check_names(self._names)
        kinds = self._kinds(rows, declared)
        self.schema = {name: self._type(name, seen) for name, seen in kinds.items()}

    def batches(self) -> Iterator[pl.DataFrame]:
        rows = self._rows()
        next(rows)
        batch: list[list[Any]] = []
        for row in rows:
            batch.append(self._values(row))
            if len(batch) == BATCH_ROWS:
                yield self._frame(batch)
                batch = []
        if batch:
            yield self._frame(batch)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """Every row of the sheet up to the last that holds something. Raises Problem for what is no workbook."""
        self._stream.seek(0)
        try:
            with zipfile.ZipFile(self._stream) as archive:
                if sum(part.file_size for part in archive.infolist()) > _MAX_UNPACKED:
                    raise bad_file(f"Unpacked it would take more than {_MAX_UNPACKED >> 30} GiB.")
            self._stream.seek(0)
            book = openpyxl.load_workbook(self._stream, read_only=True, data_only=True)
        except (zipfile.BadZipFile, KeyError, OSError, ValueError, SyntaxError, TypeError) as error:
            raise bad_file(f"It cannot be read as an Excel workbook ({type(error).__name__}).") from error
        sheet = self._chosen(book)
        empty = 0
        try:
            for row in sheet.iter_rows(values_only=True):
                if all(value is None for value in row):
                    empty += 1
                    continue
                for _ in range(empty):
                    yield ()
                empty = 0
                yield row
        except (zipfile.BadZipFile, KeyError, OSError, ValueError, SyntaxError, TypeError) as error:
            raise bad_file(f"It cannot be read as an Excel workbook ({type(error).__name__}).") from error

    def _chosen(self, book: Any) -> Any:
        names = book.sheetnames
        if self._sheet is None:
            if len(names) > 1 and not self.notes:
                self.notes.append(f"The workbook has {len(names)} sheets; the first, {names[0]!r}, was taken.")
            return book[names[0]]
        if self._sheet not in names:
            raise bad_file(f"It has no sheet {self._sheet!r}; there are {', '.join(map(repr, names))}.")
        return book[self._sheet]

    def _kinds(self, rows: Iterator[tuple[Any, ...]], declared: dict[str, str]) -> dict[str, set[type]]:
        kinds: dict[str, set[type]] = {name: set() for name in self._names}
        number = 1
        for number, row in enumerate(rows, start=2):
            if not row:
                raise bad_file(f"{place(number)} is empty.")
            beyond = next((at for at, value in enumerate(row[len(self._names) :]) if value is not None), None)
            if beyond is not None:
                letter = get_column_letter(len(self._names) + beyond + 1)
                raise bad_file(f"{place(number)}, column {letter}: there is a value, but the header names no column.")
            for name, value in zip(self._names, row, strict=False):
                kind = self._kind(value, number, name)
                if kind is None:
                    continue
                allowed, words = _DECLARED.get(declared.get(name, "text"), (None, ""))
                if allowed is not None and kind not in allowed:
                    raise bad_file(f"{place(number, name)}: expected {words}.")
                kinds[name].add(kind if declared.get(name) != "text" else str)
        if number == 1:
            raise bad_file("It has no rows or no columns: only a header.")
        return kinds

    def _kind(self, value: Any, row: int, name: str) -> type | None:
        if value is None or (isinstance(value, str) and value in self._missing):
            return None
        if isinstance(value, str) and value in _ERRORS:
            raise bad_file(f"{place(row, name)}: the formula there ends in the error {value}.")
        if isinstance(value, dt.datetime):
            return dt.date if value.time() == dt.time() else dt.datetime
        if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
            return str
        return type(value) if type(value) in _TYPES else str

    def _type(self, name: str, kinds: set[type]) -> pl.DataType:
        if len(kinds) == 1:
            return _TYPES[next(iter(kinds))]
        if kinds == {int, float}:
            return pl.Float64()
        if kinds == {dt.date, dt.datetime}:
            return pl.Datetime("us")
        if kinds:
            words = sorted({"number" if kind in (int, float) else kind.__name__ for kind in kinds})
            self.notes.append(f"Column {name!r} becomes text: it holds {' and '.join(words)}.")
        return pl.String()

    def _values(self, row: tuple[Any, ...]) -> list[Any]:
        padded = [*row[: len(self._names)], *([None] * (len(self._names) - len(row)))]
        return [_as(value, dtype, self._missing) for value, dtype in zip(padded, self.schema.values(), strict=True)]

    def _frame(self, rows: list[list[Any]]) -> pl.DataFrame:
        return pl.DataFrame(rows, schema=self.schema, orient="row")


def _as(value: Any, dtype: pl.DataType, missing: frozenset[str]) -> Any:
    if value is None or (isinstance(value, str) and value in missing):
        return None
    if dtype == pl.String:
        return value if isinstance(value, str) else _text(value)
    if dtype == pl.Float64:
        return float(value)
    if dtype == pl.Date:
        return value.date() if isinstance(value, dt.datetime) else value
    if dtype == pl.Datetime and not isinstance(value, dt.datetime):
        return dt.datetime.combine(value, dt.time())
    return value


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else str(value)
