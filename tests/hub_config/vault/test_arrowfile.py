"""The file of a view: every type as polars has it, and no byte of a text that is not shown."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from strongroom_hub.vault import arrowfile, memfd, views

LONG = "a text that is longer than twelve bytes: "
TEXTS = ["", None, "ä", "twelve bytes", "thirteen byte", "ünfzehn bytes!", LONG + "1", None, LONG * 50]


@pytest.fixture
def target() -> Iterator[int]:
    fd = memfd.create("test")
    yield fd
    os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, memfd.size(fd), 0)


@contextmanager
def wall(size: int) -> Iterator[None]:
    """As around what a plan may write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def texts_below_missing(rows: int) -> pl.LazyFrame:
    """Every second text is shown; of the others polars keeps the buffer."""
    stored = pl.DataFrame({"row": range(rows)}).with_columns(text=LONG + pl.col("row").cast(pl.String) + "!")
    shown = pl.when(pl.col("row") % 2 == 0).then("text").otherwise(None)
    return stored.lazy().select(shown.alias("text"))


def test_texts_come_out_as_they_went_in(target: int) -> None:
    frame = pl.DataFrame({"text": TEXTS * 1000, "short": ["x", None, "yz"] * 3000, "number": range(9000)})
    assert arrowfile.write(frame.lazy(), target) == 9000
    assert_frame_equal(pl.read_ipc(memfd.path(target)), frame)
    with pa.memory_map(memfd.path(target)) as source, pa.ipc.open_file(source) as reader:
        table = reader.read_all()
    table.validate(full=True)
    assert table["text"].cast(pa.large_string()).to_pylist() == TEXTS * 1000
    assert_frame_equal(pl.DataFrame(pl.from_arrow(table)), frame)


def test_a_view_without_rows_has_its_columns(target: int) -> None:
    frame = pl.DataFrame({"text": TEXTS, "number": range(9)})
    assert arrowfile.write(frame.lazy().filter(pl.col("number") > 9), target) == 0
    assert pl.read_ipc(memfd.path(target)).schema == frame.schema


def test_nothing_of_polars_own_buffers_is_written(target: int) -> None:
    view = texts_below_missing(10_000)
    theirs = BytesIO()
    view.collect().write_ipc(theirs, compression="uncompressed", compat_level=pl.CompatLevel.newest())
    assert f"{LONG}7777!".encode() in theirs.getvalue(), "polars' own file would not need this test"
    with pytest.raises(ValueError, match="more text than is shown"):
        arrowfile.write(view, target)
    assert f"{LONG}7777!".encode() not in content(target)
    assert arrowfile.write(views.cleared(view), target) == 10_000
    assert f"{LONG}7777!".encode() not in content(target)
    assert f"{LONG}7778!".encode() in content(target)


@pytest.mark.parametrize("rows", [2, 100_000])
def test_short_texts_below_missing_ones_are_refused(target: int, rows: int) -> None:
    """They lie in the views themselves, and Arrow finds nothing wrong with them."""
    texts = pa.array(["kept", "SECRET"] * rows, pa.string_view())
    shown = pa.array([True, False] * rows).buffers()[1]
    dirty = pa.Array.from_buffers(pa.string_view(), 2 * rows, [shown, texts.buffers()[1]])
    dirty.validate(full=True)
    view = pl.DataFrame({"text": pl.from_arrow(dirty)}).lazy()
    with pytest.raises(ValueError, match="more text than is shown"):
        arrowfile.write(view, target)
    assert b"SECRET" not in content(target)
    assert arrowfile.write(views.cleared(view), target) == 2 * rows
    assert pl.read_ipc(memfd.path(target))["text"].to_list() == ["kept", None] * rows


def test_nothing_of_the_rows_around_a_slice_is_written(target: int) -> None:
    frame = views.cleared(texts_below_missing(1_000)).collect().slice(100, 10)
    with arrowfile.ArrowFile(target, frame.schema) as file:
        file.add(frame)
    assert content(target).count(LONG.encode()) == 5


def test_what_stands_behind_a_short_text_is_not_written(target: int) -> None:
    views = np.frombuffer(b"\x02\0\0\0ab" + b"SECRET VAL" + b"\x03\0\0\0abc" + bytes(9), np.uint8)
    dirty = pa.Array.from_buffers(pa.string_view(), 2, [None, pa.py_buffer(views)])
    frame = pl.DataFrame({"text": pl.from_arrow(dirty)})
    with arrowfile.ArrowFile(target, frame.schema) as file:
        file.add(frame)
    assert b"SECRET" not in content(target)
    assert pl.read_ipc(memfd.path(target))["text"].to_list() == ["ab", "abc"]


def test_the_order_of_rows_stays_and_small_frames_are_joined(target: int) -> None:
    frame = pl.DataFrame({"number": range(700_000)}).with_columns(text="T" + pl.col("number").cast(pl.String))
    with arrowfile.ArrowFile(target, frame.schema) as file:
        for at in range(0, 200_000, 1_000):
            file.add(frame.slice(at, 1_000))
        file.add(frame.slice(200_000))
    assert_frame_equal(pl.read_ipc(memfd.path(target)), frame)
    with pa.memory_map(memfd.path(target)) as source, pa.ipc.open_file(source) as reader:
        rows = [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]
    assert rows == [66_000, 66_000, 66_000, 2_000, 500_000]


def test_more_text_than_a_buffer_holds_is_written_in_pieces(target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrowfile, "_MOST_TEXT", 2_000)
    frame = pl.DataFrame({"text": [f"{LONG}{number}" for number in range(500)]})
    assert arrowfile.write(frame.lazy(), target) == 500
    assert_frame_equal(pl.read_ipc(memfd.path(target)), frame)
    monkeypatch.setattr(arrowfile, "_MOST_TEXT", 20)
    with pytest.raises(OverflowError):
        arrowfile.write(frame.lazy(), target)


def test_a_file_that_can_grow_no_further_ends_the_reading(
    target: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Also while more is ready than may wait."""
    added: list[int] = []
    real = arrowfile.ArrowFile.add

    def add(self: arrowfile.ArrowFile, frame: pl.DataFrame) -> None:
        added.append(frame.height)
        real(self, frame)

    monkeypatch.setattr(arrowfile.ArrowFile, "add", add)
    monkeypatch.setattr(arrowfile, "_AHEAD", 1)
    file = tmp_path / "many.parquet"
    pl.DataFrame({"number": range(3_000_000)}).write_parquet(file, row_group_size=100_000)
    with wall(1_000_000), pytest.raises(OSError, match="File too large"):
        arrowfile.write(pl.scan_parquet(file), target)
    assert len(added) < 30
    assert memfd.size(target) == 1_000_000


def test_the_wall_around_a_small_file_is_told_at_its_end(target: int) -> None:
    with wall(1_000), pytest.raises(OSError, match="File too large"):
        arrowfile.write(pl.LazyFrame({"number": range(1_000)}), target)


def _fails(frame: pl.DataFrame) -> pl.DataFrame:
    raise ValueError(frame.height)


@pytest.mark.parametrize(
    "broken", [lambda view: view.select(pl.col("text").str.to_integer()), lambda view: view.map_batches(_fails)]
)
def test_a_plan_that_fails_ends_the_reading(target: int, broken: Callable[[pl.LazyFrame], pl.LazyFrame]) -> None:
    with pytest.raises((pl.exceptions.PolarsError, ValueError)):
        arrowfile.write(broken(pl.LazyFrame({"text": ["a"] * 1_000})), target)
