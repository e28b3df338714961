"""Taking a table in, batch by batch: parse it strictly, look at it, write encrypted parts.

Runs in a worker: the file is somebody else's, and a parser that dies must not take the vault with it. Of the data no
more than one part and one batch is in memory, however large the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from strongroom_hub.vault import partwriter
from strongroom_hub.vault.findings import Findings
from strongroom_hub.vault.formats.opening import Format, open_table
from strongroom_hub.vault.formats.table import Table, bad_file
from strongroom_hub.vault.manifest import FORMAT, Column, Manifest
from strongroom_hub.vault.partwriter import new_keys, pieces, write_part
from strongroom_hub.vault.synthetic_store import Sample, add_twin
from strongroom_hub.vault.tickets import Plan

IDENTIFIER = "direct-identifier"


@dataclass(frozen=True, slots=True)
class Target:
    """The draft version that is filled."""

    folder: Path
    dataset: str
    version: int
    label: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of it: `report` is what the steward decides by, and holds no value that the label forbids."""

    manifest: Manifest
    keys: dict[str, bytes]
    twin_keys: dict[str, bytes]
    """Of the synthetic twin; empty where there is none, and the report says why."""
    report: dict[str, Any]


def take_in(
    stream: BinaryIO, file_format: Format, plan: Plan, target: Target, *, part_bytes: int = partwriter.BYTES_PER_PART
) -> Taken:
    """The whole file. Raises Problem (422) in words that name row and column where they are known; OSError."""
    table = open_table(stream, file_format, plan.reading, plan.types)
    findings = Findings(table.schema, target.label, plan)
    sample = Sample()
    manifest, keys = write_parts(
        _looked_at(table, findings, sample),
        table.schema,
        target.folder,
        target.dataset,
        target.version,
        target.label,
        part_bytes=part_bytes,
    )
    report = {**findings.report(), **_of_the_file(table)}
    manifest, twin_keys, told = add_twin(manifest, keys, sample.frame(), target.folder, _identifying(plan, report))
    return Taken(manifest, keys, twin_keys, {**report, "synthetic": told})


def _identifying(plan: Plan, report: dict[str, Any]) -> set[str]:
    """Columns that identify a person, by what was decided or is proposed."""
    proposed = {name: one["tags"] for name, one in report["proposals"]["columns"].items()}
    return {name for tags in (plan.tags, proposed) for name, several in tags.items() if IDENTIFIER in several}


def write_parts(  # noqa: PLR0917 - the version that is written, in its own order
    batches: Iterable[pl.DataFrame],
    schema: dict[str, pl.DataType],
    folder: Path,
    dataset: str,
    version: int,
    label: str,
    *,
    part_bytes: int = partwriter.BYTES_PER_PART,
) -> tuple[Manifest, dict[str, bytes]]:
    """Encrypted parts in `folder`, the manifest that describes them, and the keys (the footer's under `FOOTER`)."""
    keys = new_keys(schema)
    parts = [
        write_part(piece, folder / f"part-{number:05d}.parquet", keys, dataset, version)
        for number, piece in enumerate(pieces(batches, rows=partwriter.ROWS_PER_PART, size=part_bytes))
    ]
    if not parts:
        raise bad_file("It has no rows or no columns.")
    manifest = Manifest(
        format=FORMAT,
        dataset=dataset,
        version=version,
        label=label,
        rows=sum(part.rows for part in parts),
        columns=[Column(name=name, type=str(dtype)) for name, dtype in schema.items()],
        parts=parts,
    )
    return manifest, keys


def _looked_at(table: Table, findings: Findings, sample: Sample) -> Iterator[pl.DataFrame]:
    for batch in table.batches():
        findings.see(batch)
        sample.see(batch)
        yield batch


def _of_the_file(table: Table) -> dict[str, Any]:
    return {"notes": table.notes[:100], "told": {name: told.as_json() for name, told in table.told.items()}}
