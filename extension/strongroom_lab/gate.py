"""The gate: the only code through which messages pass between browsers and a kernel.

One `KernelGate` stands before each kernel and holds its only sockets; `Gate` is one browser's websocket. So every
message of a kernel is judged and counted once, however many pages listen, and cells are counted even when none does.

Browser to kernel: what can run code is recorded by control first and forwarded after the entry is durable, in order.
A refusal becomes the cell's error output, and the notebook stays usable. The kernel sees exactly what was recorded.

Kernel to browser: each message is rebuilt from its schema (`canon`), tied to the real request that it answers, and goes
through that request's budget (`budget`). What answers no request of ours is dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from html import escape
from typing import Any

from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection
from strongroom_hub.problems import Problem
from tornado import web
from tornado.log import app_log
from tornado.websocket import WebSocketClosedError

from strongroom_lab import canon, wire
from strongroom_lab.budget import Meter, coarse
from strongroom_lab.canon import Message, Unfit
from strongroom_lab.workspace import Workspace

CHANNELS = ("shell", "control", "stdin", "iopub")
PROTOCOL = "5.3"
REQUESTS_KEPT = 1000
QUEUE_LIMIT = 2000
NUDGE_INTERVAL = 0.25
SETTLE = 2.0
"""Seconds that reply and idle status wait for each other before the cell is closed without the missing one."""
KINDS = {
    "execute_request": "execute",
    "complete_request": "complete",
    "inspect_request": "inspect",
    "comm_open": "comm",
    "comm_msg": "comm",
    "comm_close": "comm",
    "input_reply": "input",
}
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
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Its message id towards the kernel."""
    entry: int = 0
    begun: float = field(default_factory=time.monotonic)
    meter: Meter = field(default_factory=Meter)
    busy: bool = False
    idle: bool = False
    input_shown: bool = False
    asking: bool = False
    reply: Message | None = None
    error: dict[str, Any] | None = None
    noticed: int = 0
    done: bool = False

    @property
    def kind(self) -> str:
        return KINDS[self.message.type]

    @property
    def parent(self) -> dict[str, Any]:
        """The header that answers carry as their parent: the browser's own, as it is known here."""
        return {**self.header, "username": "", "version": PROTOCOL}


class KernelGate:
    """The gate before one kernel; it outlives restarts of the kernel, not its shutdown."""

    def __init__(self, manager: Any, workspace: Workspace) -> None:
        self._manager = manager
        self._workspace = workspace
        self._clients: set[Gate] = set()
        self._streams: dict[str, Any] = {}
        self._session: Any = None
        self._ready = asyncio.Event()
        self._heard: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._inbox: dict[str, asyncio.Queue[Request]] = {}
        self._outbox: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()
        self._requests: OrderedDict[str, Request] = OrderedDict()
        self._running: dict[str, Request] = {}
        self._last_entry = 0
        self._comms: dict[str, str] = {}
        self._arrived = 0
        self._abort_until = 0
        self._count = 0

    # --- life ------------------------------------------------------------------------------------------------------

    @property
    def kernel_id(self) -> str:
        return str(self._manager.kernel_id)

    @property
    def current_entry(self) -> int:
        """The entry of the request that the kernel works on, else of the last one that it got."""
        return next((request.entry for request in self._running.values()), self._last_entry)

    def open(self) -> None:
        """Connect to the kernel that was just started and begin to work."""
        self._session = Session(key=self._manager.session.key, username="strongroom")
        self._streams = {
            channel: getattr(self._manager, f"connect_{channel}")(identity=self._session.bsession)
            for channel in CHANNELS
        }
        self._outbox = asyncio.Queue()
        for channel, stream in self._streams.items():
            stream.on_recv(partial(self._receive, channel))
        self._inbox = {"shell": asyncio.Queue(QUEUE_LIMIT), "stdin": asyncio.Queue(QUEUE_LIMIT)}
        self._tasks = [
            asyncio.create_task(self._nudge()),
            asyncio.create_task(self._work_out()),
            *(asyncio.create_task(self._work_in(queue)) for queue in self._inbox.values()),
        ]

    async def close(self, *, died: bool, words: str | None) -> None:
        """Disconnect; requests that the kernel did not finish end as `died`, and the cell says why (`words`)."""
        self._ready.clear()
        self._heard.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for stream in self._streams.values():
            if not stream.closed():
                stream.on_recv(None)
                stream.close()
        self._streams = {}
        unsent = [queue.get_nowait() for queue in self._inbox.values() for _ in range(queue.qsize())]
        self._inbox = {}
        for request in list(self._running.values()):
            if died and request.kind == "execute":
                self._say_error(request, "KernelDied", words or "The kernel stopped while this cell was running.")
            self._answer_unsent(request, "error" if died else "aborted")
            self._close_request(request, "died")
        for request in unsent:
            self._answer_unsent(request, "aborted")
        self._requests.clear()
        self._comms.clear()
        self._count = 0

    async def wait_ready(self, patience: float) -> None:
        """Return when the kernel answers. Raises TimeoutError."""
        await asyncio.wait_for(self._ready.wait(), patience)

    async def _nudge(self) -> None:
        """Ask until a reply and a broadcast have come: then all sockets are connected."""
        while not {"iopub", "reply"} <= self._heard:
            for channel in ("shell", "control"):
                self._session.send(self._streams[channel], "kernel_info_request")
            await asyncio.sleep(NUDGE_INTERVAL)
        self._manager.execution_state = "idle"
        self._ready.set()

    def attach(self, client: Gate) -> None:
        self._clients.add(client)

    def detach(self, client: Gate) -> None:
        self._clients.discard(client)

    def announce(self, state: str) -> None:
        """Tell all pages of a state that is the server's own knowledge: restarting or dead."""
        self._publish(Message("iopub", "status", {"execution_state": state}), None)

    # --- browser -> kernel -----------------------------------------------------------------------------------------

    def accept(self, client: Gate, raw: str | bytes) -> None:
        """Take one websocket message of a browser. What does not fit is dropped and noted in the server's log."""
        try:
            channel, body = wire.parse(raw, client.subprotocol)
            header = canon.client_header(body.get("header"))
            message = canon.incoming(channel, header["msg_type"], body)
        except Unfit as reason:
            app_log.warning("a browser's message was not forwarded: %s", reason)
            return
        if message.type in LOCAL:
            self._answer(client, header, message.channel, *LOCAL[message.type])
            return
        if message.type == "comm_info_request":
            known = {comm: {"target_name": target} for comm, target in self._comms.items()}
            self._answer(client, header, "shell", "comm_info_reply", {"status": "ok", "comms": known})
            return
        metadata = body.get("metadata")
        cell = metadata.get("cellId") if isinstance(metadata, dict) else None
        self._enqueue(
            Request(
                client=client,
                header=header,
                message=message,
                notebook=self._workspace.notebooks.get(self.kernel_id, ""),
                cell=cell[:128] if isinstance(cell, str) else "",
            )
        )

    def _enqueue(self, request: Request) -> None:
        queue = self._inbox.get(request.message.channel)
        self._arrived += 1
        request.number = self._arrived
        if queue is None:
            self._answer_unsent(request, "aborted")
            return
        try:
            queue.put_nowait(request)
        except asyncio.QueueFull:
            self._refuse(
                request,
                Problem(
                    429,
                    "too-many-requests",
                    "Too many requests are waiting for this kernel",
                    f"{QUEUE_LIMIT} are waiting already.",
                    next="Wait until the kernel has worked them off.",
                ),
            )

    def _answer(self, client: Gate, header: dict[str, str], channel: str, kind: str, content: dict[str, Any]) -> None:
        """Answer in the kernel's place; afterwards pages see the kernel's true state again."""
        parent = {**header, "username": "", "version": PROTOCOL}
        for state in ("busy", None, "idle"):
            message = (
                Message(channel, kind, content)
                if state is None
                else Message("iopub", "status", {"execution_state": state})
            )
            client.deliver(wire.Frame(message, self._header(message.type), parent, {}))
        working = next(iter(self._running.values()), None)
        if working is not None:
            message = Message("iopub", "status", {"execution_state": "busy"})
            client.deliver(wire.Frame(message, self._header("status"), working.parent, {}))

    async def _work_in(self, queue: asyncio.Queue[Request]) -> None:
        while True:
            request = await queue.get()
            try:
                await self._forward(request)
            except asyncio.CancelledError:
                self._answer_unsent(request, "aborted")
                raise
            except Exception as error:  # noqa: BLE001 - whatever went wrong: this one is not forwarded, the next may be
                app_log.error("a request could not be forwarded: %s", type(error).__name__)
                self._refuse(
                    request,
                    Problem(500, "internal", "The server could not handle this request", "It was not forwarded."),
                )

    async def _forward(self, request: Request) -> None:
        if request.message.type == "execute_request" and request.number <= self._abort_until:
            self._answer_unsent(request, "aborted")
            return
        if not self._wanted(request):
            return
        mark = self._workspace.mark
        try:
            answer = await self._workspace.control.begin_cell(
                kernel=self.kernel_id,
                notebook=request.notebook,
                cell=request.cell,
                kind=request.kind,
                code=recorded(request.message),
            )
            request.entry = entry_of(answer)
        except Problem as problem:
            self._refuse(request, problem)
            return
        self._workspace.learn(answer, mark)
        self._send(request)

    def _wanted(self, request: Request) -> bool:
        """Whether the kernel waits for such a message: input that it asked for, a comm that is open."""
        if request.kind == "input":
            asking = next((other for other in self._running.values() if other.asking), None)
            if asking is not None:
                asking.asking = False
            return asking is not None
        if request.message.type in {"comm_msg", "comm_close"}:
            return request.message.content["comm_id"] in self._comms
        return True

    def _send(self, request: Request) -> None:
        message = request.message
        self._last_entry = request.entry
        if request.kind == "input":
            self._transmit(request)
            self._close_request(request, "ok")
            return
        if message.type == "comm_open":
            self._comms[message.content["comm_id"]] = message.content["target_name"]
        elif message.type == "comm_close":
            self._comms.pop(message.content["comm_id"], None)
        elif request.kind == "execute":
            self._count += 1
            self._workspace.remember_cell(request.notebook, request.cell, request.entry)
        self._requests[request.id] = request
        self._running[request.id] = request
        while len(self._requests) > REQUESTS_KEPT:
            self._requests.popitem(last=False)
        request.begun = time.monotonic()
        self._transmit(request)

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

    # --- refusals --------------------------------------------------------------------------------------------------

    def _refuse(self, request: Request, problem: Problem) -> None:
        """Tell the page in the kernel's place that its request was not forwarded, and why."""
        app_log.warning("a request of kind %s was refused: %s", request.kind, problem.title)
        if request.kind == "execute":
            # As after an error: what was sent together with this cell does not run without it.
            self._abort_until = self._arrived
            self._say_error(request, "NotRun", "This cell was not run: " + problem.title, problem.lines()[1:])
        self._answer_unsent(request, "error")

    def _say_error(self, request: Request, name: str, what: str, more: list[str] | None = None) -> None:
        error = {"ename": name, "evalue": what, "traceback": [what, *(more or [])]}
        request.error = error
        self._publish(Message("iopub", "error", error), request)

    def _answer_unsent(self, request: Request, status: str) -> None:
        """Close a request that never reached the kernel, so that the page does not wait for it."""
        replies: dict[str, tuple[str, dict[str, Any]]] = {
            "execute": ("execute_reply", self._reply_content(request, status)),
            "complete": ("complete_reply", EMPTY["complete_reply"]),
            "inspect": ("inspect_reply", EMPTY["inspect_reply"]),
        }
        request.done = True
        if request.kind == "input":
            return
        if request.kind in replies:
            kind, content = replies[request.kind]
            self._reply(request, Message("shell", kind, content), {})
        self._publish(Message("iopub", "status", {"execution_state": "idle"}), request)

    def _reply_content(self, request: Request, status: str, payload: list[Any] | None = None) -> dict[str, Any]:
        content: dict[str, Any] = {"status": status, "execution_count": self._count, "user_expressions": {}}
        if status == "ok":
            return {**content, "payload": payload or []}
        # The reply repeats what was shown as the cell's error, not what the kernel says the second time.
        return {**content, **(request.error or {"ename": "Error", "evalue": "", "traceback": []})}

    # --- kernel -> browser -----------------------------------------------------------------------------------------

    def _receive(self, channel: str, parts: list[bytes]) -> None:
        self._outbox.put_nowait(partial(self._handle, channel, parts))

    async def _work_out(self) -> None:
        while True:
            step = await self._outbox.get()
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - a kernel's message can break anything; it is dropped, unquoted
                app_log.warning("a kernel's message was dropped: %s", type(error).__name__)

    async def _handle(self, channel: str, parts: list[bytes]) -> None:
        _identities, signed = self._session.feed_identities(parts)
        received = self._session.deserialize(signed)
        kind = received["header"]["msg_type"]
        parent = received["parent_header"].get("msg_id")
        self._heard.add("iopub" if channel == "iopub" else "reply")
        request = self._requests.get(parent) if isinstance(parent, str) else None
        if request is None:
            return
        message = canon.outgoing(channel, kind, received)
        self._manager.touch()
        if message.type == "status":
            await self._on_status(request, message.content["execution_state"])
        elif message.type == "execute_input":
            self._on_input_shown(request, received["content"])
        elif channel == "shell":
            self._on_reply(request, message, received["content"])
        elif channel == "stdin":
            await self._on_input_request(request, message)
        else:
            await self._on_output(request, message, received["content"])

    async def _on_status(self, request: Request, state: str) -> None:
        if request.kind in {"execute", "comm"} and not request.done:
            self._manager.execution_state = state
        if state == "busy" and not request.busy:
            request.busy = True
            self._publish(Message("iopub", "status", {"execution_state": "busy"}), request)
        elif state == "idle" and request.busy and not request.idle:
            request.idle = True
            await self._settle(request)

    def _on_input_shown(self, request: Request, content: dict[str, Any]) -> None:
        if request.kind != "execute" or request.input_shown:
            return
        request.input_shown = True
        shown = {"code": request.message.content["code"], "execution_count": self._counted(content)}
        self._publish(Message("iopub", "execute_input", shown), request)

    def _counted(self, content: dict[str, Any]) -> int:
        """The kernel's execution count where it can be true, else our own: it is no place for a message."""
        count = content.get("execution_count")
        plausible = isinstance(count, int) and not isinstance(count, bool) and 0 < count <= self._count
        return count if plausible and isinstance(count, int) else self._count

    def _on_reply(self, request: Request, message: Message, content: dict[str, Any]) -> None:
        expected = {"execute": "execute_reply", "complete": "complete_reply", "inspect": "inspect_reply"}
        if request.reply is not None or request.done or message.type != expected.get(request.kind):
            return
        if request.kind == "execute":
            message = message.with_content(execution_count=self._counted(content))
        request.reply = message
        self._outbox.put_nowait(partial(self._settle, request))

    async def _on_input_request(self, request: Request, message: Message) -> None:
        if request.kind not in {"execute", "comm"} or request.asking or request.done:
            return
        request.asking = True
        shown = await self._admit(request, message) or message.with_content(prompt="(prompt withheld)")
        request.client.deliver(wire.Frame(shown, self._header(shown.type), request.parent, {}))
        self._notify(request)

    async def _on_output(self, request: Request, message: Message, content: dict[str, Any]) -> None:
        comm = message.content.get("comm_id")
        if message.type in {"comm_msg", "comm_close"} and comm not in self._comms:
            return
        if message.type == "execute_result":
            message = message.with_content(execution_count=self._counted(content))
        shown = await self._admit(request, message)
        if message.type == "comm_close":
            self._comms.pop(str(comm), None)
        if shown is not None:
            if shown.type == "comm_open":
                self._comms[str(comm)] = shown.content["target_name"]
            elif shown.type == "error":
                request.error = shown.content
            self._publish(shown, request)
        elif message.type == "error" and request.error is None:
            self._say_error(request, "Error", "The error text was withheld. " + request.meter.reason)
        self._notify(request)

    async def _admit(self, request: Request, message: Message) -> Message | None:
        """Judge and count one output; call `_notify` when its shown part is published."""
        meter = request.meter
        before = meter.charged
        shown = meter.admit(message, await self._workspace.view())
        fresh = meter.charged - before
        if request.done and fresh:
            # The cell's end is recorded already: these bytes are reported on their own.
            meter.charged = before
            self._workspace.charge_late(self.kernel_id, fresh)
        elif fresh:
            self._workspace.charge(fresh)
        return shown

    def _notify(self, request: Request) -> None:
        if request.meter.withheld and not request.noticed:
            self._notice(request)

    # --- closing a request -----------------------------------------------------------------------------------------

    async def _settle(self, request: Request) -> None:
        """Close the request when reply and idle status are both there; wait a little for the one that is missing."""
        needs_reply = request.kind in {"execute", "complete", "inspect"}
        if request.done:
            return
        if request.idle and (request.reply is not None or not needs_reply):
            await self._finish(request)
        elif request.idle or request.reply is not None:
            asyncio.get_running_loop().call_later(SETTLE, self._outbox.put_nowait, partial(self._finish, request))

    async def _finish(self, request: Request) -> None:
        if request.done:
            return
        reply = request.reply
        status = "ok"
        if request.kind == "execute":
            status = reply.content["status"] if reply is not None else "error"
            await self._send_execute_reply(request, status)
        elif request.kind in {"complete", "inspect"}:
            shown = await self._admit(request, reply) if reply is not None else None
            kind = f"{request.kind}_reply"
            self._reply(request, shown or Message("shell", kind, EMPTY[kind]), {})
            self._notify(request)
        self._publish(Message("iopub", "status", {"execution_state": "idle"}), request)
        self._close_request(request, status)

    async def _send_execute_reply(self, request: Request, status: str) -> None:
        pages = request.reply.content["payload"] if request.reply is not None else []
        shown_pages = []
        for page in pages:
            shown = await self._admit(request, Message("shell", "execute_reply", page))
            if shown is not None:
                shown_pages.append(shown.content)
        if request.meter.withheld != request.noticed:
            self._notice(request)
        content = self._reply_content(request, status, shown_pages)
        if request.reply is not None:
            content["execution_count"] = request.reply.content["execution_count"]
        self._reply(
            request,
            Message("shell", "execute_reply", content),
            {
                "strongroom": {
                    "entry": request.entry,
                    "label": str(self._workspace.label),
                    "shown": request.meter.shown,
                    "withheld": coarse(request.meter.withheld),
                }
            },
        )

    def _close_request(self, request: Request, status: str) -> None:
        request.done = True
        self._running.pop(request.id, None)
        meter = request.meter
        charged, meter.charged = meter.charged, 0
        self._workspace.end_cell(
            request.entry,
            {
                "status": status,
                "shown": meter.shown,
                "withheld": meter.withheld,
                "charged": charged,
                "outputs": meter.outputs.as_json(),
                "duration_ms": int((time.monotonic() - request.begun) * 1000),
            },
            charged,
        )

    def _notice(self, request: Request) -> None:
        """Say in the cell that something is withheld; a second call brings the figures of the first up to date."""
        first = not request.noticed
        request.noticed = request.meter.withheld
        words = request.meter.notice()
        if first:
            self._workspace.publish(
                "notice",
                {
                    "kernel": self.kernel_id,
                    "rule": request.meter.rule,
                    "text": words,
                    "bytes": coarse(request.meter.withheld),
                },
            )
        if request.kind != "execute":
            return
        content = {
            "data": {"text/plain": words, "text/html": f"<p><strong>{escape(words)}</strong></p>"},
            "metadata": {},
            "transient": {"display_id": f"strongroom-notice-{request.entry}"},
        }
        self._publish(Message("iopub", "display_data" if first else "update_display_data", content), request)

    # --- sending to pages ------------------------------------------------------------------------------------------

    def _header(self, kind: str) -> dict[str, Any]:
        return {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": "strongroom",
            "username": "",
            "date": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "version": PROTOCOL,
        }

    def _publish(self, message: Message, request: Request | None) -> None:
        parent = request.parent if request is not None else {}
        frame = wire.Frame(message, self._header(message.type), parent, message.metadata)
        for client in list(self._clients):
            client.deliver(frame)

    def _reply(self, request: Request, message: Message, metadata: dict[str, Any]) -> None:
        request.client.deliver(wire.Frame(message, self._header(message.type), request.parent, metadata))


def recorded(message: Message) -> str:
    """What the audit log keeps of a message: the code, or a whole widget message with the hashes of its buffers."""
    if "code" in message.content:
        return str(message.content["code"])
    if message.type == "input_reply":
        return str(message.content["value"])
    hashes = [hashlib.sha256(buffer).hexdigest() for buffer in message.buffers]
    return canon.encode({"type": message.type, **message.content, "buffers": hashes}).decode("utf-8")


def entry_of(answer: dict[str, Any]) -> int:
    """The entry's index in an answer of control. Raises Problem where there is none: then nothing was recorded."""
    entry = answer.get("entry")
    if isinstance(entry, bool) or not isinstance(entry, int):
        raise Problem.from_json(None)
    return entry


class Gate(BaseKernelWebsocketConnection):
    """One browser's websocket to a kernel. All it does is pass frames on to the kernel's gate and back."""

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
        self._kernel_gate.attach(self)

    def disconnect(self) -> None:  # type: ignore[override]  # the handler that calls it does not await it
        self._kernel_gate.detach(self)
        self.multi_kernel_manager.notify_disconnect(self.kernel_id)

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        self._kernel_gate.accept(self, incoming_msg)

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
            self._kernel_gate.detach(self)
            return
        framed = frame.v1 if self.subprotocol == wire.V1 else frame.legacy
        try:
            self.websocket_handler.write_message(framed, binary=isinstance(framed, bytes))
        except WebSocketClosedError:
            self._kernel_gate.detach(self)
