"""One way to write a file of rows: columns aligned, quotes where they are needed, every comment and line kept.

Rows of one kind are aligned with each other up to the next blank line. A comment that names their columns is aligned
with them. Line numbers stay as they are, so that messages and history go on meaning the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strongroom_policy.adapter import CellError, cells, decode
from strongroom_policy.cases import COLUMNS
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.files import TESTS_FILE
from strongroom_policy.rows import FIELDS
from strongroom_policy.vocabulary import suggest

_COMMENT = re.compile(r"\s#")


@dataclass(frozen=True, slots=True)
class _Line:
    """`kind` names the kind of row, is empty for a row of tests.csv, and None for a comment or a blank line."""

    text: str
    kind: str | None = None
    cells: tuple[str, ...] = ()
    header: bool = False


def formatted(raw: bytes, file: str) -> str:
    """The text of a file of rules or of tests as it should be written. Formatting it again changes nothing.

    Raises PolicyError for lines that are no rows: what is not understood is not touched.
    """
    lines, findings = _read(raw, file)
    if findings:
        raise PolicyError(tuple(findings))
    out: list[str] = []
    block: list[_Line] = []
    for line in [*lines, _Line("")]:
        if line.text or line.kind is not None:
            block.append(line)
            continue
        out += _aligned(_with_headers(block))
        out.append("")
        block = []
    return "\n".join(out).rstrip("\n") + "\n" if any(out) else ""


def _read(raw: bytes, file: str) -> tuple[list[_Line], list[Finding]]:
    try:
        texts = decode(raw, file).split("\n")
    except CellError as error:
        return [], [Finding(file, int(str(error).rpartition(":")[2]), "this is not UTF-8 text")]
    lines: list[_Line] = []
    findings: list[Finding] = []
    for number, whole in enumerate(texts, start=1):
        text = whole.strip()
        try:
            lines.append(_Line(whole.rstrip()) if not text or text.startswith("#") else _row(whole, file))
        except CellError as error:
            findings.append(Finding(file, number, str(error)))
    return lines, findings


def _row(whole: str, file: str) -> _Line:
    found = cells(whole.rstrip("\r\n"))
    kind = "" if file == TESTS_FILE else found[0]
    if kind not in FIELDS and file != TESTS_FILE:
        raise CellError(f"unknown kind of row {kind!r} - {suggest(kind, FIELDS)}")
    named = ("", *FIELDS[kind]) if kind else COLUMNS
    if not kind and len(found) != len(COLUMNS):
        raise CellError(f"a test has {len(COLUMNS)} fields, this one has {len(found)}")
    reason = len(named) - 1 if named[-1] == "why" else None
    return _Line(whole, kind, tuple(_written(cell, always=number == reason) for number, cell in enumerate(found)))


def _written(cell: str, *, always: bool) -> str:
    special = "," in cell or '"' in cell or cell.startswith("#") or _COMMENT.search(cell)
    if special or (always and cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _with_headers(block: Sequence[_Line]) -> list[_Line]:
    """Comments that name the columns of the rows below them, divided like those."""
    done: list[_Line] = []
    kind: str | None = None
    for line in reversed(block):
        kind = kind if line.kind is None else line.kind
        done.append(_header(line, kind) if line.kind is None and kind is not None else line)
    return done[::-1]


def _header(line: _Line, kind: str) -> _Line:
    names = FIELDS.get(kind, ()) if kind else COLUMNS
    try:
        found = cells(line.text.lstrip("# \t"))
    except CellError:
        return line
    if not names or found[0] != names[0] or len(found) > len(names):
        return line
    first = ("#", *found) if kind else (f"# {found[0]}", *found[1:])
    return _Line(line.text, kind, first, header=True)


def _aligned(block: Sequence[_Line]) -> Iterable[str]:
    widths: dict[str, list[int]] = {}
    for line in block:
        if line.kind is not None:
            held = widths.setdefault(line.kind, [])
            held += [0] * (len(line.cells) - len(held))
            for number, cell in enumerate(line.cells):
                held[number] = max(held[number], len(cell))
    return [line.text if line.kind is None else _joined(line, widths[line.kind]) for line in block]


def _joined(line: _Line, widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(line.cells[:-1], widths, strict=False)]
    first = "  " if line.header and line.kind else ", "
    if not padded:
        return line.cells[-1]
    return (padded[0] + first + ", ".join([*padded[1:], line.cells[-1]])).rstrip()
