"""Building a box and keeping hold of the process inside: the `Sandbox` interface and bubblewrap behind it."""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import json
import os
import re
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from strongroom_kernels import box as inside
from strongroom_kernels import seccomp
from strongroom_kernels.box import Box, BoxError
from strongroom_kernels.log import OutputLog

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


class Boxed(Protocol):
    """A process in a box."""

    @property
    def pid(self) -> int:
        """The host's number of the process that holds the box."""

    def poll(self) -> int | None:
        """None while it runs, else its exit status (128 + n after signal n)."""

    def send_signal(self, number: int) -> None:
        """Signal the boxed process and its process group; nothing happens when it is gone."""

    def kill(self) -> None:
        """End everything in the box at once."""

    def close(self) -> None:
        """Give back what the host holds for it. The process must have ended."""


class Sandbox(Protocol):
    """A way to build boxes."""

    name: str

    def start(
        self, box: Box, command: Sequence[str], log: OutputLog, files: Mapping[str, bytes] | None = None
    ) -> Boxed:
        """Run the launcher in a new box: `command` is what follows its ACCESS argument.

        `files`: further read-only files inside, path -> content, never written to the host's disk. Output goes to
        `log`. Raises BoxError in words. Must be called from the main thread.
        """


class BoxedProcess:
    """A process in a bubblewrap box: `process` is bubblewrap itself, `init` the first process of the box."""

    def __init__(self, process: subprocess.Popen[bytes], init: int | None) -> None:
        self._process = process
        self._init = init
        self._init_fd: int | None = None
        if init is not None:
            with contextlib.suppress(ProcessLookupError):
                self._init_fd = os.pidfd_open(init)

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
        if self._init_fd is not None:
            os.close(self._init_fd)
            self._init_fd = None

    def _boxed_pid(self) -> int | None:
        """The host's number of process 2 of the box: the launcher, later the kernel."""
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{self._init}/task/{self._init}/children").read_text("ascii").split():
                numbers = re.search(
                    r"^NSpid:\s.*\s(\d+)$", Path(f"/proc/{child}/status").read_text("ascii"), re.MULTILINE
                )
                if numbers and numbers[1] == "2":
                    return int(child)
        return None


class Bubblewrap:
    """Boxes by bubblewrap 0.8 or later: namespaces, read-only root, seccomp; the launcher adds Landlock and limits."""

    name = "bubblewrap"

    def __init__(self, program: str | None = None) -> None:
        self._program = program

    def start(
        self, box: Box, command: Sequence[str], log: OutputLog, files: Mapping[str, bytes] | None = None
    ) -> BoxedProcess:
        refuse_unfit_caller()
        program = self._program or find_bubblewrap()
        with contextlib.ExitStack() as stack:
            given = {**self.files(), **(files or {})}
            fds = {path: _memory_file(stack, content) for path, content in given.items()}
            filters = [_memory_file(stack, content) for content in self.filters()]
            options = self.options(box, fds, filters)
            info, info_writer = os.pipe()
            stack.callback(os.close, info)
            arguments = _memory_file(stack, b"\0".join(map(os.fsencode, options)) + b"\0")
            with contextlib.closing(os.fdopen(info_writer, "wb")):
                process = subprocess.Popen(
                    [
                        program,
                        "--args",
                        str(arguments),
                        "--info-fd",
                        str(info_writer),
                        "--",
                        *self.command(box, command),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log.writer,
                    stderr=log.writer,
                    env=self.environment(),
                    pass_fds=[arguments, info_writer, *fds.values(), *filters],
                    start_new_session=True,
                )
            log.started()
            return BoxedProcess(process, _read_info(info))

    def environment(self) -> dict[str, str]:
        """Of bubblewrap itself: nothing, because the box's first process keeps it and shows it inside."""
        return {}

    def filters(self) -> tuple[bytes, ...]:
        """The seccomp programs."""
        return seccomp.programs()

    def files(self) -> dict[str, bytes]:
        """Files that exist only inside: path -> content."""
        return {
            inside.LAUNCHER: importlib.resources.files("strongroom_kernels").joinpath("launcher.py").read_bytes(),
            "/etc/passwd": _PASSWD,
            "/etc/group": _GROUP,
            **{f"/proc/{name}": text.encode() for name, text in _constant_proc().items()},
        }

    def command(self, box: Box, command: Sequence[str]) -> list[str]:
        """What runs inside: the launcher by the kernel's Python."""
        return [*_PYTHON, json.dumps(box.access()), *command]

    def options(self, box: Box, files: Mapping[str, int], filters: Sequence[int]) -> list[str]:
        """Bubblewrap's options in order; `files` (path inside -> descriptor) and `filters` are descriptors."""
        mounts = box.mounts()
        return [
            *self.namespaces(),
            *("--clearenv", *(word for item in inside.ENVIRONMENT.items() for word in ("--setenv", *item))),
            *(word for link in inside.system_links() for word in ("--symlink", *link)),
            *_proc_options(),
            *("--dev", "/dev", "--size", str(box.limits.shm_bytes), "--tmpfs", "/dev/shm"),  # noqa: S108
            *("--remount-ro", "/dev", "--size", str(box.limits.tmp_bytes), "--tmpfs", "/tmp"),  # noqa: S108
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


def refuse_unfit_caller() -> None:
    """Raise BoxError when this process may not start boxes: as root, or from a thread that may end before the box."""
    if os.geteuid() == 0 or os.getuid() == 0:
        raise BoxError(
            "No kernel can start: this server runs as root, and root inside a box could read root's files. Let the "
            "hub start servers under an unprivileged user (uids in instance.toml), or run Strongroom as another user."
        )
    if threading.current_thread() is not threading.main_thread():
        raise BoxError(
            "No kernel can start from a helper thread: its box would end with the thread. Start kernels from the "
            "server's main thread."
        )


@functools.cache
def find_bubblewrap() -> str:
    """Path of a usable bwrap; BoxError says how to get one."""
    program = shutil.which("bwrap")
    if program is None:
        raise BoxError("No kernel can start: bubblewrap is not installed. As root: apt install bubblewrap")
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, env={}).stdout
    version = re.search(r"(\d+)\.(\d+)", told)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST_BUBBLEWRAP:
        raise BoxError(f"No kernel can start: {told.strip() or program} is too old; bubblewrap 0.8 or later is needed.")
    return program


def _memory_file(stack: contextlib.ExitStack, content: bytes) -> int:
    """An anonymous file with this content, rewound; closed with the stack."""
    descriptor = os.memfd_create("strongroom", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


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


def _constant_proc() -> dict[str, str]:
    """Files that libraries read and that must not change with the host's load."""
    cpus = sorted(os.sched_getaffinity(0))
    zeros = " 0" * 10
    processors = "".join(f"cpu{number}{zeros}\n" for number in range(len(cpus)))
    kib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    return {
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


def start_failure(log: OutputLog) -> str:
    """Why a box did not come up, in words, from what bubblewrap and the launcher said (no user code has run then)."""
    said = log.head().strip() or "it said nothing"
    return f"The kernel's box could not be built: {said}\n{_userns_advice()}".strip()


def _userns_advice() -> str:
    """How to mend a host that forbids user namespaces to ordinary users; empty when it does not."""
    switches = {
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            (
                "AppArmor keeps ordinary users from making user namespaces (Ubuntu 24.04). As root: give bwrap "
                "a profile with the `userns,` permission, or "
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            ),
        ),
        "/proc/sys/kernel/unprivileged_userns_clone": (
            "0",
            (
                "This Linux keeps ordinary users from making user namespaces. As root: "
                "sysctl -w kernel.unprivileged_userns_clone=1"
            ),
        ),
        "/proc/sys/user/max_user_namespaces": (
            "0",
            "This Linux allows no user namespaces at all. As root: sysctl -w user.max_user_namespaces=10000",
        ),
    }
    for path, (bad, advice) in switches.items():
        with contextlib.suppress(OSError):
            if Path(path).read_text("ascii").strip() == bad:
                return advice
    return ""
