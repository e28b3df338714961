"""Canonical kernel messages: explicit schemas for each channel and type, in both directions.

No message passes as it came. What a schema knows is rebuilt from checked values; what it does not know is dropped; ids,
dates, headers and parents are the gate's own. This module is pure: it knows neither budgets nor sockets.

Rules
- A type that is not in `OUTGOING` or `INCOMING` for its channel raises Unfit.
- Buffers and comm data exist for comm messages only; comm targets are the widgets' own (`TARGETS`).
- Text is valid Unicode, numbers are finite, identifiers are short and of a fixed alphabet.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import nh3

IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){0,3}\Z")
TARGETS = ("jupyter.widget", "jupyter.widget.control", "jupyter.widget.version")
STATES = ("busy", "idle")
CODE_LIMIT = 1 << 20
PROMPT_LIMIT = 1000
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
IMAGES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
"""Image types and how their bytes begin."""
PUBLIC_TYPES = frozenset(
    {
        "text/plain",
        "text/html",
        "text/markdown",
        "text/latex",
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/svg+xml",
        "application/json",
        WIDGET_VIEW,
    }
)
"""JavaScript is on no list: Lab would run it with the analyst's login."""
GUARDED_TYPES = frozenset({"text/plain", "text/html", "image/png", "image/jpeg", WIDGET_VIEW})
TABLE_TAGS = {
    *(
        "table",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "th",
        "td",
        "caption",
        "colgroup",
        "col",
        "div",
        "span",
        "p",
        "br",
        "hr",
    ),
    *("b", "strong", "i", "em", "u", "s", "sub", "sup", "small", "code", "pre", "kbd", "samp", "var"),
    *("ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "details", "summary"),
}
TABLE_ATTRIBUTES = {
    "*": {"title"},
    "table": {"border", "class"},
    "th": {"colspan", "rowspan", "scope", "align"},
    "td": {"colspan", "rowspan", "align"},
    "col": {"span"},
    "colgroup": {"span"},
    "ol": {"start"},
    "details": {"open"},
}


class Unfit(Exception):  # noqa: N818 - a verdict on a message, not a fault of the program
    """A message that no schema knows, or whose content does not fit its schema."""


@dataclass(frozen=True)
class Message:
    """A canonical message without header: `content` and `metadata` hold checked values only."""

    channel: str
    type: str
    content: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    buffers: tuple[bytes, ...] = ()

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


def encode(value: Any) -> bytes:
    """JSON as it goes to a browser. Raises Unfit for what JSON cannot say."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    except (ValueError, TypeError, RecursionError) as error:
        raise Unfit("not representable") from error


# --- checked values -----------------------------------------------------------------------------------------------


def text(value: Any, limit: int | None = None) -> str:
    if not isinstance(value, str):
        raise Unfit("text expected")
    clean: str = value.encode("utf-8", "replace").decode("utf-8")
    return clean if limit is None else clean[:limit]


def identifier(value: Any) -> str:
    if not isinstance(value, str) or not IDENTIFIER.match(value):
        raise Unfit("identifier expected")
    return value


def integer(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Unfit("integer expected")
    return value


def one_of(value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise Unfit("unknown value")
    return str(value)


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unfit("object expected")
    return value


def lines(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Unfit("list expected")
    return [text(item) for item in value]


# --- MIME bundles -------------------------------------------------------------------------------------------------


def joined(value: Any) -> str:
    """Text that may come as a list of lines."""
    return "".join(lines(value)) if isinstance(value, list) else text(value)


def image_bytes(mime: str, value: Any) -> bytes:
    """The bytes of a Base64 image that is what it says it is. Raises Unfit."""
    try:
        raw = base64.b64decode("".join(joined(value).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unfit("not Base64") from error
    if not raw.startswith(IMAGES[mime]):
        raise Unfit("not that kind of image")
    return raw


def _item(mime: str, value: Any) -> Any:
    if mime in IMAGES:
        return base64.b64encode(image_bytes(mime, value)).decode("ascii")
    if mime == WIDGET_VIEW:
        view = mapping(value)
        return {"version_major": 2, "version_minor": 0, "model_id": identifier(view.get("model_id"))}
    if mime == "application/json":
        return value
    return joined(value)


def bundle(value: Any) -> dict[str, Any]:
    """The known types of a MIME bundle; a type that does not hold what it says is left out."""
    result: dict[str, Any] = {}
    for mime, item in mapping(value).items():
        if mime in PUBLIC_TYPES:
            try:
                result[mime] = _item(mime, item)
            except Unfit:
                continue
    return result


def image_sizes(value: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Of a bundle's metadata only the sizes of images."""
    result: dict[str, Any] = {}
    for mime in IMAGES.keys() & data.keys():
        given = value.get(mime) if isinstance(value, dict) else None
        if isinstance(given, dict):
            sizes = {name: given[name] for name in ("width", "height") if _is_size(given.get(name))}
            if sizes:
                result[mime] = sizes
    return result


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10_000  # noqa: PLR2004 - pixels


def guarded(data: dict[str, Any]) -> dict[str, Any]:
    """What of a bundle may be shown above public: no active content, HTML reduced to text and tables.

    Markdown is shown as its source: pages render the HTML and the links in it.
    """
    result = {mime: item for mime, item in data.items() if mime in GUARDED_TYPES}
    if "text/markdown" in data:
        result["text/plain"] = data["text/markdown"]
    if "text/html" in result:
        result["text/html"] = nh3.clean(
            result["text/html"],
            tags=TABLE_TAGS,
            attributes=TABLE_ATTRIBUTES,
            clean_content_tags={"script", "style"},
            url_schemes=set(),
            link_rel=None,
        )
    return result


# --- kernel -> browser --------------------------------------------------------------------------------------------


def _stream(content: dict[str, Any]) -> dict[str, Any]:
    return {"name": one_of(content.get("name"), ("stdout", "stderr")), "text": text(content.get("text"))}


def _display(content: dict[str, Any]) -> dict[str, Any]:
    data = bundle(content.get("data"))
    result: dict[str, Any] = {"data": data, "metadata": image_sizes(content.get("metadata"), data), "transient": {}}
    transient = content.get("transient")
    if isinstance(transient, dict) and transient.get("display_id") is not None:
        result["transient"] = {"display_id": identifier(transient["display_id"])}
    return result


def _update_display(content: dict[str, Any]) -> dict[str, Any]:
    result = _display(content)
    if not result["transient"]:
        raise Unfit("nothing to update")
    return result


def _execute_result(content: dict[str, Any]) -> dict[str, Any]:
    data = bundle(content.get("data"))
    return {"data": data, "metadata": image_sizes(content.get("metadata"), data)}


def _error(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "ename": text(content.get("ename", "Error")),
        "evalue": text(content.get("evalue", "")),
        "traceback": lines(content.get("traceback", [])),
    }


def _clear(content: dict[str, Any]) -> dict[str, Any]:
    return {"wait": content.get("wait") is True}


def _status(content: dict[str, Any]) -> dict[str, Any]:
    return {"execution_state": one_of(content.get("execution_state"), STATES)}


def _nothing(_content: dict[str, Any]) -> dict[str, Any]:
    return {}


def _comm_open(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "comm_id": identifier(content.get("comm_id")),
        "target_name": one_of(content.get("target_name"), TARGETS),
        "data": mapping(content.get("data", {})),
    }


def _comm_message(content: dict[str, Any]) -> dict[str, Any]:
    return {"comm_id": identifier(content.get("comm_id")), "data": mapping(content.get("data", {}))}


def _execute_reply(content: dict[str, Any]) -> dict[str, Any]:
    payload = content.get("payload")
    pages = [
        {"source": "page", "data": bundle(item.get("data", {})), "start": 0}
        for item in (payload if isinstance(payload, list) else [])
        if isinstance(item, dict) and item.get("source") == "page"
    ]
    return {"status": one_of(content.get("status"), ("ok", "error", "aborted")), "payload": pages}


def _matches(value: Any) -> list[dict[str, Any]]:
    result = []
    for match in value if isinstance(value, list) else []:
        match = mapping(match)  # noqa: PLW2901 - narrowed, not changed
        result.append(
            {
                "start": integer(match.get("start"), 0, CODE_LIMIT),
                "end": integer(match.get("end"), 0, CODE_LIMIT),
                "text": text(match.get("text"), 1000),
                "type": text(match.get("type", ""), 32),
            }
        )
    return result


def _complete_reply(content: dict[str, Any]) -> dict[str, Any]:
    if content.get("status") != "ok":
        return {"status": "ok", "matches": [], "cursor_start": 0, "cursor_end": 0, "metadata": {}}
    metadata = content.get("metadata")
    kinds = _matches(metadata.get("_jupyter_types_experimental")) if isinstance(metadata, dict) else []
    return {
        "status": "ok",
        "matches": lines(content.get("matches", [])),
        "cursor_start": integer(content.get("cursor_start"), 0, CODE_LIMIT),
        "cursor_end": integer(content.get("cursor_end"), 0, CODE_LIMIT),
        "metadata": {"_jupyter_types_experimental": kinds} if kinds else {},
    }


def _inspect_reply(content: dict[str, Any]) -> dict[str, Any]:
    found = content.get("status") == "ok" and content.get("found") is True
    data = bundle(content.get("data", {})) if found else {}
    return {"status": "ok", "found": found, "data": data, "metadata": {}}


def _input_request(content: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": text(content.get("prompt", ""), PROMPT_LIMIT), "password": content.get("password") is True}


Schema = Callable[[dict[str, Any]], dict[str, Any]]
OUTGOING: dict[tuple[str, str], Schema] = {
    ("iopub", "stream"): _stream,
    ("iopub", "display_data"): _display,
    ("iopub", "update_display_data"): _update_display,
    ("iopub", "execute_result"): _execute_result,
    ("iopub", "error"): _error,
    ("iopub", "clear_output"): _clear,
    ("iopub", "status"): _status,
    ("iopub", "execute_input"): _nothing,
    ("iopub", "comm_open"): _comm_open,
    ("iopub", "comm_msg"): _comm_message,
    ("iopub", "comm_close"): _comm_message,
    ("shell", "execute_reply"): _execute_reply,
    ("shell", "complete_reply"): _complete_reply,
    ("shell", "inspect_reply"): _inspect_reply,
    ("stdin", "input_request"): _input_request,
}
COMMS = frozenset({"comm_open", "comm_msg", "comm_close"})


def outgoing(channel: str, kind: str, body: dict[str, Any]) -> Message:
    """The canonical form of a kernel's message (`body`: content, metadata, buffers as received). Raises Unfit."""
    schema = OUTGOING.get((channel, kind))
    if schema is None:
        raise Unfit("unknown type")
    content = schema(mapping(body.get("content")))
    return _assemble(channel, kind, content, body)


def _assemble(channel: str, kind: str, content: dict[str, Any], body: dict[str, Any]) -> Message:
    """Widgets alone have buffers, and their opening a protocol version; nothing else of the metadata passes."""
    if kind not in COMMS:
        return Message(channel, kind, content)
    given = body.get("metadata")
    version = given.get("version") if isinstance(given, dict) and kind == "comm_open" else None
    metadata = {"version": version} if isinstance(version, str) and VERSION.match(version) else {}
    return Message(channel, kind, content, metadata, tuple(bytes(buffer) for buffer in body.get("buffers") or ()))


# --- browser -> kernel --------------------------------------------------------------------------------------------


def _execute(content: dict[str, Any]) -> dict[str, Any]:
    silent = content.get("silent") is True
    return {
        "code": _code(content),
        "silent": silent,
        "store_history": not silent and content.get("store_history") is not False,
        # Expressions would be a second way to run code beside the one that is shown and recorded.
        "user_expressions": {},
        "allow_stdin": content.get("allow_stdin") is True,
        "stop_on_error": content.get("stop_on_error") is not False,
    }


def _code(content: dict[str, Any]) -> str:
    code = text(content.get("code"))
    if len(code.encode("utf-8")) > CODE_LIMIT:
        raise Unfit("code is longer than 1 MiB")
    return code


def _complete(content: dict[str, Any]) -> dict[str, Any]:
    return {"code": _code(content), "cursor_pos": integer(content.get("cursor_pos"), 0, CODE_LIMIT)}


def _inspect(content: dict[str, Any]) -> dict[str, Any]:
    return {**_complete(content), "detail_level": integer(content.get("detail_level", 0), 0, 1)}


def _input_reply(content: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ok", "value": text(content.get("value"))}


INCOMING: dict[tuple[str, str], Schema] = {
    ("shell", "execute_request"): _execute,
    ("shell", "complete_request"): _complete,
    ("shell", "inspect_request"): _inspect,
    ("shell", "comm_open"): _comm_open,
    ("shell", "comm_msg"): _comm_message,
    ("shell", "comm_close"): _comm_message,
    ("stdin", "input_reply"): _input_reply,
    # Answered by the gate itself; the kernel never sees them.
    ("shell", "kernel_info_request"): _nothing,
    ("control", "kernel_info_request"): _nothing,
    ("shell", "is_complete_request"): _nothing,
    ("shell", "history_request"): _nothing,
    ("shell", "comm_info_request"): _nothing,
}


def incoming(channel: str, kind: str, body: dict[str, Any]) -> Message:
    """The canonical form of a browser's message. Raises Unfit."""
    schema = INCOMING.get((channel, kind))
    if schema is None:
        raise Unfit("not allowed here")
    content = schema(mapping(body.get("content")))
    message = _assemble(channel, kind, content, body)
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
