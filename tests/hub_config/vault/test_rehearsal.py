"""What workers do before their first job."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from strongroom_hub.vault import arrowfile, memfd
from strongroom_hub.vault.rehearsal import rehearse
from strongroom_hub.vault.workers import Workers


def test_a_rehearsal_is_a_view_with_filter_masks_and_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[pl.DataFrame] = []
    real = arrowfile.write

    def write(view: pl.LazyFrame, target: int) -> int:
        rows = real(view, target)
        frames.append(pl.read_ipc(memfd.path(target)).clone())
        return rows

    monkeypatch.setattr(arrowfile, "write", write)
    rehearse()
    before = len(list(Path("/proc/self/fd").iterdir()))
    rehearse()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    first = frames[0]
    assert all(one.equals(first) for one in frames)
    assert first.height == 848
    assert first["prefix"].unique().to_list() == ["mad"]
    assert first["hashed"].str.len_chars().unique().to_list() == [32]
    assert {pl.String, pl.Int64, pl.Float64, pl.Boolean, pl.Date} < set(first.dtypes)


def test_a_worker_ends_when_its_answer_has_arrived(
    room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.publish("health/people", people)
    workers = Workers(sees=room.instance.vault_dir / "store")
    workers.start()
    try:
        assert workers.wait_ready()
        spare = workers._spares[0]
        monkeypatch.setattr(room.vault.reader, "_workers", workers)
        os.close(room.read("health/people", ["age"]).fd)
        assert spare.process.poll() is None, "it would take a processor from whoever reads"
        deadline = time.monotonic() + 20
        while spare.process.returncode is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert spare.process.returncode == -9
    finally:
        workers.close()


def test_only_who_is_not_waited_for_rehearses(room: Any) -> None:
    """A job without a spare is not held up by it."""

    def arguments(worker: Any) -> list[str]:
        return [str(one) for one in worker.process.args]

    store = room.instance.vault_dir / "store"
    with_spares, without = Workers(sees=store), Workers(sees=store, spares=0)
    with_spares.start()
    alone = without._new()
    try:
        assert with_spares.wait_ready()
        assert all("--rehearses" in arguments(spare) for spare in with_spares._spares)
        assert "--rehearses" not in arguments(alone)
        assert alone.wait_ready(20)
    finally:
        alone.end()
        with_spares.close()
