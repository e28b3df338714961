"""What a witness signs: a C2SP cosignature (v1, Ed25519) of a checkpoint that extends what it saw before."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from strongroom_hub.audit.note import SIGNATURE_PREFIX, NoteError

_KIND = b"\x04"
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_BLOB_BYTES = _KEY_ID_BYTES + _TIME_BYTES + 64


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public half of a witness's key: `NAME+KEYID+BASE64`, type 0x04."""

    name: str
    key: Ed25519PublicKey

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name, newline, type, key)."""
        raw = self.key.public_bytes_raw()
        return hashlib.sha256(self.name.encode() + b"\n" + _KIND + raw).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_KIND + self.key.public_bytes_raw()).decode()}"

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Raises NoteError when the text is no witness's key or its id does not fit."""
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            key = cls(name, Ed25519PublicKey.from_public_bytes(raw[1:]))
        except (ValueError, binascii.Error) as error:
            raise NoteError("this is not a verifier key of the form NAME+KEYID+BASE64") from error
        if raw[:1] != _KIND or not name or any(c.isspace() for c in name):
            raise NoteError("this is not the key of a witness (type 0x04)")
        if key.key_id.hex() != key_id:
            raise NoteError("the witness key's id does not fit its name and key: it was changed or cut")
        return key

    def time_of(self, line: str, note: str) -> int | None:
        """When this witness signed the note's text, in seconds since 1970; None where the line is not its own.

        Raises NoteError for a line in its name that does not fit.
        """
        name, _, encoded = line.removeprefix(SIGNATURE_PREFIX).partition(" ")
        try:
            blob = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error as error:
            raise NoteError("a cosignature is not base64") from error
        if not line.startswith(SIGNATURE_PREFIX) or name != self.name or blob[:_KEY_ID_BYTES] != self.key_id:
            return None
        if len(blob) != _BLOB_BYTES:
            raise NoteError(f"the cosignature of {name} has another length than a cosignature")
        time = int.from_bytes(blob[_KEY_ID_BYTES : _KEY_ID_BYTES + _TIME_BYTES], "big")
        try:
            self.key.verify(blob[_KEY_ID_BYTES + _TIME_BYTES :], _message(text_of(note), time))
        except InvalidSignature as error:
            raise NoteError(f"the cosignature of {name} does not fit the checkpoint") from error
        return time


def cosign(note: str, name: str, key: Ed25519PrivateKey, time: int) -> str:
    """The signature line, with its newline. `time`: seconds since 1970."""
    public = WitnessKey(name, key.public_key())
    blob = public.key_id + time.to_bytes(_TIME_BYTES, "big") + key.sign(_message(text_of(note), time))
    return f"{SIGNATURE_PREFIX}{name} {base64.b64encode(blob).decode()}\n"


def text_of(note: str) -> str:
    """What is signed of a note: all before its signatures."""
    return note.rpartition("\n\n")[0] + "\n"


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
