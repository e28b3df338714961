"""What a box of tier bubblewrap is made of, and what works inside. Most attacks are in `attacks.py`."""

from __future__ import annotations

import ast
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from strongroom_kernels import box as inside
from strongroom_kernels.box import WRITABLE, Box, BoxError, Limits
from strongroom_kernels.bubblewrap import Bubblewrap
from strongroom_kernels.log import OutputLog

from tests.kernels.conftest import run_in_box, run_unprivileged


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


def test_programs_are_told_the_memory_of_the_profile(box: Box) -> None:
    of_profile = replace(box, limits=Limits(memory_bytes=3 << 30, memory_held=True))
    code = "print(open('/proc/meminfo').readline().split()[1])"
    assert run_unprivileged(lambda: run_in_box(Bubblewrap(), of_profile, "python", "-c", code)[1]) == f"{3 << 20}\n"


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
