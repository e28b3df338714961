"""What browsers asked of one kernel: each request on its way, and those that the kernel works on."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from strongroom_hub.problems import Problem

from strongroom_lab.budget import Meter
from strongroom_lab.canon import Message
from strongroom_lab.gate.pages import PROTOCOL, Gate
from strongroom_lab.values import encode
from strongroom_lab.widgets import Comm, model_of
from strongroom_lab.withheld import Kept

REQUESTS_KEPT = 1000
CHECKPOINT_LIMIT = 4096
"""Characters: three lines and a few signatures."""
KINDS = {
    "execute_request": "execute",
    "complete_request": "complete",
    "inspect_request": "inspect",
    "comm_open": "comm",
    "comm_msg": "comm",
    "comm_close": "comm",
    "input_reply": "input",
}


@dataclass(slots=True)
class Request:
    """One message of a browser on its way: what was recorded, what the kernel answered, what was shown."""

    client: Gate
    header: dict[str, str]
    message: Message
    notebook: str
    cell: str
    number: int = 0
    """Its place in the order of arrival."""
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    """Its message id towards the kernel."""
    entry: int = 0
    seal: dict[str, Any] = field(default_factory=dict)
    """What pages are told of its entry: number, time, and the checkpoint of the log that covered it."""
    begun: float = field(default_factory=time.monotonic)
    meter: Meter = field(default_factory=Meter)
    busy: bool = False
    idle: bool = False
    input_shown: bool = False
    asking: bool = False
    reply: Message | None = None
    error: dict[str, Any] | None = None
    count: int = 0
    """The execution count, which the gate gives."""
    told: bool = False
    """Whether pages were told that something of it is withheld."""
    places: int = 0
    """Outputs in whose places a notice stands."""
    kept: Kept | None = None
    """The text that its summing notice offers for review."""
    summed: int = 0
    """Withheld bytes that the summing notice tells."""
    sealed: bool = False
    """Whether the one notice of a cell that may tell nothing stands."""
    sealed_id: str = field(default_factory=lambda: secrets.token_hex(8))
    """Under which all that such a cell holds back is reviewed."""
    done: bool = False

    @property
    def kind(self) -> str:
        return KINDS[self.message.type]

    @property
    def parent(self) -> dict[str, Any]:
        """The header that answers carry as their parent: the browser's own, as it is known here."""
        return {**self.header, "username": "", "version": PROTOCOL}


class InFlight:
    """The requests that a kernel got and may still answer, its open comms, and how many cells it ran."""

    def __init__(self) -> None:
        self.known: OrderedDict[str, Request] = OrderedDict()
        """By our message id towards the kernel, the last `REQUESTS_KEPT`."""
        self.running: dict[str, Request] = {}
        self.comms: dict[str, Comm] = {}
        """Open comms by id: those that pages know of."""
        self.count = 0
        """Cells that the kernel has begun since it started: the execution count, which is not the kernel's to give."""
        self._last_entry = 0

    @property
    def current_entry(self) -> int:
        """The entry of the request that the kernel works on, else of the last one that it got."""
        return next((request.entry for request in self.running.values()), self._last_entry)

    @property
    def working(self) -> Request | None:
        """The oldest request that the kernel works on."""
        return next(iter(self.running.values()), None)

    def sent(self, request: Request) -> None:
        """Note a request that goes to the kernel now."""
        self._last_entry = request.entry
        message = request.message
        if request.kind == "input":
            return
        if message.type == "comm_open":
            self.comms[message.content["comm_id"]] = Comm(message.content["target_name"], model_of(message))
        elif message.type == "comm_close":
            self.comms.pop(message.content["comm_id"], None)
        self.known[request.id] = request
        self.running[request.id] = request
        while len(self.known) > REQUESTS_KEPT:
            self.known.popitem(last=False)
        request.begun = time.monotonic()

    def begin(self, request: Request) -> None:
        """Give a cell that the kernel begins its execution count."""
        self.count += request.message.content["store_history"]
        request.count = self.count

    def page_id(self, sent: str) -> str:
        """The id under which pages know the request that the kernel knows as `sent`; empty where there is none."""
        request = self.known.get(sent)
        return request.header["msg_id"] if request is not None else ""

    def forget(self) -> None:
        """The kernel is gone."""
        self.known.clear()
        self.running.clear()
        self.comms.clear()
        self.count = 0


def recorded(message: Message) -> str:
    """What the audit log keeps of a message: the code, or a whole widget message with the hashes of its buffers."""
    if "code" in message.content:
        return str(message.content["code"])
    if message.type == "input_reply":
        return str(message.content["value"])
    hashes = [hashlib.sha256(buffer).hexdigest() for buffer in message.buffers]
    return encode({"type": message.type, **message.content, "buffers": hashes}).decode("utf-8")


def checkpoint_of(answer: dict[str, Any]) -> str | None:
    """The signed note that covers the entry in an answer of control; None where it told none. Pages check it."""
    checkpoint = answer.get("checkpoint")
    return checkpoint if isinstance(checkpoint, str) and len(checkpoint) <= CHECKPOINT_LIMIT else None


def entry_of(answer: dict[str, Any]) -> int:
    """The entry's index in an answer of control. Raises Problem where there is none: then nothing was recorded."""
    entry = answer.get("entry")
    if isinstance(entry, bool) or not isinstance(entry, int):
        raise Problem.from_json(None)
    return entry
