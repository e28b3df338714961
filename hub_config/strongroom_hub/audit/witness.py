"""A witness: remembers the largest checkpoint of each log that it knows, and co-signs only what extends it.

It runs on another host, under another person's care, with a key of its own; it needs neither the log's database nor
any secret of the log. Protocol: C2SP tlog-witness (`POST add-checkpoint`, `GET HASH/checkpoint`). Whoever restores an
old database, or signs another history with a stolen key, gets no cosignature for it, and control raises an alarm.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from strongroom_hub.audit.cosignature import WitnessKey, cosign
from strongroom_hub.audit.durable import write_durably
from strongroom_hub.audit.note import Checkpoint, NoteError, VerifierKey, open_checkpoint
from strongroom_hub.audit.tree import EMPTY_ROOT, HASH_BYTES, verify_consistency

KEY_FILE, VKEY_FILE, LOGS, SEEN, EVIDENCE = "witness.pem", "witness.vkey", "logs", "seen", "evidence"
MAX_BODY_BYTES = 64 << 10
MAX_PROOF_LINES = 63
MAX_EVIDENCE = 1_000
"""Refused checkpoints, rightly signed, that are kept: each may prove that a log shows two histories."""
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Answer:
    status: HTTPStatus
    text: str
    media_type: str = "text/plain"


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, text: str, media_type: str = "text/plain") -> None:
        super().__init__(text)
        self.answer = Answer(status, text, media_type)


@dataclass(frozen=True, slots=True)
class _Asked:
    old: int
    proof: list[bytes]
    note: str
    origin: str


class Witness:
    """A witness on its folder. Safe to call from any number of threads; one process for a folder."""

    def __init__(
        self,
        folder: Path,
        name: str,
        key: Ed25519PrivateKey,
        logs: Mapping[str, VerifierKey],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._name = name
        self._key = key
        self._logs = logs
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def vkey(self) -> WitnessKey:
        return WitnessKey(self._name, self._key.public_key())

    @property
    def logs(self) -> list[str]:
        """The names of the logs that it knows."""
        return sorted(self._logs)

    @classmethod
    def create(cls, folder: Path, name: str) -> WitnessKey:
        """Make its folder (0700) and key; the public half is `witness.vkey`. Raises FileExistsError, NoteError."""
        key = Ed25519PrivateKey.generate()
        public = WitnessKey.parse(str(WitnessKey(name, key.public_key())))  # a name that cannot be read back is none
        for made in (folder, folder / LOGS, folder / SEEN, folder / EVIDENCE):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with os.fdopen(os.open(folder / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        (folder / VKEY_FILE).write_text(f"{public}\n", encoding="utf-8")
        return public

    @classmethod
    def add_log(cls, folder: Path, vkey: str) -> VerifierKey:
        """Let it co-sign for a log from its next start on. Raises NoteError, OSError."""
        log = VerifierKey.parse(vkey)
        (folder / LOGS / f"{_hashed(log.name)}.vkey").write_text(f"{log}\n", encoding="utf-8")
        return log

    @classmethod
    def load(cls, folder: Path, clock: Callable[[], float] = time.time) -> Witness:
        """Raises OSError or ValueError (NoteError) where the folder is not one that `create` made."""
        key = load_pem_private_key((folder / KEY_FILE).read_bytes(), password=None)
        public = WitnessKey.parse((folder / VKEY_FILE).read_text(encoding="utf-8"))
        if not isinstance(key, Ed25519PrivateKey) or str(WitnessKey(public.name, key.public_key())) != str(public):
            raise ValueError(f"{folder / VKEY_FILE} is not the public half of {KEY_FILE}")
        logs = [VerifierKey.parse(file.read_text(encoding="utf-8")) for file in sorted((folder / LOGS).glob("*.vkey"))]
        return cls(folder, public.name, key, {log.name: log for log in logs}, clock)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Check a checkpoint against the last one, remember it durably, and only then sign it."""
        try:
            asked = _parse(body)
            log, checkpoint = self._open(asked)
            with self._lock:
                return self._extend(asked, checkpoint, log)
        except _RefusedError as refused:
            return refused.answer

    def _open(self, asked: _Asked) -> tuple[VerifierKey, Checkpoint]:
        log = self._logs.get(asked.origin)
        if log is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "this witness does not know that log\n")
        try:
            return log, open_checkpoint(asked.note, log)
        except NoteError as error:
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"{error}\n") from error

    def checkpoint(self, origin_hash: str) -> Answer:
        """The newest co-signed checkpoint of a log, for monitors."""
        if all(_hashed(origin) != origin_hash for origin in self._logs):
            return Answer(HTTPStatus.NOT_FOUND, "this witness does not know that log\n")
        try:
            return Answer(HTTPStatus.OK, (self._folder / SEEN / origin_hash).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Answer(HTTPStatus.NOT_FOUND, "nothing of that log was co-signed yet\n")

    def _extend(self, asked: _Asked, new: Checkpoint, log: VerifierKey) -> Answer:
        file = self._folder / SEEN / _hashed(log.name)
        try:
            last = open_checkpoint(file.read_text(encoding="utf-8"), log)
        except FileNotFoundError:
            last = Checkpoint(log.name, 0, EMPTY_ROOT)
        if asked.old > new.size:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the old size is larger than the checkpoint's\n")
        if asked.old != last.size:
            if new.size < last.size or (new.size == last.size and new.root != last.root):
                self._keep_evidence(asked.note)
            raise _RefusedError(HTTPStatus.CONFLICT, f"{last.size}\n", SIZE_TYPE)
        # With no entries before, there is nothing to be consistent with, and the proof must be empty.
        empty = new.size == 0 and new.root != EMPTY_ROOT
        if empty or not verify_consistency(last.size, new.size, last.root, new.root, asked.proof):
            self._keep_evidence(asked.note)
            text = f"this is not an extension of the log of {last.size} entries that was co-signed before\n"
            raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, text)
        line = cosign(asked.note, self._name, self._key, int(self._clock()))
        write_durably(file, asked.note + line)
        return Answer(HTTPStatus.OK, line)

    def _keep_evidence(self, note: str) -> None:
        folder = self._folder / EVIDENCE
        file = folder / hashlib.sha256(note.encode()).hexdigest()
        if not file.exists() and len(list(folder.iterdir())) < MAX_EVIDENCE:
            write_durably(file, note)


def application(witness: Witness) -> Starlette:
    """The witness over HTTP."""

    async def add(request: Request) -> Response:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                return PlainTextResponse("the request is too large\n", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return _response(await run_in_threadpool(witness.add_checkpoint, bytes(body)))

    async def monitor(request: Request) -> Response:
        return _response(await run_in_threadpool(witness.checkpoint, request.path_params["origin"]))

    return Starlette(
        routes=[
            Route("/add-checkpoint", add, methods=["POST"]),
            Route("/{origin:str}/checkpoint", monitor, methods=["GET"]),
        ]
    )


def _response(answer: Answer) -> Response:
    return Response(answer.text, answer.status, media_type=answer.media_type)


def _parse(body: bytes) -> _Asked:
    """Raises _RefusedError."""
    bad = HTTPStatus.BAD_REQUEST
    try:
        top, blank, note = body.decode("utf-8").partition("\n\n")
        first, *lines = top.split("\n")
        proof = [base64.b64decode(line, validate=True) for line in lines]
    except (UnicodeDecodeError, binascii.Error) as error:
        raise _RefusedError(bad, "the request is not text, or its proof is not base64\n") from error
    old = first.removeprefix("old ")
    if not blank or not first.startswith("old ") or not (old.isascii() and old.isdigit()) or str(int(old)) != old:
        raise _RefusedError(bad, "the request does not begin with its old size\n")
    if len(proof) > MAX_PROOF_LINES or any(len(value) != HASH_BYTES for value in proof):
        raise _RefusedError(bad, "the proof is too long, or holds what is no hash\n")
    return _Asked(int(old), proof, note, note.partition("\n")[0])


def _hashed(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()
