"""This server's way to control's door of cells: connections that stay open, one question at a time on each.

Nothing but a callback stands between the socket and the coroutine that waits: every cell waits for this.
"""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import orjson
from strongroom_hub.problems import Problem

from strongroom_lab.problems import control_silent
from strongroom_lab.values import encode

PATIENCE = 15.0
"""Seconds for an answer; control itself gives up sooner."""
CONNECTIONS = 4
"""At once: kernels of one server, and the ends of cells, rarely ask at the same moment."""
KEPT_OPEN = 60.0
"""Seconds that an idle connection is used again: less than control keeps it."""
_LENGTH = struct.Struct(">I")


class _Line(asyncio.Protocol):
    """One connection to control."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._transport: Any = None
        self._answer: asyncio.Future[bytes] | None = None
        self.used_at = 0.0

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) < _LENGTH.size:
            return
        end = _LENGTH.size + _LENGTH.unpack_from(self._data)[0]
        if len(self._data) >= end and self._answer is not None and not self._answer.done():
            self._answer.set_result(bytes(self._data[_LENGTH.size : end]))
            del self._data[:end]

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer. Raises Problem: control's own, or a 503 where it is silent; then the connection is closed."""
        if not self.open:
            raise control_silent()
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        body = encode(question)
        try:
            async with asyncio.timeout(PATIENCE):
                self._transport.write(_LENGTH.pack(len(body)) + body)
                raw = await self._answer
        except OSError as error:  # a TimeoutError is an OSError
            self.close()
            raise control_silent() from error
        except asyncio.CancelledError:
            self.close()  # whatever comes on it now answers nobody
            raise
        self.used_at = loop.time()
        return _opened(raw)

    def close(self) -> None:
        self._transport.close()


class CellDoor:
    """Begins and ends of this server's cells."""

    def __init__(self, socket: Path, credential: str) -> None:
        self._socket = socket
        self._credential = credential
        self._idle: list[_Line] = []
        self._places = asyncio.Semaphore(CONNECTIONS)

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask on a connection that is free. Raises Problem."""
        async with self._places:
            line = await self._line()
            try:
                return await line.ask(question)
            finally:
                if line.open:
                    self._idle.append(line)

    async def _line(self) -> _Line:
        """An open connection on which control knows this server. Raises Problem."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            line = self._idle.pop()
            if line.open and now - line.used_at < KEPT_OPEN:
                return line
            line.close()
        try:
            _, line = await asyncio.get_running_loop().create_unix_connection(_Line, str(self._socket))
        except OSError as error:
            raise control_silent() from error
        try:
            await line.ask({"v": 1, "credential": self._credential})
        except Problem:
            line.close()
            raise
        return line

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()


def _opened(raw: bytes) -> dict[str, Any]:
    """The answer in a frame. Raises Problem where it is a refusal, or no answer at all."""
    try:
        answer = orjson.loads(raw)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        raise Problem.from_json(answer.get("problem") if isinstance(answer, dict) else None)
    return answer
