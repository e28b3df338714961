"""How much of a cell's output is shown: bytes per cell and per day, sizes of pictures, types.

One `Meter` counts one request (a cell run, a completion, a widget event ...). Everything that a browser would see of a
message counts: names, metadata and buffers too. Pure: the rule in force comes in as a `View`.

Rules
- Where the view is sealed (revoked, denied, too old, or a label of which nothing free is shown), nothing is shown.
- Above public only the guarded types are shown, each in its reduced form; widgets by their own list (`widgets`).
- A picture may be as large as the rule says; it counts for the day, not for the cell.
- Everything else counts for cell and day. A stream is cut where the budget ends; anything else is withheld whole.
  From then on nothing more of the request is shown.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from strongroom_policy.labels import Label
from strongroom_policy.sizes import size

from strongroom_lab import mime, widgets
from strongroom_lab.canon import COMMS, Message
from strongroom_lab.display import View
from strongroom_lab.values import Unfit, encode

OUTPUTS_LISTED = 200
DISPLAYS = frozenset({"display_data", "update_display_data", "execute_result"})
BUNDLES = DISPLAYS | {"inspect_reply", "execute_reply"}
"""Types whose `data` is a MIME bundle (of an execute reply: the pager's)."""
FINEST = 1 << 10
UNKNOWN_TYPE = "Output of its type is not shown here, for example JavaScript."
MIME = {
    "error": "application/vnd.jupyter.error",
    "comm_open": "application/vnd.jupyter.comm",
    "comm_msg": "application/vnd.jupyter.comm",
    "comm_close": "application/vnd.jupyter.comm",
    "execute_reply": "application/vnd.jupyter.pager",
    "complete_reply": "application/vnd.jupyter.completion",
    "inspect_reply": "application/vnd.jupyter.inspection",
    "input_request": "application/vnd.jupyter.prompt",
    "clear_output": "application/vnd.jupyter.clear",
}


@dataclass(slots=True)
class Outputs:
    """What was shown, as the cell's closing entry records it: type, bytes, SHA-256. Streams as one item each."""

    items: list[dict[str, Any]] = field(default_factory=list)
    streams: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def add(self, mime: str, raw: bytes) -> None:
        if len(self.items) < OUTPUTS_LISTED:
            self.items.append({"mime": mime, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()})
        else:
            self.stream("application/vnd.strongroom.further", raw)

    def stream(self, mime: str, raw: bytes) -> None:
        digest, size = self.streams.get(mime, (hashlib.sha256(), 0))
        digest.update(raw)
        self.streams[mime] = (digest, size + len(raw))

    def note(self, message: Message) -> None:
        """Add a message that is shown."""
        if message.type == "stream":
            self.stream(f"application/vnd.jupyter.{message.content['name']}", message.content["text"].encode())
        elif message.type in DISPLAYS:
            for mime, item in message.content["data"].items():
                self.add(mime, item.encode() if isinstance(item, str) else encode(item))
        elif message.type in MIME:
            self.stream(MIME[message.type], message.body + b"".join(message.buffers))

    def as_json(self) -> list[dict[str, Any]]:
        streams = [
            {"mime": mime, "bytes": size, "sha256": digest.hexdigest()} for mime, (digest, size) in self.streams.items()
        ]
        return [*streams, *self.items]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What of a message may be shown, what that costs, and why the rest may not (`reason`, empty if all may)."""

    part: Message | None
    cost: int = 0
    cell: int = 0
    """The part of `cost` that counts for the cell."""
    withheld: int = 0
    reason: str = ""
    closes: bool = False
    """Whether nothing more of the request is shown after this."""
    left_out: int = 0
    """Parts of a widget's state that no schema knows."""


@dataclass(slots=True)
class Meter:
    """The bytes of one request: shown, withheld, and what counts for its cell budget."""

    shown: int = 0
    withheld: int = 0
    charged: int = 0
    """Bytes shown above public: they count for the day."""
    reason: str = ""
    """Why something was withheld, in words; empty while nothing was."""
    rule: str = ""
    closed: bool = False
    outputs: Outputs = field(default_factory=Outputs)
    _cell_used: int = 0

    def judge(self, message: Message, view: View, comms: Mapping[str, widgets.Comm] | None = None) -> Verdict:
        """What of `message` may be shown under `view`; `comms` are the open widgets. Nothing is counted yet."""
        why_not = view.sealed or (self.reason if self.closed else "")
        if not why_not and message.type in DISPLAYS and message.dropped and not message.content["data"]:
            why_not = UNKNOWN_TYPE
        if why_not:
            return Verdict(None, withheld=message.cost, reason=why_not)
        if view.label == Label.PUBLIC:
            return self._fitting(message, _pictures(message), "", view, message.cost)
        try:
            if message.type in COMMS:
                found = widgets.reduced(message, comms or {}, view.display.image_bytes)
                verdict = self._fitting(found.message, found.pictures, "", view, message.cost)
                return replace(verdict, left_out=found.left_out)
        except Unfit:
            return Verdict(None, withheld=message.cost, reason=f"A widget of a kind that is not shown at {view.label}.")
        reduced, reason = _reduced(message, view, comms or {})
        if message.type in BUNDLES and message.content.get("data") and not reduced.content["data"]:
            return Verdict(None, withheld=message.cost, reason=reason or _unshown(message, view))
        return self._fitting(reduced, _pictures(reduced), reason, view, message.cost)

    def _fitting(self, message: Message, pictures: int, reason: str, view: View, whole: int) -> Verdict:
        """The verdict on a reduced message that cost `whole` before; `reason`: why parts of it are left out."""
        cost = message.cost
        cell = view.display.cell_bytes
        cell_left = None if cell is None else max(0, cell - self._cell_used)
        over_cell = cell_left is not None and cost - pictures > cell_left
        over_day = view.day_left is not None and cost > view.day_left
        if not over_cell and not over_day:
            left_out = max(0, whole - cost) if reason else 0
            return Verdict(message, cost, cost - pictures, left_out, reason)
        spent = "The display budget of this day is spent."
        if over_cell:
            spent = f"The display budget of a cell, {size(cell or 0)}, is spent."
        part = None
        if message.type == "stream":
            part = cut(message, min(value for value in (cell_left, view.day_left) if value is not None))
        shown = part.cost if part is not None else 0
        return Verdict(part, shown, shown, cost - shown, spent, closes=True)

    def book(self, verdict: Verdict, view: View) -> None:
        """Count what is shown and what is not."""
        if verdict.part is not None:
            self.shown += verdict.cost
            if view.label > Label.PUBLIC:
                self.charged += verdict.cost
            if view.display.cell_bytes is not None:
                self._cell_used += verdict.cell
        if verdict.reason:
            self.withhold(verdict.withheld, verdict.reason, view.display.rule)
        self.closed = self.closed or verdict.closes

    def take_back(self, verdict: Verdict, reason: str) -> None:
        """What was booked could not be charged, so it is not shown."""
        self.shown -= verdict.cost
        self.charged -= verdict.cost
        self.withhold(verdict.cost, reason, "")

    def withhold(self, amount: int, reason: str, rule: str) -> None:
        self.withheld += amount
        if not self.reason:
            self.reason, self.rule = reason, rule


def _reduced(message: Message, view: View, comms: Mapping[str, widgets.Comm]) -> tuple[Message, str]:
    """The message in the form in which it is shown above public, and why parts are left out."""
    if message.type not in BUNDLES or "data" not in message.content:
        return message, ""
    limit = view.display.image_bytes
    guarded = mime.guarded(message.content["data"])
    data = guarded.data
    large = [
        kind for kind in mime.IMAGES & data.keys() if limit is not None and mime.item_bytes(kind, data[kind]) > limit
    ]
    data = {kind: item for kind, item in data.items() if kind not in large and not _is_unknown_view(kind, item, comms)}
    changes: dict[str, Any] = {"data": data}
    if "metadata" in message.content:
        changes["metadata"] = {kind: sizes for kind, sizes in message.content["metadata"].items() if kind in data}
    reduced = message.with_content(**changes)
    reason = f"Active content is not shown at label {view.label}." if guarded.reduced else ""
    if large:
        reason = f"A picture is larger than the {size(limit or 0)} allowed."
    return reduced, reason


def _is_unknown_view(kind: str, item: Any, comms: Mapping[str, widgets.Comm]) -> bool:
    """Whether this is the place of a widget that is not shown."""
    return kind == mime.WIDGET_VIEW and item["model_id"] not in comms


def _pictures(message: Message) -> int:
    if message.type not in DISPLAYS:
        return 0
    return sum(len(item) for kind, item in message.content["data"].items() if kind in mime.IMAGES)


def _unshown(message: Message, view: View) -> str:
    kinds = ", ".join(sorted(message.content["data"]))
    return f"Output of type {kinds} is not shown at label {view.label}."


def cut(message: Message, left: int) -> Message | None:
    """The longest beginning of a stream message that costs at most `left` bytes; None where not one character fits."""
    whole = message.content["text"][: max(0, left)]
    count = bisect_right(range(len(whole) + 1), left, key=lambda n: message.with_content(text=whole[:n]).cost) - 1
    return message.with_content(text=whole[:count]) if count > 0 else None


def coarse(amount: int) -> int:
    """Rounded up to 1 KiB, 4 KiB, 16 KiB ...: an exact count of what was withheld would itself be a message."""
    step = FINEST
    while step < amount:
        step *= 4
    return step
