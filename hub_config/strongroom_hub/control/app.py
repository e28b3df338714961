"""The two apps of the control service: one for the hub, servers and the command line, one for people's browsers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from strongroom_hub.access import routes as access
from strongroom_hub.airlock import routes as airlock
from strongroom_hub.audit import routes as audit
from strongroom_hub.audit.writer import AuditWriter
from strongroom_hub.boxes import routes as boxes
from strongroom_hub.catalog import routes as catalog
from strongroom_hub.control import console, errors
from strongroom_hub.control import routes as control
from strongroom_hub.control.callers import Principals
from strongroom_hub.control.context import Context
from strongroom_hub.control.metrics import Metrics
from strongroom_hub.control.oauth import HubLogin
from strongroom_hub.control.session import Person, Sessions
from strongroom_hub.derived import routes as derived
from strongroom_hub.identity import routes as identity
from strongroom_hub.keys import routes as keys
from strongroom_hub.policies import routes as policies
from strongroom_hub.projects import routes as projects
from strongroom_hub.reidentification import routes as reidentification

INTERNAL_PREFIX = "/internal/v1"
PUBLIC_PREFIX = "/services/control/"
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_internal(context: Context, writer: AuditWriter, principals: Principals) -> FastAPI:
    """The internal API; every route but none-at-all names who may call it."""
    app = FastAPI(title="Strongroom control, internal", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.context, app.state.writer, app.state.principals = context, writer, principals
    app.state.metrics = Metrics(context)
    errors.install(app)
    for room in (identity, projects, catalog, derived, access, airlock, audit, boxes, policies, keys, control):
        app.include_router(room.internal, prefix=INTERNAL_PREFIX)
    app.include_router(control.scraped, prefix=INTERNAL_PREFIX)
    return app


def create_public(context: Context, writer: AuditWriter, hub: HubLogin, *, prefix: str = PUBLIC_PREFIX) -> FastAPI:
    """The console and its API, below `prefix`. Cookies are Secure where people reach the hub by https."""
    app = FastAPI(title="Strongroom control", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.context, app.state.writer, app.state.hub = context, writer, hub
    app.state.metrics = Metrics(context)
    app.state.sessions = Sessions(context.clock)
    app.state.secure_cookies = context.instance.public_url.startswith("https:")
    errors.install(app)
    app.middleware("http")(_guard_answers)
    for room in (access, airlock, audit, boxes, catalog, policies, keys, reidentification, control):
        app.include_router(room.public, prefix=f"{prefix}api/v1")
    app.include_router(_description(app, prefix))
    app.include_router(console.routes(prefix))
    return app


def _description(app: FastAPI, prefix: str) -> APIRouter:
    router = APIRouter()

    @router.get(f"{prefix}api/openapi.json", include_in_schema=False)
    def openapi(_: Person) -> JSONResponse:
        return JSONResponse(app.openapi())

    return router


async def _guard_answers(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Headers for every answer; a route that needs a stricter content policy has set its own."""
    answer = await call(request)
    for name, value in SAFE_HEADERS.items():
        answer.headers.setdefault(name, value)
    answer.headers.setdefault("Content-Security-Policy", console.PAGE_POLICY)
    if "/api/" in request.url.path:
        answer.headers.setdefault("Cache-Control", "no-store")
    return answer
