"""A view as an Arrow file, in the form that polars and DuckDB map as it is: texts as views of 16 bytes (ADR 33).

A view of a text of more than 12 bytes refers to a buffer, and polars' own buffers may hold other texts as well: of rows
that a filter took out, or as they were before a mask. None of polars' buffers of texts is written.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import polars as pl
import pyarrow as pa

from strongroom_hub.vault import memfd

_VIEWS, _PLAIN = pl.CompatLevel.newest(), pl.CompatLevel.oldest()
_MOST_TEXT = (1 << 31) - 1
"""Bytes of one buffer that views can refer to."""
_FEW_ROWS, _FEW_BYTES = 1 << 16, 1 << 24
"""Below both, frames are joined: a filter that keeps few rows leaves many small ones."""
_AHEAD = 1 << 26
"""Bytes that may wait to be written, while the next ones are made."""


class ArrowFile:
    """Writes frames of one schema into the memory file `target`, in their order; whole when the block ends.

    A thread of its own writes what is ready while the next frames are made; the last ones need none.
    """

    def __init__(self, target: int, schema: Mapping[str, pl.DataType]) -> None:
        self.rows = 0
        self._held: list[pl.DataFrame] = []
        self._held_rows = self._held_bytes = 0
        self._ready: deque[pa.RecordBatch] = deque()
        self._ready_bytes = 0
        self._over = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._sink = pa.OSFile(memfd.path(target), "wb")
        self._schema = pl.DataFrame(schema=schema).to_arrow(compat_level=_VIEWS).schema
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._sink:
            if self._thread is not None:
                with self._changed:
                    self._over = True
                    self._changed.notify_all()
                self._thread.join()
            if kind is None:
                if self._failure is not None:
                    raise self._failure
                for batch in self._of_held():
                    self._writer.write_batch(batch)
                self._writer.close()

    def add(self, frame: pl.DataFrame) -> None:
        """Raises OSError where the file can grow no further, ValueError as `_array`."""
        self.rows += frame.height
        large = frame.height >= _FEW_ROWS or frame.estimated_size() >= _FEW_BYTES
        if large:  # joining copies
            self._hand_on(self._of_held())
        self._held.append(frame)
        self._held_rows += frame.height
        self._held_bytes += int(frame.estimated_size())
        if large or self._held_rows >= _FEW_ROWS or self._held_bytes >= _FEW_BYTES:
            self._hand_on(self._of_held())

    def _of_held(self) -> list[pa.RecordBatch]:
        held, self._held, self._held_rows, self._held_bytes = self._held, [], 0, 0
        return _batches(pl.concat(held), self._schema) if held else []

    def _hand_on(self, batches: list[pa.RecordBatch]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work)
            self._thread.start()
        for batch in batches:
            with self._changed:
                self._changed.wait_for(lambda: self._failure or self._ready_bytes < _AHEAD)
                if self._failure is not None:
                    raise self._failure
                self._ready.append(batch)
                self._ready_bytes += batch.nbytes
                self._changed.notify_all()

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._ready or self._over)
                    if not self._ready:
                        return
                    batch = self._ready.popleft()
                    self._ready_bytes -= batch.nbytes
                    self._changed.notify_all()
                self._writer.write_batch(batch)
        except BaseException as error:  # noqa: BLE001 - raised by whoever adds
            with self._changed:
                self._failure = error
                self._changed.notify_all()


def _batches(frame: pl.DataFrame, schema: pa.Schema) -> list[pa.RecordBatch]:
    """The frame in one piece, or in as many as its texts need. Raises OverflowError, ValueError as `_array`."""
    try:
        arrays = [_array(column) for column in frame.rechunk()]
    except OverflowError:
        if frame.height == 1:
            raise
        half = frame.height // 2
        return [*_batches(frame.head(half), schema), *_batches(frame.tail(frame.height - half), schema)]
    return [pa.RecordBatch.from_arrays(arrays, schema=schema)]


def _array(column: pl.Series) -> pa.Array:
    """A column as Arrow has it, with no byte of a text that is not shown. Raises OverflowError for too much text,
    ValueError where texts stand below missing ones (`views.cleared`).
    """
    array = column.to_arrow(compat_level=_VIEWS)
    if array.type != pa.string_view():
        return array
    validity, views, *_ = array.buffers()
    short = [pa.Array.from_buffers(kind, len(array), [validity, views], offset=array.offset) for kind in _KINDS]
    try:
        short[0].validate(full=True)  # each text is in its view, which has nothing but zeros beside it
    except pa.ArrowException:
        plain = column.to_arrow(compat_level=_PLAIN)  # end to end, those that are shown
        if plain.buffers()[2].size != column.str.len_bytes().sum():
            raise ValueError("there is more text than is shown") from None
        if plain.buffers()[2].size > _MOST_TEXT:
            raise OverflowError("more text than views can refer to") from None
        return plain.cast(pa.string_view())
    if _below_missing(column, views, array.offset):
        raise ValueError("there is more text than is shown")
    return short[1]


def _below_missing(column: pl.Series, views: pa.Buffer, offset: int) -> bool:
    """Whether the views of missing texts hold anything: nobody is shown that, nor does Arrow look at it."""
    if not column.null_count():
        return False
    words = pl.Series(pa.Array.from_buffers(pa.uint64(), 2 * len(column), [None, views], offset=2 * offset))
    held = (words.gather_every(2) | words.gather_every(2, 1)) != 0  # a view has two of them
    return bool((held & column.is_null()).any())


_KINDS = (pa.binary_view(), pa.string_view())
"""As bytes first: whether they are good texts need not be asked again."""


def write(view: pl.LazyFrame, target: int) -> int:
    """Number of rows of the view, which are in the memory file `target` when this returns.

    Raises OSError where the file can grow no further, PolarsError.
    """
    failures: list[BaseException] = []

    def take(frame: pl.DataFrame) -> bool:
        try:
            file.add(frame)
        except BaseException as error:  # noqa: BLE001 - polars would tell it in words of its own
            failures.append(error)
        return bool(failures)  # then no more are wanted

    with ArrowFile(target, view.collect_schema()) as file:
        view.sink_batches(take, engine="streaming")
        if failures:
            raise failures[0]
    return file.rows
