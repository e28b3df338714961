"""What every tier does alike: life and death of a box, its limits, its watch; real kernels in each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from strongroom_kernels.box import TIERS, Box, BoxError, Limits, Places
from strongroom_kernels.log import OutputLog
from strongroom_kernels.sandbox import Boxed, Sandbox, sandbox_of

from tests.kernels.removals import Removal, Without, without
from tests.kernels.test_battery import missing

Unprivileged = Callable[[Callable[[], Any]], Any]

_HEARTBEAT = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        while True:
            with open("beat", "a") as file:
                file.write(".")
            time.sleep(0.05)
    os._exit(0)
time.sleep(60 if sys.argv[1:] else 0.5)
"""


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    if missing(request.param):
        pytest.skip(missing(request.param))
    return str(request.param)


@pytest.fixture
def tier_box(tier: str, box: Box) -> Box:
    return replace(box, tier=tier)


def _beats(box: Box) -> int:
    beat = box.work / "beat"
    return beat.stat().st_size if beat.exists() else 0


def _wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _still(box: Box) -> bool:
    before = _beats(box)
    time.sleep(0.5)
    return _beats(box) == before


def _start(sandbox: Sandbox, box: Box, *command: str, **options: Any) -> tuple[Boxed, OutputLog]:
    log = OutputLog(box.work.parent / "output")
    return sandbox.start(box, ["exec", *command], log, **options), log


def _end(boxed: Boxed, log: OutputLog) -> None:
    boxed.kill()
    _wait_for(lambda: boxed.poll() is not None)
    boxed.close()
    log.close()


def test_detached_children_end_with_the_program(tier: str, tier_box: Box, unprivileged: Unprivileged) -> None:
    def run() -> None:
        boxed, log = _start(sandbox_of(tier), tier_box, "python", "-c", _HEARTBEAT)
        _wait_for(lambda: boxed.poll() is not None)
        _end(boxed, log)

    unprivileged(run)
    assert _beats(tier_box) > 0
    assert _still(tier_box)


def test_detached_children_end_with_the_box(tier: str, tier_box: Box, unprivileged: Unprivileged) -> None:
    def run() -> None:
        boxed, log = _start(sandbox_of(tier), tier_box, "python", "-c", _HEARTBEAT, "long")
        _wait_for(lambda: _beats(tier_box) > 0)
        _end(boxed, log)

    unprivileged(run)
    assert _still(tier_box)


def _kill_what_started(sandbox: Sandbox, box: Box, fork: Callable[..., tuple[int, int]]) -> None:
    def run(send: Callable[[Any], None]) -> None:
        _start(sandbox, box, "python", "-c", _HEARTBEAT, "long")
        _wait_for(lambda: _beats(box) > 0)
        send("running")
        time.sleep(60)

    pid, reader = fork(run)
    os.read(reader, 1)
    os.close(reader)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_boxes_end_with_what_started_them(tier: str, tier_box: Box, fork: Callable[..., tuple[int, int]]) -> None:
    _kill_what_started(sandbox_of(tier), tier_box, fork)
    _wait_for(lambda: _still(tier_box))
    assert _beats(tier_box) > 0


def test_temporary_files_go_with_what_started_them(box: Box, fork: Callable[..., tuple[int, int]]) -> None:
    if missing("launcher"):
        pytest.skip(missing("launcher"))
    tier_box = replace(box, tier="launcher")
    before = set(Path(tempfile.gettempdir()).glob("strongroom-*"))
    _kill_what_started(sandbox_of("launcher"), tier_box, fork)
    _wait_for(lambda: set(Path(tempfile.gettempdir()).glob("strongroom-*")) <= before)


def test_they_would_not_without_being_told(box: Box, fork: Callable[..., tuple[int, int]]) -> None:
    sandbox = Without(Removal("die with parent", (), options=without("--die-with-parent")))
    _kill_what_started(sandbox, box, fork)
    try:
        assert not _still(box)
    finally:
        for process in Path("/proc").glob("[0-9]*"):  # what this test left, known by its own folder
            if str(box.work).encode() in _mounts(process):
                with contextlib.suppress(ProcessLookupError):  # the box's first process takes the others along
                    os.kill(int(process.name), signal.SIGKILL)


def _mounts(process: Path) -> bytes:
    try:
        return b"" if int(process.name) == os.getpid() else (process / "mountinfo").read_bytes()
    except OSError:
        return b""


def test_a_box_waits_until_its_limits_hold_it(tier: str, tier_box: Box, unprivileged: Unprivileged) -> None:
    class Slow:
        ran_before = True

        def add(self, pid: int) -> None:  # noqa: ARG002 - as the interface has it
            time.sleep(0.5)
            self.ran_before = (tier_box.work / "ran").exists()

    def run() -> bool:
        group = Slow()
        boxed, log = _start(sandbox_of(tier), tier_box, "touch", "ran", cgroup=group)
        _wait_for(lambda: boxed.poll() is not None)
        _end(boxed, log)
        return group.ran_before

    assert not unprivileged(run)
    assert (tier_box.work / "ran").exists()


def test_a_box_without_its_limits_never_runs(tier: str, tier_box: Box, unprivileged: Unprivileged) -> None:
    class Full:
        def add(self, pid: int) -> None:
            raise OSError(28, "No space left on device", str(pid))

    def run() -> str:
        log = OutputLog(tier_box.work.parent / "output")
        with pytest.raises(BoxError) as caught:
            sandbox_of(tier).start(tier_box, ["exec", "touch", "ran"], log, cgroup=Full())
        log.close()
        return str(caught.value)

    said = unprivileged(run)
    assert "could not be put under its limits" in said
    time.sleep(1)
    assert not (tier_box.work / "ran").exists()


def test_signals_reach_the_program_and_its_group(tier: str, tier_box: Box, unprivileged: Unprivileged) -> None:
    code = (
        "import subprocess, sys\ntry:\n    subprocess.Popen(['sleep', '50']); open('up', 'w'); "
        "subprocess.run(['sleep', '60'])\nexcept KeyboardInterrupt: sys.exit(7)"
    )

    def run() -> int | None:
        boxed, log = _start(sandbox_of(tier), tier_box, "python", "-c", code)
        _wait_for((tier_box.work / "up").exists)
        time.sleep(0.2)
        boxed.send_signal(signal.SIGINT)
        _wait_for(lambda: boxed.poll() is not None)
        status = boxed.poll()
        _end(boxed, log)
        return status

    assert unprivileged(run) == 7


def test_status_and_output_come_out(
    tier: str, tier_box: Box, program_inside: Callable[..., tuple[int, str]], unprivileged: Unprivileged
) -> None:
    from tests.kernels.conftest import run_in_box  # noqa: PLC0415 - not a fixture: the box is this tier's

    said = unprivileged(lambda: run_in_box(sandbox_of(tier), tier_box, "sh", "-c", "echo out; echo err >&2; exit 7"))
    assert said == (7, "out\nerr\n")
    assert unprivileged(lambda: run_in_box(sandbox_of(tier), tier_box, "sh", "-c", "kill -SEGV $$"))[0] == 128 + 11
    assert sorted(child.name for child in tier_box.sockets.parent.iterdir() if child.name in TIERS) == []


def test_a_box_is_never_built_by_a_weaker_tier(box: Box, unprivileged: Unprivileged) -> None:
    def attempt(builder: str, asked: str) -> str:
        log = OutputLog(box.work.parent / "output")
        with pytest.raises(BoxError) as caught:
            sandbox_of(builder).start(replace(box, tier=asked), ["exec", "true"], log)
        log.close()
        return str(caught.value)

    for builder, asked in (("launcher", "bubblewrap"), ("launcher", "gvisor"), ("bubblewrap", "gvisor")):
        assert f"asks for the sandbox {asked}" in unprivileged(lambda b=builder, a=asked: attempt(b, a))


def test_an_unknown_tier_is_said() -> None:
    with pytest.raises(BoxError, match=r"no sandbox called 'docker'"):
        sandbox_of("docker")


@pytest.mark.parametrize("watched", ["launcher", "bubblewrap"])
def test_refused_calls_are_seen(watched: str, box: Box, unprivileged: Unprivileged) -> None:
    if missing(watched):
        pytest.skip(missing(watched))
    code = "import socket\ntry: socket.socket(socket.AF_INET)\nexcept OSError as error: print(error.errno)"

    def run() -> tuple[dict[str, int], str]:
        boxed, log = _start(sandbox_of(watched), replace(box, tier=watched), "python", "-c", code, watch=True)
        _wait_for(log.ready.is_set)
        watch = boxed.watch
        assert watch is not None
        assert boxed.watch is None  # taken once
        counts: dict[str, int] = {}
        while boxed.poll() is None:
            for name, count in watch.answer().items():
                counts[name] = counts.get(name, 0) + count
            time.sleep(0.005)
        watch.close()
        _end(boxed, log)
        return counts, log.head()

    counts, said = unprivileged(run)
    assert counts == {"socket AF_INET": 1}
    assert said.splitlines()[-1] == "97"


def test_gvisor_has_no_watch(box: Box, unprivileged: Unprivileged) -> None:
    if missing("gvisor"):
        pytest.skip(missing("gvisor"))

    def run() -> bool:
        boxed, log = _start(sandbox_of("gvisor"), replace(box, tier="gvisor"), "true", watch=True)
        _wait_for(lambda: boxed.poll() is not None)
        seen = boxed.watch
        _end(boxed, log)
        return seen is None

    assert unprivileged(run)


PROFILE = {
    "name": "standard",
    "title": "Standard",
    "sandbox": "gvisor",
    "memory_bytes": 4 << 30,
    "cpus": 2,
    "processes": 100,
    "open_files": 1000,
    "file_bytes": 1 << 30,
    "work_bytes": 4 << 30,
    "work_files": 1000,
    "tmp_bytes": 1 << 20,
    "shm_bytes": 2 << 20,
}


def test_tier_and_limits_come_from_the_profile(environment: None, places: Places) -> None:
    told = Places.from_environment({**os.environ, "STRONGROOM_PROFILE": json.dumps(PROFILE)})
    assert told.tier == "gvisor"
    assert told.limits == Limits(
        open_files=1000, file_bytes=1 << 30, processes=100, tmp_bytes=1 << 20, shm_bytes=2 << 20, memory_bytes=4 << 30
    )
    box = told.box(places.run_dir, places.run_dir)
    assert box.tier == "gvisor"
    assert box.limits.of_processes()["DATA"] >= 4 << 30


@pytest.mark.parametrize("wrong", [{"tmp_bytes": 0}, {"processes": "many"}, {"open_files": True}, {"sandbox": None}])
def test_a_profile_that_is_none_is_said(environment: None, wrong: dict[str, Any]) -> None:
    profile = {name: value for name, value in {**PROFILE, **wrong}.items() if value is not None}
    with pytest.raises(BoxError, match="profile"):
        Places.from_environment({**os.environ, "STRONGROOM_PROFILE": json.dumps(profile)})


def test_overlays_are_shown_instead_of_the_hosts_folders(box: Box, root_folder: Path) -> None:
    (root_folder / "system/usr").mkdir(parents=True)
    sources = {mount.target: mount.source for mount in replace(box, system=root_folder / "system").mounts()}
    assert sources["/usr"] == root_folder / "system/usr"
    assert sources["/opt/strongroom/kernel"] == box.prefix  # none was made for it
