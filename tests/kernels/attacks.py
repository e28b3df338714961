# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH110, PTH114, PTH115, PTH120, PTH123, PTH208, PTH211
# ruff: noqa: S103, SIM115, PLW0108 - bare system calls are what is tried here
"""Attacks from inside a box, as one table. Run by path in the box: standard library only, JSON in, JSON out.

`python attacks.py FILE`: every attack runs in a fork of its own. It got through where it returns something true; an
OSError is a refusal. FILE (JSON) tells what the test put beside the box under the same host uid (`decoys.py`).
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

L, B, G = "launcher", "bubblewrap", "gvisor"
ALL = (L, B, G)
MOUNTED = (B, G)
LINUX = (L, B)
SECONDS = 10

D: dict[str, Any] = {}
STATUS: dict[str, str] = {}
"""Of this program itself: in the tier `launcher` its forks may not read their own."""
INHERITED: list[int] = []
STARTERS: list[int] = []
"""The first process, and what runs this program."""
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Attack:
    name: str
    group: str
    held_by: tuple[str, ...]
    """Tiers that must hold it."""
    run: Callable[[], object]


TABLE: dict[str, Attack] = {}


def add(group: str, name: str, run: Callable[[], object], held_by: tuple[str, ...] = ALL) -> None:
    assert name not in TABLE, name
    TABLE[name] = Attack(name, group, held_by, run)


def attack(group: str, name: str, held_by: tuple[str, ...] = ALL) -> Callable[[Callable[[], object]], None]:
    return lambda run: add(group, name, run, held_by)


def reached(number: int, *arguments: object) -> bool:
    """Whether a system call got to Linux's own judgement: the filters answer ENOSYS or EPERM and the like."""
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return result >= 0 or ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)


def succeeded(number: int, *arguments: object) -> bool:
    return bool(libc.syscall(ctypes.c_long(number), *arguments) >= 0)


def content(path: str) -> str:
    return Path(path).read_text("utf-8", "replace")


def home(name: str) -> str:
    return os.path.realpath(f"{os.environ['HOME']}/{name}")


# ------------------------------------------------------------------------------------------------------------- network

for _name, _family, _kind, _protocol in (
    ("tcp", 2, 1, 0),
    ("udp", 2, 2, 0),
    ("raw", 2, 3, 1),
    ("ping", 2, 2, 1),
    ("sctp", 2, 1, 132),
    ("mptcp", 2, 1, 262),
    ("tcp6", 10, 1, 0),
    ("udp6", 10, 2, 0),
    ("packet", 17, 3, 0),
    ("netlink route", 16, 3, 0),
    ("netlink uevent", 16, 3, 15),
    ("netlink audit", 16, 3, 9),
    ("vsock stream", 40, 1, 0),
    ("vsock datagram", 40, 2, 0),
    ("kernel crypto", 38, 5, 0),
    ("can", 29, 3, 1),
    ("bluetooth", 31, 3, 1),
    ("tipc", 30, 2, 0),
    ("rds", 21, 5, 0),
    ("kcm", 41, 2, 0),
    ("smc", 43, 1, 0),
    ("xdp", 44, 3, 0),
    ("qipcrtr", 42, 2, 0),
    ("nfc", 39, 3, 1),
    ("key management", 15, 3, 2),
    ("appletalk", 5, 2, 0),
    ("ax25", 3, 2, 0),
    ("x25", 9, 5, 0),
    ("ieee802154", 36, 2, 0),
    ("phonet", 35, 2, 0),
):
    add("network", f"socket {_name}", lambda f=_family, k=_kind, p=_protocol: socket.socket(f, k, p))
add("network", "socketpair inet", lambda: socket.socketpair(socket.AF_INET))
add("network", "connect to the host's tcp", lambda: socket.create_connection(("127.0.0.1", D["tcp"]), 2))
add("network", "connect to the host's tcp6", lambda: socket.create_connection(("::1", D["tcp"]), 2))
add("network", "names by dns", lambda: socket.getaddrinfo("localhost.example", 80))


@attack("network", "the host's unix socket by path", MOUNTED)
def _() -> object:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(D["socket"])
        return True


@attack("network", "the host's abstract socket")
def _() -> object:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + D["abstract"])
        return True


@attack("network", "a datagram to the host's abstract socket")
def _() -> object:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect("\0" + D["abstract-datagram"])
        return client.send(b"out")


@attack("network", "see interfaces beside the loopback")
def _() -> object:
    names = {line.split(":")[0].strip() for line in content("/proc/net/dev").splitlines() if ":" in line}
    return names - {"lo"}


@attack("network", "see the host's listening ports")
def _() -> object:
    return f":{D['tcp']:04X}" in content("/proc/net/tcp")


@attack("network", "see the names of the host's sockets")
def _() -> object:
    return D["abstract"] in content("/proc/net/unix")


@attack("network", "the host's network by its number", MOUNTED)
def _() -> object:
    return os.readlink("/proc/self/ns/net") == D["network"]


@attack("network", "a tunnel device")
def _() -> object:
    import fcntl  # noqa: PLC0415

    device = os.open("/dev/net/tun", os.O_RDWR)
    return fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"tun9", 1)) is not None


# ----------------------------------------------------------------------------------------------------------- processes

for _file in ("environ", "cmdline", "maps", "status", "stat", "io", "auxv", "mountinfo", "net/unix", "cgroup"):

    def _read(file: str = _file) -> object:
        text = content(f"/proc/{D['pid']}/{file}")
        return text if D["pid-marker"] in content(f"/proc/{D['pid']}/cmdline") else False

    add("processes", f"read {_file} of the host's process", _read)
add("processes", "open memory of the host's process", lambda: os.open(f"/proc/{D['pid']}/mem", os.O_RDONLY), LINUX)
for _link in ("root", "cwd", "exe", "ns/net"):
    add(
        "processes",
        f"follow {_link} of the host's process",
        lambda n=_link: os.readlink(f"/proc/{D['pid']}/{n}"),
        LINUX,
    )
add("processes", "list files of the host's process", lambda: os.listdir(f"/proc/{D['pid']}/fd"), LINUX)


for _file in (
    "smaps",
    "smaps_rollup",
    "pagemap",
    "numa_maps",
    "schedstat",
    "sched",
    "mountinfo",
    "mounts",
    "mountstats",
):
    add("processes", f"{_file} of its own", lambda f=_file: open(f"/proc/self/{f}", "rb").read(8), LINUX)
for _file in ("smaps", "pagemap", "schedstat"):
    for _folder in ("thread-self", "self/task/{}", "{}/task/{}"):
        add(
            "processes",
            f"{_file} in {_folder.replace('{}', 'its number')}",
            lambda f=_file, d=_folder: open(f"/proc/{d.replace('{}', str(os.getpid()))}/{f}", "rb").read(8),
            LINUX,
        )
    add(
        "processes",
        f"{_file} of the one that made it",
        lambda f=_file: open(f"/proc/{os.getppid()}/{f}").read(8),
        LINUX,
    )


@attack("processes", "the secret in any environment")
def _() -> object:
    for name in os.listdir("/proc"):
        try:
            found = name.isdigit() and D["secret"] in content(f"/proc/{name}/environ")
        except OSError:
            continue
        if found:
            return True
    return False


@attack("processes", "see foreign processes")
def _() -> object:
    count = sum(name.isdigit() for name in os.listdir("/proc"))
    return count > 4


@attack("processes", "signal the host's process")
def _() -> object:
    os.kill(D["pid"], 0)
    return D["pid-marker"] in content(f"/proc/{D['pid']}/cmdline")


@attack("processes", "kill the host's process", LINUX)
def _() -> object:
    os.kill(D["pid"], signal.SIGURG)
    return True


@attack("processes", "hold the host's process by descriptor", MOUNTED)
def _() -> object:
    return os.pidfd_open(D["pid"]) and D["pid-marker"] in content(f"/proc/{D['pid']}/cmdline")


add("processes", "read memory of what started the box", lambda: os.open("/proc/1/mem", os.O_RDONLY), LINUX)


@attack("processes", "environment of what started the box", LINUX)
def _() -> object:
    return any(content(f"/proc/{pid}/environ") for pid in STARTERS if pid)


add("processes", "end the box's first process", lambda: os.kill(1, signal.SIGURG) or True, LINUX)
add("processes", "ptrace", lambda: reached(101, 16, D["pid"], 0, 0))
add("processes", "read memory by call", lambda: reached(310, D["pid"], None, 0, None, 0, 0))
add("processes", "write memory by call", lambda: reached(311, D["pid"], None, 0, None, 0, 0))
add("processes", "compare processes", lambda: reached(312, os.getpid(), os.getpid(), 0, 0, 0))
add("processes", "take a descriptor", lambda: reached(438, -1, 0, 0))
add("processes", "advise another's memory", lambda: reached(440, -1, None, 0, 0, 0))
add("processes", "shared memory of System V", lambda: reached(29, D["sysv"], 4096, 0))
add("processes", "semaphores of System V", lambda: reached(64, 0x5352, 1, 0o1600))
add("processes", "queues of System V", lambda: reached(68, 0x5352, 0o1600))
add("processes", "queues of POSIX", lambda: reached(240, b"strongroom", os.O_CREAT | os.O_RDWR, 0o600, None))
add("processes", "list shared memory of the host", lambda: str(D["sysv"]) in content("/proc/sysvipc/shm"))
add("processes", "shared memory of POSIX", lambda: D["secret"] in content("/dev/shm/" + D["posix"]), MOUNTED)
add("processes", "inherited descriptors", lambda: INHERITED)
add("processes", "secrets in the environment", lambda: D["secret"] in str(os.environ))
add(
    "processes",
    "names of the host in the environment",
    lambda: any(word in str(os.environ) for word in ("JUPYTERHUB", "STRONGROOM_CREDENTIAL", D["user-folder"])),
    MOUNTED,
)
add("processes", "names of the host in arguments", lambda: D["user-folder"] in content("/proc/1/cmdline"), MOUNTED)
add("processes", "the session of what started the box", lambda: os.getsid(0) == 0)


# ---------------------------------------------------------------------------------------------------------- namespaces

for _name, _flag in (
    ("user", 0x10000000),
    ("network", 0x40000000),
    ("mount", 0x20000),
    ("process", 0x20000000),
    ("ipc", 0x8000000),
    ("uts", 0x4000000),
    ("cgroup", 0x2000000),
    ("time", 0x80),
):
    add("namespaces", f"unshare {_name}", lambda f=_flag: libc.unshare(f) == 0)
    if _name != "time":

        def _clone(flag: int = _flag) -> object:
            pid = libc.syscall(ctypes.c_long(56), ctypes.c_long(flag | 0x10000000 | 17), 0, 0, 0, 0)
            if pid == 0:
                os._exit(0)
            return pid > 0

        add("namespaces", f"clone {_name}", _clone)


@attack("namespaces", "clone3")
def _() -> object:
    pid = libc.syscall(ctypes.c_long(435), struct.pack("=11Q", 0x10000000, *[0] * 3, 17, *[0] * 6), 88)
    if pid == 0:
        os._exit(0)
    return pid > 0


@attack("namespaces", "enter another's")
def _() -> object:
    return reached(308, os.open("/proc/self/ns/net", os.O_RDONLY), 0)


add("namespaces", "chroot", lambda: os.chroot("/") or True)
add("namespaces", "pivot_root", lambda: reached(155, b"/", b"/"))
add("namespaces", "mount", lambda: reached(165, b"none", b"/tmp", b"tmpfs", 0, None))
add("namespaces", "remount writable", lambda: reached(165, None, b"/usr", None, 0x20 | 0x1000, None))
add("namespaces", "unmount", lambda: reached(166, b"/proc", 2))
for _name, _number in (
    ("open_tree", 428),
    ("move_mount", 429),
    ("fsopen", 430),
    ("fsmount", 432),
    ("mount_setattr", 442),
):
    add("namespaces", _name, lambda n=_number: reached(n, -1, b"", 0, 0, 0))
add("namespaces", "set the host's name", lambda: reached(170, b"x", 1))
add("namespaces", "set the domain's name", lambda: reached(171, b"x", 1))
add("namespaces", "become root", lambda: os.getuid() != 0 and (os.setuid(0) or True))
add("namespaces", "become root's group", lambda: os.getgid() != 0 and (os.setgid(0) or True))
add("namespaces", "join groups", lambda: os.setgroups([0]) or True)
add("namespaces", "own another's file", lambda: os.chown(home("work"), 65534, 65534) or True)
add("namespaces", "write the map of users", lambda: Path("/proc/self/uid_map").write_text("0 0 1") > 0)
add("namespaces", "hold capabilities", lambda: int(_status("CapEff"), 16) | int(_status("CapPrm"), 16))
add("namespaces", "gain capabilities", lambda: int(_status("CapBnd"), 16), MOUNTED)
add("namespaces", "gain privileges by programs", lambda: libc.prctl(39, 0, 0, 0, 0) != 1)
add("namespaces", "be root inside", lambda: os.getuid() == 0, LINUX)
add("namespaces", "see the host's control group", lambda: "/" + D["cgroup"] in content("/proc/self/cgroup"))
add("namespaces", "see the host's name", lambda: socket.gethostname() == D["host"], MOUNTED)


def _status(field: str) -> str:
    return STATUS[field]


# ------------------------------------------------------------------------------------------------------ kernel surface

for _name, _number, _arguments in (
    ("bpf", 321, (0, None, 0)),
    ("perf_event_open", 298, (None, 0, -1, -1, 0)),
    ("userfaultfd", 323, (1,)),
    ("io_uring_setup", 425, (4, None)),
    ("io_uring_enter", 426, (-1, 0, 0, 0, None)),
    ("io_uring_register", 427, (-1, 0, None, 0)),
    ("keyctl", 250, (0, -3, 1)),
    ("add_key", 248, (b"user", b"x", b"y", 1, -3)),
    ("request_key", 249, (b"user", b"x", None, 0)),
    ("kexec_load", 246, (0, 0, None, 0)),
    ("init_module", 175, (None, 0, b"")),
    ("finit_module", 313, (-1, b"", 0)),
    ("delete_module", 176, (b"none", 0)),
    ("syslog", 103, (10, None, 0)),
    ("acct", 163, (b"/none",)),
    ("quotactl", 179, (0, None, 0, None)),
    ("swapon", 167, (b"/none", 0)),
    ("reboot", 169, (0, 0, 0, None)),
    ("iopl", 172, (3,)),
    ("ioperm", 173, (0, 1, 1)),
    ("modify_ldt", 154, (0, None, 0)),
    ("name_to_handle_at", 303, (-100, b"/", None, None, 0)),
    ("open_by_handle_at", 304, (-1, None, 0)),
    ("fanotify_init", 300, (0, 0)),
    ("fanotify_mark", 301, (-1, 0, 0, -1, None)),
    ("inotify_init", 253, ()),
    ("inotify_init1", 294, (0,)),
    ("mincore", 27, (None, 0, None)),
    ("cachestat", 451, (-1, None, None, 0)),
    ("memfd_secret", 447, (0,)),
    ("vmsplice", 278, (-1, None, 0, 0)),
    ("splice", 275, (-1, None, -1, None, 0, 0)),
    ("tee", 276, (-1, -1, 0, 0)),
    ("adjtimex", 159, (None,)),
    ("clock_adjtime", 305, (0, None)),
    ("clock_settime", 227, (0, None)),
    ("settimeofday", 164, (None, None)),
    ("move_pages", 279, (0, 0, None, None, None, 0)),
    ("migrate_pages", 256, (0, 0, None, None)),
    ("statmount", 457, (None, None, 0, 0)),
    ("listmount", 458, (None, None, 0, 0)),
    ("seccomp", 317, (1, 8, None)),
    ("remap_file_pages", 216, (None, 0, 0, 0, 0)),
    ("io_setup", 206, (1, None)),
    ("sync", 162, ()),
    ("syncfs", 306, (1,)),
    ("setfsuid", 122, (0,)),
    ("vhangup", 153, ()),
    ("personality", 135, (0x0400000,)),
    ("uselib", 134, (b"/none",)),
    ("ustat", 136, (0, None)),
    ("sysfs", 139, (3,)),
    ("lookup_dcookie", 212, (0, None, 0)),
    ("process_mrelease", 448, (-1, 0)),
    ("map_shadow_stack", 453, (None, 0, 0)),
    ("lsm_list_modules", 461, (None, None, 0)),
    ("mseal", 462, (None, 0, 0)),
    ("setxattrat", 463, (-1, b"", 0, b"", None, 0)),
):
    if os.uname().machine == "x86_64":
        add("kernel surface", _name, lambda n=_number, a=_arguments: reached(n, *a))
for _name in (
    "mem",
    "kmem",
    "port",
    "kmsg",
    "fuse",
    "kvm",
    "vda",
    "vsock",
    "vhost-vsock",
    "loop-control",
    "userfaultfd",
):
    add(
        "kernel surface",
        f"device {_name}",
        lambda n=_name: os.open(f"/dev/{n}", os.O_RDONLY),
        (B,) if _name == "fuse" else ALL,
    )
add("kernel surface", "a character device", lambda: os.mknod(home("work") + "/c", 0o20600, os.makedev(1, 1)) or True)
add("kernel surface", "a block device", lambda: os.mknod(home("work") + "/b", 0o60600, os.makedev(254, 0)) or True)


def _ioctl(number: int, argument: bytes = b"\0" * 8) -> Callable[[], object]:
    def run() -> object:
        import fcntl  # noqa: PLC0415

        master, slave = os.openpty()
        try:
            return fcntl.ioctl(slave, number, argument) is not None
        finally:
            os.close(master)
            os.close(slave)

    return run


add("kernel surface", "type into a terminal", _ioctl(0x5412, b"x"))
add("kernel surface", "drive a console", _ioctl(0x541C, b"\x0a"))
add("kernel surface", "load a line discipline", _ioctl(0x5423, struct.pack("i", 1)))


def _fcntl(number: int, argument: int) -> Callable[[], object]:
    def run() -> object:
        import fcntl  # noqa: PLC0415

        with open(home("work") + "/lease", "w") as file:
            return fcntl.fcntl(file, number, argument) is not None

    return run


add("kernel surface", "a lease on a file", _fcntl(1024, 1))
add("kernel surface", "notices of others' reads", _fcntl(1026, 1))


@attack("kernel surface", "reads that must not wait")
def _() -> object:
    return os.preadv(os.open(sys.executable, os.O_RDONLY), [bytearray(10)], 0, os.RWF_NOWAIT) > 0


@attack("kernel surface", "x32 system calls")
def _() -> object:
    return os.uname().machine == "x86_64" and succeeded(0x40000027)


@attack("kernel surface", "i386 system calls")
def _() -> object:
    if os.uname().machine != "x86_64":
        return False
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # getpid by interrupt 128
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return call() > 0


@attack("kernel surface", "few filters")
def _() -> object:
    if D["tier"] == G:
        return int(_status("Seccomp")) < 2
    return int(_status("Seccomp_filters")) < 2


# ---------------------------------------------------------------------------------------------------------- filesystem

add("filesystem", "read the secret file", lambda: D["secret"] in content(D["file"]))
add("filesystem", "list the secret's folder", lambda: os.listdir(os.path.dirname(D["file"])))
add("filesystem", "see that the secret exists", lambda: os.path.exists(D["file"]), MOUNTED)
add("filesystem", "link to the secret", lambda: os.link(D["file"], home("work") + "/hard") or True)
add("filesystem", "open through a link in work", lambda: _through_link())
for _path in (
    "/etc/shadow",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/machine-id",
    "/etc/hosts",
    "/etc/ssh/sshd_config",
):
    add("filesystem", f"read {_path}", lambda p=_path: content(p))
add("filesystem", "the host's users", lambda: "root:" in content("/etc/passwd"))
for _path in ("/root", "/home", "/var", "/var/log", "/boot", "/srv", "/mnt", "/run/user", "/lost+found"):
    add("filesystem", f"list {_path}", lambda p=_path: os.listdir(p))
add("filesystem", "list devices of the host", lambda: os.listdir("/sys/block"), LINUX)
add("filesystem", "list the host's root", lambda: set(os.listdir("/")) & {"boot", "home", "root", "srv", "mnt"})
for _name in ("cmdline", "config.gz", "kallsyms", "kcore", "keys", "modules", "sched_debug", "timer_list", "slabinfo"):
    add(
        "filesystem",
        f"/proc/{_name}",
        lambda n=_name: open(f"/proc/{n}", "rb").read(10),
        LINUX if _name == "cmdline" else ALL,
    )
for _name in (
    "interrupts",
    "softirqs",
    "vmstat",
    "diskstats",
    "schedstat",
    "zoneinfo",
    "buddyinfo",
    "pagetypeinfo",
    "partitions",
    "swaps",
    "locks",
    "key-users",
    "iomem",
    "ioports",
    "pressure/cpu",
    "sys/fs/file-nr",
    "sys/fs/dentry-state",
    "sys/kernel/pty/nr",
):
    add("filesystem", f"the host's load by {_name}", lambda n=_name: content(f"/proc/{n}"))
add("filesystem", "the host's load", lambda: content("/proc/loadavg").split()[-1] not in ("1", "0"))
add(
    "filesystem",
    "the host's uptime",
    lambda: D["boot"] - 60 < _now() - float(content("/proc/uptime").split()[0]) < D["boot"] + 60,
)
add("filesystem", "the host's clock ticks", lambda: int(content("/proc/stat").split("ctxt ")[1].split()[0]) > 0)
add("filesystem", "the host's free memory", lambda: _memory("MemFree") != _memory("MemTotal"), (B,))
for _path in (
    "sysrq-trigger",
    "sys/kernel/core_pattern",
    "sys/kernel/hostname",
    "sys/vm/drop_caches",
    "sys/kernel/modprobe",
):
    add(
        "filesystem",
        f"write /proc/{_path}",
        lambda p=_path: os.open(f"/proc/{p}", os.O_WRONLY),
        LINUX if _path == "sysrq-trigger" else ALL,
    )
for _path in ("/", "/usr/", "/etc/", "/dev/", "/opt/", "/run/", "/proc/", "/sys/"):
    add(
        "filesystem",
        f"write {_path}",
        lambda p=_path: os.open(f"{p}attack", os.O_WRONLY | os.O_CREAT),
        LINUX if _path == "/dev/" else ALL,
    )
add("filesystem", "write notebooks", lambda: os.open(home("notebooks") + "/attack", os.O_WRONLY | os.O_CREAT))
add("filesystem", "change a notebook", lambda: os.open(home("notebooks") + "/seen.ipynb", os.O_WRONLY))
add("filesystem", "remove a notebook", lambda: os.unlink(home("notebooks") + "/seen.ipynb") or True)
add(
    "filesystem",
    "change a notebook's mode",
    lambda: os.chmod(home("notebooks") + "/seen.ipynb", 0o777) or True,
    MOUNTED,
)
add("filesystem", "rename the notebooks", lambda: os.rename(home("notebooks"), home("notebooks") + "2") or True)
add(
    "filesystem", "write beside the work folder", lambda: os.open(home("work") + "/../attack", os.O_WRONLY | os.O_CREAT)
)
add("filesystem", "rename the work folder", lambda: os.rename(home("work"), home("work") + "2") or True)
add("filesystem", "write to the kernel's packages", lambda: os.open(sys.prefix + "/attack", os.O_WRONLY | os.O_CREAT))
for _door in ("ask", "data"):
    add("filesystem", f"write beside the {_door} door", lambda d=_door: os.open(D[d] + "/x", os.O_WRONLY | os.O_CREAT))
    add("filesystem", f"a socket in place of the {_door} door", lambda d=_door: _bind(D[d] + "/fake.sock"))
add("filesystem", "a socket in the work folder", lambda: _bind(home("work") + "/s"), LINUX)
add("filesystem", "a link among sockets", lambda: os.symlink("/", D["sockets"] + "/c-1") or True, LINUX)
add("filesystem", "a folder among sockets", lambda: os.mkdir(D["sockets"] + "/deep") or True, LINUX)
add("filesystem", "a file among sockets", lambda: os.open(D["sockets"] + "/fill", os.O_WRONLY | os.O_CREAT), LINUX)
add("filesystem", "a pipe in the work folder", lambda: os.mkfifo(home("work") + "/p") or True)
add("filesystem", "an attribute on a file", lambda: _attribute())
add("filesystem", "a program from the work folder", lambda: _execute(home("work") + "/mine"))
add("filesystem", "a program from temporary files", lambda: _execute(os.environ["TMPDIR"] + "/mine"))
add("filesystem", "a program from shared memory", lambda: _execute("/dev/shm/mine-strongroom"))
add("filesystem", "a program from memory", lambda: _execute_memory(), ())
add("filesystem", "a root that can be written", lambda: not os.statvfs("/").f_flag & os.ST_RDONLY, MOUNTED)
add("filesystem", "devices that can be written", lambda: not os.statvfs("/dev").f_flag & os.ST_RDONLY, (B,))
add(
    "filesystem", "notebooks that can be written", lambda: not os.statvfs(home("notebooks")).f_flag & os.ST_RDONLY, (B,)
)
add("filesystem", "set-user-id files in work", lambda: not os.statvfs(home("work")).f_flag & os.ST_NOSUID, (B,))
add("filesystem", "a large /tmp", lambda: _bytes("/tmp") > D["tmp-bytes"], MOUNTED)
add("filesystem", "a large /dev/shm", lambda: _bytes("/dev/shm") > D["shm-bytes"], MOUNTED)
add(
    "filesystem",
    "folder names of the host in mounts",
    lambda: D["user-folder"] in content("/proc/self/mountinfo"),
)
for _name, _limit in (("NOFILE", 4096), ("FSIZE", 2 << 30), ("CORE", 1), ("MEMLOCK", 8 << 20), ("NPROC", 512)):
    add(
        "limits",
        f"no limit {_name}",
        lambda n=_name, m=_limit: not 0 <= resource.getrlimit(getattr(resource, f"RLIMIT_{n}"))[1] <= m,
    )


def _now() -> float:
    import time  # noqa: PLC0415

    return time.time()


def _memory(field: str) -> str:
    return dict(line.split(":", 1) for line in content("/proc/meminfo").splitlines())[field].strip()


def _bytes(path: str) -> int:
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


def _through_link() -> object:
    link = home("work") + "/link-to-secret"
    if not os.path.islink(link):
        os.symlink(D["file"], link)
    return content(link)


def _bind(path: str) -> object:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    return True


def _attribute() -> object:
    path = home("work") + "/attribute"
    with open(path, "w"):
        pass
    os.setxattr(path, "user.hidden", b"x")
    return True


def _execute(path: str) -> object:
    with open("/usr/bin/true", "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    os.chmod(path, 0o755)
    return subprocess.run([path], check=False).returncode == 0


def _execute_memory() -> object:
    file = os.memfd_create("mine", 0)
    with open("/usr/bin/true", "rb") as source:
        os.write(file, source.read())
    return subprocess.run([f"/proc/self/fd/{file}"], pass_fds=[file], check=False).returncode == 0


# ------------------------------------------------------------------------------------------------------------- running


def outcome(run: Callable[[], object]) -> str:
    """`through`, or in which way it was refused; in a fork that is given ten seconds."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(SECONDS)
        os.close(reader)
        try:
            said = "through" if run() else "no"
        except socket.gaierror:
            said = "no"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, str(error))
        except BaseException as error:  # noqa: BLE001 - all of it is told
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    return said or f"ended by {status}"


def _open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def main(decoys: str) -> None:
    D.update(json.loads(content(decoys)))
    STATUS.update(line.split(":\t", 1) for line in content("/proc/self/status").splitlines() if ":\t" in line)
    STARTERS.extend((1, os.getppid()))
    INHERITED.extend(fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and _open(fd))
    sys.stdout.write(json.dumps({name: outcome(TABLE[name].run) for name in D["only"] or TABLE}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
