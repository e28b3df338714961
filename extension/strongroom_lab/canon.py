"""Canonical kernel messages: explicit schemas for each channel and type, in both directions.

No message passes as it came. What a schema knows is rebuilt from checked values; what it does not know is dropped and
counted; ids, dates, headers and parents are the gate's own. This module is pure: it knows neither budgets nor sockets.

Rules
- A type that is not in `OUTGOING` or `INCOMING` for its channel raises Unfit.
- Buffers and comm data exist for comm messages only; comm targets are the widgets' own (`TARGETS`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from strongroom_lab.mime import bundle, image_sizes
from strongroom_lab.values import (
    MISSING,
    Check,
    Unfit,
    at_most,
    choice,
    encode,
    identifier,
    is_true,
    lines,
    mapping,
    not_false,
    optional,
    text,
    whole,
)

TARGETS = ("jupyter.widget", "jupyter.widget.control", "jupyter.widget.version")
STATES = ("busy", "idle")
CODE_LIMIT = 1 << 20
PROMPT_LIMIT = 1000
COMMS = frozenset({"comm_open", "comm_msg", "comm_close"})
_VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){0,3}\Z")


@dataclass(frozen=True)
class Message:
    """A canonical message without header: `content` and `metadata` hold checked values only."""

    channel: str
    type: str
    content: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    buffers: tuple[bytes, ...] = ()
    dropped: tuple[str, ...] = ()
    """What was left out, by kind; never in the words of who sent it."""

    @cached_property
    def body(self) -> bytes:
        """The content as it goes over the wire."""
        return encode(self.content)

    @property
    def cost(self) -> int:
        """Bytes that a browser gets to see of it: content, metadata and buffers."""
        metadata = len(encode(self.metadata)) if self.metadata else 0
        return len(self.body) + metadata + sum(len(buffer) for buffer in self.buffers)

    def with_content(self, **changes: Any) -> Message:
        return replace(self, content={**self.content, **changes})


# --- checks of single fields --------------------------------------------------------------------------------------


def _code(value: Any) -> str:
    code = text(value)
    if len(code.encode("utf-8")) > CODE_LIMIT:
        raise Unfit("code is longer than 1 MiB")
    return code


def _transient(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or value.get("display_id") is None:
        return {}
    return {"display_id": identifier(value["display_id"])}


def _to_update(value: Any) -> dict[str, str]:
    found = _transient(value)
    if not found:
        raise Unfit("nothing to update")
    return found


def _pages(value: Any) -> list[dict[str, Any]]:
    """Of an execute reply's payload the pager's; `set_next_input` would write into the notebook."""
    return [
        {"source": "page", "data": bundle(item.get("data", {})), "start": 0}
        for item in (value if isinstance(value, list) else [])
        if isinstance(item, dict) and item.get("source") == "page"
    ]


def _kinds_of_matches(value: Any) -> dict[str, Any]:
    """Of a completion's metadata the kinds of the matches."""
    kinds = value.get("_jupyter_types_experimental") if isinstance(value, dict) else None
    rebuilt = [
        {name: check(mapping(kind).get(name, MISSING)) for name, check in _MATCH.items()}
        for kind in (kinds if isinstance(kinds, list) else [])
    ]
    return {"_jupyter_types_experimental": rebuilt} if rebuilt else {}


_position = whole(0, CODE_LIMIT)
_sizes = optional(image_sizes, {})
_MATCH = {
    "start": _position,
    "end": _position,
    "text": at_most(1000),
    "type": optional(at_most(32), ""),
}

# --- kernel -> browser --------------------------------------------------------------------------------------------

Fields = dict[str, Check]
_COMM: Fields = {"comm_id": identifier, "data": optional(mapping, {})}
_COMM_OPEN: Fields = {"comm_id": identifier, "target_name": choice(*TARGETS), "data": optional(mapping, {})}
OUTGOING: dict[tuple[str, str], Fields] = {
    ("iopub", "stream"): {"name": choice("stdout", "stderr"), "text": text},
    ("iopub", "display_data"): {"data": bundle, "metadata": _sizes, "transient": optional(_transient, {})},
    ("iopub", "update_display_data"): {"data": bundle, "metadata": _sizes, "transient": _to_update},
    ("iopub", "execute_result"): {"data": bundle, "metadata": _sizes},
    ("iopub", "error"): {
        "ename": optional(text, "Error"),
        "evalue": optional(text, ""),
        "traceback": optional(lines, []),
    },
    ("iopub", "clear_output"): {"wait": is_true},
    ("iopub", "status"): {"execution_state": choice(*STATES)},
    ("iopub", "execute_input"): {},
    ("iopub", "comm_open"): _COMM_OPEN,
    ("iopub", "comm_msg"): _COMM,
    ("iopub", "comm_close"): _COMM,
    ("shell", "execute_reply"): {"status": choice("ok", "error", "aborted"), "payload": _pages},
    ("shell", "complete_reply"): {
        "status": lambda _: "ok",
        "matches": optional(lines, []),
        "cursor_start": optional(_position, 0),
        "cursor_end": optional(_position, 0),
        "metadata": _kinds_of_matches,
    },
    ("shell", "inspect_reply"): {
        "status": lambda _: "ok",
        "found": is_true,
        "data": optional(bundle, {}),
        "metadata": lambda _: {},
    },
    ("stdin", "input_request"): {"prompt": optional(at_most(PROMPT_LIMIT), ""), "password": is_true},
}
"""What passes of each type: field -> check. Everything else is dropped."""

_FAILED = frozenset({"ename", "evalue", "traceback"})
KNOWN: dict[tuple[str, str], frozenset[str]] = {
    ("iopub", "status"): frozenset({"state"}),
    # The gate says these itself: from the recorded request, its own count, and what was shown as the error.
    ("iopub", "execute_input"): frozenset({"code", "execution_count"}),
    ("iopub", "execute_result"): frozenset({"execution_count", "transient"}),
    ("iopub", "comm_open"): frozenset({"target_module"}),
    ("shell", "complete_reply"): _FAILED,
    ("shell", "inspect_reply"): _FAILED,
    ("shell", "execute_reply"): _FAILED
    | frozenset({"execution_count", "user_expressions", "engine_info", "engine_uuid"}),
}
"""Fields of the protocol that never pass; dropping them is no violation."""
_HEADER = frozenset({"msg_id", "msg_type", "username", "session", "date", "version", "subshell_id"})
_METADATA = frozenset({"started", "dependencies_met", "engine", "status", "version"})

OUTPUTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    kind: lambda given, kind=kind: _rebuilt(OUTGOING["iopub", kind], given)  # type: ignore[misc]
    for kind in ("stream", "display_data", "execute_result", "error")
}
"""Outputs as notebooks and Output widgets hold them."""


def outgoing(channel: str, kind: str, body: dict[str, Any]) -> Message:
    """The canonical form of a kernel's message. Raises Unfit."""
    fields = OUTGOING.get((channel, kind))
    if fields is None:
        raise Unfit("unknown type")
    given = mapping(body.get("content"))
    content = _rebuilt(fields, given)
    return _assembled(channel, kind, content, body, _dropped(channel, kind, given, content, body))


def _rebuilt(fields: Fields, given: dict[str, Any]) -> dict[str, Any]:
    content = {name: check(given.get(name, MISSING)) for name, check in fields.items()}
    if "metadata" in content and "data" in content:
        content["metadata"] = {mime: sizes for mime, sizes in content["metadata"].items() if mime in content["data"]}
    return content


def _dropped(
    channel: str, kind: str, given: dict[str, Any], content: dict[str, Any], body: dict[str, Any]
) -> tuple[str, ...]:
    """What of a kernel's message does not pass though an honest kernel would not send it."""
    found = []
    if given.keys() - content.keys() - KNOWN.get((channel, kind), frozenset()):
        found.append(f"field of {kind}")
    if content.get("data") is not None and kind not in COMMS and given.get("data", {}).keys() - content["data"].keys():
        found.append("output type")
    for part, known in (("header", _HEADER), ("metadata", _METADATA)):
        if isinstance(body.get(part), dict) and body[part].keys() - known:
            found.append(f"field of {part}")
    if body.get("buffers") and kind not in COMMS:
        found.append("buffers")
    return tuple(found)


def _assembled(
    channel: str, kind: str, content: dict[str, Any], body: dict[str, Any], dropped: tuple[str, ...] = ()
) -> Message:
    """Widgets alone have buffers, and their opening a protocol version; nothing else of the metadata passes."""
    if kind not in COMMS:
        return Message(channel, kind, content, dropped=dropped)
    given = body.get("metadata")
    version = given.get("version") if isinstance(given, dict) and kind == "comm_open" else None
    metadata = {"version": version} if isinstance(version, str) and _VERSION.match(version) else {}
    buffers = tuple(bytes(buffer) for buffer in body.get("buffers") or ())
    return Message(channel, kind, content, metadata, buffers, dropped)


# --- browser -> kernel --------------------------------------------------------------------------------------------

INCOMING: dict[tuple[str, str], Fields] = {
    ("shell", "execute_request"): {
        "code": _code,
        "silent": is_true,
        "store_history": not_false,
        # Expressions would be a second way to run code beside the one that is shown and recorded.
        "user_expressions": lambda _: {},
        "allow_stdin": is_true,
        "stop_on_error": not_false,
    },
    ("shell", "complete_request"): {"code": _code, "cursor_pos": _position},
    ("shell", "inspect_request"): {"code": _code, "cursor_pos": _position, "detail_level": optional(whole(0, 1), 0)},
    ("shell", "comm_open"): _COMM_OPEN,
    ("shell", "comm_msg"): _COMM,
    ("shell", "comm_close"): _COMM,
    ("stdin", "input_reply"): {"status": lambda _: "ok", "value": text},
    # Answered by the gate itself; the kernel never sees them.
    ("shell", "kernel_info_request"): {},
    ("control", "kernel_info_request"): {},
    ("shell", "is_complete_request"): {},
    ("shell", "history_request"): {},
    ("shell", "comm_info_request"): {},
}


REFUSED = frozenset(
    {
        # Evaluates code, shows sources and variables.
        *("debug_request", "debug_reply", "debug_event"),
        # A second road for code beside the one that is recorded in order.
        *("create_subshell_request", "delete_subshell_request", "list_subshell_request"),
        *("create_subshell_reply", "delete_subshell_reply", "list_subshell_reply"),
        # The server does these itself, and records them.
        *("interrupt_request", "shutdown_request", "interrupt_reply", "shutdown_reply"),
        # Tell of ports and of the host.
        *("connect_request", "connect_reply", "usage_request", "usage_reply"),
        # The gate's own answers stand in their place.
        *("kernel_info_reply", "is_complete_reply", "history_reply", "comm_info_reply"),
    }
)
"""Types of the protocol that are known and were decided against: they pass in no direction on any channel."""


def incoming(channel: str, kind: str, body: dict[str, Any]) -> Message:
    """The canonical form of a browser's message. Raises Unfit."""
    fields = INCOMING.get((channel, kind))
    if fields is None:
        raise Unfit("not allowed here")
    given = mapping(body.get("content"))
    content = _rebuilt(fields, given)
    if kind == "execute_request":
        content["store_history"] = content["store_history"] and not content["silent"]
    beside = given.keys() - content.keys() - KNOWN.get(("iopub", kind), frozenset()) if fields else ()
    dropped = ("field from a browser",) if beside or given.get("user_expressions") else ()
    message = _assembled(channel, kind, content, body, dropped)
    encode(message.content)
    return message


def client_header(header: Any) -> dict[str, str]:
    """Id, type and session of a browser's message: what answers to it carry as their parent. Raises Unfit."""
    header = mapping(header)
    return {
        "msg_id": identifier(header.get("msg_id")),
        "msg_type": identifier(header.get("msg_type")),
        "session": identifier(header.get("session") or "none"),
    }
