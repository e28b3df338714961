"""Memory files: what is spooled never touches a disk, what is handed to kernels can never change again."""

from __future__ import annotations

import fcntl
import os

_CONTENT = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MFD_NOEXEC_SEAL = 0x0008  # Linux 6.3; not in Python 3.11's os module
_READ_ONLY_FOR_ALL = 0o444  # a kernel under another uid may map it again by /proc/self/fd, and no more


def create(name: str) -> int:
    """A new, empty, sealable memory file; the caller closes it."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_NOEXEC_SEAL)
    except OSError:  # an older Linux knows no such flag
        return os.memfd_create(name, flags)


def write(fd: int, data: bytes) -> None:
    """All of `data` at the end of what was written."""
    while data:
        data = data[os.write(fd, data) :]


def path(fd: int) -> str:
    """A path by which this process (and libraries that want a path) can open the file again."""
    return f"/proc/self/fd/{fd}"


def seal(fd: int, *, for_good: bool = False) -> None:
    """Make the content final: no byte of it can be changed or added by anybody, this process included.

    Unless `for_good`, it can still be cut off by who has it open for writing: to take it back. Its mode lets no other
    uid open it so; under the same uid anybody could change the mode. Raises OSError while somebody maps it writable.
    """
    os.fchmod(fd, _READ_ONLY_FOR_ALL)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _CONTENT | (fcntl.F_SEAL_SHRINK if for_good else 0))


def cut_off(fd: int) -> bool:
    """Take the content away from all who have it open or mapped; False where it was sealed for good.

    Whoever touches a page that they mapped gets SIGBUS from here on.
    """
    try:
        os.ftruncate(fd, 0)
    except PermissionError:
        return False
    return True


def is_held(fd: int) -> bool:
    """Whether anybody but the holder of `fd` (who made the file, and has it open for writing) has it open or mapped,
    or a descriptor of it is on its way: Linux grants a write lease only where nobody has.
    """
    probe = reopen_read_only(fd)
    try:
        fcntl.fcntl(probe, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(probe, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    finally:
        os.close(probe)
    return False


def reopen_read_only(fd: int) -> int:
    """An own, read-only open file description: a shared one would share its offset between kernels."""
    return os.open(path(fd), os.O_RDONLY | os.O_CLOEXEC)


def size(fd: int) -> int:
    """Length in bytes."""
    return os.fstat(fd).st_size
