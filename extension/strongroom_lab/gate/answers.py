"""What the gate says in the kernel's place: constants, refusals, and the end of requests that never reached it."""

from __future__ import annotations

from typing import Any

from strongroom_lab import wire
from strongroom_lab.canon import Message
from strongroom_lab.gate.pages import PROTOCOL, Gate, Pages, header, status_message
from strongroom_lab.gate.requests import InFlight, Request

KERNEL_INFO = {
    "status": "ok",
    "protocol_version": PROTOCOL,
    "implementation": "strongroom",
    "implementation_version": "1",
    "language_info": {
        "name": "python",
        "version": "3",
        "mimetype": "text/x-python",
        "codemirror_mode": {"name": "ipython", "version": 3},
        "pygments_lexer": "ipython3",
        "nbconvert_exporter": "python",
        "file_extension": ".py",
    },
    "banner": "Strongroom",
    "help_links": [],
    "supported_features": [],
}
"""Constant: a kernel's own answer could carry anything."""
EMPTY: dict[str, dict[str, Any]] = {
    "complete_reply": {"status": "ok", "matches": [], "cursor_start": 0, "cursor_end": 0, "metadata": {}},
    "inspect_reply": {"status": "ok", "found": False, "data": {}, "metadata": {}},
}
LOCAL: dict[str, tuple[str, dict[str, Any]]] = {
    "kernel_info_request": ("kernel_info_reply", KERNEL_INFO),
    "is_complete_request": ("is_complete_reply", {"status": "unknown"}),
    "history_request": ("history_reply", {"status": "ok", "history": []}),
}


class Answers:
    """Messages to pages that the gate itself makes."""

    def __init__(self, pages: Pages, flight: InFlight) -> None:
        self._pages = pages
        self._flight = flight

    def local(self, client: Gate, asked: dict[str, str], channel: str, kind: str, content: dict[str, Any]) -> None:
        """Answer in the kernel's place; afterwards pages see the kernel's true state again."""
        parent = {**asked, "username": "", "version": PROTOCOL}
        for state in ("busy", None, "idle"):
            message = Message(channel, kind, content) if state is None else status_message(state)
            client.deliver(wire.Frame(message, header(message.type), parent, {}))
        working = self._flight.working
        if working is not None:
            client.deliver(wire.Frame(status_message("busy"), header("status"), working.parent, {}))

    def say_error(self, request: Request, name: str, what: str, more: list[str] | None = None) -> None:
        error = {"ename": name, "evalue": what, "traceback": [what, *(more or [])]}
        request.error = error
        self._pages.publish(Message("iopub", "error", error), request.parent)

    def unsent(self, request: Request, status: str) -> None:
        """Close a request that the kernel does not answer, so that the page does not wait for it.

        It never reached the kernel, or the kernel is gone; then it was recorded, and has its seal.
        """
        replies: dict[str, tuple[str, dict[str, Any]]] = {
            "execute": ("execute_reply", self.reply_content(request, status)),
            "complete": ("complete_reply", EMPTY["complete_reply"]),
            "inspect": ("inspect_reply", EMPTY["inspect_reply"]),
        }
        request.done = True
        if request.kind == "input":
            return
        if request.kind in replies:
            kind, content = replies[request.kind]
            self.reply(request, Message("shell", kind, content), {"strongroom": request.seal} if request.seal else {})
        self._pages.publish(status_message("idle"), request.parent)

    def reply_content(self, request: Request, status: str, payload: list[Any] | None = None) -> dict[str, Any]:
        content: dict[str, Any] = {
            "status": status,
            "execution_count": request.count or self._flight.count,
            "user_expressions": {},
        }
        if status == "ok":
            return {**content, "payload": payload or []}
        # The reply repeats what was shown as the cell's error, not what the kernel says the second time.
        return {**content, **(request.error or {"ename": "Error", "evalue": "", "traceback": []})}

    def reply(self, request: Request, message: Message, metadata: dict[str, Any]) -> None:
        request.client.deliver(wire.Frame(message, header(message.type), request.parent, metadata))
