"""A real single-user server with a stand-in for control, and a client that speaks to it as a page does.

Servers and boxes refuse root, so where the tests run as root the server gets a plain uid and folders that it may enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from strongroom_hub import frames

UID = 61_073
PREFIX_VARIABLE = "STRONGROOM_TEST_KERNEL_PREFIX"
GUARDED = {
    "allowed": True,
    "cell_bytes": 65_536,
    "day_bytes_left": 2 << 20,
    "image_bytes": 524_288,
    "rule": "O5 (policy.csv:31)",
    "text": "confidential: 64 KiB a cell, 2 MiB a day",
}
FREE = {
    "allowed": True,
    "cell_bytes": None,
    "day_bytes_left": None,
    "image_bytes": None,
    "rule": "O1 (policy.csv:27)",
    "text": "public: no limit",
}
ASK = """
import json, socket
def ask(**request):
    s = socket.socket(socket.AF_UNIX); s.connect('/run/strongroom/server/ask.sock')
    raw = json.dumps({'v': 1, **request}).encode()
    s.sendall(len(raw).to_bytes(4, 'big') + raw)
    n = int.from_bytes(s.recv(4), 'big'); got = b''
    while len(got) < n: got += s.recv(n - len(got))
    return json.loads(got)
"""
"""Lets a kernel ask its server as the client package does."""
REFUSAL = {
    "type": "urn:strongroom:problem:audit",
    "title": "The audit log cannot be written",
    "status": 503,
    "detail": "The disk is full.",
    "why": ["rule A1"],
    "next": "Tell the operator.",
}
CHECKPOINT = "log.test/1\n9\nAAAA\n\n\N{EM DASH} log.test/1 AAAA\n"
"""As long as nobody checks it."""
REVOKED = {**GUARDED, "allowed": False, "text": "The grant was revoked."}


@dataclass
class StandIn:
    """Control's internal API as far as a server uses it (and the vault's): keeps what it was told, answers as set."""

    path: Path
    label: str = "public"
    display: dict[str, Any] = field(default_factory=lambda: dict(FREE))
    sources: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Call ("begin cell", "POST reads") -> problem with which it is refused."""
    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    hook: Callable[[str, Any], None] | None = None
    """Called in the server's thread before each answer."""
    entries: int = 0
    credential: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None
    _door: socket.socket | None = None
    _lines: list[socket.socket] = field(default_factory=list)

    @property
    def cells_path(self) -> Path:
        """The door of cells beside control's own socket."""
        return self.path.with_name(f"cells-{self.path.name}")

    def open_door(self) -> None:
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(self.cells_path))
        self.cells_path.chmod(0o666)
        self._door.listen(16)
        threading.Thread(target=self._accept, args=(self._door,), daemon=True).start()

    def close_door(self) -> None:
        if self._door is not None:
            for one in (self._door, *self._lines):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._door, self._lines = None, []
            self.cells_path.unlink()

    def _accept(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = door.accept()
                self._lines.append(line)
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError, frames.FrameError):
            hello, _ = frames.receive(line)
            if hello != {"v": 1, "credential": self.credential}:
                frames.send(line, {"ok": False, "problem": {"title": "Who are you?", "status": 401}})
                return
            frames.send(line, {"ok": True})
            while True:
                asked, _ = frames.receive(line, limit=8 << 20)
                frames.send(line, self.at_the_door(asked))

    def at_the_door(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to one frame: a cell's begin, or the ends of some."""
        op = asked.pop("op")
        if op == "end":
            return {"ok": True, "ends": [self.framed("end cell", end) for end in asked["ends"]]}
        return self.framed(f"{op} cell", asked)

    def framed(self, name: str, body: Any) -> dict[str, Any]:
        status, answer = self.answered(name, body)
        return {"ok": True, **answer} if status < 400 else {"ok": False, "problem": answer}

    def start(self) -> None:
        self.open_door()
        self._server = uvicorn.Server(uvicorn.Config(self, uds=str(self.path), log_level="critical", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 5
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        self.path.chmod(0o666)

    def stop(self) -> None:
        self.close_door()
        if self._server is not None and self._thread is not None:
            self._server.force_exit = True
            self._server.should_exit = True
            self._thread.join(5)
            self._server = None
            self.path.unlink(missing_ok=True)

    def named(self, name: str) -> list[Any]:
        """The bodies of all calls of that name, for example `begin cell` or `POST reads`."""
        return [body for call, body in self.calls if call == name]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw, more = b"", True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        bearer = dict(scope["headers"]).get(b"authorization", b"").decode()
        authorised = bearer in {f"Bearer {self.credential}", "Bearer TICKET"}
        path = scope["path"].removeprefix("/internal/v1/").removeprefix("/v1/")
        body = json.loads(raw) if raw.startswith(b"{") else raw or scope["query_string"]
        status, answer = self.answer(scope["method"], path, body) if authorised else (401, {"title": "Who are you?"})
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
        )
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        await send({"type": "http.response.body", "body": content})

    def reset(self, label: str, display: dict[str, Any]) -> None:
        self.label, self.display, self.sources = label, dict(display), []
        self.refuse, self.answers, self.hook = {}, {}, None
        self.calls.clear()

    def state(self) -> dict[str, Any]:
        return {"label": self.label, "sources": self.sources, "display": self.display}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = path.split("/")
        name = f"{method} {'/'.join(part if not part.isdigit() else 'ENTRY' for part in parts)}"
        if parts[0] == "kernels" and len(parts) > 1:
            name = f"{method} kernels/ID"
        return self.answered(name, body)

    def answered(self, name: str, body: Any) -> tuple[int, Any]:
        self.calls.append((name, body))
        if self.hook is not None:
            self.hook(name, body)
        if name in self.refuse:
            return self.refuse[name]["status"], self.refuse[name]
        if name in self.answers:
            return 200, self.answers[name]
        self.entries += 1
        if name == "POST display" and self.display["day_bytes_left"] is not None:
            self.display["day_bytes_left"] = max(0, self.display["day_bytes_left"] - body["bytes"])
        if name == "GET session":
            return 200, {"user": "analyst", "project": {"name": "cardio"}, "policy_version": "1", **self.state()}
        if name == "POST reads":
            self.label, self.display = "confidential", dict(GUARDED)
            self.sources = [{"dataset": body["dataset"], "version": 1}]
            read = {"ticket": "TICKET", "dataset": body["dataset"], "version": 1, "columns": ["a"], "masked": {}}
            return 200, {**read, **self.state(), "entry": self.entries}
        checkpoint = {"checkpoint": CHECKPOINT} if name == "begin cell" else {}
        return 200, {"entry": self.entries, **checkpoint, **self.state()}


def own(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, UID, UID)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Lab:
    """One running server."""

    root: Path
    control: StandIn
    vault: StandIn
    port: int
    token: str
    prefix: str
    process: subprocess.Popen[bytes]

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if self.call("GET", "api/status").status_code == 200:
                    return
            time.sleep(0.1)
        pytest.fail("the server did not start:\n" + self.log, pytrace=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def log(self) -> str:
        return (self.root / "server.log").read_text(encoding="utf-8", errors="replace")

    def memory(self) -> int:
        """Resident bytes of the server."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) << 10

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"token {self.token}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, trust_env=False, **options)

    def start_kernel(self, notebook: str = "a.ipynb") -> str:
        body = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": "strongroom"}}
        response = self.call("POST", "api/sessions", json=body)
        assert response.status_code == 201, response.text + self.log[-3000:]
        kernel: str = response.json()["kernel"]["id"]
        return kernel

    @contextlib.asynccontextmanager
    async def page(self, kernel: str, *, v1: bool = False) -> AsyncIterator[Page]:
        protocols = [websockets.Subprotocol("v1.kernel.websocket.jupyter.org")] if v1 else None
        async with websockets.connect(
            f"ws://127.0.0.1:{self.port}/api/kernels/{kernel}/channels?session_id=s1",
            additional_headers={"Authorization": f"token {self.token}"},
            subprotocols=protocols,
            max_size=None,
            proxy=None,
        ) as connection:
            yield Page(connection)


class Page:
    """A page's websocket to one kernel, in the legacy framing."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.seen: list[dict[str, Any]] = []

    async def send(self, kind: str, content: dict[str, Any], *, channel: str = "shell", **fields: Any) -> str:
        identifier = uuid.uuid4().hex
        header = {
            "msg_id": identifier,
            "msg_type": kind,
            "session": "s1",
            "username": "u",
            "date": "",
            "version": "5.3",
        }
        body = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": channel}
        await self.connection.send(json.dumps({**body, **fields}))
        return identifier

    async def receive(self, patience: float = 20.0) -> dict[str, Any]:
        raw = await asyncio.wait_for(self.connection.recv(), patience)
        message: dict[str, Any] = json.loads(raw) if isinstance(raw, str) else {"binary": raw, "msg_type": "binary"}
        self.seen.append(message)
        return message

    async def until_idle(self, identifier: str, patience: float = 20.0) -> list[dict[str, Any]]:
        """All messages of one request, up to its idle status."""
        found = []
        while True:
            message = await self.receive(patience)
            if message.get("parent_header", {}).get("msg_id") == identifier:
                found.append(message)
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    return found

    async def run(self, code: str, patience: float = 20.0, **fields: Any) -> list[dict[str, Any]]:
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True, "stop_on_error": True}
        metadata = {"cellId": "cell-1", **fields.pop("metadata", {})}
        return await self.until_idle(await self.send("execute_request", content, metadata=metadata, **fields), patience)

    async def run_once_up(self, code: str, patience: float = 30.0) -> list[dict[str, Any]]:
        """As `run`, again and again while the kernel is just being started anew."""
        deadline = time.monotonic() + patience
        while True:
            messages = await self.run(code, patience)
            early = [error for error in of_type(messages, "error") if "not running" in error["content"]["evalue"]]
            if not early or time.monotonic() > deadline:
                return messages
            await asyncio.sleep(0.1)

    async def quiet(self, seconds: float = 0.5) -> list[dict[str, Any]]:
        """Whatever comes within `seconds`."""
        found = []
        with contextlib.suppress(TimeoutError):
            while True:
                found.append(await self.receive(seconds))
        return found


def text_of(messages: list[dict[str, Any]]) -> str:
    return "".join(message["content"]["text"] for message in messages if message["msg_type"] == "stream")


def of_type(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["msg_type"] == kind]


@pytest.fixture(scope="session")
def kernel_prefix() -> str:
    named = os.environ.get(PREFIX_VARIABLE, "")
    if not (Path(named) / "bin" / "python").exists() or not named:
        pytest.fail(f"{PREFIX_VARIABLE} does not name a kernel environment: `make test` sets it", pytrace=False)
    return named


def environment(root: Path, prefix: str, port: int, token: str) -> dict[str, str]:
    """What the spawner gives a server, with the credential file still to be written."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(root / "work"),
        "LANG": "C.UTF-8",
        "JUPYTER_TOKEN": token,
        "JUPYTER_PORT": str(port),
        "STRONGROOM_SERVER_ID": "server-1",
        "STRONGROOM_PROJECT": "cardio",
        "STRONGROOM_CONTROL_SOCKET": str(root / "control.sock"),
        "STRONGROOM_CELLS_SOCKET": str(root / "cells-control.sock"),
        "STRONGROOM_VAULT_SOCKET": str(root / "vault.sock"),
        "STRONGROOM_DATA_SOCKET": str(root / "data" / "data.sock"),
        "STRONGROOM_RUN_DIR": str(root / "run"),
        "STRONGROOM_CREDENTIAL_FILE": str(root / "run" / "credential"),
        "STRONGROOM_NOTEBOOKS": str(root / "notebooks"),
        "STRONGROOM_WORK": str(root / "work"),
        "STRONGROOM_KERNEL_PREFIX": prefix,
        "STRONGROOM_CONSOLE_URL": "/services/control/",
        "STRONGROOM_LOG_KEY": "log.test/1+00000000+AQ==",
    }


def launch(root: Path, prefix: str, credential: str, program: str, port: int, token: str) -> subprocess.Popen[bytes]:
    """Start `program` as the server's uid in a fresh run folder; its output goes to `server.log`."""
    shutil.rmtree(root / "run", ignore_errors=True)
    for name in ("work", "notebooks", "run", "data"):
        (root / name).mkdir(mode=0o700, exist_ok=True)
        own(root / name)
    (root / "data").chmod(0o755)
    file = root / "run" / "credential"
    file.write_text(credential)
    file.chmod(0o400)
    own(file)
    drop: dict[str, Any] = {"user": UID, "group": UID, "extra_groups": []} if os.geteuid() == 0 else {}
    with (root / "server.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment(root, prefix, port, token),
            stdout=log,
            stderr=subprocess.STDOUT,
            **drop,
        )


SERVER = "from strongroom_lab.main import main; main()"


@contextlib.contextmanager
def running_lab(prefix: str, label: str, display: dict[str, Any], *, program: str = SERVER) -> Iterator[Lab]:
    """A server with its stand-ins, in a short folder that other uids may enter."""
    root = Path(tempfile.mkdtemp(prefix="sr", dir="/tmp"))
    root.chmod(0o755)
    control = StandIn(root / "control.sock", label=label, display=dict(display))
    vault = StandIn(root / "vault.sock")
    control.start()
    vault.start()
    port, token = free_port(), secrets.token_urlsafe(16)
    process = launch(root, prefix, control.credential, program, port, token)
    lab = Lab(root, control, vault, port, token, prefix, process)
    try:
        lab.wait_until_up()
        yield lab
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        control.stop()
        vault.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def public_lab(kernel_prefix: str) -> Iterator[Lab]:
    with running_lab(kernel_prefix, "public", FREE) as lab:
        yield lab


@pytest.fixture(scope="module")
def confidential_lab(kernel_prefix: str) -> Iterator[Lab]:
    with running_lab(kernel_prefix, "confidential", GUARDED) as lab:
        yield lab


@pytest.fixture
def lab(public_lab: Lab) -> Lab:
    """A server at label public, shared by a module; tests here must not raise its label."""
    public_lab.control.reset("public", FREE)
    return public_lab


@pytest.fixture
def guarded_lab(confidential_lab: Lab) -> Lab:
    """A server at label confidential, shared by a module; it knows nothing of what the test before had it told."""
    confidential_lab.control.reset("confidential", GUARDED)
    confidential_lab.call("GET", "strongroom/api/session")
    return confidential_lab


@pytest.fixture
def fresh_lab(kernel_prefix: str) -> Iterator[Lab]:
    """A server at label public that a test may do anything to."""
    with running_lab(kernel_prefix, "public", FREE) as lab:
        yield lab
