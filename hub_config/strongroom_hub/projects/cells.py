"""Begin and end of cells: the one path that every run of code takes, so its statements are written out.

A begin is durable before its cell runs; who may run it is checked in the transaction that records it. Both are called
from the thread of a connection (`cell_door`), and that thread commits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from strongroom_hub.access.display import display_of_nothing_read
from strongroom_hub.audit.entries import Action, EntryRefusedError
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.callers import ServerCaller, unknown_caller
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import iso, parse_or_none
from strongroom_hub.database import Statement
from strongroom_hub.problems import Problem
from strongroom_hub.projects import rules
from strongroom_hub.projects.knowledge import Knowledge, knowledge
from strongroom_hub.projects.service import entry_of

MAX_OUTPUTS = 200
"""Outputs of a cell that its end entry lists one by one: an entry's size is limited, a cell's outputs are not."""
READS_BYTES = 16_000
"""What its reads may take there. Each read has an entry of its own, too."""

_PLACE = Statement(
    "SELECT server.ended, workspace.label, project.name, project.since, project.until, kernel.id, kernel.ended, "
    "kernel.session_until, kernel.session_rule "
    "FROM server JOIN workspace ON workspace.id = server.workspace "
    "LEFT JOIN project ON project.name = server.project "
    "LEFT JOIN kernel ON kernel.id = :kernel AND kernel.server = server.id "
    "WHERE server.id = :server"
)
_SERVER = Statement(
    "SELECT server.ended, workspace.label FROM server JOIN workspace ON workspace.id = server.workspace "
    "WHERE server.id = :server"
)
_CELL = Statement("SELECT kernel, notebook, cell, label, end_entry FROM cell WHERE entry = :entry AND server = :server")
_SOURCES = Statement(
    "SELECT dataset, version, entry FROM source WHERE workspace = :workspace ORDER BY dataset, version"
)
_READS = Statement(
    'SELECT "index", leaf FROM log_entries WHERE action = :action AND "index" > :begin AND actor = :actor '
    'ORDER BY "index"'
)
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
    entry: int
    """Of its begin."""
    status: str
    shown: int
    withheld: int
    charged: int
    """The part of `shown` that was shown above public: a label may rise within a cell."""
    outputs: Sequence[dict[str, Any]]
    duration_ms: int
    count: int | None = None
    """Execution number; None where the kernel never began it."""


def begin_cell(writer: AuditWriter, context: Context, caller: ServerCaller, start: CellStart) -> tuple[int, Knowledge]:
    """The begin entry's index, durable when this returns, and what may be shown.

    Raises Problem 401 when the server has ended, 403 outside membership, window and session, 404 for an unknown kernel,
    503 where a witness of the log is required and none vouches for it.
    """
    context.witnessing.check()

    def work(tx: Tx) -> tuple[int, str, bool]:
        label = _label_of_place(tx.connection, context, caller, start.kernel)
        sources = tuple(_sources(tx.connection, caller))
        entry = tx.record(
            entry_of(
                caller,
                rules.BEGIN_ACTIONS[start.kind],
                kernel=start.kernel,
                object=start.notebook,
                label=label,
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
            label=label,
            began=iso(context.clock()),
        )
        return entry, label, bool(sources)

    entry, label, has_read = writer.transact(work)
    if has_read:
        return entry, knowledge(context, caller)
    display = display_of_nothing_read(context, user=caller.user, project=caller.project, label=label)
    return entry, Knowledge(label, [], display)


def _label_of_place(connection: Connection, context: Context, caller: ServerCaller, kernel: str) -> str:
    """The workspace's label, when a cell may run there now. Raises Problem."""
    ended, label, project, since, until, found, kernel_ended, session_until, session_rule = _PLACE(
        connection, server=caller.server, kernel=kernel
    ).fetchone()
    if ended is not None:
        raise unknown_caller()
    if project is None or not context.policy.is_member(caller.user, caller.project):
        raise rules.not_a_member(caller.project)
    rules.check_window(caller.project, parse_or_none(since), parse_or_none(until), context.clock())
    if found is None or kernel_ended is not None:
        raise rules.unknown_kernel()
    rules.check_session(parse_or_none(session_until), session_rule, context.clock())
    return str(label)


def _sources(connection: Connection, caller: ServerCaller) -> dict[str, int]:
    """The source set; each with the entry of the read that brought it in."""
    rows = _SOURCES(connection, workspace=caller.workspace)
    return {f"{dataset}@{version}": entry for dataset, version, entry in rows}


def _reads(connection: Connection, caller: ServerCaller, begin: int) -> tuple[list[dict[str, Any]], int]:
    """What a cell has read, as far as an entry has room for it, and how many reads that were."""
    found, room = [], READS_BYTES
    rows = _READS(connection, action=Action.READ_ALLOW.value, begin=begin, actor=caller.actor)
    fields = [json.loads(bytes(leaf)) for _, leaf in rows]
    own = [one for one in fields if one["detail"].get("cell") == begin and one["server"] == caller.server]
    for one in own:
        read = {"entry": one["index"], "dataset": one["object"], "columns": one["detail"]["columns"]}
        room -= len(json.dumps(read))
        if room < 0:
            break
        found.append(read)
    return found, len(own)


def end_cells(
    writer: AuditWriter, context: Context, caller: ServerCaller, ends: Sequence[CellEnd]
) -> list[int | Problem]:
    """Close cells; what they showed was charged before it was shown. Repeating an end gives the first answer.

    For each, in order: its entry, or Problem 404 for a cell that this server did not begin, 413 for one that does not
    fit into an entry. Raises Problem 401 when the server has ended.
    """

    def work(tx: Tx) -> list[int | Problem]:
        ended, label = _SERVER(tx.connection, server=caller.server).fetchone()
        if ended is not None:
            raise unknown_caller()
        sources = _sources(tx.connection, caller)
        return [_end_cell(tx, caller, end, _After(label, sources, iso(context.clock()))) for end in ends]

    return writer.transact(work)


@dataclass(frozen=True, slots=True)
class _After:
    """What is known of the workspace when a cell is over."""

    label: str
    sources: Mapping[str, int]
    now: str


def _end_cell(tx: Tx, caller: ServerCaller, end: CellEnd, after: _After) -> int | Problem:
    found = _CELL(tx.connection, server=caller.server, entry=end.entry).fetchone()
    if found is None:
        return rules.unknown_cell()
    kernel, notebook, cell, label_before, end_entry = found
    if end_entry is not None:
        return int(end_entry)
    detail = {
        "begin": end.entry,
        "cell": cell,
        "count": end.count,
        "status": end.status,
        "label_before": label_before,
        "shown": end.shown,
        "withheld": end.withheld,
        "charged": end.charged,
        "outputs": list(end.outputs[:MAX_OUTPUTS]),
        "outputs_in_all": len(end.outputs),
        "duration_ms": end.duration_ms,
    }
    if after.sources:
        detail["reads"], detail["reads_in_all"] = _reads(tx.connection, caller, end.entry)
        detail["new_sources"] = [name for name, entry in after.sources.items() if entry > end.entry]
    entry = entry_of(
        caller,
        Action.CELL_END,
        kernel=kernel,
        object=notebook,
        label=after.label,
        sources=tuple(after.sources),
        detail=detail,
    )
    try:
        index = tx.record(entry)
    except EntryRefusedError as refused:
        return refused
    _END_CELL(tx.connection, entry=end.entry, ended=after.now, status=end.status, end_entry=index)
    return index
