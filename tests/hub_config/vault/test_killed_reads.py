"""Readings that are cut off at random points: a clear error or the whole view, never a part of it."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd

NAME = "health/big"
ROWS = 400_000


def cut(room: Any, seed: int) -> None:
    """Kill whatever worker is busy, some time after the reading began: it gives all, or says what happened."""
    made = random.Random(seed)
    workers = room.vault.workers
    over = threading.Event()

    def kill() -> None:
        while not workers.busy and not over.is_set():
            time.sleep(0.0005)
        over.wait(made.random() * 0.25)
        for pid in list(workers.busy):
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    answer = None
    try:
        answer = room.read(NAME, ["a", "b"], user=f"u{seed}")
    except Problem as problem:
        died = problem.slug == "worker-died" and "SIGKILL" in problem.detail
    else:
        died = False
    finally:
        over.set()
        killer.join()
    if answer is None:
        assert died
        return
    try:
        assert answer.rows == ROWS
        assert pl.read_ipc(memfd.path(answer.fd))["b"].sum() == ROWS * (ROWS - 1)
    finally:
        os.close(answer.fd)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def many(room: Any, times: int) -> None:
    room.publish(NAME, pl.DataFrame({"a": range(ROWS), "b": range(0, 2 * ROWS, 2)}))
    open_before = descriptors()
    for seed in range(times):
        cut(room, seed)
        assert not room.vault.workers.busy
        room.vault.reader.close()
    assert descriptors() == open_before
    assert room.frame(NAME, ["b"])["b"].sum() == ROWS * (ROWS - 1)


def test_a_reading_whose_worker_is_killed_is_whole_or_refused(room: Any) -> None:
    many(room, 4)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_readings_are_whole_or_refused_two_hundred_times(room: Any) -> None:
    many(room, 200)


def test_a_worker_that_wants_too_much_memory_ends_and_the_vault_lives(room: Any) -> None:
    room.publish(NAME, pl.DataFrame({"a": range(ROWS), "b": range(0, 2 * ROWS, 2)}))
    workers = room.vault.workers
    usual, workers._memory = workers._memory, 1 << 20
    with pytest.raises(Problem) as refused:
        room.read(NAME, ["a", "b"])
    assert refused.value.slug in {"worker-died", "worker-failed", "vault-full"}
    workers._memory = usual
    assert room.frame(NAME, ["b"])["b"].sum() == ROWS * (ROWS - 1)
