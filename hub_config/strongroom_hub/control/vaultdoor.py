"""Control's way to the vault: fetching staged export files for reviewers. Control holds no data key."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx

from strongroom_hub.problems import Problem

TIMEOUT_SECONDS = 30.0
KEYS_SECONDS = 600.0
"""Exchanging every wrapping of a large store takes its time where a key service is asked for each."""
IDENTIFY_SECONDS = 300.0
"""A whole column is looked through."""
NOT_FETCHED = "The file is kept in the vault and could not be fetched."
NOT_DONE = "The vault did not say that it did what it was asked."
NOT_PUBLISHED = "The signed manifest is kept and could not be handed over."


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

    def publish(self, *, dataset: str, version: int, jws: str) -> None:
        """Hand over a signed manifest: the version becomes readable under it. Raises Problem."""
        transport = httpx.HTTPTransport(uds=self._socket)
        try:
            with httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS, base_url="http://vault") as client:
                answer = client.post(f"/v1/datasets/{dataset}/{version}/publish", content=jws.encode())
        except httpx.HTTPError as error:
            raise _unavailable("it does not answer", NOT_PUBLISHED) from error
        if not answer.is_success:
            raise _as_problem(answer)

    def key_operation(self, ticket: str) -> dict[str, Any]:
        """What the vault says it did with keys. Raises Problem 503 or what the vault answered."""
        return self._order("keys", ticket, KEYS_SECONDS)

    def identify(self, ticket: str) -> dict[str, str]:
        """The values behind tokens. Raises Problem 503 or what the vault answered."""
        return dict(self._order("tokens", ticket, IDENTIFY_SECONDS)["values"])

    def _order(self, path: str, ticket: str, seconds: float) -> dict[str, Any]:
        transport = httpx.HTTPTransport(uds=self._socket)
        try:
            with httpx.Client(transport=transport, timeout=seconds, base_url="http://vault") as client:
                answer = client.post(f"/v1/{path}", headers={"Authorization": f"Bearer {ticket}"})
        except httpx.HTTPError as error:
            raise _unavailable("it does not answer", NOT_DONE) from error
        if answer.status_code != httpx.codes.OK:
            raise _as_problem(answer)
        done: dict[str, Any] = answer.json()
        return done


def _as_problem(answer: httpx.Response) -> Problem:
    try:
        return Problem.from_json(answer.json(), answer.status_code)
    except (ValueError, AttributeError, TypeError):
        return _unavailable(f"it answered {answer.status_code}")


def _unavailable(why: str, detail: str = NOT_FETCHED) -> Problem:
    return Problem(
        503,
        "vault-unavailable",
        "The vault cannot be asked now",
        detail,
        why=(f"the vault: {why}",),
        next="Try again in a minute; if it stays so, tell an administrator.",
    )
