"""Tries the mounts that the spawner makes, in a mount namespace of its own: `python -I -S mounting.py`, as root.

Prints one JSON object: the name of each mount -> what went wrong, empty where nothing did. Nothing of it is left.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSYMFOLLOW, MS_REC, MS_PRIVATE = 1, 256, 0x4000, 1 << 18
LOOP_CTL_GET_FREE = 0x4C82
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(what: str, result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _checked(f"mount {kind}", _libc.mount(*arguments))


def _nosymfollow(folder: Path) -> None:
    _mount("trial", str(folder), "tmpfs", MS_NOSYMFOLLOW, "size=64k")
    (folder / "file").touch()
    (folder / "link").symlink_to("file")
    try:
        (folder / "link").read_bytes()
    except OSError:
        return
    raise OSError("a link was followed all the same")


def _overlay(folder: Path) -> None:
    for name in ("one", "two", "top"):
        (folder / name).mkdir()
    _mount("trial", str(folder / "top"), "overlay", MS_RDONLY, f"lowerdir={folder / 'one'}:{folder / 'two'}")


def _loop(_: Path) -> None:
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
        os.close(os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC))
    finally:
        os.close(control)


TRIALS: dict[str, Callable[[Path], None]] = {"nosymfollow": _nosymfollow, "overlay": _overlay, "loop": _loop}


def _said(trial: Callable[[Path], None], folder: Path) -> str:
    folder.mkdir()
    try:
        trial(folder)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def main() -> None:
    _checked("unshare", _libc.unshare(CLONE_NEWNS))
    _checked("private mounts", _libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    top = tempfile.mkdtemp(prefix="strongroom-doctor-")
    # All of it lies on a file system that only this namespace sees, and that ends with it.
    _mount("trial", top, "tmpfs", 0, "size=1m")
    print(json.dumps({name: _said(trial, Path(top) / name) for name, trial in TRIALS.items()}), flush=True)  # noqa: T201
    _checked("unmount", _libc.umount2(top.encode(), 2))
    Path(top).rmdir()


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(str(error))
