"""The table of system calls: what the compiled programs answer, on two processors, and what a real box answers."""

from __future__ import annotations

import ast
import dataclasses
import errno
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyseccomp as libseccomp
import pytest
from strongroom_kernels import seccomp
from strongroom_kernels.sandbox import Bubblewrap
from strongroom_kernels.seccomp import TABLE, Group

X86_64, AARCH64 = libseccomp.Arch.X86_64, libseccomp.Arch.AARCH64
NATIVE = libseccomp.system_arch()
PAGE = Path(__file__).parents[2] / "docs" / "operators" / "sandbox.md"
CONDITIONAL = {name for group in TABLE if group.when for name in group.calls.split()}
REFUSING = [group for group in TABLE if group.error is not None]


def answer(program: bytes, arch: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What a classic BPF program returns for a call: the instructions that libseccomp makes, and no others."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code: list[tuple[int, ...]] = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = value = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x05:
            at += value
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[operation]
            at += if_true if holds else if_false


def verdict(programs: Sequence[bytes], arch: int, number: int, arguments: Sequence[int] = ()) -> int | str | None:
    """What Linux makes of several programs: None (runs), "asks" the server, or the errno (0: not done)."""
    strictest = min((answer(program, arch, number, arguments) for program in programs), key=lambda a: a & 0x7FFF0000)
    names: dict[int, str | None] = {libseccomp.ALLOW: None, libseccomp.NOTIFY: "asks"}
    if strictest in names:
        return names[strictest]
    assert strictest & 0xFFFF0000 == 0x00050000, hex(strictest)
    return strictest & 0xFFFF


def arguments_for(group: Group) -> Iterator[tuple[int, ...]]:
    """Arguments that meet each condition of a group; with noise in the upper half where Linux ignores it."""
    if not group.when:
        yield ()
    for when in group.when:
        values = {
            libseccomp.EQ: [when.value],
            libseccomp.GT: [when.value + 1, 0xFFFFFFFF],
            libseccomp.GE: [when.value, when.value + 1],
            libseccomp.NE: [0, 8],
            libseccomp.MASKED_EQ: [when.value, when.value | 0x7 << 40],
        }[when.compare]
        for value in values:
            yield (*[0] * when.index, value)


def without(group: Group) -> tuple[Group, ...]:
    """The table as if nobody had thought of the group: its calls run."""
    return tuple(dataclasses.replace(other, error=None) if other is group else other for other in TABLE)


def named(group: Group) -> str:
    return group.name


@pytest.mark.parametrize("arch", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
@pytest.mark.parametrize("group", TABLE, ids=named)
def test_each_group_gets_its_answer(group: Group, arch: int) -> None:
    programs = seccomp.compile_programs(arch=arch)
    watched = (*seccomp.compile_programs(arch=arch, watch=True), seccomp.compile_last(arch=arch, notify=True))
    for name, number in seccomp.numbers_of(group, arch).items():
        if not group.when and name in CONDITIONAL:
            continue  # test_ordinary_arguments_pass
        for arguments in arguments_for(group):
            assert verdict(programs, arch, number, arguments) == group.error
            assert verdict(watched, arch, number, arguments) == ("asks" if group.watched else group.error)


@pytest.mark.parametrize("group", REFUSING, ids=named)
def test_each_group_is_what_refuses(group: Group) -> None:
    open_programs = seccomp.compile_programs(without(group))
    for number in seccomp.numbers_of(group, NATIVE).values():
        for arguments in arguments_for(group):
            assert verdict(open_programs, NATIVE, number, arguments) is None


def test_ordinary_arguments_pass() -> None:
    programs = seccomp.compile_programs(arch=X86_64)
    calls = {
        "socket": (1, 1),
        "socketpair": (1, 2),
        "clone": (0x003D0F00,),
        "ioctl": (0, 0x5421),
        "fcntl": (0, 1033),
        "preadv2": (0, 0, 0, 0, 0, 2),
        "personality": (0xFFFFFFFF,),
        "prctl": (15,),
        "setsockopt": (0, 1, 7),
        "getsockopt": (0, 1, 17),
        "pwritev2": (0,),
    }
    assert {*calls, "fadvise64"} == CONDITIONAL
    for name, arguments in calls.items():
        assert verdict(programs, X86_64, libseccomp.resolve_syscall(X86_64, name), arguments) is None, name


@pytest.mark.parametrize("arch", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
def test_a_watched_box_is_never_more_open(arch: int) -> None:
    """All calls and telling arguments: with the launcher's refusing program as without a watch; the asking one asks."""
    closed = seccomp.compile_programs(arch=arch)
    watched = seccomp.compile_programs(arch=arch, watch=True)
    refuse, notify = (seccomp.compile_last(arch=arch, notify=notify) for notify in (False, True))
    telling = {arguments for group in TABLE for arguments in arguments_for(group)} | {(1,), (0, 0x5421)}
    conditional = {libseccomp.resolve_syscall(arch, name) for name in CONDITIONAL}
    asked = set()
    for number in range(600):
        for arguments in telling if number in conditional else ((), (1,)):
            expected = verdict(closed, arch, number, arguments)
            assert verdict((*watched, refuse), arch, number, arguments) == expected
            found = verdict((*watched, notify), arch, number, arguments)
            assert found in {expected, "asks"}
            if found == "asks":
                asked.add(number)
    watched_groups = [group for group in TABLE if group.watched]
    assert asked == {number for group in watched_groups for number in seccomp.numbers_of(group, arch).values()}


def test_without_the_launchers_program_a_watched_box_would_be_open() -> None:
    """The reason why `Watched` gives all parts together, and why the launcher ends when it cannot load its own."""
    number = libseccomp.resolve_syscall(NATIVE, "ptrace")
    assert verdict(seccomp.compile_programs(watch=True), NATIVE, number) is None


@pytest.mark.parametrize(
    "program",
    [*seccomp.programs(), *seccomp.compile_programs(watch=True), *seccomp.watched(3).files.values()],
)
def test_foreign_architectures_are_refused_without_a_kill(program: bytes) -> None:
    refused = 0x00050000 | errno.ENOSYS
    for arch in (libseccomp.Arch.X86, libseccomp.Arch.ARM, AARCH64 if NATIVE != AARCH64 else X86_64):
        assert {answer(program, arch, number) for number in range(450)} == {refused}
    if NATIVE == X86_64:
        assert {answer(program, X86_64, 0x40000000 | number) for number in range(600)} == {refused}


def test_unknown_calls_are_refused() -> None:
    for number in (*range(470, 600), 1 << 20):
        if number not in {found for group in TABLE for found in seccomp.numbers_of(group).values()}:
            assert verdict(seccomp.programs(), NATIVE, number) == errno.ENOSYS


def test_names_of_other_processors_are_left_out_knowingly() -> None:
    """What exists on x86-64 alone has a younger twin everywhere, so nothing is lost on aarch64."""
    only_x86 = {
        name
        for group in TABLE
        for name in seccomp.numbers_of(group, X86_64).keys() - seccomp.numbers_of(group, AARCH64).keys()
    }
    twins = """open creat stat lstat access readlink getdents rename mkdir rmdir link unlink symlink chmod chown lchown
        utime utimes futimesat dup2 pipe fork vfork getpgrp arch_prctl getrlimit setrlimit signalfd pause alarm time
        select poll epoll_create epoll_wait eventfd mknod inotify_init"""
    refused_anyway = "iopl ioperm modify_ldt uselib lookup_dcookie nfsservctl"
    assert only_x86 - set(refused_anyway.split()) <= set(twins.split())
    everywhere = "openat newfstatat clone execve mmap socket ppoll epoll_pwait futex pipe2 dup3 getdents64"
    allowed = {name for group in TABLE if group.error is None for name in seccomp.numbers_of(group, AARCH64)}
    assert set(everywhere.split()) <= allowed


def test_the_table_is_consistent() -> None:
    plain = [name for group in TABLE if not group.when for name in group.calls.split()]
    assert len(set(plain)) == len(plain)
    allowed = {name for group in TABLE if group.error is None for name in group.calls.split()}
    assert {name for group in TABLE if group.when for name in group.calls.split()} <= allowed
    watched = [name for group in TABLE if group.watched for name in group.calls.split()]
    assert len(set(watched)) == len(watched)  # a name alone tells the server what to answer
    assert len({group.name for group in TABLE}) == len(TABLE)
    assert all(group.why and bool(group.when) == bool(group.condition) for group in TABLE)
    dangerous = """ptrace bpf mount unshare setns clone3 io_uring_setup io_uring_enter keyctl userfaultfd
        perf_event_open process_vm_readv pidfd_getfd kexec_load open_by_handle_at inotify_add_watch vmsplice splice tee
        mincore seccomp"""
    assert allowed & set(dangerous.split()) == set()


def test_the_page_shows_the_table() -> None:
    assert seccomp.as_markdown() in PAGE.read_text("utf-8"), (
        "docs/operators/sandbox.md shows another table; put `python -c 'from strongroom_kernels import seccomp; "
        "print(seccomp.as_markdown())'` in its place"
    )


# What runs in a real box. Arguments are wrong on purpose: without the filter Linux would answer EFAULT, EINVAL, EBADF.
_CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def errno_of(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    return ctypes.get_errno() if result == -1 else 0
"""


def _plain_refusals() -> dict[int, int]:
    return {
        number: group.error
        for group in REFUSING
        if not group.when and group.error is not None
        for number in seccomp.numbers_of(group).values()
    }


def test_every_refused_call_is_refused_in_a_box(python_inside: Callable[..., str]) -> None:
    expected = _plain_refusals()
    code = f"{_CALL}\nprint({{number: errno_of(number, *[2**64 - 1] * 6) for number in {list(expected)}}})"
    assert ast.literal_eval(python_inside(code, Bubblewrap())) == expected


class Opened(Bubblewrap):
    """A box whose table has some group's calls run."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self._group = group

    def filters(self) -> tuple[bytes, ...]:
        return seccomp.compile_programs(without(self._group))


# An own file, what Linux itself would answer, and each group's own errno: (group, expression, with, without)
_ARGUMENTS = {
    "sockets of other families": ("tried(lambda: socket.socket(socket.AF_INET))", errno.EAFNOSUPPORT),
    "netlink sockets": ("tried(lambda: socket.socket(16, socket.SOCK_RAW))", errno.EOPNOTSUPP),
    "handles of new processes": ("errno_of(NUMBER_clone, 0x1000 | 0x100000, 0)", errno.EPERM),
    "numbers of sockets": ("tried(lambda: socket.socket(1).getsockopt(1, 57, 8))", errno.ENOPROTOOPT),
    "new namespaces": ("errno_of(NUMBER_clone, 0x10000000 | 0x1000000 * 0x40, 0)", errno.EPERM),
    "terminal tricks": ("tried(lambda: fcntl.ioctl(file, 0x5412, b'x'))", errno.EPERM),
    "file-system controls": ("tried(lambda: fcntl.ioctl(file, 0x80086601, bytearray(8)))", errno.ENOTTY),
    "leases and directory notices": (
        "tried(lambda: fcntl.fcntl(os.open('/tmp', os.O_RDONLY), 1026, 1))",
        errno.EPERM,
    ),
    "hints kept on the inode": ("tried(lambda: fcntl.fcntl(file, 1035, bytes(8)))", errno.EINVAL),
    "reads that must not wait": (
        "tried(lambda: os.preadv(program, [bytearray(1)], 0, 8))",
        errno.EOPNOTSUPP,
    ),
    "advice on the page cache": ("errno_of(NUMBER_fadvise64, 999, 0, 0, 4)", 0),
    "execution domains": ("errno_of(NUMBER_personality, 0)", errno.EPERM),
    "filters by prctl": ("errno_of(NUMBER_prctl, 22, 2, 0)", errno.EINVAL),
    "packet filters": ("tried(lambda: socket.socket(1).setsockopt(1, 26, bytes(3)))", errno.ENOPROTOOPT),
}


def _argument_code(name: str) -> str:
    expression = _ARGUMENTS[name][0]
    for call in ("clone", "fadvise64", "personality", "prctl"):
        expression = expression.replace(f"NUMBER_{call}", str(libseccomp.resolve_syscall(NATIVE, call)))
    return f"""{_CALL}
import fcntl, os, socket
file = os.open("/tmp/own", os.O_RDWR | os.O_CREAT)
program = os.open("/usr/bin/env", os.O_RDONLY)
def tried(action):
    try: action()
    except OSError as error: return error.errno
    return 0
print({expression})
"""


def test_every_argument_rule_has_a_trial() -> None:
    assert set(_ARGUMENTS) == {group.name for group in TABLE if group.when}


@pytest.mark.parametrize("name", _ARGUMENTS)
def test_argument_rules_hold_in_a_box_and_nothing_else_does(name: str, python_inside: Callable[..., str]) -> None:
    (group,) = (group for group in TABLE if group.name == name)
    expected = _ARGUMENTS[name][1]
    assert python_inside(_argument_code(name), Bubblewrap()) == str(expected)
    assert python_inside(_argument_code(name), Opened(group)) != str(expected)


@pytest.mark.parametrize("name", ["other processes' memory", "io_uring", "observers of others' files", "Linux itself"])
def test_calls_run_where_the_table_lets_them(name: str, python_inside: Callable[..., str]) -> None:
    (group,) = (group for group in TABLE if group.name == name)
    numbers = seccomp.numbers_of(group)
    code = f"{_CALL}\nprint([errno_of(number, *[2**64 - 1] * 6) for number in {list(numbers.values())}])"
    shut = ast.literal_eval(python_inside(code, Bubblewrap()))
    assert set(shut) == {group.error}
    assert ast.literal_eval(python_inside(code, Opened(group))) != shut


def test_a_foreign_call_in_a_box_neither_works_nor_hangs(python_inside: Callable[..., str]) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("i386 and x32 exist on x86-64 only")
    i386 = "b8 14 00 00 00 cd 80 48 98 c3"  # mov eax, 20 (getpid); int 0x80; cdqe; ret
    code = f"""{_CALL}
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex("{i386}"))
call = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(-call(), errno_of(0x40000027))
"""
    assert python_inside(code, Bubblewrap()) == f"{errno.ENOSYS} {errno.ENOSYS}"
