"""The browser's side: one websocket for each page, and all pages of one kernel together."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection
from tornado import web
from tornado.websocket import WebSocketClosedError

from strongroom_lab import wire
from strongroom_lab.canon import Message

if TYPE_CHECKING:
    from strongroom_lab.gate.life import KernelGate

PROTOCOL = "5.3"
AHEAD = 32 << 20
"""Bytes that a page may be behind before the kernel has to wait for it."""
PATIENCE = 30.0
"""Seconds in which a page that is behind must take in something."""
TICK = 0.05
"""Seconds between two looks at a page that takes in nothing."""
TOO_SLOW = 1013
"""Websocket code: try again later."""


def header(kind: str) -> dict[str, Any]:
    """A header of our own: a kernel's is no place for a message."""
    return {
        "msg_id": secrets.token_hex(16),
        "msg_type": kind,
        "session": "strongroom",
        "username": "",
        "date": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "version": PROTOCOL,
    }


def status_message(state: str) -> Message:
    return Message("iopub", "status", {"execution_state": state})


class Pages:
    """The pages that listen to one kernel."""

    def __init__(self) -> None:
        self._clients: set[Gate] = set()
        self._moved = asyncio.Event()

    def attach(self, client: Gate) -> None:
        self._clients.add(client)

    def detach(self, client: Gate) -> None:
        self._clients.discard(client)

    def publish(self, message: Message, parent: dict[str, Any]) -> None:
        """Send to every page what answers the request with header `parent` ({}: no request)."""
        frame = wire.Frame(message, header(message.type), parent, message.metadata)
        for client in list(self._clients):
            client.deliver(frame)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is sent inside goes out as one: each small piece alone would wake the proxy and the browser."""
        clients = list(self._clients)
        for client in clients:
            client.hold(back=True)
        try:
            yield
        finally:
            for client in clients:
                client.hold(back=False)

    def moved(self) -> None:
        """A page has taken in a frame."""
        self._moved.set()

    async def drained(self) -> None:
        """Wait for pages that are behind; one that takes in nothing for long is cut off, and can come back."""
        waited = 0.0
        while slow := [client for client in self._clients if client.waiting > AHEAD]:
            before = sum(client.waiting for client in slow)
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), TICK)
            waited = waited + TICK if sum(client.waiting for client in slow) >= before else 0.0
            if waited > PATIENCE:
                for client in slow:
                    client.cut_off()


class Gate(BaseKernelWebsocketConnection):
    """One browser's websocket to a kernel. All it does is pass frames on to the kernel's gate and back."""

    waiting = 0
    """Bytes that were given to the page's connection and are not sent yet."""

    async def prepare(self) -> None:
        """Wait until the kernel answers. Raises HTTPError 503 in words when it does not."""
        try:
            await self._kernel_gate.wait_ready(self.kernel_info_timeout)
        except TimeoutError:
            raise web.HTTPError(503, "The kernel did not start in time: restart it.") from None

    async def connect(self) -> None:
        # Answers are many small messages: none may wait 40 ms for the acknowledgement of the one before.
        self.websocket_handler.set_nodelay(True)
        self.multi_kernel_manager.notify_connect(self.kernel_id)
        self._kernel_gate.pages.attach(self)

    def disconnect(self) -> None:  # type: ignore[override]  # the handler that calls it does not await it
        self._kernel_gate.pages.detach(self)
        self.multi_kernel_manager.notify_disconnect(self.kernel_id)

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        self._kernel_gate.inbound.accept(self, incoming_msg)

    @property
    def subprotocol(self) -> str | None:
        selected: str | None = self.websocket_handler.selected_subprotocol
        return selected

    @property
    def _kernel_gate(self) -> KernelGate:
        gate: KernelGate = self.kernel_manager.gate
        return gate

    def deliver(self, frame: wire.Frame) -> None:
        """Write one frame to the browser, in its framing; a page that has gone is forgotten.

        Never raises: a page that left must not keep its cell from being closed and charged.
        """
        if self.websocket_handler.ws_connection is None:
            self._kernel_gate.pages.detach(self)
            return
        framed = frame.v1 if self.subprotocol == wire.V1 else frame.legacy
        try:
            written = self.websocket_handler.write_message(framed, binary=isinstance(framed, bytes))
        except WebSocketClosedError:
            self._kernel_gate.pages.detach(self)
            return
        size = len(framed)
        self.waiting += size
        written.add_done_callback(partial(self._written, size, self._kernel_gate.pages))

    def hold(self, *, back: bool) -> None:
        """Let the connection gather what it is given (200 ms at most, by the system's own rule), or send it now."""
        connection: Any = self.websocket_handler.ws_connection
        if connection is not None and not connection.stream.closed():
            connection.stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, back)

    def _written(self, size: int, pages: Pages, written: asyncio.Future[None]) -> None:
        self.waiting -= size
        pages.moved()  # of the kernel as it was then: it may be gone
        if not written.cancelled():
            # A page that left is detached when it closes; asking keeps the loop from reporting it as unseen.
            written.exception()

    def cut_off(self) -> None:
        self._kernel_gate.pages.detach(self)
        self.websocket_handler.close(TOO_SLOW, "This page did not take in what the kernel shows.")
