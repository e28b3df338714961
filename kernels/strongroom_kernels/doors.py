"""The server's door for one kernel's questions: a socket of its own, so that who asks needs no proof."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from strongroom_kernels.frames import FrameError, encode, read_frame

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

MAX_CONNECTIONS = 8
_log = logging.getLogger("strongroom.ask")


def _problem(status: int, slug: str, title: str, detail: str, next_step: str) -> dict[str, Any]:
    problem = {"type": f"urn:strongroom:problem:{slug}", "title": title, "status": status, "detail": detail}
    return {"ok": False, "problem": {**problem, "why": [], "next": next_step}}


class AskDoor:
    """Answers framed JSON at `path` through `handler`: one request at a time per connection, few connections.

    `handler` gets the request and returns the whole answer (`{"ok": true, ...}` or `{"ok": false, "problem": ...}`).
    What it raises is logged and answered with a problem without details. File descriptors that a kernel sends along
    are never received.
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen (socket mode 0600). What a killed server left at `path` is replaced."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """End all connections and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # asyncio always runs this as a task
            raise RuntimeError("connection outside of a task")
        crowded = len(self._connections) >= MAX_CONNECTIONS
        if not crowded:
            self._connections.add(task)
        try:
            if crowded:
                words = f"This kernel already has {MAX_CONNECTIONS} questions open."
                await self._send(writer, _problem(429, "busy", "Too many questions at once", words, "Try again."))
            else:
                await self._converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the kernel or this server goes away: nobody is left to answer
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await read_frame(reader)
            except FrameError as error:
                await self._send(
                    writer,
                    _problem(400, "bad-frame", "Not understood", f"{error}.", "Use the strongroom package to ask."),
                )
                return
            if request is None:
                return
            await self._send(writer, await self._answer(request))

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._handler(request)
        except Exception:  # noqa: BLE001 - a kernel must get an answer, and no details, whatever went wrong in trusted code
            _log.exception("A kernel's question could not be answered")
            return _unavailable()

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
        try:
            frame = encode(answer)
        except (FrameError, TypeError, ValueError):
            _log.exception("An answer to a kernel does not fit the wire")
            frame = encode(_unavailable())
        writer.write(frame)
        await writer.drain()


def _unavailable() -> dict[str, Any]:
    return _problem(
        500,
        "server-error",
        "The server could not answer",
        "Something went wrong inside the notebook server; nothing was read or changed.",
        "Try again. If it stays so, tell whoever runs this Strongroom.",
    )
