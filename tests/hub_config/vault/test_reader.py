from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd, workers
from strongroom_hub.vault.workers import Workers


def test_a_view_holds_the_allowed_columns_in_order_and_nothing_else(room: Any, people: pl.DataFrame) -> None:
    manifest = room.publish("health/people", people)
    answer = room.read("health/people", ["income", "age"])
    with pa.memory_map(memfd.path(answer.fd)) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
    content = os.pread(answer.fd, answer.bytes, 0)
    os.close(answer.fd)
    assert table.column_names == ["income", "age"]
    assert table["income"].to_pylist() == people["income"].to_list()
    assert (answer.rows, answer.bytes, manifest["rows"]) == (60, len(content), 60)
    assert b"Zephyrine" not in content
    assert b"person" not in content


def test_a_shared_file_can_never_change(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    answer = room.read("health/people", ["age"])
    before = os.pread(answer.fd, answer.bytes, 0)
    again = os.open(memfd.path(answer.fd), os.O_RDWR)  # opening is possible as root, and useless
    for fd in (answer.fd, again):
        for attack in (
            lambda fd=fd: os.pwrite(fd, b"x", 0),
            lambda fd=fd: os.ftruncate(fd, 1 << 20),
            lambda fd=fd: mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
            lambda fd=fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL),
        ):
            with pytest.raises(OSError) as refused:
                attack()
            assert refused.value.errno in (errno.EPERM, errno.EBADF, errno.EINVAL, errno.EACCES)
    assert os.pread(answer.fd, answer.bytes, 0) == before
    assert fcntl.fcntl(answer.fd, fcntl.F_GET_SEALS) & 0xF == fcntl.F_SEAL_SEAL | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    os.close(answer.fd)
    os.close(again)


def test_kernels_of_one_workspace_share_one_copy_but_no_offset(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    one, two = (room.read("health/people", ["age"], kernel=kernel) for kernel in ("k1", "k2"))
    other = room.read("health/people", ["age"], project="elections")
    colleague = room.read("health/people", ["age"], user="somebody-else")
    assert os.fstat(one.fd).st_ino == os.fstat(two.fd).st_ino
    assert len({os.fstat(answer.fd).st_ino for answer in (one, other, colleague)}) == 3
    os.lseek(one.fd, 77, os.SEEK_SET)
    assert os.lseek(two.fd, 0, os.SEEK_CUR) == 0
    for answer in (one, two, other, colleague):
        os.close(answer.fd)


def test_the_cache_forgets_the_view_that_was_not_used_for_longest(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    shelf = room.vault.shelf
    sizes = []
    for column in ("age", "income", "visits", "age"):
        answer = room.read("health/people", [column])
        sizes.append(answer.bytes)
        kept = sizes[0] * 5 // 2  # two views of this size fit, a third does not
        shelf._limits = replace(shelf._limits, kept_bytes=kept)
        os.close(answer.fd)
    assert len(shelf.kept) == 2
    assert sum(memfd.size(file.fd) for file in shelf.kept) <= kept


def test_more_than_max_bytes_is_refused_built_or_cached(room: Any) -> None:
    room.publish("health/big", pl.DataFrame({"a": range(100_000)}))
    for _ in range(2):
        with pytest.raises(Problem) as refused:
            room.read("health/big", ["a"], max_bytes=100_000)
        assert (refused.value.status, refused.value.slug) == (413, "view-too-large")
        os.close(room.read("health/big", ["a"]).fd)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"columns": ["age", "salary"]}, "no column 'salary'"),
        ({"masks": {"salary": {"method": "hash"}}}, "no column 'salary'"),
        ({"columns": ["age", "age"]}, "twice"),
        ({"label": "internal"}, "labelled 'confidential'"),
    ],
)
def test_a_view_that_is_not_of_this_version_is_refused(
    room: Any, people: pl.DataFrame, changed: dict[str, Any], words: str
) -> None:
    room.publish("health/people", people)
    with pytest.raises(Problem, match=words):
        room.read("health/people", changed.pop("columns", ["age"]), **changed)


def test_an_unknown_label_counts_as_secret(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people, label="odd")
    with pytest.raises(Problem, match="labelled 'odd'"):
        room.read("health/people", ["age"], label="confidential")
    assert room.frame("health/people", ["age"], label="secret").height == 60


def test_masked_views_are_masked_and_hidden_columns_stay_shut(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    masks = {"person": {"method": "hash"}, "age": {"method": "null"}, "visits": {"method": "redact"}}
    frame = room.frame("health/people", ["person", "age", "visits", "income"], masks=masks)
    assert frame.schema == {"person": pl.String, "age": pl.Int64, "visits": pl.String, "income": pl.Float64}
    assert frame["age"].null_count() == 60
    assert set(frame["visits"]) == {"[redacted]"}
    assert frame["person"].n_unique() == 60
    elsewhere = room.frame("health/people", ["person"], masks={"person": {"method": "hash"}}, project="elections")
    assert not set(frame["person"]) & set(elsewhere["person"])
    only_masked = room.frame("health/people", ["age"], masks={"age": {"method": "null"}})
    assert only_masked.shape == (60, 1)


def test_only_the_keys_of_the_columns_that_are_needed_are_opened(
    room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.publish("health/people", people)
    keys = room.vault.reader._keys
    opened: list[str] = []
    unwrap = keys.unwrap
    monkeypatch.setattr(keys, "unwrap", lambda key, use: (opened.append(use.words[-1]), unwrap(key, use))[1])
    room.frame("health/people", ["age", "person"], masks={"person": {"method": "null"}})
    assert sorted(opened) == ["", "age"]


@pytest.mark.parametrize(
    "other", [{"project": "elections"}, {"masks": {"person": {"method": "redact"}}}, {"masks": {}}]
)
def test_a_view_that_differs_in_project_or_mask_is_another_file(
    room: Any, people: pl.DataFrame, other: dict[str, Any]
) -> None:
    room.publish("health/people", people)
    usual = {"masks": {"person": {"method": "hash"}}}
    first = room.frame("health/people", ["person"], **usual)
    assert first.equals(room.frame("health/people", ["person"], **usual))
    assert not first.equals(room.frame("health/people", ["person"], **{**usual, **other}))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_worker_that_dies_is_a_clear_error_and_the_next_read_works(room: Any, number: signal.Signals) -> None:
    room.publish("health/big", pl.DataFrame({"a": range(3_000_000)}))
    workers = room.vault.workers

    def kill_the_first_busy_one() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for pid in list(workers.busy):
                os.kill(pid, number)
                return
            time.sleep(0.001)

    killer = threading.Thread(target=kill_the_first_busy_one)
    killer.start()
    with pytest.raises(Problem) as refused:
        room.read("health/big", ["a"])
    killer.join()
    assert refused.value.slug == "worker-died"
    assert number.name in refused.value.detail
    assert room.frame("health/big", ["a"]).height == 3_000_000


def test_a_worker_that_hangs_is_ended(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    room.vault.workers._deadline = 0.001
    with pytest.raises(Problem, match="did not finish"):
        room.read("health/people", ["age"])
    assert not room.vault.workers.busy


@pytest.mark.parametrize("spares", [1, 0])
def test_while_one_is_left_no_spare_is_started_beside_a_job(spares: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "AWAIT_QUIET", 0.01)
    pool = Workers()
    pool._spares.extend([None] * spares)  # type: ignore[list-item]
    pool.busy.add(1)

    def keeper() -> None:
        with pool._changed:
            pool._await_quiet()

    waiting = threading.Thread(target=keeper)
    waiting.start()
    waiting.join(20 if not spares else 0.3)
    assert waiting.is_alive() == bool(spares)
    with pool._changed:
        pool.busy.clear()
        pool._changed.notify_all()
    waiting.join(20)
    assert not waiting.is_alive()


def test_a_worker_gets_nothing_by_arguments_or_environment() -> None:
    workers = Workers()
    workers.start()
    spare = workers._spares[0]
    try:
        about = Path(f"/proc/{spare.process.pid}")
        deadline = time.monotonic() + 20
        while not (arguments := (about / "cmdline").read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert arguments.split(b"\0")[1:] == [b"-I", b"-m", b"strongroom_hub.vault.boxed", b"--rehearses", b""]
        names = {line.partition(b"=")[0] for line in (about / "environ").read_bytes().split(b"\0") if line}
        assert names <= {b"PATH", b"LANG", b"LC_CTYPE"}
    finally:
        workers.close()
    assert spare.process.returncode is not None
