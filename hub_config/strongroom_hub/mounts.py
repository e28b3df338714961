"""Mounting and unmounting, for the hub as root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NOSYMFOLLOW = 1, 2, 4, 8, 1024, 256
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
_OCTAL = re.compile(r"\\([0-7]{3})")


def mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    """Raises OSError in the kernel's words."""
    _call("mount", source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), os.fsencode(options))


def unmount(target: Path) -> None:
    """Take away what is mounted at `target`, at once and from everybody's sight; nothing happens when nothing is."""
    while os.path.ismount(target):
        _call("umount2", os.fsencode(target), ctypes.c_int(MNT_DETACH | UMOUNT_NOFOLLOW))


def below(folder: Path) -> list[Path]:
    """Mount points in `folder` and below it, the deepest first."""
    top = Path(os.path.realpath(folder))
    table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    points = (Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), line.split(" ")[4])) for line in table)
    return sorted((point for point in points if point.is_relative_to(top)), key=lambda p: len(p.parts), reverse=True)


def unmount_below(folder: Path) -> None:
    """Take away everything that is mounted in `folder` or below it. Raises OSError."""
    for point in below(folder):
        with contextlib.suppress(FileNotFoundError):
            unmount(point)


def _call(function: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
