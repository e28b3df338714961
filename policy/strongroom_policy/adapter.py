"""Strict readers of the admin's files: lines and cells of CSV, TOML, model.conf.

Casbin's own file adapter skips what it does not understand; here every line is a row, a comment, blank, or refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from sys import intern
from typing import Any

from strongroom_policy.errors import Finding
from strongroom_policy.rows import BUILT_IN, Row, invisible
from strongroom_policy.vocabulary import CLEARANCES, NEEDS

MODEL = """\
[request_definition]
r = sub, purpose, obj, tags, label, act, now
[policy_definition]
p = id, sub, act, obj, purpose, since, until, eft, why
p2 = id, sub, act, obj, purpose, kind, value, unless, why
[role_definition]
g = _, _
g2 = _, _
g3 = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = isA(r.sub, p.sub) && within(r.obj, r.tags, p.obj) && actIs(r.act, p.act, p.eft) && \
forPurpose(r.sub, r.purpose, p.purpose, p.eft) && inWindow(r.now, p.since, p.until) && \
cleared(r.sub, r.act, r.label, p.eft)
"""
"""What model.conf must say. The index and the explanations rely on it, so another model is another release."""

_TOML_LINE = re.compile(r"at line ([0-9]+)")
_BOM = b"\xef\xbb\xbf"


class CellError(ValueError):
    """A line that is not CSV as we read it; the text says why."""


def decode(raw: bytes, file: str) -> str:
    """UTF-8 text, with or without a byte order mark. Raises CellError with the line where it is not."""
    body = raw.removeprefix(_BOM)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise CellError(f"{file}:{line}") from None


def lines(raw: bytes, file: str, findings: list[Finding]) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither blank nor a comment; text that is not UTF-8 is one finding."""
    try:
        text = decode(raw, file)
    except CellError as error:
        at = int(str(error).rpartition(":")[2])
        findings.append(Finding(file, at, "this is not UTF-8 text", "save the file with the encoding UTF-8"))
        return
    for number, whole in enumerate(text.split("\n"), start=1):
        line = whole.removesuffix("\r")
        if len(line.splitlines()) > 1:
            # an editor may show what follows as a line of its own: behind a comment it would look like a row
            findings.append(Finding(file, number, "a line break that is none hides in this line", "retype the line"))
        elif line.strip() and not line.strip().startswith("#"):
            yield number, line


def csv_lines(raw: bytes, file: str, findings: list[Finding]) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line; a line that cannot be divided is a finding."""
    for number, line in lines(raw, file, findings):
        bad = invisible(line.replace("\t", " "))
        if bad:
            findings.append(Finding(file, number, f"the line holds the invisible character {bad}", "retype the line"))
            continue
        try:
            yield number, cells(line)
        except CellError as error:
            findings.append(Finding(file, number, str(error)))


def cells(line: str) -> list[str]:
    """Divide one line at its commas: blanks around cells are dropped, `"..."` holds commas and `""` is a quote.

    Raises CellError for an open quote, text beside quotes, or a comment behind the row.
    """
    if '"' not in line and "#" not in line:
        return [cell.strip() for cell in line.split(",")]
    found: list[str] = []
    position = 0
    while True:
        cell, position = _cell(line, position)
        found.append(cell)
        if position >= len(line):
            return found
        position += 1  # the comma; if it ends the line, one empty cell follows
        if position == len(line):
            return [*found, ""]


def _cell(line: str, start: int) -> tuple[str, int]:
    while start < len(line) and line[start].isspace():
        start += 1
    if start < len(line) and line[start] == '"':
        return _quoted(line, start + 1)
    comma = line.find(",", start)
    end = len(line) if comma < 0 else comma
    cell = line[start:end].strip()
    if '"' in cell:
        raise CellError(f"a quote inside {cell!r} - put the whole cell in quotes and write each inner quote twice")
    if cell.startswith("#") or re.search(r"\s#", cell):
        raise CellError("a comment behind a row - give it a line of its own, or put the cell in quotes")
    return cell, end


def _quoted(line: str, start: int) -> tuple[str, int]:
    text: list[str] = []
    position = start
    while True:
        close = line.find('"', position)
        if close < 0:
            raise CellError(f"the quote before {line[start : start + 20]!r} is never closed")
        text.append(line[position:close])
        if line[close + 1 : close + 2] != '"':
            break
        text.append('"')
        position = close + 2
    comma = line.find(",", close + 1)
    end = len(line) if comma < 0 else comma
    behind = line[close + 1 : end].strip()
    if behind:
        raise CellError(f"{behind!r} stands behind a closing quote - a cell is quoted as a whole or not at all")
    return "".join(text).strip(), end


def shared(row: Row) -> Row:
    """The same row, its words kept once however many rows say them.

    A decision then meets the few words of a large policy in the processor's cache, and compares them by identity.
    """
    return Row(intern(row.ptype), tuple(map(intern, row.fields)), row.origin, row.line)


def read_rows(raw: bytes, file: str, findings: list[Finding]) -> list[Row]:
    """All rows of a policy file, not yet understood."""
    return [shared(Row(found[0], tuple(found[1:]), file, number)) for number, found in csv_lines(raw, file, findings)]


def built_in_rows() -> list[Row]:
    """What no file can take away: what needs what, and that a clearance includes the lower ones."""
    needs = [Row("g3", pair, BUILT_IN) for pair in NEEDS]
    return needs + [Row("g", (CLEARANCES[n], CLEARANCES[n - 1]), BUILT_IN) for n in range(len(CLEARANCES) - 1, 0, -1)]


def check_model(raw: bytes, file: str, findings: list[Finding]) -> None:
    """Refuse a model.conf that says anything else than MODEL (comments, blanks and line breaks aside)."""
    wanted = _statements([(0, line) for line in MODEL.splitlines()])
    got = _statements(list(lines(raw, file, findings)))
    if findings:
        return
    for (_, meant), (number, said) in zip(wanted, got, strict=False):
        if meant != said:
            findings.append(Finding(file, number, f"the model says {said!r}", f"this release needs {meant!r}"))
            return
    if len(got) != len(wanted):
        missing = wanted[len(got)][1] if len(got) < len(wanted) else ""
        extra = "" if missing else got[len(wanted)][1]
        line = got[len(wanted)][0] if extra else 0
        message = f"the model lacks {missing!r}" if missing else f"the model says {extra!r} beyond its end"
        findings.append(Finding(file, line, message, "take the model.conf of this release"))


def _statements(numbered: list[tuple[int, str]]) -> list[tuple[int, str]]:
    joined: list[tuple[int, str]] = []
    open_line = False
    for number, line in numbered:
        text = line.strip()
        more = text.endswith("\\")
        text = text.removesuffix("\\")
        if open_line:
            joined[-1] = (joined[-1][0], joined[-1][1] + text)
        else:
            joined.append((number, text))
        open_line = more
    return [(number, re.sub(r"\s+", "", text)) for number, text in joined]


def read_toml(raw: bytes, file: str, findings: list[Finding]) -> dict[str, Any] | None:
    """The tables of a TOML file; None, and a finding, where it is none."""
    try:
        return tomllib.loads(decode(raw, file))
    except CellError as error:
        line = int(str(error).rpartition(":")[2])
        findings.append(Finding(file, line, "this is not UTF-8 text", "save the file with the encoding UTF-8"))
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        findings.append(Finding(file, int(found[1]) if found else 0, f"this is not TOML: {error}"))
    return None
