"""What this server knows of its workspace: label, source set, display rule, the day's budget, and who listens.

Kernels of one server share their files, so they share one label: what one of them has read, all are assumed to know.
The label here only rises. It is raised *before* a read ticket is handed to a kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from strongroom_hub.boxes.rates import Buckets
from strongroom_hub.problems import Problem
from strongroom_policy.labels import Label
from tornado.log import app_log

from strongroom_lab.control import Control
from strongroom_lab.display import Display, View, nothing
from strongroom_lab.drafts import Drafts
from strongroom_lab.problems import control_silent
from strongroom_lab.violations import Violations
from strongroom_lab.withheld import Withheld

STEP, LIMITED_STEP = 128 << 10, 16 << 10
"""Bytes of output that are charged ahead at once, without and with a limit for the day: what is not used is lost."""
FRESH = 1.0
"""Seconds for which a display decision counts as new; after that the next output asks again."""
STALE = 5.0
"""Seconds after which a decision that could not be renewed counts for nothing."""
GATHER = 0.1
"""Seconds that the end of a cell waits for others: they share a commit, and the next cell's begin has the disk."""
ENDS_AT_ONCE = 32
RETRY = (0.2, 0.5, 1.0, 2.0, 5.0)
WATCH_INTERVAL = 5.0
CELLS_KEPT = 10_000
EVENTS_WAITING = 256
QUESTIONS, QUESTIONS_PER_SECOND = 60, 10.0
"""What all kernels of the workspace may ask at once, and each second after that."""


_Report = Callable[[], Awaitable[Any]] | dict[str, Any]
"""What control must get to see, sooner or later: a call, or the end of a cell."""


def _together(reports: list[_Report]) -> Iterator[list[_Report]]:
    """In order: neighbouring ends of cells some at a time, everything else alone."""
    for ends, run in itertools.groupby(reports, key=lambda report: isinstance(report, dict)):
        group = list(run)
        size = ENDS_AT_ONCE if ends else 1
        yield from (group[at : at + size] for at in range(0, len(group), size))


class Workspace:
    """Label, sources and display rule of one server, the bytes shown, and the events for its browser pages."""

    def __init__(self, control: Control, clock: Callable[[], float] = time.monotonic) -> None:
        self.control = control
        self.label = Label.SECRET
        self.sources: list[dict[str, Any]] = []
        self.display = nothing("", "No display rule is known yet.")
        self.notebooks: dict[str, str] = {}
        """Kernel id -> path of the notebook that it was started for."""
        self._clock = clock
        self._known = False
        self._decided_at = float("-inf")
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._away = False
        """Control did not renew the rule when it was asked last."""
        self._charged = 0
        self._acknowledged = 0
        self._base = 0
        """`_acknowledged` when the decision in force was asked for: what it has counted for certain."""
        self._told: set[bytes] = set()
        self._reports: asyncio.Queue[_Report] = asyncio.Queue()
        self._hurry = asyncio.Event()
        self._listeners: set[asyncio.Queue[tuple[str, dict[str, Any]]]] = set()
        self._cells: deque[tuple[str, dict[str, Any]]] = deque(maxlen=CELLS_KEPT)
        self._states: dict[tuple[str, str], str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.withheld = Withheld()
        """Outputs that were not shown, for review."""
        self.drafts = Drafts()
        """What code prepared for the person to submit."""
        self.violations = Violations(control, clock)
        """What the kernels tried or ran into."""
        self.questions = Buckets(lambda: datetime.now(UTC), size=QUESTIONS, per_second=QUESTIONS_PER_SECOND)

    async def start(self) -> None:
        """Learn label and display rule from control and begin to report. Raises Problem where control refuses."""
        mark = self._acknowledged
        self.learn(await self.control.session(), mark)
        self._tasks = [asyncio.create_task(self._report()), asyncio.create_task(self._watch())]
        self.violations.start()

    async def stop(self, patience: float = 3.0) -> None:
        """Send what is still to be reported, for at most `patience` seconds."""
        self._hurry.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reports.join(), patience)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.violations.stop(), patience)
        await self.control.close()

    # --- label and rule --------------------------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """Take this before a call to control whose answer goes to `learn`: bytes that control has surely counted."""
        return self._acknowledged

    def learn(self, answer: dict[str, Any], mark: int) -> None:
        """Take label, sources and display rule from an answer of control; the label never falls."""
        told = Label.parse(answer.get("label"))
        label = max(self.label, told) if self._known else told
        sources = answer.get("sources")
        display = Display.parse(answer.get("display"))
        changed = (label, sources, display) != (self.label, self.sources, self.display)
        self.label = label
        self.sources = sources if isinstance(sources, list) else self.sources
        self.display = display
        self._known = True
        self._away = False
        self._decided_at = self._clock()
        self._base = mark
        if changed:
            self.publish("label", self.label_event())

    def label_event(self) -> dict[str, Any]:
        return {"label": str(self.label), "sources": self.sources, "display": self.display.as_json()}

    def day_left(self) -> int | None:
        """Bytes left of the day's budget: what control counts ahead and is not shown yet is still left."""
        if self.display.day_bytes_left is None:
            return None
        return max(0, self.display.day_bytes_left - (self._charged - self._base))

    async def view(self) -> View:
        """The rule for an output that is waiting, renewed first if it is older than a second (not needed at public)."""
        if self.label > Label.PUBLIC and self._clock() - self._decided_at > FRESH:
            await self._renew()
        silence = ""
        if self.label > Label.PUBLIC and self._clock() - self._decided_at > STALE:
            silence = "The display rule could not be checked: the control service does not answer."
        elif not self.display.allowed:
            silence = self.display.text or "Nothing may be shown."
        return View(self.label, self.display, self.day_left(), silence)

    async def _renew(self) -> None:
        if self._asking is None or self._asking.done():
            if self._clock() - self._asked_at < FRESH:
                return
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._ask())
        # Past the limit nothing is shown anyway: output is not made to wait for a service that was away just now.
        if not self._away or self._clock() - self._decided_at <= STALE:
            await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        mark = self._acknowledged
        try:
            self.learn(await self.control.display(), mark)
        except Problem as problem:
            app_log.warning("the display rule could not be renewed: %s", problem.title)
            self._away = True
            if problem.status in {401, 403}:
                self.display = nothing("", f"{problem.title}. {problem.detail}")
                self._decided_at = self._clock()
                self.publish("label", self.label_event())

    # --- bytes -----------------------------------------------------------------------------------------------------

    async def pay(self, kernel: str, amount: int) -> bool:
        """Charge bytes of a kernel's output to the day before they are shown; False where that failed.

        Control counts them in steps ahead, so that a server which is killed has not shown what was not counted.
        """
        self._charged += amount
        due = self._charged - self._acknowledged
        if due <= 0:
            return True
        left = self.display.day_bytes_left
        step = STEP if left is None else max(due, min(LIMITED_STEP, self.day_left() or 0))
        mark = self._acknowledged
        bought = max(due, step)
        try:
            answer = await self.control.charge(kernel, "cell", bought)
        except Problem as problem:
            app_log.warning("output could not be charged: %s", problem.title)
            self._charged -= amount
            return False
        self._acknowledged += bought
        self.learn(answer, mark + bought)
        return True

    async def charge_now(self, route: str, amount: int) -> None:
        """Charge bytes of no kernel to the day before they are shown. Raises Problem: then they must not be shown."""
        mark = self._acknowledged
        self._charged += amount
        try:
            answer = await self.control.charge(None, route, amount)
        except Problem:
            self._charged -= amount
            raise
        # The answer has counted these bytes already.
        self._acknowledged += amount
        self.learn(answer, mark + amount)

    async def count_shown(self, amount: int) -> str:
        """Charge bytes that are about to be shown outside any cell. Returns why they must not be, empty if they may.

        Raises Problem where they could not be charged: then they must not be shown either.
        """
        view = await self.view()
        if view.sealed or view.label == Label.PUBLIC:
            return view.sealed
        if view.day_left is None:
            return ""
        if amount > view.day_left:
            return "It is longer than what is left of the day's display budget."
        await self.charge_now("work", amount)
        return ""

    def was_told(self, told: bytes) -> bool:
        return hashlib.sha256(told).digest() in self._told

    def remember_told(self, told: bytes) -> None:
        """Note what was shown and never changes, so that showing it again costs nothing."""
        self._told.add(hashlib.sha256(told).digest())

    def close_kernel(self, kernel: str, reason: str) -> None:
        """Queue the record of a kernel's end."""
        if reason == "shutdown":
            self.notebooks.pop(kernel, None)
        self._reports.put_nowait(partial(self.control.close_kernel, kernel, reason))

    def end_cell(self, entry: int, end: dict[str, Any]) -> None:
        """Queue a cell's end; it is sent soon, before whatever is queued after it, and again until control has it."""
        self._reports.put_nowait({"entry": entry, **end})

    async def reported(self, patience: float = 15.0) -> None:
        """Return when control has got all that was queued until now. Raises Problem where it does not answer."""
        self._hurry.set()
        try:
            await asyncio.wait_for(self._reports.join(), patience)
        except TimeoutError:
            raise control_silent() from None
        finally:
            self._hurry.clear()

    async def _report(self) -> None:
        while True:
            waiting = [await self._reports.get()]
            if isinstance(waiting[0], dict):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), GATHER)
            waiting += [self._reports.get_nowait() for _ in range(self._reports.qsize())]
            for together in _together(waiting):
                await self._deliver(together)
                for _ in together:
                    self._reports.task_done()

    async def _deliver(self, together: list[_Report]) -> None:
        """Send ends of cells in one message, or make one call; again while control does not answer."""
        ends = [report for report in together if isinstance(report, dict)]
        calls = [report for report in together if not isinstance(report, dict)]
        for attempt in itertools.count():
            try:
                await (self.control.end_cells(ends) if ends else calls[0]())
            except Problem as problem:
                if problem.status >= 500:  # noqa: PLR2004 - HTTP's server errors: try again
                    await asyncio.sleep(RETRY[min(attempt, len(RETRY) - 1)])
                    continue
                app_log.error("control refused a report: %s", problem.title)
            return

    # --- what pages are told ---------------------------------------------------------------------------------------

    def listen(self) -> asyncio.Queue[tuple[str, dict[str, Any]]]:
        """A queue of (event, data); the label in force comes first. Give it back with `leave`."""
        queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(EVENTS_WAITING)
        queue.put_nowait(("label", self.label_event()))
        self._listeners.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[tuple[str, dict[str, Any]]]) -> None:
        self._listeners.discard(queue)

    def publish(self, event: str, data: dict[str, Any]) -> None:
        """Tell every listening page; one that does not keep up misses events and starts anew when it reconnects."""
        for queue in self._listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait((event, data))

    def remember_cell(self, notebook: str, cell: str, entry: int, checkpoint: str | None) -> dict[str, Any]:
        """Note a cell that was recorded; returns its seal. `checkpoint`: the log's, which covers the entry.

        All of it is known before the cell runs, so nothing of it is the kernel's choice.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        seal = {"entry": entry, "time": now, "checkpoint": checkpoint}
        self._cells.append((notebook, {"cell": cell, **seal}))
        return seal

    def cells(self, notebook: str) -> list[dict[str, Any]]:
        """The last run of each cell of one notebook in this server's life."""
        return list({cell["cell"]: cell for path, cell in self._cells if path == notebook and cell["cell"]}.values())

    def rename(self, kernel: str, notebook: str) -> None:
        """A kernel's notebook has another path from now on; the cells that ran in it go along."""
        before = self.notebooks.get(kernel, notebook)
        self.notebooks[kernel] = notebook
        if before not in {"", notebook}:
            moved = ((notebook if path == before else path, cell) for path, cell in self._cells)
            self._cells = deque(moved, maxlen=CELLS_KEPT)

    def entries(self) -> list[int]:
        """The entries of all cells in this server's life, oldest first."""
        return [cell["entry"] for _, cell in self._cells]

    async def _watch(self) -> None:
        """Tell pages when somebody else has decided on a request or an export."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            if not self._listeners:
                continue
            with contextlib.suppress(Problem):
                self.note_states("request", (await self.control.access_requests()).get("access_requests"))
                self.note_states("export", (await self.control.exports()).get("exports"))

    def note_states(self, event: str, items: Any) -> None:
        """Publish `event` for each of `items` whose state is another than the one last seen."""
        for item in items if isinstance(items, list) else []:
            key, state = (event, str(item.get("id"))), str(item.get("state"))
            seen = self._states.get(key)
            self._states[key] = state
            if seen is not None and seen != state:
                self.publish(event, {"id": key[1], "state": state})
