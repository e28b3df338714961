"""Control groups of servers and their kernels, made by the hub as root; versions 1 and 2.

    strongroom-INSTANCE/SERVER/server    the notebook server: more weight on the processors than its kernels
    strongroom-INSTANCE/SERVER/kernels   all kernels of the server; its limits are root's, children are the server's

With version 2 a process may be moved by whoever may write `cgroup.procs` of the common ancestor of both groups, so
the server owns that file of SERVER, and of SERVER nothing else. Only leaves hold processes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom_hub.config import Instance

WANTED = ("memory", "pids", "cpu")
V1, V2 = 1, 2
PERIOD_MICROSECONDS = 100_000
SERVER_WEIGHT = 10
"""How much more the server's own work counts than its kernels' when both want the processors."""
INSTANCE_WEIGHT = 4
"""How much all servers together count on each processor beside one process of the host, with version 1: there a group
and a process of the root compete as equals. With version 2 they compete with other services' groups, as equals."""
TOGETHER = 2
"""All kernels of a workspace together get this many times what each gets."""
END_PATIENCE, POLL_SECONDS = 5.0, 0.02
MOUNTINFO = Path("/proc/self/mountinfo")
OWN = Path("/proc/self/cgroup")
_making = threading.Lock()
"""Held while a server's group is made, and while the instance's is removed because it is empty."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups can be made: controller -> folder; with version 2 one folder, under the empty name."""

    version: int
    folders: Mapping[str, Path]


def find() -> Hierarchy | None:
    """The control groups of this machine that offer most of memory, pids, cpu; None where none can be made."""
    if os.geteuid() != 0:
        return None
    first: dict[str, Path] = {}
    second: Path | None = None
    for line in MOUNTINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        mounted, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        point = Path(mounted.split(" ")[4])
        if "ro" in mounted.split(" ")[5].split(","):
            continue
        if kind == "cgroup2":
            second = second or _delegated(point)
        elif kind == "cgroup":
            first |= {name: point for name in WANTED if name in options.split(",")}
    offered = _words(second / "cgroup.controllers") & set(WANTED) if second is not None else set()
    if second is not None and offered and len(offered) >= len(first):
        return Hierarchy(V2, {"": second})
    return Hierarchy(V1, first) if first else None


def _delegated(root: Path) -> Path:
    """The hub's own group where a service manager has delegated it (systemd: `Delegate=yes`), else the root."""
    for line in OWN.read_text(encoding="utf-8").splitlines():
        if line.startswith("0::"):
            own = root / line[3:].lstrip("/")
            with contextlib.suppress(OSError):
                if os.getxattr(own, "trusted.delegate") == b"1":
                    return own
    return root


def make(hierarchy: Hierarchy, instance: Instance, server: str, uid: int, profile: Mapping[str, Any]) -> dict[str, Any]:
    """Make the groups of a server; returns what STRONGROOM_CGROUP tells it. Raises OSError."""
    folders = {name: root / _name(instance) / server for name, root in hierarchy.folders.items()}
    for name, folder in folders.items():
        with _making:
            folder.mkdir(parents=True)
        if hierarchy.version == V2:
            _enable(hierarchy.folders[name])
            _enable(folder.parent)
        for passage in (folder.parent, folder):
            passage.chmod(0o711)  # whatever the hub's umask: the server has to reach its own group below
        for part in ("server", "kernels"):
            if hierarchy.version == V2:
                _enable(folder)
            (folder / part).mkdir()
        os.chown(folder / "kernels", uid, uid)
        if hierarchy.version == V2:
            _enable(folder / "kernels")
            os.chown(folder / "cgroup.procs", uid, uid)
    for name, file, value in _limits(hierarchy, folders, profile):
        (folders[name] / file).write_text(value, encoding="ascii")
    return {"version": hierarchy.version, "folders": {n: str(folder / "kernels") for n, folder in folders.items()}}


def _limits(
    hierarchy: Hierarchy, folders: Mapping[str, Path], profile: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """(key of `folders`, file below it, value) of the limits of all kernels together, and the server's weight."""
    memory = str(TOGETHER * int(profile["memory_bytes"]))
    quota = str(round(TOGETHER * float(profile["cpus"]) * PERIOD_MICROSECONDS))
    processes = str(TOGETHER * int(profile["processes"]))
    wanted = (
        (
            ("memory", "kernels/memory.limit_in_bytes", memory),
            ("memory", "kernels/memory.memsw.limit_in_bytes", memory),
            ("pids", "kernels/pids.max", processes),
            ("cpu", "kernels/cpu.cfs_period_us", str(PERIOD_MICROSECONDS)),
            ("cpu", "kernels/cpu.cfs_quota_us", quota),
            ("cpu", "server/cpu.shares", str(SERVER_WEIGHT * 1024)),
            ("cpu", "../cpu.shares", str(INSTANCE_WEIGHT * 1024 * (os.cpu_count() or 1))),
        )
        if hierarchy.version == V1
        else (
            ("", "kernels/memory.max", memory),
            ("", "kernels/memory.swap.max", "0"),
            ("", "kernels/pids.max", processes),
            ("", "kernels/cpu.max", f"{quota} {PERIOD_MICROSECONDS}"),
            ("", "server/cpu.weight", str(SERVER_WEIGHT * 100)),
        )
    )
    for name, file, value in wanted:
        # A file that is not there belongs to a controller (or to swap accounting) that this machine does not have.
        if name in folders and (folders[name] / file).exists():
            yield name, file, value


def add_server(hierarchy: Hierarchy, instance: Instance, server: str, pid: int) -> None:
    """Put the server's first process into its group; what it starts follows. Raises OSError."""
    for root in hierarchy.folders.values():
        (root / _name(instance) / server / "server" / "cgroup.procs").write_text(str(pid), encoding="ascii")


def missing(hierarchy: Hierarchy | None) -> list[str]:
    """Of memory, pids, cpu, those that no group can hold here."""
    if hierarchy is None:
        return list(WANTED)
    found = set(hierarchy.folders) if hierarchy.version == V1 else _words(hierarchy.folders[""] / "cgroup.controllers")
    return [name for name in WANTED if name not in found]


def remove(hierarchy: Hierarchy, instance: Instance, server: str) -> None:
    """End every process in the groups of a server and remove them; nothing happens when they are gone.

    Raises OSError when a process does not end within five seconds.
    """
    for root in hierarchy.folders.values():
        top = root / _name(instance)
        _remove(top / server)
        with _making, contextlib.suppress(OSError):  # other servers' groups are in it
            top.rmdir()


def sweep(hierarchy: Hierarchy, instance: Instance) -> None:
    """As `remove`, for everything that this instance has left. Raises OSError."""
    for root in hierarchy.folders.values():
        _remove(root / _name(instance))


def _name(instance: Instance) -> str:
    return f"strongroom-{hashlib.sha256(os.fsencode(instance.data)).hexdigest()[:16]}"


def _enable(folder: Path) -> None:
    """Hand the controllers that are there on to the groups below `folder` (version 2)."""
    wanted = sorted(_words(folder / "cgroup.controllers") & set(WANTED))
    if not set(wanted) - _words(folder / "cgroup.subtree_control"):
        return
    words = " ".join(f"+{name}" for name in wanted)
    try:
        (folder / "cgroup.subtree_control").write_text(words, encoding="ascii")
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # A group with processes of its own hands nothing on: they move into a leaf (the hub, in a delegated group).
        leaf = folder / "hub"
        leaf.mkdir(exist_ok=True)
        for pid in _pids(folder):
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(str(pid), encoding="ascii")
        (folder / "cgroup.subtree_control").write_text(words, encoding="ascii")


def _remove(folder: Path) -> None:
    if not folder.is_dir():
        return
    groups = [Path(where) for where, _, _ in os.walk(folder, topdown=False)]
    with contextlib.suppress(OSError):  # no pids here; then the killing below goes on until none is left
        (folder / "pids.max").write_text("0", encoding="ascii")
    deadline = time.monotonic() + END_PATIENCE
    for group in groups:
        while True:
            for pid in _pids(group):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                break


def _pids(group: Path) -> list[int]:
    try:
        return [int(word) for word in (group / "cgroup.procs").read_text(encoding="ascii").split()]
    except (FileNotFoundError, OSError):
        return []


def _words(file: Path) -> set[str]:
    try:
        return set(file.read_text(encoding="ascii").split())
    except OSError:
        return set()
