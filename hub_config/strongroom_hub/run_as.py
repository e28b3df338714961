"""Give up root for good, then become another program: `python run_as.py UID -- PROGRAM ARGS...`.

Standard library only, run by path with `python -I -S`, so that nothing of the environment that follows is imported
while this still is root. The program gets: numeric uid and gid `UID`, no supplementary groups, umask 077, no way to
gain privileges (`no_new_privs`), no descriptor but 0-2, and SIGTERM (with `--kill-with-parent`: SIGKILL) when the hub
dies. With `-` instead of a uid it keeps the uid (one-uid mode) and does all the rest.

`run_as.py UID --end-all` kills every process of that uid instead: what a server leaves behind ends here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
KEEP = "-"
USAGE = 64
SAME_AS_PARENT = 126


class RunAsError(Exception):
    """Refused: what was asked for would run something as root, or is no uid."""


def wrap(python: str, uid: int | None, command: list[str], *, kill_with_parent: bool = False) -> list[str]:
    """The command line that runs `command` as `uid` (None: the present uid)."""
    flags = ["--kill-with-parent"] if kill_with_parent else []
    return [python, "-I", "-S", __file__, KEEP if uid is None else str(uid), *flags, "--", *command]


def wrap_end_all(python: str, uid: int) -> list[str]:
    """The command line that kills every process of `uid`."""
    return [python, "-I", "-S", __file__, str(uid), "--end-all"]


def parse_uid(text: str) -> int | None:
    """A uid above 0, or None for `-`. Raises RunAsError for uid 0 and for anything that is no number."""
    if text == KEEP:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) >= 2**32 - 1:
        raise RunAsError(f"not a uid: {text!r}")
    if int(text) == 0:
        raise RunAsError("refusing to run anything as uid 0")
    return int(text)


def drop(uid: int | None) -> None:
    """Become `uid` with no way back. Raises OSError or RunAsError when anything of it did not take."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or os.getgroups():
            raise RunAsError(f"could not become uid {uid}")
    os.umask(0o077)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have the kernel signal this process when its parent dies (set after the uid change, which clears it)."""
    _prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        raise RunAsError("the parent is gone")


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main(arguments: list[str]) -> int:
    parent = os.getppid()
    try:
        uid = parse_uid(arguments[0])
        if arguments[1:] == ["--end-all"]:
            if uid is None:
                raise RunAsError("--end-all needs a uid")  # noqa: TRY301 - answered like every other refusal
            drop(uid)
            os.kill(-1, signal.SIGKILL)
            return 0
        cut = arguments.index("--")
        options, command = arguments[1:cut], arguments[cut + 1 :]
        if not command or set(options) - {"--kill-with-parent"}:
            raise ValueError  # noqa: TRY301 - one place says how to call this
        drop(uid)
        die_with_parent(parent, signal.SIGKILL if options else signal.SIGTERM)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.execvp(command[0], command)  # noqa: S606 - becoming another program is the point
    except (IndexError, ValueError):
        print("usage: run_as.py UID [--kill-with-parent] -- PROGRAM ARGS... | UID --end-all", file=sys.stderr)  # noqa: T201
        return USAGE
    except ProcessLookupError:
        return 0
    except (OSError, RunAsError) as error:
        print(f"run_as: {error}", file=sys.stderr)  # noqa: T201 - its caller logs it
        return SAME_AS_PARENT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
