"""Verify an exported Strongroom audit log, or a proof of one entry, with this file and a public key. Nothing else.

    python3 verify.py --vkey log.vkey log EXPORTED_FOLDER [--earlier CHECKPOINT ...]
    python3 verify.py --vkey log.vkey proof ENTRY.tlog-proof
    ... --witness witness.vkey [--witness ...] [--need 1]      how many known witnesses must have co-signed

Exit code 0: sound. 1: altered, or not signed as it must be; each line says what. 2: nothing could be verified.

It imports the standard library alone (Python 3.9 or newer) and nothing of Strongroom, so that it can be read by
somebody who does not trust Strongroom: RFC 6962 trees, C2SP tlog-tiles, tlog-proof, signed notes and cosignatures,
Ed25519 by RFC 8032. `docs/auditors/formats.md` says all of it byte by byte. Where the package `cryptography` is
installed it checks the signatures; otherwise the code at the end of this file does.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Tuple

ED25519, COSIGNATURE = 1, 4
TILE = 256
HASH = 32
EMPTY = hashlib.sha256(b"").digest()


class UnreadableError(Exception):
    """There is nothing to verify, or the key is none."""


class AlteredError(Exception):
    """What was given is not what the key signed."""


class Key(NamedTuple):
    """A public key as the signed-note format writes it: NAME+KEYID+BASE64(type, 32 bytes)."""

    name: str
    kind: int
    raw: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.raw).digest()[:4]


class Head(NamedTuple):
    """A checkpoint whose signatures were checked."""

    size: int
    root: bytes
    witnesses: list[str]


def read_key(text: str, kind: int) -> Key:
    try:
        name, key_id, encoded = text.strip().split("+", 2)
        data = base64.b64decode(encoded, validate=True)
        key = Key(name, data[0], data[1:])
    except (ValueError, IndexError, binascii.Error):
        raise UnreadableError("this is no verifier key of the form NAME+KEYID+BASE64") from None
    if key.kind != kind or len(key.raw) != HASH or key.id.hex() != key_id:
        raise UnreadableError(f"the verifier key {name} is of another kind than is wanted here, or was changed")
    return key


def open_note(note: str, log: Key, witnesses: list[Key], need: int) -> Head:
    """The checkpoint in a signed note. Signatures of keys that are not known are passed over."""
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise AlteredError("the checkpoint is not a signed note")
    text += "\n"
    signers = {signer_of(line, text, [log, *witnesses]) for line in lines[:-1].split("\n")}
    seen = sorted(key.name for key in witnesses if key in signers)
    if log not in signers:
        raise AlteredError(f"the checkpoint carries no signature of the key {log.name}")
    if len(seen) < need:
        raise AlteredError(f"{len(seen)} of the given witnesses co-signed the checkpoint; {need} must have")
    origin, size, root = [*text.split("\n"), "", ""][:3]
    if origin != log.name or not size.isdecimal() or str(int(size)) != size or len(unbase64(root)) != HASH:
        raise AlteredError("the checkpoint does not name this log, a size and a root")
    return Head(int(size), unbase64(root), seen)


def signer_of(line: str, text: str, keys: list[Key]) -> Key | None:
    """Which of the keys made this signature line."""
    name, _, encoded = line[2:].partition(" ")
    if not line.startswith("\N{EM DASH} "):
        raise AlteredError("a line among the signatures is none")
    blob = unbase64(encoded)
    for key in keys:
        if (name, blob[:4]) == (key.name, key.id):
            signature, message = blob[4:], text
            if key.kind == COSIGNATURE:
                signature, message = blob[12:], f"cosignature/v1\ntime {int.from_bytes(blob[4:12], 'big')}\n{text}"
            if not signature_fits(key.raw, signature, message.encode()):
                raise AlteredError(f"the signature of {name} does not fit the checkpoint")
            return key
    return None


def unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise AlteredError("something that should be base64 is not") from None


# -- the tree (RFC 6962) ------------------------------------------------------------------------------------------


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Grows leaf by leaf; keeps the roots of its full subtrees, and the hashes that tiles must hold."""

    def __init__(self) -> None:
        self.size = 0
        self.edge: list[bytes] = []
        self.tiles: defaultdict[int, list[bytes]] = defaultdict(list)

    def append(self, node: bytes) -> None:
        number, height = self.size, 0
        self.tiles[0].append(node)
        while number & 1:
            node = hashlib.sha256(b"\x01" + self.edge.pop() + node).digest()
            number, height = number >> 1, height + 1
            if height % 8 == 0:
                self.tiles[height // 8].append(node)
        self.edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self.edge:
            return EMPTY
        root = self.edge[-1]
        for left in self.edge[-2::-1]:
            root = node_hash(left, root)
        return root


def root_from_path(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162, 2.1.3.2); None when it has another length."""
    place, last, node = index, size - 1, leaf
    for step in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            node = node_hash(step, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, step)
        place, last = place >> 1, last >> 1
    return node if last == 0 else None


# -- an exported folder (C2SP tlog-tiles) -------------------------------------------------------------------------


def tile_path(level: str, number: int, width: int) -> str:
    text = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        text = f"x{number % 1000:03d}/{text}"
    return f"tile/{level}/{text}" if width == TILE else f"tile/{level}/{text}.p/{width}"


def widths(count: int) -> Iterator[tuple[int, int]]:
    """(number, width) of the tiles that hold `count` hashes."""
    for number in range(-(-count // TILE)):
        yield number, min(TILE, count - number * TILE)


def read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError:
        raise AlteredError(f"the file {name} is missing") from None


def leaves(folder: Path, size: int) -> Iterator[bytes]:
    for number, width in widths(size):
        name = tile_path("entries", number, width)
        data, at = read(folder, name), 0
        for _ in range(width):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            if at + 2 > len(data) or end > len(data):
                raise AlteredError(f"{name} holds fewer entries than the checkpoint says")
            yield data[at + 2 : end]
            at = end
        if at != len(data):
            raise AlteredError(f"{name} holds more than its entries")


def fields_of(leaf: bytes, index: int) -> dict[str, Any]:
    try:
        fields = json.loads(leaf.decode())
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or fields.get("v") != 1 or fields.get("index") != index:
        raise AlteredError(f"entry {index} was not written as entry {index}")
    return fields


def verify_log(folder: Path, head: Head, earlier: list[Head]) -> dict[str, int]:
    """Check every entry and tile; answers with what the log tells of cells."""
    open_cells: dict[int, bool] = {}
    older = sorted(earlier)
    tree = Tree()
    compare(tree, older)
    for index, leaf in enumerate(leaves(folder, head.size)):
        follow(fields_of(leaf, index), open_cells)
        tree.append(leaf_hash(leaf))
        if older:
            compare(tree, older)
    if tree.root() != head.root:
        raise AlteredError("the entries do not lead to the signed root: at least one of them was changed")
    if older:
        raise AlteredError(f"the log was cut back: an earlier checkpoint had {older[0].size} entries")
    for level, hashes in tree.tiles.items():
        for number, width in widths(len(hashes)):
            name = tile_path(str(level), number, width)
            if read(folder, name) != b"".join(hashes[number * TILE : number * TILE + width]):
                raise AlteredError(f"{name} does not hold the hashes of the entries below it")
    return {"cells": len(open_cells), "without an end": list(open_cells.values()).count(True)}


def compare(tree: Tree, older: list[Head]) -> None:
    """Hold the earlier checkpoints of this size, the first of `older`, against the tree, and drop them."""
    while older and older[0].size == tree.size:
        if older.pop(0).root != tree.root():
            raise AlteredError(f"history was rewritten: the first {tree.size} entries are not those of before")


def follow(fields: dict[str, Any], open_cells: dict[int, bool]) -> None:
    if fields["action"] == "server:cell:begin":
        open_cells[fields["index"]] = True
    elif fields["action"] == "server:cell:end" and fields["detail"].get("begin") in open_cells:
        open_cells[fields["detail"]["begin"]] = False


# -- a proof of one entry (C2SP tlog-proof) -----------------------------------------------------------------------


def verify_proof(text: str, log: Key, witnesses: list[Key], need: int) -> tuple[dict[str, Any], Head]:
    """The entry, after its bytes (the proof's `extra`) were shown to lead to the signed root."""
    top, blank, note = text.partition("\n\n")
    lines = top.split("\n")
    if not blank or len(lines) < 3 or lines[0] != "c2sp.org/tlog-proof@v1":
        raise UnreadableError("this is no tlog-proof")
    if not lines[1].startswith("extra ") or not lines[2].startswith("index ") or not lines[2][6:].isdecimal():
        raise UnreadableError("the proof does not hold the entry and its number")
    head = open_note(note, log, witnesses, need)
    leaf, index = unbase64(lines[1][6:]), int(lines[2][6:])
    path = [unbase64(line) for line in lines[3:]]
    if not 0 <= index < head.size or any(len(step) != HASH for step in path):
        raise AlteredError(f"the proof is not one of an entry in a log of {head.size}")
    if root_from_path(index, head.size, leaf_hash(leaf), path) != head.root:
        raise AlteredError(f"entry {index} does not lead to the signed root: it, or the proof, was changed")
    return fields_of(leaf, index), head


# -- Ed25519 (RFC 8032, verification only) ------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
Point = Tuple[int, int, int, int]  # extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def signature_fits(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is one of `message` by `key`."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return ed25519_fits(key, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def ed25519_fits(key: bytes, signature: bytes, message: bytes) -> bool:
    """The same in plain Python: s * BASE == R + hash(R, key, message) * KEY. Not constant-time: nothing is secret."""
    if len(signature) != 64:
        return False
    point, commitment = decompress(key), decompress(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if point is None or commitment is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    left, right = times(scalar, BASE), add(commitment, times(challenge, point))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def decompress(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if len(data) != HASH or y >= P:
        return None
    x_squared = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x_squared, (P + 3) // 8, P)
    if (x * x - x_squared) % P:
        x = x * ROOT_OF_MINUS_1 % P
    if (x * x - x_squared) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def add(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(HASH, "little")) or (0, 1, 1, 0)


# -- the command --------------------------------------------------------------------------------------------------


def text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{file} cannot be read: {error}") from None


def run(options: argparse.Namespace) -> str:
    log = read_key(text_of(options.vkey), ED25519)
    witnesses = [read_key(text_of(file), COSIGNATURE) for file in options.witness]
    need = (1 if witnesses else 0) if options.need is None else options.need
    if options.what == "proof":
        fields, head = verify_proof(text_of(options.path), log, witnesses, need)
        print(json.dumps(fields, indent=2))  # ASCII: an entry must not steer the terminal
        told = f"entry {fields['index']} of {head.size}"
    else:
        if not (options.path / "checkpoint").is_file():
            raise UnreadableError(f"{options.path} is no exported log: it has no file 'checkpoint'")
        head = open_note(text_of(options.path / "checkpoint"), log, witnesses, need)
        earlier = [open_note(text_of(file), log, [], 0) for file in options.earlier]
        found = verify_log(options.path, head, earlier)
        told = f"{head.size} entries; " + ", ".join(f"{count} {name}" for name, count in found.items())
    return (
        f"sound: {told}; log {log.name}, root {head.root.hex()}, co-signed by {', '.join(head.witnesses) or 'nobody'}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify an exported Strongroom audit log, or a proof of one entry.")
    parser.add_argument("what", choices=("log", "proof"))
    parser.add_argument("path", type=Path, help="the exported folder, or the proof's file")
    parser.add_argument("--vkey", type=Path, required=True, help="the log's public key")
    parser.add_argument("--earlier", type=Path, action="append", default=[], help="a checkpoint you kept; repeatable")
    parser.add_argument("--witness", type=Path, action="append", default=[], help="a witness's key; repeatable")
    parser.add_argument("--need", type=int, help="how many of them must have co-signed (default: 1 if any is given)")
    try:
        print(run(parser.parse_args()))
    except AlteredError as error:
        print(f"ALTERED: {error}")
        return 1
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
