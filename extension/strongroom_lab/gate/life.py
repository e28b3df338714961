"""One kernel's gate: its sockets, and what happens when the kernel starts, restarts, dies or is shut down."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import zmq
from jupyter_client.session import Session
from zmq.eventloop.zmqstream import ZMQStream

from strongroom_lab.gate.answers import Answers
from strongroom_lab.gate.inbound import Inbound
from strongroom_lab.gate.outbound import Outbound
from strongroom_lab.gate.pages import PROTOCOL, Pages, status_message
from strongroom_lab.gate.requests import InFlight, Request
from strongroom_lab.workspace import Workspace

LARGEST_MESSAGE = 64 << 20
"""Bytes of one frame of a kernel: ipykernel makes prints of up to about 25 MB one message."""
CUT_OFF = (
    f"The kernel was stopped: it sent a message larger than {LARGEST_MESSAGE >> 20} MiB, or closed its connection. "
    "Show less at once, or write the result to a file in ~/work."
)
GRACE = 1.0
"""Seconds after which a kernel that has closed a connection and still runs is stopped."""
CHANNELS = ("shell", "control", "stdin", "iopub")
NUDGE_INTERVAL = 0.25
RECONNECT_MS = 10
"""Between two looks whether the kernel has bound its sockets; ZeroMQ's own 100 ms would be a third of a start."""


class KernelGate:
    """The gate before one kernel; it outlives restarts of the kernel, not its shutdown."""

    def __init__(self, manager: Any, workspace: Workspace) -> None:
        self._manager = manager
        self._flight = InFlight()
        self.pages = Pages()
        self._ready = asyncio.Event()
        """The kernel answers, and what it broadcasts is heard."""
        self._answers = Answers(self.pages, self._flight)
        self._outbound = Outbound(manager, workspace, self._flight, self._answers, self.pages)
        self.inbound = Inbound(
            str(manager.kernel_id),
            workspace,
            ready=self._ready,
            flight=self._flight,
            answers=self._answers,
            transmit=self._transmit,
            close=self._outbound.close_request,
        )
        self._streams: dict[str, Any] = {}
        self._session: Any = None
        self._nudging: asyncio.Task[None] | None = None
        self._watched: list[Any] = []
        self._stopping: asyncio.Task[None] | None = None
        self.words: str | None = None
        """Why the gate itself stopped the kernel."""

    @property
    def current_entry(self) -> int:
        """The entry of the request that the kernel works on, else of the last one that it got."""
        return self._flight.current_entry

    @property
    def current_code(self) -> str:
        """The code of the cell that the kernel works on, as the browser sent it; empty where it works on none."""
        working = self._flight.working
        code = "" if working is None else working.message.content.get("code", "")
        return code if isinstance(code, str) else ""

    def open(self) -> None:
        """Connect to the kernel that was just started and begin to work."""
        # Sockets take this when they are made; a limit that is set later does nothing.
        self._manager.context.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE)
        self._session = Session(key=self._manager.session.key, username="strongroom")
        self._manager.context.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self._streams = {
            channel: getattr(self._manager, f"connect_{channel}")(identity=self._session.bsession)
            for channel in CHANNELS
        }
        self._outbound.open(self._session, self._streams)
        self._watched = [self._watch(stream) for stream in self._streams.values()]
        self._nudging = asyncio.create_task(self._nudge())
        self.inbound.open()

    async def close(self, *, died: bool, words: str | None) -> None:
        """Disconnect; requests that the kernel did not finish end as `died`, and the cell says why (`words`)."""
        words, self.words = self.words or words, None
        self._ready.clear()
        if self._nudging is not None:
            self._nudging.cancel()
            await asyncio.gather(self._nudging, return_exceptions=True)
            self._nudging = None
        if self._stopping is not None and self._stopping is not asyncio.current_task():
            self._stopping.cancel()
            self._stopping = None
        unsent = await self.inbound.stop()
        await self._outbound.stop()
        for stream in self._streams.values():
            if not stream.closed():
                stream.socket.disable_monitor()
                stream.on_recv(None)
                stream.close()
        self._streams = {}
        for watched in self._watched:
            watched.close()
        self._watched = []
        for request in list(self._flight.running.values()):
            if died and request.kind == "execute":
                self._answers.say_error(
                    request, "KernelDied", words or "The kernel stopped while this cell was running."
                )
            self._answers.unsent(request, "error" if died else "aborted")
            self._outbound.close_request(request, "died")
        for request in unsent:
            self._answers.unsent(request, "aborted")
        self._flight.forget()

    async def wait_ready(self, patience: float) -> None:
        """Return when the kernel answers. Raises TimeoutError."""
        await asyncio.wait_for(self._ready.wait(), patience)

    async def _nudge(self) -> None:
        """Ask until a reply and a broadcast have come: then the sockets that cells need are connected."""
        while not self._outbound.connected.is_set():
            self._session.send(self._streams["shell"], "kernel_info_request")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._outbound.connected.wait(), NUDGE_INTERVAL)
        self._manager.execution_state = "idle"
        self._ready.set()

    def _watch(self, stream: Any) -> Any:
        """Hear of a lost connection: after a message that is too large the kernel would wait for ever."""
        monitor = ZMQStream(stream.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED))
        monitor.on_recv(lambda _event: self._lost(stream))
        return monitor

    def _lost(self, stream: Any) -> None:
        if stream in self._streams.values() and (self._stopping is None or self._stopping.done()):
            self._stopping = asyncio.create_task(self._stop_if_alive(stream))

    async def _stop_if_alive(self, stream: Any) -> None:
        await asyncio.sleep(GRACE)
        provisioner = self._manager.provisioner
        if stream in self._streams.values() and provisioner is not None and await provisioner.poll() is None:
            self.words = CUT_OFF
            await provisioner.kill()

    def announce(self, state: str) -> None:
        """Tell all pages of a state that is the server's own knowledge: restarting or dead."""
        self.pages.publish(status_message(state), {})

    def _transmit(self, request: Request) -> None:
        """Send to the kernel what was recorded, under an id, date and session of our own."""
        message = request.message
        header = {
            "msg_id": request.id,
            "msg_type": message.type,
            "username": "strongroom",
            "session": self._session.session,
            "date": datetime.now(UTC),
            "version": PROTOCOL,
        }
        packed = self._session.msg(message.type, content=message.content, header=header, metadata=message.metadata)
        self._session.send(self._streams[message.channel], packed, buffers=list(message.buffers))
