"""Holds a box that has no process namespace of its own: `python -I -S keeper.py GO PARENT FOLDER PROGRAM ARGUMENT...`.

Waits for a byte on descriptor GO, then runs the program as its only child, and ends with all that came of it: when the
program ends, when PARENT ends, at SIGTERM. Detached processes come back to it (`PR_SET_CHILD_SUBREAPER`). FOLDER (or
`-`) is removed then. Exit status as a shell tells it (128 + n after signal n). Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

USAGE, GONE, NOT_RUN = 64, 125, 127
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()]


def end_all() -> None:
    """Kill the children; theirs become ours and follow, until there is none left."""
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def clear(folder: str) -> None:
    """End what is left and remove the folder; the system's `rm` follows no link and minds no depth."""
    end_all()
    if folder != "-" and Path(folder).exists():
        os.waitpid(os.posix_spawn("/bin/rm", ["rm", "-rf", "--", folder], {}), 0)


def _run(command: list[str]) -> int:
    child = os.fork()
    if not child:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with contextlib.suppress(OSError):
            os.execv(command[0], command)  # noqa: S606 - by its full path
        os._exit(NOT_RUN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    while True:
        pid, status = os.wait()
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            return ended if ended >= 0 else 128 - ended


def main(arguments: list[str]) -> int:
    """Wait, run, clear up."""
    go, parent, folder, *command = arguments

    def end(*_: object) -> None:
        clear(folder)
        os._exit(128 + signal.SIGTERM)

    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    signal.signal(signal.SIGTERM, end)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent) or not os.read(int(go), 1):
        clear(folder)
        return GONE
    os.close(int(go))
    status = _run(command)
    clear(folder)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
