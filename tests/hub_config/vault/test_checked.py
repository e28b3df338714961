from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import views
from strongroom_hub.vault.jobs import ViewJob
from strongroom_hub.vault.parts import Mark, is_settled, mark_of
from strongroom_hub.vault.tickets import View

NAME = "health/people"


def mark(part: Path) -> Mark:
    fd = os.open(part, os.O_RDONLY)
    try:
        return mark_of(fd)
    finally:
        os.close(fd)


def read(room: Any, checked: Mark) -> pl.DataFrame:
    view = View.model_validate(room.view(NAME, ["age"]))
    published = room.vault.store.open(NAME, 1, active=view.manifest)
    return views.collect_view(ViewJob.prepare(published, view, room.vault.keys, {room.part(NAME).name: checked}))


def flip(part: Path, at: int) -> None:
    with part.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))


def test_a_part_that_was_found_right_is_not_hashed_again(
    room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.publish(NAME, people)
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *what: hashed.append(1) or digest(*what))
    assert read(room, mark(room.part(NAME)))["age"].to_list() == people["age"].to_list()
    assert not hashed
    read(room, (0, 0, 0, 0, 0))
    assert hashed


def test_a_part_that_was_changed_since_is_hashed_again_whatever_time_it_says(room: Any, people: pl.DataFrame) -> None:
    room.publish(NAME, people)
    part = room.part(NAME)
    checked, status = mark(part), part.stat()
    time.sleep(0.02)  # the clock of the file system goes in steps of some milliseconds
    flip(part, 20)  # among the pages of a column that is not read
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert part.stat().st_mtime_ns == checked[3]
    with pytest.raises(Problem, match="SHA-256"):
        read(room, checked)


def test_what_the_hash_would_have_told_the_cipher_tells_where_it_is_read(room: Any, people: pl.DataFrame) -> None:
    """Also one who can set all times back reads nothing that was changed: each page has a tag of its own."""
    room.publish(NAME, people)
    part = room.part(NAME)
    expected = people["age"].to_list()
    refused = 0
    for at in range(8, part.stat().st_size - 8, 97):
        flip(part, at)
        try:
            assert read(room, mark(part))["age"].to_list() == expected
        except Problem:
            refused += 1
        flip(part, at)
    assert refused


def test_a_check_is_remembered_only_of_a_file_that_was_left_alone() -> None:
    second = 1_000_000_000
    since = 100 * second
    assert is_settled((1, 2, 3, 97 * second, 97 * second), since)
    for changed, moved in ((99, 1), (1, 99), (98, 98), (101, 1)):
        assert not is_settled((1, 2, 3, changed * second, moved * second), since)


def test_a_spare_that_died_is_not_given_a_job(room: Any, people: pl.DataFrame) -> None:
    room.publish(NAME, people)
    workers = room.vault.workers
    workers._closed = False
    workers.start()
    assert workers.wait_ready()
    os.kill(workers._spares[0].process.pid, signal.SIGKILL)
    workers._spares[0].process.wait()
    assert room.frame(NAME, ["age"]).height == people.height
