"""Boxes by bubblewrap: the default tier."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strongroom_kernels import box as inside
from strongroom_kernels import seccomp
from strongroom_kernels.box import Box, BoxError
from strongroom_kernels.starting import (
    Cgroup,
    Output,
    Watching,
    admit,
    children,
    launcher_files,
    memory_file,
    refuse_unfit_caller,
    refuse_weaker,
    streams_of,
)
from strongroom_kernels.watch import Watch

_PYTHON = (f"{inside.PREFIX}/bin/python", "-s", inside.LAUNCHER)
_OLDEST_BUBBLEWRAP = (0, 8)
_START_SECONDS = 20.0

_PROC_FILES = [
    "bootconfig",
    "buddyinfo",
    "cgroups",
    "cmdline",
    "config.gz",
    "consoles",
    "crypto",
    "devices",
    "diskstats",
    "dma",
    "execdomains",
    "fb",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "locks",
    "misc",
    "modules",
    "mtrr",
    "pagetypeinfo",
    "partitions",
    "sched_debug",
    "schedstat",
    "slabinfo",
    "softirqs",
    "swaps",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
    "vmstat",
    "zoneinfo",
]
_PROC_FOLDERS = [
    "acpi",
    "asound",
    "bus",
    "driver",
    "dynamic_debug",
    "fs",
    "irq",
    "pressure",
    "scsi",
    "tty",
    "sys/fs",
    "sys/kernel/pty",
]

_PASSWD = b"analyst:x:1000:1000::/box:/bin/sh\n"
_GROUP = b"analyst:x:1000:\n"


class BoxedProcess:
    """A process in a bubblewrap box: `process` is bubblewrap itself, `init` the first process of the box."""

    def __init__(self, process: subprocess.Popen[bytes], init: int | None, watching: Watching | None) -> None:
        self._process = process
        self._watching = watching
        self._init = init
        self._init_fd: int | None = None
        if init is not None:
            with contextlib.suppress(ProcessLookupError):
                self._init_fd = os.pidfd_open(init)

    @property
    def watch(self) -> Watch | None:
        return None if self._watching is None else self._watching.take()

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        status = self._process.poll()
        return 128 - status if status is not None and status < 0 else status

    def send_signal(self, number: int) -> None:
        if self.poll() is not None:
            return
        if number == signal.SIGKILL:
            self.kill()
            return
        child = self._boxed_pid()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if child is not None and os.getpgid(child) == child:
                os.killpg(child, number)
            elif child is not None:
                os.kill(child, number)

    def kill(self) -> None:
        # The first process of a pid namespace takes all others with it; bubblewrap then reports the exit.
        if self._init_fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)
        else:
            self._process.kill()

    def close(self) -> None:
        self._process.wait()
        if self._watching is not None:
            self._watching.close()
        if self._init_fd is not None:
            os.close(self._init_fd)
            self._init_fd = None

    def _boxed_pid(self) -> int | None:
        """The host's number of process 2 of the box: the launcher, later the kernel."""
        for child in children(self._init) if self._init is not None else ():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{child}/status").read_text("ascii")
                numbers = re.search(r"^NSpid:\s.*\s(\d+)$", status, re.MULTILINE)
                if numbers and numbers[1] == "2":
                    return child
        return None


class Bubblewrap:
    """Boxes by bubblewrap 0.8 or later: namespaces, read-only root, seccomp; the launcher adds Landlock and limits."""

    name = "bubblewrap"

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
        watch: bool = False,
    ) -> BoxedProcess:
        """As `Sandbox.start`."""
        refuse_unfit_caller()
        refuse_weaker(box, self.name)
        program = self._program or find_bubblewrap()
        with contextlib.ExitStack() as stack:
            watching = Watching(stack, box) if watch else None
            watched = watching.watched if watching else None
            given = {**self.files(), **self.machine(box), **(files or {}), **(watched.files if watched else {})}
            fds = {path: memory_file(stack, content) for path, content in given.items()}
            filters = [memory_file(stack, program) for program in (watched.programs if watched else self.filters())]
            options = self.options(box, fds, filters)
            arguments = memory_file(stack, b"\0".join(map(os.fsencode, options)) + b"\0")
            streams = streams_of(log)
            info, info_writer = os.pipe()
            stack.callback(os.close, info)
            block, go = os.pipe()
            stack.callback(os.close, go)
            inherited = [arguments, info_writer, block, *fds.values(), *filters, *streams.kept()]
            access = {**box.access(), **streams.access(), **(watched.access if watched else {})}
            if watching:
                inherited.append(watching.inherited)
            told = ["--args", str(arguments), "--info-fd", str(info_writer), "--block-fd", str(block)]
            try:
                process = subprocess.Popen(
                    [program, *told, "--", *self.command(access, command)],
                    stdin=streams.stdin,
                    stdout=streams.stdout,
                    stderr=streams.stderr,
                    env=self.environment(),
                    pass_fds=inherited,
                    start_new_session=True,
                )
            finally:
                os.close(info_writer)
                os.close(block)
            log.started()
            init = _read_info(info)
            admit(process, init, cgroup)
            with contextlib.suppress(BrokenPipeError):  # bubblewrap ended already, and `poll` tells
                os.write(go, b"g")
            return BoxedProcess(process, init, watching)

    def environment(self) -> dict[str, str]:
        """Of bubblewrap itself: nothing, because the box's first process keeps it and shows it inside."""
        return {}

    def filters(self) -> tuple[bytes, ...]:
        """The seccomp programs."""
        return seccomp.programs()

    def files(self) -> dict[str, bytes]:
        """Files that exist only inside: path -> content."""
        return {
            **launcher_files(),
            "/etc/passwd": _PASSWD,
            "/etc/group": _GROUP,
        }

    def machine(self, box: Box) -> dict[str, bytes]:
        """What /proc says of the machine, the same at all times."""
        return {f"/proc/{name}": text.encode() for name, text in _constant_proc(box.limits.memory_bytes).items()}

    def command(self, access: Mapping[str, Any], command: Sequence[str]) -> list[str]:
        """What runs inside: the launcher by the kernel's Python."""
        return [*_PYTHON, json.dumps(access), *command]

    def options(self, box: Box, files: Mapping[str, int], filters: Sequence[int]) -> list[str]:
        """Bubblewrap's options in order; `files` (path inside -> descriptor) and `filters` are descriptors."""
        mounts = box.mounts()
        return [
            *self.namespaces(),
            *("--clearenv", *(word for item in inside.ENVIRONMENT.items() for word in ("--setenv", *item))),
            *(word for link in inside.system_links() for word in ("--symlink", *link)),
            *_proc_options(),
            *("--dev", "/dev"),
            *(word for node in box.devices() for word in ("--dev-bind", str(node.source), node.target)),
            *("--size", str(box.limits.shm_bytes), "--tmpfs", "/dev/shm"),  # noqa: S108
            # No pseudo-terminals: all boxes would share the host's few thousand.
            *("--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts", "--remount-ro", "/dev"),
            *("--size", str(box.limits.tmp_bytes), "--tmpfs", "/tmp"),  # noqa: S108
            *(
                word
                for mount in mounts
                for word in ("--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target)
            ),
            *(word for path, fd in files.items() for word in ("--perms", "0444", "--ro-bind-data", str(fd), path)),
            *("--remount-ro", "/", "--chdir", inside.WORK),
            *(word for fd in filters for word in ("--add-seccomp-fd", str(fd))),
        ]

    def namespaces(self) -> list[str]:
        """Each by name: `--unshare-all` only tries some of them."""
        return [
            *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup"),
            *("--disable-userns", "--uid", "1000", "--gid", "1000", "--hostname", "strongroom"),
            *("--cap-drop", "ALL", "--new-session", "--die-with-parent"),
        ]


@functools.cache
def find_bubblewrap() -> str:
    """Path of a usable bwrap; BoxError says how to get one."""
    program = shutil.which("bwrap")
    if program is None:
        raise BoxError("No kernel can start: bubblewrap is not installed. As root: apt install bubblewrap")
    version = bubblewrap_version(program)
    if version < _OLDEST_BUBBLEWRAP:
        raise BoxError(
            f"No kernel can start: {program} is version {'.'.join(map(str, version)) or 'unknown'}; bubblewrap 0.8 or "
            "later is needed."
        )
    return program


def bubblewrap_version(program: str) -> tuple[int, ...]:
    """Major and minor number; empty where the program does not say."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, env={}).stdout
    found = re.search(r"(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else ()


def _proc_options() -> list[str]:
    """A new /proc of the box's own processes, without what tells about the host or lets two boxes signal each other."""
    options = ["--proc", "/proc"]
    for name in _PROC_FILES:
        if Path(f"/proc/{name}").exists():
            options += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    for name in _PROC_FOLDERS:
        if Path(f"/proc/{name}").is_dir():
            options += ["--tmpfs", f"/proc/{name}", "--remount-ro", f"/proc/{name}"]
    return options


def _constant_proc(memory_bytes: int | None) -> dict[str, str]:
    """Files that libraries read and that must not change with the host's load. `memory_bytes`: as the box has it."""
    cpus = sorted(os.sched_getaffinity(0))
    zeros = " 0" * 10
    processors = "".join(f"cpu{number}{zeros}\n" for number in range(len(cpus)))
    kib = (memory_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) // 1024
    clocks = re.compile(r"^(cpu MHz\s*:).*$", re.MULTILINE)
    return {
        "cpuinfo": clocks.sub(r"\1 1000.000", Path("/proc/cpuinfo").read_text("utf-8")),
        "loadavg": "0.00 0.00 0.00 1/1 1\n",
        "uptime": "1.00 1.00\n",
        "stat": f"cpu {zeros}\n{processors}intr 0\nctxt 0\nbtime 0\nprocesses 0\nprocs_running 1\nprocs_blocked 0\n",
        "meminfo": f"MemTotal: {kib} kB\nMemFree: {kib} kB\nMemAvailable: {kib} kB\nBuffers: 0 kB\nCached: 0 kB\n"
        "SwapCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nShmem: 0 kB\nSlab: 0 kB\n",
    }


def _read_info(descriptor: int) -> int | None:
    """The box's first process as bubblewrap reports it; None when bubblewrap ended before it had one."""
    text = b""
    while select.select([descriptor], [], [], _START_SECONDS)[0]:
        piece = os.read(descriptor, 4096)
        text += piece
        if not piece or text.rstrip().endswith(b"}"):
            break
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return int(json.loads(text)["child-pid"])
    return None
