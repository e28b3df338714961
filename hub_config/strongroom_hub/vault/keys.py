"""The key hierarchy: one master key wraps a random data key per (dataset, version, column) and per staged file.

Wrapped keys carry what they are for as authenticated data, so a key that was moved to another column, version or
dataset does not open.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom_hub.problems import Problem

KEY_BYTES = 32
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it lies on disk: `kek` names the key that wraps it, `wrapped` is base64."""

    kek: str
    wrapped: str

    def as_json(self) -> dict[str, str]:
        return {"kek": self.kek, "wrapped": self.wrapped}


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a data key is for; bound into its wrapping."""

    words: tuple[str, ...]

    @classmethod
    def slot(cls, dataset: str, version: int, group: str, name: str) -> KeyUse:
        """A column's or a file's key; `group` as in `keys.json` (wrapped.py)."""
        return cls(("version", dataset, str(version), group, name))

    @classmethod
    def export(cls, export: str, sha256: str) -> KeyUse:
        return cls(("export", export, sha256))

    def as_bytes(self) -> bytes:
        return json.dumps(["strongroom-key/1", *self.words]).encode()


class KeyService(Protocol):
    """Whoever holds the master key: a local file, or a key management service."""

    def wrap(self, key: bytes, use: KeyUse) -> WrappedKey: ...

    def unwrap(self, wrapped: WrappedKey, use: KeyUse) -> bytes:
        """The data key. Raises Problem when it was not wrapped for this use by this service."""
        ...

    def project_key(self, project: str) -> str:
        """The project's pseudonym key as hex text: the same for ever, another for each project."""
        ...


def new_key() -> bytes:
    """A random 256-bit data key."""
    return os.urandom(KEY_BYTES)


class LocalKeyService:
    """The master key in a file of 32 bytes that only the vault can read."""

    kek = "local:1"

    def __init__(self, file: Path) -> None:
        """Read the master key. Raises Problem when the file is missing, of another size or readable by others."""
        master = _read_private(file)
        self._wrapping = AESGCM(_derive(master, "wrap"))
        self._pseudonyms = _derive(master, "pseudonyms")

    def wrap(self, key: bytes, use: KeyUse) -> WrappedKey:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._wrapping.encrypt(nonce, key, use.as_bytes())
        return WrappedKey(self.kek, base64.b64encode(sealed).decode())

    def unwrap(self, wrapped: WrappedKey, use: KeyUse) -> bytes:
        if wrapped.kek != self.kek:
            raise self._refusal(wrapped, use)
        try:
            sealed = base64.b64decode(wrapped.wrapped, validate=True)
            return self._wrapping.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], use.as_bytes())
        except (InvalidTag, ValueError) as error:
            raise self._refusal(wrapped, use) from error

    def _refusal(self, wrapped: WrappedKey, use: KeyUse) -> Problem:
        return Problem(
            500,
            "key-refused",
            "A data key does not open",
            f"The stored key for {' '.join(use.words)!r} was not wrapped for it by this vault's master key.",
            why=(f"key {wrapped.kek!r}, this vault holds {self.kek!r}",),
            next="Tell an operator: the key file or keys.json was changed, or belongs to another installation.",
        )

    def project_key(self, project: str) -> str:
        return _derive(self._pseudonyms, "project:" + project).hex()


def _derive(secret: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"strongroom/1 {purpose}".encode()).derive(secret)


def _read_private(file: Path) -> bytes:
    def refuse(detail: str, next_step: str) -> Problem:
        return Problem(500, "master-key", "The vault's master key cannot be used", detail, next=next_step)

    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            master = stream.read(KEY_BYTES + 1)
    except OSError as error:
        raise refuse(
            f"{file} cannot be read ({error.strerror}).", "Run the set-up, or restore it from backup."
        ) from error
    if mode & 0o077:
        raise refuse(f"{file} may be read by others (mode {mode:04o}).", f"Run: chmod 0600 {file}")
    if len(master) != KEY_BYTES:
        raise refuse(f"{file} does not hold exactly {KEY_BYTES} bytes.", "Restore it from backup.")
    return master
