"""What the first view of a process would pay for, paid before: code and memory that are touched for the first time."""

from __future__ import annotations

import os
from datetime import date
from typing import Any

import polars as pl

from strongroom_hub.vault import arrowfile, memfd, views
from strongroom_hub.vault.jobs import ViewJob, encode_keys
from strongroom_hub.vault.manifest import FOOTER, FORMAT, Part, aad_prefix
from strongroom_hub.vault.partwriter import COMPRESSION

_ROWS = 1_000
_KEY = bytes(32)  # of nothing but these rows
_TIMES = 2
_MASKS: dict[str, dict[str, Any]] = {
    "hashed": {"method": "hash"},
    "prefix": {"method": "prefix", "characters": 3},
    "band": {"method": "generalise", "width": "5"},
    "rounded": {"method": "round", "decimals": 1},
    "month": {"method": "date", "unit": "month"},
}


def rehearse() -> None:
    """A small view of made-up rows, filtered and masked, through all that a view goes through."""
    stored = _made_up()
    part, job = Part(name="part-00000.parquet", sha256="0" * 64, bytes=0, rows=_ROWS), _job(stored)
    fd = memfd.create("strongroom-rehearsal")
    try:
        job = job | {"manifest": job["manifest"] | {"parts": [part.model_dump()]}}
        stored.write_parquet(
            memfd.path(fd),
            compression=COMPRESSION,
            encryption=pl.ParquetEncryptionProperties(
                footer_key=_KEY,
                column_keys=dict.fromkeys(stored.columns, _KEY),
                aad_prefix=aad_prefix(job["manifest"]["dataset"], 1, part.name),
            ),
        )
        for _ in range(_TIMES):
            _perform(ViewJob.from_json(job), part, fd)
    finally:
        os.close(fd)


def _perform(job: ViewJob, part: Part, fd: int) -> None:
    target = memfd.create("strongroom-rehearsal")
    try:
        arrowfile.write(views.seen(job, views.scan_part(job, part, fd)), target)
    finally:
        os.close(target)


def _made_up() -> pl.DataFrame:
    row = pl.int_range(_ROWS)
    text = "made up: " + row.cast(pl.String)
    gap = row % 7 == 0
    return pl.select(
        text=pl.when(~gap).then(text).otherwise(None),
        hashed=text,
        prefix=text,
        whole=pl.when(~gap).then(row).otherwise(None),
        band=row,
        number=pl.when(~gap).then(row / 7).otherwise(None),
        rounded=row / 7,
        truth=row % 2 == 0,
        day=pl.when(~gap).then(pl.lit(date(2000, 1, 1)) + pl.duration(days=row)).otherwise(None),
        month=pl.lit(date(2000, 1, 1)) + pl.duration(days=row),
    ).with_columns(at=pl.col("month").cast(pl.Datetime("us")))


def _job(stored: pl.DataFrame) -> dict[str, Any]:
    manifest = {
        "format": FORMAT,
        "dataset": "made/up",
        "version": 1,
        "label": "public",
        "rows": _ROWS,
        "columns": [{"name": name, "type": str(dtype)} for name, dtype in stored.schema.items()],
    }
    return {
        "folder": "/",
        "manifest": manifest,
        "columns": stored.columns,
        "masks": _MASKS,
        "rows": ["whole > 10 and text is not null"],
        "keys": encode_keys(dict.fromkeys([FOOTER, *stored.columns], _KEY)),
        "project_key": "00",
        "checked": {},
        "group": "table",
        "tokens": None,
    }
