"""Watched system calls: real boxes try them, this side answers, counts, is slow, hostile to itself, or dies."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import errno
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from strongroom_kernels import box as inside
from strongroom_kernels import seccomp, watch
from strongroom_kernels.box import Box
from strongroom_kernels.log import OutputLog
from strongroom_kernels.sandbox import Boxed, Bubblewrap
from strongroom_kernels.seccomp import TABLE
from strongroom_kernels.watch import Answering, Watch

Unprivileged = Callable[[Callable[[], Any]], Any]

_CALL = """
import ctypes, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def errno_of(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    return ctypes.get_errno() if result == -1 else 0
NUMBERS = %r
def ptrace(): return errno_of(NUMBERS["ptrace"], 0, 0, 0, 0)
""" % {name: number for group in TABLE for name, number in seccomp.numbers_of(group).items()}


class Patched(Bubblewrap):
    """A box whose launcher was changed."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__()
        self._old, self._new = old.encode(), new.encode()

    def files(self) -> dict[str, bytes]:
        files = super().files()
        assert self._old in files[inside.LAUNCHER]
        return {**files, inside.LAUNCHER: files[inside.LAUNCHER].replace(self._old, self._new)}


class Started:
    """A box whose watched calls are answered by the test."""

    def __init__(self, box: Box, code: str, sandbox: Bubblewrap | None = None) -> None:
        self._path = box.work.parent / "output"
        self.log = OutputLog(self._path)
        command = ["exec", "python", "-c", _CALL + code]
        self.boxed: Boxed = (sandbox or Bubblewrap()).start(box, command, self.log, watch=True)
        assert self.log.ready.wait(20), self.log.head()
        self.watch = self.boxed.watch

    def said(self) -> str:
        return self._path.read_text("utf-8").removeprefix("strongroom: the box is closed\n").strip()

    def wait_for(self, text: str, *, answering: bool = True) -> None:
        """Wait until the program has said this. `answering`: Python's own start asks for the machine's state."""

        def seen() -> bool:
            if answering and self.watch is not None:
                self.watch.answer()
            return text in self.said() or self.boxed.poll() is not None

        _until(seen)
        assert text in self.said(), self.said()

    def answer_to_the_end(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        found = self.watch
        assert found is not None

        def ended() -> bool:
            select.select([found], [], [], 0.02)
            counts.update(found.answer())
            return self.boxed.poll() is not None

        _until(ended)
        return counts

    def end(self) -> str:
        self.boxed.kill()
        self.boxed.close()
        self.log.close()
        if self.watch is not None:
            self.watch.close()
        return self.said()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def watched_run(box: Box, code: str) -> tuple[dict[str, int], str]:
    """Counts, and what the program printed."""
    started = Started(box, code)
    counts = started.answer_to_the_end()
    return dict(counts), started.end()


def test_attempts_are_refused_and_counted_by_name(box: Box, unprivileged: Unprivileged) -> None:
    code = """
def family(number):
    try: socket.socket(number, socket.SOCK_STREAM); return 0
    except OSError as error: return error.errno
print([ptrace(), ptrace(), family(2), family(40), family(16), family(77), errno_of(NUMBERS["clone"], 0x10000011, 0),
       errno_of(NUMBERS["ioctl"], 0, 0x5412, 0), errno_of(NUMBERS["unshare"], 0x10000000),
       errno_of(NUMBERS["io_uring_setup"], 1, 0), errno_of(NUMBERS["clone3"], 0, 0), errno_of(NUMBERS["seccomp"])])
subprocess.run([sys.executable, "-c", "import socket\\ntry: socket.socket(2)\\nexcept OSError: pass"], check=True)
"""
    counts, said = unprivileged(lambda: watched_run(box, code))
    assert ast.literal_eval(said) == [1, 1, 97, 97, 95, 97, 1, 1, 1, 38, 38, 38]
    assert counts == {
        "ptrace": 2,
        "socket AF_INET": 2,  # one by a child
        "socket AF_VSOCK": 1,
        "socket": 1,
        "clone": 1,
        "ioctl": 1,
        "unshare": 1,
        "io_uring_setup": 1,
    }


def test_every_refused_call_gets_the_same_answer_as_unwatched(box: Box, unprivileged: Unprivileged) -> None:
    refused = [group for group in TABLE if group.error is not None and not group.when]
    expected = {name: group.error for group in refused for name in seccomp.numbers_of(group)}
    code = f"print({{name: errno_of(NUMBERS[name], *[2**64 - 1] * 6) for name in {list(expected)}}})"
    counts, said = unprivileged(lambda: watched_run(box, code))
    assert ast.literal_eval(said) == expected
    assert counts == {name: 1 for group in refused if group.watched for name in seccomp.numbers_of(group)}


def test_the_machines_state_is_constants(box: Box, unprivileged: Unprivileged) -> None:
    """Neither free memory nor the number of processes moves; the memory's size is the profile's."""
    code = """
def state():
    found = (ctypes.c_ubyte * 112)()
    assert errno_of(NUMBERS["sysinfo"], ctypes.addressof(found)) == 0
    return bytes(found)
first = state()
hold = bytearray(64 << 20)
children = [subprocess.Popen(["sleep", "60"]) for _ in range(5)]
print([first == state(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
       [errno_of(NUMBERS["sysinfo"], address) for address in (0, 8, 2**63, 2**64 - 8)]])
"""
    sized = dataclasses.replace(box, limits=dataclasses.replace(box.limits, memory_bytes=3 << 30))
    counts, said = unprivileged(lambda: watched_run(sized, code))
    assert ast.literal_eval(said) == [True, 3 << 30, [errno.EFAULT] * 4]
    assert counts == {}


def test_without_a_watch_the_machines_state_shows(box: Box, python_inside: Callable[..., str]) -> None:
    """What the constants are for: the test above sees the difference."""
    code = f"{_CALL}\nprint(os.sysconf('SC_PHYS_PAGES'))"
    assert python_inside(code, Bubblewrap()) == str(os.sysconf("SC_PHYS_PAGES"))


def test_when_the_holder_lets_go_calls_fail(box: Box, unprivileged: Unprivileged) -> None:
    code = """
print("ready", flush=True)
time.sleep(0.3)
print("waited", ptrace(), flush=True)
print("later", ptrace(), errno_of(NUMBERS["bpf"], 0, 0, 0), flush=True)
"""

    def trial() -> str:
        started = Started(box, code)
        started.wait_for("ready")
        assert started.watch is not None
        assert select.select([started.watch], [], [], 20)[0]
        started.watch.close()
        _until(lambda: started.boxed.poll() is not None)
        return started.end()

    assert unprivileged(trial).splitlines()[1:] == ["waited 38", "later 38 38"]


def test_a_caller_that_dies_or_is_interrupted_hurts_nobody(box: Box, unprivileged: Unprivileged) -> None:
    code = """
print("ready", flush=True)
time.sleep(0.3)
dying = os.fork()
if not dying: ptrace(); os._exit(0)
def interrupted(*_): print("interrupted", flush=True)
signal.signal(signal.SIGALRM, interrupted)
signal.setitimer(signal.ITIMER_REAL, 0.2)
time.sleep(0.1)
os.kill(dying, signal.SIGKILL); os.waitpid(dying, 0)
print("killed", ptrace(), flush=True)
print("then", ptrace())
"""

    def trial() -> tuple[dict[str, int], str]:
        started = Started(box, code)
        started.wait_for("ready")
        started.wait_for("interrupted", answering=False)  # a signal comes through while nobody answers
        counts = started.answer_to_the_end()
        assert started.watch is not None
        assert started.watch.answer() == {}
        assert started.watch.ended
        return dict(counts), started.end()

    counts, said = unprivileged(trial)
    assert said.splitlines() == ["ready", "interrupted", f"killed {errno.EINTR}", "then 1"]
    assert counts == {"ptrace": 1}  # the killed one's and the interrupted one were never received


def test_answers_to_nobody_are_harmless(box: Box, unprivileged: Unprivileged) -> None:
    def trial() -> bool:
        started = Started(box, "time.sleep(60)")
        assert started.watch is not None
        started.watch._respond(12345, 1)
        assert started.watch._give_sysinfo(12345, started.boxed.pid, 0) != 0
        assert started.watch.answer() == {}
        started.end()
        return True

    assert unprivileged(trial)


_FLOOD = """
def flood():
    while True: ptrace()
for _ in range(8): threading.Thread(target=flood, daemon=True).start()
time.sleep(0.5)
done = sum(range(10**6))
print("worked", flush=True)
time.sleep(60)
"""


def test_a_flood_waits_and_the_loop_goes_on(box: Box, unprivileged: Unprivileged) -> None:
    rate = 20

    async def scenario(started: Started) -> tuple[int, int, float, int]:
        assert started.watch is not None
        counts: Counter[str] = Counter()
        answering = Answering(started.watch, counts.update, rate)
        began = time.monotonic()
        answering.start()
        turns = 0
        while (time.monotonic() - began < 2.2 or counts.total() <= rate) and time.monotonic() - began < 20:
            await asyncio.sleep(0.01)
            turns += 1
        seconds = time.monotonic() - began
        answering.stop()
        answering.stop()
        return counts.total(), turns, seconds, started.watch.fileno()

    def trial() -> tuple[int, int, float, int]:
        started = Started(box, _FLOOD)
        found = asyncio.run(scenario(started))
        started.wait_for("worked", answering=False)
        started.end()
        return found

    answered, turns, seconds, descriptor = unprivileged(trial)
    assert rate < answered <= rate * (seconds + 1)  # more than one second's share, and never more than the rate
    assert turns > 20
    assert descriptor == -1


def test_without_the_pace_a_flood_would_be_answered(box: Box, unprivileged: Unprivileged) -> None:
    def trial() -> int:
        started = Started(box, _FLOOD)
        assert started.watch is not None
        began = time.monotonic()
        answered = 0
        while time.monotonic() - began < 1:
            select.select([started.watch], [], [], 0.1)
            answered += sum(started.watch.answer().values())
        started.end()
        return answered

    assert unprivileged(trial) > 100


def test_answering_ends_with_the_box(box: Box, unprivileged: Unprivileged) -> None:
    async def scenario(started: Started) -> tuple[dict[str, int], int]:
        assert started.watch is not None
        counts: Counter[str] = Counter()
        answering = Answering(started.watch, counts.update)
        answering.start()
        for _ in range(1000):
            if started.watch.fileno() < 0:
                break
            await asyncio.sleep(0.02)
        return dict(counts), started.watch.fileno()

    def trial() -> tuple[dict[str, int], int]:
        started = Started(box, "ptrace()")
        found = asyncio.run(scenario(started))
        started.end()
        return found

    assert unprivileged(trial) == ({"ptrace": 1}, -1)


def test_where_linux_gives_no_listener_the_calls_are_refused_unseen(box: Box, unprivileged: Unprivileged) -> None:
    def trial() -> tuple[Watch | None, str]:
        code = 'print(ptrace(), errno_of(NUMBERS["seccomp"]), errno_of(NUMBERS["socket"], 2, 1, 0))'
        started = Started(box, code, Patched("_NEW_LISTENER = 1, 1 << 3", "_NEW_LISTENER = 1, 1 << 30"))
        _until(lambda: started.boxed.poll() is not None)
        return started.watch, started.end()

    assert unprivileged(trial) == (None, "1 38 97")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_SECCOMP_SET_MODE_FILTER, _NEW_LISTENER = 1", "_SECCOMP_SET_MODE_FILTER, _NEW_LISTENER = 77"),
        ('[b"w"], [listener])', '[b"w"], [listener] if server.shutdown(2) else [listener])'),
    ],
    ids=["neither program loads", "the listener cannot be sent"],
)
def test_a_box_that_cannot_be_closed_does_not_start(box: Box, unprivileged: Unprivileged, old: str, new: str) -> None:
    def trial() -> tuple[int | None, bool, str]:
        log = OutputLog(box.work.parent / "output")
        boxed = Patched(old, new).start(box, ["exec", "echo", "ran"], log, watch=True)
        _until(lambda: boxed.poll() is not None)
        boxed.close()
        log.close()
        return boxed.poll(), log.ready.is_set(), log.head()

    status, ready, said = unprivileged(trial)
    assert (status, ready) == (120, False)
    assert "could not be closed" in said


def test_only_a_listener_is_taken() -> None:
    for sent in (True, False):
        server_end, box_end = watch.channel()
        with box_end:
            if sent:
                reader, writer = os.pipe()
                socket.send_fds(box_end, [b"w"], [reader])
                os.close(reader)
            assert watch.receive(server_end) is None
            assert server_end.fileno() == -1
            if sent:
                with pytest.raises(BrokenPipeError):
                    os.write(writer, b"x")  # the descriptor that came is closed
                os.close(writer)


def test_families_have_names() -> None:
    assert watch._FAMILIES[socket.AF_INET] == "socket AF_INET"
    assert watch._FAMILIES[socket.AF_VSOCK] == "socket AF_VSOCK"
