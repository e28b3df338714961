"""A policy's files as one text that control signs: what people approved is, byte for byte, what comes into force.

Format: docs/developers/wire-formats.md, section 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from strongroom_policy.files import digest_of

from strongroom_hub.control.tickets import ALGORITHM, CONTROL_AUDIENCE, CONTROL_ISSUER

FORMAT = "strongroom-policy/1"
MAX_BYTES = 64 << 20
"""Of all files together: each version that was in force is kept."""


class BundleError(ValueError):
    """A bundle that control did not sign, or that is not what it says; the text says which."""


@dataclass(frozen=True, slots=True)
class BundleSigner:
    """Signs bundles with control's key and reads back only what that key signed."""

    key: Ed25519PrivateKey
    clock: Callable[[], datetime]

    def sign(self, files: Mapping[str, bytes], *, author: str, why: str, base: str) -> str:
        """Compact JWS of files that are UTF-8, as those of every policy are. Raises BundleError where they are huge."""
        size = sum(map(len, files.values()))
        if size > MAX_BYTES:
            raise BundleError(f"the files have {size:,} bytes; a policy has at most {MAX_BYTES:,}")
        told = [{"name": name, "sha256": _sha256(raw), "text": raw.decode()} for name, raw in files.items()]
        body = {"format": FORMAT, "digest": digest_of(files), "files": told, "author": author, "why": why, "base": base}
        claims = {
            "iss": CONTROL_ISSUER,
            "aud": CONTROL_AUDIENCE,
            "iat": self.clock().timestamp(),
            "act": "policy",
            "policy": body,
        }
        return jwt.encode(claims, self.key, algorithm=ALGORITHM)

    def read(self, bundle: str, digest: str) -> dict[str, bytes]:
        """The files of a bundle that control signed and whose digest is `digest`. Raises BundleError."""
        try:
            claims: dict[str, Any] = jwt.decode(
                bundle,
                self.key.public_key(),
                algorithms=[ALGORITHM],
                issuer=CONTROL_ISSUER,
                audience=CONTROL_AUDIENCE,
                options={"require": ["iss", "aud", "act", "policy"], "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise BundleError("its signature is not control's: it was changed after it was signed") from None
        body = claims["policy"]
        if claims["act"] != "policy" or body.get("format") != FORMAT:
            raise BundleError("control signed it for another purpose")
        files = {str(one["name"]): str(one["text"]).encode() for one in body["files"]}
        if any(_sha256(files[one["name"]]) != one["sha256"] for one in body["files"]):
            raise BundleError("a file is not the one that its hash names")
        if not digest == body["digest"] == digest_of(files):
            raise BundleError("it holds other files than those that were meant")
        return files


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
