"""Kernel to browser: each message is rebuilt, tied to the request that it answers, and goes through its budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from strongroom_hub.boxes.rates import Buckets
from tornado.log import app_log

from strongroom_lab import canon, widgets, wire
from strongroom_lab.budget import Verdict, coarse
from strongroom_lab.canon import COMMS, Message
from strongroom_lab.gate.answers import EMPTY, Answers
from strongroom_lab.gate.notices import Notices
from strongroom_lab.gate.outbox import Frame, Outbox, Step
from strongroom_lab.gate.pages import Pages, header, status_message
from strongroom_lab.gate.requests import InFlight, Request
from strongroom_lab.values import Unfit
from strongroom_lab.workspace import Workspace

SETTLE = 2.0
"""Seconds that reply and idle status wait for each other before the cell is closed without the missing one."""
BURST, PER_SECOND = 2000, 200.0
"""Messages other than text that one request may send at once, and each second after that."""
MERGED_LIMIT = 4 << 20
"""Characters up to which texts that wait together become one message."""
UNCHARGED = "It could not be charged to the day's display budget: the control service does not answer."
TOO_FAST = "It came faster than pages take it in, so parts of it are lost."
LOST = Message("iopub", "stream", {"name": "stdout", "text": ""})
PROMPT_WITHHELD = {"prompt": "(prompt withheld)", "password": False}
_UNCOUNTED = frozenset({"status", "kernel_info_reply", "iopub_welcome", "shutdown_reply", "interrupt_reply"})
"""What an honest kernel sends without having been asked by a page: on its own, or when the server asked."""
_NAMED = frozenset(kind for _, kind in canon.OUTGOING)


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the kernel in canonical form, and the request that it answers."""

    request: Request
    message: Message


class Outbound:
    """The road of one kernel's messages to the pages."""

    def __init__(self, manager: Any, workspace: Workspace, flight: InFlight, answers: Answers, pages: Pages) -> None:
        self._manager = manager
        self._workspace = workspace
        self._flight = flight
        self._answers = answers
        self._pages = pages
        self._kernel_id = str(manager.kernel_id)
        self._notices = Notices(self._kernel_id, workspace, pages)
        self._pace = Buckets(lambda: datetime.now(UTC), size=BURST, per_second=PER_SECOND)
        self._session: Any = None
        self._outbox = Outbox({})
        self._task: asyncio.Task[None] | None = None
        self._heard: set[str] = set()
        self.connected = asyncio.Event()
        """The kernel has sent a broadcast and a reply on the channel of cells."""

    def open(self, session: Any, streams: dict[str, Any]) -> None:
        """Begin to read; `session` checks the kernel's signatures."""
        self._session = session
        self._outbox = Outbox(streams)
        self._task = asyncio.create_task(self._work_out())

    async def stop(self) -> None:
        self._heard.clear()
        self.connected.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _work_out(self) -> None:
        while True:
            steps = self._merged(await self._outbox.batch())  # not the batch itself: worked off, it is let go
            with self._pages.together():
                for step in steps:
                    await self._pages.drained()
                    await self._work_off(step)
                await self._note_lost()

    async def _work_off(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - a kernel's message can break anything; it is dropped, unquoted
            self._violation("message that broke the gate")
            app_log.warning("a kernel's message was dropped: %s", type(error).__name__)

    async def _note_lost(self) -> None:
        """Say in the cell that runs that some of its output found no place."""
        lost, request = self._outbox.lost(), self._flight.working
        if lost and request is not None:
            view = await self._workspace.view()
            verdict = Verdict(None, withheld=lost, reason=TOO_FAST)
            request.meter.book(verdict, view)
            self._notices.withheld(request, LOST, verdict, view)

    def _hear(self, channel: str) -> None:
        if channel not in self._heard:
            self._heard.add(channel)
            if {"iopub", "shell"} <= self._heard:
                self.connected.set()

    # --- from frames to canonical messages -------------------------------------------------------------------------

    def _merged(self, batch: Iterable[Step]) -> Iterator[Callable[[], Awaitable[None]]]:
        """The steps in order; texts of one stream that follow each other are one."""
        waiting: Received | None = None
        for step in batch:
            received = self._received(step) if isinstance(step, Frame) else None
            if isinstance(step, Frame) and received is None:
                continue
            together = _together(waiting, received)
            if together is not None:
                waiting = together
                continue
            if waiting is not None:
                yield partial(self._handle, waiting)
            waiting = received
            if not isinstance(step, Frame):
                yield step
        if waiting is not None:
            yield partial(self._handle, waiting)

    def _received(self, frame: Frame) -> Received | None:
        """The canonical message of a frame; None where it is none of ours, which is counted."""
        try:
            body = wire.unpack(self._session, frame.parts)
            kind, parent = body["header"]["msg_type"], body["parent_header"].get("msg_id")
        except Exception:  # noqa: BLE001 - a kernel's bytes can break a parser in any way
            self._violation("not a signed message")
            return None
        self._hear(frame.channel)
        request = self._flight.known.get(parent) if isinstance(parent, str) else None
        if request is None:
            if kind not in _UNCOUNTED:
                self._violation(f"{kind if kind in _NAMED else 'answer'} to no request")
            return None
        try:
            message = canon.outgoing(frame.channel, kind, body)
        except Unfit as reason:
            self._violation(str(reason))
            return None
        for dropped in message.dropped:
            self._violation(dropped)
        return Received(request, message)

    def _violation(self, name: str) -> None:
        """Count what an honest kernel does not send; `name` is never the kernel's."""
        words = "Messages of the kernel, or parts of them, were not passed on."
        self._workspace.violations.note(self._kernel_id, "message", {name: 1}, words)

    # --- what is done with them ------------------------------------------------------------------------------------

    async def _handle(self, received: Received) -> None:
        request, message = received.request, received.message
        self._manager.touch()
        if message.type == "status":
            await self._on_status(request, message.content["execution_state"])
        elif message.type == "execute_input":
            self._on_input_shown(request)
        elif message.channel == "shell":
            await self._on_reply(request, message)
        elif message.channel == "stdin":
            await self._on_input_request(request, message)
        else:
            await self._on_output(request, message)

    async def _on_status(self, request: Request, state: str) -> None:
        if request.kind in {"execute", "comm"} and not request.done:
            self._manager.execution_state = state
        if state == "busy" and not request.busy:
            request.busy = True
            self._pages.publish(status_message("busy"), request.parent)
        elif state == "idle" and request.busy and not request.idle:
            request.idle = True
            await self._settle(request)
        else:
            # An honest kernel begins and ends each request once; one that ended a cell early ends it again.
            self._violation("second status")

    def _on_input_shown(self, request: Request) -> None:
        if request.kind != "execute" or request.input_shown or request.done:
            return
        request.input_shown = True
        self._flight.begin(request)
        shown = {"code": request.message.content["code"], "execution_count": request.count}
        self._pages.publish(Message("iopub", "execute_input", shown), request.parent)

    async def _on_reply(self, request: Request, message: Message) -> None:
        expected = {"execute": "execute_reply", "complete": "complete_reply", "inspect": "inspect_reply"}
        if request.reply is not None or message.type != expected.get(request.kind):
            self._violation("second reply")
            return
        if request.done:
            return
        request.reply = message
        await self._settle(request)

    async def _on_input_request(self, request: Request, message: Message) -> None:
        if request.kind not in {"execute", "comm"} or request.asking or request.done:
            return
        request.asking = True
        shown = await self._admit(request, message) or message.with_content(**PROMPT_WITHHELD)
        request.client.deliver(wire.Frame(shown, header(shown.type), request.parent, {}))

    async def _on_output(self, request: Request, message: Message) -> None:
        comm = str(message.content.get("comm_id"))
        if message.type in {"comm_msg", "comm_close"} and comm not in self._flight.comms:
            return
        if message.type == "execute_result":
            message = message.with_content(execution_count=request.count)
        elif message.type in COMMS:
            message = widgets.for_pages(message, self._flight.comms, self._flight.page_id)
        shown = await self._admit(request, message)
        if shown is not None:
            if shown.type == "comm_open":
                self._flight.comms[comm] = widgets.Comm(shown.content["target_name"], widgets.model_of(message))
            elif shown.type == "comm_close":
                # One that pages still see as open stays so: which of them are closed would be a message.
                self._flight.comms.pop(comm, None)
            elif shown.type == "error":
                request.error = shown.content
        elif message.type == "error" and request.error is None:
            self._answers.say_error(request, "Error", "The error text was withheld. " + request.meter.reason)

    async def _admit(self, request: Request, message: Message) -> Message | None:
        """Judge, count and charge one output; what may be shown of an output is published, of a reply returned."""
        view = await self._workspace.view()
        meter = request.meter
        if message.type != "stream" and not self._pace.take(request.id):
            self._violation("too many messages")
            verdict = Verdict(None, withheld=message.cost, reason=f"More than {PER_SECOND:g} outputs a second.")
        else:
            verdict = meter.judge(message, view, self._flight.comms)
        if verdict.left_out:
            self._violation("widget state")
        before = meter.charged
        meter.book(verdict, view)
        fresh = meter.charged - before
        if fresh and not await self._workspace.pay(self._kernel_id, fresh):
            meter.take_back(verdict, UNCHARGED)
            verdict = Verdict(None, withheld=message.cost, reason=UNCHARGED)
        if verdict.part is not None:
            meter.outputs.note(verdict.part)
            if message.channel == "iopub":
                self._pages.publish(verdict.part, request.parent)
        if verdict.reason:
            self._notices.withheld(request, message, verdict, view)
        return verdict.part

    # --- closing a request -----------------------------------------------------------------------------------------

    async def _settle(self, request: Request) -> None:
        """Close the request when reply and idle status are both there; wait a little for the one that is missing."""
        needs_reply = request.kind in {"execute", "complete", "inspect"}
        if request.done:
            return
        if request.idle and (request.reply is not None or not needs_reply):
            await self._finish(request)
        elif request.idle or request.reply is not None:
            asyncio.get_running_loop().call_later(SETTLE, self._outbox.put, partial(self._finish, request))

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
            self._answers.reply(request, shown or Message("shell", kind, EMPTY[kind]), {})
        self._pages.publish(status_message("idle"), request.parent)
        self.close_request(request, status)

    async def _send_execute_reply(self, request: Request, status: str) -> None:
        pages = request.reply.content["payload"] if request.reply is not None else []
        shown_pages = []
        for page in pages:
            shown = await self._admit(request, Message("shell", "execute_reply", page))
            if shown is not None:
                shown_pages.append(shown.content)
        view = await self._workspace.view()
        self._notices.finish(request, view)
        self._answers.reply(
            request,
            Message("shell", "execute_reply", self._answers.reply_content(request, status, shown_pages)),
            {
                "strongroom": {
                    **request.seal,
                    "label": str(self._workspace.label),
                    "shown": request.meter.shown,
                    "withheld": 0 if view.sealed or not request.meter.withheld else coarse(request.meter.withheld),
                }
            },
        )

    def close_request(self, request: Request, status: str) -> None:
        request.done = True
        self._flight.running.pop(request.id, None)
        meter = request.meter
        self._workspace.end_cell(
            request.entry,
            {
                "status": status,
                "shown": meter.shown,
                "withheld": meter.withheld,
                "charged": meter.charged,
                "outputs": meter.outputs.as_json(),
                "duration_ms": int((time.monotonic() - request.begun) * 1000),
                "count": request.count or None,
            },
        )


def _together(first: Received | None, second: Received | None) -> Received | None:
    """Both as one, where both are text of the same stream and request; None where they are not."""
    if first is None or second is None or first.request is not second.request:
        return None
    one, two = first.message, second.message
    if one.type != "stream" or two.type != "stream" or one.content["name"] != two.content["name"]:
        return None
    if len(one.content["text"]) > MERGED_LIMIT:
        return None
    return replace(first, message=one.with_content(text=one.content["text"] + two.content["text"]))
