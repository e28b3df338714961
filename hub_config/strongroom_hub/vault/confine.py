"""The box of the vault's workers: what a process that parses somebody else's bytes, or holds keys, can still do.

Files by Landlock, all else by a list of system calls (seccomp). Both bind the thread that puts them up and the threads
that it starts, so this happens before the libraries with threads of their own are even imported (`boxed.py`). The
filter is assembled here: the environment of hub and vault has no libseccomp, and this list needs four instructions.
"""

from __future__ import annotations

import ctypes
import mimetypes
import os
import resource
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from strongroom_kernels import launcher

_PR_SET_DUMPABLE, _PR_GET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 21, 38
_THREAD = 0x10000  # CLONE_THREAD (linux/sched.h)
_ENOSYS = 38
_LOAD, _EQUAL, _GREATER, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06  # linux/bpf_common.h
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000  # linux/seccomp.h
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # places in struct seccomp_data
_X32 = 0x40000000


@dataclass(frozen=True, slots=True)
class _Machine:
    """How Linux names the processor to a filter, and where in `CALLS` its numbers stand."""

    audit: int
    column: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 0), "aarch64": _Machine(0xC00000B7, 1)}

CALLS: Mapping[str, tuple[int | None, int | None]] = {
    # files: Landlock says which. No links, devices, changes of mode or owner
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "preadv2": (327, 286),
    "pwritev2": (328, 287),
    "open": (2, None),
    "openat": (257, 56),
    "close": (3, 57),
    "lseek": (8, 62),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "fadvise64": (221, 223),
    "fcntl": (72, 25),
    "flock": (73, 32),
    "dup": (32, 23),
    "memfd_create": (319, 279),
    "umask": (95, 166),
    # memory
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "brk": (12, 214),
    "membarrier": (324, 283),
    # its own threads (`clone`: below), time, limits
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "futex": (202, 98),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "gettid": (186, 178),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getcpu": (309, 168),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "setrlimit": (160, 164),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    "getrandom": (318, 278),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "alarm": (37, None),
    "setitimer": (38, 103),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    # the one socket that it was given: none can be made, and none connected
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "shutdown": (48, 210),
    "getsockopt": (55, 209),
    "getsockname": (51, 204),
    "poll": (7, None),
    "ppoll": (271, 73),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
}
"""Every system call that a worker may make, whatever the arguments: its numbers on x86-64 and on 64-bit ARM."""
_OWN = {"tgkill": (234, 131), "prlimit64": (302, 261)}
"""Those that name a process: this one alone (`abort` sends itself a signal)."""
_CLONE = (56, 220)
"""For threads alone. `clone3` hides its flags from a filter: it does not exist here, and libraries use `clone`."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Folders of data that a worker may read, and those in which it may write."""

    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()


def forbid_inspection() -> None:
    """No core dump and no tracing by processes of the same uid: this process holds keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def confine(reach: Reach) -> None:
    """Narrow this process for good, as far as this Linux can (`weaknesses`).

    Raises OSError where a protection that Linux has cannot be put up, RuntimeError where a thread would be left out.
    """
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("a library has started threads already")
    zero = ctypes.c_ulong(0)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if abi := launcher.landlock_abi():
        rights: dict[str, list[str]] = {kind: [] for kind in launcher.RIGHTS}
        rights["read"] = [*_code(), *map(str, reach.reads)]
        rights["write"] = [*map(str, reach.writes)]
        launcher.restrict_files(rights, abi)
    machine = _MACHINES.get(os.uname().machine)
    if machine is not None and _filters():
        launcher.load_filter(program(machine.audit, machine.column, os.getpid()))


def weaknesses() -> list[str]:
    """What Linux lacks here for this box, in sentences; empty where it holds."""
    found = []
    if not launcher.landlock_abi():
        found.append(
            "Landlock does not run: a parser of the vault that was taken over can open what the vault's uid can."
        )
    if os.uname().machine not in _MACHINES or not _filters():
        found.append("System calls of the vault's workers are not filtered here.")
    return found


def _filters() -> bool:
    return bool(ctypes.CDLL(None).prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0)


_SYSTEM = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self/status",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
)
"""What libraries read of a system: their own code, time zones, how many processors there are; and its own size."""


def _code() -> Iterator[str]:
    """Python, its packages and what they stand on: modules are imported, and libraries opened, when first used."""
    wanted = dict.fromkeys([*sys.path, f"{sys.base_prefix}/lib", *_SYSTEM, *map(str, mimetypes.knownfiles)])
    yield from (path for path in wanted if path and Path(path).exists())


def program(audit: int, column: int, pid: int) -> bytes:
    """The filter as an array of struct sock_filter: what is not listed fails with ENOSYS, another ABI kills."""
    plain = [numbers[column] for numbers in CALLS.values() if numbers[column] is not None]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in plain:
        code += [(_EQUAL, 0, 1, int(number or 0)), (_RETURN, 0, 0, _ALLOW)]
    refuse = (_RETURN, 0, 0, _ERRNO | _ENOSYS)
    for numbers in _OWN.values():
        argument = (_LOAD, 0, 0, _FIRST_ARGUMENT)
        code += [(_EQUAL, 0, 5, numbers[column]), argument, (_EQUAL, 1, 0, pid), (_EQUAL, 0, 1, 0)]
        code += [(_RETURN, 0, 0, _ALLOW), refuse]
    flags = [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_AND, 0, 0, _THREAD), (_EQUAL, 0, 1, _THREAD), (_RETURN, 0, 0, _ALLOW)]
    code += [(_EQUAL, 0, len(flags), _CLONE[column]), *flags, refuse]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
