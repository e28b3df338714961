"""The vault's way to control: do these reads still stand, and how did they end. Signed with the vault's receipt key."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom_hub.internal import listens
from strongroom_hub.problems import Problem

ISSUER, AUDIENCE = "strongroom:vault", "strongroom:control"
_SECONDS = 10.0
_TOGETHER = 500
"""Entries in one question."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """What nobody went on with for so many hours."""

    dataset: str
    version: int
    what: Literal["draft", "upload"]
    hours: int


State = Literal["complete", "stopped", "taken-back", "failed"]
"""How a read ended: all of it was read; its reader stopped; the right to it ended; it could not go on."""


class ControlDoor:
    """Calls to control's internal socket; what proves who asks is the signature."""

    def __init__(self, socket: Path, key: Ed25519PrivateKey) -> None:
        self._socket = socket
        self._key = key

    def ended(self, entries: Collection[int]) -> dict[int, Problem]:
        """Those of these reads that would not be allowed any more, and why. Raises Problem 503 without an answer."""
        found: dict[int, Problem] = {}
        waiting = sorted(entries)
        for at in range(0, len(waiting), _TOGETHER):
            answer = self._call("reads/standing", {"act": "standing", "entries": waiting[at : at + _TOGETHER]})
            found |= {int(entry): Problem.from_json(problem) for entry, problem in answer["ended"].items()}
        return found

    def report(self, entry: int, state: State, *, rows: int, size: int, batches: int, why: str) -> None:
        """Have the end of a read recorded; `why`: the slug of what ended it. Raises Problem 503."""
        told = {"entry": entry, "state": state, "rows": rows, "bytes": size, "batches": batches, "why": why}
        self._call("reads/ended", {"act": "read-ended", **told})

    def started(self, at: float) -> None:
        """Say when this vault started: what its former life could not tell the end of has ended. Raises Problem 503."""
        self._call("vault-starts", {"act": "vault-started", "started": at})

    def abandoned(self, found: Sequence[Abandoned]) -> list[Abandoned]:
        """Those of these drafts and uploads that may be removed: nobody can go on with them. Raises Problem 503."""
        asked = [[one.dataset, one.version, one.what, one.hours] for one in found]
        answer = self._call("abandoned-drafts", {"act": "abandoned", "abandoned": asked})
        return [one for one, gone in zip(found, answer["removed"], strict=True) if gone is True]

    def _call(self, path: str, claims: dict[str, Any]) -> dict[str, Any]:
        body = {"iss": ISSUER, "aud": AUDIENCE, "iat": time.time(), **claims}
        token = jwt.encode(body, self._key, algorithm="EdDSA")
        if not listens(self._socket):
            raise _silent()
        transport = httpx.HTTPTransport(uds=str(self._socket))
        try:
            with httpx.Client(transport=transport, base_url="http://control/internal/v1/", timeout=_SECONDS) as client:
                answer = client.post(path, json={"receipt": token})
            if answer.status_code != httpx.codes.OK:
                raise _silent()
            said: dict[str, Any] = answer.json()
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise _silent() from error
        return said


def _silent() -> Problem:
    return Problem(
        503,
        "control-unreachable",
        "Control does not answer the vault",
        "The control service does not answer, so nothing more is handed out.",
        why=("what cannot be decided is not read",),
        next="Try again in a minute; if it stays so, tell an operator.",
    )
