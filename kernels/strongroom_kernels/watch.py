"""Seeing what a kernel tries: the server answers the `watched` calls of seccomp's table, and counts them.

How a sandbox uses it, for one box:

    server_end, box_end = watch.channel()
    watched = seccomp.watched(box_end.fileno())     # programs, files and ACCESS of the box; box_end is inherited
    ...                                             # start; then close box_end
    found = watch.receive(server_end, memory_bytes) # once the launcher has said READY
    if found is not None:                           # None: this Linux cannot; the calls are refused unseen
        answering = watch.Answering(found, report)  # report({"ptrace": 1, "socket AF_VSOCK": 2})
        answering.start()                           # on the running asyncio loop
        ...
        answering.stop()                            # when the box has ended

From READY on somebody must answer: a call that nobody answers waits (it can be interrupted and killed). When the
server's end is closed Linux answers ENOSYS: never an open box. A box that nobody will watch takes
`seccomp.programs()` alone. Sources: man 2 seccomp_unotify, linux/seccomp.h.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from strongroom_kernels import seccomp

_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102  # ioctls of a listener
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags; call number, architecture, instruction, arguments
_RESPONSE = struct.Struct("=QqiI")  # id, value, -errno, flags
_SYSINFO = struct.Struct("=q3Q6QHH4x2QI4x")
_LINK = "anon_inode:seccomp notify"
_GREETING = b"w"
_MOST_AT_ONCE = 100
PER_SECOND = 200
"""Answered calls of one box. More wait, so that a hostile kernel spends its own time and not the server's."""

_FAMILIES = {family.value: f"socket {family.name}" for family in socket.AddressFamily}


def channel() -> tuple[socket.socket, socket.socket]:
    """(the server's end, the launcher's end) of the way that a listener takes out of a new box."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def receive(server_end: socket.socket, memory_bytes: int | None = None) -> Watch | None:
    """The listener that the launcher sent before READY, and None when it sent none. Closes `server_end`.

    `memory_bytes`: what programs in the box shall take for the machine's memory; without, the machine's. Never blocks.
    """
    with server_end:
        server_end.setblocking(False)
        try:
            said, descriptors, _, _ = socket.recv_fds(server_end, 1, 1)
        except (BlockingIOError, ConnectionError):
            return None
    if len(descriptors) == 1 and said == _GREETING and _is_listener(descriptors[0]):
        return Watch(descriptors[0], memory_bytes)
    for descriptor in descriptors:
        os.close(descriptor)
    return None


def _is_listener(descriptor: int) -> bool:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink()) == _LINK


class Watch:
    """The server's side of one box's watched calls. Owns the listener `fd`. One reader at a time."""

    def __init__(self, fd: int, memory_bytes: int | None = None) -> None:
        self._fd = fd
        self._refusals = seccomp.refusals()
        memory = memory_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._sysinfo = _SYSINFO.pack(1, 0, 0, 0, memory, memory, 0, 0, 0, 0, 1, 0, 0, 0, 1)
        self.handled = 0
        """Calls answered so far, of all kinds."""
        self.ended = False
        """Whether the box is empty, as seen by the last `answer`: then the descriptor stays readable for good."""

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Let go: waiting and later calls get ENOSYS from Linux."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def answer(self, most: int = _MOST_AT_ONCE) -> dict[str, int]:
        """Answer what waits, at most `most` calls, without blocking; returns name -> count of the refused ones.

        Sockets are named with their family (`socket AF_INET`); `socket` alone is a family without a name.
        """
        counts: Counter[str] = Counter()
        for _ in range(most):
            notification = self._next()
            if notification is None:
                break
            cookie, pid, _, number, _, _, first, *_ = notification
            self.handled += 1
            name = seccomp.name_of(number)
            if name == "sysinfo":
                self._respond(cookie, self._give_sysinfo(cookie, pid, first))
            else:
                self._respond(cookie, self._refusals.get(name, errno.ENOSYS))
                counts[_FAMILIES.get(first, name) if name in {"socket", "socketpair"} else name] += 1
        return dict(counts)

    def _next(self) -> tuple[int, ...] | None:
        """What waits longest, None when nothing does."""
        while True:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            events = dict(poll.poll(0)).get(self._fd, 0)
            if not events & select.POLLIN:
                self.ended = bool(events & (select.POLLHUP | select.POLLERR))
                return None
            buffer = bytearray(_NOTIFICATION.size)
            try:
                fcntl.ioctl(self._fd, _RECEIVE, buffer)
            except FileNotFoundError:  # the caller was killed since it called
                continue
            return _NOTIFICATION.unpack(buffer)

    def _respond(self, cookie: int, error: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # the caller was killed, or a signal ended its call
            fcntl.ioctl(self._fd, _SEND, bytearray(_RESPONSE.pack(cookie, 0, -error, 0)))

    def _give_sysinfo(self, cookie: int, pid: int, address: int) -> int:
        """Write the constants where the caller wants them; returns 0 or an errno. Fails rather than tells the truth."""
        try:
            memory = os.open(f"/proc/{pid}/mem", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return errno.EPERM
        try:
            # The open file is tied to this memory; if the call still waits, it is the caller's and not a successor's.
            fcntl.ioctl(self._fd, _IS_VALID, struct.pack("=Q", cookie))
            return 0 if os.pwrite(memory, self._sysinfo, address) == len(self._sysinfo) else errno.EFAULT
        except (OSError, OverflowError):
            return errno.EFAULT
        finally:
            os.close(memory)


class Answering:
    """Answers a watch on an asyncio loop, at most `per_second` calls; further ones wait for the next second."""

    def __init__(self, watch: Watch, report: Callable[[dict[str, int]], None], per_second: int = PER_SECOND) -> None:
        self._watch = watch
        self._report = report
        self._per_second = per_second
        self._left = per_second
        self._next_second = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._watch, self._answer)

    def stop(self) -> None:
        """Stop and let go of the listener. May be called again."""
        if self._loop is not None:
            self._loop.remove_reader(self._watch)
            self._loop = None
            self._watch.close()
        if self._timer is not None:
            self._timer.cancel()

    def _answer(self) -> None:
        loop = self._loop
        if loop is None:
            return
        if loop.time() >= self._next_second:
            self._left, self._next_second = self._per_second, loop.time() + 1
        before = self._watch.handled
        counts = self._watch.answer(min(self._left, _MOST_AT_ONCE))
        self._left -= self._watch.handled - before
        if self._watch.ended:
            self.stop()
        elif self._left == 0:
            loop.remove_reader(self._watch)
            self._timer = loop.call_at(self._next_second, loop.add_reader, self._watch, self._answer)
        if counts:
            self._report(counts)
