"""Attacks from inside a box. Each fails; and each is shown to work once the walls named beside it are taken away."""

from __future__ import annotations

import ast
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from strongroom_kernels import box as inside
from strongroom_kernels.box import WRITABLE, Box, BoxError
from strongroom_kernels.bubblewrap import Bubblewrap
from strongroom_kernels.log import OutputLog

_ALLOW_ALL = bytes.fromhex("060000000000ff7f")  # BPF_RET | BPF_K, SECCOMP_RET_ALLOW


class Weakened(Bubblewrap):
    """Bubblewrap with some walls taken away."""

    def __init__(self, *without: str) -> None:
        super().__init__()
        self._without = without

    def namespaces(self) -> list[str]:
        return [word for word in super().namespaces() if word not in self._without]

    def filters(self) -> tuple[bytes, ...]:
        return (_ALLOW_ALL,) if "seccomp" in self._without else super().filters()

    def files(self) -> dict[str, bytes]:
        files = super().files()
        if "landlock" in self._without:
            files[inside.LAUNCHER] = files[inside.LAUNCHER].replace(b"    if abi:", b"    if False:")
        if "limits" in self._without:
            files[inside.LAUNCHER] = files[inside.LAUNCHER].replace(b'access["limits"].items()', b"()")
        if "masks" in self._without:
            files = {path: content for path, content in files.items() if not path.startswith("/proc/")}
        return files

    def options(self, box: Box, files: Mapping[str, int], filters: Sequence[int]) -> list[str]:
        options = super().options(box, files, filters)
        if "root" in self._without:
            last = max(n for n, word in enumerate(options) if word == "--remount-ro")
            options[last : last + 2] = []
        if "ro-bind" in self._without:
            options = [word.replace("--ro-bind", "--bind") for word in options]
        if "masks" in self._without:
            first = options.index("/proc") + 1
            last = options.index("--dev")
            options = options[:first] + options[last:]
        return options

    def environment(self) -> dict[str, str]:
        return {"HUB_TOKEN": "from-the-launcher"} if "environment" in self._without else super().environment()


@dataclass(frozen=True)
class Attack:
    """`code` prints "done" where it succeeds. `walls`: all that must be taken away for that."""

    name: str
    code: str
    walls: tuple[str, ...]


def _syscall(number: int, *arguments: str) -> str:
    return f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall({", ".join([f"ctypes.c_long({number})", *arguments])})
# Reached is whatever Linux itself judged: a wrong argument, a missing thing. ENOSYS and EPERM are the filter's.
print("done" if result >= 0 or ctypes.get_errno() not in (1, 38) else ctypes.get_errno())
"""


_ATTACKS = (
    Attack("inet socket", "import socket; socket.socket(socket.AF_INET); print('done')", ("seccomp",)),
    Attack("inet6 socket", "import socket; socket.socket(socket.AF_INET6); print('done')", ("seccomp",)),
    Attack("vsock", "import socket; socket.socket(40, socket.SOCK_STREAM); print('done')", ("seccomp",)),
    Attack("netlink", "import socket; socket.socket(16, socket.SOCK_RAW); print('done')", ("seccomp",)),
    Attack("io_uring", _syscall(425, "4", "None"), ("seccomp",)),
    Attack("keyctl", _syscall(250, "0", "-3", "1"), ("seccomp",)),
    Attack("ptrace", _syscall(101, "ctypes.c_long(0)", "0", "0", "0"), ("seccomp",)),
    Attack("inotify", _syscall(294, "0"), ("seccomp",)),
    Attack("userfaultfd", _syscall(323, "1"), ("seccomp",)),
    Attack("page cache", _syscall(451, "-1", "None", "None", "0"), ("seccomp",)),
    Attack(
        "nested namespace",
        "import ctypes; print('done' if ctypes.CDLL(None).unshare(0x10000000) == 0 else 'no')",
        ("seccomp", "--disable-userns"),
    ),
    Attack(
        "namespace by clone",
        "import ctypes, os; pid = ctypes.CDLL(None).syscall(ctypes.c_long(56), ctypes.c_long(0x10000011), 0, 0, 0, 0)\n"
        "if pid == 0: os._exit(0)\nprint('done' if pid > 0 else 'no')",
        ("seccomp", "--disable-userns"),
    ),
    Attack("write to notebooks", "open('/box/notebooks/x', 'w'); print('done')", ("ro-bind", "landlock")),
    Attack("write beside the notebooks", "open('/box/x', 'w'); print('done')", ("root", "landlock")),
    Attack("write to the root", "open('/x', 'w'); print('done')", ("root", "landlock")),
    Attack("link as socket", "import os; os.symlink('/', '/run/k/c-1'); print('done')", ("landlock",)),
    Attack("folder among sockets", "import os; os.mkdir('/run/k/deep'); print('done')", ("landlock",)),
    Attack("file among sockets", "open('/run/k/fill', 'w'); print('done')", ("landlock",)),
    Attack(
        "program in the work folder",
        "import os, shutil, subprocess; shutil.copy('/bin/true', 'mine'); os.chmod('mine', 0o755);"
        "subprocess.run(['./mine'], check=True); print('done')",
        ("landlock",),
    ),
    Attack("fifo", "import os; os.mkfifo('pipe'); print('done')", ("seccomp", "landlock")),
    Attack(
        "attribute on a file",
        "import os; open('a', 'w').close(); os.setxattr('a', 'user.hidden', b'x'); print('done')",
        ("seccomp",),
    ),
    Attack(
        "first process's environment",
        "print('done' if open('/proc/1/environ').read() else 'empty')",
        ("environment", "landlock"),
    ),
    Attack("host's load", "print('done' if len(open('/proc/vmstat').read()) else 'empty')", ("masks",)),
    Attack(
        "many open files",
        "import os\ntry:\n    for n in range(5000): os.open('/dev/null', os.O_RDONLY)\n    print('done')\n"
        "except OSError: print('limited')",
        ("limits",),
    ),
    Attack("large file", "import os; os.truncate(open('large', 'w').name, 3 << 30); print('done')", ("limits",)),
)


@pytest.mark.parametrize("attack", _ATTACKS, ids=lambda attack: attack.name)
def test_attack_fails(attack: Attack, python_inside: Callable[..., str]) -> None:
    said = python_inside(attack.code, Bubblewrap())
    assert said.splitlines()[-1] != "done", said


@pytest.mark.parametrize("attack", _ATTACKS, ids=lambda attack: attack.name)
def test_attack_works_without_its_walls(attack: Attack, python_inside: Callable[..., str]) -> None:
    said = python_inside(attack.code, Weakened(*attack.walls))
    assert said.splitlines()[-1] == "done", said


@pytest.mark.parametrize(
    ("attack", "wall"),
    [(attack, wall) for attack in _ATTACKS if len(attack.walls) > 1 for wall in attack.walls],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_each_wall_holds_alone(attack: Attack, wall: str, python_inside: Callable[..., str]) -> None:
    said = python_inside(attack.code, Weakened(*(other for other in attack.walls if other != wall)))
    assert said.splitlines()[-1] != "done", said


def test_all_families_but_unix_are_refused(python_inside: Callable[..., str]) -> None:
    code = """
import socket
open_ones = []
for family in range(0, 60):
    try:
        socket.socket(family, socket.SOCK_STREAM).close(); open_ones.append(family)
    except OSError as error:
        assert error.errno == (95 if family == 16 else 97), (family, error)
for call in (lambda: socket.socketpair(socket.AF_UNIX), lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)):
    call()
print(open_ones)
"""
    assert python_inside(code, Bubblewrap()) == "[1]"


def test_sockets_of_the_host_are_out_of_reach(python_inside: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        name = f"strongroom-test-{os.getpid()}"
        abstract.bind("\0" + name)
        abstract.listen()
        code = f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {tcp.getsockname()[1]})), (socket.AF_UNIX, "\\0{name}")):
    try:
        socket.socket(family).connect(address); print("done")
    except OSError: print("refused")
"""
        assert python_inside(code, Bubblewrap()).split() == ["refused", "refused"]
        open_box = Weakened("seccomp", "--unshare-net", "landlock")
        assert python_inside(code, open_box).split() == ["done", "done"]


def test_only_the_boxs_own_processes_are_visible(python_inside: Callable[..., str]) -> None:
    code = "import os; print(sorted(int(n) for n in os.listdir('/proc') if n.isdigit()), os.getpid(), os.getppid())"
    assert python_inside(code, Bubblewrap()) == "[1, 2] 2 1"


def test_no_process_outside_can_be_signalled(python_inside: Callable[..., str]) -> None:
    code = f"""
import os, signal
for pid in (1, {os.getpid()}):
    try: os.kill(pid, signal.SIGTERM); print("sent")
    except OSError as error: print(type(error).__name__)
"""
    assert python_inside(code, Bubblewrap()).split() == ["PermissionError", "ProcessLookupError"]


def test_environment_and_arguments_tell_nothing_of_the_host(
    environment: None, python_inside: Callable[..., str], box: Box
) -> None:
    code = """
import os
print(sorted(os.environ))
for pid in (1, 2):
    for name in ("environ", "cmdline"):
        try: print(open(f"/proc/{pid}/{name}").read())
        except OSError: print("closed")
"""
    said = python_inside(code, Bubblewrap())
    assert "a-token-of-the-hub" not in said
    assert str(box.work) not in said
    assert set(ast.literal_eval(said.splitlines()[0])) <= {*inside.ENVIRONMENT, "PWD", "LC_CTYPE"}


def test_files_of_the_host_are_absent(python_inside: Callable[..., str], root_folder: Path, box: Box) -> None:
    secret = root_folder / "secret"
    secret.write_text("of the same user")
    secret.chmod(0o644)
    code = f"""
import os
paths = [{str(secret)!r}, {str(box.work)!r}, "/etc/shadow", "/root", "/home", "/var", "/sys", "/boot", "/srv",
         "/etc/hostname", "/etc/resolv.conf", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/vsock", "/run/dbus"]
print([path for path in paths if os.path.exists(path)])
"""
    assert python_inside(code, Bubblewrap()) == "[]"


def test_nobody_becomes_more(python_inside: Callable[..., str]) -> None:
    code = """
import ctypes, os
outcome = []
for call in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.chroot("/box/work"),
             lambda: os.mknod("device", 0o20600, os.makedev(1, 1)), lambda: os.chown("/box/work", 0, 0)):
    try: call(); outcome.append("done")
    except OSError: outcome.append("no")
libc = ctypes.CDLL(None, use_errno=True)
outcome.append("done" if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 else "no")
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(set(outcome), [status[n].strip() for n in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")])
"""
    none = "0" * 16
    assert python_inside(code, Bubblewrap()) == f"{{'no'}} {[none, none, none, '1', '2']}"


def test_a_foreign_architecture_is_refused_without_a_hang(python_inside: Callable[..., str]) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("x32 numbers exist on x86_64 only")
    code = """
import ctypes
ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(0x40000027))
print(ctypes.get_errno())
"""
    assert python_inside(code, Bubblewrap()) == "38"


def test_sizes_of_the_boxs_own_folders_are_bounded(python_inside: Callable[..., str]) -> None:
    code = """
import os
for path in ("/tmp", "/dev/shm"):
    found = os.statvfs(path); print(found.f_blocks * found.f_frsize)
for path in ("/", "/dev", "/proc/sys/fs"):
    assert os.statvfs(path).f_flag & os.ST_RDONLY, path
"""
    assert python_inside(code, Bubblewrap()).split() == [str(256 << 20), str(64 << 20)]


def test_what_works(python_inside: Callable[..., str]) -> None:
    code = """
import getpass, os, pathlib, socket, subprocess, tempfile, threading, multiprocessing, mmap
pathlib.Path("mine").write_text("x"); os.rename("mine", "yours"); os.symlink("yours", "link")
os.mkdir("folder"); os.rename("yours", "folder/deep")
assert subprocess.run("echo hi | cat", shell=True, capture_output=True, check=True).stdout.strip() == b"hi"
with tempfile.TemporaryDirectory() as name: pathlib.Path(name, "a").write_text("b")
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
print(getpass.getuser(), os.getcwd(), os.path.expanduser("~"), socket.gethostname(), sorted(os.listdir()))
"""
    said = python_inside(code, Bubblewrap())
    assert said == "analyst /box/work /box strongroom ['folder', 'link']"


def test_libraries_work(python_inside: Callable[..., str]) -> None:
    code = """
import numpy as np, pandas as pd, polars as pl, pyarrow as pa, matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
plt.plot(np.linalg.svd(np.random.rand(200, 200))[1]); plt.savefig("plot.png")
frame = pl.DataFrame({"a": range(1000)}).lazy().group_by(pl.col("a") % 3).len().collect(engine="streaming")
frame.write_parquet("x.parquet"); pl.read_parquet("x.parquet"); pd.read_parquet("x.parquet")
from multiprocessing import Pool
if __name__ == "__main__":
    with Pool(2) as pool: print(pool.map(abs, [-1, -2]), len(frame))
"""
    assert python_inside(code, Bubblewrap()).splitlines()[-1] == "[1, 2] 3"


def test_output_and_status_come_out(program_inside: Callable[..., tuple[int, str]]) -> None:
    assert program_inside(Bubblewrap(), "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\nerr\n")
    assert program_inside(Bubblewrap(), "sh", "-c", "kill -SEGV $$")[0] == 128 + 11


def test_output_is_drained_and_kept_in_bounds(program_inside: Callable[..., tuple[int, str]], box: Box) -> None:
    status, _ = program_inside(Bubblewrap(), "sh", "-c", "yes | head -c 5000000")
    assert status == 0
    assert (box.work.parent / "output").stat().st_size == 1 << 20


def test_no_mount_point_below_what_a_kernel_writes(box: Box) -> None:
    options = Bubblewrap().options(box, {inside.LAUNCHER: 90, inside.CONNECTION_FILE: 91}, [92])
    two = {"--bind", "--ro-bind", "--ro-bind-data", "--symlink"}
    points = [options[n + 2] for n, word in enumerate(options) if word in two]
    points += [
        options[n + 1]
        for n, word in enumerate(options)
        if word in ("--tmpfs", "--dir", "--proc", "--dev", "--remount-ro")
    ]
    assert set(WRITABLE) <= set(points)
    below = [(point, top) for point in points for top in WRITABLE if point != top and Path(point).is_relative_to(top)]
    assert below == []


def test_writable_is_what_is_bound_writable(box: Box) -> None:
    options = Bubblewrap().options(box, {}, [])
    bound = {options[n + 2] for n, word in enumerate(options) if word == "--bind"}
    assert bound == {inside.WORK, inside.SOCKETS}
    assert bound | {"/tmp", "/dev/shm"} == set(WRITABLE)


def test_every_namespace_is_asked_for_by_name(box: Box) -> None:
    options = Bubblewrap().options(box, {}, [])
    assert {f"--unshare-{name}" for name in ("user", "ipc", "pid", "net", "uts", "cgroup")} <= set(options)
    assert "--unshare-all" not in options
    assert [word for word in options if word.endswith("-try")] == []
    assert {"--clearenv", "--die-with-parent", "--new-session", "--disable-userns"} <= set(options)


def test_arguments_of_the_host_process_hold_no_secret(
    box: Box, unprivileged: Callable[..., object], root_folder: Path
) -> None:
    def look() -> bytes:
        log = OutputLog(root_folder / "work" / "log")
        boxed = Bubblewrap().start(box, ["exec", "sleep", "60"], log, {inside.CONNECTION_FILE: b"key-of-the-kernel"})
        seen = Path(f"/proc/{boxed.pid}/cmdline").read_bytes() + Path(f"/proc/{boxed.pid}/environ").read_bytes()
        boxed.kill()
        boxed.close()
        log.close()
        return seen

    seen = unprivileged(look)
    assert b"sleep" in seen
    assert b"key-of-the-kernel" not in seen
    assert re.findall(rb"[A-Z_]+=", seen) == []


def test_root_and_threads_are_refused(box: Box, unprivileged: Callable[..., object], root_folder: Path) -> None:
    if os.geteuid() == 0:
        log = OutputLog(root_folder / "log")
        with pytest.raises(BoxError, match="runs as root"):
            Bubblewrap().start(box, ["exec", "true"], log)
        log.close()

    def from_thread() -> str:
        caught: list[str] = []

        def start() -> None:
            log = OutputLog(root_folder / "log")
            try:
                Bubblewrap().start(box, ["exec", "true"], log)
            except BoxError as error:
                caught.append(str(error))
            log.close()

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        return caught[0]

    assert "helper thread" in str(unprivileged(from_thread))


def test_a_protection_that_cannot_be_put_up_stops_the_start(program_inside: Callable[..., tuple[int, str]]) -> None:
    class Broken(Bubblewrap):
        def files(self) -> dict[str, bytes]:
            files = super().files()
            files[inside.LAUNCHER] = files[inside.LAUNCHER].replace(
                b'access["limits"].items()', b'{"NOFILE": -5}.items()'
            )
            return files

    status, said = program_inside(Broken(), "echo", "ran")
    assert status == 120
    assert "could not be closed" in said
    assert "ran" not in said.split()
