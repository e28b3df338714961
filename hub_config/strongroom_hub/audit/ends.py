"""Which cells have no end, and why: seen beside each begin in lists, pages and timelines.

That a cell ended is what its end entry says. That it did not is known from what became of its kernel and server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from strongroom_hub.audit.entries import BEGINS
from strongroom_hub.control.context import Context
from strongroom_hub.projects.models import Cell, Kernel, Server

_CELLS, _KERNELS, _SERVERS = (model.__table__.c for model in (Cell, Kernel, Server))  # type: ignore[union-attr]
_PLACE = (
    # of many cells at once, so without making objects of their rows
    select(
        _CELLS.entry,
        _CELLS.end_entry,
        _CELLS.began,
        _SERVERS.id.label("server"),
        _SERVERS.ended.label("server_ended"),
        _KERNELS.id.label("kernel"),
        _KERNELS.ended.label("kernel_ended"),
        _KERNELS.started,
    )
    .select_from(Cell)
    .join(Kernel, _KERNELS.id == _CELLS.kernel, isouter=True)
    .join(Server, _SERVERS.id == _CELLS.server, isouter=True)
)


def with_ends(context: Context, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries, each begin with `end`: `{"state": "ended"|"running"|"missing", "entry": INDEX|null, "why"}`."""
    begins = [entry["index"] for entry in entries if entry["action"] in BEGINS]
    if not begins:
        return list(entries)
    with context.reading() as session:
        found = session.execute(_PLACE.where(_CELLS.entry.in_(begins))).all()
    ends = {one.entry: _end(one) for one in found}
    missing = {"state": "missing", "entry": None, "why": "No cell of this entry is known."}
    return [
        entry | {"end": ends.get(entry["index"], missing)} if entry["action"] in BEGINS else entry for entry in entries
    ]


def _end(cell: Any) -> dict[str, Any]:
    if cell.end_entry is not None:
        return {"state": "ended", "entry": cell.end_entry, "why": ""}
    if cell.server is None or cell.server_ended is not None:
        why = "Its notebook server ended, or was killed, before it told how the cell ended."
    elif cell.kernel is None or cell.kernel_ended is not None or cell.started > cell.began:
        why = "Its kernel died or was restarted, and its server did not tell how the cell ended."
    else:
        return {"state": "running", "entry": None, "why": ""}
    return {"state": "missing", "entry": None, "why": why}
