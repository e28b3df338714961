"""What a kernel may ask this server on its ask socket: open a dataset, the catalogue, its label, its display budget;
to prepare a request or an export for the person to submit; to save a table.

The one order that matters: control's decision, then the label of this server's kernels is raised and pages are told,
then the ticket is handed to the kernel. There is no moment in which a kernel has data that the gate does not know of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from strongroom_hub.problems import Problem

from strongroom_lab import workfiles
from strongroom_lab.drafts import Draft, Kind
from strongroom_lab.saves import Saver, Table
from strongroom_lab.values import encode
from strongroom_lab.workspace import QUESTIONS, QUESTIONS_PER_SECOND, Workspace

COLUMNS_LIMIT = 10_000
NAME_LIMIT = 256
TEXT_LIMIT = 10_000
DAYS_LIMIT = 3650
PAUSE = 0.1
"""Seconds before a question that came too fast is refused."""
HANDED_ON = ("ticket", "dataset", "version", "label", "columns", "masked", "filtered", "entry", "synthetic")

Answer = dict[str, Any]


class Questions:
    """Answers one kernel's questions. `kernel` is its id, `current` gives entry and code of the cell that runs."""

    def __init__(
        self,
        kernel: str,
        workspace: Workspace,
        saver: Saver,
        current: Callable[[], tuple[int, str]],
        decided: Callable[[Answer], None],
    ) -> None:
        """`decided` hears what control decided on each reading before the kernel does."""
        self._kernel = kernel
        self._workspace = workspace
        self._saver = saver
        self._current = current
        self._decided = decided
        self._verbs: dict[str, Callable[[dict[str, Any]], Awaitable[Answer]]] = {
            "open": self._open,
            "catalog": self._catalog,
            "label": self._label,
            "budget": self._budget,
            "used": self._used,
            "request": self._request,
            "export": self._export,
            "save": self._save,
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
            kernel=self._kernel,
            cell=self._current()[0],
            dataset=dataset,
            version=version,
            columns=columns,
            synthetic=request.get("synthetic") is True,
            stream=request.get("stream") is True,
        )
        if not isinstance(decided.get("ticket"), str):
            raise Problem.from_json(None)
        self._workspace.learn(decided, mark)
        self._decided(decided)
        return {name: decided.get(name) for name in HANDED_ON}

    async def _catalog(self, _request: dict[str, Any]) -> Answer:
        return {"datasets": (await self._workspace.control.catalog()).get("datasets", [])}

    async def _label(self, _request: dict[str, Any]) -> Answer:
        return {"label": str(self._workspace.label), "sources": self._workspace.sources}

    async def _budget(self, _request: dict[str, Any]) -> Answer:
        view = await self._workspace.view()
        return {"display": {**view.display.as_json(), "day_bytes_left": view.day_left}}

    async def _used(self, request: dict[str, Any]) -> Answer:
        """Which columns code used: a hint for the panel. Counted like output, and not taken where none may show."""
        dataset, columns = request.get("dataset"), request.get("columns") or []
        if not isinstance(dataset, str) or len(dataset) > NAME_LIMIT or not _are_names(columns):
            raise _bad("A dataset and names of columns are expected.")
        if not await self._workspace.count_shown(len(encode([dataset, columns]))):
            self._workspace.drafts.note_used(dataset, columns)
        return {}

    async def _request(self, request: dict[str, Any]) -> Answer:
        dataset, columns, used = request.get("dataset"), request.get("columns"), request.get("used") or []
        purpose, days = request.get("purpose"), request.get("days")
        if not (columns is None or _are_names(columns)) or not _are_names(used):
            raise _bad("Columns are a list of names.")
        if not isinstance(purpose, str) or not 0 < len(purpose) <= TEXT_LIMIT:
            raise _bad(f"A purpose has 1 to {TEXT_LIMIT:,} characters.")
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= DAYS_LIMIT:
            raise _bad(f"Days are a whole number from 1 to {DAYS_LIMIT}.")
        known = await self._columns(dataset)
        unknown = [column for column in columns or () if column not in known]
        if unknown:
            raise _bad(f"{dataset} has no column {', '.join(map(repr, unknown[:5]))}; it has {', '.join(known)}.")
        chosen = known if columns is None else columns
        used = [column for column in known if column in used]
        return await self._prepare(
            "access-request", {"dataset": dataset, "columns": chosen, "purpose": purpose, "days": days, "used": used}
        )

    async def _columns(self, dataset: Any) -> list[str]:
        datasets = (await self._workspace.control.catalog()).get("datasets", [])
        for one in datasets:
            if one.get("name") == dataset:
                return [str(column.get("name")) for column in one.get("columns") or []]
        raise Problem(
            404,
            "unknown-dataset",
            "No such dataset",
            f"There is no dataset {str(dataset)[:NAME_LIMIT]!r} that you may know of.",
            next="strongroom.catalog() lists what there is.",
        )

    async def _export(self, request: dict[str, Any]) -> Answer:
        paths, justification = request.get("paths") or [], request.get("justification")
        if not _are_names(paths, workfiles.MAX_NAME) or not 0 < len(paths) <= workfiles.MAX_FILES:
            raise _bad(f"An export has 1 to {workfiles.MAX_FILES} files of the work folder.")
        if not isinstance(justification, str) or not 0 < len(justification) <= TEXT_LIMIT:
            raise _bad(f"A justification has 1 to {TEXT_LIMIT:,} characters.")
        return await self._prepare("export", {"paths": paths, "justification": justification})

    async def _prepare(self, kind: Kind, body: dict[str, Any]) -> Answer:
        """Keep it for the person, whose own act it is to send it. Its words are code's, so they are counted first."""
        silence = await self._workspace.count_shown(len(encode(body)))
        if silence:
            rule = self._workspace.display.rule
            raise Problem(
                403,
                "display-budget",
                "Code cannot prepare this here",
                silence,
                why=(rule,) if rule else (),
                next="Fill in the form of the Datasets or Exports panel in the left sidebar yourself.",
            )
        notebook = self._workspace.notebooks.get(self._kernel, "")
        draft = Draft(kind, body, notebook, self._current()[0])
        self._workspace.drafts.add(draft)
        self._workspace.publish("draft", {"id": draft.id, "state": kind})
        return {"draft": draft.id}

    async def _save(self, request: dict[str, Any]) -> Answer:
        entry, code = self._current()
        return await self._saver.save(Table.of(request), kernel=self._kernel, cell=entry, code=code)


def _are_names(value: Any, longest: int = NAME_LIMIT) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= COLUMNS_LIMIT
        and all(isinstance(name, str) and len(name) <= longest for name in value)
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
