"""The cells of a notebook as they were run: from verified begins and ends, with the code that the log keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from strongroom_hub.audit import reader
from strongroom_hub.audit.ends import with_ends
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.texts import text_of
from strongroom_hub.audit.writer import AuditWriter
from strongroom_hub.control.context import Context

_STARTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """Which notebook: by the name that it had when its kernel was started, in the work folder of somebody."""

    name: str
    user: str | None
    """None: whoever has one of that name."""
    project: str | None


def replayed(
    writer: AuditWriter, context: Context, notebook: Notebook, *, before: int | None, limit: int
) -> dict[str, Any]:
    """`{"cells","next"}`, newest begin first; `next` is the `before` to go on with. For the operator, and recorded.

    A kernel is given one cell at a time, each after its begin: the order of the begins is that of the runs. Raises
    AlteredEntryError.
    """
    asked = {"replay": notebook.name, "user": notebook.user, "project": notebook.project, "before": before}
    writer.append(Entry(action=Action.LOG_READ, actor="operator", object="log", detail=asked | {"limit": limit}))
    begins = reader.entries(
        context.engine,
        action=Action.CELL_BEGIN.value,
        object=notebook.name,
        actor=None if notebook.user is None else f"user:{notebook.user}",
        project=notebook.project,
        before=before,
        limit=limit,
    )
    begins = with_ends(context, begins)
    ends, starts = _ends(context, begins), _starts(context, begins)
    cells = [
        _cell(context, begin, ends.get(begin["index"])) | {"kernel_start": starts.get(begin["index"])}
        for begin in begins
    ]
    return {"cells": cells, "next": begins[-1]["index"] if len(begins) == limit else None}


def _ends(context: Context, begins: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Verified end entries by their begins. Where each lies is looked up; that it is the one, it says itself."""
    wanted = {begin["end"]["entry"]: begin["index"] for begin in begins if begin["end"]["entry"] is not None}
    found = {end["index"]: end for end in reader.entries_at(context.engine, list(wanted))}
    for entry, begin in wanted.items():
        end = found.get(entry)
        if end is None or end["action"] != Action.CELL_END or end["detail"]["begin"] != begin:
            raise reader.AlteredEntryError(begin, f"entry {entry}, which is to be its end, is not")
    return {begin: found[entry] for entry, begin in wanted.items()}


def _starts(context: Context, begins: list[dict[str, Any]]) -> dict[int, int]:
    """The verified start of the kernel of each begin: a restart keeps the kernel's id and has a start of its own."""
    found: dict[int, int] = {}
    for actor in {begin["actor"] for begin in begins}:
        waiting = [begin for begin in begins if begin["actor"] == actor]
        before = waiting[0]["index"]
        while waiting:
            starts = reader.entries(
                context.engine, action=Action.KERNEL_START.value, actor=actor, before=before, limit=_STARTS
            )
            for start in starts:
                before = start["index"]
                for begin in waiting:
                    if begin["kernel"] == start["kernel"] and begin["index"] > before:
                        found[begin["index"]] = before
                waiting = [begin for begin in waiting if begin["index"] not in found]
            if len(starts) < _STARTS:
                break
    return found


def _cell(context: Context, begin: dict[str, Any], end: dict[str, Any] | None) -> dict[str, Any]:
    names = ("time", "project", "kernel", "label", "sources")
    cell = {"entry": begin["index"], "user": begin["actor"].removeprefix("user:")} | {
        name: begin[name] for name in names
    }
    cell |= {"cell": begin["detail"]["cell"], "silent": begin["detail"].get("silent", False)}
    cell |= {"end": begin["end"], "status": None, "count": None, "duration_ms": None, "label_after": None, "reads": []}
    if end is not None:
        told = end["detail"]
        cell |= {"status": told["status"], "count": told.get("count"), "duration_ms": told["duration_ms"]}
        cell |= {"label_after": end["label"], "reads": told.get("reads", [])}
    text = text_of(context, begin, may_read=True)
    return cell | {"code": text["payload"], "code_state": text["payload_state"], "erased": text["erased"]}
