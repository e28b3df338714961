"""The end of a kernel that has read data which a kernel may hold for so long only (`session` in the policy).

Control decides when; it takes no cell and no read from the kernel after that, and the vault takes the data back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from strongroom_lab.workspace import Workspace

WARNING = timedelta(minutes=10)
"""Before the end, when pages are told again."""


class Lifetime:
    """Counts for one kernel at a time; a restarted kernel has read nothing."""

    def __init__(self, kernel: str, workspace: Workspace, end: Callable[[str], Awaitable[None]]) -> None:
        """`end` ends the kernel; it is given what the person is told."""
        self._kernel = kernel
        self._workspace = workspace
        self._end = end
        self._until: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    def limit(self, decided: dict[str, Any]) -> None:
        """Take the end from control's answer to a read, where there is one and it is earlier than before."""
        told, rule = decided.get("session_until"), decided.get("session_rule")
        if not isinstance(told, str) or not isinstance(rule, str):
            return
        until = datetime.fromisoformat(told)
        if self._until is None or until < self._until:
            self.forget()
            self._until = until
            self._task = asyncio.create_task(self._run(until, rule))

    def forget(self) -> None:
        """The kernel has ended."""
        self._until = None
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None

    async def _run(self, until: datetime, rule: str) -> None:
        words = f"This kernel ends at {until:%H:%M} UTC, by {rule}: what it has read may be held for so long only."
        self._tell(words, rule)
        left = until - datetime.now(UTC)
        if left > WARNING:
            await asyncio.sleep((left - WARNING).total_seconds())
            self._tell(f"{words} Save what you need as files in the work folder.", rule)
        await asyncio.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))
        over = f"The session of this kernel is over, by {rule}. It was started anew, with nothing in its memory."
        self._tell(over, rule)
        await self._end(over)

    def _tell(self, text: str, rule: str) -> None:
        self._workspace.publish("notice", {"kernel": self._kernel, "rule": rule, "text": text, "bytes": 0})
