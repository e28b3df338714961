"""One folder for the sockets of each running server: as root small tmpfs mounts that follow no symbolic link.

Trusted code connects to sockets that live here. On a `nosymfollow` mount a kernel cannot make such a path lead
elsewhere, and its size bounds what can be filled.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from strongroom_hub import mounts
from strongroom_hub.config import Instance

SIZE_BYTES, INODES = 8 * 1024 * 1024, 512
KERNELS = "k"
KERNELS_SIZE_BYTES, KERNELS_INODES = 32 * 1024 * 1024, 2048
# gVisor keeps the root of a box among the kernels' folders, and cannot make it read-only where the mount says noexec.
KERNELS_FLAGS = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOSYMFOLLOW
FLAGS = KERNELS_FLAGS | mounts.MS_NOEXEC
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


def prepare(instance: Instance) -> list[str]:
    """Empty the run folder and lay it out anew; returns the ids of servers that an earlier hub left behind.

    Call it only while holding the instance's lock. Raises OSError when the folder belongs to somebody else.
    """
    run = instance.run
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    if run.is_symlink() or run.stat().st_uid != os.geteuid():
        raise PermissionError(f"{run} belongs to another user")
    left = sorted(path.name for path in instance.servers_run.glob("*")) if instance.servers_run.is_dir() else []
    for name in left:
        remove(instance, name)
    for path in run.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    uids = instance.uids
    run.chmod(0o755 if uids else 0o700)
    _folder(instance.control_socket.parent, 0o755, uids.control if uids else None)
    _folder(instance.vault_socket.parent, 0o755, uids.vault if uids else None)
    _folder(instance.data_socket.parent, 0o755, uids.vault if uids else None)
    _folder(instance.servers_run, 0o711 if uids else 0o700, None)
    return left


def _folder(path: Path, mode: int, owner: int | None) -> None:
    path.mkdir()
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, owner)


def make(instance: Instance, name: str, uid: int | None) -> Path:
    """The run folder of server `name`, owned by `uid` (None: this uid), 0700. Raises OSError, ValueError."""
    path = _path(instance, name)
    path.mkdir(mode=0o700)
    if uid is None:
        return path
    try:
        _mount(path, uid, FLAGS, SIZE_BYTES, INODES)
        # Apart, so that kernels that fill theirs take nothing from the server.
        (path / KERNELS).mkdir(mode=0o700)
        _mount(path / KERNELS, uid, KERNELS_FLAGS, KERNELS_SIZE_BYTES, KERNELS_INODES)
    except OSError:
        remove(instance, name)
        raise
    return path


def _mount(path: Path, uid: int, flags: int, size: int, inodes: int) -> None:
    mounts.mount("strongroom", path, "tmpfs", flags, f"size={size},nr_inodes={inodes},mode=0700,uid={uid},gid={uid}")


def remove(instance: Instance, name: str) -> None:
    """Unmount and delete the run folder of server `name`; nothing happens when it is gone. Raises OSError."""
    path = _path(instance, name)
    mounts.unmount_below(path)
    shutil.rmtree(path, ignore_errors=True)


def write_once(folder: Path, name: str, text: str, uid: int | None) -> Path:
    """A 0400 file in a server's run folder, owned by the server. Raises OSError (also when it exists)."""
    descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        if uid is not None:
            os.fchown(file.fileno(), uid, uid)
    return folder / name


def _path(instance: Instance, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise ValueError(f"not a server id: {name!r}")
    return instance.servers_run / name
