"""The verbs of boxes: violations are recorded and listed; what the hub found out about its machine is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlmodel import col, delete, func, select

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.boxes import rules
from strongroom_hub.boxes.models import MachineCheck, Violation, violation_json
from strongroom_hub.boxes.rates import Unread
from strongroom_hub.control.callers import ServerCaller
from strongroom_hub.control.context import Context
from strongroom_hub.machine.check import Check, State
from strongroom_hub.projects.models import Kernel
from strongroom_hub.projects.rules import unknown_kernel

COUNTED = timedelta(days=1)
"""What the status page counts."""
UNREAD_TEXT = "Reads that came too fast were refused without being looked at."


@dataclass(frozen=True, slots=True)
class Report:
    """What a server saw one of its kernels try or run into; `counts` by name (a system call, a message type)."""

    kernel: str
    kind: rules.Kind
    counts: Mapping[str, int]
    text: str


def report(writer: AuditWriter, context: Context, caller: ServerCaller, told: Report) -> int:
    """The entry's index. Raises Problem 404 for a kernel that was never this server's, 429 when it comes too soon."""
    with context.reading() as session:
        kernel = session.get(Kernel, told.kernel)
        # A kernel that has ended counts: most limits are told of after they ended one.
        if kernel is None or kernel.server != caller.server:
            raise unknown_kernel()
    refused = context.bounds.reports.admit((told.kernel, told.kind))
    if refused is None:
        raise rules.too_many_reports(told.kind)
    who = Unread(caller.server, told.kernel, caller.user, caller.project)
    return writer.transact(lambda tx: _record(tx, context, who, told, refused))


def _record(tx: Tx, context: Context, who: Unread, told: Report, refused: int) -> int:
    counts = dict(told.counts)
    entry = tx.record(
        Entry(
            action=rules.ACTIONS[told.kind],
            actor=f"user:{who.user}",
            project=who.project,
            server=who.server,
            kernel=who.kernel,
            detail={"kind": told.kind, "counts": counts, "text": told.text, "reports_refused": refused},
        )
    )
    tx.session.add(
        Violation(
            entry=entry,
            at=context.clock(),
            user=who.user,
            project=who.project,
            server=who.server,
            kernel=who.kernel,
            kind=told.kind,
            counts=counts,
            text=told.text,
        )
    )
    return entry


def record_unread(writer: AuditWriter, context: Context, *, all_of_them: bool = False) -> None:
    """Entries about reads that were refused unlooked at; call each second, and once more at the end."""
    for who, count in context.bounds.unread.due(all_of_them=all_of_them):
        told = Report(who.kernel, rules.Kind.RATE, {"read": count}, UNREAD_TEXT)
        writer.transact(lambda tx, who=who, told=told: _record(tx, context, who, told, 0))  # type: ignore[misc]


def violations(context: Context, *, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    with context.reading() as session:
        found = session.exec(select(Violation).order_by(col(Violation.entry).desc()).limit(limit)).all()
        return [violation_json(one) for one in found]


def counted(context: Context) -> dict[str, int]:
    """What happened within the last day, by kind: the sums of all counts."""
    since = context.clock() - COUNTED
    sums = dict.fromkeys((str(kind) for kind in rules.Kind), 0)
    with context.reading() as session:
        query = select(Violation.kind, Violation.counts).where(col(Violation.at) >= since)
        for kind, counts in session.exec(query).all():
            sums[kind] = sums.get(kind, 0) + sum(counts.values())
    return {kind: count for kind, count in sums.items() if count}


# -- the machine --------------------------------------------------------------------------------------------------


def record_machine(writer: AuditWriter, checks: list[Check]) -> None:
    """Keep what the hub found at its start in place of what it found before; one entry says what is not fine."""

    def work(tx: Tx) -> None:
        tx.session.exec(delete(MachineCheck))
        for place, check in enumerate(checks):
            tx.session.add(
                MachineCheck(name=check.name, place=place, state=check.state, text=check.text, next=check.next)
            )
        tx.record(
            Entry(
                action=Action.MACHINE_CHECK,
                actor="system:hub",
                detail={state: [check.name for check in checks if check.state is state] for state in State},
            )
        )

    writer.transact(work)


def machine(context: Context) -> list[dict[str, Any]]:
    """The checks in their order; empty where the hub has not told yet."""
    with context.reading() as session:
        found = session.exec(select(MachineCheck).order_by(col(MachineCheck.place))).all()
        return [{"name": one.name, "state": one.state, "text": one.text, "next": one.next} for one in found]


def kernels_running(context: Context) -> dict[str, int]:
    """Kernels that have not ended, by tier."""
    with context.reading() as session:
        query = select(Kernel.tier, func.count()).where(col(Kernel.ended).is_(None)).group_by(col(Kernel.tier))
        return dict(session.exec(query).all())
