from __future__ import annotations

import hmac
import json
import re
import socket
import socketserver
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from enclave import Enclave
from sqlalchemy import Engine
from strongroom_hub import tls
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.push import CURSOR_FILE, NotTakenError, Pusher, PushRounds, signature
from strongroom_hub.audit.reader import AlteredEntryError
from strongroom_hub.audit.settings import PushSettings
from strongroom_hub.audit.writer import AuditWriter

SECRET = "a shared secret"


class Webhook(ThreadingHTTPServer):
    """Takes what is rightly signed; a test sets `answers`, the statuses of the next calls."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.answers: list[int] = []
        self.taken: list[dict] = []


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = dict(part.split("=") for part in self.headers["Strongroom-Signature"].split(","))
        status = self.server.answers.pop(0) if self.server.answers else 204  # type: ignore[attr-defined]
        if told["v1"] != signature(SECRET.encode(), told["t"], body):
            status = 401
        if status == 204:
            self.server.taken += [json.loads(line) for line in body.splitlines()]  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


class Syslog(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None
    deaf = False

    def __init__(self, address: object, family: int = socket.AF_INET) -> None:
        self.address_family = family
        self.messages: list[bytes] = []
        super().__init__(address, Reader)  # type: ignore[arg-type]

    def get_request(self) -> tuple[socket.socket, object]:
        line, peer = super().get_request()
        return (line if self.context is None else self.context.wrap_socket(line, server_side=True)), peer


class Reader(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data = b""
        while piece := self.request.recv(65536):
            data += piece
            if self.server.deaf:  # type: ignore[attr-defined]
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                self.request.close()
                return
        while data:
            length, _, rest = data.partition(b" ")
            self.server.messages.append(rest[: int(length)])  # type: ignore[attr-defined]
            data = rest[int(length) :]


@pytest.fixture
def serve() -> Iterator[Callable[[socketserver.BaseServer], str]]:
    running: list[socketserver.BaseServer] = []

    def start(server: socketserver.BaseServer) -> str:
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def push(engine: Engine, keys: LogKeys, tmp_path: Path) -> Callable[..., Pusher]:
    (tmp_path / "secret").write_text(SECRET + "\n")

    def make(url: str, **settings: object) -> Pusher:
        chosen = PushSettings(url=url, secret_file=tmp_path / "secret", **settings)  # type: ignore[arg-type]
        return Pusher(
            chosen, engine, origin=keys.name, folder=tmp_path, clock=lambda: datetime(2026, 11, 21, tzinfo=UTC)
        )

    return make


def fill(writer: AuditWriter, count: int) -> None:
    for number in range(count):
        action = Action.READ_DENY if number % 2 else Action.LOG_READ
        writer.append(Entry(action=action, actor="user:ü", detail={"number": number}))


def test_a_receiver_that_was_away_gets_everything_in_order(
    writer: AuditWriter, push: Callable[..., Pusher], serve: Callable[..., str], tmp_path: Path
) -> None:
    hook = Webhook()
    url = f"http://{serve(hook)}/siem"
    fill(writer, 3)
    pusher = push(url, form="jsonl")
    hook.answers = [503]
    with pytest.raises(NotTakenError, match="503"):
        pusher.step()
    assert (pusher.as_json()["state"], pusher.as_json()["waiting"]) == ("failing", 3)
    fill(writer, 2)
    again = push(url, form="jsonl")  # after a restart
    assert again.step() == 5
    assert [entry["index"] for entry in hook.taken] == [0, 1, 2, 3, 4]
    assert again.as_json() == {"next": 5, "waiting": 0, "state": "fine", "text": ""}
    fill(writer, 1)
    assert push(url, form="jsonl").step() == 1
    assert [entry["index"] for entry in hook.taken] == [0, 1, 2, 3, 4, 5]
    assert push(url).step() == 0
    assert (tmp_path / CURSOR_FILE).read_text() == "6"


def test_what_was_sent_but_not_noted_comes_again(
    writer: AuditWriter, push: Callable[..., Pusher], serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Webhook()
    url = f"http://{serve(hook)}/"
    fill(writer, 2)

    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("strongroom_hub.audit.push.write_durably", full)
        with pytest.raises(OSError, match="no space"):
            push(url).step()
    assert push(url).step() == 2
    assert [event["metadata"]["uid"] for event in hook.taken] == ["0", "1", "0", "1"]


def test_batches_are_bounded(
    writer: AuditWriter, push: Callable[..., Pusher], serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom_hub.audit.push.BATCH", 3)
    hook = Webhook()
    fill(writer, 7)
    pusher = push(f"http://{serve(hook)}/")
    assert [pusher.step() for _ in range(4)] == [3, 3, 1, 0]


def test_a_signature_is_over_the_time_and_every_byte() -> None:
    right = signature(b"key", "1", b"body")
    others = (signature(b"kez", "1", b"body"), signature(b"key", "2", b"body"), signature(b"key", "1", b"bodz"))
    assert right not in others
    assert right == hmac.digest(b"key", b"1.body", "sha256").hex()


def test_nothing_altered_is_sent(
    writer: AuditWriter, database: Path, push: Callable[..., Pusher], serve: Callable[..., str]
) -> None:
    hook = Webhook()
    fill(writer, 2)
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER log_entries_no_update")
        connection.execute("UPDATE log_entries SET leaf = leaf || ' ' WHERE \"index\" = 1")
    connection.close()
    with pytest.raises(AlteredEntryError):
        push(f"http://{serve(hook)}/").step()
    assert hook.taken == []


@pytest.mark.parametrize("way", ["tcp", "unix", "tls"])
def test_syslog_messages_are_framed_and_say_what_they_are(
    way: str, writer: AuditWriter, push: Callable[..., Pusher], serve: Callable[..., str], tmp_path: Path
) -> None:
    settings: dict[str, object] = {}
    if way == "unix":
        server = Syslog(str(tmp_path / "s"), socket.AF_UNIX)
        serve(server)
        url = f"syslog+unix://{tmp_path}/s"
    else:
        server = Syslog(("127.0.0.1", 0))
        if way == "tls":
            tls.create(tmp_path)
            server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            server.context.load_cert_chain(tmp_path / tls.CERTIFICATE_FILE, tmp_path / tls.KEY_FILE)
            settings["ca_file"] = tmp_path / tls.CA_FILE
        url = f"syslog+{way}://{serve(server)}"
    fill(writer, 3)
    pusher = push(url, form="jsonl", **settings)
    assert pusher.step() == 3
    assert len(server.messages) == 3
    pattern = rb'<(\d+)>1 \S+Z \S+ strongroom \d+ (\S+) \[entry@0 index="(\d)"\] \xef\xbb\xbf(\{.*\})'
    for index, message in enumerate(server.messages):
        found = re.fullmatch(pattern, message, re.DOTALL)
        assert found is not None, message
        assert int(found[3]) == index
        assert json.loads(found[4])["index"] == index
        assert int(found[1]) == 13 * 8 + (4 if index % 2 else 6)


def test_a_receiver_that_proves_nothing_gets_nothing(
    writer: AuditWriter, push: Callable[..., Pusher], serve: Callable[..., str], tmp_path: Path
) -> None:
    tls.create(tmp_path)
    server = Syslog(("127.0.0.1", 0))
    server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.context.load_cert_chain(tmp_path / tls.CERTIFICATE_FILE, tmp_path / tls.KEY_FILE)
    fill(writer, 1)
    with pytest.raises(NotTakenError, match="certificate"):
        push(f"syslog+tls://{serve(server)}").step()
    assert server.messages == []


def test_a_receiver_that_hangs_up_has_not_taken_it(
    writer: AuditWriter, push: Callable[..., Pusher], serve: Callable[..., str]
) -> None:
    server = Syslog(("127.0.0.1", 0))
    server.deaf = True
    url = f"syslog+tcp://{serve(server)}"
    fill(writer, 3)
    with pytest.raises(NotTakenError):
        push(url).step()
    server.deaf = False
    assert push(url).step() == 3
    assert len(server.messages) == 3


def test_the_thread_goes_on_after_an_outage(
    writer: AuditWriter, push: Callable[..., Pusher], serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PushRounds, "every", 0.01)
    hook = Webhook()
    hook.answers = [500, 500]
    fill(writer, 2)
    pusher = push(f"http://{serve(hook)}/")
    arrived = threading.Event()
    step = pusher.step

    def watched() -> int:
        sent = step()
        if sent:
            arrived.set()
        return sent

    monkeypatch.setattr(pusher, "step", watched)
    rounds = PushRounds(pusher)
    rounds.start()
    try:
        assert arrived.wait(30)
    finally:
        rounds.close()
    assert len(hook.taken) == 2


def test_no_log_line_quotes_the_webhooks_address(
    writer: AuditWriter,
    push: Callable[..., Pusher],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A webhook's path is often its password: an error that nobody foresaw must not write it to the log."""
    fill(writer, 1)
    pusher = push("http://127.0.0.1:9/hooks/T0KEN")
    tried = threading.Event()

    def broken(url: str, **_: object) -> None:
        tried.set()
        raise RuntimeError(f"cannot make sense of {url}")

    monkeypatch.setattr("strongroom_hub.audit.push.httpx.post", broken)
    rounds = PushRounds(pusher)
    rounds.start()
    try:
        assert tried.wait(30)
    finally:
        rounds.close()
    assert "RuntimeError at test_push.py" in caplog.text
    assert "T0KEN" not in caplog.text + json.dumps(pusher.as_json())


def test_the_status_says_where_it_stands(cardio: Enclave) -> None:
    assert cardio.operator("GET", "status")["log"]["push"] is None
