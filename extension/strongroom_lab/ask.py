"""What a kernel may ask this server on its ask socket: open a dataset, the catalogue, its label, its display budget.

The one order that matters: control's decision, then the label of this server's kernels is raised and pages are told,
then the ticket is handed to the kernel. There is no moment in which a kernel has data that the gate does not know of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from strongroom_hub.problems import Problem

from strongroom_lab.workspace import QUESTIONS, QUESTIONS_PER_SECOND, Workspace

COLUMNS_LIMIT = 10_000
NAME_LIMIT = 256
PAUSE = 0.1
"""Seconds before a question that came too fast is refused."""
HANDED_ON = ("ticket", "dataset", "version", "label", "columns", "masked", "entry")

Answer = dict[str, Any]


class Questions:
    """Answers one kernel's questions. `kernel` is its id, `current_entry` gives the entry of the cell that runs."""

    def __init__(self, kernel: str, workspace: Workspace, current_entry: Callable[[], int]) -> None:
        self._kernel = kernel
        self._workspace = workspace
        self._current_entry = current_entry
        self._verbs: dict[str, Callable[[dict[str, Any]], Awaitable[Answer]]] = {
            "open": self._open,
            "catalog": self._catalog,
            "label": self._label,
            "budget": self._budget,
        }

    async def answer(self, request: dict[str, Any]) -> Answer:
        """One request of the kernel -> the whole answer, a problem included."""
        if not self._workspace.questions.take(None):
            self._workspace.violations.note(self._kernel, "rate", {"ask": 1}, "Questions came too fast.")
            # Who asks without end is slowed down: a refusal costs less than the asking.
            await asyncio.sleep(PAUSE)
            return {"ok": False, "problem": _too_fast().as_json()}
        try:
            verb = self._verbs.get(str(request.get("op")))
            if verb is None or request.get("v") != 1:
                raise _bad("The kernel's strongroom package asked something that this server does not know.")
            return {"ok": True, **await verb(request)}
        except Problem as problem:
            return {"ok": False, "problem": problem.as_json()}

    async def _open(self, request: dict[str, Any]) -> Answer:
        dataset, version, columns = request.get("dataset"), request.get("version"), request.get("columns")
        if not isinstance(dataset, str) or len(dataset) > NAME_LIMIT:
            raise _bad("A dataset is opened by its name, for example health/randhie.")
        if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
            raise _bad("A version is a whole number.")
        if columns is not None and not _are_names(columns):
            raise _bad("Columns are a list of names.")
        mark = self._workspace.mark
        decided = await self._workspace.control.read(
            kernel=self._kernel, cell=self._current_entry(), dataset=dataset, version=version, columns=columns
        )
        if not isinstance(decided.get("ticket"), str):
            raise Problem.from_json(None)
        self._workspace.learn(decided, mark)
        return {name: decided.get(name) for name in HANDED_ON}

    async def _catalog(self, _request: dict[str, Any]) -> Answer:
        return {"datasets": (await self._workspace.control.catalog()).get("datasets", [])}

    async def _label(self, _request: dict[str, Any]) -> Answer:
        return {"label": str(self._workspace.label), "sources": self._workspace.sources}

    async def _budget(self, _request: dict[str, Any]) -> Answer:
        view = await self._workspace.view()
        return {"display": {**view.display.as_json(), "day_bytes_left": view.day_left}}


def _are_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= COLUMNS_LIMIT
        and all(isinstance(name, str) and len(name) <= NAME_LIMIT for name in value)
    )


def _too_fast() -> Problem:
    return Problem(
        429,
        "too-many-questions",
        "Too many questions",
        f"This workspace may ask {QUESTIONS_PER_SECOND:g} questions a second, after {QUESTIONS} at once.",
        why=("questions are answered by this server and recorded, and no kernel may keep it from its other work",),
        next="Wait a few seconds. Open a dataset once and keep it in a variable, instead of opening it in a loop.",
    )


def _bad(detail: str) -> Problem:
    return Problem(400, "bad-question", "Not understood", detail, next="See help(strongroom.open).")
