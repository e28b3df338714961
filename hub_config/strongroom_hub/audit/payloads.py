"""Payloads: text beside the log, encrypted under a key per person, bound to the leaf without revealing it.

Deleting a person's key makes the text unreadable for ever and leaves a log that still verifies: the leaf holds the
ciphertext's hash and a salted commitment to the text (AES-GCM alone does not commit to a key), and the salt, which
would allow guessing short texts, is encrypted with the text.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom_hub.audit.entries import PayloadReference

_NONCE_BYTES = 12
_SALT_BYTES = 32


class PayloadError(ValueError):
    """A payload that cannot be read: changed, or encrypted under another key."""


def new_subject() -> str:
    """A fresh pseudonym; nothing about the person follows from it."""
    return "s-" + secrets.token_hex(8)


def new_key() -> bytes:
    return AESGCM.generate_key(bit_length=256)


def wrap(master: bytes, subject: str, key: bytes) -> bytes:
    """A person's key, encrypted under the master key and bound to the pseudonym."""
    return _encrypt(master, key, f"strongroom-payload-key/1:{subject}")


def unwrap(master: bytes, subject: str, wrapped: bytes) -> bytes:
    """Raises PayloadError."""
    return _decrypt(master, wrapped, f"strongroom-payload-key/1:{subject}")


def seal(key: bytes, subject: str, text: str) -> tuple[bytes, PayloadReference]:
    """The ciphertext to store and what the leaf says about it. Raises UnicodeEncodeError for lone surrogates."""
    plain = text.encode("utf-8")
    salt = secrets.token_bytes(_SALT_BYTES)
    ciphertext = _encrypt(key, salt + plain, f"strongroom-payload/1:{subject}")
    reference = PayloadReference(hashlib.sha256(ciphertext).hexdigest(), _commit(salt, plain), subject)
    return ciphertext, reference


def unseal(key: bytes, ciphertext: bytes, reference: PayloadReference) -> str:
    """The text, after checking it against both the ciphertext's hash and the commitment. Raises PayloadError."""
    if hashlib.sha256(ciphertext).hexdigest() != reference.sha256:
        raise PayloadError("the stored payload is not the one that the entry names")
    plain = _decrypt(key, ciphertext, f"strongroom-payload/1:{reference.subject}")
    salt, text = plain[:_SALT_BYTES], plain[_SALT_BYTES:]
    if not hmac.compare_digest(_commit(salt, text), reference.commitment):
        raise PayloadError("the payload does not fit the commitment in the entry")
    return text.decode("utf-8")


def _commit(salt: bytes, plain: bytes) -> str:
    return hmac.new(salt, plain, hashlib.sha256).hexdigest()


def _encrypt(key: bytes, plain: bytes, bound_to: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to.encode())


def _decrypt(key: bytes, data: bytes, bound_to: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError) as error:
        raise PayloadError("the payload was changed or belongs to another key") from error
