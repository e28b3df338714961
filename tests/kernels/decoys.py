"""What lies beside a box under the same host uid, for attacks to find: `python decoys.py FOLDER`, ends with its stdin.

A process with a secret in its environment, a secret file in a folder closed to others, sockets by path, abstract and of
TCP, shared memory of System V and POSIX. Prints one JSON line about them. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECRET = "the-secret-of-another-kernel"


@contextmanager
def decoys(folder: Path, uid: int | None) -> Iterator[dict[str, Any]]:
    """Run them as `uid` (None: as this user) below `folder`, which that user may write."""
    as_user = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    with subprocess.Popen(
        ["/usr/bin/env", "python3", __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "HUB_TOKEN": SECRET},
        **as_user,  # type: ignore[call-overload]
    ) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def main(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "secret").write_text(SECRET)
    servers = [
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    ]
    names = [str(folder / "decoy.sock"), f"\0strongroom-decoy-{os.getpid()}", f"\0strongroom-datagram-{os.getpid()}"]
    for server, name in zip(servers, names, strict=True):
        server.bind(name)
    tcp = socket.create_server(("127.0.0.1", 0))
    for server in (*servers[:2], tcp):
        server.listen()
    libc = ctypes.CDLL(None)
    segment = libc.shmget(0, 4096, 0o1600)
    posix = Path(f"/dev/shm/strongroom-decoy-{os.getpid()}")
    posix.write_text(SECRET)
    posix.chmod(0o600)
    told = {
        "secret": SECRET,
        "file": str(closed / "secret"),
        "socket": names[0],
        "abstract": names[1][1:],
        "abstract-datagram": names[2][1:],
        "tcp": tcp.getsockname()[1],
        "sysv": segment,
        "posix": posix.name,
        "pid": os.getpid(),
        "pid-marker": str(folder),
        "host": socket.gethostname(),
        "network": str(Path("/proc/self/ns/net").readlink()),
        "boot": time.time() - float(Path("/proc/uptime").read_text().split()[0]),
    }
    try:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        libc.shmctl(segment, 0, None)
        posix.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
