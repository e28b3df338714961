"""The short folder of one kernel below the server's run folder: its sockets, its ask door, its output.

    k/SHORT/sock/           -> /run/k in the box, the only one of these that the kernel can write
    k/SHORT/ask/            -> /run/strongroom/server
    k/SHORT/connection.json    the host's view of the ZeroMQ sockets; never visible inside
    k/SHORT/kernel.log         what the process printed outside Jupyter's channels
    k/SHORT/lock               held by the server while it lives

A kernel may leave anything in `sock/`: removal follows no link and does not recurse.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from strongroom_kernels.box import BoxError

_SUN_PATH = 107
_LONGEST_NAME = "sock/c-5"


@dataclass(slots=True)
class KernelFolder:
    """One kernel's folder on the host."""

    path: Path
    _lock: int | None = field(default=None, repr=False)

    @classmethod
    def of(cls, run_dir: Path, kernel_id: str) -> KernelFolder:
        """Where a kernel's folder is, whether it exists or not. Raises BoxError where sockets would not fit."""
        short = hashlib.blake2s(kernel_id.encode(), digest_size=6).hexdigest()
        path = run_dir / "k" / short
        if len(os.fsencode(path / _LONGEST_NAME)) > _SUN_PATH:
            raise BoxError(
                f"No kernel can start: the folder {run_dir} has too long a name for sockets (at most {_SUN_PATH} bytes "
                "with the socket's own name). Choose a shorter `run` folder for this instance."
            )
        return cls(path)

    @property
    def sockets(self) -> Path:
        return self.path / "sock"

    @property
    def ask(self) -> Path:
        return self.path / "ask"

    @property
    def ask_socket(self) -> Path:
        """Where the server listens for this kernel's questions (`doors.AskDoor`)."""
        return self.ask / "ask.sock"

    @property
    def connection_file(self) -> Path:
        return self.path / "connection.json"

    @property
    def log(self) -> Path:
        return self.path / "kernel.log"

    def create(self) -> None:
        """Make the folder and hold its lock; what a killed server left in its place is removed first."""
        if self._lock is not None:
            return
        if self.path.exists():
            remove_tree(self.path)
        self.path.mkdir(mode=0o700, parents=True)
        self._lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.sockets.mkdir(mode=0o700)
        self.ask.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove all of it; nothing happens when it is gone."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self.path.exists():
            remove_tree(self.path)


def sweep(run_dir: Path) -> None:
    """Remove the folders that killed servers left: those whose lock nobody holds."""
    for path in sorted((run_dir / "k").glob("*/lock")):
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            remove_tree(path.parent)
        finally:
            os.close(lock)


def remove_tree(path: Path) -> None:
    """Delete a folder that a kernel may have filled: no link is followed, depth and length of names do not matter.

    Folders found on the way are moved up beside each other, so that no path grows and nothing recurses.
    """
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = 0
        pending = [name for name in os.listdir(top) if not _unlinked(name, top)]  # noqa: PTH208 - by descriptor, as below
        while pending:
            name = pending.pop()
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                for inner in os.listdir(folder):  # noqa: PTH208
                    if not _unlinked(inner, folder):
                        found += 1
                        moved = f".removing-{found}-{os.urandom(8).hex()}"
                        os.rename(inner, moved, src_dir_fd=folder, dst_dir_fd=top)
                        pending.append(moved)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    path.rmdir()


def _unlinked(name: str, folder: int) -> bool:
    """Whether it was no folder and is gone now; a folder is made enterable instead."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.chmod(name, 0o700, dir_fd=folder)
            return False
        os.unlink(name, dir_fd=folder)
    return True
