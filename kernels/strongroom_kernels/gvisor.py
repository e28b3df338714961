"""Boxes by gVisor's `runsc`: the stronger tier. The box's system calls never reach the host's Linux as they are.

`runsc` runs without root in a user namespace of its own. Inside, the owner of the work folder appears as uid 0 without
any capability. The same launcher and the same seccomp filters run inside; there is no Landlock, so the folder of the
kernel's sockets must be mounted `nosymfollow` (the probe looks).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strongroom_kernels import box as inside
from strongroom_kernels import seccomp
from strongroom_kernels.box import Box, BoxError, Mount
from strongroom_kernels.folders import remove_tree
from strongroom_kernels.starting import (
    Cgroup,
    KeptProcess,
    Output,
    launcher_files,
    refuse_unfit_caller,
    refuse_weaker,
    start_kept,
    streams_of,
)

_OLDEST = 20221200
"""Sockets made inside can be reached from the host since `--host-uds=create` (end of 2022: Debian 12's own)."""
_KILL_SECONDS = 10.0
_ID = "box"
_FILTERS = "/opt/strongroom/filters"
_PASSWD = b"analyst:x:0:0::/box:/bin/sh\n"
_GROUP = b"analyst:x:0:\n"
_LIMITS = ("NOFILE", "FSIZE", "MEMLOCK", "NPROC", "CORE", "DATA")
"""Those that gVisor lets a process narrow; the others have no call behind them there."""
_MEMORY_FOLDERS = ("/tmp", "/dev/shm")  # noqa: S108 - names inside the box


class GVisorProcess(KeptProcess):
    """A process in a gVisor box: the keeper holds `runsc`, which holds the box."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, runsc: list[str]) -> None:
        super().__init__(process, [folder], None)
        self._runsc = runsc

    def _signal(self, number: int) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*self._runsc, "kill", _ID, str(number)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                check=False,
                timeout=_KILL_SECONDS,
            )


class GVisor:
    """Boxes by `runsc` with its own choice of platform: systrap, before 2023 the slower ptrace."""

    name = "gvisor"

    def __init__(self, program: str | None = None) -> None:
        self._program = program

    def sockets(self, box: Box) -> str:  # noqa: ARG002 - the same in every box of this tier
        """Where the kernel's own sockets are inside."""
        return inside.SOCKETS

    def start(
        self,
        box: Box,
        command: Sequence[str],
        log: Output,
        files: Mapping[str, bytes] | None = None,
        *,
        cgroup: Cgroup | None = None,
        watch: bool = False,  # noqa: ARG002 - gVisor's own kernel has no listeners
    ) -> GVisorProcess:
        """As `Sandbox.start`."""
        refuse_unfit_caller()
        refuse_weaker(box, self.name)
        folder = box.sockets.parent / "gvisor"
        if folder.exists():
            remove_tree(folder)
        folder.mkdir(mode=0o700)
        runsc = [self._program or find_runsc(), *self.flags(), "--root", str(folder / "state")]
        streams = streams_of(log)
        access = {**box.access(), **streams.access()}
        self._write_bundle(folder, box, self.specification(box, command, access), {**self.files(), **(files or {})})
        passed = [word for fd in streams.kept() for word in ("--pass-fd", f"{fd}:{fd}")]
        run = [*runsc, "run", *passed, "--bundle", str(folder), _ID]
        process = start_kept(run, log, {}, cgroup, folder=folder)
        return GVisorProcess(process, folder, runsc)

    def flags(self) -> list[str]:
        """Of every call of runsc."""
        return [
            *("--rootless", "--network=none", "--host-uds=all", "--overlay2=none"),
            *("--ignore-cgroups", "--host-fifo=none", "--net-raw=false", "--alsologtostderr=false"),
        ]

    def files(self) -> dict[str, bytes]:
        """Files that exist only inside: path -> content."""
        filters = {f"{_FILTERS}/{number}": program for number, program in enumerate(self.filters())}
        return {**launcher_files(), "/etc/passwd": _PASSWD, "/etc/group": _GROUP, **filters}

    def filters(self) -> tuple[bytes, ...]:
        """The seccomp programs, which gVisor's own kernel obeys."""
        return seccomp.programs()

    def specification(self, box: Box, command: Sequence[str], access: Mapping[str, Any]) -> dict[str, Any]:
        """The box as an OCI runtime specification."""
        filters = [f"{_FILTERS}/{number}" for number in range(len(self.filters()))]
        limits = {name: limit for name, limit in access["limits"].items() if name in _LIMITS}
        access = {**access, "filters": filters, "limits": limits, "first": True}
        environment = [f"{name}={value}" for name, value in inside.ENVIRONMENT.items()]
        sizes = dict(zip(_MEMORY_FOLDERS, (box.limits.tmp_bytes, box.limits.shm_bytes), strict=True))
        return {
            "ociVersion": "1.0.2",
            "hostname": "strongroom",
            "root": {"path": "root", "readonly": True},
            "process": {
                "user": {"uid": 0, "gid": 0},
                "cwd": inside.WORK,
                "env": environment,
                "noNewPrivileges": True,
                "capabilities": {},
                "args": [f"{inside.PREFIX}/bin/python", "-s", inside.LAUNCHER, json.dumps(access), *command],
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid", "nodev"]},
                *(
                    {
                        "destination": path,
                        "type": "tmpfs",
                        "source": "tmpfs",
                        "options": ["nosuid", "nodev", "noexec", "mode=1777", f"size={size}"],
                    }
                    for path, size in sizes.items()
                ),
                *(
                    {
                        "destination": mount.target,
                        "type": "bind",
                        "source": str(mount.source),
                        "options": _bind_options(mount),
                    }
                    for mount in box.mounts()
                ),
            ],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
        }

    def _write_bundle(
        self, folder: Path, box: Box, specification: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> None:
        root = folder / "root"
        for target, link in inside.system_links():
            _place(root, link).symlink_to(target)
        for mount in box.mounts():
            if mount.source.is_dir():
                _place(root, mount.target).mkdir(exist_ok=True)
            else:
                _place(root, mount.target).touch()
        for path in ("/proc", "/dev", "/sys", *_MEMORY_FOLDERS):
            _place(root, path).mkdir(exist_ok=True)
        for path, content in files.items():
            _place(root, path).write_bytes(content)
        (folder / "config.json").write_text(json.dumps(specification), "utf-8")


def _bind_options(mount: Mount) -> list[str]:
    # A user namespace may not take noexec away, so it is named wherever the host has it.
    noexec = mount.writable or bool(os.statvfs(mount.source).f_flag & os.ST_NOEXEC)
    return ["bind", "nosuid", "nodev", "rw" if mount.writable else "ro", *(["noexec"] if noexec else [])]


def _place(root: Path, path: str) -> Path:
    """Where a path of the box is below its root on the host; the folders above are made."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


@functools.cache
def find_runsc() -> str:
    """Path of a usable runsc; BoxError says how to get one."""
    program = shutil.which("runsc")
    if program is None:
        raise BoxError(
            "No kernel of the tier gvisor can start: runsc is not installed. As root, on Debian 12: "
            "apt install runsc (faster: apt install -t bookworm-backports runsc)"
        )
    version = runsc_version(program)
    if version < _OLDEST:
        raise BoxError(
            f"No kernel of the tier gvisor can start: {program} is of {version or 'unknown date'}, and kernels need "
            "sockets that runsc can make since the end of 2022. As root, on Debian 12: apt install runsc"
        )
    return program


def runsc_version(program: str) -> int:
    """The date of its release as a number (20240729); 0 where the program does not say."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, env={}).stdout
    found = re.search(r"\b(20\d{6})\b", told)
    return int(found[1]) if found else 0
