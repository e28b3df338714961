"""One stored file of a version: opened, and hashed through the very descriptor that is read from afterwards."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from pathlib import Path

from strongroom_hub.problems import Problem
from strongroom_hub.vault.manifest import File, Part

PARQUET_MAGIC = b"PARE"
"""Head and tail of an encrypted Parquet file; a plaintext one says `PAR1`, and polars would read it without a word."""
_AES_GCM_V1 = b"\x1c\x1c"
"""How the clear part before an encrypted footer begins (Thrift, compact): structure 1 of structure 1, AES_GCM_V1."""
_LENGTH = struct.Struct("<I")
DAMAGED = "dataset-damaged"
"""Slug of the refusal to serve what is not as signed."""


Mark = tuple[int, int, int, int, int]
"""What tells a file from a changed one without reading it: device, inode, bytes, times of change of content and inode
in nanoseconds. Nobody but the machine's root can change a file and set the last one back."""
_SETTLED = 2_000_000_000
"""Nanoseconds that a file must have been left alone: clocks of file systems are coarse, and a change right after the
check could bear the same time."""


def mark_of(fd: int) -> Mark:
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def is_settled(mark: Mark, since: int) -> bool:
    """Whether a file with this mark was left alone since well before `since` (Unix time in ns), when a check began."""
    return since - max(mark[3], mark[4]) > _SETTLED


def open_part(folder: Path, dataset: str, version: int, part: Part, checked: Mark | None = None) -> int:
    """A descriptor of a part that is exactly what the manifest says; the caller closes it.

    `checked`: the mark under which this vault found this part to be right before: then it is not hashed again.
    Raises Problem naming the part when it is missing, plain, of another size or of another content.
    """
    fd = _open(folder, dataset, version, part.name)
    if checked is not None and mark_of(fd) == checked:
        return fd
    try:
        if wrong := encrypted_as_wanted(fd):
            raise damaged(dataset, version, part.name, wrong)  # noqa: TRY301 - the descriptor is closed below
        _check(fd, dataset, version, part.name, part)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_sealed(folder: Path, dataset: str, version: int, file: File) -> int:
    """The same for a file that is no table; its own format is checked where it is decrypted."""
    fd = _open(folder, dataset, version, file.stored)
    try:
        _check(fd, dataset, version, file.stored, file)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open(folder: Path, dataset: str, version: int, name: str) -> int:
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise damaged(dataset, version, name, "the file is missing or cannot be opened") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise damaged(dataset, version, name, "it is not a regular file")
    return fd


def encrypted_as_wanted(fd: int) -> str:
    """Empty, or what is wrong with the outside of an open Parquet file: that it is plain, or of the other mode."""
    last = max(0, os.fstat(fd).st_size - len(PARQUET_MAGIC))
    ends = [os.pread(fd, len(PARQUET_MAGIC), at) for at in (0, last)]
    if last < 2 * len(PARQUET_MAGIC) or ends != [PARQUET_MAGIC, PARQUET_MAGIC]:
        return "it is not an encrypted Parquet file"
    footer = last - _LENGTH.size - int(_LENGTH.unpack(os.pread(fd, _LENGTH.size, last - _LENGTH.size))[0])
    if footer < len(PARQUET_MAGIC) or os.pread(fd, len(_AES_GCM_V1), footer) != _AES_GCM_V1:
        return "it is encrypted in another way than AES_GCM_V1, the only one that notices every change"
    return ""


def _check(fd: int, dataset: str, version: int, name: str, signed: Part | File) -> None:
    size = os.fstat(fd).st_size
    if size != signed.bytes:
        raise damaged(dataset, version, name, f"it has {size} bytes, the manifest says {signed.bytes}")
    with os.fdopen(os.dup(fd), "rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != signed.sha256:
            raise damaged(dataset, version, name, "its SHA-256 is not the one in the manifest")


def damaged(dataset: str, version: int, file: str, what: str) -> Problem:
    """The refusal to serve a version of which one file is not what control signed."""
    return Problem(
        500,
        DAMAGED,
        "The stored dataset cannot be trusted",
        f"{dataset} version {version}, {file}: {what}.",
        why=("every file of a version must be exactly what its signed manifest says",),
        next="Tell an operator: `strongroom dataset verify` names what is wrong; restore the version from backup.",
    )
