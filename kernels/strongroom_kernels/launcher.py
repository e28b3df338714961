"""The last steps inside the box: narrow this process for good, then become the kernel.

Runs under the kernel's Python, standard library only, before any user code: Landlock, resource limits, no inherited
files. Called as `launcher.py ACCESS kernel CONNECTION_FILE` or `launcher.py ACCESS exec PROGRAM ARGUMENT...`, where
ACCESS is the JSON of `box.Box.access()`. Exits with status 120 when a protection that Linux offers cannot be put up.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

READY = "strongroom: the box is closed"
FAILED = 120
NOT_RUN = 127
PIPE_BYTES = 1 << 16
"""All that a pipe holds."""
PIPE_PATIENCE = 0.5
"""Seconds that a flush waits at most for the thread that takes what was written to a descriptor."""

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_SECCOMP = {"x86_64": 317}.get(os.uname().machine, 277)  # the latter on all younger architectures
_SECCOMP_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_RULE_PATH_BENEATH = 1

# Landlock file rights (linux/landlock.h), in the order in which they were added
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << n for n in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_ABI_WITH = ((_REFER, 2), (_TRUNCATE, 3), (_IOCTL_DEV, 5))
NET_ABI, SCOPE_ABI = 4, 6

_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
# In the folder that the server connects into, a kernel makes sockets and nothing else: a symlink in a socket's place
# would lead the server to a socket of the host.
RIGHTS = {
    "execute": _READ | _EXECUTE,
    "read": _READ,
    "list": _READ_DIR,
    # Folders that all boxes share are not opened themselves: a lock on one would be seen in every box.
    "files": _READ_FILE,
    "write": _WRITE,
    "scratch": _WRITE | _MAKE_SOCK | _MAKE_FIFO,
    "sockets": _READ_DIR | _MAKE_SOCK | _REMOVE_FILE,
    "devices": _READ | _WRITE_FILE | _IOCTL_DEV,
    # Files of /proc about this process alone: rules go by inode, so they are not for its children.
    "own": _READ_FILE,
}
_RIGHTS_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # what _pack_ means, said aloud for Python 3.14
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _syscall(number: int, *arguments: Any) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    return result


def _checked(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def landlock_abi() -> int:
    """The version of Landlock that runs here; 0 without it."""
    return max(0, _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


_LANDLOCK_GREW = (
    (2, "Landlock of this Linux (before 5.19) cannot tell moves between folders apart and refuses all of them."),
    (3, "Landlock of this Linux (before 6.2) does not guard against truncation; the read-only mounts alone do."),
    (NET_ABI, "Landlock of this Linux (before 6.7) does not refuse TCP; seccomp and the empty network alone do."),
    (5, "Landlock of this Linux (before 6.10) does not guard the controls of devices; seccomp alone does."),
    (
        SCOPE_ABI,
        "Landlock of this Linux (before 6.12) does not hold back signals and abstract sockets; namespaces alone do.",
    ),
)


def landlock_weaknesses(abi: int) -> list[str]:
    """What is weaker here than with all the rights that this launcher knows, in sentences; empty when nothing is."""
    if abi == 0:
        return [
            (
                "Landlock does not run here (Linux 5.13 or later, `lsm=` including landlock): the mounts alone guard "
                "files, and /proc tells which pages of libraries other kernels use."
            )
        ]
    return [text for first, text in _LANDLOCK_GREW if abi < first]


def restrict_files(access: dict[str, Any], abi: int) -> None:
    """Let this process and its children touch only the paths in `access`, each with the rights of its list.

    Also denies TCP, abstract sockets and signals to outside, as far as this ABI knows them. Raises OSError.
    """
    handled = (1 << 13) - 1
    for right, first in _FIRST_ABI_WITH:
        handled |= right if abi >= first else 0
    ruleset = _Ruleset(handled, 0b11 if abi >= NET_ABI else 0, 0b11 if abi >= SCOPE_ABI else 0)
    size = 24 if abi >= SCOPE_ABI else 16 if abi >= NET_ABI else 8
    rules = _checked(
        "landlock_create_ruleset",
        _syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0)),
    )
    for kind, rights in RIGHTS.items():
        for path in access[kind]:
            _allow(rules, path, rights & handled, hold=kind == "own")
    _checked("landlock_restrict_self", _syscall(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0)))
    os.close(rules)


def _allow(rules: int, path: str, rights: int, *, hold: bool) -> None:
    """Add one rule. `hold`: keep the file open, because Linux may forget an inode of /proc, and its rule with it."""
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        beneath = _PathBeneath(rights if Path(path).is_dir() else rights & _RIGHTS_OF_FILES, parent)
        arguments = (ctypes.c_int(rules), ctypes.c_int(_RULE_PATH_BENEATH), ctypes.byref(beneath), ctypes.c_uint32(0))
        _checked(f"landlock_add_rule for {path}", _syscall(_ADD_RULE, *arguments))
    finally:
        if not hold:
            os.close(parent)


def close_box(access: dict[str, Any]) -> None:
    """Put up all that a process can put up against itself. Raises OSError or ValueError when one cannot be."""
    close_inherited({access[name] for name in ("ready_fd", "watch_fd") if name in access})
    for name, value in access["limits"].items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (limit, limit))
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    _checked("no_new_privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, one, zero, zero, zero))
    abi = landlock_abi()
    if abi < access.get("landlock", 0):
        raise OSError(f"this Linux has Landlock ABI {abi}, and this tier needs {access['landlock']}")
    filters = [Path(path).read_bytes() for path in access.get("filters", ())]
    last = [Path(path).read_bytes() for path in access.get("watch_filters", ())]
    if abi:
        restrict_files(access, abi)
    for program in filters:  # where no bubblewrap loads them
        load_filter(program)
    if "watch_fd" in access:
        ask_to_be_watched(access["watch_fd"], *last)
    if access.get("first"):
        hold_box()  # behind the filters, so that no process of the box lacks them
    if access.get("terminal"):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # interrupts and job control of the terminal it was given
    elif os.getpid() != os.getsid(0):
        os.setpgid(0, 0)  # so that an interrupt reaches this process and its children, and not bubblewrap


def close_inherited(kept: set[int]) -> None:
    """Close all descriptors but the standard three and these, which close when this process becomes another."""
    last = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for first, after in zip([3, *(fd + 1 for fd in sorted(kept))], [*sorted(kept), last], strict=True):
        os.closerange(first, after)
    for descriptor in kept:
        os.set_inheritable(descriptor, False)


def hold_box() -> None:
    """Go on in a child; this process stays as the box's first, passes signals on to the child's group and ends with it.

    For boxes where the launcher would itself be process 1, which has no group of its own and gets orphans to reap.
    """
    child = os.fork()
    if not child:
        return

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, pass_on)
    while True:
        pid, status = os.wait()
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            os._exit(ended if ended >= 0 else 128 - ended)


def load_filter(program: bytes) -> None:
    """Put this process under a seccomp program (an array of struct sock_filter) for good. Raises OSError."""
    mode, zero = ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.c_ulong(0)
    _checked("seccomp filter", _libc.prctl(_PR_SET_SECCOMP, mode, ctypes.byref(_filter(program)), zero, zero))


def _filter(program: bytes) -> _FilterProgram:
    code = ctypes.create_string_buffer(program, len(program))
    return _FilterProgram(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))


def ask_to_be_watched(watch_fd: int, notify: bytes, refuse: bytes) -> None:
    """Load the last seccomp program and send its listener through `watch_fd`: from now on the server answers.

    Where Linux gives no listener (older than 5.0, or one was given already), load the program that refuses the same
    calls itself. Raises OSError when that fails too: the box would be open.
    """
    with socket.socket(fileno=watch_fd) as server:
        listener = _load_last(notify, _NEW_LISTENER)
        if listener < 0:
            _checked("seccomp filter", _load_last(refuse, 0))
            return
        socket.send_fds(server, [b"w"], [listener])
        os.close(listener)


def _load_last(program: bytes, flags: int) -> int:
    operation, options = ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER), ctypes.c_ulong(flags)
    return _syscall(_SECCOMP, operation, options, ctypes.byref(_filter(program)))


def keep_prints_of_forks() -> None:
    """Carry what forked children print over a socket of the box: ipykernel would use TCP, which does not exist here."""
    import zmq  # noqa: PLC0415 - not before the box is closed, as below
    from ipykernel.iostream import IOPubThread  # noqa: PLC0415
    from zmq.eventloop.zmqstream import ZMQStream  # noqa: PLC0415

    address = "ipc://@strongroom-prints"

    def setup_pipe_in(self: Any) -> None:
        self._pipe_uuid = os.urandom(16)
        socket = self.socket.context.socket(zmq.PULL)
        socket.linger = 0
        socket.bind(address)
        self._pipe_in = ZMQStream(socket, self.io_loop)
        self._pipe_in.on_recv(self._handle_pipe_msg)

    def setup_pipe_out(_self: Any) -> tuple[Any, Any]:
        context = zmq.Context()  # a context does not survive a fork
        socket = context.socket(zmq.PUSH)
        socket.linger = 3000
        socket.connect(address)
        return context, socket

    IOPubThread._setup_pipe_in = setup_pipe_in  # type: ignore[method-assign]  # noqa: SLF001
    IOPubThread._setup_pipe_out = setup_pipe_out  # type: ignore[method-assign]  # noqa: SLF001


def flush_only_what_there_is() -> None:
    """Let a stream that holds nothing be flushed at once, and wait for what lies in its pipe while it does.

    ipykernel flushes each stream three times a cell, over another thread each time, and then sleeps half a millisecond
    in case C code has written to a descriptor (`run_kernel` takes the sleep away): a quarter of a small cell's time,
    and what a child wrote last can still come after the cell's end.
    """
    from ipykernel import iostream  # noqa: PLC0415

    plain: Any = iostream.OutStream

    class Stream(plain):
        _taking = False
        """Whether something has left the pipe that may not be in the stream yet."""
        _taken = 0
        """How often that was done."""
        _sending = False
        """Whether something has left the stream that may not be in line to be sent yet."""

        def flush(self) -> None:
            if self._is_master_process():
                self._wait_for_pipe()
                # In this order: who takes something from one place raises a mark first.
                if not (self._taking or self._buffers or self._sending):
                    return
            super().flush()

        def _wait_for_pipe(self) -> None:
            # The second time from now takes all that is there now; a child may go on writing for ever.
            enough, deadline = self._taken + 2, time.monotonic() + PIPE_PATIENCE
            while (_is_readable(self._fid) or self._taking) and self._taken < enough and time.monotonic() < deadline:
                time.sleep(0.0001)

        def _flush(self) -> None:
            self._sending = True
            try:
                super()._flush()
            finally:
                self._sending = False

        def _watch_pipe_fd(self) -> None:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            while _is_readable(self._fid, wait=True):
                self._taking = True
                piece = os.read(self._fid, PIPE_BYTES)
                if not self._should_watch:  # closed
                    return
                self.write(decoder.decode(piece))
                with contextlib.suppress(OSError):
                    os.write(self._original_stdstream_copy, piece)
                self._taken += 1
                self._taking = False

    iostream.OutStream = Stream  # type: ignore[misc]


def _is_readable(descriptor: int, *, wait: bool = False) -> bool:
    """Not where it has an end, or where a cell has closed it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(None if wait else 0))


def run_commands_by_pipe() -> None:
    """Let `!command` use pipes. IPython would take a pseudo-terminal; a host has few, so no box gets any."""
    from IPython.utils import process  # noqa: PLC0415
    from IPython.utils._process_common import process_handler  # noqa: PLC0415

    def show(child: subprocess.Popen[bytes]) -> int:
        assert child.stdin  # noqa: S101 - process_handler makes both pipes
        assert child.stdout  # noqa: S101
        child.stdin.close()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while piece := os.read(child.stdout.fileno(), 1 << 16):
            print(decoder.decode(piece), end="", flush=True)  # noqa: T201 - this is what the command says
        print(decoder.decode(b"", final=True), end="", flush=True)  # noqa: T201
        return child.wait()

    def system(cmd: str) -> int:
        status = process_handler(cmd, show, subprocess.STDOUT)
        return -signal.SIGINT if status is None else status

    process.system = system  # type: ignore[attr-defined]


def run_kernel(arguments: list[str]) -> None:
    """Become the kernel whose connection file is named, without what no page can reach.

    The debugger (the gate refuses its messages, and the box its socket) would be a quarter of the start. History is
    the kernel's own and ends with it. The thread for subshells stays, although the gate refuses them: without it
    ipykernel 7 cannot run a cell that awaits. The pause before each reply goes: here streams know what they hold.
    """
    from ipykernel.kernelapp import IPKernelApp  # noqa: PLC0415

    settings = "--HistoryManager.hist_file=:memory:", "--Kernel._execute_sleep=0"
    sys.argv = ["ipykernel_launcher", "-f", *arguments, *settings]
    kernel = IPKernelApp.instance()
    debugger: Any = {"debugpy": None}  # as if it were not installed, while ipykernel looks for it
    sys.modules.update(debugger)
    kernel.initialize()  # type: ignore[no-untyped-call]
    del sys.modules["debugpy"]
    kernel.start()  # type: ignore[no-untyped-call]


def main(arguments: list[str]) -> None:
    """Close the box, say so, and become what was asked for."""
    access, mode, *rest = arguments
    try:
        rights = json.loads(access)
        close_box(rights)
    except (OSError, ValueError) as error:
        print(f"strongroom: the box could not be closed: {error}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(FAILED)
    os.write(rights.get("ready_fd", 1), f"{READY}\n".encode())  # the sandbox waits for this line
    if mode == "exec":
        try:
            os.execvp(rest[0], rest)  # noqa: S606
        except OSError as error:
            print(f"strongroom: {rest[0]} cannot be run in the box: {error.strerror}", file=sys.stderr)  # noqa: T201
            sys.exit(NOT_RUN)
    del sys.path[0]  # the launcher's own folder; notebooks import from their current folder, as everywhere
    keep_prints_of_forks()
    flush_only_what_there_is()
    run_commands_by_pipe()
    run_kernel(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
