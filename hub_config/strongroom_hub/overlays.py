"""Private views of what all boxes share: one read-only overlay per server run and folder.

A file of an overlay has an inode of its own, so a lock that one workspace's kernel takes on it (flock, or a lease of
bytes) is not seen by any other. Memory is still shared: the pages are those of the file below.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from strongroom_kernels.box import BoxError, base_prefixes

from strongroom_hub import mounts

FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/fonts", "/etc/alternatives")
FILES = ("/etc/ld.so.cache", "/etc/localtime")
PREFIX = "prefix"
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
"""Major and minor number of what each box finds in /dev: the host's own nodes are one inode for all."""


def make(run: Path, kernel_prefix: Path) -> Path:
    """`run/system`: an overlay of each shared folder at its own path below, of the kernel's environment at `prefix`.

    Files that are shown alone are copied. Raises OSError, after which nothing of it is mounted.
    """
    system = run / "system"
    system.mkdir(mode=0o755)
    system.chmod(0o755)
    empty = _folder(system, "empty")
    try:
        for name, folder in _shared(kernel_prefix).items():
            _overlay(empty, folder, _folder(system, name))
        for file in map(Path, FILES):
            if file.is_file():
                copy = _folder(system, str(file.parent)) / file.name
                shutil.copyfile(file, copy)
                copy.chmod(0o644)
        _devices(_folder(system, "dev"))
    except OSError:
        remove(run)
        raise
    return system


def remove(run: Path) -> None:
    """Unmount and delete what `make` made. Raises OSError."""
    system = run / "system"
    mounts.unmount_below(system)
    shutil.rmtree(system, ignore_errors=True)


def _shared(kernel_prefix: Path) -> dict[str, Path]:
    """Name below `system` -> folder of the host."""
    shared = {name: Path(name) for name in FOLDERS if Path(name).is_dir() and not Path(name).is_symlink()}
    try:
        bases = base_prefixes(kernel_prefix)
    except BoxError as error:
        raise OSError(str(error)) from error
    shared |= {str(base): base for base in bases} | {PREFIX: kernel_prefix}
    for folder in shared.values():
        if any(point != folder.resolve() for point in mounts.below(folder)):
            raise OSError(f"other file systems are mounted below {folder}, which an overlay would not show")
    return shared


def _overlay(empty: Path, lower: Path, target: Path) -> None:
    flags = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV
    # Two layers, because an overlay of one that nobody writes to is refused.
    mounts.mount("strongroom", target, "overlay", flags, f"lowerdir={_escaped(empty)}:{_escaped(lower)}")


def _devices(folder: Path) -> None:
    # On a file system of their own: that of the run folder takes no devices.
    mounts.mount("strongroom", folder, "tmpfs", mounts.MS_NOSUID | mounts.MS_NOEXEC, "size=4k,nr_inodes=16,mode=0755")
    for name, numbers in DEVICES.items():
        os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
        (folder / name).chmod(0o666)


def _escaped(path: Path) -> str:
    return "".join(f"\\{letter}" if letter in "\\:," else letter for letter in str(path))


def _folder(system: Path, name: str) -> Path:
    """A folder below `system`, each step of it readable for all."""
    folder = system
    for part in Path(name.lstrip("/")).parts:
        folder /= part
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    return folder
