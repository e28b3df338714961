"""What a cell prints is out before the cell ends, by whatever way it was written."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from strongroom_kernels import launcher

from tests.kernels.test_provisioner import Trial, kernel, trial

__all__ = ["trial"]
pytestmark = pytest.mark.usefixtures("environment")

CELLS = 100
BY_DESCRIPTOR = """
import ctypes, os, subprocess
text = "{}\\n".encode()
os.write(1, b"from Python " + text)
_ = ctypes.CDLL(None).write(2, b"from C " + text, len(text) + 7)
"""
CHILD = "_ = subprocess.run(['echo', 'from a child'])"
TAKEN_AND_NOT_IN_LINE = """
import sys, time
taking = sys.stdout._flush_buffers
def slowly():
    found = list(taking())
    time.sleep(0.5)
    return found
sys.stdout._flush_buffers = slowly
print("on its way")
time.sleep(0.35)  # the timer of 0.2 s has begun to send it
"""
SLOW_TO_TAKE = """
import os, sys, threading, time
write = sys.stdout.write
def slowly(text):
    if threading.current_thread() is sys.stdout.watch_fd_thread:
        time.sleep({})
    return write(text)
sys.stdout.write = slowly
"""
TAKEN_AND_NOT_THERE = (
    SLOW_TO_TAKE.format(0.3)
    + """
_ = os.write(1, b"on its way")
time.sleep(0.1)  # it has left the pipe
"""
)
TALKATIVE = (
    SLOW_TO_TAKE.format(0.05)
    + """
import subprocess
child = subprocess.Popen(["yes"])
time.sleep(0.2)  # its pipe is full from now on
began = time.monotonic()
for _ in range(10):
    print(end="", flush=True)
took = time.monotonic() - began
child.kill(); child.wait()
sys.stdout.write = write
print(f"took {took:.3f} seconds")
"""
)


def test_what_was_written_to_a_descriptor_is_out_before_the_cell_ends(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            written = [(await running.run(BY_DESCRIPTOR.format(number)))[1] for number in range(CELLS)]
            return written, [(await running.run(CHILD))[1] for _ in range(10)]

    written, of_children = trial(scenario)
    assert [sorted(text.splitlines()) for text in written] == [
        [f"from C {number}", f"from Python {number}"] for number in range(CELLS)
    ]
    assert of_children == ["from a child\n"] * 10


def test_what_has_left_the_pipe_is_out_before_the_cell_ends(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            return await running.run(TAKEN_AND_NOT_THERE), await running.run("1")

    assert trial(scenario) == (("ok", "on its way"), ("ok", "1"))


def test_what_the_timer_is_sending_is_out_before_the_cell_ends(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            return await running.run(TAKEN_AND_NOT_IN_LINE), await running.run("1")

    assert trial(scenario) == (("ok", "on its way\n"), ("ok", "1"))


def test_texts_in_pieces_are_whole(trial: Trial) -> None:
    code = "import os, time\nfor byte in 'zwölf € 🐧'.encode(): os.write(1, bytes([byte])); time.sleep(0.005)"

    async def scenario() -> Any:
        async with kernel() as running:
            return await running.run(code)

    assert trial(scenario) == ("ok", "zwölf € 🐧")


def test_a_child_that_writes_for_ever_holds_nobody_up(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            return (await running.run(TALKATIVE))[1], await running.run("2 + 2")

    told, after = trial(scenario)
    (took,) = re.findall(r"took ([\d.]+) seconds", told)
    assert float(took) < 3  # half a second each, did a flush wait until nothing more came
    assert after == ("ok", "4")


def test_a_pipe_at_its_end_or_closed_by_a_cell_has_nothing_to_wait_for() -> None:
    reads, writes = os.pipe()
    assert not launcher._is_readable(reads)
    os.write(writes, b"x")
    assert launcher._is_readable(reads)
    os.read(reads, 1)
    os.close(writes)
    assert not launcher._is_readable(reads, wait=True)
    os.close(reads)
    assert not launcher._is_readable(reads, wait=True)
