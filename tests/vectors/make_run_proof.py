"""Makes `run-proof-v1.json`: run `python tests/vectors/make_run_proof.py > tests/vectors/run-proof-v1.json`.

Written from docs/auditors/formats.md and RFC 6962 and not from the code under test: roots, paths and proofs come from
the recursive definitions, notes are put together by hand, signatures are `cryptography`'s.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NAME = "strongroom.example/log/00c0ffee"
KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (7, 8))
USER, PROJECT, CELL, RUN = "analyst", "cardio", "5f0c6f3a-cell", 4
SIZES = [(5, 5), (5, 6), (6, 11), (7, 8), (8, 11), (8, 8), (9, 16), (13, 23)]
"""Sizes of the log when the cell ran and now."""


def leaf(place: int, **changed: Any) -> bytes:
    fields = {
        "v": 1, "index": place, "time": f"2026-11-21T05:44:{place:02}.125Z", "action": "server:cell:begin",
        "actor": f"user:{USER}", "project": PROJECT, "server": "s1", "kernel": "k1", "object": "day.ipynb",
        "label": "public", "sources": [], "salt": "A" * 22,
        "detail": {"cell": CELL if place == RUN else f"cell-{place}", "code_bytes": 5},
    }  # fmt: skip
    return json.dumps(fields | changed, sort_keys=True, separators=(",", ":")).encode()


LEAVES = [leaf(index) for index in range(23)]


def digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return digest(b"\x00", leaves[0])
    k = split(len(leaves))
    return digest(b"\x01", root(leaves[:k]), root(leaves[k:]))


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), root(leaves[k:])]
    return [*path(index - k, leaves[k:]), root(leaves[:k])]


def consistency(old: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*consistency(old, leaves[:k], whole=whole), root(leaves[k:])]
    return [*consistency(old - k, leaves[k:], whole=False), root(leaves[:k])]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def public(key: Ed25519PrivateKey) -> bytes:
    return b"\x01" + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(key: Ed25519PrivateKey) -> bytes:
    return digest(NAME.encode(), b"\n", public(key))[:4]


def vkey(key: Ed25519PrivateKey) -> str:
    return f"{NAME}+{key_id(key).hex()}+{text(public(key))}"


def note(leaves: list[bytes], key: Ed25519PrivateKey = KEY, *, witnessed: bool = False) -> str:
    said = f"{NAME}\n{len(leaves)}\n{text(root(leaves))}\n"
    witness = f"\N{EM DASH} witness.example/w1 {text(b'w' * 76)}\n" if witnessed else ""
    return f"{said}\n{witness}\N{EM DASH} {NAME} {text(key_id(key) + key.sign(said.encode()))}\n"


def proof(leaves: list[bytes], size: int, index: int = RUN, **signed: Any) -> dict[str, Any]:
    return {
        "index": index,
        "size": size,
        "leaf": text(leaves[index]),
        "hashes": [text(one) for one in path(index, leaves[:size])],
        "checkpoint": note(leaves[:size], **signed),
    }


def file(proof: dict[str, Any]) -> str:
    """What a page saves of it (C2SP tlog-proof)."""
    lines = ["c2sp.org/tlog-proof@v1", f"extra {proof['leaf']}", f"index {proof['index']}", *proof["hashes"]]
    return "".join(f"{line}\n" for line in lines) + "\n" + proof["checkpoint"]


def with_other_leaf(**changed: Any) -> list[bytes]:
    return [*LEAVES[:RUN], leaf(RUN, **changed), *LEAVES[RUN + 1 :]]


def told(leaves: list[bytes], then: int, now: int, **signed: Any) -> dict[str, Any]:
    proven = proof(leaves, now, **signed)
    return {
        "checkpoint": note(leaves[:then], **signed),
        "proof": proven,
        "consistency": [text(one) for one in consistency(then, leaves[:now])],
        "file": file(proven),
    }


def main() -> None:
    rewritten = [*LEAVES[:2], leaf(2, actor="user:mallory"), *LEAVES[3:]]
    others = {
        "person": {"actor": "user:other"},
        "project": {"project": "other"},
        "cell": {"detail": {"cell": "another"}},
        "action": {"action": "server:cell:end", "detail": {"begin": 2, "cell": CELL}},
        "number": {"index": RUN + 1},
    }
    vectors = {
        "vkey": vkey(KEY),
        "other_vkey": vkey(OTHER_KEY),
        "run": {"entry": RUN, "cell": CELL, "user": USER, "project": PROJECT},
        "good": [told(LEAVES, *sizes) for sizes in SIZES] + [told(LEAVES, 8, 11, witnessed=True)],
        "about_another": {name: told(with_other_leaf(**changed), 8, 11) for name, changed in others.items()},
        "rewritten": told(rewritten, 8, 11),
        "other_key": told(LEAVES, 8, 11, key=OTHER_KEY),
        "neighbour": proof(LEAVES, 11, RUN + 1),
    }
    json.dump(vectors, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
