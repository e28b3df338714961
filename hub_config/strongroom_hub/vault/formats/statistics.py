"""SAS, Stata and SPSS through pyreadstat: labels and code lists come with the data.

ReadStat is C code that parses somebody else's bytes: it runs in a worker like everything here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import polars as pl
import pyreadstat

from strongroom_hub.vault.formats.table import Told, bad_file, check_names, storable

BATCH = 200_000
"""Rows of a batch: packed files are read from their beginning for each, so there should be few."""
_READERS: dict[str, Callable[..., Any]] = {
    "sas": pyreadstat.read_sas7bdat,
    "xport": pyreadstat.read_xport,
    "stata": pyreadstat.read_dta,
    "spss": pyreadstat.read_sav,
}
_NAMES = {"sas": "a SAS dataset", "xport": "a SAS transport file", "stata": "a Stata file", "spss": "an SPSS file"}


class StatisticsTable:
    """A file of a statistics package; `kind` is one of `_READERS`."""

    def __init__(self, stream: BinaryIO, kind: str) -> None:
        self._stream = stream
        self._kind = kind
        self.notes: list[str] = []
        first, about = self._read(0, BATCH)
        check_names(list(about.column_names))
        if first.height == 0:
            raise bad_file("It has no rows or no columns.")
        self.schema = self._schema(first)
        codes = about.variable_value_labels
        self.told = {
            name: Told(label or "", {_code(value): str(text) for value, text in codes.get(name, {}).items()})
            for name, label in zip(about.column_names, about.column_labels, strict=True)
            if label or name in codes
        }
        if self.told:
            self.notes.append(f"Descriptions or code lists of {len(self.told)} columns were taken from the file.")

    def batches(self) -> Iterator[pl.DataFrame]:
        start = 0
        while True:
            frame, _ = self._read(start, BATCH)
            if frame.height == 0:
                return
            try:
                yield frame.cast(pl.Schema(self.schema))
            except pl.exceptions.PolarsError as error:
                raise bad_file(
                    f"A column holds values of another type after row {start + 1} than before it."
                ) from error
            start += frame.height
            if frame.height < BATCH:
                return

    def _schema(self, first: pl.DataFrame) -> dict[str, pl.DataType]:
        """Types by the whole file: the numbers of these formats are floats, and whole ones should look it."""
        schema = storable(dict(first.schema))
        whole = {name for name, dtype in schema.items() if dtype.is_float()}
        empty = {name for name, dtype in first.schema.items() if isinstance(dtype, pl.Null)}
        start, frame = 0, first
        while True:
            whole -= {name for name in whole if not _is_whole(frame[name])}
            for name in list(empty):
                if not isinstance(frame.schema[name], pl.Null):
                    schema[name] = storable({name: frame.schema[name]})[name]
                    empty.discard(name)
            start += frame.height
            if frame.height < BATCH:
                break
            frame, _ = self._read(start, BATCH)
        return {name: pl.Int64() if name in whole else dtype for name, dtype in schema.items()}

    def _read(self, start: int, rows: int) -> tuple[pl.DataFrame, Any]:
        self._stream.seek(0)
        try:
            frame, about = _READERS[self._kind](self._stream, output_format="polars", row_offset=start, row_limit=rows)
        except Exception as error:  # ReadStat's errors share no other base
            raise bad_file(f"It cannot be read as {_NAMES[self._kind]} ({type(error).__name__}).") from error
        return frame, about


def _is_whole(series: pl.Series) -> bool:
    if isinstance(series.dtype, pl.Null):
        return True
    if not series.dtype.is_float():
        return False
    known = series.drop_nulls()
    return bool(((known == known.floor()) & (known.abs() < 2**53)).all())


def _code(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
