"""The door of cells: each run of code waits for it, so nothing stands between a server's connection and the commit.

A notebook server keeps connections open, says once on each who it is, and sends begins and ends of cells as framed
JSON (wire-formats.md 3). One thread serves each connection, from the bytes to the commit and back. The transaction that
records a cell checks again that its server has not ended.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from strongroom_hub import frames
from strongroom_hub.audit.writer import AuditWriter
from strongroom_hub.control import errors
from strongroom_hub.control.callers import ServerCaller, find_server
from strongroom_hub.control.context import Context
from strongroom_hub.problems import Problem
from strongroom_hub.projects import cells, rules

log = logging.getLogger("strongroom.control.cells")

MAX_BYTES = 8 << 20
"""Code is at most 1 MiB of text, each character at most six bytes of JSON."""
CONNECTIONS = 2048
HELLO_SECONDS = 5.0
IDLE_SECONDS = 120.0
"""Longer than any server keeps an idle connection: a cell must not meet one that was just closed here."""

Name = Annotated[str, Field(max_length=64)]
Place = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0, le=1 << 50)]


class Hello(BaseModel):
    v: Literal[1]
    credential: Annotated[str, Field(max_length=8192)]


class Begin(BaseModel):
    op: Literal["begin"]
    kernel: Name
    notebook: Place | None = None
    cell: Place | None = None
    kind: rules.CellKind
    code: str
    silent: bool = False


class Output(BaseModel):
    mime: str = Field(max_length=200)
    bytes: Count
    sha256: str = Field(max_length=64)


class End(BaseModel):
    entry: Count
    status: Literal["ok", "error", "aborted", "died"]
    shown: Count
    withheld: Count
    charged: Count
    outputs: list[Output] = Field(default_factory=list)
    duration_ms: Count
    count: Count | None = None


class Ends(BaseModel):
    op: Literal["end"]
    ends: Annotated[list[End], Field(max_length=100)]


_HELLO: TypeAdapter[Hello] = TypeAdapter(Hello)
_REQUEST: TypeAdapter[Begin | Ends] = TypeAdapter(Annotated[Begin | Ends, Field(discriminator="op")])


class CellDoor:
    """Serves a listening socket until it is closed."""

    def __init__(
        self, context: Context, writer: AuditWriter, listener: socket.socket, *, connections: int = CONNECTIONS
    ) -> None:
        self._context = context
        self._writer = writer
        self._listener = listener
        self._most = connections
        self._open: set[socket.socket] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name="cell-door", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Take no more connections and end those there are; a cell that is being recorded is recorded."""
        self._closing = True
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if not self._closing:  # out of descriptors: the next one may close soon
                    log.warning("accept failed: %s", error.strerror)
                    threading.Event().wait(0.2)
                continue
            connection.settimeout(HELLO_SECONDS)
            if len(self._open) >= self._most:
                with connection, suppress(OSError):
                    connection.sendall(_framed(_refusal(_crowded())))
                continue
            self._open.add(connection)
            threading.Thread(target=self._attend, args=(connection,), name="cell", daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        """One connection, to its end."""
        try:
            with connection:
                self._converse(connection)
        except (OSError, frames.FrameError):
            pass  # the caller went away, fell silent or does not speak frames: there is nobody to tell
        finally:
            self._open.discard(connection)

    def _converse(self, connection: socket.socket) -> None:
        read = frames.Reader(connection, limit=MAX_BYTES)
        caller: ServerCaller | None = None
        while not self._closing and (body := self._next(read, connection)) is not None:
            if caller is None:
                answer = _answered(lambda body=body: self._hello(body))  # type: ignore[misc]
                caller = answer.pop("caller", None)
                connection.settimeout(IDLE_SECONDS)
            else:
                answer = _answered(lambda body=body, caller=caller: self._cell(caller, body))  # type: ignore[misc]
            connection.sendall(_framed(answer))
            if caller is None:
                return

    @staticmethod
    def _next(read: frames.Reader, connection: socket.socket) -> bytes | None:
        try:
            return read.body()
        except frames.FrameError:
            connection.sendall(_framed(_refusal(_too_large())))
            raise

    def _hello(self, body: bytes) -> dict[str, Any]:
        return {"caller": find_server(self._context, _HELLO.validate_json(body).credential)}

    def _cell(self, caller: ServerCaller, body: bytes) -> dict[str, Any]:
        asked = _REQUEST.validate_json(body)
        if isinstance(asked, Begin):
            start = cells.CellStart(asked.kernel, asked.notebook, asked.cell, asked.kind, asked.code, asked.silent)
            entry, known = cells.begin_cell(self._writer, self._context, caller, start)
            return {"entry": entry, "checkpoint": self._writer.checkpoint, **known.as_json()}
        ends = [cells.CellEnd(**end.model_dump()) for end in asked.ends]
        outcomes = cells.end_cells(self._writer, self._context, caller, ends)
        return {"ends": [_refusal(one) if isinstance(one, Problem) else {"ok": True, "entry": one} for one in outcomes]}


def _answered(do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer, whatever happens: a caller must hear, and must hear no more than a problem says."""
    try:
        return {"ok": True, **do()}
    except Problem as problem:
        return _refusal(problem)
    except ValidationError as error:
        return _refusal(errors.not_understood(error.errors()))
    except Exception as error:  # noqa: BLE001 - told as an incident
        return _refusal(errors.incident("a cell", error))


def _refusal(problem: Problem) -> dict[str, Any]:
    return {"ok": False, "problem": problem.as_json()}


def _framed(answer: dict[str, Any]) -> bytes:
    return frames.encode(answer, limit=MAX_BYTES)


def _too_large() -> Problem:
    return Problem(
        413,
        "too-large",
        "The request is too large",
        f"A cell's record may take {MAX_BYTES >> 20} MiB.",
        next="Split the cell into several.",
    )


def _crowded() -> Problem:
    return Problem(
        503,
        "busy",
        "Too many notebook servers are connected",
        "The audit log takes no more connections now, so nothing was recorded.",
        next="Try again in a moment; if it stays so, tell your administrator.",
    )
