"""Kernel to browser: each message is rebuilt, tied to the request that it answers, and goes through its budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

from tornado.log import app_log

from strongroom_lab import canon, wire
from strongroom_lab.budget import coarse
from strongroom_lab.canon import Message
from strongroom_lab.gate.answers import EMPTY, Answers
from strongroom_lab.gate.pages import Pages, header, status_message
from strongroom_lab.gate.requests import InFlight, Request
from strongroom_lab.workspace import Workspace

SETTLE = 2.0
"""Seconds that reply and idle status wait for each other before the cell is closed without the missing one."""


class Outbound:
    """The road of one kernel's messages to the pages."""

    def __init__(self, manager: Any, workspace: Workspace, flight: InFlight, answers: Answers, pages: Pages) -> None:
        self._manager = manager
        self._workspace = workspace
        self._flight = flight
        self._answers = answers
        self._pages = pages
        self._kernel_id = str(manager.kernel_id)
        self._session: Any = None
        self._outbox: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.heard: set[str] = set()
        """Of `iopub` and `reply` those that the kernel has sent on."""

    def open(self, session: Any) -> None:
        """Begin to work; `session` checks the kernel's signatures."""
        self._session = session
        self._outbox = asyncio.Queue()
        self._task = asyncio.create_task(self._work_out())

    async def stop(self) -> None:
        self.heard.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def receive(self, channel: str, parts: list[bytes]) -> None:
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
        self.heard.add("iopub" if channel == "iopub" else "reply")
        request = self._flight.known.get(parent) if isinstance(parent, str) else None
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
            self._pages.publish(status_message("busy"), request.parent)
        elif state == "idle" and request.busy and not request.idle:
            request.idle = True
            await self._settle(request)

    def _on_input_shown(self, request: Request, content: dict[str, Any]) -> None:
        if request.kind != "execute" or request.input_shown:
            return
        request.input_shown = True
        shown = {"code": request.message.content["code"], "execution_count": self._counted(content)}
        self._pages.publish(Message("iopub", "execute_input", shown), request.parent)

    def _counted(self, content: dict[str, Any]) -> int:
        """The kernel's execution count where it can be true, else our own: it is no place for a message."""
        count = content.get("execution_count")
        plausible = isinstance(count, int) and not isinstance(count, bool) and 0 < count <= self._flight.count
        return count if plausible and isinstance(count, int) else self._flight.count

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
        request.client.deliver(wire.Frame(shown, header(shown.type), request.parent, {}))
        self._notify(request)

    async def _on_output(self, request: Request, message: Message, content: dict[str, Any]) -> None:
        comm = message.content.get("comm_id")
        if message.type in {"comm_msg", "comm_close"} and comm not in self._flight.comms:
            return
        if message.type == "execute_result":
            message = message.with_content(execution_count=self._counted(content))
        shown = await self._admit(request, message)
        if message.type == "comm_close":
            self._flight.comms.pop(str(comm), None)
        if shown is not None:
            if shown.type == "comm_open":
                self._flight.comms[str(comm)] = shown.content["target_name"]
            elif shown.type == "error":
                request.error = shown.content
            self._pages.publish(shown, request.parent)
        elif message.type == "error" and request.error is None:
            self._answers.say_error(request, "Error", "The error text was withheld. " + request.meter.reason)
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
            self._workspace.charge_late(self._kernel_id, fresh)
        elif fresh:
            self._workspace.charge(fresh)
        return shown

    def _notify(self, request: Request) -> None:
        if request.meter.withheld and not request.noticed:
            self._notice(request)

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
            self._answers.reply(request, shown or Message("shell", kind, EMPTY[kind]), {})
            self._notify(request)
        self._pages.publish(status_message("idle"), request.parent)
        self.close_request(request, status)

    async def _send_execute_reply(self, request: Request, status: str) -> None:
        pages = request.reply.content["payload"] if request.reply is not None else []
        shown_pages = []
        for page in pages:
            shown = await self._admit(request, Message("shell", "execute_reply", page))
            if shown is not None:
                shown_pages.append(shown.content)
        if request.meter.withheld != request.noticed:
            self._notice(request)
        content = self._answers.reply_content(request, status, shown_pages)
        if request.reply is not None:
            content["execution_count"] = request.reply.content["execution_count"]
        self._answers.reply(
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

    def close_request(self, request: Request, status: str) -> None:
        request.done = True
        self._flight.running.pop(request.id, None)
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
                    "kernel": self._kernel_id,
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
        self._pages.publish(
            Message("iopub", "display_data" if first else "update_display_data", content), request.parent
        )
