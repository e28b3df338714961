"""Makes `stream-v1.json`: run `python tests/vectors/make_stream.py > tests/vectors/stream-v1.json`.

Written from the description in docs/developers/wire-formats.md and not from the code under test: keys, prefixes and
texts come from SHA-256 of a counter, the cipher is `cryptography`'s AESGCM called chunk by chunk.
"""

from __future__ import annotations

import hashlib
import json

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CASES = [(0, 16), (1, 16), (15, 16), (16, 16), (17, 16), (32, 16), (33, 16), (100, 32), (64, 64)]


def some(purpose: str, size: int) -> bytes:
    made = b"".join(hashlib.sha256(f"{purpose} {n}".encode()).digest() for n in range(size // 32 + 1))
    return made[:size]


def sealed(key: bytes, prefix: bytes, place: bytes, clear: bytes, chunk: int) -> bytes:
    pieces = [clear[at : at + chunk] for at in range(0, len(clear), chunk)] or [b""]
    out = b"SRS1" + prefix
    for number, piece in enumerate(pieces):
        last = b"\x01" if number == len(pieces) - 1 else b"\x00"
        nonce = prefix + number.to_bytes(4, "big") + last
        out += AESGCM(key).encrypt(nonce, piece, b"strongroom-stream/1\x00" + place)
    return out


def main() -> None:
    vectors = []
    for number, (length, chunk) in enumerate(CASES):
        key, prefix = some(f"key {number}", 32), some(f"prefix {number}", 7)
        place, clear = f"a/b/{number + 1}/file-00000.sealed", some(f"text {number}", length)
        vectors.append(
            {
                "key": key.hex(),
                "prefix": prefix.hex(),
                "place": place,
                "chunk": chunk,
                "clear": clear.hex(),
                "sealed": sealed(key, prefix, place.encode(), clear, chunk).hex(),
            }
        )
    print(json.dumps(vectors, indent=1))  # noqa: T201 - this is the program's answer


if __name__ == "__main__":
    main()
