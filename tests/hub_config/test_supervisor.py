"""How an instance ends: nothing of it stays, however impatient the person is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from strongroom_hub import setup
from strongroom_hub.supervisor import RunningInstance

SLOW_TO_END = """
import signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "60"])
def end(*_):
    time.sleep(0.5)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def running(tmp_path):
    runtime = setup.Runtime("/node", "/proxy", "/python", "/kernel")
    instance = setup.new_instance(tmp_path / "data", runtime, port=8443, run=tmp_path / "run")
    instance.hub_dir.mkdir(parents=True)
    instance.servers_run.mkdir(parents=True)
    running = RunningInstance(instance)
    yield running
    running.stop()


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(running: RunningInstance) -> int:
    """A hub that takes half a second to end and leaves a child behind; returns the child's number."""
    hub = subprocess.Popen([sys.executable, "-c", SLOW_TO_END], stdout=subprocess.PIPE, text=True)
    running._hub = hub
    with hub.stdout:
        return int(hub.stdout.readline())


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return fields[0] == "Z"


def test_what_a_hub_leaves_behind_ends_with_it(running):
    child = start(running)
    running.stop()
    assert is_gone(child)
    assert not running.instance.run.exists()
    assert not running.alive()


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_comes_after_the_end(running):
    child = start(running)
    impatient = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    impatient.start()
    with pytest.raises(KeyboardInterrupt):
        running.stop()
    assert is_gone(child)
    assert not running.instance.run.exists()
