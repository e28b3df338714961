"""Parquet and Arrow IPC (file and stream), record batch by record batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from strongroom_hub.vault.formats.table import BATCH_ROWS, Told, bad_file, check_names, storable

_ARROW_FILE_MAGIC = b"ARROW1"
_BUFFER = 1 << 20


class ColumnarTable:
    """A file whose schema stands in it."""

    def __init__(self, kind: str, schema: pa.Schema, batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self._kind = kind
        self._batches = batches
        check_names(schema.names)
        self.schema = storable(_schema(kind, schema))
        self.told: dict[str, Told] = {}
        self.notes: list[str] = []

    def batches(self) -> Iterator[pl.DataFrame]:
        row = 1
        found = self._batches()
        while True:
            try:
                batch = next(found, None)
                if batch is None:
                    return
                frame = pl.DataFrame(batch).cast(pl.Schema(self.schema))
            except (pa.ArrowException, OSError, ValueError, pl.exceptions.PolarsError) as error:
                raise _unreadable(self._kind, error, f" after row {row}") from error
            row += frame.height
            yield frame


def parquet(stream: BinaryIO) -> ColumnarTable:
    """Raises Problem (422)."""
    try:
        # pages are read as they are needed: a file may be one huge row group
        file = pq.ParquetFile(pa.PythonFile(stream, mode="r"), pre_buffer=False, buffer_size=_BUFFER)
        schema = file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable("parquet", error) from error
    return ColumnarTable("parquet", schema, lambda: file.iter_batches(batch_size=BATCH_ROWS, use_threads=False))


def arrow(stream: BinaryIO) -> ColumnarTable:
    """Raises Problem (422)."""
    magic = stream.read(len(_ARROW_FILE_MAGIC))
    stream.seek(0)
    source = pa.PythonFile(stream, mode="r")
    try:
        if magic == _ARROW_FILE_MAGIC:
            file = pa.ipc.open_file(source)
            return ColumnarTable("arrow", file.schema, lambda: map(file.get_batch, range(file.num_record_batches)))
        opened = pa.ipc.open_stream(source)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable("arrow", error) from error
    return ColumnarTable("arrow", opened.schema, lambda: iter(opened))


def _schema(kind: str, schema: pa.Schema) -> dict[str, pl.DataType]:
    try:
        return dict(pl.DataFrame(schema.empty_table()).schema)
    except (pa.ArrowException, ValueError, pl.exceptions.PolarsError) as error:
        raise _unreadable(kind, error) from error


def _unreadable(kind: str, error: Exception, where: str = "") -> Exception:
    # a parser's own words may quote data
    return bad_file(f"It cannot be read as {kind}{where} ({type(error).__name__}).")
