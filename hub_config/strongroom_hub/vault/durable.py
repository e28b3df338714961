"""Files that are there whole or not at all, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path

FRESH = ".fresh"
"""Ends the name of what is about to take another file's place; swept at the next start."""


def write_durably(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Write and sync; the name itself is durable once its folder is synced."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def replace_durably(file: Path, content: bytes) -> None:
    """Put `content` in place of `file` in one step. Raises OSError; then the old content stands."""
    fresh = file.with_name(file.name + FRESH)
    try:
        write_durably(fresh, content)
        fresh.rename(file)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
