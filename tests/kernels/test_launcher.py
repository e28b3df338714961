"""What the launcher puts up: each Landlock right by itself and on older Linuxes, and, in a real box, all the rest."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strongroom_kernels import launcher
from strongroom_kernels.box import Box
from strongroom_kernels.sandbox import Bubblewrap

Unprivileged = Callable[[Callable[[], Any]], Any]
ABI = launcher.landlock_abi()
_RNDGETENTCNT = 0x80045200
DENIED, MOVED = errno.EACCES, errno.EXDEV


class Ground:
    """Folders with one right each, things in them to attack, and things outside that no right reaches."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders = {kind: root / kind for kind in ("read", "list", "write", "scratch", "sockets", "outside")}
        for folder in self.folders.values():
            (folder / "deep").mkdir(parents=True)
            (folder / "file").write_text("some text")
        (self.folders["outside"] / "own").touch()
        program = self.folders["write"] / "program"
        shutil.copy("/bin/true", program)
        program.chmod(0o755)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0strongroom-ground-{os.getpid()}")
        self.abstract.listen()
        self.bystander = subprocess.Popen(["sleep", "20"])  # ends by itself: a restricted process cannot signal it

    def close(self) -> None:
        with contextlib.suppress(PermissionError):
            self.bystander.kill()
        self.tcp.close()
        self.abstract.close()

    def access(self) -> dict[str, list[str]]:
        system = [path for path in ("/usr", "/bin", "/lib", "/lib64", "/etc", sys.base_prefix) if Path(path).exists()]
        own = {kind: [str(folder)] for kind, folder in self.folders.items() if kind != "outside"}
        own["read"].append("/dev/urandom")  # readable, but no device rights
        return {
            **own,
            "files": [],
            "own": [str(self.folders["outside"] / "own")],
            "execute": system,
            "devices": ["/dev/null", "/dev/random"],
        }


def _attempts(ground: Ground) -> dict[str, Callable[[], Any]]:
    """Each touches one right; without Landlock all succeed."""
    read, listed, write, scratch, sockets, outside = ground.folders.values()

    def bound(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))

    def controlled(device: str) -> None:
        descriptor = os.open(device, os.O_RDONLY)
        fcntl.ioctl(descriptor, _RNDGETENTCNT, bytearray(4))
        os.close(descriptor)

    def connected(address: Any, family: int) -> None:
        with socket.socket(family) as made:
            made.connect(address)

    def written() -> None:
        (scratch / "a").write_text("x")
        os.truncate(scratch / "a", 0)
        (scratch / "a").unlink()

    def tcp_bound() -> None:
        with socket.socket() as made:
            made.bind(("127.0.0.1", 0))

    return {
        "execute": lambda: subprocess.run([write / "program"], check=True),
        "read a file": (outside / "file").read_text,
        "list a folder": lambda: list(outside.iterdir()),
        "read where names are listed": (listed / "deep" / ".." / "file").read_text,
        "read among sockets": (sockets / "file").read_text,
        "write a file": lambda: (read / "file").open("r+").close(),
        "empty a file by its name": lambda: os.truncate(read / "file", 3),
        "make a file": (read / "new").touch,
        "make a folder": (read / "new-folder").mkdir,
        "make a link": lambda: (read / "link").symlink_to("/"),
        "make a link among sockets": lambda: (sockets / "link").symlink_to("/"),
        "make a folder among sockets": (sockets / "new-folder").mkdir,
        "make a file among sockets": (sockets / "new").touch,
        "make a socket": lambda: bound(write / "socket"),
        "make a FIFO": lambda: os.mkfifo(write / "fifo"),
        "remove a folder": (read / "deep").rmdir,
        "move out": lambda: (write / "program").rename(outside / "program"),
        "remove a file": (read / "file").unlink,
        "control a device": lambda: controlled("/dev/urandom"),
        "connect by TCP": lambda: connected(ground.tcp.getsockname(), socket.AF_INET),
        "listen by TCP": tcp_bound,
        "connect to an abstract socket": lambda: connected(ground.abstract.getsockname(), socket.AF_UNIX),
        "signal a process outside": lambda: os.kill(ground.bystander.pid, signal.SIGCONT),
        # allowed at the proper place
        "own: names": lambda: list((listed / "deep").iterdir()),
        "own: single file": (outside / "own").read_text,
        "own: move within": lambda: (write / "file").rename(write / "deep" / "file"),
        "own: write, empty, remove": written,
        "own: socket": lambda: bound(sockets / "socket"),
        "own: FIFO": lambda: os.mkfifo(scratch / "fifo"),
        "own: device": lambda: controlled("/dev/random"),
        "own: signal": lambda: os.kill(os.getpid(), signal.SIGCONT),
        "own: program": lambda: subprocess.run(["true"], check=True),
    }


_FROM = {  # what holds from which version of Landlock on, and what it answers
    **dict.fromkeys(
        (
            "execute", "read a file", "list a folder", "read where names are listed", "read among sockets",
            "write a file", "make a file", "make a folder", "make a link", "make a link among sockets",
            "make a folder among sockets", "make a file among sockets", "make a socket", "make a FIFO",
            "remove a folder", "remove a file",
        ),
        (1, DENIED),
    ),
    "move out": (1, DENIED),
    "empty a file by its name": (3, DENIED),
    "connect by TCP": (4, DENIED),
    "listen by TCP": (4, DENIED),
    "control a device": (5, DENIED),
    "connect to an abstract socket": (6, errno.EPERM),
    "signal a process outside": (6, errno.EPERM),
}  # fmt: skip


def _outcomes(root: Path, abi: int | None) -> dict[str, int]:
    ground = Ground(root)
    attempts = _attempts(ground)
    os.chdir(root)
    found: dict[str, int] = {}
    if abi is not None:
        one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(38, one, zero, zero, zero)  # no new privileges, without which Landlock asks for root
        launcher.restrict_files(ground.access(), abi)
    for name, attempt in attempts.items():
        try:
            attempt()
            found[name] = 0
        except OSError as error:
            found[name] = error.errno or -1
    ground.close()
    return found


@pytest.fixture
def ground_folder(root_folder: Path) -> Path:
    return root_folder / "g"


def test_without_landlock_every_attempt_succeeds(ground_folder: Path, unprivileged: Unprivileged) -> None:
    found = unprivileged(lambda: _outcomes(ground_folder, None))
    assert {name: code for name, code in found.items() if code} == {}
    assert {name for name in found if not name.startswith("own: ")} == set(_FROM)


@pytest.mark.skipif(ABI == 0, reason="Landlock does not run here")
@pytest.mark.parametrize("abi", range(1, ABI + 1))
def test_each_right_holds_from_its_version_on(abi: int, ground_folder: Path, unprivileged: Unprivileged) -> None:
    found = unprivileged(lambda: _outcomes(ground_folder, abi))
    expected = {name: code if abi >= first else 0 for name, (first, code) in _FROM.items()}
    expected |= dict.fromkeys((name for name in found if name.startswith("own: ")), 0)
    if abi == 1:
        expected["own: move within"] = MOVED  # the first version knows no moves and refuses all
    assert found == expected


def test_what_is_weaker_is_said_in_sentences() -> None:
    assert launcher.landlock_weaknesses(6) == launcher.landlock_weaknesses(ABI + 100) == []
    counts = [len(launcher.landlock_weaknesses(abi)) for abi in range(1, 7)]
    assert counts == [5, 4, 3, 2, 1, 0]
    (without,) = launcher.landlock_weaknesses(0)
    assert "the mounts alone" in without
    for abi in range(6):
        assert all(text.endswith(".") and "Landlock" in text for text in launcher.landlock_weaknesses(abi))


@pytest.mark.parametrize("abi", [0, 1, 3, 5])
def test_a_box_starts_on_older_linuxes(abi: int, python_inside: Callable[..., str]) -> None:
    class Older(Bubblewrap):
        def files(self) -> dict[str, bytes]:
            files = super().files()
            path = "/opt/strongroom/launcher.py"
            return {**files, path: files[path].replace(b"abi = landlock_abi()", b"abi = %d" % abi)}

    code = (
        "import os\nopen('mine', 'w').close()\ntry: open('/box/notebooks/x', 'w')\nexcept OSError: print('read-only')"
    )
    assert python_inside(code, Older()) == "read-only"


_PROOFS = """
import ctypes, errno, fcntl, mmap, os, resource, signal, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def tried(action):
    try: action()
    except OSError as error: return errno.errorcode[error.errno]
    except ValueError: return "EPERM"  # what `resource` makes of it
    return "done"
"""


def _proved(python_inside: Callable[..., str], code: str) -> Any:
    return ast.literal_eval(python_inside(_PROOFS + code, Bubblewrap()).splitlines()[-1])


def test_no_capabilities(python_inside: Callable[..., str]) -> None:
    code = """
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(({int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
       libc.prctl(23, 21, 0, 0, 0), libc.prctl(47, 2, 21, 0, 0), tried(lambda: os.setuid(0)),
       tried(lambda: os.chown("/box/work", 0, 0)), os.getresuid()))
"""
    assert _proved(python_inside, code) == ({0}, 0, -1, "EINVAL", "EINVAL", (1000, 1000, 1000))


def test_no_new_privileges_for_good(python_inside: Callable[..., str]) -> None:
    code = """
zero = ctypes.c_ulong(0)
print((libc.prctl(39, zero, zero, zero, zero), libc.prctl(38, zero, zero, zero, zero),
       subprocess.run([sys.executable, "-c", "import ctypes; print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))"],
                      capture_output=True, text=True).stdout.strip(),
       os.statvfs("/usr/bin").f_flag & os.ST_NOSUID > 0))
"""
    assert _proved(python_inside, code) == (1, -1, "1", True)


def test_no_nested_user_namespaces(python_inside: Callable[..., str]) -> None:
    class Unfiltered(Bubblewrap):
        def filters(self) -> tuple[bytes, ...]:
            return ()

    code = """
def unshare(flags):
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.unshare(flags) else 0
print([unshare(flag) for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80)])
"""
    assert _proved(python_inside, code) == [errno.EPERM] * 8
    without_seccomp = ast.literal_eval(python_inside(_PROOFS + code, Unfiltered()))
    assert without_seccomp[4] == errno.ENOSPC  # the namespace's own bound, by --disable-userns
    assert 0 not in without_seccomp


def test_limits_hold_and_cannot_be_raised(python_inside: Callable[..., str], box: Box) -> None:
    code = """
names = ("NOFILE", "FSIZE", "MEMLOCK", "NPROC", "MSGQUEUE", "RTPRIO", "NICE", "CORE")
limits = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names}
raised = {tried(lambda: resource.setrlimit(getattr(resource, "RLIMIT_" + name), (hard + 1, hard + 1)))
          for name, (_, hard) in limits.items()}
print((limits, raised))
"""
    limits, raised = _proved(python_inside, code)
    wanted = box.access()["limits"]
    assert limits == {name: (wanted[name], wanted[name]) for name in limits}
    assert raised == {"EPERM"}


@pytest.mark.parametrize(
    ("limit", "code", "expected"),
    [
        ("NOFILE", "print(repr(tried(lambda: [os.open('/dev/null', 0) for _ in range(5000)])))", "EMFILE"),
        (
            "FSIZE",
            (
                "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); big = open('big', 'wb');"
                "print(repr(tried(lambda: os.posix_fallocate(big.fileno(), 0, (2 << 30) + 1))))"
            ),
            "EFBIG",
        ),
        (
            "MEMLOCK",
            (
                "memory = mmap.mmap(-1, 16 << 20); address = ctypes.addressof(ctypes.c_char.from_buffer(memory));"
                "failed = libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(16 << 20));"
                "print(repr(errno.errorcode[ctypes.get_errno()] if failed else 'done'))"
            ),
            "ENOMEM",
        ),
        (
            "NPROC",
            (
                "made = []\n"
                "def many():\n"
                "    for _ in range(600):\n"
                "        pid = os.fork()\n"
                "        if not pid: signal.pause(); os._exit(0)\n"
                "        made.append(pid)\n"
                "said = tried(many)\n"
                "for pid in made: os.kill(pid, 9)\n"
                "print(repr(said))"
            ),
            "EAGAIN",
        ),
        ("RTPRIO", "print(repr(tried(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))))", "EPERM"),
        ("NICE", "print(repr(tried(lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))))", "EACCES"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else "",
)
def test_each_limit_is_felt(limit: str, code: str, expected: str, python_inside: Callable[..., str]) -> None:
    assert _proved(python_inside, code) == expected, limit


def test_there_are_no_pseudo_terminals(python_inside: Callable[..., str], box: Box) -> None:
    code = """
print([tried(os.openpty), tried(lambda: os.open("/dev/ptmx", os.O_RDWR)), tried(lambda: os.listdir("/dev/pts")),
       tried(lambda: os.open("/dev/tty", os.O_RDWR))])
"""
    assert set(_proved(python_inside, code)) <= {"ENOENT", "EACCES", "ENXIO"}

    class WithTerminals(Bubblewrap):
        def options(self, *arguments: Any) -> list[str]:
            options = super().options(*arguments)
            first = options.index("/dev/pts") - 1
            return options[:first] + options[first + 4 :]

        def command(self, access: Any, command: Any) -> list[str]:
            return super().command({**access, "devices": [*access["devices"], "/dev/pts", "/dev/ptmx"]}, command)

    assert python_inside(f"{_PROOFS}\nprint(tried(os.openpty))", WithTerminals()) == "done"
