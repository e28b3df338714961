"""Browser to kernel: what can run code is recorded first and forwarded when the entry is durable, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from strongroom_hub.problems import Problem
from tornado.log import app_log

from strongroom_lab import canon, wire
from strongroom_lab.gate.answers import LOCAL, Answers
from strongroom_lab.gate.pages import Gate
from strongroom_lab.gate.requests import InFlight, Request, checkpoint_of, entry_of, recorded
from strongroom_lab.values import Unfit
from strongroom_lab.workspace import Workspace

QUEUE_LIMIT = 2000
BETWEEN_KERNELS = Problem(
    503,
    "no-kernel",
    "The kernel is not running",
    "It ended, and is being started again.",
    next="Wait until the page says that it is idle, then run the cell again.",
)


class Inbound:
    """The road of browsers' messages to one kernel.

    `transmit` sends a request to the kernel, `close` records the end of one. Nothing is forwarded before `ready`: what
    a kernel broadcast until then would reach nobody.
    """

    def __init__(
        self,
        kernel_id: str,
        workspace: Workspace,
        *,
        ready: asyncio.Event,
        flight: InFlight,
        answers: Answers,
        transmit: Callable[[Request], None],
        close: Callable[[Request, str], None],
    ) -> None:
        self._kernel_id = kernel_id
        self._workspace = workspace
        self._ready = ready
        self._flight = flight
        self._answers = answers
        self._transmit = transmit
        self._close = close
        self._inbox: dict[str, asyncio.Queue[Request]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived = 0
        self._abort_until = 0

    def open(self) -> None:
        """Begin to forward."""
        self._inbox = {"shell": asyncio.Queue(QUEUE_LIMIT), "stdin": asyncio.Queue(QUEUE_LIMIT)}
        self._tasks = [asyncio.create_task(self._work_in(queue)) for queue in self._inbox.values()]

    async def stop(self) -> list[Request]:
        """Forward nothing more; returns the requests that are still waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        unsent = [queue.get_nowait() for queue in self._inbox.values() for _ in range(queue.qsize())]
        self._inbox = {}
        return unsent

    def accept(self, client: Gate, raw: str | bytes) -> None:
        """Take one websocket message of a browser. What does not fit is dropped and noted in the server's log."""
        try:
            channel, body = wire.parse(raw, client.subprotocol)
            header = canon.client_header(body.get("header"))
            message = canon.incoming(channel, header["msg_type"], body)
        except Unfit as reason:
            app_log.warning("a browser's message was not forwarded: %s", reason)
            self._violation("message from a browser")
            return
        for dropped in message.dropped:
            self._violation(dropped)
        if message.type in LOCAL:
            self._answers.local(client, header, message.channel, *LOCAL[message.type])
            return
        if message.type == "comm_info_request":
            comms = {name: {"target_name": comm.target} for name, comm in self._flight.comms.items()}
            self._answers.local(client, header, "shell", "comm_info_reply", {"status": "ok", "comms": comms})
            return
        metadata = body.get("metadata")
        cell = metadata.get("cellId") if isinstance(metadata, dict) else None
        self._enqueue(
            Request(
                client=client,
                header=header,
                message=message,
                notebook=self._workspace.notebooks.get(self._kernel_id, ""),
                cell=cell[:128] if isinstance(cell, str) else "",
            )
        )

    def _violation(self, name: str) -> None:
        words = "Messages of a browser, or parts of them, were not forwarded."
        self._workspace.violations.note(self._kernel_id, "message", {name: 1}, words)

    def _enqueue(self, request: Request) -> None:
        queue = self._inbox.get(request.message.channel)
        self._arrived += 1
        request.number = self._arrived
        if queue is None:
            self._refuse(request, BETWEEN_KERNELS)
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

    async def _work_in(self, queue: asyncio.Queue[Request]) -> None:
        await self._ready.wait()
        while True:
            request = await queue.get()
            try:
                await self._forward(request)
            except asyncio.CancelledError:
                self._answers.unsent(request, "aborted")
                raise
            except Exception as error:  # noqa: BLE001 - whatever went wrong: this one is not forwarded, the next may be
                app_log.error("a request could not be forwarded: %s", type(error).__name__)
                self._refuse(
                    request,
                    Problem(500, "internal", "The server could not handle this request", "It was not forwarded."),
                )

    async def _forward(self, request: Request) -> None:
        if request.message.type == "execute_request" and request.number <= self._abort_until:
            self._answers.unsent(request, "aborted")
            return
        if not self._wanted(request):
            return
        mark = self._workspace.mark
        try:
            answer = await self._workspace.control.begin_cell(
                kernel=self._kernel_id,
                notebook=request.notebook,
                cell=request.cell,
                kind=request.kind,
                code=recorded(request.message),
                silent=request.message.content.get("silent", False),
            )
            request.entry = entry_of(answer)
        except Problem as problem:
            self._refuse(request, problem)
            return
        self._workspace.learn(answer, mark)
        if request.kind == "execute":
            request.seal = self._workspace.remember_cell(
                request.notebook, request.cell, request.entry, checkpoint_of(answer)
            )
        self._send(request)

    def _wanted(self, request: Request) -> bool:
        """Whether the kernel waits for such a message: input that it asked for, a comm that is open."""
        if request.kind == "input":
            asking = next((other for other in self._flight.running.values() if other.asking), None)
            if asking is not None:
                asking.asking = False
            return asking is not None
        if request.message.type in {"comm_msg", "comm_close"}:
            return request.message.content["comm_id"] in self._flight.comms
        return True

    def _send(self, request: Request) -> None:
        self._flight.sent(request)
        self._transmit(request)
        if request.kind == "input":
            self._close(request, "ok")

    def _refuse(self, request: Request, problem: Problem) -> None:
        """Tell the page in the kernel's place that its request was not forwarded, and why."""
        app_log.warning("a request of kind %s was refused: %s", request.kind, problem.title)
        if request.kind == "execute":
            # As after an error: what was sent together with this cell does not run without it.
            self._abort_until = self._arrived
            self._answers.say_error(request, "NotRun", "This cell was not run: " + problem.title, problem.lines()[1:])
        self._answers.unsent(request, "error")
