"""Sends every entry on to a SIEM, from a cursor on disk: an outage of the receiver, or of this service, loses nothing.

What is sent was checked against the tree first. An entry may come twice (after a crash between sending and moving the
cursor), never not at all; the receiver knows it by its index.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
from sqlalchemy import Engine

from strongroom_hub.audit import reader
from strongroom_hub.audit.durable import write_durably
from strongroom_hub.audit.exports import to_line
from strongroom_hub.audit.ocsf import event
from strongroom_hub.audit.settings import PushSettings
from strongroom_hub.problems import Problem
from strongroom_hub.rounds import Rounds

log = logging.getLogger("strongroom.push")
CURSOR_FILE = "push-cursor"
BATCH = 500
TIMEOUT = 10.0
SYSLOG_TLS_PORT, SYSLOG_TCP_PORT = 6514, 601
_AUDIT_FACILITY = 13
_SYSLOG_SEVERITY = {1: 6, 2: 5, 3: 4, 4: 3, 5: 1}
"""OCSF's severity to syslog's: informational, notice, warning, error, alert."""
SIGNATURE_HEADER = "Strongroom-Signature"


class NotTakenError(Exception):
    """The receiver did not take a batch, in words for the operator."""


@dataclass(frozen=True, slots=True)
class Message:
    """One entry as it goes out."""

    index: int
    time: str
    action: str
    severity: int
    """OCSF's, 1 to 5."""
    line: bytes


class Pusher:
    """What was sent, and what waits. `step` is called by one thread; `as_json` by any."""

    def __init__(
        self, settings: PushSettings, engine: Engine, *, origin: str, folder: Path, clock: Callable[[], datetime]
    ) -> None:
        """`origin`: the log's name; `folder`: where the cursor lies. Raises OSError, ValueError."""
        self._settings = settings
        self._engine = engine
        self._origin = origin
        self._file = folder / CURSOR_FILE
        self._clock = clock
        self._secret = settings.secret_file.read_bytes().strip() if settings.secret_file is not None else b""
        self._next = int(self._file.read_text(encoding="ascii")) if self._file.exists() else 0
        self._trouble = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "next": self._next,
            "waiting": max(0, reader.size(self._engine) - self._next),
            "state": "failing" if self._trouble else "fine",
            "text": self._trouble,
        }

    def step(self) -> int:
        """Send one batch and move the cursor; answers how many entries that were. Raises NotTakenError."""
        found = reader.following(self._engine, self._next, BATCH)
        if not found:
            self._trouble = ""
            return 0
        messages = [self._message(fields, leaf) for leaf, fields in found]
        try:
            self._send(messages)
        except (OSError, httpx.HTTPError, NotTakenError) as error:
            self._trouble = f"{type(error).__name__}: {error}"
            raise NotTakenError(self._trouble) from error
        self._next = messages[-1].index + 1
        write_durably(self._file, str(self._next))
        self._trouble = ""
        return len(messages)

    def _message(self, fields: dict[str, Any], leaf: bytes) -> Message:
        told = event(fields, leaf, self._origin)
        line = to_line(told) if self._settings.form == "ocsf" else leaf
        return Message(fields["index"], fields["time"], fields["action"], told["severity_id"], line)

    def _send(self, messages: list[Message]) -> None:
        where = urlsplit(self._settings.url)
        if where.scheme in {"http", "https"}:
            self._post(messages)
        else:
            self._syslog(where, b"".join(_framed(syslog(message)) for message in messages))

    def _post(self, messages: list[Message]) -> None:
        body = b"".join(message.line + b"\n" for message in messages)
        now = str(int(self._clock().timestamp()))
        headers = {
            "Content-Type": "application/x-ndjson",
            "Strongroom-Log": self._origin,
            "Strongroom-First": str(messages[0].index),
            SIGNATURE_HEADER: f"t={now},v1={signature(self._secret, now, body)}",
        }
        answer = httpx.post(
            self._settings.url,
            content=body,
            headers=headers,
            timeout=TIMEOUT,
            verify=self._trust(),
            follow_redirects=False,
        )
        if not answer.is_success:
            raise NotTakenError(f"the receiver answers {answer.status_code}")

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(
            cafile=None if self._settings.ca_file is None else str(self._settings.ca_file)
        )

    def _syslog(self, where: SplitResult, data: bytes) -> None:
        """One connection a batch. Syslog acknowledges nothing, but whoever closes after our end has read all of it."""
        with self._connected(where) as line:
            line.settimeout(TIMEOUT)
            line.sendall(data)
            if isinstance(line, ssl.SSLSocket):
                with suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError):  # closed without a word of its own: read all
                    line.unwrap()
                return
            line.shutdown(socket.SHUT_WR)
            while line.recv(4096):
                pass

    def _connected(self, where: SplitResult) -> socket.socket:
        if where.scheme == "syslog+unix":
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.settimeout(TIMEOUT)
            try:
                line.connect(where.path)
            except OSError:
                line.close()
                raise
            return line
        encrypted = where.scheme == "syslog+tls"
        port = where.port or (SYSLOG_TLS_PORT if encrypted else SYSLOG_TCP_PORT)
        host = where.hostname or ""
        plain = socket.create_connection((host, port), TIMEOUT)
        if not encrypted:
            return plain
        try:
            return self._trust().wrap_socket(plain, server_hostname=host)
        except OSError:
            plain.close()
            raise


class PushRounds(Rounds):
    """Sends what there is, and waits longer and longer while nobody takes it."""

    name = "sending to the SIEM"
    every = 1.0
    longest = 60.0
    at_once = True
    told = (NotTakenError, Problem)

    def __init__(self, pusher: Pusher) -> None:
        super().__init__()
        self._pusher = pusher

    def tick(self) -> int:
        return self._pusher.step()

    def more(self, outcome: object) -> bool:
        return outcome == BATCH


def signature(secret: bytes, time: str, body: bytes) -> str:
    """HMAC-SHA256 over time, a dot and the body, in hex: the receiver computes the same and compares."""
    return hmac.new(secret, time.encode() + b"." + body, hashlib.sha256).hexdigest()


def syslog(message: Message) -> bytes:
    """An RFC 5424 message: facility 13 (log audit), the action as MSGID, the index as structured data."""
    priority = _AUDIT_FACILITY * 8 + _SYSLOG_SEVERITY[message.severity]
    host = socket.gethostname()[:255] or "-"
    head = f'<{priority}>1 {message.time} {host} strongroom {os.getpid()} {message.action[:32]} [entry@0 index="'
    return f'{head}{message.index}"] '.encode() + b"\xef\xbb\xbf" + message.line


def _framed(message: bytes) -> bytes:
    """Octet counting (RFC 6587, RFC 5425)."""
    return str(len(message)).encode() + b" " + message
