"""Which cells have no end, and why: seen beside each begin in lists, pages and timelines.

That a cell ended is what its end entry says. That it did not is known from what became of its kernel and server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select

from strongroom_hub.audit.entries import BEGINS
from strongroom_hub.control.context import Context
from strongroom_hub.projects.models import Cell, Kernel, Server


def with_ends(context: Context, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries, each begin with `end`: `{"state": "ended"|"running"|"missing", "entry": INDEX|null, "why"}`."""
    begins = [entry["index"] for entry in entries if entry["action"] in BEGINS]
    if not begins:
        return list(entries)
    with context.reading() as session:
        found = session.exec(
            select(Cell, Kernel, Server)
            .join(Kernel, col(Kernel.id) == Cell.kernel, isouter=True)
            .join(Server, col(Server.id) == Cell.server, isouter=True)
            .where(col(Cell.entry).in_(begins))
        ).all()
        ends = {cell.entry: _end(cell, kernel, server) for cell, kernel, server in found}
    missing = {"state": "missing", "entry": None, "why": "No cell of this entry is known."}
    return [
        entry | {"end": ends.get(entry["index"], missing)} if entry["action"] in BEGINS else entry for entry in entries
    ]


def _end(cell: Cell, kernel: Kernel | None, server: Server | None) -> dict[str, Any]:
    if cell.end_entry is not None:
        return {"state": "ended", "entry": cell.end_entry, "why": ""}
    if server is None or server.ended is not None:
        why = "Its notebook server ended, or was killed, before it told how the cell ended."
    elif kernel is None or kernel.ended is not None or kernel.started > cell.began:
        why = "Its kernel died or was restarted, and its server did not tell how the cell ended."
    else:
        return {"state": "running", "entry": None, "why": ""}
    return {"state": "missing", "entry": None, "why": why}
