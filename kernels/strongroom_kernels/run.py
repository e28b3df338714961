"""Any command in a kernel's box: `python -m strongroom_kernels.run PLAN PROGRAM ARGUMENT...`, unprivileged.

PLAN is JSON: `{"work", "prefix": folders of the host, "data": folder or null, "profile": PROFILE or null}`. Standard
streams, signals and the exit status (128 + n after signal n) pass through; on a terminal the program gets one of its
own, so that interrupts and job control are its own too. Exit status 125 where there was no box.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import tempfile
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strongroom_kernels import box as inside
from strongroom_kernels.box import Box, BoxError, Limits, Mount
from strongroom_kernels.sandbox import Boxed, sandbox_of
from strongroom_kernels.starting import Streams

NO_BOX = 125
DATA = f"{inside.HOME}/data"
"""Where the data folder is inside (at its own path in the tier `launcher`)."""
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PIECE = 1 << 16


def box_of(plan: dict[str, Any], folder: Path) -> Box:
    """The box that a PLAN describes; `folder` is new and empty, for the doors that lead nowhere. Raises BoxError."""
    for name in ("notebooks", "ask", "doors", "sockets"):
        (folder / name).mkdir(mode=0o700)
    profile = plan["profile"]
    return Box(
        work=Path(plan["work"]),
        notebooks=folder / "notebooks",
        prefix=Path(plan["prefix"]),
        ask=folder / "ask",
        data=folder / "doors",
        sockets=folder / "sockets",
        limits=Limits() if profile is None else Limits.of(profile),
        extra=() if plan["data"] is None else (Mount(Path(plan["data"]), DATA),),
        tier="bubblewrap" if profile is None else str(profile["sandbox"]),
    )


def run(plan: dict[str, Any], command: list[str]) -> int:
    """Run it and return its exit status. Raises BoxError in words."""
    with tempfile.TemporaryDirectory(prefix="sr-", ignore_cleanup_errors=True) as name, contextlib.ExitStack() as stack:
        box = box_of(plan, Path(name))
        own_terminal = stack.enter_context(_terminal()) if os.isatty(0) and os.isatty(1) else None
        ready, ready_writer = os.pipe()
        stack.callback(os.close, ready)
        streams = _streams(own_terminal, ready_writer)
        try:
            boxed = sandbox_of(box.tier).start(box, ["exec", *command], streams)
        finally:
            os.close(ready_writer)
            if own_terminal is not None:
                os.close(own_terminal[1])
        for number in _PASSED_ON:
            signal.signal(number, lambda number, _frame: boxed.send_signal(number))
        _until_end(boxed, None if own_terminal is None else own_terminal[0])
        boxed.close()
        if not os.read(ready, 1):
            raise BoxError("The box could not be closed around the command, so it was not run; why is said above.")
        return boxed.poll() or 0


def _streams(own_terminal: tuple[int, int] | None, ready: int) -> Streams:
    if own_terminal is None:
        return Streams(0, 1, 2, ready)
    slave = own_terminal[1]
    return Streams(slave, slave, slave if os.isatty(2) else 2, ready, terminal=True)


@contextlib.contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """(our end, the program's end) of a new terminal of the present one's size; ours is raw meanwhile."""
    master, slave = os.openpty()
    before = termios.tcgetattr(0)

    def resize(*_: object) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))

    resize()
    signal.signal(signal.SIGWINCH, resize)
    tty.setraw(0)
    try:
        yield master, slave
    finally:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        os.close(master)


def _until_end(boxed: Boxed, terminal: int | None) -> None:
    """Return when the box has ended; until then carry what is typed and shown."""
    ended = os.pidfd_open(boxed.pid)
    sources = {ended} if terminal is None else {ended, terminal, 0}
    try:
        while True:
            found = select.select(sources, [], [])[0]
            if terminal is not None:
                for source, target in ((0, terminal), (terminal, 1)):
                    if source in found and not _carry(source, target):
                        sources.discard(source)
                        if source == 0:  # raw, so nothing but a terminal that is gone
                            boxed.kill()
            if found == [ended]:  # and nothing is left to show
                boxed.poll()
                return
    finally:
        os.close(ended)


def _carry(source: int, target: int) -> bool:
    """Whether there is more to come."""
    try:
        piece = os.read(source, _PIECE)
        while piece:
            written = os.write(target, piece)
            piece = piece[written:]
            if not piece:
                return True
    except OSError:  # a terminal whose other side is closed
        pass
    return False


def main() -> int:
    plan, *command = sys.argv[1:]
    try:
        return run(json.loads(plan), command)
    except BoxError as error:
        print(f"strongroom: {error}", file=sys.stderr)  # noqa: T201 - whoever ran it reads this
        return NO_BOX


if __name__ == "__main__":
    sys.exit(main())
