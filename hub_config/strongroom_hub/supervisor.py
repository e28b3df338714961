"""Runs an instance as a child: start, wait until every part answers, stop, leave no process."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from strongroom_hub import demo, locks, reaper, run_as, run_folders, setup
from strongroom_hub.config import Instance
from strongroom_hub.demo import Account
from strongroom_hub.internal import ControlClient, listens
from strongroom_hub.problems import Problem

START_PATIENCE = 90.0
STOP_PATIENCE = 45.0
KILL_PATIENCE = 5.0
POLL_SECONDS = 0.2
LOG_FILE = "hub.log"
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOG_TAIL_LINES = 12


class RunningInstance:
    """An instance whose hub is a child of this process. Use as a context manager.

    `accounts` is filled by `fresh`; `hub_pid` is the hub's process number while it runs.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.accounts: dict[str, Account] = {}
        self._hub: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextlib.contextmanager
    def fresh(
        cls,
        home: Path,
        say: Callable[[str], None] = lambda _: None,
        change: Callable[[Instance], Instance] = lambda instance: instance,
    ) -> Iterator[Self]:
        """A new instance with demo people, projects and data, in a folder below `home` that goes away afterwards.

        `home` is the folder that `make setup` filled; `change` may describe the instance otherwise before it is made.
        Raises Problem in words when something does not start.
        """
        runtime = setup.Runtime.load(home)
        data = Path(tempfile.mkdtemp(prefix="fresh-", dir=home))
        try:
            (port,) = setup.free_ports(1)
            instance = change(setup.new_instance(data, runtime, port=port))
            setup.create(instance)
            with cls(instance) as running:
                running.accounts = demo.populate(instance, say)
                yield running
        finally:
            shutil.rmtree(data, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def hub_pid(self) -> int:
        if self._hub is None:
            raise RuntimeError("the hub does not run")
        return self._hub.pid

    @property
    def log_file(self) -> Path:
        return self.instance.logs_dir / LOG_FILE

    def start(self) -> None:
        """Start the hub and return when hub, control, vault and proxy answer.

        Raises Problem: the port is taken, the hub ended while starting (with its last words), or it takes too long.
        """
        _check_port(self.instance.public_url)
        self._choose_inner_ports()
        with self.log_file.open("ab") as log:
            self._hub = subprocess.Popen(
                run_as.wrap(sys.executable, None, self._command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_PATIENCE
        parts = {"control": self._control_answers, "the vault": self._vault_answers, "the proxy": self._page_answers}
        for part, answers in parts.items():
            while not answers():
                if self._hub.poll() is not None:
                    raise self._not_started(f"The hub ended (exit code {self._hub.returncode}).")
                if time.monotonic() > deadline:
                    raise self._not_started(f"No answer from {part} within {START_PATIENCE:.0f} s.")
                time.sleep(POLL_SECONDS)

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "strongroom_hub.hub", str(self.instance.path)]

    def alive(self) -> bool:
        return self._hub is not None and self._hub.poll() is None

    def stop(self) -> None:
        """SIGTERM to the hub, which stops everything; what is left of its processes after that is killed.

        A second Ctrl-C waits until this is done.
        """
        with _undisturbed():
            self._stop()

    def _stop(self) -> None:
        if self._hub is None:
            return
        family = _descendants(self._hub.pid)
        if self._hub.poll() is None:
            self._hub.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._hub.wait(STOP_PATIENCE)
        if self._hub.poll() is None:
            family |= _descendants(self._hub.pid)
            self._hub.kill()
            self._hub.wait()
        for process in family:
            process.kill()
        deadline = time.monotonic() + KILL_PATIENCE
        while any(process.alive() for process in family) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 4)
        self._hub = None
        self._remove_run_folder()

    def _remove_run_folder(self) -> None:
        """Sockets mean nothing without a hub; a killed one could not unmount either. Another hub's stay its own."""
        try:
            held = locks.lock(self.instance)
        except locks.AlreadyRunningError:
            return
        try:
            reaper.reap(self.instance)
            servers = self.instance.servers_run
            for path in list(servers.iterdir()) if servers.is_dir() else ():
                run_folders.remove(self.instance, path.name)
            shutil.rmtree(self.instance.run, ignore_errors=True)
        finally:
            os.close(held)

    def _choose_inner_ports(self) -> None:
        """Ports between hub, proxy and control are nobody's business: take others where something listens there."""
        place = self.instance
        names = ("proxy_api_port", "hub_port", "control_port")
        if all(_is_free(getattr(place, name)) for name in names):
            return
        proxy_api, hub, control = setup.free_ports(len(names))
        self.instance = dataclasses.replace(place, proxy_api_port=proxy_api, hub_port=hub, control_port=control)
        self.instance.save()

    def _control_answers(self) -> bool:
        try:
            ControlClient(self.instance.control_socket, self.instance.operator_token_file).call("GET", "status")
        except Problem:
            return False
        return True

    def _vault_answers(self) -> bool:
        if not listens(self.instance.vault_socket):
            return False
        transport = httpx.HTTPTransport(uds=str(self.instance.vault_socket))
        try:
            with httpx.Client(transport=transport, base_url="http://vault/", timeout=5) as client:
                return client.get("v1/health").is_success
        except (httpx.HTTPError, OSError):
            return False

    def _page_answers(self) -> bool:
        tls = ssl.create_default_context()
        ca = self.instance.tls_dir / "ca.pem"
        if ca.exists():
            tls.load_verify_locations(ca)
        try:
            return httpx.get(f"{self.instance.public_url}hub/login", verify=tls, timeout=5).is_success
        except (httpx.HTTPError, OSError):
            return False

    def _not_started(self, what: str) -> Problem:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return Problem(
            500,
            "not-started",
            "Strongroom did not start",
            what,
            why=tuple(f"| {line}" for line in lines[-LOG_TAIL_LINES:]),
            next=f"The whole log: {self.log_file}",
        )


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals that would end this process wait until the block is done; then the first of them counts.

    Not by a signal mask: the threads of a library do not share it, and Python handles what reaches any of them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda one, _: came.append(one)) for number in END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


@dataclasses.dataclass(frozen=True, slots=True)
class _Process:
    """A process, told from a later one with the same number by its start time."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether it still runs; one that only waits to be reaped does not."""
        fields = _stat(self.pid)
        return bool(fields) and fields[19] == self.started and fields[0] not in {"Z", "X"}

    def kill(self) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, or nothing for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _start_time(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields else ""


def _descendants(pid: int) -> set[_Process]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names, not paths
        if name.isdigit() and (fields := _stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found: set[_Process] = set()
    todo = list(children.get(pid, ()))
    while todo:
        one = todo.pop()
        found.add(_Process(one, _start_time(one)))
        todo += children.get(one, ())
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _check_port(public_url: str) -> None:
    port = urlsplit(public_url).port or 443
    if not _is_free(port):
        raise Problem(
            500,
            "port-in-use",
            f"Port {port} is in use",
            "Another program listens there, perhaps another Strongroom.",
            next=f"Stop it, or choose another port: make demo PORT={port + 1}",
        )
