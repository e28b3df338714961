"""The doctor at the hub's start: control is told what it found, and no server starts where its box would not hold."""

from __future__ import annotations

import asyncio
from logging import Logger, LoggerAdapter

from strongroom_hub.config import Instance
from strongroom_hub.internal import ControlClient
from strongroom_hub.machine import boxes
from strongroom_hub.machine.check import Check, State, broken
from strongroom_hub.machine.doctor import Programs, examine
from strongroom_hub.problems import Problem

RETRIES, RETRY_SECONDS = 30, 1.0
Log = Logger | LoggerAdapter[Logger]


class StartCheck:
    """One examination in the life of a hub. It runs beside the hub's own start; the first server waits for it."""

    def __init__(self, place: Instance) -> None:
        self._place = place
        self._found: asyncio.Task[list[Check]] | None = None
        self._telling: asyncio.Task[None] | None = None

    def begin(self, control: ControlClient, log: Log) -> None:
        """Start to look; what is found goes to the log and to control. Call on the hub's event loop."""
        self._found = asyncio.create_task(asyncio.to_thread(self._look))
        self._telling = asyncio.create_task(self._tell(self._found, control, log))

    async def refusal(self, tier: str) -> Problem | None:
        """Why no server may start whose kernels get boxes of `tier`; None where its trial held."""
        if self._found is None:
            return _refused(tier, broken("box", "This machine has not been looked at.", "Restart the hub."))
        why = boxes.failed(tier, await asyncio.shield(self._found))
        return None if why is None else _refused(tier, why)

    def lacks(self, tier: str) -> str:
        """What a page says beside a profile of `tier` that no server may start with; empty where none is known yet."""
        if self._found is None or not self._found.done():
            return ""
        why = boxes.failed(tier, self._found.result())
        return "" if why is None else f"Not on this machine: {why.text}"

    def _look(self) -> list[Check]:
        try:
            return examine(Programs.of_instance(self._place), self._place)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, a machine that was not looked at starts no kernel
            text = f"This machine could not be looked at: {type(error).__name__}: {error}."
            return [broken(boxes.PREFIX + boxes.NEEDED, text[:900], "Run `strongroom doctor` to see what is wrong.")]

    async def _tell(self, found: asyncio.Task[list[Check]], control: ControlClient, log: Log) -> None:
        checks = await found
        for check in checks:
            if check.state is not State.FINE:
                log.warning("%s %s: %s %s", check.state, check.name, check.text, check.next)
        body = {"checks": [check.as_json() for check in checks]}
        for attempt in range(RETRIES):
            try:
                await control.call_async("POST", "machine", body)
            except Problem as problem:
                if attempt == RETRIES - 1:
                    log.error("control was not told about this machine: %s", problem)  # noqa: TRY400 - words suffice
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return


def _refused(tier: str, why: Check) -> Problem:
    return Problem(
        503,
        "box-does-not-hold",
        "No kernel can start on this machine",
        f"Kernels of this profile run in boxes of tier {tier}, and such a box does not hold here.",
        why=(f"{why.name}: {why.text}",),
        next=f"Tell your operator. {why.next}",
    )
