"""Where the records of a delimited text end, and whether each is whole: fields, quotes, encoding.

A block without quotes is checked by counting; only where the counts do not add up, or where there are quotes, is it
looked at record by record.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from strongroom_hub.problems import Problem
from strongroom_hub.vault.formats.table import bad_file, place

MAX_RECORD = 16 << 20
"""Bytes of one record."""
_QUOTED = re.compile(rb'"(?:[^"]|"")*"')
_ENDS = (b"\n", b"\r\n")
_NAMES = {"utf-8": "UTF-8", "latin-1": "Latin-1", "windows-1252": "Windows-1252"}


@dataclass(frozen=True, slots=True)
class Style:
    """Encoding, separator and number of fields of every record."""

    encoding: str
    separator: bytes
    width: int


class QuoteError(Exception):
    """A record whose quotes are wrong in the field of this number (from 0); `open`: its end may just be missing."""

    def __init__(self, field: int, words: str, *, unclosed: bool = False) -> None:
        super().__init__(words)
        self.field = field
        self.words = words
        self.unclosed = unclosed


class Records:
    """Goes through a text once, from `begin` on."""

    def __init__(self, stream: BinaryIO, encoding: str, begin: int) -> None:
        stream.seek(begin)
        self._stream = stream
        self._offset = begin
        self._row = 1
        self.style = Style(encoding, b",", 0)

    def header(self, separators: str) -> list[str]:
        """The names; `style` then has their number and whichever of the separators divides them. Raises Problem."""
        raw = self._line(0)
        separator = max((mark.encode() for mark in separators), key=_QUOTED.sub(b"", raw).count)
        self.style = Style(self.style.encoding, separator, 0)
        raw = self._finished(raw, 1)
        text = raw.rstrip(b"\r\n")
        self._decode(text, 1)
        if b"\r" in _QUOTED.sub(b"", text):
            raise bad_file(
                "Its lines end in a carriage return alone.",
                next="Save it with ordinary line ends and add it again; nothing was kept.",
            )
        try:
            fields = split(raw, separator)
        except QuoteError as error:
            raise _misquoted(1, error) from error
        self.style = Style(self.style.encoding, separator, len(fields))
        self._offset += len(raw)
        self._row = 2
        return [_plain(field).decode(self.style.encoding) for field in fields]

    def blocks(self, size: int) -> Iterator[tuple[int, bytes, int]]:
        """(Offset, bytes, rows) of pieces of about `size` bytes, each of whole and well-formed records."""
        while content := self._stream.read(size):
            if not content.endswith(b"\n"):
                content += self._line(len(content) - content.rfind(b"\n") - 1)
            rows = self._counted(content)
            if rows is None:
                content, rows = self._looked_at(content)
            if rows:
                yield self._offset, content, rows
            self._offset += len(content)
            self._row += rows

    def _counted(self, content: bytes) -> int | None:
        """The rows of a block that is well-formed at a glance; None: look closely."""
        if b'"' in content or content.startswith(_ENDS) or b"\n\n" in content or b"\n\r\n" in content:
            return None
        # the parser refuses a line of too many fields: where their sum is right, none has too few either
        lines = content.count(b"\n") + (not content.endswith(b"\n"))
        if content.count(self.style.separator) != lines * (self.style.width - 1):
            return None
        try:
            content.decode(self.style.encoding)
        except UnicodeDecodeError:
            return None
        return lines

    def explain(self, content: bytes, row: int) -> None:
        """Raises Problem for the first record that is not whole; the block begins at `row` and a parser refused it."""
        self._row = row
        self._looked_at(content)

    def _looked_at(self, content: bytes) -> tuple[bytes, int]:
        """The records of a block and their number; blank lines are allowed at the very end of the file only."""
        lines = io.BytesIO(content)
        taken, rows = bytearray(), 0
        while line := lines.readline():
            row = self._row + rows
            if line in _ENDS:
                self._expect_only_blanks(lines, row)
                break
            record = self._finished(line, row, lines)
            self._check(record, row)
            taken += record
            rows += 1
        return bytes(taken), rows

    def _expect_only_blanks(self, lines: BinaryIO, row: int) -> None:
        for source in (lines, self._stream):
            while line := source.readline(MAX_RECORD):
                if line not in _ENDS:
                    raise bad_file(f"{place(row)} is empty.")

    def _finished(self, record: bytes, row: int, lines: BinaryIO | None = None) -> bytes:
        """The record with the further lines that a quoted field runs over."""
        if record.count(b'"') % 2:
            try:
                split(record, self.style.separator)
            except QuoteError as error:
                if not error.unclosed:
                    raise _misquoted(row, error) from error
        while record.count(b'"') % 2:
            more = (lines.readline() if lines is not None else b"") or self._line(len(record))
            if not more:
                raise bad_file(f"{place(row)}: unexpected end of data in a quoted field.")
            record += more
        return record

    def _line(self, record: int) -> bytes:
        """The next line of the file; `record`: bytes of the record that it belongs to."""
        line = self._stream.readline(MAX_RECORD + 1)
        if record + len(line) > MAX_RECORD:
            raise bad_file(f"A line or a quoted field is longer than {MAX_RECORD >> 20} MiB.")
        return line

    def _check(self, record: bytes, row: int) -> None:
        self._decode(record, row)
        try:
            found = len(split(record, self.style.separator))
        except QuoteError as error:
            raise _misquoted(row, error) from error
        width = self.style.width
        if found != width:
            where = f"{place(row)}, column {min(found, width) + 1}"
            raise bad_file(f"{where}: the row has {found} fields, the header has {width}.")

    def _decode(self, record: bytes, row: int) -> None:
        try:
            record.decode(self.style.encoding)
        except UnicodeDecodeError as error:
            column = record[: error.start].count(self.style.separator) + 1
            name = _NAMES[self.style.encoding]
            raise bad_file(
                f"{place(row)}, column {column}: it is not {name} text.",
                next=f"Save it as UTF-8, or say how it is written (`encoding`: {', '.join(_NAMES)}); nothing was kept.",
            ) from error


def split(record: bytes, separator: bytes) -> list[bytes]:
    """The fields as they stand, with their quotes. Raises QuoteError."""
    text = record.rstrip(b"\r\n") if record.endswith(b"\n") else record
    fields: list[bytes] = []
    at = 0
    while True:
        if text[at : at + 1] == b'"':
            quoted = _QUOTED.match(text, at)
            if quoted is None:
                raise QuoteError(len(fields), "a quote is never closed", unclosed=True)
            end = quoted.end()
            if end < len(text) and text[end : end + 1] != separator:
                raise QuoteError(len(fields), "there is text behind a closing quote")
        else:
            found = text.find(separator, at)
            end = len(text) if found < 0 else found
            if b'"' in text[at:end]:
                raise QuoteError(len(fields), "a quote stands within a field that does not begin with one")
        fields.append(text[at:end])
        if end >= len(text):
            return fields
        at = end + 1


def _plain(field: bytes) -> bytes:
    return field[1:-1].replace(b'""', b'"') if field.startswith(b'"') else field


def _misquoted(row: int, error: QuoteError) -> Problem:
    return bad_file(f"{place(row)}, column {error.field + 1}: {error.words}.")
