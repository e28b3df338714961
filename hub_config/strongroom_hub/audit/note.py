"""Checkpoints as C2SP signed notes: the text, its Ed25519 signature, and the public verifier key (`vkey`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519 = b"\x01"
SIGNATURE_PREFIX = "\N{EM DASH} "
_KEY_ID_BYTES = 4
_SIGNATURE_BYTES = 64
_HASH_BYTES = 32
_CHECKPOINT_LINES = 3


class NoteError(ValueError):
    """A note, checkpoint or verifier key that is malformed or not signed by the expected key."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a note-signing key: `NAME+KEYID+BASE64`."""

    name: str
    key: Ed25519PublicKey
    key_id: bytes = field(init=False)
    """The first 4 bytes of SHA-256(name, newline, algorithm, key)."""

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self._raw).digest()
        object.__setattr__(self, "key_id", digest[:_KEY_ID_BYTES])

    @property
    def _raw(self) -> bytes:
        return self.key.public_bytes(Encoding.Raw, PublicFormat.Raw)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self._raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Raises NoteError when the text is no Ed25519 verifier key or its key id does not fit."""
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            if raw[:1] != _ED25519 or not name or any(c.isspace() for c in name):
                raise NoteError("not an Ed25519 verifier key")
            key = cls(name, Ed25519PublicKey.from_public_bytes(raw[1:]))
        except (ValueError, binascii.Error) as error:
            raise NoteError("this is not a verifier key of the form NAME+KEYID+BASE64") from error
        if key.key_id.hex() != key_id:
            raise NoteError("the verifier key's id does not fit its name and key: it was changed or cut")
        return key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: this log had `size` entries and this root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign(checkpoint: Checkpoint, verifier: VerifierKey, key: Ed25519PrivateKey) -> str:
    """The checkpoint as a note signed by the private half of `verifier`."""
    text = checkpoint.text()
    blob = base64.b64encode(verifier.key_id + key.sign(text.encode())).decode()
    return f"{text}\n{SIGNATURE_PREFIX}{verifier.name} {blob}\n"


def open_checkpoint(note: str, verifier: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that `verifier` signed; signatures of other keys (witnesses) are passed over.

    Raises NoteError.
    """
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise NoteError("the checkpoint is not a signed note")
    text += "\n"
    signed = [_signed_by(line, text, verifier) for line in signatures[:-1].split("\n")]  # all: each must be well-formed
    if not any(signed):
        raise NoteError(f"the checkpoint carries no valid signature of the key {verifier.name}")
    return _parse(text, verifier.name)


def _signed_by(line: str, text: str, verifier: VerifierKey) -> bool:
    if not line.startswith(SIGNATURE_PREFIX):
        raise NoteError("the checkpoint has a line among its signatures that is none")
    name, _, encoded = line.removeprefix(SIGNATURE_PREFIX).partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise NoteError("the checkpoint has a signature that is not base64") from error
    if name != verifier.name or blob[:_KEY_ID_BYTES] != verifier.key_id:
        return False
    try:
        verifier.key.verify(blob[_KEY_ID_BYTES:], text.encode())
    except InvalidSignature:
        return False
    return True


def _parse(text: str, origin: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < _CHECKPOINT_LINES + 1:
        raise NoteError("the checkpoint has fewer than three lines")
    size, root = lines[1], lines[2]
    try:
        decoded = base64.b64decode(root, validate=True)
    except binascii.Error as error:
        raise NoteError("the checkpoint's root is not base64") from error
    if lines[0] != origin or not (size.isascii() and size.isdigit()) or str(int(size)) != size:
        raise NoteError("the checkpoint's origin or size is not what this log writes")
    if len(decoded) != _HASH_BYTES:
        raise NoteError("the checkpoint's root is not a SHA-256 hash")
    return Checkpoint(origin, int(size), decoded)
