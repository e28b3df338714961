"""One stored file of a version: opened, and hashed through the very descriptor that is read from afterwards."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from strongroom_hub.problems import Problem
from strongroom_hub.vault.manifest import File, Part

PARQUET_MAGIC = b"PARE"
"""Head and tail of an encrypted Parquet file; a plaintext one says `PAR1`, and polars would read it without a word."""


def open_part(folder: Path, dataset: str, version: int, part: Part) -> int:
    """A descriptor of a part that is exactly what the manifest says; the caller closes it.

    Raises Problem naming the part when it is missing, plain, of another size or of another content.
    """
    fd = _open(folder, dataset, version, part.name)
    try:
        _check_encrypted(fd, dataset, version, part.name)
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


def _check_encrypted(fd: int, dataset: str, version: int, name: str) -> None:
    last = max(0, os.fstat(fd).st_size - len(PARQUET_MAGIC))
    ends = [os.pread(fd, len(PARQUET_MAGIC), at) for at in (0, last)]
    if last < len(PARQUET_MAGIC) or ends != [PARQUET_MAGIC, PARQUET_MAGIC]:
        raise damaged(dataset, version, name, "it is not an encrypted Parquet file")


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
        "dataset-damaged",
        "The stored dataset cannot be trusted",
        f"{dataset} version {version}, {file}: {what}.",
        why=("every file of a version must be exactly what its signed manifest says",),
        next="Tell an operator: `strongroom dataset verify` names what is wrong; restore the version from backup.",
    )
