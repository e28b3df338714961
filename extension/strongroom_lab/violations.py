"""What kernels tried or ran into, summed and reported to control: at most one report per kernel, kind and 10 seconds.

The first of a kind is reported at once, so that a single one is not held back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from strongroom_hub.problems import Problem
from tornado.log import app_log

from strongroom_lab.control import Control

INTERVAL = 10.0
"""Seconds between two reports of one kernel and kind."""
TICK = 1.0
MOST_NAMES = 100
"""Different names that one report holds; what is beyond them is counted as `other`."""
LONGEST_NAME = 64
LONGEST_TEXT = 1000
MOST_KERNELS = 1000
OTHER = "other"


@dataclass(slots=True)
class _Sum:
    counts: dict[str, int] = field(default_factory=dict)
    text: str = ""
    told: float = float("-inf")


class Violations:
    """Sums and reports. `note` may be called from the event loop's thread only."""

    def __init__(self, control: Control, clock: Callable[[], float] = time.monotonic) -> None:
        self._control = control
        self._clock = clock
        self._sums: dict[tuple[str, str], _Sum] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Report what is left, once."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.report(all_of_them=True)

    def note(self, kernel: str, kind: str, counts: dict[str, int], text: str = "") -> None:
        """Count; `kind`: syscall, limit, start, message or rate, `counts` by name. The last text given is reported."""
        key = (kernel, kind)
        if key not in self._sums and len(self._sums) >= MOST_KERNELS:
            return
        found = self._sums.setdefault(key, _Sum())
        for name, count in counts.items():
            known = name[:LONGEST_NAME] or OTHER
            if known not in found.counts and len(found.counts) >= MOST_NAMES:
                known = OTHER
            found.counts[known] = found.counts.get(known, 0) + count
        found.text = text[:LONGEST_TEXT] or found.text

    async def report(self, *, all_of_them: bool = False) -> None:
        """Send what is due; what control does not take now is added to the next report."""
        now = self._clock()
        for (kernel, kind), held in list(self._sums.items()):
            if not all_of_them and now - held.told < INTERVAL:
                continue
            if not held.counts:
                del self._sums[kernel, kind]
                continue
            counts, held.counts, held.told = held.counts, {}, now
            try:
                await self._control.report_violation(kernel, kind, counts, held.text)
            except Problem as problem:
                app_log.warning("a report of kernel %s (%s) was not taken: %s", kernel, kind, problem.title)
                if problem.status in {429, 502, 503}:
                    self.note(kernel, kind, counts)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            await self.report()
