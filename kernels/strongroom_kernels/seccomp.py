"""The system calls that a kernel may make: ONE table (`TABLE`), compiled to BPF programs.

Two programs are loaded before the launcher runs: an allow-list (what the table does not name answers ENOSYS, so that
libraries fall back as on an older Linux) and one that looks at arguments. Linux runs all programs and obeys the
strictest answer. `watched` groups are refused too; where somebody watches (`watched`), it is the server that refuses
them, so that the attempt is seen: the two programs let them through to a third one, which the launcher loads last and
which asks the server (`watch`). Names that libseccomp or a processor does not know are refused: a newer system call is
ENOSYS until it is judged here. docs/operators/sandbox.md shows this table (`as_markdown`).

Sources: man 2 seccomp, linux/seccomp.h, the argument rules' headers named beside them.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyseccomp as libseccomp

_INT = 0xFFFFFFFF  # arguments that Linux takes as 32-bit: the upper half is noise and must not hide a value


@dataclass(frozen=True, slots=True)
class When:
    """One comparison of argument `index` (from 0); `masked`: (argument & mask) == value."""

    index: int
    compare: int
    value: int
    mask: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that get one answer for one reason."""

    name: str
    error: int | None
    """None: the call runs. 0: it succeeds without being done. Else: it fails with this errno."""
    why: str
    calls: str
    when: tuple[When, ...] = ()
    """Without: whatever the arguments. Else: when any of these holds (the call is in an allowed group then)."""
    condition: str = ""
    """`when` in words."""
    watched: bool = False
    """Nothing that is well-behaved tries it: the server answers and reports it. A call that runs is answered by it."""


def _is(index: int, *values: int, mask: int = _INT) -> tuple[When, ...]:
    return tuple(When(index, libseccomp.MASKED_EQ, value, mask) for value in values)


def _has(index: int, *bits: int) -> tuple[When, ...]:
    return tuple(When(index, libseccomp.MASKED_EQ, bit, bit) for bit in bits)


AF_UNIX, AF_NETLINK = 1, 16
_OTHER_FAMILIES = (
    *(When(0, libseccomp.EQ, family) for family in range(AF_NETLINK) if family != AF_UNIX),
    When(0, libseccomp.GT, AF_NETLINK),
)
_NEW_NAMESPACE = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)  # linux/sched.h
_RWF_NOWAIT = 8

TABLE: tuple[Group, ...] = (
    Group(
        "files",
        None,
        "the mounts and Landlock decide which files; only one's own disk can be flushed",
        """read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat openat2 creat close
        close_range lseek stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink
        readlinkat getdents getdents64 getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir link linkat
        unlink unlinkat symlink symlinkat chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat truncate
        ftruncate fallocate fsync fdatasync sync_file_range umask utime utimes utimensat futimesat flock fcntl ioctl
        dup dup2 dup3 pipe pipe2 sendfile copy_file_range readahead fadvise64 getxattr lgetxattr fgetxattr listxattr
        llistxattr flistxattr""",
    ),
    Group(
        "memory",
        None,
        "allocators, shared arrays, placement of matrices on processors",
        """brk mmap munmap mprotect mremap madvise msync mseal mlock mlock2 munlock mlockall munlockall membarrier
        memfd_create pkey_alloc pkey_free pkey_mprotect get_mempolicy set_mempolicy set_mempolicy_home_node mbind""",
    ),
    Group(
        "processes and threads",
        None,
        "pools, subprocesses, shells; all within the box's own process numbers",
        """clone fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill getpid getppid gettid getpgid
        setpgid getpgrp getsid setsid futex futex_waitv futex_wait futex_wake futex_requeue set_robust_list
        get_robust_list set_tid_address rseq arch_prctl prctl personality sched_yield sched_getaffinity
        sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_getattr
        sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval getpriority setpriority
        ioprio_get ioprio_set getrlimit setrlimit prlimit64 getrusage times getcpu uname getrandom restart_syscall""",
    ),
    Group(
        "identity",
        None,
        "harmless without capabilities, with one uid in the map and no_new_privs; programs ask at their start",
        """getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid
        setresgid setgroups capget capset""",
    ),
    Group(
        "signals",
        None,
        "within the box",
        """rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend
        rt_sigtimedwait sigaltstack signalfd signalfd4 pause alarm""",
    ),
    Group(
        "clocks and timers",
        None,
        "reading and waiting, not setting",
        """clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getitimer setitimer timer_create
        timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime""",
    ),
    Group(
        "waiting",
        None,
        "event loops",
        """select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd
        eventfd2""",
    ),
    Group(
        "sockets",
        None,
        "ZeroMQ, the ask and data sockets, multiprocessing; families are refused below",
        """socket socketpair bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt sendto
        recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown""",
    ),
    Group(
        "Landlock",
        None,
        "a process may only narrow its own rights",
        "landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ),
    Group(
        "machine's state",
        None,
        "the number of processes and the free memory of the whole machine carry bits from one box to another; where "
        "the server watches it answers with constants",
        "sysinfo",
        watched=True,
    ),
    Group(
        "other processes' memory",
        errno.EPERM,
        "reads, drives or takes over another process",
        "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp",
        watched=True,
    ),
    Group(
        "mounts and namespaces",
        errno.EPERM,
        "would change what the box is made of",
        """mount umount2 pivot_root chroot unshare setns fsopen fsconfig fsmount fspick open_tree move_mount
        mount_setattr open_by_handle_at name_to_handle_at fanotify_init fanotify_mark""",
        watched=True,
    ),
    Group(
        "Linux itself",
        errno.EPERM,
        "programs, modules or traces inside the host's Linux; page faults handed to user code make its races winnable",
        """bpf perf_event_open userfaultfd init_module finit_module delete_module kexec_load kexec_file_load
        add_key request_key keyctl lookup_dcookie""",
        watched=True,
    ),
    Group(
        "the machine's administration",
        errno.EPERM,
        "for root only",
        """swapon swapoff reboot sethostname setdomainname syslog acct quotactl quotactl_fd settimeofday
        clock_settime adjtimex clock_adjtime iopl ioperm vhangup nfsservctl""",
        watched=True,
    ),
    Group(
        "io_uring",
        errno.ENOSYS,
        "does file and socket work that no filter sees; a rich source of holes in Linux",
        "io_uring_setup io_uring_enter io_uring_register",
        watched=True,
    ),
    Group(
        "nodes and file-system identity",
        errno.EPERM,
        "devices for root only; programs that make FIFOs by mknod fall back or fail in words",
        "mknod mknodat setfsuid setfsgid",
    ),
    Group(
        "writing extended attributes",
        errno.EOPNOTSUPP,
        "they would travel with a file unseen by the airlock's checks; answered as by a file system without them",
        """setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr setxattrat removexattrat""",
    ),
    Group(
        "clone3",
        errno.ENOSYS,
        "its flags lie in memory where no filter sees them; libraries fall back to clone",
        "clone3",
    ),
    Group(
        "observers of others' files",
        errno.ENOSYS,
        "tell what other boxes read in shared files, or which of their pages are cached",
        "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch mincore cachestat statmount listmount",
    ),
    Group(
        "page-cache plumbing",
        errno.ENOSYS,
        "moves pages of read-only files into writable pipes (Dirty Pipe, CVE-2026-31431)",
        "splice tee vmsplice",
    ),
    Group(
        "old and unbounded IPC",
        errno.ENOSYS,
        "System V objects and message queues are memory outside the sizes of this box; nobody needs them",
        """shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
        mq_timedsend mq_timedreceive mq_notify mq_getsetattr""",
    ),
    Group(
        "rare memory calls",
        errno.ENOSYS,
        "little used and often broken: segment tables, hidden memory, old asynchronous I/O",
        """modify_ldt remap_file_pages memfd_secret io_setup io_destroy io_submit io_cancel io_getevents
        io_pgetevents migrate_pages move_pages process_mrelease uselib""",
    ),
    Group(
        "flushing everybody's disks",
        errno.ENOSYS,
        "others feel it; fsync of one's own files works",
        "sync syncfs",
    ),
    Group(
        "further filters",
        errno.ENOSYS,
        "programs that Linux would have to check and run; the launcher's own is the last",
        "seccomp",
    ),
    Group(
        "sockets of other families",
        errno.EAFNOSUPPORT,
        "an empty network namespace does not hold AF_VSOCK, AF_ALG and the like: only AF_UNIX opens",
        "socket socketpair",
        _OTHER_FAMILIES,
        "any family but AF_UNIX and AF_NETLINK",
        watched=True,
    ),
    Group(
        "netlink sockets",
        errno.EOPNOTSUPP,
        "as above, but libzmq and getaddrinfo try them and libzmq aborts at any other errno",
        "socket socketpair",
        (When(0, libseccomp.EQ, AF_NETLINK),),
        "family AF_NETLINK",
    ),
    Group(
        "new namespaces",
        errno.EPERM,
        "inside a namespace of its own a process holds capabilities, and with them much more of Linux",
        "clone",
        _has(0, *_NEW_NAMESPACE),
        "any CLONE_NEW* flag",
        watched=True,
    ),
    Group(
        "handles of processes",
        errno.ENOSYS,
        "their inode numbers count every process that the machine starts; programs wait for children without them",
        "pidfd_open pidfd_send_signal",
    ),
    Group(
        "handles of new processes",
        errno.EPERM,
        "as above",
        "clone",
        _has(0, 0x1000),
        "CLONE_PIDFD",
    ),
    Group(
        "numbers of sockets",
        errno.ENOPROTOOPT,
        "cookies are numbered through for all boxes; handles of processes come this way too",
        "getsockopt setsockopt",
        _is(2, 57, 76, 77),
        "SO_COOKIE, SO_PASSPIDFD, SO_PEERPIDFD",
    ),
    Group(
        "terminal tricks",
        errno.EPERM,
        "type into a terminal, drive a console, load line disciplines",
        "ioctl",
        _is(1, 0x5412, 0x541C, 0x5423),
        "TIOCSTI, TIOCLINUX, TIOCSETD",
        watched=True,
    ),
    Group(
        "file-system controls",
        errno.ENOTTY,
        "flags that make files undeletable, quotas, encryption and layout of the work image; answered as by a file "
        "system without them",
        "ioctl",
        (*_is(1, 0x6600, mask=0xFF00), *_is(1, 0x5800, mask=0xFF00)),
        "all of the types 'f' and 'X' (FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC_*_ENCRYPTION_*, FIEMAP ...)",
    ),
    Group(
        "leases and directory notices",
        errno.EPERM,
        "tell when others open or read a file",
        "fcntl",
        _is(1, 1024, 1026),
        "F_SETLEASE, F_NOTIFY",
    ),
    Group(
        "hints kept on the inode",
        errno.EINVAL,
        "a value that one box writes and another reads on a shared read-only file (Linux before 6.9)",
        "fcntl",
        _is(1, 1035, 1036, 1037, 1038),
        "F_GET_RW_HINT, F_SET_RW_HINT, F_GET_FILE_RW_HINT, F_SET_FILE_RW_HINT",
    ),
    Group(
        "reads that must not wait",
        errno.EOPNOTSUPP,
        "show what others have cached",
        "preadv2 pwritev2",
        _has(5, _RWF_NOWAIT),
        "RWF_NOWAIT",
    ),
    Group(
        "advice on the page cache",
        0,
        "eviction is a signal to others: accepted, not done",
        "fadvise64",
        (When(0, libseccomp.GE, 0),),
        "always",
    ),
    Group(
        "execution domains",
        errno.EPERM,
        "old emulations weaken address randomisation",
        "personality",
        (When(0, libseccomp.NE, 0xFFFFFFFF),),
        "anything but the query",
    ),
    Group(
        "filters by prctl",
        errno.EINVAL,
        "as `seccomp`",
        "prctl",
        _is(0, 22),
        "PR_SET_SECCOMP",
    ),
    Group(
        "packet filters",
        errno.ENOPROTOOPT,
        "programs that Linux would have to check and run",
        "setsockopt",
        _is(2, 26, 50, 51, 52),
        "SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_*",
    ),
)
"""What happens to each system call. Calls that are in no group answer ENOSYS."""

DEFAULT = errno.ENOSYS


def numbers_of(group: Group, arch: int = libseccomp.Arch.NATIVE) -> dict[str, int]:
    """Name -> number on `arch` of a group's calls; a call that libseccomp or the processor does not have is left out.

    That is safe: an unknown call of an allowed group stays refused, one of a refused group meets the default.
    """
    found = {name: libseccomp.resolve_syscall(arch, name) for name in group.calls.split()}
    return {name: number for name, number in found.items() if number >= 0}


def name_of(number: int) -> str:
    """A call's name on this machine; `call N` for one that libseccomp does not know."""
    try:
        return str(libseccomp.resolve_syscall(libseccomp.Arch.NATIVE, number), "ascii")
    except ValueError:
        return f"call {number}"


class _Filter:
    """A libseccomp filter for one architecture that answers `default` to what no rule names."""

    def __init__(self, default: int, arch: int) -> None:
        self._arch = arch
        self._default = default
        self._filter = libseccomp.SyscallFilter(default)
        if arch not in {libseccomp.Arch.NATIVE, libseccomp.system_arch()}:
            self._filter.add_arch(arch)
            self._filter.remove_arch(libseccomp.Arch.NATIVE)
        # The library's own choice for foreign architectures (i386, x32) kills one thread, which leaves a hung kernel.
        self._filter.set_attr(libseccomp.Attr.ACT_BADARCH, libseccomp.ERRNO(errno.ENOSYS))
        self._filter.set_attr(libseccomp.Attr.CTL_OPTIMIZE, 2)  # a binary tree instead of 250 comparisons in a row

    def add(self, group: Group, action: int) -> None:
        if action == self._default:  # needs no rule, and libseccomp takes none
            return
        for name in numbers_of(group, self._arch):
            # libseccomp wants this machine's number and translates it.
            number = libseccomp.resolve_syscall(libseccomp.Arch.NATIVE, name)
            for condition in _conditions(group):
                self._filter.add_rule(action, number, *condition)

    def program(self) -> bytes:
        """Array of struct sock_filter."""
        descriptor = os.memfd_create("bpf", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "w+b") as file:
            self._filter.export_bpf(file)
            file.seek(0)
            return file.read()


def _conditions(group: Group) -> Iterator[tuple[libseccomp.Arg, ...]]:
    if not group.when:
        yield ()
    for when in group.when:
        pair = (when.mask, when.value) if when.compare == libseccomp.MASKED_EQ else (when.value, 0)
        yield (libseccomp.Arg(when.index, when.compare, *pair),)


def _refusal(group: Group) -> int:
    action: int = libseccomp.ALLOW if group.error is None else libseccomp.ERRNO(group.error)
    return action


def _passes(group: Group) -> bool:
    """Whether the launcher's program answers it, where somebody watches: the first two must let it through."""
    return group.watched or group.calls == "seccomp"


def compile_programs(
    table: Sequence[Group] = TABLE, *, watch: bool = False, arch: int = libseccomp.Arch.NATIVE
) -> tuple[bytes, bytes]:
    """(allow-list, argument filter) of a table; with `watch` they let through what the launcher's program answers."""
    allow_list = _Filter(libseccomp.ERRNO(DEFAULT), arch)
    arguments = _Filter(libseccomp.ALLOW, arch)
    for group in table:
        passes = watch and _passes(group)
        if not group.when:
            allow_list.add(group, libseccomp.ALLOW if passes else _refusal(group))
        elif not passes:
            arguments.add(group, _refusal(group))
    return allow_list.program(), arguments.program()


def compile_last(table: Sequence[Group] = TABLE, *, notify: bool, arch: int = libseccomp.Arch.NATIVE) -> bytes:
    """The launcher's program: asks the watching server about `watched` groups, or (not `notify`) refuses them itself.

    Refuses in both cases what else the first two programs have let through for the launcher's sake.
    """
    filter_ = _Filter(libseccomp.ALLOW, arch)
    for group in filter(_passes, table):
        filter_.add(group, libseccomp.NOTIFY if notify and group.watched else _refusal(group))
    return filter_.program()


@functools.cache
def programs() -> tuple[bytes, ...]:
    """Both programs in the order in which they are loaded, for a box that nobody watches: all is refused in place."""
    return compile_programs()


NOTIFY, REFUSE = "/opt/strongroom/filters/notify", "/opt/strongroom/filters/refuse"


@dataclass(frozen=True, slots=True)
class Watched:
    """All that a box needs so that a server can watch it. Only together: `programs` alone would leave it open."""

    programs: tuple[bytes, ...]
    """To be loaded before the launcher, instead of `programs()`."""
    files: dict[str, bytes]
    """To be put into the box, path -> content."""
    access: dict[str, object]
    """To be added to the launcher's ACCESS."""


def watched(watch_fd: int) -> Watched:
    """For a box whose launcher inherits `watch_fd`, one end of a `watch.channel()`.

    The launcher ends the start (status 120) when neither of its programs can be loaded.
    """
    return Watched(
        _let_through(),
        _last(),
        {"watch_fd": watch_fd, "watch_filters": [NOTIFY, REFUSE]},
    )


@functools.cache
def _let_through() -> tuple[bytes, ...]:
    return compile_programs(watch=True)


@functools.cache
def _last() -> dict[str, bytes]:
    return {NOTIFY: compile_last(notify=True), REFUSE: compile_last(notify=False)}


@functools.cache
def refusals() -> dict[str, int]:
    """Name -> errno of all watched calls that are refused."""
    return {
        name: group.error
        for group in TABLE
        if group.watched and group.error is not None
        for name in group.calls.split()
    }


def as_markdown() -> str:
    """The table for docs/operators/sandbox.md."""
    lines = ["| group | what happens | reported | calls | why |", "|---|---|---|---|---|"]
    for group in TABLE:
        calls = " ".join(f"`{name}`" for name in group.calls.split())
        if group.condition:
            calls += f" with {group.condition}"
        reported = "yes" if group.watched and group.error is not None else ""
        lines.append(f"| {group.name} | {_in_words(group)} | {reported} | {calls} | {group.why} |")
    lines.append(f"| all others | {errno.errorcode[DEFAULT]} | | | not judged yet, or not needed |")
    return "\n".join(lines)


def _in_words(group: Group) -> str:
    if group.error is None:
        return "answered with constants where the server watches, else runs" if group.watched else "runs"
    return "accepted, not done" if group.error == 0 else errno.errorcode[group.error].replace("ENOTSUP", "EOPNOTSUPP")
