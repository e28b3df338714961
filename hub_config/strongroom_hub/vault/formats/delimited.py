"""CSV and its relatives: structure checked record by record, types by every value, both in blocks of a few megabytes.

Two passes over the file. The first finds the blocks (each ends with a record), checks fields, quotes and encoding, and
narrows the types; the second converts. Rows are counted as a spreadsheet does: the header is row 1.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import polars as pl

from strongroom_hub.problems import Problem
from strongroom_hub.vault import csvtypes
from strongroom_hub.vault.csvtypes import Forms, Guess, MistypedError
from strongroom_hub.vault.formats.records import Records
from strongroom_hub.vault.formats.table import Told, bad_file, check_names, place

BLOCK = 8 << 20
_SEPARATORS = ",;\t|"
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text file is written; `separator` None: the likeliest by its header."""

    encoding: str = "utf-8"
    separator: str | None = None
    forms: Forms = field(default_factory=Forms)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Block:
    offset: int
    length: int
    rows: int


class DelimitedTable:
    """A text file that was read once; `declared`: types by column, as `ColumnAbout.type`."""

    def __init__(self, stream: BinaryIO, dialect: Dialect, declared: dict[str, str]) -> None:
        self._stream = io.BufferedReader(stream, 1 << 20) if isinstance(stream, io.RawIOBase) else stream
        self._dialect = dialect
        begin = self._begin()
        records = Records(self._stream, dialect.encoding, begin)
        self._names = records.header(dialect.separator or _SEPARATORS)
        self._separator = records.style.separator.decode()
        check_names(self._names)
        self._forms = Forms(dialect.forms.decimal, dialect.forms.dates)
        guesses = [Guess(self._forms, declared.get(name)) for name in self._names]
        self._blocks = self._look(records, guesses)
        self._decided = [guess.decide() for guess in guesses]
        self.schema = {
            name: convert_type(decided, self._forms) for name, decided in zip(self._names, self._decided, strict=True)
        }
        self.told: dict[str, Told] = {}
        self.notes = [
            f"Column {name!r} {guess.remark}."
            for name, guess in zip(self._names, guesses, strict=True)
            if guess.remark is not None
        ]

    def batches(self) -> Iterator[pl.DataFrame]:
        for block in self._blocks:
            self._stream.seek(block.offset)
            texts = self._parse(self._stream.read(block.length), block.rows)
            pairs = zip(texts.iter_columns(), self._decided, strict=True)
            yield pl.DataFrame([csvtypes.convert(series, decided, self._forms) for series, decided in pairs])

    def _begin(self) -> int:
        """Where the text begins: behind a byte order mark. Raises Problem for other encodings and for no text."""
        head = self._stream.read(len(_UTF8_MARK))
        if not head:
            raise bad_file("It is empty: no header and no rows.")
        for mark, name in _MARKS.items():
            if head.startswith(mark):
                raise bad_file(f"It is {name} text.", next="Save it as UTF-8 and add it again; nothing was kept.")
        return len(_UTF8_MARK) if head == _UTF8_MARK and self._dialect.encoding == "utf-8" else 0

    def _look(self, records: Records, guesses: list[Guess]) -> list[_Block]:
        blocks, row = [], 2
        for offset, content, rows in records.blocks(BLOCK):
            try:
                texts = self._parse(content, rows)
            except Problem:
                records.explain(content, row)
                raise
            row += rows
            for name, series, guess in zip(self._names, texts.iter_columns(), guesses, strict=True):
                try:
                    guess.see(series)
                except MistypedError as error:
                    raise bad_file(f"{place(error.row + 2, name)}: expected {error.words}.") from error
            blocks.append(_Block(offset, len(content), rows))
        if not blocks:
            raise bad_file("It has no rows or no columns: only a header.")
        return blocks

    def _parse(self, content: bytes, rows: int) -> pl.DataFrame:
        if self._dialect.encoding != "utf-8":
            content = content.decode(self._dialect.encoding).encode()
        try:
            texts = pl.read_csv(
                content,
                has_header=False,
                new_columns=self._names,
                schema_overrides=dict.fromkeys(self._names, pl.String),
                separator=self._separator,
                infer_schema=False,
                null_values=list(self._dialect.missing) or None,
                glob=False,
            )
        except pl.exceptions.PolarsError as error:
            raise bad_file(f"It cannot be read as csv ({type(error).__name__}).") from error
        if texts.height != rows or texts.width != len(self._names):
            raise bad_file(f"{rows} rows by its quotes and line ends, but {texts.height} were understood.")
        return texts


def convert_type(decided: csvtypes.Attempt | None, forms: Forms) -> pl.DataType:
    """The type that columns of this decision have."""
    return csvtypes.convert(pl.Series([], dtype=pl.String), decided, forms).dtype
