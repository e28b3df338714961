"""The console's page: login through the hub, the built page and its files under a strict policy of content."""

from __future__ import annotations

import hmac
import mimetypes
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from strongroom_hub.control.oauth import HubLogin
from strongroom_hub.control.session import (
    LOGIN_TIME,
    LONGEST,
    SESSION_COOKIE,
    STATE_COOKIE,
    XSRF_COOKIE,
    Sessions,
    holds,
)
from strongroom_hub.identity.groups import take_groups
from strongroom_hub.problems import Problem

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
STATIC = Path(__file__).parent.parent / "static"
NOT_BUILT = (
    "<!doctype html><html lang=en><title>Strongroom console</title><h1>The console is not built</h1>"
    "<p>This installation has no console page. In a checkout, run <code>make demo</code>, or in "
    "<code>extension/</code>: <code>npm ci</code>, then <code>npm run build</code>.</p>"
)


def routes(prefix: str) -> APIRouter:
    """The page at `prefix` (with its trailing slash), its files, and the OAuth callback below it."""
    router = APIRouter()

    @router.get(prefix, include_in_schema=False)
    def page(request: Request) -> Response:
        sessions, hub = _parts(request)
        session = sessions.find(request.cookies.get(SESSION_COOKIE))
        if session is None or not holds(hub, session):
            return _to_login(request, sessions, hub, prefix)
        file = STATIC / "index.html"
        text = file.read_text(encoding="utf-8") if file.is_file() else NOT_BUILT
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})

    @router.get(f"{prefix}oauth_callback", include_in_schema=False)
    def callback(
        request: Request,
        code: Annotated[str, Query(max_length=512)] = "",
        state: Annotated[str, Query(max_length=512)] = "",
    ) -> Response:
        sessions, hub = _parts(request)
        bound = request.cookies.get(STATE_COOKIE, "")
        begun = sessions.finish_login(state)
        if begun is None or not code or not hmac.compare_digest(bound.encode(), state.encode()):
            raise _not_begun_here()
        token = hub.token_for(code, begun.verifier)
        user = hub.user_of(token)
        if user is None:
            raise _not_begun_here()
        # a token as fresh as this one: what the hub says here is not older than what it handed over before
        take_groups(request.app.state.writer, request.app.state.context, user.name, user.groups, "console")
        name, session = sessions.open(user.name, token)
        answer = RedirectResponse(begun.next_path, status_code=302)
        age, secure = int(LONGEST.total_seconds()), _is_secure(request)
        answer.set_cookie(SESSION_COOKIE, name, max_age=age, path=prefix, secure=secure, httponly=True, samesite="lax")
        # Read by the page's own script, which sends it back as a header: that is its purpose.
        answer.set_cookie(XSRF_COOKIE, session.xsrf, max_age=age, path=prefix, secure=secure, samesite="strict")
        answer.delete_cookie(STATE_COOKIE, path=prefix, secure=secure, httponly=True, samesite="lax")
        return answer

    @router.get(f"{prefix}static/{{name}}", include_in_schema=False)
    def static(name: str) -> Response:
        file = STATIC / name
        if file.parent != STATIC or not file.is_file() or file.is_symlink():
            raise Problem(404, "not-found", "Not Found", "There is no such file.", next="Reload the console's page.")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(file.read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})

    return router


def _to_login(request: Request, sessions: Sessions, hub: HubLogin, prefix: str) -> Response:
    verifier, challenge = hub.new_verifier()
    state = sessions.begin_login(verifier, prefix)
    answer = RedirectResponse(hub.authorize_url(state, challenge), status_code=302)
    answer.set_cookie(
        STATE_COOKIE,
        state,
        max_age=int(LOGIN_TIME.total_seconds()),
        path=prefix,
        secure=_is_secure(request),
        httponly=True,
        samesite="lax",
    )
    return answer


def _parts(request: Request) -> tuple[Sessions, HubLogin]:
    return request.app.state.sessions, request.app.state.hub


def _is_secure(request: Request) -> bool:
    secure: bool = request.app.state.secure_cookies
    return secure


def _not_begun_here() -> Problem:
    return Problem(
        403,
        "login-refused",
        "This login was not begun in this browser",
        "The answer of the hub does not belong to a login that this browser began in the last ten minutes.",
        next="Open the console's page again.",
    )
