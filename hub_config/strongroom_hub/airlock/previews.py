"""What a reviewer sees of a file in the page: plain data, never markup, cut at a size that a person can look at."""

from __future__ import annotations

import base64
import csv
import io
from typing import Any

from strongroom_hub.airlock.service import FileContent
from strongroom_hub.problems import Problem

MAX_ROWS, MAX_COLUMNS, MAX_CELL = 200, 100, 500
MAX_TEXT = 64 << 10
MAX_IMAGE = 8 << 20
DELIMITERS = {"csv": ",", "tsv": "\t"}
TEXTS = frozenset({"txt", "md", "json"})


def preview(file: FileContent) -> dict[str, Any]:
    """`table`, `text` or `image` of the wire formats. Raises Problem 415 for what has no preview."""
    if file.type in DELIMITERS:
        return _table(file.content, DELIMITERS[file.type])
    if file.type in TEXTS:
        return _text(file.content)
    if file.type == "png" and len(file.content) <= MAX_IMAGE:
        return {"kind": "image", "mime": "image/png", "base64": base64.b64encode(file.content).decode()}
    raise Problem(
        415,
        "no-preview",
        "There is no preview of this file",
        f"{file.name} cannot be shown in the page.",
        next="Download it and look at it in a program of your own.",
    )


def _table(content: bytes, delimiter: str) -> dict[str, Any]:
    text = content.decode("utf-8-sig", errors="replace")
    rows: list[list[str]] = []
    truncated = False
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if len(rows) > MAX_ROWS:
                truncated = True
                break
            truncated |= len(row) > MAX_COLUMNS or any(len(cell) > MAX_CELL for cell in row)
            rows.append([cell[:MAX_CELL] for cell in row[:MAX_COLUMNS]])
    except csv.Error:
        return _text(content)
    return {"kind": "table", "columns": rows[0] if rows else [], "rows": rows[1:], "truncated": truncated}


def _text(content: bytes) -> dict[str, Any]:
    text = content[:MAX_TEXT].decode("utf-8", errors="replace")
    return {"kind": "text", "text": text, "truncated": len(content) > MAX_TEXT}
