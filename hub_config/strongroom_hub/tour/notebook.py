"""A notebook as the page runs it: one document, one kernel, one websocket."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from strongroom_hub.tour.person import Server, TourError

CELL_PATIENCE = 120.0
MAX_MESSAGE = 256 * 1024 * 1024


@dataclass(slots=True)
class Cell:
    """What came back from one cell."""

    code: str
    text: str = ""
    error: str = ""
    mimes: set[str] = field(default_factory=set)
    images: list[str] = field(default_factory=list)
    status: str = ""
    seal: dict[str, Any] = field(default_factory=dict)
    """`metadata.strongroom` of the reply: entry, label, shown, withheld."""
    received: int = 0
    """Bytes of all websocket frames that belong to this cell."""


class Notebook:
    """A saved notebook with a running kernel. Use as a context manager: leaving it ends the session."""

    def __init__(self, server: Server, path: str) -> None:
        self.server = server
        self.path = path
        server.jupyter("PUT", f"api/contents/{path}", {"type": "notebook", "content": empty_notebook()})
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "strongroom"}}
        session = server.jupyter("POST", "api/sessions", body)
        self.session: str = session["id"]
        self.kernel: str = session["kernel"]["id"]
        self._stack = ExitStack()
        self.socket = self._stack.enter_context(self._connect())

    def _connect(self) -> ClientConnection:
        person = self.server.person
        cookies = "; ".join(
            f"{c.name}={c.value}" for c in person.http.cookies.jar if self.server.prefix.startswith(c.path or "/")
        )
        url = person.base_url.replace("https://", "wss://") + self.server.prefix
        return connect(
            f"{url}api/kernels/{self.kernel}/channels?session_id={uuid.uuid4().hex}",
            ssl=person.tls_for_sockets,
            additional_headers={"Cookie": cookies},
            origin=Origin(person.base_url),
            max_size=MAX_MESSAGE,
            open_timeout=60,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self.server.request("DELETE", f"api/sessions/{self.session}")

    def send(self, channel: str, kind: str, content: dict[str, Any], cell: str = "") -> str:
        """Send one message as Lab does; returns its id."""
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id, "msg_type": kind, "session": self.session, "username": self.server.person.name,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "version": "5.3",
        }  # fmt: skip
        message = {
            "header": header, "parent_header": {}, "metadata": {"cellId": cell} if cell else {}, "content": content,
            "channel": channel, "buffers": [],
        }  # fmt: skip
        self.socket.send(json.dumps(message))
        return message_id

    def run(self, code: str, patience: float = CELL_PATIENCE) -> Cell:
        """Run one cell and gather all that comes back until both the reply and *idle* have come."""
        cell = Cell(code)
        content = {
            "code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
            "stop_on_error": True,
        }  # fmt: skip
        mine = self.send("shell", "execute_request", content, cell=uuid.uuid4().hex)
        deadline = time.monotonic() + patience
        idle = replied = False
        while not (idle and replied):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TourError(f"no end of the cell within {patience:.0f} s: {code[:80]!r}")
            try:
                raw = self.socket.recv(timeout=left)
            except TimeoutError:
                continue
            message = json.loads(raw)
            if message.get("parent_header", {}).get("msg_id") != mine:
                continue
            cell.received += len(raw)
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "status":
                idle = idle or content["execution_state"] == "idle"
            elif kind == "execute_reply":
                replied = True
                cell.status = content["status"]
                cell.seal = message.get("metadata", {}).get("strongroom", {})
            else:
                _gather(cell, kind, content)
        return cell


def empty_notebook() -> dict[str, Any]:
    """A notebook document without cells."""
    return {
        "cells": [], "metadata": {"kernelspec": {"name": "strongroom", "display_name": "Strongroom"}},
        "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip


def _gather(cell: Cell, kind: str, content: dict[str, Any]) -> None:
    if kind == "stream":
        cell.text += content["text"]
    elif kind in {"execute_result", "display_data"}:
        data = content["data"]
        cell.mimes |= set(data)
        cell.text += str(data.get("text/plain", "")) + "\n"
        if "image/png" in data:
            cell.images.append(data["image/png"])
    elif kind == "error":
        cell.error += "\n".join(content.get("traceback") or [f"{content['ename']}: {content['evalue']}"])
