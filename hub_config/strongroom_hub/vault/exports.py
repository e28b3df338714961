"""Staged export files: encrypted in chunks under a key per file, checked in a worker, answered with a signed receipt.

`EXPORT/SHA256.sealed` is a sealed file (stream.py), its wrapped key lies beside it in `SHA256.key`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd, stream
from strongroom_hub.vault import wrapped as wrapped_keys
from strongroom_hub.vault.durable import FRESH, replace_durably, sync_folder
from strongroom_hub.vault.jobs import ViewJob, check_view
from strongroom_hub.vault.keys import Keys, KeyUse, WrappedKey, new_key
from strongroom_hub.vault.manifest import FILES
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.tickets import AUDIENCE, ISSUER, StageTicket
from strongroom_hub.vault.tokenmaps import TokenMaps
from strongroom_hub.vault.workers import Workers

_DRAFT = ".draft-"
_KEY = ".key"


class Exports:
    """The staged files of all export requests, below one folder that only the vault can enter."""

    def __init__(  # noqa: PLR0917 - as thin as the reader's
        self,
        root: Path,
        store: Store,
        keys: Keys,
        token_maps: TokenMaps,
        workers: Workers,
        receipt_key: Ed25519PrivateKey,
    ) -> None:
        self._root = root
        self._store = store
        self._keys = keys
        self._token_maps = token_maps
        self._workers = workers
        self._receipt_key = receipt_key
        self._lock = threading.Lock()  # a file and its key are put in place together

    def sweep(self) -> list[Path]:
        """Remove what an interrupted staging left behind; to be called before the first request."""
        unfinished = sorted([*self._root.glob(f"*/{_DRAFT}*"), *self._root.glob(f"*/*{FRESH}")])
        for file in unfinished:
            file.unlink()
        return unfinished

    def stage(self, ticket: StageTicket, spooled: int) -> str:
        """Check, keep and sign for the file in the memory file `spooled`; the receipt (JWS). Raises Problem."""
        views, uncompared = self._views(ticket)
        with self._store.holding.at_hand([view.needed for view in views]):
            answer = self._workers.run(
                {
                    "kind": "check",
                    "name": ticket.name,
                    "limits": ticket.rules.model_dump(),
                    "views": [view.as_json() for view in views],
                },
                [spooled],
                writes=sorted({folder for view in views for folder in view.changes}),
            )
        answer["findings"] += [_not_compared(name) for name in uncompared]
        with Path(memfd.path(spooled)).open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            content.seek(0)
            self._keep(ticket.export, sha256, content)
        return self._receipt(ticket, sha256, memfd.size(spooled), answer)

    def open(self, export: str, sha256: str) -> tuple[int, Iterator[bytes]]:
        """Size in bytes and content of a staged file, which was verified to its end before. Raises Problem."""
        digest, size = hashlib.sha256(), 0
        for piece in self._pieces(export, sha256):
            digest.update(piece)
            size += len(piece)
        if digest.hexdigest() != sha256:
            raise _broken(export, sha256)
        return size, self._pieces(export, sha256)

    def keks(self) -> Counter[str]:
        """How many keys of staged files each generation of the master key wraps. Raises Problem."""
        return Counter(self._read_key(file).kek for file in sorted(self._root.glob(f"*/*{_KEY}")))

    def rewrap(self, keys: Keys, current: str, only: tuple[str, int] | None = None) -> int:
        """Exchange the wrapping of all keys of staged files; how many. Raises Problem."""
        if only is not None:
            return 0
        exchanged = 0
        for file in sorted(self._root.glob(f"*/*{_KEY}")):
            with self._lock:
                self._read_key(file)
                exchanged += wrapped_keys.rewrap_one(keys, current, KeyUse.export(file.parent.name, file.stem), file)
        return exchanged

    @staticmethod
    def _read_key(file: Path) -> WrappedKey:
        try:
            return wrapped_keys.read_one(file)
        except (OSError, ValueError) as error:
            raise _broken(file.parent.name, file.stem) from error

    def _views(self, ticket: StageTicket) -> tuple[list[ViewJob], list[str]]:
        """What the workspace has read: tables to compare with, and the names of versions that are files."""
        tables, files = [], []
        for view in ticket.sources:
            published = self._store.open(view.dataset, view.version, active=view.manifest)
            if published.manifest.kind == FILES:
                check_view(view, published.manifest)
                files.append(f"{view.dataset}@{view.version}")
            else:
                tables.append(ViewJob.prepare(published, view, self._keys, token_maps=self._token_maps))
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
        return self._root / export / f"{sha256}.sealed"

    def _keep(self, export: str, sha256: str, content: BinaryIO) -> None:
        final = self._file(export, sha256)
        final.parent.mkdir(mode=0o700, exist_ok=True)
        draft = final.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        key = new_key()
        try:
            with draft.open("xb") as target:
                stream.seal(content, target, key, _place(export, sha256))
                target.flush()
                os.fsync(target.fileno())
            wrapped = self._keys.wrap(key, KeyUse.export(export, sha256))
            with self._lock:
                if self._is_there(export, sha256):
                    draft.unlink()
                    return
                replace_durably(final.with_suffix(_KEY), json.dumps(wrapped.as_json()).encode())
                draft.rename(final)
                sync_folder(final.parent)
                sync_folder(self._root)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise Problem(
                507,
                "vault-full",
                "The file was not staged",
                f"The vault could not write it ({error.strerror}).",
                next="Tell an operator that the vault's disk is full or broken; then ask for the export again.",
            ) from error

    def _is_there(self, export: str, sha256: str) -> bool:
        try:
            self.open(export, sha256)
        except Problem:
            return False
        return True

    def _pieces(self, export: str, sha256: str) -> Iterator[bytes]:
        with self._sealed(export, sha256) as sealed:
            yield from sealed

    @contextmanager
    def _sealed(self, export: str, sha256: str) -> Iterator[stream.Sealed]:
        file = self._file(export, sha256)
        try:
            with file.open("rb") as content:
                wrapped = wrapped_keys.read_one(file.with_suffix(_KEY))
                key = self._keys.unwrap(wrapped, KeyUse.export(export, sha256))
                yield stream.Sealed(content.fileno(), key, _place(export, sha256))
        except FileNotFoundError as error:
            raise Problem(
                404,
                "no-such-file",
                "No such staged file",
                f"The vault holds no file with this SHA-256 for export {export}.",
                next="Ask for the export again.",
            ) from error
        except (OSError, ValueError) as error:
            raise _broken(export, sha256) from error


def _place(export: str, sha256: str) -> bytes:
    return f"export/{export}/{sha256}".encode()


def _not_compared(source: str) -> dict[str, Any]:
    text = f"The workspace has read files of {source}, with which nothing was compared: a person has to look."
    return {"check": "row-overlap", "severity": "warn", "text": text, "evidence": {"source": source}}


def _broken(export: str, sha256: str) -> Problem:
    return Problem(
        500,
        "staged-file-damaged",
        "The staged file cannot be trusted",
        f"The file {sha256[:16]}... of export {export} is not what was staged.",
        why=("its stored bytes do not decrypt to its SHA-256",),
        next="Tell an operator, and ask for the export again.",
    )
