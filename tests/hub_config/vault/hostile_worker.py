"""A worker whose parser was taken over: `hostile_worker.py TARGETS [--unboxed | the vault's own arguments]`.

It enters the box as every worker does, and then does not parse but tries to get out. What it says of each attempt is
"done" or why not. `--unboxed` tries the same without the box, to show that each would work there.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strongroom_hub.vault import boxed

_SYSCALLS = {  # x86-64, 64-bit ARM
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "pidfd_open": (434, 434),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "open_by_handle_at": (304, 265),
    "kcmp": (312, 272),
    "prctl": (157, 167),
}
_libc = ctypes.CDLL(None, use_errno=True)


def syscall(name: str, *arguments: int) -> None:
    number = _SYSCALLS[name][os.uname().machine == "aarch64"]
    if _libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def reading(path: str) -> Callable[[], object]:
    return lambda: Path(path).read_bytes()[:1]


def writing(path: Path) -> Callable[[], object]:
    return lambda: path.write_bytes(b"x")


def forked() -> None:
    if os.fork() == 0:
        os._exit(0)  # nobody waits for it: that is another call


def in_a_thread() -> None:
    got: list[BaseException | None] = []

    def work() -> None:
        try:
            socket.socket(socket.AF_INET).close()
            got.append(None)
        except OSError as error:
            got.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if got[0] is not None:
        raise got[0]


def attempts(targets: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """What is tried; `targets`: files of others, a folder of others, the pid of the vault."""
    other, scratch, vault = Path(targets["folder"]), Path(targets["scratch"]), int(targets["pid"])
    return {
        "a network socket": lambda: socket.socket(socket.AF_INET).close(),
        "a unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
        "a socket in a thread": in_a_thread,
        "a pair of sockets": lambda: [one.close() for one in socket.socketpair()],
        "fork": forked,
        "a program": lambda: subprocess.run(["/bin/true"], check=True),
        "a spawned program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "a signal to the vault": lambda: os.kill(vault, 0),
        "a signal to the vault's thread": lambda: _tgkill(vault),
        "a pidfd of the vault": lambda: syscall("pidfd_open", vault, 0),
        "tracing itself": lambda: syscall("ptrace", 0, 0, 0, 0),  # PTRACE_TRACEME
        "its own environment": lambda: Path("/proc/self/environ").read_bytes(),
        "a new namespace": lambda: syscall("unshare", 0x10000000),  # a user namespace
        "another limit of the vault's": lambda: _prlimit(vault),
        "being dumpable": lambda: syscall("prctl", 4, 1, 0, 0, 0),
        "the list of users": reading("/etc/passwd"),
        "processes": lambda: list(Path("/proc").iterdir()),
        "a link to another's part": lambda: os.link(targets["part"], scratch / "link"),
        "a symbolic link": lambda: (scratch / "symlink").symlink_to("/etc/passwd"),
        "a folder": (scratch / "folder").mkdir,
        "a mode": lambda: scratch.chmod(0o700),
        "a file beside another's parts": writing(other / "planted"),
        "another's part, cut": lambda: os.truncate(targets["victim"], 0),
        "another's part, removed": Path(targets["victim"]).unlink,
        "a temporary file": writing(Path("/tmp/strongroom-hostile-worker")),
        **{f"reading {name}": reading(path) for name, path in targets["files"].items()},
    }


def _tgkill(pid: int) -> None:
    if _libc.tgkill(ctypes.c_int(pid), ctypes.c_int(pid), ctypes.c_int(0)) < 0:
        raise OSError(ctypes.get_errno(), "tgkill")


def _prlimit(pid: int) -> None:
    import resource  # noqa: PLC0415 - to be found from inside the box

    resource.prlimit(pid, resource.RLIMIT_CORE)


FORBIDDEN_ANYWAY = ("process_vm_readv", "io_uring_setup", "bpf", "userfaultfd", "keyctl", "setns", "mount")


def said(targets: dict[str, Any], but: str = "") -> dict[str, str]:
    """Of each attempt: "done", or the kind of refusal."""
    found = {}
    for name, attempt in attempts(targets).items():
        if name == but:
            continue
        try:
            attempt()
        except OSError as error:
            found[name] = error.strerror or str(error)
        else:
            found[name] = "done"
    for name in (*FORBIDDEN_ANYWAY, "open_by_handle_at", "kcmp"):
        try:
            syscall(name, 0, 0, 0, 0, 0)
        except OSError as error:
            found[f"system call {name}"] = error.strerror
        else:
            found[f"system call {name}"] = "done"
    return found


def main() -> None:
    targets = json.loads(sys.argv[1])
    if sys.argv[2:] == ["--unboxed"]:
        # Who is traced stops at the next signal, for example of a child that ends, and here nobody would go on with it.
        sys.stdout.write(json.dumps(said(targets, but="tracing itself")) + "\n")
        return
    rehearses = boxed.enter(sys.argv[2:])
    from strongroom_hub.problems import Problem  # noqa: PLC0415
    from strongroom_hub.vault import ingest, views, worker  # noqa: PLC0415 - as in boxed.py

    def taken_over(*_: Any, **__: Any) -> Any:
        raise Problem(422, "tried", "Tried", json.dumps(said(targets)))

    def asking(stream: Any, *_: Any) -> Any:
        """Ask the vault for what is no piece of the file."""
        stream.raw._upload._sealed(targets["ask"])

    ingest.open_table = asking if "ask" in targets else taken_over
    views.write_view = taken_over
    worker.main(rehearses=rehearses)


if __name__ == "__main__":
    main()
