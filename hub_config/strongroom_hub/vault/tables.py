"""Reading a staged file as a table, for the checks. What is no table answers None."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import polars as pl

from strongroom_hub.vault import csvtypes

_SEPARATORS = [",", "\t", ";", "|", None]  # None: runs of blanks, as `print(frame)` aligns
_SAMPLE = 200  # lines that must agree before text counts as a table


def parse(data: bytes, file_type: str) -> pl.DataFrame | None:
    """The table in a file of this type; None where there is none. Never raises on bad content."""
    try:
        if file_type == "parquet":
            return pl.read_parquet(io.BytesIO(data), hive_partitioning=False)
        text = data.decode("utf-8-sig")
        if file_type == "json":
            return _from_json(text)
        if file_type == "tsv":
            return _from_csv(text, "\t")
        if file_type == "csv":
            return _from_csv(text, _csv_separator(text))
        return _from_text(text)
    except (pl.exceptions.PolarsError, csv.Error, ValueError, TypeError, RecursionError, OverflowError):
        return None


def _csv_separator(text: str) -> str:
    header = text.split("\n", 1)[0]
    return "," if "," in header else next((mark for mark in (";", "\t") if mark in header), ",")


def _from_csv(text: str, separator: str) -> pl.DataFrame | None:
    if not text.strip():
        return None
    return csvtypes.read(text.encode(), separator=separator)


def _from_text(text: str) -> pl.DataFrame | None:
    lines = [line.strip().strip("|").strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not re.fullmatch(r"[-|:+=\s]+", line)]
    if len(lines) < 2:  # noqa: PLR2004 - a header and a row
        return None
    for separator in _SEPARATORS:
        rows = [_split(line, separator) for line in lines]
        widths = {len(row) for row in rows[:_SAMPLE]}
        if len(widths) == 1 and widths != {1} and all(len(row) == len(rows[0]) for row in rows):
            return _from_rows(rows)
    return None


def _split(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    return [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]


def _from_rows(rows: list[list[str]]) -> pl.DataFrame | None:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return _from_csv(out.getvalue(), ",")


def _from_json(text: str) -> pl.DataFrame | None:
    value: Any = json.loads(text)
    if isinstance(value, dict) and set(value) >= {"columns", "data"}:  # pandas orient="split"
        value = [dict(zip(value["columns"], row, strict=True)) for row in value["data"]]
    if isinstance(value, dict) and value and all(isinstance(column, dict) for column in value.values()):  # "columns"
        value = {name: list(column.values()) for name, column in value.items()}
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return pl.DataFrame(value, infer_schema_length=None, strict=False)
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        return pl.DataFrame(value, strict=False)
    return None
