"""Begin and end of cells: the one path that every run of code takes, so its statements are written out.

A begin is durable before its cell runs; who may run it is checked in the transaction that records it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from strongroom_hub.access.display import display_of_nothing_read
from strongroom_hub.audit.entries import Action
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.callers import ServerCaller, unknown_caller
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import iso, parse
from strongroom_hub.database import Statement
from strongroom_hub.projects import rules
from strongroom_hub.projects.service import Knowledge, entry_of, knowledge

MAX_OUTPUTS = 200
"""Outputs of a cell that its end entry lists one by one: an entry's size is limited, a cell's outputs are not."""

_PLACE = Statement(
    "SELECT server.ended, workspace.label, project.name AS project, project.since, project.until, "
    "kernel.id AS kernel, kernel.ended AS kernel_ended "
    "FROM server JOIN workspace ON workspace.id = server.workspace "
    "LEFT JOIN project ON project.name = server.project "
    "LEFT JOIN kernel ON kernel.id = :kernel AND kernel.server = server.id "
    "WHERE server.id = :server"
)
_CELL = Statement(
    "SELECT server.ended AS server_ended, workspace.label, cell.entry, cell.kernel, cell.notebook, cell.cell, "
    "cell.end_entry "
    "FROM server JOIN workspace ON workspace.id = server.workspace "
    "LEFT JOIN cell ON cell.entry = :entry AND cell.server = server.id "
    "WHERE server.id = :server"
)
_SOURCES = Statement("SELECT dataset, version FROM source WHERE workspace = :workspace ORDER BY dataset, version")
_PUT_CELL = Statement(
    "INSERT INTO cell (entry, workspace, server, kernel, notebook, cell, kind, label, began) "
    "VALUES (:entry, :workspace, :server, :kernel, :notebook, :cell, :kind, :label, :began)"
)
_END_CELL = Statement("UPDATE cell SET ended = :ended, status = :status, end_entry = :end_entry WHERE entry = :entry")


@dataclass(frozen=True, slots=True)
class CellStart:
    kernel: str
    notebook: str | None
    cell: str | None
    kind: rules.CellKind
    code: str
    silent: bool = False


@dataclass(frozen=True, slots=True)
class CellEnd:
    status: str
    shown: int
    withheld: int
    charged: int
    """The part of `shown` that was shown above public: a label may rise within a cell."""
    outputs: Sequence[dict[str, Any]]
    duration_ms: int


async def begin_cell(
    writer: AuditWriter, context: Context, caller: ServerCaller, start: CellStart
) -> tuple[int, Knowledge]:
    """The begin entry's index, durable when this returns, and what may be shown.

    Raises Problem 401 when the server has ended, 403 outside membership and window, 404 for an unknown kernel.
    """

    def work(tx: Tx) -> tuple[int, str, bool]:
        place = _place(tx.connection, context, caller, start.kernel)
        sources = _source_names(tx.connection, caller)
        entry = tx.record(
            entry_of(
                caller,
                rules.BEGIN_ACTIONS[start.kind],
                kernel=start.kernel,
                object=start.notebook,
                label=place.label,
                sources=sources,
                detail={"cell": start.cell, "code_bytes": len(start.code.encode())}
                | ({"silent": True} if start.silent else {}),
                payload=start.code,
                payload_subject=caller.actor,
            )
        )
        _PUT_CELL(
            tx.connection,
            entry=entry,
            workspace=caller.workspace,
            server=caller.server,
            kernel=start.kernel,
            notebook=start.notebook,
            cell=start.cell,
            kind=start.kind.value,
            label=place.label,
            began=iso(context.clock()),
        )
        return entry, place.label, bool(sources)

    entry, label, has_read = await writer.transact_async(work)
    if has_read:
        return entry, await asyncio.to_thread(knowledge, context, caller)
    display = display_of_nothing_read(context, user=caller.user, project=caller.project, label=label)
    return entry, Knowledge(label, [], display)


def _place(connection: Connection, context: Context, caller: ServerCaller, kernel: str) -> Row[Any]:
    """Where a cell would run, when it may run there now. Raises Problem."""
    place = _PLACE(connection, server=caller.server, kernel=kernel).one()
    if place.ended is not None:
        raise unknown_caller()
    if place.project is None or not context.policy.is_member(caller.user, caller.project):
        raise rules.not_a_member(caller.project)
    rules.check_window(caller.project, _moment(place.since), _moment(place.until), context.clock())
    if place.kernel is None or place.kernel_ended is not None:
        raise rules.unknown_kernel()
    return place


def _moment(stored: str | None) -> datetime | None:
    return None if stored is None else parse(stored)


def _source_names(connection: Connection, caller: ServerCaller) -> tuple[str, ...]:
    rows = _SOURCES(connection, workspace=caller.workspace)
    return tuple(f"{row.dataset}@{row.version}" for row in rows)


async def end_cell(writer: AuditWriter, context: Context, caller: ServerCaller, entry: int, end: CellEnd) -> int:
    """Close a cell; what it showed was charged before it was shown. Repeating it gives the first answer.

    Raises Problem 401 when the server has ended, 404 for a cell that it did not begin.
    """

    def work(tx: Tx) -> int:
        cell = _CELL(tx.connection, server=caller.server, entry=entry).one()
        if cell.server_ended is not None:
            raise unknown_caller()
        if cell.entry is None:
            raise rules.unknown_cell()
        if cell.end_entry is not None:
            return int(cell.end_entry)
        end_entry = tx.record(
            entry_of(
                caller,
                Action.CELL_END,
                kernel=cell.kernel,
                object=cell.notebook,
                label=cell.label,
                sources=_source_names(tx.connection, caller),
                detail={
                    "begin": entry,
                    "cell": cell.cell,
                    "status": end.status,
                    "shown": end.shown,
                    "withheld": end.withheld,
                    "charged": end.charged,
                    "outputs": list(end.outputs[:MAX_OUTPUTS]),
                    "outputs_in_all": len(end.outputs),
                    "duration_ms": end.duration_ms,
                },
            )
        )
        _END_CELL(tx.connection, entry=entry, ended=iso(context.clock()), status=end.status, end_entry=end_entry)
        return end_entry

    return await writer.transact_async(work)
