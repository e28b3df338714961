"""What every tier needs to start a box: who may, where output goes, the door to its system-call watch."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from strongroom_kernels import box as inside
from strongroom_kernels import seccomp
from strongroom_kernels.box import TIERS, Box, BoxError
from strongroom_kernels.folders import remove_tree
from strongroom_kernels.log import OutputLog
from strongroom_kernels.watch import Watch, channel, receive


class Cgroup(Protocol):
    """The limits that a box is put into before anything of it runs."""

    def add(self, pid: int) -> None:
        """Take in this process (its children follow); raises OSError or BoxError when it cannot."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Descriptors that a boxed program has as its own standard streams, instead of a log."""

    stdin: int
    stdout: int
    stderr: int
    ready: int | None = None
    """A pipe to which the launcher writes its ready line, so that the line is not in the program's output."""
    terminal: bool = False
    """Whether stdin is a terminal that the program is to control (interrupts, job control)."""

    def started(self) -> None:
        """Nothing to do: the caller closes what it opened."""

    def kept(self) -> list[int]:
        """Descriptors beyond the standard three that the launcher needs."""
        return [] if self.ready is None else [self.ready]

    def access(self) -> dict[str, Any]:
        """What the launcher must know of them, for its ACCESS argument."""
        return ({} if self.ready is None else {"ready_fd": self.ready}) | ({"terminal": True} if self.terminal else {})


Output = OutputLog | Streams


def streams_of(output: Output) -> Streams:
    """The streams of a program that is heard and not spoken to, or those that were given."""
    if isinstance(output, Streams):
        return output
    return Streams(subprocess.DEVNULL, output.writer, output.writer)


def admit(holder: subprocess.Popen[bytes], first: int | None, cgroup: Cgroup | None) -> None:
    """Put the waiting `first` process of a box under its limits; on any error its holder ends and BoxError says why."""
    if cgroup is None or first is None:
        return
    try:
        cgroup.add(first)
    except (OSError, BoxError) as error:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
        holder.kill()
        holder.wait()
        raise BoxError(
            f"No kernel can start: its box could not be put under its limits ({error}). Ask whoever runs this "
            "Strongroom to look at the control groups of this server; `strongroom doctor` says what is wrong."
        ) from error


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


def refuse_weaker(box: Box, tier: str) -> None:
    """Raise BoxError when a box asks for a stronger tier than this one."""
    if TIERS.index(tier) < TIERS.index(box.tier):
        raise BoxError(
            f"No kernel can start: this server's profile asks for the sandbox {box.tier}, and {tier} is weaker. A box "
            "is never built by a weaker one than the profile says (`sandbox` in policy/profiles.toml)."
        )


def launcher_files() -> dict[str, bytes]:
    """The launcher and what runs first in every Python, at their places inside."""
    package = importlib.resources.files("strongroom_kernels")
    places = {inside.LAUNCHER: "launcher.py", inside.SITE: "sitecustomize.py"}
    return {place: package.joinpath(name).read_bytes() for place, name in places.items()}


class Watching:
    """The way of one box's watched calls to whoever answers them; `watched` is what the box needs for it."""

    def __init__(self, stack: contextlib.ExitStack, box: Box) -> None:
        """The launcher's end is closed with the stack, and must be inherited until then."""
        self._memory = box.limits.memory_bytes
        self._server_end: socket.socket | None
        self._server_end, box_end = channel()
        stack.enter_context(box_end)
        self.inherited = box_end.fileno()
        self.watched = seccomp.watched(self.inherited)

    def take(self) -> Watch | None:
        """The listener that the launcher sent; None when there is none, or it was taken."""
        server_end, self._server_end = self._server_end, None
        return receive(server_end, self._memory) if server_end is not None else None

    def close(self) -> None:
        """Let go of a listener that nobody took."""
        if self._server_end is not None:
            self._server_end.close()
            self._server_end = None


class KeptProcess:
    """A box that the keeper holds: `process` is the keeper, `folders` what the tier needs on the host meanwhile."""

    def __init__(self, process: subprocess.Popen[bytes], folders: Sequence[Path], watching: Watching | None) -> None:
        self._process = process
        self._folders = folders
        self._watching = watching

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
        if self.poll() is None:
            if number == signal.SIGKILL:
                self.kill()
            else:
                self._signal(number)

    def kill(self) -> None:
        # The keeper kills what came of the box, however detached, and then ends itself.
        self._process.terminate()

    def close(self) -> None:
        self._process.wait()
        if self._watching is not None:
            self._watching.close()
        for folder in self._folders:
            if folder.exists():
                remove_tree(folder)

    def _signal(self, number: int) -> None:
        for child in children(self.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(child) == child:
                    os.killpg(child, number)
                else:
                    os.kill(child, number)


def children(pid: int) -> list[int]:
    """The processes that this one started and that have not been reaped; empty when it is gone."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    return []


def start_kept(
    command: Sequence[str],
    output: Output,
    environment: Mapping[str, str],
    cgroup: Cgroup | None,
    *,
    folder: Path,
    inherited: Sequence[int] = (),
    temporary: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Run a command (by its full path) in `folder` under the keeper, which begins once `cgroup` has taken it in.

    The keeper removes `temporary` in the end, also when this process is killed.
    """
    streams = streams_of(output)
    wait, go = os.pipe()
    try:
        keeper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py"))]
        keeper += [str(wait), str(os.getpid()), "-" if temporary is None else str(temporary)]
        process = subprocess.Popen(
            [*keeper, *command],
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            env=environment,
            cwd=folder,
            pass_fds=[wait, *streams.kept(), *inherited],
            start_new_session=True,
        )
        output.started()
        admit(process, process.pid, cgroup)
        with contextlib.suppress(BrokenPipeError):  # the keeper ended already, and `poll` tells
            os.write(go, b"g")
        return process
    finally:
        os.close(wait)
        os.close(go)


def memory_file(stack: contextlib.ExitStack, content: bytes) -> int:
    """An anonymous file with this content, rewound; closed with the stack."""
    descriptor = os.memfd_create("strongroom", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def start_failure(log: OutputLog) -> str:
    """Why a box did not come up, in words, from what bubblewrap and the launcher said (no user code has run then)."""
    said = log.head().strip() or "it said nothing"
    return f"The kernel's box could not be built: {said}\n{userns_advice()}".strip()


def userns_advice() -> str:
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
