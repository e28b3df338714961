"""Reading in a folder that a kernel can write, without being fooled by what lies there.

Every path is opened by `openat2` beneath the work folder, without following any link; names are shown escaped; a file
that is to leave must be a regular file with one link, is size-checked before and while it is read, never blocks the
server, and is copied once into memory of our own: what is hashed is what is sent.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedRandom
from pathlib import Path
from typing import IO, Any

from strongroom_hub.problems import Problem

MAX_BYTES = 100 << 20
"""Of one export in all: what a reviewer can be asked to look at."""
MAX_FILES = 20
MAX_NAMES = 1000
MAX_NAME = 4096
CHUNK = 1 << 20

_OPENAT2 = 437
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RULE = "Exports take regular files of at most 100 MiB, without links, from the work folder."
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Copied:
    """A file as it was when it was copied: `file` is unlinked memory, at its start."""

    name: str
    size: int
    sha256: str
    file: IO[bytes]


def memory() -> BufferedRandom:
    """An empty file in memory that has no name: the run folder is too small for exports."""
    return os.fdopen(os.memfd_create("export", os.MFD_CLOEXEC), "w+b")


def open_beneath(folder: int, path: str, flags: int) -> int:
    """A descriptor for `path` below the open `folder`. Raises OSError (ELOOP for any link, EXDEV for a way out)."""
    how = _How(flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _NO_XDEV)
    result: int = _libc.syscall(_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


@contextmanager
def _opened(work: Path, path: str, flags: int) -> Iterator[int]:
    top = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_beneath(top, path, flags)
    finally:
        os.close(top)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _clean(path: str) -> str:
    """A relative path as people and panels write it. Raises Problem."""
    trimmed = path.strip("/")
    if "\0" in trimmed or ".." in trimmed.split("/") or path.startswith("/"):
        raise Problem(
            400,
            "bad-path",
            "That is not a path in the work folder",
            f"{shown(path)!r} does not name a file below ~/work.",
            next="Give a path relative to ~/work, for example table.csv.",
        )
    return trimmed


def shown(name: str) -> str:
    """A name for the page: control and formatting characters, and bytes that are no text, escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        character if unicodedata.category(character)[0] != "C" else character.encode("unicode-escape").decode("ascii")
        for character in text
    )


# --- listing ------------------------------------------------------------------------------------------------------


def listing(work: Path, path: str) -> dict[str, Any]:
    """`{"path","entries","truncated"}` of one folder below `work`. Raises Problem."""
    relative = _clean(path)
    try:
        with _opened(work, relative or ".", os.O_RDONLY | os.O_DIRECTORY) as folder:
            entries, truncated = _entries(folder)
    except OSError as error:
        raise _not_opened(path, error) from error
    return {"path": shown(relative), "entries": entries, "truncated": truncated}


def _entries(folder: int) -> tuple[list[dict[str, Any]], bool]:
    names: list[str] = []
    truncated = False
    with os.scandir(folder) as found:
        for item in found:
            if len(names) == MAX_NAMES:
                truncated = True
                break
            names.append(item.name)
    return [entry for name in sorted(names) if (entry := _entry(folder, name)) is not None], truncated


def _entry(folder: int, name: str) -> dict[str, Any] | None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    kind = "file" if stat.S_ISREG(status.st_mode) else "directory" if stat.S_ISDIR(status.st_mode) else "other"
    return {"name": shown(name), "type": kind, "bytes": status.st_size, "modified": _time(status.st_mtime)}


def _time(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime.fromtimestamp(0, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- files that are to leave --------------------------------------------------------------------------------------


def copy_for_export(work: Path, paths: list[str]) -> list[Copied]:
    """Copies of all files, or a Problem that names the first that cannot be exported, and why."""
    if not paths or len(paths) > MAX_FILES or len(set(paths)) != len(paths):
        raise Problem(
            422,
            "bad-files",
            "Choose the files to export",
            f"An export holds 1 to {MAX_FILES} different files.",
            next="Choose fewer files, or pack small ones into one table.",
        )
    copies: list[Copied] = []
    try:
        for path in paths:
            left = MAX_BYTES - sum(copy.size for copy in copies)
            copies.append(_copy(work, _clean(path), left))
    except BaseException:
        for copy in copies:
            copy.file.close()
        raise
    return copies


def _copy(work: Path, path: str, left: int) -> Copied:
    try:
        with _opened(work, path or ".", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) as source:
            _check(path, os.fstat(source), left)
            return _read(path, source, left)
    except OSError as error:
        raise _not_opened(path, error) from error


def _check(path: str, status: os.stat_result, left: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise _refused(path, "not-a-file", f"is {what}", "Copy the content into a regular file and export that.")
    if status.st_nlink != 1:
        raise _refused(
            path, "hard-link", "has a second name (a hard link)", "Make a copy of it (cp) and export the copy."
        )
    if status.st_size > left:
        raise _too_large(path, status.st_size)


def _read(path: str, source: int, left: int) -> Copied:
    copy = memory()
    digest = hashlib.sha256()
    total = 0
    while chunk := os.read(source, CHUNK):
        total += len(chunk)
        if total > left:
            copy.close()
            raise _too_large(path, total)
        digest.update(chunk)
        copy.write(chunk)
    copy.seek(0)
    return Copied(os.fsencode(path).decode("utf-8", "backslashreplace"), total, digest.hexdigest(), copy)


def _too_large(path: str, found: int) -> Problem:
    return _refused(
        path,
        "too-large",
        f"is too large: {found:,} bytes, where {MAX_BYTES:,} may leave in one export",
        "Export a smaller result: aggregate, or fewer rows and columns.",
        status=413,
    )


def _refused(path: str, slug: str, what: str, what_next: str, status: int = 422) -> Problem:
    return Problem(
        status, slug, "This cannot be exported", f"~/work/{shown(path)} {what}.", why=(_RULE,), next=what_next
    )


def _not_opened(path: str, error: OSError) -> Problem:
    name = os.strerror(error.errno or 0)
    if isinstance(error, FileNotFoundError):
        return _refused(path, "not-found", "does not exist", "Look at the Work files panel for its name.", 404)
    if isinstance(error, NotADirectoryError):
        return _refused(path, "not-a-folder", "is no folder", "Open the folder that it is in.")
    if error.errno in {errno.ELOOP, errno.EXDEV}:
        return _refused(
            path, "link", "is a link, or lies behind one", "Copy the file itself into ~/work and export the copy."
        )
    return _refused(path, "not-readable", f"cannot be opened ({name})", "Check its name and mode (chmod u+r).")
