from __future__ import annotations

import errno
import io
import os
import resource
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import partwriter


def store_files(room: Any) -> list[Path]:
    return [path for path in (room.instance.vault_dir / "store").rglob("*") if path.is_file()]


@pytest.mark.parametrize("fmt", ["csv", "parquet", "arrow", "stream"])
def test_every_format_comes_back_as_it_went_in(room: Any, fmt: str) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 2, None],
            "name": ['Åsa, "A"', "line\nbreak", None],
            "when": [datetime(2020, 1, 2, 3, 4, 5), None, datetime(2021, 1, 1)],  # noqa: DTZ001 - as files have it
            "a.b": [0.5, -1.25, None],
            "yes": [True, False, None],
        }
    )
    out = io.BytesIO()
    {
        "csv": frame.write_csv,
        "parquet": frame.write_parquet,
        "arrow": frame.write_ipc,
        "stream": frame.write_ipc_stream,
    }[fmt](out)
    room.publish("a/b", out.getvalue(), fmt="arrow" if fmt == "stream" else fmt)
    assert room.frame("a/b", frame.columns).equals(frame)


def test_a_bad_csv_is_refused_in_words_and_leaves_nothing(room: Any) -> None:
    with pytest.raises(Problem, match="Row 3, column 2: the row has 1 fields, the header has 2") as refused:
        room.ingest("a/b", b"a,b\n1,2\n3\n")
    assert (refused.value.status, refused.value.slug) == (422, "bad-file")
    assert store_files(room) == []
    assert list((room.instance.vault_dir / "uploads").iterdir()) == []


def test_nested_and_binary_columns_are_refused_by_name(room: Any) -> None:
    for values in ([[1], [2]], [{"x": 1}, {"x": 2}], [b"1", b"2"]):
        out = io.BytesIO()
        pl.DataFrame({"fine": [1, 2], "odd": values}).write_parquet(out)
        with pytest.raises(Problem, match="Column 'odd'"):
            room.ingest("a/b", out.getvalue(), fmt="parquet")


def test_categories_are_stored_as_text(room: Any) -> None:
    out = io.BytesIO()
    pl.DataFrame({"c": ["x", "y"]}, schema={"c": pl.Categorical}).write_ipc(out)
    room.publish("a/b", out.getvalue(), fmt="arrow")
    assert room.frame("a/b", ["c"]).schema == {"c": pl.String}


def test_a_mistyped_cell_is_not_silently_lost(room: Any) -> None:
    content = b"n\n" + b"\n".join(b"%d" % n for n in range(5000)) + b"\noops\n"
    room.publish("a/b", content)
    frame = room.frame("a/b", ["n"])
    assert frame.schema == {"n": pl.String}
    assert frame["n"][-1] == "oops"


def test_a_full_disk_leaves_nothing(room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.fsync

    def full(fd: int) -> None:
        if "/uploads/" not in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(28, "No space left on device")
        whole(fd)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Problem, match="No space left") as refused:
        room.ingest("a/b", people)
    assert refused.value.status == 507
    monkeypatch.undo()
    assert store_files(room) == []
    room.publish("a/b", people)


def test_a_disk_that_is_full_is_told_as_such_though_polars_words_it_otherwise(tmp_path: Path) -> None:
    """The size of files is bounded in its place: polars meets both the same way."""
    frame = pl.DataFrame({"a": range(200_000)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as full:
            partwriter.write_part(frame, tmp_path / "part", partwriter.new_keys(frame.columns), "a/b", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.value.errno == errno.EFBIG
