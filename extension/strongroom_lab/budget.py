"""How much of a cell's output is shown: bytes per cell and per day, sizes of pictures, types.

One `Meter` counts one request (a cell run, a completion, a widget event ...). Everything that a browser would see of a
message counts: names, metadata and buffers too. Pure: the rule in force comes in as a `View`.

Rules
- Where the view is silent (revoked, denied, too old), nothing is shown.
- Above public only the guarded types are shown, HTML reduced to text and tables.
- A picture may be as large as the rule says; it counts for the day, not for the cell.
- Everything else counts for cell and day. A stream is cut where the budget ends; anything else is withheld whole.
  From then on nothing more of the request is shown.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from strongroom_policy.labels import Label
from strongroom_policy.sizes import size

from strongroom_lab import canon
from strongroom_lab.canon import Message
from strongroom_lab.workspace import View

OUTPUTS_LISTED = 200
DISPLAYS = frozenset({"display_data", "update_display_data", "execute_result"})
BUNDLES = DISPLAYS | {"inspect_reply", "execute_reply"}
"""Types whose `data` is a MIME bundle (of an execute reply: the pager's)."""
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
NEXT = (
    "Print less, or write the result to a file in ~/work and ask for its release in the Exports panel. "
    "The kernel goes on running and keeps everything."
)


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
                self.add(mime, item.encode() if isinstance(item, str) else canon.encode(item))
        elif message.type in MIME:
            self.stream(MIME[message.type], message.body + b"".join(message.buffers))

    def as_json(self) -> list[dict[str, Any]]:
        streams = [
            {"mime": mime, "bytes": size, "sha256": digest.hexdigest()} for mime, (digest, size) in self.streams.items()
        ]
        return [*streams, *self.items]


@dataclass(slots=True)
class Meter:
    """The bytes of one request: shown, withheld, and what counts for its cell budget."""

    shown: int = 0
    withheld: int = 0
    charged: int = 0
    """Bytes shown above public since the last report: they count for the day."""
    reason: str = ""
    """Why something was withheld, in words; empty while nothing was."""
    rule: str = ""
    closed: bool = False
    outputs: Outputs = field(default_factory=Outputs)
    _cell_used: int = 0

    def admit(self, message: Message, view: View) -> Message | None:
        """The part of `message` that may be shown under `view`, counted; None where nothing may."""
        cost = message.cost
        if view.silence:
            self._withhold(cost, view.silence, view.display.rule)
            return None
        if self.closed:
            self.withheld += cost
            return None
        if view.label > Label.PUBLIC:
            reduced = self._guard(message, view)
            if reduced is None:
                return None
            message = reduced
        return self._fit(message, view)

    def _guard(self, message: Message, view: View) -> Message | None:
        """Drop types that are not shown above public and pictures that are too large."""
        before = message.cost
        if message.type not in BUNDLES or "data" not in message.content:
            return message
        data = canon.guarded(message.content["data"])
        limit = view.display.image_bytes
        large = [
            mime for mime in canon.IMAGES if mime in data and limit is not None and len(data[mime]) * 3 // 4 > limit
        ]
        for mime in large:
            del data[mime]
        given = message.content["data"]
        sizes = canon.image_sizes(message.content.get("metadata"), data)
        message = message.with_content(data=data, **({"metadata": sizes} if "metadata" in message.content else {}))
        if large:
            self._withhold(
                max(0, before - message.cost),
                f"A picture is larger than the {size(limit or 0)} allowed.",
                view.display.rule,
            )
        if given and not data:
            if not large:
                kinds = ", ".join(sorted(given))
                self._withhold(before, f"Output of type {kinds} is not shown at label {view.label}.", view.display.rule)
            return None
        return message

    def _fit(self, message: Message, view: View) -> Message | None:
        cost = message.cost
        pictures = 0
        if message.type in DISPLAYS:
            pictures = sum(len(item) for mime, item in message.content["data"].items() if mime in canon.IMAGES)
        cell = view.display.cell_bytes
        cell_left = None if cell is None else max(0, cell - self._cell_used)
        over_cell = cell_left is not None and cost - pictures > cell_left
        over_day = view.day_left is not None and cost > view.day_left
        if not over_cell and not over_day:
            return self._show(message, cost, cost - pictures, view)
        reason = "The display budget of this day is spent."
        if over_cell:
            reason = f"The display budget of a cell, {size(cell or 0)}, is spent."
        part = None
        if message.type == "stream":
            left = min(value for value in (cell_left, view.day_left) if value is not None)
            part = cut(message, left)
        if part is not None:
            self._show(part, part.cost, part.cost, view)
        self._withhold(cost - (part.cost if part else 0), reason, view.display.rule)
        self.closed = True
        return part

    def _show(self, message: Message, cost: int, cell: int, view: View) -> Message:
        self.shown += cost
        if view.label > Label.PUBLIC:
            self.charged += cost
        if view.display.cell_bytes is not None:
            self._cell_used += cell
        self.outputs.note(message)
        return message

    def _withhold(self, amount: int, reason: str, rule: str) -> None:
        self.withheld += amount
        if not self.reason:
            self.reason, self.rule = reason, rule

    def notice(self) -> str:
        """What the person reads where something was withheld."""
        rule = f" Rule {self.rule}." if self.rule else ""
        return (
            f"Strongroom withheld output of this cell: {size(coarse(self.withheld))} not shown, "
            f"{size(self.shown)} shown. "
            f"{self.reason}{rule} {NEXT}"
        )


def cut(message: Message, left: int) -> Message | None:
    """The longest beginning of a stream message that costs at most `left` bytes; None where not one character fits."""
    whole = message.content["text"][: max(0, left)]
    count = bisect_right(range(len(whole) + 1), left, key=lambda n: message.with_content(text=whole[:n]).cost) - 1
    return message.with_content(text=whole[:count]) if count > 0 else None


def coarse(amount: int) -> int:
    """Two significant digits, rounded up: an exact count of what was withheld would itself be a message."""
    step = int("1" + "0" * max(0, len(str(amount)) - 2))
    return -(-amount // step) * step
