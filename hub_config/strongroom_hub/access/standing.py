"""Reads that were allowed and whose data is still held: would they be allowed now, and how did they end.

The vault asks and tells; it signs what it says. Decided by the same rules as a read, for exactly what was read then.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session, col, select

from strongroom_hub.access import reads
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.models import LogEntry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.callers import ServerCaller, uid_index
from strongroom_hub.control.context import Context
from strongroom_hub.control.tickets import ReadEnd, bad_receipt
from strongroom_hub.control.times import iso, parse
from strongroom_hub.problems import Problem
from strongroom_hub.projects.models import Kernel, Server


def ended(context: Context, entries: Collection[int]) -> dict[int, Problem]:
    """Those of these reads that would not be allowed any more, and why."""
    found: dict[int, Problem] = {}
    with context.reading() as session:
        for entry in entries:
            try:
                _check(session, context, _fields(session, entry))
            except Problem as problem:
                found[entry] = problem
    return found


def record_end(writer: AuditWriter, context: Context, end: ReadEnd) -> int:
    """The end entry of a read; told again, it is the first one. Raises Problem 422 for what is no read."""
    with context.reading() as session:
        begin = _fields(session, end.entry)
    told = {"why": end.why, "rows": end.rows, "bytes": end.bytes, "batches": end.batches}

    def work(tx: Tx) -> int:
        known = _end_of(tx.session, begin)
        return known if known is not None else _record(tx, begin, {"state": end.state, **told})

    return writer.transact(work)


def record_start(writer: AuditWriter, context: Context, started: float) -> int:
    """The vault started: streams of its former life end here, as far as their end was not told. How many that were.

    A vault that is killed tells nothing. What it handed out nobody knows then; it may have been all. Told again,
    nothing is recorded.
    """
    moment = iso(datetime.fromtimestamp(started, UTC))
    with context.reading() as session:
        before = _last_start(session)
        if before == moment:
            return 0
        leaves = session.exec(
            select(LogEntry.leaf).where(
                LogEntry.action == Action.READ_ALLOW, LogEntry.time >= before, LogEntry.time < moment
            )
        )
        begun = [fields for leaf in leaves if (fields := json.loads(bytes(leaf)))["detail"].get("stream")]
    unknown: dict[str, Any] = {
        "state": "interrupted",
        "why": "vault-started",
        "rows": None,
        "bytes": None,
        "batches": None,
    }

    def work(tx: Tx) -> int:
        if _last_start(tx.session) == moment:
            return 0
        still_open = [begin for begin in begun if _end_of(tx.session, begin) is None]
        for begin in still_open:
            _record(tx, begin, unknown)
        told: dict[str, Any] = {"started": moment, "interrupted": len(still_open)}
        tx.record(Entry(action=Action.VAULT_START, actor="system:vault", detail=told))
        return len(still_open)

    return writer.transact(work)


def _last_start(session: Session) -> str:
    """When the vault last started, as it said; empty where it never did."""
    leaf = session.exec(
        select(LogEntry.leaf).where(LogEntry.action == Action.VAULT_START).order_by(col(LogEntry.index).desc()).limit(1)
    ).first()
    return "" if leaf is None else str(json.loads(bytes(leaf))["detail"]["started"])


def _record(tx: Tx, begin: dict[str, Any], told: dict[str, Any]) -> int:
    return tx.record(
        Entry(
            action=Action.READ_END,
            actor=begin["actor"],
            project=begin["project"],
            server=begin["server"],
            kernel=begin["kernel"],
            object=begin["object"],
            label=begin["label"],
            sources=tuple(begin["sources"]),
            detail={"read": begin["index"], **told},
        )
    )


def _fields(session: Session, entry: int) -> dict[str, Any]:
    """A read's entry. Raises Problem 422 where it is none."""
    found = session.get(LogEntry, entry)
    if found is None or found.action != Action.READ_ALLOW:
        raise bad_receipt(f"entry {entry} is no read")
    fields: dict[str, Any] = json.loads(bytes(found.leaf))
    return fields


def _end_of(session: Session, begin: dict[str, Any]) -> int | None:
    rows = session.exec(
        select(LogEntry.index, LogEntry.leaf).where(
            LogEntry.object == begin["object"],
            LogEntry.action == Action.READ_END,
            col(LogEntry.index) > begin["index"],
        )
    )
    return next((index for index, leaf in rows if json.loads(bytes(leaf))["detail"]["read"] == begin["index"]), None)


def _check(session: Session, context: Context, fields: dict[str, Any]) -> None:
    """Raises the Problem that says why this is over."""
    detail = fields["detail"]
    began = parse(fields["time"])
    dataset, _, version = fields["object"].rpartition("@")
    wanted = reads.Wanted(
        kernel=fields["kernel"],
        cell=detail["cell"],
        dataset=dataset,
        version=int(version),
        columns=list(detail["columns"]),
        synthetic=detail.get("synthetic") is True,
    )
    caller = _caller(session, fields)
    verdict = reads.judge(session, context, caller, wanted, today=began.date())
    filters = None if verdict.sight.rows is None else list(verdict.sight.rows)
    if (verdict.sight.masks, filters) != (detail["masks"], detail["filters"]):
        raise Problem(
            403,
            "rules-changed",
            "The rules on this data have changed",
            f"{dataset} may be read by other rules than when it was opened: other masks, or other rows.",
            why=(f"policy {context.policy.version}",),
            next="Open it again: you get what the rules of now allow.",
        )


def _caller(session: Session, fields: dict[str, Any]) -> ServerCaller:
    """Who read, if that kernel still runs as it did then. Raises Problem 410."""
    server = session.get(Server, fields["server"])
    kernel = session.get(Kernel, fields["kernel"])
    gone = server is None or server.ended is not None
    if gone or kernel is None or kernel.ended is not None or _began_anew(session, fields):
        raise Problem(
            410,
            "kernel-ended",
            "The kernel that read this has ended",
            "It was shut down or restarted, or its notebook server was.",
            next="Open the data again.",
        )
    assert server is not None  # noqa: S101 - not gone
    return ServerCaller(server.id, server.workspace, server.user, server.project, uid_index(server.workspace))


def _began_anew(session: Session, fields: dict[str, Any]) -> bool:
    """Whether the kernel was restarted since: that keeps its id."""
    leaves = session.exec(
        select(LogEntry.leaf).where(
            LogEntry.actor == fields["actor"],
            LogEntry.action == Action.KERNEL_START,
            col(LogEntry.index) > fields["index"],
        )
    )
    return any(json.loads(bytes(leaf))["kernel"] == fields["kernel"] for leaf in leaves)
