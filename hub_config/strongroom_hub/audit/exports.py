"""The log in forms that other programs read: JSON lines, OCSF events for a SIEM, a Parquet table for analysts.

All are made from the entries' own bytes, of a log that was verified before. Payloads are never part of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from strongroom_hub.audit import entries as leaves
from strongroom_hub.audit.entries import BEGINS, Action
from strongroom_hub.audit.ocsf import event
from strongroom_hub.audit.store import StoredLog

MISSING = "missing"
"""Status of a cell whose end is not in the log: its kernel or server was killed, or it still ran then."""
_GROUP = 50_000
"""Entries that one row group of the Parquet file holds."""
_COLUMNS = pa.schema(
    [
        ("index", pa.int64()),
        ("time", pa.timestamp("ms", tz="UTC")),
        ("action", pa.string()),
        ("actor", pa.string()),
        ("project", pa.string()),
        ("server", pa.string()),
        ("kernel", pa.string()),
        ("object", pa.string()),
        ("label", pa.string()),
        ("sources", pa.list_(pa.string())),
        ("cell", pa.string()),
        ("begin", pa.int64()),
        ("end", pa.int64()),
        ("status", pa.string()),
        ("duration_ms", pa.int64()),
        ("shown", pa.int64()),
        ("withheld", pa.int64()),
        ("payload_subject", pa.string()),
        ("detail", pa.string()),
    ]
)


def write_json_lines(log: StoredLog, size: int, file: Path) -> None:
    """Each line is an entry's exact bytes: hashed after a zero byte, it is a leaf of the tree."""
    _write_lines(file, (leaf for leaf, _ in _parsed(log, size)))


def write_ocsf(log: StoredLog, size: int, file: Path, *, origin: str) -> None:
    """One OCSF event a line. `origin`: the log's name."""
    _write_lines(file, (to_line(event(fields, leaf, origin)) for leaf, fields in _parsed(log, size)))


def write_parquet(log: StoredLog, size: int, file: Path) -> None:
    """A row for each entry. `end` and `status` of a begin are those of its end; a status `missing` has none."""
    ends = {
        fields["detail"].get("begin"): (fields["index"], fields["detail"].get("status"))
        for _, fields in _parsed(log, size)
        if fields["action"] == Action.CELL_END
    }
    with file.open("xb") as out, pq.ParquetWriter(out, _COLUMNS, compression="zstd") as table:
        rows: list[dict[str, Any]] = []
        for _, fields in _parsed(log, size):
            rows.append(_row(fields, ends))
            if len(rows) == _GROUP:
                table.write_table(pa.Table.from_pylist(rows, _COLUMNS))
                rows = []
        table.write_table(pa.Table.from_pylist(rows, _COLUMNS))


WRITERS: dict[str, Callable[[StoredLog, int, Path, str], None]] = {
    "jsonl": lambda log, size, file, _: write_json_lines(log, size, file),
    "ocsf": lambda log, size, file, origin: write_ocsf(log, size, file, origin=origin),
    "parquet": lambda log, size, file, _: write_parquet(log, size, file),
}
"""By the name of the form: log, size, file, the log's name."""


def to_line(value: dict[str, Any]) -> bytes:
    """JSON without a newline in it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _parsed(log: StoredLog, size: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for entry in log.entries(size):
        if entry.index < size:
            yield entry.leaf, leaves.parse(entry.leaf)


def _write_lines(file: Path, lines: Iterable[bytes]) -> None:
    with file.open("xb") as out:
        for line in lines:
            out.write(line + b"\n")


def _row(fields: dict[str, Any], ends: dict[int, tuple[int, str | None]]) -> dict[str, Any]:
    detail = fields["detail"]
    end, status = ends.get(fields["index"], (None, detail.get("status")))
    if fields["action"] in BEGINS and end is None:
        status = MISSING
    return {
        name: fields.get(name) for name in ("index", "action", "actor", "project", "server", "kernel", "object")
    } | {
        "time": datetime.fromisoformat(fields["time"]),
        "label": fields["label"],
        "sources": fields["sources"],
        "cell": detail.get("cell"),
        "begin": detail.get("begin"),
        "end": end,
        "status": status,
        **{name: detail.get(name) for name in ("duration_ms", "shown", "withheld")},
        "payload_subject": (fields.get("payload") or {}).get("subject"),
        "detail": to_line(detail).decode(),
    }
