"""Taking a table in: parse it strictly, encrypt each column under its own key, prove that nothing is readable without.

Runs in a worker: the file is somebody else's, and a parser that dies must not take the vault with it.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from pathlib import Path
from typing import Literal

import polars as pl

from strongroom_hub.problems import Problem
from strongroom_hub.vault import csvtypes
from strongroom_hub.vault.keys import new_key
from strongroom_hub.vault.manifest import FOOTER, FORMAT, Column, Manifest, Part, aad_prefix
from strongroom_hub.vault.parts import encrypted_as_wanted

Format = Literal["csv", "parquet", "arrow"]
ROWS_PER_PART = 2_000_000
_MAX_NAME = 200  # characters of a column name
_ARROW_FILE_MAGIC = b"ARROW1"
_CSV_FIELD_LIMIT = 1 << 24
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_table(file: str, file_format: Format) -> pl.DataFrame:
    """The whole table. Raises Problem (422) in words that name row and column where they are known."""
    rows = _scan_csv(file) if file_format == "csv" else None
    try:
        frame = _parse(file, file_format)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _bad(f"It cannot be read as {file_format} ({type(error).__name__}{_place(str(error))}).") from error
    if rows is not None and frame.height != rows:
        raise _bad(f"It has {rows} data rows by its quotes and line ends, but {frame.height} were understood.")
    return _checked(frame)


def write_parts(
    frame: pl.DataFrame, folder: Path, dataset: str, version: int, label: str
) -> tuple[Manifest, dict[str, bytes]]:
    """Encrypted parts in `folder`, the manifest that describes them, and the keys (the footer's under `FOOTER`)."""
    keys = {name: new_key() for name in [FOOTER, *frame.columns]}
    parts = []
    for number, start in enumerate(range(0, frame.height, ROWS_PER_PART)):
        name = f"part-{number:05d}.parquet"
        piece = frame.slice(start, ROWS_PER_PART)
        _write_encrypted(piece, folder / name, keys, aad_prefix(dataset, version, name))
        parts.append(_describe(folder / name, piece.height))
    manifest = Manifest(
        format=FORMAT,
        dataset=dataset,
        version=version,
        label=label,
        rows=frame.height,
        columns=[Column(name=name, type=str(dtype)) for name, dtype in frame.schema.items()],
        parts=parts,
    )
    return manifest, keys


def _parse(file: str, file_format: Format) -> pl.DataFrame:
    if file_format == "csv":
        return csvtypes.read(file)
    if file_format == "parquet":
        return pl.read_parquet(file, glob=False, hive_partitioning=False)
    with Path(file).open("rb") as stream:
        is_file = stream.read(len(_ARROW_FILE_MAGIC)) == _ARROW_FILE_MAGIC
    return pl.read_ipc(file) if is_file else pl.read_ipc_stream(file)


def _scan_csv(file: str) -> int:
    """Number of data rows of a CSV in which every row has the header's fields. Raises Problem with the row."""
    csv.field_size_limit(_CSV_FIELD_LIMIT)
    with Path(file).open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = next(reader, [])
            if len(set(header)) != len(header):
                twice = next(name for name in header if header.count(name) > 1)
                raise _bad(f"Row 1 (the header): two columns are named {twice!r}.")
            return _count_rows(reader, len(header))
        except UnicodeDecodeError as error:
            raise _bad(f"After row {reader.line_num}: it is not UTF-8 text.") from error
        except csv.Error as error:
            raise _bad(f"Row {reader.line_num}: {error}.") from error


def _count_rows(reader: csv._reader, width: int) -> int:  # type: ignore[name-defined]
    rows = 0
    blank_at = 0
    for fields in reader:
        if not fields:
            blank_at = blank_at or reader.line_num
            continue
        if blank_at:
            raise _bad(f"Row {blank_at} is empty.")
        if len(fields) != width:
            raise _bad(
                f"Row {reader.line_num}, column {min(len(fields), width) + 1}: "
                f"the row has {len(fields)} fields, the header has {width}."
            )
        rows += 1
    return rows


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    if frame.height == 0 or frame.width == 0:
        raise _bad("It has no rows or no columns.")
    for number, name in enumerate(frame.columns, start=1):
        if not name or len(name) > _MAX_NAME or _CONTROL.search(name):
            raise _bad(f"Column {number}: its name is empty, longer than {_MAX_NAME} characters or not printable.")
    casts = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, (pl.Categorical, pl.Enum)):
            casts.append(pl.col(name).cast(pl.String))
        elif dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Unknown):
            raise _bad(f"Column {name!r}: values of type {dtype} cannot be stored; split or convert the column.")
    return frame.with_columns(casts) if casts else frame


def _write_encrypted(frame: pl.DataFrame, file: Path, keys: dict[str, bytes], aad: bytes) -> None:
    column_keys = {name: keys[name] for name in frame.columns}  # a column without a key would be written in plaintext
    encryption = pl.ParquetEncryptionProperties(footer_key=keys[FOOTER], column_keys=column_keys, aad_prefix=aad)
    with file.open("xb") as stream:
        frame.write_parquet(stream, encryption=encryption)
        stream.flush()
        os.fsync(stream.fileno())
    _prove_encrypted(frame.columns, file, keys[FOOTER], aad)


def _prove_encrypted(columns: list[str], file: Path, footer_key: bytes, aad: bytes) -> None:
    """The encryption API is marked unstable: believe the bytes, not the call."""
    with file.open("rb") as stream:
        if encrypted_as_wanted(stream.fileno()):
            raise _unencrypted("the file")
    for name in columns:
        others = pl.ParquetDecryptionProperties(footer_key=footer_key, aad_prefix=aad)
        try:
            pl.scan_parquet(file, decryption=others, glob=False, cache=False).select(name).head(1).collect()
        except pl.exceptions.ComputeError:
            continue
        raise _unencrypted(f"column {name!r}")


def _describe(file: Path, rows: int) -> Part:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Part(name=file.name, sha256=digest, bytes=stream.tell(), rows=rows)


def _place(message: str) -> str:
    """Row and column out of a parser's message, which may quote data and is not repeated."""
    column = re.search(r"column '([^']{1,80})'", message)
    row = re.search(r"(?:row|line)\s+(\d+)", message)
    return (f", row {row[1]}" if row else "") + (f", column {column[1]!r}" if column else "")


def _bad(detail: str) -> Problem:
    return Problem(
        422,
        "bad-file",
        "The file was not taken in",
        detail,
        next="Correct the file and add it again; nothing was kept.",
    )


def _unencrypted(what: str) -> Problem:
    return Problem(
        500,
        "not-encrypted",
        "The file was not taken in",
        f"After writing, {what} could be read without its key.",
        why=("the installed polars does not encrypt as this version of Strongroom expects",),
        next="Install the pinned version of polars.",
    )
