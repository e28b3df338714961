"""Browser sessions of the console: server-side, in memory; the cookie is a random name for one and nothing else.

The hub's OAuth token stays here. Each request asks the hub's answer (cached for some seconds) whether it still holds,
so that a logout at the hub ends the session.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request

from strongroom_hub.control.oauth import HubLogin
from strongroom_hub.problems import Problem

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=8)
LOGIN_TIME = timedelta(minutes=10)
MOST_LOGINS = 1000
"""Logins under way that are remembered: anybody can start one, so their number is bounded."""
SESSION_COOKIE = "strongroom-session"
STATE_COOKIE = "strongroom-login"
XSRF_COOKIE = "_strongroom_xsrf"
XSRF_HEADER = "X-XSRFToken"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class BrowserSession:
    user: str
    token: str
    xsrf: str
    began: datetime
    used: datetime

    def __repr__(self) -> str:
        """Without the token: sessions may end up in a log."""
        return f"BrowserSession(user={self.user!r})"


@dataclass(frozen=True, slots=True)
class Login:
    """An OAuth round trip under way: what the callback must bring back, and its PKCE secret."""

    verifier: str
    next_path: str
    began: datetime


@dataclass(frozen=True, slots=True)
class PersonCaller:
    """Somebody logged in at the console."""

    user: str

    @property
    def actor(self) -> str:
        return f"user:{self.user}"


class Sessions:
    """Thread-safe. Nothing is kept across a restart: people pass through the hub's login again, unseen if it holds."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._sessions: dict[str, BrowserSession] = {}
        self._logins: dict[str, Login] = {}
        self._lock = threading.Lock()

    def begin_login(self, verifier: str, next_path: str) -> str:
        """The OAuth state for a new round trip."""
        state = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._logins = {key: one for key, one in self._logins.items() if now - one.began < LOGIN_TIME}
            if len(self._logins) >= MOST_LOGINS:
                del self._logins[next(iter(self._logins))]
            self._logins[state] = Login(verifier, next_path, now)
        return state

    def finish_login(self, state: str) -> Login | None:
        """What was begun with this state, once."""
        with self._lock:
            found = self._logins.pop(state, None)
        return found if found is not None and self._clock() - found.began < LOGIN_TIME else None

    def open(self, user: str, token: str) -> tuple[str, BrowserSession]:
        """A new session and its name for the cookie."""
        name, now = secrets.token_urlsafe(32), self._clock()
        session = BrowserSession(user, token, secrets.token_urlsafe(32), now, now)
        with self._lock:
            self._sessions = {key: one for key, one in self._sessions.items() if _alive(one, now)}
            self._sessions[name] = session
        return name, session

    def find(self, name: str | None) -> BrowserSession | None:
        """The living session of that name; using it keeps it from idling out."""
        if name is None:
            return None
        now = self._clock()
        with self._lock:
            session = self._sessions.get(name)
            if session is None:
                return None
            if not _alive(session, now):
                del self._sessions[name]
                return None
            self._sessions[name] = session = replace(session, used=now)
        return session

    def close(self, name: str | None) -> None:
        with self._lock:
            self._sessions.pop(name or "", None)


def _alive(session: BrowserSession, now: datetime) -> bool:
    return now - session.used < IDLE and now - session.began < LONGEST


def _not_logged_in() -> Problem:
    return Problem(
        401,
        "not-logged-in",
        "Not logged in",
        "Your session at the console has ended, or never began.",
        next="Open the console's page again: it leads through the login.",
    )


def require_person(request: Request) -> PersonCaller:
    """Who is logged in. Raises Problem 401, or 403 for a write without the XSRF header."""
    sessions: Sessions = request.app.state.sessions
    name = request.cookies.get(SESSION_COOKIE)
    session = sessions.find(name)
    if session is None:
        raise _not_logged_in()
    if not holds(request.app.state.hub, session):
        sessions.close(name)
        raise _not_logged_in()
    if request.method not in SAFE_METHODS:
        _check_xsrf(request, session)
    return PersonCaller(session.user)


def holds(hub: HubLogin, session: BrowserSession) -> bool:
    """Whether the hub still stands by the login behind this session."""
    user = hub.user_of(session.token)
    return user is not None and user.name == session.user


def _check_xsrf(request: Request, session: BrowserSession) -> None:
    header = request.headers.get(XSRF_HEADER, "")
    cookie = request.cookies.get(XSRF_COOKIE, "")
    held = session.xsrf.encode()
    if not (hmac.compare_digest(header.encode(), held) and hmac.compare_digest(cookie.encode(), held)):
        raise Problem(
            403,
            "xsrf",
            "This write does not come from the console's page",
            f"The header {XSRF_HEADER} does not carry the value of the cookie {XSRF_COOKIE}.",
            next="Reload the console's page and try again.",
        )


Person = Annotated[PersonCaller, Depends(require_person)]
