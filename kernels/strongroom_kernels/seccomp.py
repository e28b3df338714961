"""The system calls that a kernel may make: one table, compiled to two BPF programs.

The first program is an allow-list: what `ALLOWED` does not name answers ENOSYS, so that libraries fall back as on an
older Linux. The second looks at arguments of allowed calls. Linux runs both and obeys the stricter answer. Names that
libseccomp or this processor does not know fall to the default: a newer system call is refused until it is judged here.
"""

from __future__ import annotations

import errno
import functools
import os
from dataclasses import dataclass

import pyseccomp as libseccomp

ALLOWED: tuple[tuple[str, str], ...] = (
    (
        (
            "files: the mounts and Landlock decide which; no inotify (spies on others' reads), no handles, no splice "
            "(page-cache writes, CVE-2026-31431), no sync of other people's disks"
        ),
        """read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat openat2 creat close
        close_range lseek stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink
        readlinkat getdents getdents64 getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir link linkat
        unlink unlinkat symlink symlinkat chmod fchmod fchmodat chown fchown lchown fchownat truncate ftruncate
        fallocate fsync fdatasync sync_file_range umask utime utimes utimensat futimesat flock fcntl ioctl dup dup2
        dup3 pipe pipe2 sendfile copy_file_range readahead fadvise64 getxattr lgetxattr fgetxattr listxattr
        llistxattr flistxattr""",
    ),
    (
        (
            "memory: allocators, shared arrays, NUMA placement of BLAS; no userfaultfd, mincore or cachestat (observe "
            "others), no memfd_secret"
        ),
        """brk mmap munmap mprotect mremap madvise msync mlock mlock2 munlock mlockall munlockall membarrier
        memfd_create pkey_alloc pkey_free pkey_mprotect get_mempolicy set_mempolicy mbind""",
    ),
    (
        (
            "processes and threads: pools, subprocesses, shells; no ptrace, process_vm_*, kcmp, pidfd_getfd; "
            "clone only without new namespaces, clone3 not at all (its flags cannot be inspected)"
        ),
        """clone fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill pidfd_open
        pidfd_send_signal getpid getppid gettid getpgid setpgid getpgrp getsid setsid futex futex_waitv
        set_robust_list get_robust_list set_tid_address rseq arch_prctl prctl personality sched_yield
        sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler
        sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval getpriority
        setpriority ioprio_get ioprio_set getrlimit setrlimit prlimit64 getrusage times getcpu uname sysinfo
        getrandom restart_syscall""",
    ),
    (
        "identity: harmless without capabilities, with one uid in the map and no_new_privs; programs ask at start",
        """getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid
        setresgid setgroups capget capset""",
    ),
    (
        "signals",
        """rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend
        rt_sigtimedwait sigaltstack signalfd signalfd4 pause alarm""",
    ),
    (
        "clocks and timers: reading only",
        """clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getitimer setitimer timer_create
        timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime""",
    ),
    (
        "waiting; no io_uring (goes around this filter)",
        """select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd
        eventfd2""",
    ),
    (
        "sockets: ZeroMQ, ask and data sockets, multiprocessing; the family is checked below",
        """socket socketpair bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt sendto
        recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown""",
    ),
    (
        "Landlock: a process may only narrow its own rights",
        "landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ),
)

REFUSED: tuple[tuple[str, int, str], ...] = (
    (
        "privileged calls: programs expect EPERM from them, not an older Linux",
        errno.EPERM,
        """mount umount2 pivot_root chroot unshare setns swapon swapoff reboot sethostname setdomainname init_module
        finit_module delete_module kexec_load kexec_file_load bpf perf_event_open ptrace process_vm_readv
        process_vm_writev add_key request_key keyctl syslog acct quotactl settimeofday clock_settime adjtimex
        clock_adjtime iopl ioperm mknod mknodat open_by_handle_at name_to_handle_at fanotify_init vhangup
        userfaultfd setfsuid setfsgid""",
    ),
    (
        "extended attributes would travel with a file unseen by the airlock's checks",
        errno.EOPNOTSUPP,
        "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
    ),
)

_INT = 0xFFFFFFFF  # arguments that Linux takes as 32-bit: the upper half is noise and must not hide a value


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """Answer `error` to `call` when argument `index` compares so (`masked`: (argument & mask) == value)."""

    reason: str
    call: str
    index: int
    compare: int
    value: int
    error: int
    mask: int = 0


def _masked(  # noqa: PLR0917 - the columns of a table
    reason: str, call: str, index: int, mask: int, value: int, error: int
) -> ArgumentRule:
    return ArgumentRule(reason, call, index, libseccomp.MASKED_EQ, value, error, mask)


_AF_UNIX, _AF_NETLINK = 1, 16


def _families(call: str) -> tuple[ArgumentRule, ...]:
    """Only AF_UNIX. libzmq aborts the process unless netlink answers EOPNOTSUPP."""
    why = "an empty network namespace does not hold AF_VSOCK, AF_ALG and the like"
    return (
        *(
            ArgumentRule(
                why,
                call,
                0,
                libseccomp.EQ,
                family,
                errno.EOPNOTSUPP if family == _AF_NETLINK else errno.EAFNOSUPPORT,
            )
            for family in range(_AF_NETLINK + 1)
            if family != _AF_UNIX
        ),
        ArgumentRule(why, call, 0, libseccomp.GT, _AF_NETLINK, errno.EAFNOSUPPORT),
    )


_NEW_NAMESPACE_BITS = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_RWF_NOWAIT = 8

ARGUMENTS: tuple[ArgumentRule, ...] = (
    *_families("socket"),
    *_families("socketpair"),
    *(_masked("no new namespaces", "clone", 0, bit, bit, errno.EPERM) for bit in _NEW_NAMESPACE_BITS),
    _masked("TIOCSTI types into a terminal", "ioctl", 1, _INT, 0x5412, errno.EPERM),
    _masked("TIOCLINUX drives a console", "ioctl", 1, _INT, 0x541C, errno.EPERM),
    _masked("TIOCSETD loads line disciplines", "ioctl", 1, _INT, 0x5423, errno.EPERM),
    _masked("FS_IOC_SETFLAGS makes files undeletable", "ioctl", 1, _INT, 0x40086602, errno.EOPNOTSUPP),
    _masked("FS_IOC_FSSETXATTR sets project quotas", "ioctl", 1, _INT, 0x401C5820, errno.EOPNOTSUPP),
    _masked("F_SETLEASE observes others' opens", "fcntl", 1, _INT, 1024, errno.EPERM),
    _masked("F_NOTIFY observes others' reads", "fcntl", 1, _INT, 1026, errno.EPERM),
    _masked("RWF_NOWAIT shows what others have cached", "preadv2", 5, _RWF_NOWAIT, _RWF_NOWAIT, errno.EOPNOTSUPP),
    _masked("RWF_NOWAIT shows what others have cached", "pwritev2", 5, _RWF_NOWAIT, _RWF_NOWAIT, errno.EOPNOTSUPP),
    ArgumentRule(
        "eviction from the page cache is a signal to others: accepted, not done", "fadvise64", 0, libseccomp.GE, 0, 0
    ),
    ArgumentRule("only the query", "personality", 0, libseccomp.NE, 0xFFFFFFFF, errno.EPERM),
)


def _numbers(names: str) -> list[int]:
    """Of all names in a table's column that exist here."""
    return [number for number in map(_number, names.split()) if number is not None]


def _number(name: str) -> int | None:
    """Its number here, or None where libseccomp or the processor has no such call."""
    number: int = libseccomp.resolve_syscall(libseccomp.Arch.NATIVE, name)
    return number if number >= 0 else None


def _export(filter_: libseccomp.SyscallFilter) -> bytes:
    descriptor = os.memfd_create("bpf", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w+b") as file:
        filter_.export_bpf(file)
        file.seek(0)
        return file.read()


def _new_filter(default: int) -> libseccomp.SyscallFilter:
    filter_ = libseccomp.SyscallFilter(default)
    # The library's own choice for foreign architectures (i386, x32) kills one thread, which leaves a hung kernel.
    filter_.set_attr(libseccomp.Attr.ACT_BADARCH, libseccomp.ERRNO(errno.ENOSYS))
    filter_.set_attr(libseccomp.Attr.CTL_OPTIMIZE, 2)  # a binary tree instead of 250 comparisons in a row
    return filter_


@functools.cache
def allow_list() -> bytes:
    """The first program: what may be called at all (struct sock_filter array, native byte order)."""
    filter_ = _new_filter(libseccomp.ERRNO(errno.ENOSYS))
    for _, names in ALLOWED:
        for number in _numbers(names):
            filter_.add_rule(libseccomp.ALLOW, number)
    for _, error, names in REFUSED:
        for number in _numbers(names):
            filter_.add_rule(libseccomp.ERRNO(error), number)
    return _export(filter_)


@functools.cache
def argument_filter() -> bytes:
    """The second program: arguments that an allowed call may not have."""
    filter_ = _new_filter(libseccomp.ALLOW)
    for rule in ARGUMENTS:
        number = _number(rule.call)
        if number is None:
            continue
        pair = (rule.mask, rule.value) if rule.compare == libseccomp.MASKED_EQ else (rule.value, 0)
        filter_.add_rule(libseccomp.ERRNO(rule.error), number, libseccomp.Arg(rule.index, rule.compare, *pair))
    return _export(filter_)


def programs() -> tuple[bytes, ...]:
    """Both programs, in the order in which they are loaded."""
    return allow_list(), argument_filter()
