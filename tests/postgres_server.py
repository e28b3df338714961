"""A PostgreSQL server of Debian's package in a folder of its own, on a socket there, as a uid that is not root."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ACCOUNT = "nobody"
"""Whose server it is where the tests run as root, which PostgreSQL refuses; it must be an account by name."""
USER = "strongroom"


def _programs() -> Path:
    """The folder of the newest server's programs. Skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL server is installed: apt-get install postgresql")
    return found[-1].parent


@dataclass
class PostgresServer:
    """One cluster; `start` and `stop` as often as a test likes."""

    programs: Path
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="srpg", dir="/tmp")))
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        file = self.root / "password"
        file.write_text(self.password)
        if os.geteuid() == 0:
            for path in (self.root, file):
                shutil.chown(path, ACCOUNT)
        options = [f"--username={USER}", f"--pwfile={file}", "--auth=scram-sha-256", "--encoding=UTF8"]
        self._run("initdb", "--pgdata", str(self.data), "--locale=C.UTF-8", "--no-sync", *options)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def start(self, *under: str, **settings: str) -> None:
        """`under`: a program with its arguments that runs the server."""
        told = {"listen_addresses": "", "unix_socket_directories": str(self.root), "max_connections": "150", **settings}
        options = [word for name, value in told.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*under, self.programs / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once and in order; SIGQUIT: without writing anything down, as a power cut leaves it."""
        if self.process is not None:
            # The server's own pid: what it runs under may keep signals for itself.
            os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), how)
            self.process.wait(60)
            self.process = None

    def database(self) -> str:
        """The URL of a new database."""
        name = f"d{secrets.token_hex(4)}"
        self._run("createdb", "-h", str(self.root), "-U", USER, name)
        return f"postgresql://{USER}@/{name}?host={self.root}"

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)  # in order it would first bring to the disk what goes away with the folder
        shutil.rmtree(self.root, ignore_errors=True)

    def _ready(self) -> bool:
        asked = [str(self.programs / "pg_isready"), "-q", "-h", str(self.root), "-U", USER]
        return subprocess.run(asked, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        environment = {"PGPASSWORD": self.password, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd="/", **self._as_user()
        )
        assert done.returncode == 0, done.stderr

    @staticmethod
    def _as_user() -> dict[str, Any]:
        return {"user": ACCOUNT, "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def created() -> Iterator[PostgresServer]:
    """A server of one's own that is not started yet, removed afterwards. Skips the test where none is installed."""
    server = PostgresServer(_programs())
    try:
        server.create()
        yield server
    finally:
        server.remove()
