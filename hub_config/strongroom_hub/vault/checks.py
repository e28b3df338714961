"""The automatic checks of a staged file. They inform reviewers and block what may never leave; they never approve.

Findings say where, never what: no value of the file or of a dataset stands in them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from strongroom_hub.vault import filetypes, overlap, tables, views
from strongroom_hub.vault.jobs import ViewJob

Severity = Literal["block", "warn", "pass"]
_SHOWN = 20  # rows or columns named in one finding
_NAME_SHOWN = 80  # characters of a column name
_FEW_ROWS = 50  # up to here a table may be a table of counts without saying so
_COPIED_COLUMNS = 2 / 3  # share of the file's columns by which its rows must match before it counts as copied
_MIN_COPIED_ROWS = 3  # fewer matches than this never block: an aggregate may be one person's value by accident
_COUNT_WORD = re.compile(
    r"(?:^|[^a-z])(?:n|nr|num|number|count|counts|cnt|freq|frequency|size|total|totals|cases|obs|observations|len|"
    r"persons|people|patients|participants|events|deaths)(?:$|[^a-z])"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """From the ticket: allowed types, bytes, the smallest count that may leave, the share of rows that may be raw."""

    types: list[str]
    max_bytes: int
    min_count: int
    max_overlap: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check, as the wire formats define it."""

    check: Literal["type", "size", "small-counts", "row-overlap", "unreadable"]
    severity: Severity
    text: str
    evidence: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"check": self.check, "severity": self.severity, "text": self.text, "evidence": self.evidence}


def check_file(fd: int, name: str, limits: Limits, sources: list[ViewJob]) -> tuple[str, list[Finding]]:
    """The file's type and all findings. Raises Problem when a source cannot be read again: then nothing is known."""
    size = os.fstat(fd).st_size
    data = os.pread(fd, size, 0) if size else b""
    detected = filetypes.detect(data, name, limits.types)
    findings = [_size(len(data), limits)]
    if not data:
        findings.append(Finding("unreadable", "block", "The file is empty."))
    if detected.refusal:
        findings.append(Finding("type", "block", f"This file cannot leave: {detected.refusal}.", detected.evidence))
        return filetypes.UNKNOWN, findings
    findings.append(Finding("type", "pass", f"It is what its name says: {detected.type}.", detected.evidence))
    if detected.type == "png":
        findings.append(Finding("unreadable", "warn", _IMAGE, {"remarks": detected.remarks}))
        findings += [Finding("type", "warn", remark) for remark in detected.remarks]
        return detected.type, findings
    return detected.type, findings + _contents(data, detected.type, limits, sources)


_IMAGE = (
    "An image cannot be checked automatically: a person must look at it, at points that stand for single people too."
)
_TEXT = "Free text cannot be checked automatically: a person must read all of it."
_NO_TABLE = "It cannot be read as a table, so nothing in it could be checked."


def _size(size: int, limits: Limits) -> Finding:
    evidence = {"bytes": size, "limit": limits.max_bytes}
    if size > limits.max_bytes:
        return Finding(
            "size", "block", f"It has {size} bytes; at most {limits.max_bytes} may leave in one file.", evidence
        )
    return Finding("size", "pass", f"It has {size} of at most {limits.max_bytes} bytes.", evidence)


def _contents(data: bytes, file_type: str, limits: Limits, sources: list[ViewJob]) -> list[Finding]:
    table = tables.parse(data, file_type)
    findings = []
    if file_type in filetypes.TEXTS:
        findings.append(Finding("unreadable", "warn", _TEXT))
    elif table is None or table.width == 0:
        return [Finding("unreadable", "block", _NO_TABLE)]
    if table is not None:
        if nested := [name for name, dtype in table.schema.items() if dtype.is_nested() or dtype == pl.Binary]:
            findings.append(_nested(nested))
        findings.append(small_counts(table, limits.min_count))
        findings += [row_overlap(table, source, limits) for source in sources if source.manifest.label != "public"]
    return findings


def _nested(names: list[str]) -> Finding:
    evidence = {"columns": [_shown(name) for name in names[:_SHOWN]]}
    return Finding("unreadable", "block", "Columns hold lists, records or bytes, which cannot be checked.", evidence)


def small_counts(table: pl.DataFrame, min_count: int) -> Finding:
    """Whole numbers from 1 to `min_count` - 1 where a count is to be expected."""
    columns = _count_columns(table)
    cells: list[dict[str, Any]] = []
    total = 0
    for name in columns:
        rows = table[name].cast(pl.Float64).is_between(1, min_count, closed="left").fill_null(value=False).arg_true()
        total += len(rows)
        if len(rows):
            cells.append({"column": _shown(name), "rows": [row + 1 for row in rows.head(_SHOWN).to_list()]})
    if not total:
        return Finding("small-counts", "pass", f"No count below {min_count} was found.", {"columns": len(columns)})
    text = f"{total} count(s) below {min_count}: each may describe a few people. Suppress or merge them."
    return Finding("small-counts", "warn", text, {"cells": cells[:_SHOWN], "total": total, "min_count": min_count})


def _count_columns(table: pl.DataFrame) -> list[str]:
    whole = [name for name in table.columns if _is_whole(table[name])]
    named = [name for name in whole if _COUNT_WORD.search(_words(name))]
    if named or table.height > _FEW_ROWS:
        return named
    label = table.columns[0]  # the first column of a table of counts names its rows
    is_label = table.width > 1 and table[label].n_unique() == table.height
    return [name for name in whole if not (name == label and is_label) and not _is_flag(table[name])]


def _words(name: str) -> str:
    """`nPatients` and `n_patients` alike as `n patients`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").casefold()


def _is_whole(series: pl.Series) -> bool:
    """Non-negative whole numbers, at least one; also where missing cells made floats of them."""
    known = series.drop_nulls()
    if not len(known) or not series.dtype.is_numeric():
        return False
    numbers = known.cast(pl.Float64)
    return bool((numbers.is_finite() & (numbers >= 0) & (numbers == numbers.floor())).all())


def _is_flag(series: pl.Series) -> bool:
    return bool(series.drop_nulls().cast(pl.Float64).is_in([0.0, 1.0]).all())


def row_overlap(table: pl.DataFrame, source: ViewJob, limits: Limits) -> Finding:
    """Rows of the file that occur in one view that the workspace has read. Raises Problem."""
    dataset = f"{source.manifest.dataset} version {source.manifest.version}"
    match = overlap.find(table, views.collect_view(source))
    copied = len(match.rows)
    evidence = {
        "dataset": source.manifest.dataset,
        "version": source.manifest.version,
        "matched": copied,
        "of": table.height,
        "columns": [_shown(name) for name in match.columns[:_SHOWN]],
        "rows": [row + 1 for row in match.rows[:_SHOWN]],
    }
    if not copied:
        return Finding("row-overlap", "pass", f"No row of {dataset} was found in it.", evidence)
    text = f"{copied} of {table.height} rows occur in {dataset}."
    many = copied >= max(limits.min_count, _MIN_COPIED_ROWS)
    share = copied >= _MIN_COPIED_ROWS and copied > limits.max_overlap * table.height
    # A table of extremes (the highest income of each town) repeats single values beside its own numbers: a person
    # must judge it. What consists of copied columns is no such table.
    whole = len(match.columns) > _COPIED_COLUMNS * table.width
    if whole and (many or share):
        return Finding("row-overlap", "block", f"{text} Raw rows may not leave; aggregate them.", evidence)
    return Finding("row-overlap", "warn", f"{text} They may be single people's values.", evidence)


def _shown(name: str) -> str:
    return name[:_NAME_SHOWN]
