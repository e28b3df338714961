"""The master key in OpenBao or HashiCorp Vault: its transit engine, over HTTP. The master key never comes here.

The key must be of type `aes256-gcm96` (others know no associated data). Calls used, all below `/v1/MOUNT`:
`encrypt/KEY`, `decrypt/KEY`, `keys/KEY`, `keys/KEY/rotate`, `keys/KEY/config`, `keys/KEY/trim`.
"""

from __future__ import annotations

import base64
import ssl
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, ConfigDict, Field

from strongroom_hub.problems import Problem
from strongroom_hub.vault.keys import KEY_BYTES, KeyUse, WrappedKey, key_refused

ATTEMPTS = 3
PAUSE_SECONDS = 0.2
_TRY_AGAIN = frozenset({412, 429, 500, 502, 503, 504})
_KEY_TYPE = "aes256-gcm96"
_BAD_REQUEST = 400


class TransitSettings(BaseModel):
    """Where the key is. `token_file` is read at each call, so an agent may renew it; `ca_file` is its CA's PEM."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: Annotated[str, Field(pattern=r"^https://[^/?#@]+$|^http://(127\.0\.0\.1|\[::1\])(:[0-9]+)?$")]
    """https; plain http only on the machine itself."""
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    token_file: Path
    mount: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/-]{1,64}$")] = "transit"
    ca_file: Path | None = None
    namespace: str | None = None
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0


class TransitKeyService:
    """A key of a transit engine. Every call goes there: while it is away, nothing can be read that is not cached."""

    def __init__(self, settings: TransitSettings) -> None:
        """Raises Problem where the key cannot be used."""
        self._settings = settings
        verify = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
        self._client = httpx.Client(
            base_url=f"{settings.address}/v1/{settings.mount}/",
            timeout=settings.timeout,
            verify=verify,
            trust_env=False,
        )
        self._about()

    @property
    def current(self) -> str:
        return self._name(int(self._about()["latest_version"]))

    def generations(self) -> list[str]:
        about = self._about()
        oldest = max(int(about.get("min_decryption_version", 1)), int(about.get("min_available_version", 1)), 1)
        return [self._name(number) for number in range(oldest, int(about["latest_version"]) + 1)]

    def wrap(self, key: bytes, use: KeyUse) -> WrappedKey:
        sent = {"plaintext": _text(key), "associated_data": _text(use.as_bytes())}
        ciphertext = str(self._call("POST", f"encrypt/{self._settings.key}", sent)["ciphertext"])
        return WrappedKey(self._name(_version(ciphertext)), ciphertext)

    def unwrap(self, wrapped: WrappedKey, use: KeyUse) -> bytes:
        if wrapped.kek != self._name(_version(wrapped.wrapped)):
            raise key_refused(wrapped, use, self._name(0)[:-1] + "...")
        sent = {"ciphertext": wrapped.wrapped, "associated_data": _text(use.as_bytes())}
        try:
            answer = self._call("POST", f"decrypt/{self._settings.key}", sent)
            key = base64.b64decode(str(answer["plaintext"]), validate=True)
        except _RefusedError as error:
            raise key_refused(wrapped, use, self._name(0)[:-1] + "...") from error
        except ValueError as error:
            raise _away("it answered something unexpected") from error
        if len(key) != KEY_BYTES:
            raise key_refused(wrapped, use, self._name(0)[:-1] + "...")
        return key

    def rotate(self) -> str:
        self._call("POST", f"keys/{self._settings.key}/rotate", {})
        return self.current

    def destroy(self, generation: str) -> None:
        """The engine trims from the old end, so the generations before go as well."""
        known = self.generations()
        if generation not in known or generation == known[-1]:
            raise Problem(
                409,
                "master-key",
                "This generation cannot be destroyed",
                f"{generation} is the one that wraps now, or is not one of this vault's.",
                next=f"There are: {', '.join(known)}.",
            )
        first_kept = int(generation.rpartition(":")[2]) + 1
        kept = {"min_decryption_version": first_kept, "min_encryption_version": first_kept}
        self._call("POST", f"keys/{self._settings.key}/config", kept)
        self._call("POST", f"keys/{self._settings.key}/trim", {"min_available_version": first_kept})

    def _name(self, number: int) -> str:
        return f"transit:{self._settings.key}:{number}"

    def _about(self) -> dict[str, Any]:
        about = self._call("GET", f"keys/{self._settings.key}")
        if about.get("type") != _KEY_TYPE:
            raise Problem(
                500,
                "master-key",
                "The vault's master key cannot be used",
                f"The transit key {self._settings.key!r} is of type {about.get('type')!r}, not {_KEY_TYPE!r}.",
                why=("other types do not bind a wrapped key to its use",),
                next=f"Make a key of type {_KEY_TYPE} (docs/operators/keys.md).",
            )
        return about

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The `data` of the answer. Raises Problem; `_RefusedError` where the service refuses the content (400)."""
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        if self._settings.namespace:
            headers["X-Vault-Namespace"] = self._settings.namespace
        why = "it does not answer"
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS * 2**attempt)
            try:
                answer = self._client.request(method, path, json=body, headers=headers)
            except httpx.HTTPError as error:
                why = f"it does not answer ({type(error).__name__})"
                continue
            if answer.status_code in _TRY_AGAIN:
                why = f"it answered {answer.status_code}"
                continue
            return _data(answer)
        raise _away(why)

    def _token(self) -> str:
        try:
            token = self._settings.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _unusable(f"{self._settings.token_file} cannot be read.") from error
        if not token:
            raise _unusable(f"{self._settings.token_file} is empty.")
        return token


class _RefusedError(Exception):
    """The service understood and refused: wrong ciphertext, wrong use, a version that is gone."""


def _data(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code == _BAD_REQUEST:
        raise _RefusedError
    if not answer.is_success:
        raise _unusable(f"The service refused the call with status {answer.status_code}.")
    if answer.status_code == httpx.codes.NO_CONTENT or not answer.content:
        return {}
    try:
        data = answer.json().get("data")
    except (ValueError, AttributeError) as error:
        raise _away("it answered something unexpected") from error
    return data if isinstance(data, dict) else {}


def _version(ciphertext: str) -> int:
    """`vault:v3:...` -> 3; 0 for anything else."""
    name, _, rest = ciphertext.partition(":")
    number = rest.partition(":")[0].removeprefix("v")
    return int(number) if name == "vault" and number.isdecimal() else 0


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _away(why: str) -> Problem:
    return Problem(
        503,
        "key-service-away",
        "The key service cannot be asked now",
        "Data keys are opened by an OpenBao or Vault server, and it gave no usable answer.",
        why=(why,),
        next="Try again in a minute. If it stays so, tell an operator: `strongroom keys status` asks it, too.",
    )


def _unusable(detail: str) -> Problem:
    return Problem(
        500,
        "key-service",
        "The key service does not let the vault in",
        detail,
        next="Check token_file and the policy of the token (docs/operators/keys.md).",
    )
