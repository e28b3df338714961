"""The vault's HTTP door for trusted parties; each call but `health` and `publish` needs a ticket of its own."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from strongroom_hub.problems import MEDIA_TYPE, Problem
from strongroom_hub.vault import memfd
from strongroom_hub.vault.service import Vault, vault_full
from strongroom_hub.vault.tickets import FetchTicket, IdentifyTicket, IngestTicket, KeyTicket, RetireTicket, StageTicket
from strongroom_hub.vault.uploads import Upload

log = logging.getLogger(__name__)

MAX_STAGE = 1 << 30
"""Bytes of one staged file, whatever a ticket says."""
_MAX_MANIFEST = 4 << 20

_Word = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
_Version = Annotated[int, Path(ge=1)]


def create_app(vault: Vault) -> FastAPI:
    """The routes of wire-formats section 5."""
    app = FastAPI(title="Strongroom vault", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.middleware("http")(_answer_failure)

    @app.get("/v1/health")
    async def health() -> dict[str, bool]:
        return {"ok": True}

    @app.put("/v1/datasets/{ns}/{name}/{version}", status_code=201)
    async def ingest(
        ns: _Word, name: _Word, version: _Version, request: Request, offset: Annotated[int, Query(ge=0)] = 0
    ) -> dict[str, Any]:
        ticket = vault.tickets.verify(_bearer(request), IngestTicket)
        _same((ticket.dataset, ticket.version), (f"{ns}/{name}", version))
        with vault.uploads.of(ticket.dataset, ticket.version) as upload:
            await run_in_threadpool(upload.cut, offset)
            await _take(request, upload, vault.uploads.root)
            draft = await run_in_threadpool(vault.ingest, ticket, upload)
        log.info("took in %s version %d with %d MiB of memory", ticket.dataset, ticket.version, draft.peak_bytes >> 20)
        return {"manifest": draft.manifest, "receipt": vault.receipt(ticket, draft)}

    @app.get("/v1/datasets/{ns}/{name}/{version}/upload")
    async def upload(ns: _Word, name: _Word, version: _Version, request: Request) -> dict[str, Any]:
        ticket = vault.tickets.verify(_bearer(request), IngestTicket)
        _same((ticket.dataset, ticket.version), (f"{ns}/{name}", version))
        with vault.uploads.of(ticket.dataset, ticket.version) as there:
            return {"offset": there.offset, "sha256": await run_in_threadpool(there.sha256)}

    @app.post("/v1/datasets/{ns}/{name}/{version}/publish", status_code=204)
    async def publish(ns: _Word, name: _Word, version: _Version, request: Request) -> None:
        with _spool() as spooled:
            await _receive(request, spooled, _MAX_MANIFEST, "Not published")
            jws = os.pread(spooled, memfd.size(spooled), 0).decode("ascii", errors="replace").strip()
        await run_in_threadpool(vault.store.publish, f"{ns}/{name}", version, jws)
        log.info("published %s/%s version %d", ns, name, version)

    @app.delete("/v1/datasets/{ns}/{name}/{version}", status_code=204)
    async def retire(ns: _Word, name: _Word, version: _Version, request: Request) -> None:
        ticket = vault.tickets.verify(_bearer(request), RetireTicket)
        _same((ticket.dataset, ticket.version), (f"{ns}/{name}", version))
        await run_in_threadpool(vault.store.retire, ticket.dataset, ticket.version)

    @app.post("/v1/keys")
    async def keys(request: Request) -> dict[str, Any]:
        token = _bearer(request)
        ticket = vault.tickets.verify(token, KeyTicket)
        done = await run_in_threadpool(vault.key_operation, ticket, token)
        log.info("keys: %s", ticket.operation)
        return done

    @app.post("/v1/tokens")
    async def tokens(request: Request) -> dict[str, Any]:
        ticket = vault.tickets.verify(_bearer(request), IdentifyTicket)
        values = await run_in_threadpool(vault.identify, ticket)
        log.info("turned back %d tokens for entry %d", len(values), ticket.entry)
        return {"values": values}

    @app.put("/v1/exports/{export}/{index}", status_code=201)
    async def stage(export: str, index: int, request: Request) -> dict[str, str]:
        ticket = vault.tickets.verify(_bearer(request), StageTicket)
        _same((ticket.export, ticket.index), (export, index))
        with _spool() as spooled:
            await _receive(request, spooled, min(ticket.rules.max_bytes, MAX_STAGE), "The file is too large to leave")
            receipt = await run_in_threadpool(vault.exports.stage, ticket, spooled)
        log.info("staged file %d of export %s", ticket.index, ticket.export)
        return {"receipt": receipt}

    @app.get("/v1/exports/{export}/{sha256}")
    async def fetch(export: str, sha256: str, request: Request) -> Response:
        ticket = vault.tickets.verify(_bearer(request), FetchTicket)
        _same((ticket.export, ticket.sha256), (export, sha256))
        size, content = await run_in_threadpool(vault.exports.open, ticket.export, ticket.sha256)
        headers = {"Content-Length": str(size)}
        return StreamingResponse(content, media_type="application/octet-stream", headers=headers)

    return app


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(
            401,
            "ticket-missing",
            "A ticket is needed",
            "The request carries no bearer ticket.",
            next="Ask control for one.",
        )
    return token


def _same(ticket: tuple[str, int | str], path: tuple[str, int | str]) -> None:
    if ticket != path:
        raise Problem(
            403,
            "ticket-refused",
            "The ticket was refused",
            "It was issued for another address.",
            next="Ask control for a ticket for this one.",
        )


@contextmanager
def _spool() -> Iterator[int]:
    fd = memfd.create("strongroom-spool")
    try:
        yield fd
    finally:
        os.close(fd)


async def _take(request: Request, upload: Upload, disk: FilePath) -> None:
    """The body into the upload; a connection that breaks leaves whole chunks. Raises Problem (507)."""
    announced = request.headers.get("content-length", "")
    free = shutil.disk_usage(disk).free
    if announced.isdecimal() and int(announced) > free:
        raise vault_full(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    writer = upload.writer()
    try:
        async for piece in request.stream():
            await run_in_threadpool(writer.write, piece)
        await run_in_threadpool(writer.finish)
    except OSError as error:
        raise vault_full(error) from error


async def _receive(request: Request, target: int, limit: int, title: str) -> None:
    """The body into the memory file `target`. Raises Problem (413) as soon as it is known to be too large."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(title, int(announced), limit)
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > limit:
            raise _too_large(title, received, limit)
        while piece:
            piece = piece[os.write(target, piece) :]  # noqa: PLW2901 - what a short write left over


def _too_large(title: str, size: int, limit: int) -> Problem:
    return Problem(
        413,
        "too-large",
        title,
        f"It has {size} bytes or more; the limit is {limit}.",
        why=("size limit for one file",),
        next="Make it smaller, or split it; nothing was kept.",
    )


def _json(problem: Problem) -> JSONResponse:
    # the rest of a body that was refused is not read: the caller would go on sending all of it
    headers = {"Connection": "close"}
    return JSONResponse(problem.as_json(), problem.status, headers, media_type=MEDIA_TYPE)


async def _answer_problem(_: Request, error: Exception) -> Response:
    problem = error if isinstance(error, Problem) else _failed()
    return _json(problem)


async def _answer_http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _json(Problem(status, "no-such-call", "No such call", "The vault does not know this address or method."))


async def _answer_invalid(_: Request, error: Exception) -> Response:  # noqa: ARG001 - its words may quote the request
    return _json(Problem(422, "bad-address", "The address cannot be read", "A part of it is not a name or number."))


async def _answer_failure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        return await call_next(request)
    except Exception as error:  # noqa: BLE001 - no trace may reach a caller, and a trace in the log may quote data
        log.error("%s failed: %s", request.method, type(error).__name__)  # noqa: TRY400
        return _json(_failed())


def _failed() -> Problem:
    return Problem(500, "vault-failed", "The vault failed", "The call could not be done.", next="Tell an operator.")
