"""Client of the vault's trusted door: staging of export files and fetching of released ones, each under its ticket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import httpx
from strongroom_hub.problems import Problem

TIMEOUT = httpx.Timeout(120.0, connect=3.0)
CHUNK = 1 << 20


def _silent() -> Problem:
    return Problem(
        503,
        "vault-unreachable",
        "The vault does not answer",
        "Strongroom could not reach the service that keeps data and export files, so this was not done.",
        next="Try again in a moment; if it stays so, tell the operator.",
    )


def _refusal(response: httpx.Response) -> Problem:
    try:
        body: Any = response.json()
    except ValueError:
        body = None
    return Problem.from_json(body, response.status_code)


async def _chunks(body: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := body.read(CHUNK):
        yield chunk


class Vault:
    """The vault's HTTP door on its Unix socket."""

    def __init__(self, socket: Path) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url="http://vault/v1/",
            timeout=TIMEOUT,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def stage(self, export: str, index: int, ticket: str, body: IO[bytes]) -> str:
        """Hand over the bytes of one export file; returns the vault's signed receipt."""
        response = await self._call(
            "PUT", f"exports/{export}/{index}", content=_chunks(body), headers={"Authorization": f"Bearer {ticket}"}
        )
        try:
            receipt = response.json()["receipt"]
        except (ValueError, KeyError, TypeError):
            raise Problem.from_json(None) from None
        return str(receipt)

    async def ingest(self, dataset: str, version: int, ticket: str, body: IO[bytes]) -> tuple[dict[str, Any], str]:
        """Hand over the bytes of a table that is saved: the manifest of what the vault holds now, and its receipt."""
        path = f"datasets/{dataset}/{version}"
        answer = await self._call("PUT", path, content=_chunks(body), headers={"Authorization": f"Bearer {ticket}"})
        try:
            manifest, receipt = answer.json()["manifest"], answer.json()["receipt"]
        except (ValueError, KeyError, TypeError):
            manifest = receipt = None
        if not isinstance(manifest, dict) or not isinstance(receipt, str):
            raise Problem.from_json(None)
        return manifest, receipt

    async def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise _silent() from error
        if not response.is_success:
            raise _refusal(response)
        return response

    async def fetch(self, export: str, sha256: str, ticket: str, into: IO[bytes]) -> None:
        """Write the bytes of one released file into `into`."""
        try:
            async with self._client.stream(
                "GET", f"exports/{export}/{sha256}", headers={"Authorization": f"Bearer {ticket}"}
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refusal(response)
                async for chunk in response.aiter_bytes(CHUNK):
                    into.write(chunk)
        except httpx.TransportError as error:
            raise _silent() from error
