"""Staged export files: encrypted in chunks under a key per file, checked in a worker, answered with a signed receipt.

One file: `MAGIC`, length of the head (4 bytes), head (JSON: wrapped key, nonce prefix, bytes), then chunks of
AES-256-GCM. A chunk's nonce is prefix, number and a flag on the last one: no chunk can be moved, dropped or cut off.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd
from strongroom_hub.vault.jobs import ViewJob, check_view
from strongroom_hub.vault.keys import KeyService, KeyUse, WrappedKey, new_key
from strongroom_hub.vault.manifest import FILES
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.tickets import AUDIENCE, ISSUER, StageTicket
from strongroom_hub.vault.workers import Workers

MAGIC = b"SRX1"
CHUNK = 1 << 20
_TAG = 16
_PREFIX_BYTES = 7
_DRAFT = ".draft-"
_LENGTH = struct.Struct(">I")
_NONCE = struct.Struct(f">{_PREFIX_BYTES}sIB")
_MAX_HEAD = 4096


class Exports:
    """The staged files of all export requests, below one folder that only the vault can enter."""

    def __init__(
        self, root: Path, store: Store, keys: KeyService, workers: Workers, receipt_key: Ed25519PrivateKey
    ) -> None:
        self._root = root
        self._store = store
        self._keys = keys
        self._workers = workers
        self._receipt_key = receipt_key

    def sweep(self) -> list[Path]:
        """Remove what an interrupted staging left behind; to be called before the first request."""
        unfinished = sorted(self._root.glob(f"*/{_DRAFT}*"))
        for file in unfinished:
            file.unlink()
        return unfinished

    def stage(self, ticket: StageTicket, spooled: int) -> str:
        """Check, keep and sign for the file in the memory file `spooled`; the receipt (JWS). Raises Problem."""
        views, uncompared = self._views(ticket)
        answer = self._workers.run(
            {
                "kind": "check",
                "name": ticket.name,
                "limits": ticket.rules.model_dump(),
                "views": [view.as_json() for view in views],
            },
            [spooled],
        )
        answer["findings"] += [_not_compared(name) for name in uncompared]
        with Path(memfd.path(spooled)).open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            self._keep(ticket.export, sha256, stream, memfd.size(spooled))
        return self._receipt(ticket, sha256, memfd.size(spooled), answer)

    def open(self, export: str, sha256: str) -> tuple[int, Iterator[bytes]]:
        """Size in bytes and content of a staged file, which was verified to its end before. Raises Problem."""
        file = self._file(export, sha256)
        digest = hashlib.sha256()
        for piece in self._decrypt(file, export, sha256):
            digest.update(piece)
        if digest.hexdigest() != sha256:
            raise _broken(export, sha256)
        with file.open("rb") as stream:
            head = _read_head(stream, export, sha256)
        return int(head["bytes"]), self._decrypt(file, export, sha256)

    def _views(self, ticket: StageTicket) -> tuple[list[ViewJob], list[str]]:
        """What the workspace has read: tables to compare with, and the names of versions that are files."""
        tables, files = [], []
        for view in ticket.sources:
            published = self._store.open(view.dataset, view.version, active=view.manifest)
            if published.manifest.kind == FILES:
                check_view(view, published.manifest)
                files.append(f"{view.dataset}@{view.version}")
            else:
                tables.append(ViewJob.prepare(published, view, self._keys))
        return tables, files

    def _receipt(self, ticket: StageTicket, sha256: str, size: int, answer: dict[str, Any]) -> str:
        claims = {
            "iss": AUDIENCE,
            "aud": ISSUER,
            "iat": int(time.time()),
            "export": ticket.export,
            "index": ticket.index,
            "name": ticket.name,
            "sha256": sha256,
            "bytes": size,
            "type": answer["type"],
            "findings": answer["findings"],
        }
        return jwt.encode(claims, self._receipt_key, algorithm="EdDSA")

    def _file(self, export: str, sha256: str) -> Path:
        return self._root / export / f"{sha256}.srx"

    def _keep(self, export: str, sha256: str, content: BinaryIO, size: int) -> None:
        final = self._file(export, sha256)
        final.parent.mkdir(mode=0o700, exist_ok=True)
        draft = final.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        try:
            with draft.open("xb") as target:
                self._encrypt(export, sha256, content, size, target)
                target.flush()
                os.fsync(target.fileno())
            draft.rename(final)
            _sync_folders(final.parent, self._root)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise Problem(
                507,
                "vault-full",
                "The file was not staged",
                f"The vault could not write it ({error.strerror}).",
                next="Tell an operator that the vault's disk is full or broken; then ask for the export again.",
            ) from error

    def _encrypt(self, export: str, sha256: str, content: BinaryIO, size: int, target: BinaryIO) -> None:
        key, prefix = new_key(), os.urandom(_PREFIX_BYTES)
        wrapped = self._keys.wrap(key, KeyUse.export(export, sha256))
        head = json.dumps({**wrapped.as_json(), "prefix": prefix.hex(), "bytes": size}).encode()
        target.write(MAGIC + _LENGTH.pack(len(head)) + head)
        cipher = AESGCM(key)
        piece, number = content.read(CHUNK), 0
        while True:
            following = content.read(CHUNK)
            target.write(cipher.encrypt(_NONCE.pack(prefix, number, not following), piece, head))
            if not following:
                return
            piece, number = following, number + 1

    def _decrypt(self, file: Path, export: str, sha256: str) -> Iterator[bytes]:
        try:
            with file.open("rb") as stream:
                head = _read_head(stream, export, sha256)
                wrapped = WrappedKey(str(head["kek"]), str(head["wrapped"]))
                cipher = AESGCM(self._keys.unwrap(wrapped, KeyUse.export(export, sha256)))
                prefix = bytes.fromhex(head["prefix"])
                piece, number = stream.read(CHUNK + _TAG), 0
                while True:
                    following = stream.read(CHUNK + _TAG)
                    yield cipher.decrypt(_NONCE.pack(prefix, number, not following), piece, head["raw"])
                    if not following:
                        return
                    piece, number = following, number + 1
        except FileNotFoundError as error:
            raise Problem(
                404,
                "no-such-file",
                "No such staged file",
                f"The vault holds no file with this SHA-256 for export {export}.",
                next="Ask for the export again.",
            ) from error
        except (InvalidTag, OSError, KeyError, TypeError, ValueError, struct.error) as error:
            raise _broken(export, sha256) from error


def _not_compared(source: str) -> dict[str, Any]:
    text = f"The workspace has read files of {source}, with which nothing was compared: a person has to look."
    return {"check": "row-overlap", "severity": "warn", "text": text, "evidence": {"source": source}}


def _read_head(stream: BinaryIO, export: str, sha256: str) -> dict[str, Any]:
    start = stream.read(len(MAGIC) + _LENGTH.size)
    length = _LENGTH.unpack(start[len(MAGIC) :])[0] if len(start) == len(MAGIC) + _LENGTH.size else _MAX_HEAD + 1
    if not start.startswith(MAGIC) or length > _MAX_HEAD:
        raise _broken(export, sha256)
    raw = stream.read(length)
    try:
        head = json.loads(raw)
    except ValueError as error:
        raise _broken(export, sha256) from error
    if not isinstance(head, dict):
        raise _broken(export, sha256)
    return {**head, "raw": raw}


def _broken(export: str, sha256: str) -> Problem:
    return Problem(
        500,
        "staged-file-damaged",
        "The staged file cannot be trusted",
        f"The file {sha256[:16]}... of export {export} is not what was staged.",
        why=("its stored bytes do not decrypt to its SHA-256",),
        next="Tell an operator, and ask for the export again.",
    )


def _sync_folders(*folders: Path) -> None:
    for folder in folders:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
