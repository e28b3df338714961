"""Begin and end of cells over HTTP, in front of the other routes: each cell waits for this, so it goes straight.

What FastAPI's routing would do for them is written out here, and nothing is left out of it: the caller's credential,
the types of the body, one problem for every refusal.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from strongroom_hub.control import errors
from strongroom_hub.control.callers import context_of, require_known_server, writer_of
from strongroom_hub.problems import Problem
from strongroom_hub.projects import cells, rules

MAX_BODY_BYTES = 8 << 20
"""Code is at most 1 MiB of text, each character at most six bytes of JSON."""

Name = Annotated[str, Field(max_length=64)]
Place = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0, le=1 << 50)]


class NewCell(BaseModel):
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


class CellEnd(BaseModel):
    status: Literal["ok", "error", "aborted", "died"]
    shown: Count
    withheld: Count
    charged: Count
    outputs: list[Output] = Field(default_factory=list)
    duration_ms: Count


class CellRoutes:
    """Answers `POST cells` and `POST cells/ENTRY/end` below `prefix`; everything else goes on to `app`."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._route = re.compile(rf"{re.escape(prefix)}/cells(?:/(\d{{1,18}})/end)?", re.ASCII)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["method"] == "POST" and self._route.fullmatch(scope["path"])
        if not asked:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await (_begin(request) if asked[1] is None else _end(request, int(asked[1])))
        except Problem as problem:
            answer = errors.answer(problem)
        except ValidationError as error:
            answer = errors.invalid(error.errors())
        await answer(scope, receive, send)


async def _begin(request: Request) -> JSONResponse:
    caller = await require_known_server(request)
    body = NewCell.model_validate_json(await _body(request))
    start = cells.CellStart(body.kernel, body.notebook, body.cell, body.kind, body.code, body.silent)
    entry, known = await cells.begin_cell(await writer_of(request), await context_of(request), caller, start)
    return JSONResponse({"entry": entry, **known.as_json()}, 201)


async def _end(request: Request, entry: int) -> JSONResponse:
    caller = await require_known_server(request)
    body = CellEnd.model_validate_json(await _body(request))
    outputs: list[dict[str, Any]] = [output.model_dump() for output in body.outputs]
    end = cells.CellEnd(body.status, body.shown, body.withheld, body.charged, outputs, body.duration_ms)
    ended = await cells.end_cell(await writer_of(request), await context_of(request), caller, entry, end)
    return JSONResponse({"entry": ended})


async def _body(request: Request) -> bytes:
    """The whole body. Raises Problem 413."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise Problem(
                413,
                "too-large",
                "The request is too large",
                f"A cell's record may take {MAX_BODY_BYTES >> 20} MiB.",
                next="Split the cell into several.",
            )
    return bytes(body)
