"""Signs what the vault trusts: tickets, manifests and releases. Only control holds this key.

Formats: docs/developers/wire-formats.md, section 2.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from strongroom_hub.problems import Problem
from strongroom_hub.viewname import view_name

ALGORITHM = "EdDSA"
CONTROL_ISSUER = "strongroom:control"
VAULT_AUDIENCE = "strongroom:vault"
VAULT_ISSUER = "strongroom:vault"
CONTROL_AUDIENCE = "strongroom:control"
READ_LIFE, STAGE_LIFE, FETCH_LIFE, RETIRE_LIFE, INGEST_LIFE = 30, 60, 60, 60, 3600
KEYS_LIFE = IDENTIFY_LIFE = 60
"""Seconds that a ticket of each kind can be presented."""
READ_STATES = ("complete", "stopped", "taken-back", "failed")
_ASKED_TOGETHER = 1000


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Raises ValueError when the file holds another kind of key."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} does not hold an Ed25519 key")  # noqa: TRY004 - a wrong file, not a wrong argument
    return key


@dataclass(frozen=True, slots=True)
class ReadView:
    """What one read ticket opens: exactly these columns of one version, for one kernel."""

    user: str
    project: str
    kernel: str
    uid: int | None
    dataset: str
    version: int
    manifest: str
    """Digest of the signed manifest of that version."""
    label: str
    columns: tuple[str, ...]
    masks: Mapping[str, Mapping[str, Any]]
    """As the ticket has them: `{"method": ..., its parameter}` by column."""
    rows: tuple[str, ...] | None
    """Row filters that all have to hold, bound to project and day."""
    max_bytes: int
    entry: int
    group: str = "table"
    """`synthetic`: the version's synthetic twin."""
    stream: bool = False
    """The ticket opens a stream of batches instead of the whole."""

    @property
    def name(self) -> str:
        return view_name(
            dataset=self.dataset,
            version=self.version,
            manifest=self.manifest,
            columns=self.columns,
            masks=self.masks,
            rows=self.rows,
            project=self.project,
            group=self.group,
        )


class TicketSigner:
    """Makes compact JWS with control's key; `clock` gives `iat` and `exp`."""

    def __init__(self, key: Ed25519PrivateKey, clock: Callable[[], datetime]) -> None:
        self._key = key
        self._clock = clock

    def _sign(self, act: str, claims: Mapping[str, Any], life: int | None) -> str:
        issued = self._clock().timestamp()
        body: dict[str, Any] = {
            "iss": CONTROL_ISSUER,
            "aud": VAULT_AUDIENCE,
            "jti": secrets.token_urlsafe(16),
            "iat": issued,
            "act": act,
            **claims,
        }
        if life is not None:
            body["exp"] = issued + life
        return jwt.encode(body, self._key, algorithm=ALGORITHM)

    def read(self, view: ReadView) -> str:
        return self._sign(
            "read",
            {
                "user": view.user,
                "project": view.project,
                "kernel": view.kernel,
                "uid": view.uid,
                "dataset": view.dataset,
                "version": view.version,
                "manifest": view.manifest,
                "label": view.label,
                "columns": list(view.columns),
                "masks": {column: dict(mask) for column, mask in view.masks.items()},
                "rows": None if view.rows is None else list(view.rows),
                "view": view.name,
                "group": view.group,
                "max_bytes": view.max_bytes,
                "entry": view.entry,
                "stream": view.stream,
            },
            READ_LIFE,
        )

    def identify(self, **claims: Any) -> str:
        """The right to have tokens turned back (wire-formats 2)."""
        return self._sign("identify", {"masks": {}, "group": "table", **claims}, IDENTIFY_LIFE)

    def ingest(
        self, *, dataset: str, version: int, file_format: str, label: str, plan: Mapping[str, Any] | None = None
    ) -> str:
        """`plan`: how the file is to be understood, and what it must satisfy (wire formats, section 2)."""
        claims = {"dataset": dataset, "version": version, "format": file_format, "label": label, "plan": plan or {}}
        return self._sign("ingest", claims, INGEST_LIFE)

    def stage(
        self, *, export: str, index: int, name: str, sources: list[dict[str, Any]], rules: Mapping[str, Any]
    ) -> str:
        claims = {"export": export, "index": index, "name": name, "sources": sources, "rules": dict(rules)}
        return self._sign("stage", claims, STAGE_LIFE)

    def fetch(self, *, export: str, sha256: str) -> str:
        return self._sign("fetch", {"export": export, "sha256": sha256}, FETCH_LIFE)

    def retire(self, *, dataset: str, version: int) -> str:
        return self._sign("retire", {"dataset": dataset, "version": version}, RETIRE_LIFE)

    def keys(self, operation: str, **claims: Any) -> str:
        """An order about keys: `operation` and what it needs (wire-formats 2)."""
        return self._sign("keys", {"operation": operation, **claims}, KEYS_LIFE)

    def manifest(self, manifest: Mapping[str, Any]) -> str:
        return self._sign("manifest", {"manifest": dict(manifest)}, None)

    def manifest_of(self, jws: str) -> dict[str, Any]:
        """The manifest that this control signed. Raises jwt.InvalidTokenError."""
        options: Any = {"require": ["iss", "aud", "act"]}
        claims = jwt.decode(
            jws, self._key.public_key(), [ALGORITHM], options, issuer=CONTROL_ISSUER, audience=VAULT_AUDIENCE
        )
        return dict(claims["manifest"])

    def release(self, manifest: Mapping[str, Any]) -> tuple[str, str]:
        """The release's `manifest.json` text and the base64 signature over exactly its UTF-8 bytes."""
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        return text, base64.b64encode(self._key.sign(text.encode())).decode()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the vault says it holds after staging one file of an export."""

    export: str
    index: int
    name: str
    sha256: str
    bytes: int
    type: str
    findings: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ReadEnd:
    """What the vault says of a read that is over: what it handed out (for a stream) or took back (of a whole view)."""

    entry: int
    state: str
    rows: int
    bytes: int
    batches: int
    why: str


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What the vault says of a draft: its manifest, and what it found (None for files that are no table)."""

    manifest: dict[str, Any]
    report: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Abandoned:
    """What nobody went on with for so many hours: a draft, or the upload for one."""

    dataset: str
    version: int
    what: Literal["draft", "upload"]
    hours: int


ABANDONED: Mapping[str, Literal["draft", "upload"]] = {"draft": "draft", "upload": "upload"}


class ReceiptReader:
    """Verifies the vault's receipts with its public key, read when first needed (the vault starts apart)."""

    def __init__(self, public_key: Path) -> None:
        self._path = public_key

    def _load(self) -> Ed25519PublicKey:
        try:
            key = load_pem_public_key(self._path.read_bytes())
        except (OSError, ValueError) as error:
            raise Problem(
                503,
                "vault-unavailable",
                "The vault's receipt key is not there",
                "The vault's answers cannot be checked, so the export stays as it is.",
                next="Ask an administrator to start the vault, then submit again.",
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise bad_receipt("the vault's public key is not an Ed25519 key")
        return key

    def read_taken(self, token: str, *, dataset: str, version: int) -> TakenIn:
        """The receipt for a file that became a draft. Raises Problem 422 `bad-receipt`, also for another draft's."""
        claims = self._claims(token)
        manifest, report = claims.get("manifest"), claims.get("report")
        if (claims.get("act"), claims.get("dataset"), claims.get("version")) != ("taken-in", dataset, version):
            raise bad_receipt("it is not for this draft")
        if not isinstance(manifest, dict) or not (report is None or isinstance(report, dict)):
            raise bad_receipt("a field is missing or of the wrong kind")
        return TakenIn(manifest, report)

    def read_standing(self, token: str) -> list[int]:
        """The reads that the vault asks about, each by its entry. Raises Problem 422 `bad-receipt`."""
        claims = self._claims(token)
        entries = claims.get("entries")
        if claims.get("act") != "standing" or not isinstance(entries, list) or len(entries) > _ASKED_TOGETHER:
            raise bad_receipt("it does not ask which reads stand")
        if not all(isinstance(entry, int) and not isinstance(entry, bool) for entry in entries):
            raise bad_receipt("a read is named by the number of its entry")
        return entries

    def read_start(self, token: str) -> float:
        """When the vault started, as Unix time. Raises Problem 422 `bad-receipt`."""
        claims = self._claims(token)
        started = claims.get("started")
        if claims.get("act") != "vault-started" or isinstance(started, bool) or not isinstance(started, int | float):
            raise bad_receipt("it does not say when the vault started")
        return float(started)

    def read_abandoned(self, token: str) -> list[Abandoned]:
        """Drafts and uploads that nobody went on with. Raises Problem 422 `bad-receipt`."""
        claims = self._claims(token)
        listed = claims.get("abandoned")
        if claims.get("act") != "abandoned" or not isinstance(listed, list) or len(listed) > _ASKED_TOGETHER:
            raise bad_receipt("it does not name what nobody went on with")
        try:
            return [Abandoned(str(one[0]), int(one[1]), ABANDONED[one[2]], int(one[3])) for one in listed]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise bad_receipt("a draft is named by dataset, version, what of it, and hours") from error

    def read_end(self, token: str) -> ReadEnd:
        """How a read ended. Raises Problem 422 `bad-receipt`."""
        claims = self._claims(token)
        if claims.get("act") != "read-ended" or claims.get("state") not in READ_STATES:
            raise bad_receipt("it does not say how a read ended")
        try:
            return ReadEnd(
                entry=int(claims["entry"]),
                state=str(claims["state"]),
                rows=int(claims["rows"]),
                bytes=int(claims["bytes"]),
                batches=int(claims["batches"]),
                why=str(claims["why"])[:100],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise bad_receipt("a field is missing or of the wrong kind") from error

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._load(),
                algorithms=[ALGORITHM],
                issuer=VAULT_ISSUER,
                audience=CONTROL_AUDIENCE,
                options={"require": ["iss", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            raise bad_receipt("it is not signed by this installation's vault") from error
        return claims

    def read(self, token: str) -> Receipt:
        """Raises Problem 422 `bad-receipt` when the signature, the parties or a field is wrong."""
        claims = self._claims(token)
        try:
            return Receipt(
                export=str(claims["export"]),
                index=int(claims["index"]),
                name=str(claims["name"]),
                sha256=str(claims["sha256"]),
                bytes=int(claims["bytes"]),
                type=str(claims["type"]),
                findings=[dict(finding) for finding in claims["findings"]],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise bad_receipt("a field is missing or of the wrong kind") from error


def bad_receipt(why: str) -> Problem:
    return Problem(
        422,
        "bad-receipt",
        "A receipt of the vault does not hold",
        "The vault's receipt for a file was refused, so nothing was done.",
        why=(why,),
        next="Send the file again; if it happens again, tell an administrator.",
    )
