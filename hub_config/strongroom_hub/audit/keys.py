"""The log's keys on disk: the Ed25519 key that signs checkpoints and the key that wraps people's payload keys."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from strongroom_hub.audit.note import Checkpoint, NoteError, VerifierKey, open_checkpoint, sign

SIGNING_KEY = "log.pem"
PAYLOAD_KEY = "payload.key"
VERIFIER_KEY = "log.vkey"
DEFAULT_HOST = "strongroom.local"
_PAYLOAD_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Signs checkpoints and wraps payload keys. Its `repr` shows no secret."""

    name: str
    """The log's origin line and key name, for example `strongroom.local/log/1f2e3d4c`."""
    signing: Ed25519PrivateKey = field(repr=False)
    payload: bytes = field(repr=False)
    """32 bytes."""
    verifier: VerifierKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verifier", VerifierKey(self.name, self.signing.public_key()))

    @property
    def vkey(self) -> str:
        """The public verifier key as text (the content of `public/log.vkey`), without a newline."""
        return str(self.verifier)

    def sign(self, size: int, root: bytes) -> str:
        """A checkpoint of the log as a signed note."""
        return sign(Checkpoint(self.name, size, root), self.verifier, self.signing)

    def open(self, note: str) -> Checkpoint:
        """The checkpoint in a note of this log. Raises NoteError."""
        return open_checkpoint(note, self.verifier)

    @classmethod
    def create(cls, folder: Path, host: str = DEFAULT_HOST) -> LogKeys:
        """Make new keys in `folder` (made 0700 if missing): `log.pem` and `payload.key` (0600), `log.vkey`.

        Raises FileExistsError when there are keys: a second set would orphan the log that the first one signed.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        signing = Ed25519PrivateKey.generate()
        raw = signing.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        keys = cls(
            f"{host}/log/{hashlib.sha256(raw).hexdigest()[:8]}", signing, secrets.token_bytes(_PAYLOAD_KEY_BYTES)
        )
        pem = signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_new(folder / SIGNING_KEY, pem, 0o600)
        _write_new(folder / PAYLOAD_KEY, keys.payload, 0o600)
        _write_new(folder / VERIFIER_KEY, f"{keys.vkey}\n".encode(), 0o644)
        return keys

    @classmethod
    def load(cls, folder: Path) -> LogKeys:
        """Read the keys that `create` wrote. Raises FileNotFoundError or ValueError naming the file."""
        signing = load_pem_private_key((folder / SIGNING_KEY).read_bytes(), password=None)
        if not isinstance(signing, Ed25519PrivateKey):
            raise ValueError(f"{folder / SIGNING_KEY} is not an Ed25519 key")  # noqa: TRY004 - a file's content, not a type
        payload = (folder / PAYLOAD_KEY).read_bytes()
        if len(payload) != _PAYLOAD_KEY_BYTES:
            raise ValueError(f"{folder / PAYLOAD_KEY} does not hold {_PAYLOAD_KEY_BYTES} bytes")
        try:
            verifier = VerifierKey.parse((folder / VERIFIER_KEY).read_text(encoding="utf-8"))
        except NoteError as error:
            raise ValueError(f"{folder / VERIFIER_KEY}: {error}") from error
        keys = cls(verifier.name, signing, payload)
        if keys.vkey != str(verifier):
            raise ValueError(f"{folder / VERIFIER_KEY} is not the public half of {SIGNING_KEY}")
        return keys


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
