"""Calls to control's internal API over its unix socket, for the hub and the command line."""

from __future__ import annotations

import socket as sockets
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from strongroom_hub.problems import MEDIA_TYPE, Problem

TIMEOUT = httpx.Timeout(15.0, connect=3.0)
_BASE_URL = "http://control/internal/v1/"


class ControlClient:
    """One caller (hub or operator) of control. Every call raises Problem: control's own, or `control-unreachable`."""

    def __init__(self, socket: Path, token_file: Path) -> None:
        self._socket = socket
        self._token_file = token_file

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token_file.read_text(encoding='ascii').strip()}"}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON answer (None for an empty one)."""
        if not listens(self._socket):
            raise _unreachable()
        transport = httpx.HTTPTransport(uds=str(self._socket))
        try:
            with httpx.Client(transport=transport, base_url=_BASE_URL, timeout=TIMEOUT) as client:
                return _answer(client.request(method, path, json=body, headers=self._headers()))
        except (httpx.HTTPError, OSError) as error:
            raise _unreachable() from error

    async def call_async(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The same, without blocking the hub."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._socket))
        try:
            async with httpx.AsyncClient(transport=transport, base_url=_BASE_URL, timeout=TIMEOUT) as client:
                return _answer(await client.request(method, path, json=body, headers=self._headers()))
        except (httpx.HTTPError, OSError) as error:
            raise _unreachable() from error


def listens(path: Path) -> bool:
    """Whether a process accepts connections there. Asked first, because httpcore leaks the socket of a refused one."""
    with sockets.socket(sockets.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def quoted(name: str) -> str:
    """A name as one path segment."""
    return quote(name, safe="")


def _unreachable() -> Problem:
    return Problem(
        503,
        "control-unreachable",
        "The control service does not answer",
        "Nothing can be decided or recorded at the moment, so nothing is allowed.",
        next="Try again in a few seconds: the hub restarts the service by itself. If it stays so, tell your operator.",
    )


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json() if response.content else None
    if response.headers.get("content-type", "").partition(";")[0] == MEDIA_TYPE:
        raise Problem.from_json(response.json())
    raise Problem(
        502,
        "control-answer",
        "The control service answered something unexpected",
        f"Status {response.status_code} without an explanation.",
        next="Tell your operator; the control service's log says more.",
    )
