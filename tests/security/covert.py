"""Two kernels' boxes of different people on one host, and what of a message gets from one to the other.

The boxes are as the product makes them: the spawner's ground (uids, work images, overlays, control groups), the
sandbox with its watch, the vault's memory file. What runs in them is `covert_inside.py`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import shutil
import signal
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strongroom_hub.config import Instance, Uids
from strongroom_hub.ground import Ground
from strongroom_hub.vault import memfd
from strongroom_kernels.box import Box, Limits, Places
from strongroom_kernels.folders import KernelFolder
from strongroom_kernels.log import OutputLog
from strongroom_kernels.sandbox import Boxed, Bubblewrap, sandbox_of

PROGRAM = Path(__file__).with_name("covert_inside.py")
INSIDE = "/opt/strongroom/covert.py"
CALIBRATION = "001101100101"
"""Known bits before the secret ones: a receiver learns from them what a 1 looks like. Each bit also follows itself."""
PAYLOAD = 40
FIRST_UID = 310_000_000
UIDS = {"a": FIRST_UID + 100, "b": FIRST_UID + 101}
PATIENCE = 120
PYTHON = os.path.realpath(sys.executable)
PROFILE = {
    "name": "standard",
    "title": "Standard",
    "memory_bytes": 2 << 30,
    "cpus": 2,
    "processes": 512,
    "open_files": 8192,
    "file_bytes": 64 << 20,
    "work_bytes": 128 << 20,
    "work_files": 5000,
    "tmp_bytes": 64 << 20,
    "shm_bytes": 64 << 20,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt: `sender` is `a` or `b`, `slot` in seconds, `bits` with the calibration first."""

    signal: str
    sender: str
    slot: float
    bits: str

    @classmethod
    def random(cls, name: str, sender: str, slot: float, payload: int = PAYLOAD) -> Row:
        return cls(name, sender, slot, CALIBRATION + "".join(secrets.choice("01") for _ in range(payload)))


@dataclass(frozen=True, slots=True)
class Heard:
    """What one probe made of one row: how many of the secret bits it got right (None: it was not let look)."""

    signal: str
    probe: str
    slot: float
    right: int | None
    of: int

    @property
    def carries(self) -> bool:
        """More (or fewer) right than chance: by 4.5 standard deviations, for 40 bits 35 of them (or 5)."""
        return self.right is not None and abs(2 * self.right - self.of) > 4.5 * math.sqrt(self.of)

    @property
    def error(self) -> float:
        """Share of wrong bits; turning them all over is allowed."""
        return 0.5 if self.right is None else min(self.right, self.of - self.right) / self.of

    @property
    def bits_per_second(self) -> float:
        """Capacity of a binary symmetric channel with that error."""
        wrong = max(self.error, 0.5 / self.of)  # no error among n bits is not none at all
        entropy = -wrong * math.log2(wrong) - (1 - wrong) * math.log2(1 - wrong)
        return (1 - entropy) / self.slot


def decode(values: Sequence[float | None], bits: str) -> int | None:
    """How many bits after the calibration are right, by the best of two ways: the value itself, or its change."""
    if len(values) < len(bits) or sum(value is None for value in values) > len(values) / 2:
        return None
    known = [0.0 if value is None else value for value in values[: len(bits)]]
    changes = [now - before for before, now in zip([known[0], *known], known, strict=False)]
    return _right(max((known, changes), key=_separation), bits)


def _halves(values: Sequence[float]) -> tuple[list[float], list[float]]:
    known = list(zip(CALIBRATION, values, strict=False))[1:]  # the first value has no change before it
    return [value for bit, value in known if bit == "0"], [value for bit, value in known if bit == "1"]


def _separation(values: Sequence[float]) -> float:
    zeros, ones = _halves(values)
    spread = statistics.pstdev(zeros) + statistics.pstdev(ones)
    distance = abs(statistics.fmean(ones) - statistics.fmean(zeros))
    return distance / spread if spread else distance * math.inf if distance else 0.0


def _right(values: Sequence[float], bits: str) -> int:
    zeros, ones = _halves(values)
    low, high = statistics.median(zeros), statistics.median(ones)
    middle, up = (low + high) / 2, high >= low
    guessed = ["1" if (value > middle) is up else "0" for value in values[len(CALIBRATION) :]]
    return sum(one == other for one, other in zip(guessed, bits[len(CALIBRATION) :], strict=True))


def judged(schedule: Sequence[Row], results: dict[str, list[dict[str, object]]]) -> list[Heard]:
    """What every probe of every row heard; a row that was not let try at all gives one without a name."""
    found: list[Heard] = []
    for place, row in enumerate(schedule):
        receiver = "b" if row.sender == "a" else "a"
        sent, heard = results[row.sender][place], results[receiver][place]
        of = len(row.bits) - len(CALIBRATION)
        values = heard["values"]
        assert isinstance(values, dict)
        if sent["error"] or heard["error"] or not values:
            found.append(Heard(row.signal, "", row.slot, None, of))
            continue
        found += [Heard(row.signal, probe, row.slot, decode(seen, row.bits), of) for probe, seen in values.items()]
    return found


# -- boxes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Making:
    """How boxes are made: as the product does, or with one protection taken away."""

    overlays: bool = True
    filters: bool = True
    proc: bool = True
    """Whether Landlock grants but a list of /proc."""

    def box(self, place: Places, folder: KernelFolder) -> Box:
        box = place.box(folder.ask, folder.sockets)
        return box if self.overlays else replace(box, system=None)

    def start(self, box: Box, command: list[str], log: OutputLog) -> Boxed:
        files = {INSIDE: PROGRAM.read_bytes()}
        if self.filters and self.proc:
            return sandbox_of(box.tier).start(box, command, log, files, watch=True)
        return _Less(self).start(box, command, log, files, watch=self.filters)


class _Less(Bubblewrap):
    def __init__(self, making: Making) -> None:
        super().__init__()
        self._making = making

    def filters(self) -> tuple[bytes, ...]:
        return super().filters() if self._making.filters else ()

    def command(self, access: Mapping[str, Any], command: Sequence[str]) -> list[str]:
        read = access["read"] if self._making.proc else [*access["read"], "/proc"]
        return super().command({**access, "read": read}, command)


AS_MADE = Making()


@contextlib.contextmanager
def two_grounds(prefix: Path, *, shared_view: bool = False, tier: str = "bubblewrap") -> Iterator[dict[str, Places]]:
    """What the hub lays for the servers of two people, below a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="sr-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        place = Instance(
            data=folder / "data",
            run=folder / "run",
            public_url="https://127.0.0.1:1/",
            proxy_api_port=1,
            hub_port=2,
            control_port=3,
            node="node",
            proxy_script="proxy",
            server_python=sys.executable,
            kernel_prefix=str(prefix),
            uids=Uids(control=FIRST_UID + 1, vault=FIRST_UID + 2, proxy=FIRST_UID + 3, first_server=FIRST_UID + 100),
        )
        for made in (place.projects_dir, place.servers_run, place.data_socket.parent):
            made.mkdir(parents=True)
            made.chmod(0o755)
        with contextlib.ExitStack() as stack:
            grounds = {}
            for side, uid in UIDS.items():
                profile = {**PROFILE, "sandbox": tier}
                ground = Ground(place, "cardio", f"person-{side}", f"covert{side}", uid, profile)
                stack.callback(ground.clear)
                ground.lay()
                grounds[side] = Places(
                    run_dir=ground.run,
                    work=ground.folders["work"],
                    notebooks=ground.folders["notebooks"],
                    prefix=prefix,
                    data_socket=place.data_socket,
                    limits=Limits.of(profile),
                    tier=tier,
                    system=ground.system,
                )
            stack.enter_context(vault(place.data_socket, shared=shared_view))
            yield grounds


@contextlib.contextmanager
def vault(door: Path, *, shared: bool) -> Iterator[None]:
    """The vault's data door, with a view for each person as `vault.reader` has it, or (`shared`) one for all."""
    views = {uid: _view() for uid in ((0,) if shared else UIDS.values())}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(door))
        door.chmod(0o666)
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kernel, _ = listener.accept()
                    with kernel:
                        credentials = kernel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                        uid = struct.unpack("3i", credentials)[1]
                        own = memfd.reopen_read_only(views[0 if shared else uid])
                        socket.send_fds(kernel, [b"v"], [own])
                        os.close(own)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for view in views.values():
                os.close(view)


def _view() -> int:
    view = memfd.create("strongroom-view")
    os.write(view, secrets.token_bytes(1 << 20))
    memfd.seal(view)
    return view


def talk_in_boxes(places: dict[str, Places], schedule: Sequence[Row], making: Making = AS_MADE) -> list[Heard]:
    """Run the schedule between the boxes of both people."""
    pids = {side: _fork_box(side, place, schedule, making) for side, place in places.items()}
    return _meet({side: place.work for side, place in places.items()}, pids, schedule)


def talk_in_the_open(folder: Path, schedule: Sequence[Row], prefix: Path) -> list[Heard]:
    """The same between two plain processes of different users: shows that what boxes stop would have worked."""
    works = {side: folder / side for side in UIDS}
    door = folder / "data" / "data.sock"
    door.parent.mkdir()
    folder.chmod(0o755)
    with vault(door, shared=True):
        pids = {side: _fork_plain(side, work, door.parent, schedule, prefix) for side, work in works.items()}
        return _meet(works, pids, schedule)


def _arguments(side: str, schedule: Sequence[Row]) -> list[str]:
    rows = [(row, row.bits if row.sender == side else "0" * len(row.bits)) for row in schedule]
    return [side, json.dumps([[row.signal, row.sender, row.slot, bits] for row, bits in rows])]


def _fork_box(side: str, place: Places, schedule: Sequence[Row], making: Making) -> int:
    for left in ("ready", "go", "result.json"):
        (place.work / left).unlink(missing_ok=True)
    pid = _fork()
    if pid:
        return pid
    status = 1
    try:
        _become(UIDS[side])
        _hold_box(side, place, schedule, making)
        status = 0
    finally:
        os._exit(status)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        return os.fork()


def _become(uid: int) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def _hold_box(side: str, place: Places, schedule: Sequence[Row], making: Making) -> None:
    folder = KernelFolder.of(place.run_dir, f"covert-{side}")
    folder.create()
    log = OutputLog(folder.log)
    command = ["exec", "python", INSIDE, *_arguments(side, schedule)]
    boxed = making.start(making.box(place, folder), command, log)
    try:
        log.ready.wait(20)
        watch = boxed.watch
        while boxed.poll() is None:
            if watch is not None:
                watch.answer()
            time.sleep(0.001)
    finally:
        boxed.kill()
        boxed.close()
        log.close()


def _fork_plain(side: str, work: Path, data: Path, schedule: Sequence[Row], prefix: Path) -> int:
    work.mkdir()
    os.chown(work, UIDS[side], UIDS[side])
    program = shutil.copy(PROGRAM, data)
    pid = _fork()
    if pid:
        return pid
    try:
        _become(UIDS[side])
        environment = {"COVERT_WORK": str(work), "COVERT_DATA": str(data), "COVERT_PREFIX": str(prefix)}
        os.execve(PYTHON, [PYTHON, "-I", str(program), *_arguments(side, schedule)], environment)  # noqa: S606
    finally:
        os._exit(1)


def _meet(works: dict[str, Path], pids: dict[str, int], schedule: Sequence[Row]) -> list[Heard]:
    """Let both begin at one moment, and gather what they heard."""
    long = sum(len(row.bits) * row.slot + 1 for row in schedule)
    try:
        _wait_for([work / "ready" for work in works.values()], pids, PATIENCE)
        begin = str(time.time() + 0.5)
        for work in works.values():
            (work / "go.part").write_text(begin)
            (work / "go.part").chmod(0o644)
            (work / "go.part").rename(work / "go")
        _wait_for([work / "result.json" for work in works.values()], pids, long + PATIENCE)
        return judged(schedule, {side: json.loads((work / "result.json").read_text()) for side, work in works.items()})
    finally:
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _wait_for(files: Sequence[Path], pids: dict[str, int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not all(file.exists() for file in files):
        ended = [
            side
            for side, pid in pids.items()
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and not all(map(Path.exists, files))
        ]
        assert len(ended) < len(pids), f"the boxes ended before {files} were there"
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {files}"
        time.sleep(0.02)
