"""Who calls the internal API: the hub, the operator's command line, or one single-user server.

Control knows tokens only by their SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from strongroom_hub.audit.writer import AuditWriter
from strongroom_hub.control.context import Context
from strongroom_hub.database import Statement
from strongroom_hub.problems import Problem

_SERVER = Statement(
    'SELECT id, workspace, "user", project FROM server WHERE credential_sha256 = :sha256 AND ended IS NULL'
)


@dataclass(frozen=True, slots=True)
class Principals:
    """SHA-256 hex digests of the hub's, the operator's and the metrics scraper's tokens."""

    hub: str
    operator: str
    metrics: str
    """Empty where set-up ran before there was one: then no token is right."""

    @classmethod
    def load(cls, path: Path) -> Principals:
        """Raises OSError, ValueError or KeyError: without this file control cannot start."""
        raw = json.loads(path.read_text(encoding="ascii"))
        return cls(hub=str(raw["hub"]), operator=str(raw["operator"]), metrics=str(raw.get("metrics", "")))


@dataclass(frozen=True, slots=True)
class ServerCaller:
    """A running single-user server: it speaks for one user in one project and for nobody else."""

    server: str
    workspace: int
    user: str
    project: str
    uid_index: int

    @property
    def actor(self) -> str:
        return f"user:{self.user}"


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unknown_caller()
    return token


def unknown_caller() -> Problem:
    return Problem(
        401,
        "unknown-caller",
        "Not authenticated",
        "This call needs a valid credential of the right kind.",
        next="A notebook server whose credential is void has to be started again from the hub's page.",
    )


async def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def writer_of(request: Request) -> AuditWriter:
    writer: AuditWriter = request.app.state.writer
    return writer


async def require_hub(request: Request) -> None:
    _require(request, "hub")


async def require_operator(request: Request) -> None:
    _require(request, "operator")


async def require_scraper(request: Request) -> None:
    _require(request, "metrics")


def _require(request: Request, kind: str) -> None:
    principals: Principals = request.app.state.principals
    if not hmac.compare_digest(digest(_bearer(request)), getattr(principals, kind)):
        raise unknown_caller()


def require_server(request: Request) -> ServerCaller:
    """The server whose credential this is. Raises Problem 401 for an unknown or void one."""
    context: Context = request.app.state.context
    return find_server(context, _bearer(request))


def find_server(context: Context, credential: str) -> ServerCaller:
    """As `require_server`; of what it says, only whether the server has ended can ever change."""
    with context.engine.connect() as connection, connection.begin():
        found = _SERVER(connection, sha256=digest(credential)).fetchone()
    if found is None:
        raise unknown_caller()
    server, workspace, user, project = found
    return ServerCaller(server, workspace, user, project, uid_index(workspace))


def uid_index(workspace: int) -> int:
    """Zero-based and never used again: the workspace's row number minus one."""
    return workspace - 1


Ctx = Annotated[Context, Depends(context_of)]
Writer = Annotated[AuditWriter, Depends(writer_of)]
Caller = Annotated[ServerCaller, Depends(require_server)]
