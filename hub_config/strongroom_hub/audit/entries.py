"""What an audit entry says, and its bytes: the leaf of the Merkle tree.

A leaf is one JSON object with sorted keys and no spaces, in UTF-8, at most 65,535 bytes (the tlog-tiles limit). Its
fields are described by `schemas/entry.v1.json`; they are only ever added to and never change their meaning.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

from pydantic_core import SchemaValidator, core_schema

from strongroom_hub.problems import Problem

JSON: TypeAlias = "bool | int | float | str | list[JSON] | tuple[JSON, ...] | Mapping[str, JSON] | None"

VERSION = 1
_SALT_BYTES = 16
MAX_LEAF_BYTES = 65_535
SCHEMA_FILE = Path(__file__).parent / "schemas" / f"entry.v{VERSION}.json"
DETAIL_SCHEMA_FILE = Path(__file__).parent / "schemas" / f"detail.v{VERSION}.json"
"""What `detail` holds, by action."""


SEARCH_COLUMNS = ("time", "actor", "action", "project", "object", "label")
"""Fields that lie beside the leaf once more, derived from it, so that they can be searched."""
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
"""Made once: `json.dumps` makes an encoder anew for each call that is not of the usual kind."""


class Action(StrEnum):
    """Everything that is ever recorded, as `source:subject:action`. What each one's `detail` holds: detail.v1.json."""

    USER_LOGIN = "hub:user:login"
    USER_REFUSE_LOGIN = "hub:user:refuse-login"
    USER_LOGOUT = "hub:user:logout"
    USER_GROUPS = "hub:user:groups"
    SERVER_SPAWN = "hub:server:spawn"
    SERVER_STOP = "hub:server:stop"
    SERVER_REFUSE_SPAWN = "hub:server:refuse-spawn"
    MACHINE_CHECK = "hub:machine:check"
    KERNEL_START = "server:kernel:start"
    KERNEL_STOP = "server:kernel:stop"
    KERNEL_VIOLATION = "server:kernel:violation"
    KERNEL_LIMIT = "server:kernel:limit"
    CELL_BEGIN = "server:cell:begin"
    CELL_END = "server:cell:end"
    COMPLETION_REQUEST = "server:completion:request"
    INSPECTION_REQUEST = "server:inspection:request"
    COMM_MESSAGE = "server:comm:message"
    INPUT_REPLY = "server:input:reply"
    FILE_SAVE = "server:file:save"
    DISPLAY_SHOW = "server:display:show"
    READ_ALLOW = "control:read:allow"
    READ_DENY = "control:read:deny"
    READ_END = "control:read:end"
    LABEL_RAISE = "control:label:raise"
    ACCESS_REQUEST_SUBMIT = "control:access-request:submit"
    ACCESS_REQUEST_APPROVE = "control:access-request:approve"
    ACCESS_REQUEST_DENY = "control:access-request:deny"
    ACCESS_REQUEST_WITHDRAW = "control:access-request:withdraw"
    GRANT_CREATE = "control:grant:create"
    GRANT_REVOKE = "control:grant:revoke"
    GRANT_EXPIRE = "control:grant:expire"
    EXPORT_DRAFT = "control:export:draft"
    EXPORT_SUBMIT = "control:export:submit"
    EXPORT_BLOCK = "control:export:block"
    EXPORT_VOTE = "control:export:vote"
    EXPORT_APPROVE = "control:export:approve"
    EXPORT_REJECT = "control:export:reject"
    EXPORT_WITHDRAW = "control:export:withdraw"
    EXPORT_RELEASE = "control:export:release"
    EXPORT_DOWNLOAD = "control:export:download"
    EXPORT_VIEW = "control:export:view"
    EXPORT_VOID = "control:export:void"
    POLICY_ACTIVATE = "control:policy:activate"
    POLICY_REFUSE = "control:policy:refuse"
    POLICY_PROPOSE = "control:policy:propose"
    POLICY_REJECT = "control:policy:reject"
    POLICY_WITHDRAW = "control:policy:withdraw"
    DATASET_TWIN = "control:dataset:twin"
    DATASET_DRAFT = "control:dataset:draft"
    DATASET_PUBLISH = "control:dataset:publish"
    DATASET_LOAD = "control:dataset:load"
    DATASET_DECIDE = "control:dataset:decide"
    DATASET_RETIRE = "control:dataset:retire"
    DATASET_ABANDON = "control:dataset:abandon"
    DATASET_RELABEL = "control:dataset:relabel"
    DATASET_SAVE = "control:dataset:save"
    DATASET_REFUSE_SAVE = "control:dataset:refuse-save"
    KEY_ROTATE = "control:key:rotate"
    KEY_REKEY = "control:key:rekey"
    KEY_DESTROY = "control:key:destroy"
    KEY_SHRED = "control:key:shred"
    REIDENTIFY = "control:token:reidentify"
    ACCOUNT_CREATE = "control:account:create"
    TRAINING_RECORD = "control:training:record"
    PROJECT_CREATE = "control:project:create"
    LOG_READ = "control:log:read"
    ERASURE_REQUEST = "control:erasure:request"
    ERASURE_REJECT = "control:erasure:reject"
    ERASURE_WITHDRAW = "control:erasure:withdraw"
    ERASURE_CARRY_OUT = "control:erasure:carry-out"
    WITNESS_ALARM = "control:witness:alarm"
    WITNESS_SETTLE = "control:witness:settle"
    VAULT_START = "control:vault:start"
    SYSTEM_START = "control:system:start"
    SYSTEM_STOP = "control:system:stop"


BEGINS = frozenset(
    {
        Action.CELL_BEGIN,
        Action.COMPLETION_REQUEST,
        Action.INSPECTION_REQUEST,
        Action.COMM_MESSAGE,
        Action.INPUT_REPLY,
    }
)
"""What a later `server:cell:end` closes, naming it as `begin`; where none does, the kernel or its server was killed."""


class EntryRefusedError(Problem):
    """An entry that cannot be written as it is: too large, not JSON, or without a proper actor."""

    def __init__(self, detail: str, *, next: str = "Shorten what you send, or report this as a defect.") -> None:  # noqa: A002
        super().__init__(413, "entry-refused", "This cannot be recorded in the audit log", detail, next=next)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What happened. Index and time are added by the log."""

    action: Action
    actor: str
    """`user:NAME`, `system:PART` or `operator`."""
    project: str | None = None
    server: str | None = None
    kernel: str | None = None
    object: str | None = None
    """What was acted on, for example `health/randhie@1` or an export's id; one of the search columns."""
    label: str | None = None
    sources: tuple[str, ...] = ()
    """The source set, each as `NAMESPACE/NAME@VERSION`."""
    detail: Mapping[str, JSON] = field(default_factory=dict)
    payload: str | None = None
    """Text that does not belong into the log for ever (code, a justification): kept encrypted beside it."""
    payload_subject: str | None = None
    """Whose payload it is: the person under whose key it is encrypted. None: the actor."""

    def __post_init__(self) -> None:
        """Refuse, in the thread of the caller, what no reader could attribute."""
        kind, _, name = self.actor.partition(":")
        if not (self.actor == "operator" or (kind in {"user", "system"} and name)):
            raise EntryRefusedError(
                "an entry's actor is 'user:NAME', 'system:PART' or 'operator'",
                next="Report this as a defect: the caller did not say who acts.",
            )


@dataclass(frozen=True, slots=True)
class PayloadReference:
    """What the leaf says about a payload that lies encrypted beside the log."""

    sha256: str
    """Of the stored ciphertext, hex."""
    commitment: str
    """HMAC-SHA256 of the text under a random salt that is encrypted with it, hex."""
    subject: str
    """Pseudonym of the person whose key encrypts it."""


def now() -> str:
    """The present time as the log writes it: RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(entry: Entry, index: int, time: str, payload: PayloadReference | None) -> bytes:
    """The leaf of `entry`. Raises EntryRefusedError when it is too large or holds what JSON cannot say."""
    leaf: dict[str, Any] = {
        "v": VERSION,
        "index": index,
        "time": time,
        "action": entry.action.value,
        "actor": entry.actor,
        "project": entry.project,
        "server": entry.server,
        "kernel": entry.kernel,
        "object": entry.object,
        "label": entry.label,
        "sources": list(entry.sources),
        "detail": dict(entry.detail),
    }
    if payload is not None:
        leaf["payload"] = {
            "sha256": payload.sha256,
            "commitment": payload.commitment,
            "subject": payload.subject,
        }
    else:
        # Proofs of the entries beside it show this one's hash, also to people who may not see it. What is random in it
        # (here, or in the commitment above) keeps them from trying what it may say until the hash fits.
        leaf["salt"] = secrets.token_urlsafe(_SALT_BYTES)
    try:
        data = _canonical(leaf).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise EntryRefusedError(f"the entry '{entry.action}' holds a value that JSON cannot say") from error
    if len(data) > MAX_LEAF_BYTES:
        raise EntryRefusedError(
            f"the entry '{entry.action}' would take {len(data):,} bytes; the limit is {MAX_LEAF_BYTES:,}"
        )
    return data


def parse(leaf: bytes, read: Callable[[bytes], Any] = json.loads) -> dict[str, Any]:
    """The fields of a leaf. Raises ValueError when it is not one JSON object of a known version.

    `read`: a faster reader of JSON, for who reads millions and may load one.
    """
    value = read(leaf)
    if not isinstance(value, dict) or not same(value.get("v"), VERSION):
        raise ValueError(f"not an audit entry of version {VERSION}")
    return value


def payload_reference(fields: Mapping[str, Any]) -> PayloadReference | None:
    """What a parsed leaf says about its payload; None when it has none. Raises ValueError."""
    payload = fields.get("payload")
    if payload is None:
        return None
    try:
        return PayloadReference(**payload)
    except TypeError as error:
        raise ValueError("the entry names its payload in a form that is not known") from error


def _reader_of_plain_leaves() -> Callable[[bytes], dict[str, Any]]:
    # In Python `1 == True`, and `1.0`: taken strictly, values of another type are none.
    number = core_schema.int_schema(strict=True)
    text = core_schema.nullable_schema(core_schema.str_schema(strict=True))
    kinds = dict.fromkeys(("v", "index"), number) | dict.fromkeys(SEARCH_COLUMNS, text)
    fields = {name: core_schema.typed_dict_field(kind) for name, kind in kinds.items()}
    fields["payload"] = core_schema.typed_dict_field(core_schema.any_schema(), required=False)
    return SchemaValidator(core_schema.typed_dict_schema(fields, extra_behavior="ignore")).validate_json


plain_fields = _reader_of_plain_leaves()
"""What a leaf says of what lies beside it, and of its payload: half the cost of parsing it into all of its fields.

Raises ValueError for what is no JSON, or has not all of these, or one of another type than the log writes.
"""
said = itemgetter("v", "index", *SEARCH_COLUMNS)
"""What `plain_fields` say of what lies beside the leaf as well."""
said_of_place = itemgetter("v", "index")


def agree(said: Sequence[tuple[Any, ...]], indexes: Sequence[int], columns: Sequence[Sequence[Any]] | None) -> bool:
    """Whether all leaves are of this version and say what lies beside them; where not, ask one by one."""
    return said == list(zip(repeat(VERSION, len(indexes)), indexes, *(columns or ()), strict=True))


def differing_columns(fields: Mapping[str, Any], columns: Mapping[str, Any]) -> list[str]:
    """The names of search columns that do not say what the parsed leaf says."""
    return [name for name in SEARCH_COLUMNS if not same(fields.get(name), columns[name])]


def same(one: object, other: object) -> bool:
    """Whether two values of JSON are one: in Python `1 == True`, and `1.0`."""
    return type(one) is type(other) and one == other
