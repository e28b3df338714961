"""Control's way to the vault: fetching staged export files for reviewers. Control holds no data key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx

from strongroom_hub.problems import Problem

TIMEOUT_SECONDS = 30.0


class VaultDoor:
    """HTTP over the vault's unix socket; a client per call, because calls are rare and reviewers are few."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)

    def fetch(self, *, export: str, sha256: str, ticket: str) -> bytes:
        """The staged bytes, which are verified to have that hash. Raises Problem 503 or what the vault answered."""
        transport = httpx.HTTPTransport(uds=self._socket)
        try:
            with httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS, base_url="http://vault") as client:
                answer = client.get(f"/v1/exports/{export}/{sha256}", headers={"Authorization": f"Bearer {ticket}"})
        except httpx.HTTPError as error:
            raise _unavailable("it does not answer") from error
        if answer.status_code != httpx.codes.OK:
            raise _as_problem(answer)
        if hashlib.sha256(answer.content).hexdigest() != sha256:
            raise _unavailable("it answered with other bytes than were staged")
        return answer.content


def _as_problem(answer: httpx.Response) -> Problem:
    try:
        return Problem.from_json(answer.json(), answer.status_code)
    except (ValueError, AttributeError, TypeError):
        return _unavailable(f"it answered {answer.status_code}")


def _unavailable(why: str) -> Problem:
    return Problem(
        503,
        "vault-unavailable",
        "The vault cannot be asked now",
        "The file is kept in the vault and could not be fetched.",
        why=(f"the vault: {why}",),
        next="Try again in a minute; if it stays so, tell an administrator.",
    )
