"""What kernels hold of the vault's memory: counted by what is held, capped, taken back."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd

NOBODY = 65534


@pytest.fixture
def big(room: Any) -> Any:
    """A room with three views of about 800 kB each: one kernel may hold two of them, all together three."""
    room.publish("health/big", pl.DataFrame({name: range(100_000) for name in "abc"}))
    limits = room.vault.shelf._limits
    room.vault.shelf._limits = replace(limits, kernel_bytes=1_800_000, all_bytes=2_600_000)
    return room


@pytest.fixture
def entries() -> Iterator[int]:
    return iter(range(1, 100))


def refused(room: Any, column: str, **claims: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        room.read("health/big", [column], **claims)
    assert caught.value.next
    return caught.value


def test_two_kernels_have_a_limit_each_and_one_together(big: Any, entries: Iterator[int]) -> None:
    one = [big.read("health/big", [column], kernel="k1", entry=next(entries)) for column in "ab"]
    full = refused(big, "c", kernel="k1", entry=next(entries))
    assert (full.status, full.slug) == (413, "view-too-large")
    assert "iter_batches" in full.next
    two = big.read("health/big", ["c"], kernel="k2", entry=next(entries))
    again = big.read("health/big", ["a"], kernel="k1", entry=next(entries))  # one file counts once
    shared = big.read("health/big", ["a"], kernel="k2", entry=next(entries))
    # all three are lent, so nothing more is, to whomever
    assert refused(big, "a", kernel="k3", user="bob", entry=next(entries)).slug in {
        "vault-memory-full",
        "view-too-large",
    }
    for answer in (*one, again, shared):
        os.close(answer.fd)
    os.close(big.read("health/big", ["c"], kernel="k1", entry=next(entries)).fd)
    os.close(two.fd)
    assert big.vault.shelf.entries() == []


def test_a_kernel_that_lets_go_of_nothing_is_counted_whatever_it_closes(big: Any, entries: Iterator[int]) -> None:
    """A hostile client keeps a mapping, and another a descriptor that nobody has taken out of its socket yet."""
    answers = [big.read("health/big", [column], kernel="k1", entry=next(entries)) for column in "ab"]
    mapped = mmap.mmap(answers[0].fd, 0, prot=mmap.PROT_READ)
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [b"x"], [answers[1].fd])
    for answer in answers:
        os.close(answer.fd)
    assert refused(big, "c", kernel="k1", entry=next(entries)).slug == "view-too-large"
    mapped.close()
    with ours, theirs:
        os.close(big.read("health/big", ["c"], kernel="k1", entry=next(entries)).fd)
    assert big.vault.shelf.entries() == []


def test_beyond_the_limit_nothing_is_built(big: Any, entries: Iterator[int], monkeypatch: pytest.MonkeyPatch) -> None:
    held = [big.read("health/big", [column], kernel="k1", entry=next(entries)) for column in "ab"]
    big.vault.shelf._limits = replace(big.vault.shelf._limits, kernel_bytes=1_000_000)
    monkeypatch.setattr(big.vault.workers, "run", lambda *_, **__: pytest.fail("a worker was started"))
    full = refused(big, "c", kernel="k1", entry=next(entries))
    assert (full.status, full.slug) == (429, "kernel-memory-full")
    assert "del the variables" in full.next
    for answer in held:
        os.close(answer.fd)


def test_what_is_no_longer_allowed_is_cut_off_for_everybody(big: Any) -> None:
    one = big.read("health/big", ["a"], kernel="k1", entry=1)
    two = big.read("health/big", ["a"], kernel="k2", entry=2)
    other = big.read("health/big", ["b"], kernel="k2", entry=3)
    big.standing.revoke(1)
    big.vault.recall.tick()
    assert memfd.size(one.fd) == one.bytes, "another read of it still stands"
    big.standing.revoke(2)
    big.vault.recall.tick()
    assert memfd.size(one.fd) == memfd.size(two.fd) == 0
    assert memfd.size(other.fd) == other.bytes
    assert [(end["entry"], end["state"], end["why"]) for end in big.standing.ends] == [
        (1, "taken-back", "revoked"),
        (2, "taken-back", "revoked"),
    ]
    fresh = big.read("health/big", ["a"], kernel="k1", entry=4)
    assert fresh.bytes == one.bytes, "what was cut off was handed out again"
    for answer in (one, two, other, fresh):
        os.close(answer.fd)


def test_while_control_is_silent_nothing_is_taken_back(big: Any) -> None:
    answer = big.read("health/big", ["a"], entry=1)
    big.standing.revoke(1)
    big.standing.down = True
    big.vault.recall.tick()
    assert memfd.size(answer.fd) == answer.bytes
    big.standing.down = False
    big.vault.recall.tick()
    assert memfd.size(answer.fd) == 0
    os.close(answer.fd)


def test_under_one_uid_nobody_can_cut_off_anything(big: Any) -> None:
    big.vault.reader._for_good = True
    answer = big.read("health/big", ["a"], entry=1)
    with pytest.raises(PermissionError):
        os.truncate(memfd.path(answer.fd), 0)
    big.standing.revoke(1)
    big.vault.recall.tick()
    assert memfd.size(answer.fd) == answer.bytes
    os.close(answer.fd)


READER = """
import mmap, os, sys
fd = int(sys.argv[1])
for attack in (
    lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR),
    lambda: os.truncate(f"/proc/self/fd/{fd}", 0),
    lambda: os.ftruncate(fd, 0),
    lambda: os.fchmod(fd, 0o666),
    lambda: mmap.mmap(fd, 0, prot=mmap.PROT_READ | mmap.PROT_WRITE),
):
    try:
        attack()
    except OSError as error:
        print(error.errno, flush=True)
    else:
        print("it worked", flush=True)
pages = mmap.mmap(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 0, prot=mmap.PROT_READ)
print(pages[:6], flush=True)
sys.stdin.readline()
print(pages[:6], flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another uid")
def test_another_uid_can_only_read_and_faults_where_it_was_cut_off(big: Any) -> None:
    answer = big.read("health/big", ["a"], entry=1)
    os.set_inheritable(answer.fd, True)
    with subprocess.Popen(
        [sys.executable, "-I", "-c", READER, str(answer.fd)],
        pass_fds=[answer.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=NOBODY,
        cwd="/",
    ) as reader:
        assert reader.stdout is not None
        attempts = [reader.stdout.readline().strip() for _ in range(5)]
        assert attempts == [str(number).encode() for number in (
            errno.EACCES, errno.EACCES, errno.EINVAL, errno.EPERM, errno.EACCES
        )]  # fmt: skip
        assert reader.stdout.readline() == b"b'ARROW1'\n"
        big.standing.revoke(1)
        big.vault.recall.tick()
        said, _ = reader.communicate(b"\n", timeout=30)
    assert (said, reader.returncode) == (b"", -signal.SIGBUS)
    os.close(answer.fd)
