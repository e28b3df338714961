"""A stand-in for the two doors: sockets that speak the wire format with real sealed memory files."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from strongroom import _wire

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed(content: bytes) -> int:
    descriptor = os.memfd_create("view", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def arrow_file(table: pa.Table) -> bytes:
    """As the vault writes it: texts as views."""
    views = pa.schema(one.with_type(pa.string_view()) if one.type == pa.large_string() else one for one in table.schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, views) as writer:
        writer.write_table(table.cast(views))
    return bytes(sink.getvalue().to_pybytes())


Answer = Callable[[dict[str, Any]], tuple[Any, bytes | None]]


class Door:
    """Answers every request with what `answer(request)` returns: an object (or raw bytes) and perhaps data."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                (length,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
                request = json.loads(connection.recv(length, socket.MSG_WAITALL))
                self.requests.append(request)
                said, data = self.answer(request)
                frame = said if isinstance(said, bytes) else _frame(said)
                if data is None:
                    connection.sendall(frame)
                    continue
                descriptor = sealed(data)
                socket.send_fds(connection, [frame[:1]], [descriptor])  # with the first byte, as the vault does
                os.close(descriptor)
                connection.sendall(frame[1:])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def _frame(message: Any) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


@pytest.fixture
def table() -> pa.Table:
    return pa.table({"age": [31, 47, 52], "income": pa.array(["p1", "p2", "p1"], pa.large_string())})


class Doors:
    def __init__(self, folder: Path, table: pa.Table) -> None:
        self.opened = {
            "ok": True,
            "ticket": "a-ticket",
            "dataset": "health/randhie",
            "version": 2,
            "label": "confidential",
            "columns": ["age", "income"],
            "masked": {"income": "hash"},
            "entry": 41,
        }
        given = {"ok": True, "rows": 3, "bytes": 1, "dataset": "health/randhie", "version": 2, "label": "confidential"}
        (folder / "ask").mkdir(exist_ok=True)
        self.ask_path, self.data_path = folder / "ask" / "ask.sock", folder / "data.sock"
        self.ask = Door(self.ask_path, lambda _request: (self.opened, None))
        self.data = Door(self.data_path, lambda _request: (given, arrow_file(table)))

    def close(self) -> None:
        self.ask.close()
        self.data.close()


@pytest.fixture
def doors(root_folder: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    found = Doors(root_folder, table)
    monkeypatch.setattr(_wire, "ASK_SOCKET", str(found.ask_path))
    monkeypatch.setattr(_wire, "DATA_SOCKET", str(found.data_path))
    yield found
    found.close()
