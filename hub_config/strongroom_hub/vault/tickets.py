"""Tickets and manifests that control signed: verified offline, each ticket honoured once."""

from __future__ import annotations

import math
import re
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from strongroom_policy.filters import MAX_LENGTH

from strongroom_hub.problems import Problem
from strongroom_hub.viewname import view_name

ISSUER = "strongroom:control"
AUDIENCE = "strongroom:vault"
_ALGORITHMS = ["EdDSA"]
_CLOCK_LEEWAY = 2.0  # seconds that control's clock may be ahead of or behind ours
_MAX_TOKEN = 512 * 1024  # bytes; a frame is at most 1 MiB

_WORD = r"[a-z0-9][a-z0-9_-]{0,63}"
DATASET_NAME = re.compile(rf"^{_WORD}/{_WORD}$")
DatasetName = Annotated[str, StringConstraints(pattern=rf"^{_WORD}/{_WORD}$")]
Version = Annotated[int, Field(ge=1, strict=True)]
ExportId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0, strict=True)]


class _Claims(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Mask(BaseModel):
    # a parameter that this vault does not know would change what is seen: such a mask is refused
    model_config = ConfigDict(extra="forbid", frozen=True)


_Decimal = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}(\.[0-9]{1,6})?$")]


class Plain(_Mask):
    """A mask without a parameter."""

    method: Literal["null", "redact", "hash", "token"]


class Generalise(_Mask):
    """The lower end of the class of this width that a number falls into."""

    method: Literal["generalise"]
    width: _Decimal

    @field_validator("width")
    @classmethod
    def _positive(cls, value: str) -> str:
        if float(value) <= 0:
            raise ValueError("a class has some width")
        return value


class Prefix(_Mask):
    """The first characters of a text."""

    method: Literal["prefix"]
    characters: Annotated[int, Field(ge=1, le=64, strict=True)]


class DatePart(_Mask):
    """The first day of the year, quarter, month or day."""

    method: Literal["date"]
    unit: Literal["year", "quarter", "month", "day"]


class Round(_Mask):
    """A number with so many decimals; below zero, so many digits before the point are zero."""

    method: Literal["round"]
    decimals: Annotated[int, Field(ge=-9, le=9, strict=True)]


class Cap(_Mask):
    """No number beyond that quantile of the column."""

    method: Literal["topcode", "bottomcode"]
    quantile: _Decimal

    @field_validator("quantile")
    @classmethod
    def _share(cls, value: str) -> str:
        if not 0 < float(value) < 1:
            raise ValueError("a quantile lies between 0 and 1")
        return value


class ShiftDate(_Mask):
    """A date, moved by days that are the same for all rows of one subject; `subject`: the column that names it."""

    method: Literal["shift-date"]
    subject: str


Mask = Annotated[Plain | Generalise | Prefix | DatePart | Round | Cap | ShiftDate, Field(discriminator="method")]
Filters = Annotated[list[Annotated[str, StringConstraints(max_length=MAX_LENGTH)]], Field(min_length=1, max_length=64)]


class View(_Claims):
    """What of a dataset version one project may see: columns in order, some of them masked, and which rows.

    `manifest` is the SHA-256 of the signed manifest that control made active: an older or another one is not read.
    """

    dataset: DatasetName
    version: Version
    manifest: Sha256
    label: str
    columns: Annotated[list[str], Field(min_length=1)]
    masks: dict[str, Mask]
    rows: Filters | None
    project: str
    group: Literal["table", "synthetic"] = "table"
    """The version's own table, or the synthetic twin beside it."""

    @property
    def name(self) -> str:
        """As this vault understands the view; see `view_name`."""
        return view_name(
            dataset=self.dataset,
            version=self.version,
            manifest=self.manifest,
            columns=self.columns,
            masks={column: mask.model_dump() for column, mask in self.masks.items()},
            rows=self.rows,
            project=self.project,
            group=self.group,
        )


class ReadTicket(View):
    """The right to read one view into one kernel."""

    act: Literal["read"]
    user: str
    kernel: str
    uid: Annotated[int, Field(ge=0, strict=True)] | None
    view: Sha256
    max_bytes: Size
    entry: Annotated[int, Field(ge=0, strict=True)]
    stream: Annotated[bool, Field(strict=True)] = False
    """It opens a stream of batches, whose end is recorded; False: the whole view at once."""


class Plan(_Claims):
    """How a file is to be understood and what it must satisfy: `catalog.schema.Reading` and `Check` as JSON."""

    reading: dict[str, Any] = Field(default_factory=dict)
    types: dict[str, str] = Field(default_factory=dict)
    """Declared types by column."""
    checks: list[dict[str, Any]] = Field(default_factory=list)
    codes: dict[str, list[str]] = Field(default_factory=dict)
    """Allowed values of the columns on which a check looks for them."""
    tags: dict[str, list[str]] = Field(default_factory=dict)
    """What has been decided already."""
    today: str = ""
    """The day of the draft, ISO: what `fresh` counts from."""


class IdentifyTicket(View):
    """The right to have tokens of one column turned back: `columns` names it, `rows` says where its asker may look.

    Two people stand behind it (`asked_by`, `agreed_by`). No kernel is given what comes out.
    """

    act: Literal["identify"]
    columns: Annotated[list[str], Field(min_length=1, max_length=1)]
    masks: Annotated[dict[str, Mask], Field(max_length=0)]
    tokens: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=1000)]], Field(min_length=1)]
    asked_by: Annotated[str, StringConstraints(min_length=1)]
    agreed_by: Annotated[str, StringConstraints(min_length=1)]
    entry: Annotated[int, Field(ge=0, strict=True)]

    @model_validator(mode="after")
    def _two_people(self) -> IdentifyTicket:
        if self.asked_by == self.agreed_by:
            raise ValueError("two people turn tokens back")
        return self


class IngestTicket(_Claims):
    """The right to fill one draft version from one file."""

    act: Literal["ingest"]
    dataset: DatasetName
    version: Version
    format: Literal["csv", "parquet", "arrow", "excel", "sas", "xport", "stata", "spss", "files"]
    label: str
    plan: Plan = Plan()


class Rules(_Claims):
    """What a staged file must keep to. `max_overlap` is a share of the file's rows (0 to 1)."""

    types: list[str]
    max_bytes: Size
    min_count: Annotated[int, Field(ge=0)]
    max_overlap: Annotated[float, Field(ge=0, le=1)]


class StageTicket(_Claims):
    """The right to stage one file of one export request."""

    act: Literal["stage"]
    export: ExportId
    index: Annotated[int, Field(ge=0, strict=True)]
    name: str
    sources: list[View]
    rules: Rules


class FetchTicket(_Claims):
    """The right to fetch one staged file."""

    act: Literal["fetch"]
    export: ExportId
    sha256: Sha256


class KeyTicket(_Claims):
    """An order about keys. One to shred says on whose word, and is kept in place of the keys."""

    act: Literal["keys"]
    operation: Literal["status", "rotate", "rekey", "destroy", "shred"]
    dataset: DatasetName | None = None
    version: Version | None = None
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    """Columns or files to shred; None: everything of the version."""
    generation: str = ""
    asked_by: str = ""
    agreed_by: str = ""
    why: str = ""
    entry: int = -1
    at: str = ""


class RetireTicket(_Claims):
    """The right to remove one unpublished version."""

    act: Literal["retire"]
    dataset: DatasetName
    version: Version


_Ticket = TypeVar(
    "_Ticket", ReadTicket, IdentifyTicket, IngestTicket, StageTicket, FetchTicket, RetireTicket, KeyTicket
)


def load_public_key(file: Path) -> Ed25519PublicKey:
    """Control's public key. Raises Problem when the file does not hold an Ed25519 public key."""
    try:
        key = load_pem_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise _no_public_key(file) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_public_key(file)
    return key


def _no_public_key(file: Path) -> Problem:
    return Problem(
        500,
        "control-key",
        "Control's public key cannot be used",
        f"{file} is missing or holds no Ed25519 public key.",
        next="Run the set-up again: it writes the key that belongs to control's signing key.",
    )


class TicketVerifier:
    """Remembers which tickets were presented; one per vault process."""

    def __init__(self, control_key: Ed25519PublicKey, *, started: float) -> None:
        """`started`: Unix time in seconds at which this process began.

        What was presented to an earlier process is forgotten, so nothing issued before the first whole second after
        `started` is accepted: `ready_at` says from when on tickets can be valid.
        """
        self._key = control_key
        self.ready_at = math.ceil(started)
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def verify(self, token: str, kind: type[_Ticket], *, peer_uid: int | None = None) -> _Ticket:
        """The claims of a ticket that is valid now and was never presented before; from here on it is used up.

        `peer_uid` is the uid at the other end of the socket. Raises Problem (401 or 403) in all other cases.
        """
        act = str(kind.model_fields["act"].annotation.__args__[0])  # type: ignore[union-attr]
        claims = _decode(token, self._key, require=["iss", "aud", "exp", "iat", "jti", "act"])
        if claims["act"] != act:
            raise _refused(f"It is a {_short(claims['act'])} ticket; this needs a {act} ticket.")
        if claims["iat"] < self.ready_at:
            raise _refused("It was issued before this vault started.")
        try:
            ticket = kind.model_validate(claims)
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(str(part) for part in item["loc"]) for item in error.errors()}))
            raise _refused(f"Its claims cannot be honoured: {fields}.") from error
        if isinstance(ticket, ReadTicket) and ticket.uid is not None and ticket.uid != peer_uid:
            raise _refused("It belongs to a kernel under another uid.", status=403)
        if isinstance(ticket, ReadTicket) and ticket.view != ticket.name:
            raise _refused("Control meant another view than this vault understands.")
        self._use_up(str(claims["jti"]), float(claims["exp"]))
        return ticket

    def _use_up(self, jti: str, expires: float) -> None:
        now = time.time()
        with self._lock:
            if jti in self._seen:
                raise _refused("It was presented before; a ticket is good for one use.")
            for old in [key for key, until in self._seen.items() if until + _CLOCK_LEEWAY < now]:
                del self._seen[old]
            self._seen[jti] = expires


def verify_manifest(jws: str, control_key: Ed25519PublicKey) -> tuple[dict[str, Any], float]:
    """The `manifest` claim of a manifest that control signed, and when it did (Unix time). Raises Problem."""
    claims = _decode(jws, control_key, require=["iss", "aud", "iat", "act"])
    manifest = claims.get("manifest")
    if claims["act"] != "manifest" or not isinstance(manifest, dict):
        raise _refused("It is not a manifest.")
    return manifest, float(claims["iat"])


def verify_order(token: str, control_key: Ed25519PublicKey) -> KeyTicket:
    """A kept order to shred: signed by control, whenever that was. Raises Problem."""
    claims = _decode(token, control_key, require=["iss", "aud", "act"], expires=False)
    try:
        order = KeyTicket.model_validate(claims)
    except ValidationError as error:
        raise _refused("It is no order about keys.") from error
    if order.operation != "shred":
        raise _refused("It is no order to shred.")
    return order


def _decode(token: str, key: Ed25519PublicKey, *, require: list[str], expires: bool = True) -> dict[str, Any]:
    if len(token) > _MAX_TOKEN:
        raise _refused("It is too long.")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=_CLOCK_LEEWAY,
            options={"require": require, "verify_exp": expires},
        )
    except jwt.ExpiredSignatureError as error:
        raise _refused("It has expired.") from error
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        # the library's words may quote the token, which is a credential: only the kind of failure is told
        raise _refused(f"It is not valid ({type(error).__name__}).") from error
    if not all(isinstance(claims.get(name), (int, float)) for name in ("iat", "exp") if name in require):
        raise _refused("Its times are not numbers.")
    return claims


def _short(value: object) -> str:
    return re.sub(r"[^a-z-]", "", str(value))[:20] or "nameless"


def _refused(detail: str, *, status: int = 401) -> Problem:
    return Problem(
        status,
        "ticket-refused",
        "The ticket was refused",
        detail,
        why=("the vault honours only fresh tickets that control signed for exactly this use",),
        next="Ask again: each attempt gets a ticket of its own.",
    )
