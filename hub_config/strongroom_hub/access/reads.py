"""Reading a dataset: decided per column, recorded, labels raised, and only then a ticket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select
from strongroom_policy.decision import Decision
from strongroom_policy.labels import highest
from strongroom_policy.obligations import Due, strictest
from strongroom_policy.profiles import Profile
from strongroom_policy.values import Session as SessionLength

from strongroom_hub.access.files import check_files
from strongroom_hub.access.models import Grant
from strongroom_hub.access.questions import column_questions, may_discover
from strongroom_hub.access.rules import ASK, invalid_request
from strongroom_hub.access.sources import with_source
from strongroom_hub.access.training import check_training
from strongroom_hub.access.twins import GROUP, LABEL, twin_columns
from strongroom_hub.access.viewing import Sight, row_filters, subject_of
from strongroom_hub.audit.entries import Action
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.boxes.rates import Unread
from strongroom_hub.boxes.rules import too_many_denials
from strongroom_hub.catalog.rules import retired, unknown_dataset
from strongroom_hub.catalog.service import View, active_view, retired_view
from strongroom_hub.control.callers import ServerCaller
from strongroom_hub.control.context import Context, settle
from strongroom_hub.control.tickets import ReadView
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.derived import lineage
from strongroom_hub.derived.lineage import Seen
from strongroom_hub.keys.service import gone, refusal
from strongroom_hub.problems import Problem
from strongroom_hub.projects.knowledge import Knowledge, knows
from strongroom_hub.projects.models import Kernel
from strongroom_hub.projects.rules import check_session, reaches
from strongroom_hub.projects.service import (
    check_member,
    entry_of,
    running_kernel,
    source_names,
    sources_of,
    working_kernel,
    workspace_of,
)

MAX_VIEW_BYTES = 4 << 30
CARRIED_OUT = ("mask", "max-days", "rows", "sandbox", "session", "training")
"""The obligations on reading that control and vault carry out; a reading that owes another one is refused."""
WHY_LINES = 12
"""Lines of reasons that a refusal carries: wide datasets repeat themselves."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`version` None: the newest; `columns` None: all that are allowed, in the dataset's order."""

    kernel: str
    cell: int | None
    dataset: str
    version: int | None
    columns: list[str] | None
    synthetic: bool = False
    """The synthetic twin instead of the data."""
    stream: bool = False
    """In batches: the ticket opens a stream, whose end is an entry, too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reading that is allowed shows, and what the data was made from."""

    view: View
    sight: Sight
    sources: list[Seen]
    session: Due[SessionLength | None]
    """How long a kernel may live that has read it."""


@dataclass(frozen=True, slots=True)
class _Allowed:
    view: View
    sight: Sight
    label: str
    """Of what is read."""
    entry: int
    synthetic: bool = False
    until: datetime | None = None
    """When the kernel has to have ended, by all that it has read."""
    until_rule: str = ""


def read(writer: AuditWriter, context: Context, caller: ServerCaller, wanted: Wanted) -> dict[str, Any]:
    """Decide, record, raise label and source set in one transaction; then sign the ticket.

    Raises Problem 403 (`no-grant`, `not-cleared`, `expired`, `revoked`, `column-not-allowed`, `weaker-box`,
    `not-a-member`), 404 (`unknown-dataset`, the same for what does not exist and what may not be known;
    `unknown-kernel`) or 422. Every refusal of a dataset is an entry; after many of them, in short time, reads are
    refused without being looked at (429), which becomes one entry now and then.
    """
    if not context.bounds.denials.take(caller.workspace):
        context.bounds.unread.add(Unread(caller.server, wanted.kernel, caller.user, caller.project))
        raise too_many_denials()
    allowed, known = settle(writer.transact(lambda tx: _decide(tx, context, caller, wanted)))
    context.bounds.denials.give_back(caller.workspace)
    ticket = context.tickets.read(
        ReadView(
            user=caller.user,
            project=caller.project,
            kernel=wanted.kernel,
            uid=context.kernel_uid(caller.uid_index),
            dataset=allowed.view.name,
            version=allowed.view.version.version,
            manifest=allowed.view.version.manifest_digest,
            label=allowed.label,
            columns=tuple(allowed.sight.columns),
            masks=allowed.sight.claims,
            rows=allowed.sight.rows,
            max_bytes=MAX_VIEW_BYTES,
            entry=allowed.entry,
            group=GROUP if allowed.synthetic else "table",
            stream=wanted.stream,
        )
    )
    return {
        "ticket": ticket,
        "dataset": allowed.view.name,
        "version": allowed.view.version.version,
        "columns": allowed.sight.columns,
        "masked": allowed.sight.masks,
        "filtered": allowed.sight.rows is not None,
        "entry": allowed.entry,
        **known.as_json(),
        "workspace_label": known.label,
        "label": allowed.label,
        "synthetic": allowed.synthetic,
        "session_until": iso_or_none(allowed.until),
        "session_rule": allowed.until_rule,
    }


def _decide(tx: Tx, context: Context, caller: ServerCaller, wanted: Wanted) -> tuple[_Allowed, Knowledge] | Problem:
    kernel = running_kernel(tx.session, caller, wanted.kernel)
    view: View | None = None
    try:
        check_session(kernel.session_until, kernel.session_rule, context.clock())
        check_member(tx.session, context, caller.user, caller.project)
        view = _known_view(tx.session, context, caller, wanted)
        verdict = _judged(tx.session, context, caller, kernel, wanted, view, today=context.clock().date())
    except Problem as problem:
        if problem.status == 422:  # noqa: PLR2004 - a question that makes no sense is no decision
            raise
        _record_denial(tx, caller, wanted, view, problem)
        return problem
    if wanted.synthetic:
        allowed = _record_twin(tx, context, caller, wanted, verdict)
    else:
        allowed = _record_reading(tx, context, caller, wanted, verdict, kernel)
    return allowed, knows(tx.connection, context, caller)


def judge(session: Session, context: Context, caller: ServerCaller, wanted: Wanted, *, today: date) -> Verdict:
    """Decide and record nothing; `today`: the day to which row filters are bound. Raises Problem as `read` does."""
    kernel = working_kernel(session, context, caller, wanted.kernel)
    check_member(session, context, caller.user, caller.project)
    view = _known_view(session, context, caller, wanted)
    return _judged(session, context, caller, kernel, wanted, view, today=today)


def _judged(  # noqa: PLR0917 - thin
    session: Session, context: Context, caller: ServerCaller, kernel: Kernel, wanted: Wanted, view: View, *, today: date
) -> Verdict:
    if wanted.synthetic:  # whoever may know of a dataset may read its twin
        columns = twin_columns(view, wanted.columns)
        _check_names(view, columns)
        return Verdict(view, Sight(columns, {}, None, None), [], Due(None, ""))
    sources, owed = _sources(session, context, caller, view)
    rulings = _allowed_columns(session, context, caller, view, wanted.columns)
    _check_carried_out(view, [*rulings.values(), *owed])
    due = strictest(ruling.obligations for ruling in [*rulings.values(), *owed])
    check_training(session, due.training, user=caller.user, today=context.clock().date(), of=view.name)
    rulings = _not_shredded(session, view, rulings, explicit=wanted.columns is not None)
    check_files(view, rulings)
    _check_tier(context, caller, kernel, view, rulings, owed)
    return Verdict(view, _sight(caller, view, rulings, today), sources, due.session)


def _record_twin(tx: Tx, context: Context, caller: ServerCaller, wanted: Wanted, verdict: Verdict) -> _Allowed:
    view, columns = verdict.view, verdict.sight.columns
    entry = tx.record(
        entry_of(
            caller,
            Action.READ_ALLOW,
            kernel=wanted.kernel,
            object=f"{view.name}@{view.version.version}",
            label=LABEL,
            sources=source_names(sources_of(tx.session, caller.workspace)),
            detail={
                "cell": wanted.cell,
                "columns": columns,
                "masks": {},
                "filters": None,
                "policy": context.policy.version,
                "rows": (view.version.twin or {}).get("rows"),
                "synthetic": True,
            }
            | _streamed(wanted),
        )
    )
    return _Allowed(view, verdict.sight, LABEL, entry, synthetic=True)


def _streamed(wanted: Wanted) -> dict[str, Any]:
    return {"stream": True} if wanted.stream else {}


def _sight(caller: ServerCaller, view: View, rulings: dict[str, Decision], today: date) -> Sight:
    """What the kernel gets to see: columns, masks and rows. Raises Problem 403 where one of them does not fit."""
    masks = {column: mask for column, ruling in rulings.items() if (mask := ruling.obligations.mask.value) is not None}
    due = strictest(ruling.obligations for ruling in rulings.values()).rows
    rows = row_filters(view, due, project=caller.project, today=today)
    return Sight(list(rulings), masks, subject_of(view, masks), rows)


def _known_view(session: Session, context: Context, caller: ServerCaller, wanted: Wanted) -> View:
    view = active_view(session, wanted.dataset, wanted.version)
    if view is None:
        _check_retired(session, context, caller, wanted)
    if view is None or not may_discover(context, view, user=caller.user, project=caller.project):
        raise unknown_dataset(wanted.dataset if wanted.version is None else f"{wanted.dataset}@{wanted.version}")
    return view


def _check_retired(session: Session, context: Context, caller: ServerCaller, wanted: Wanted) -> None:
    """Raises Problem 410 `version-retired` where the version is, and the caller may know of it."""
    old = retired_view(session, wanted.dataset, wanted.version)
    if old is None or not may_discover(context, old, user=caller.user, project=caller.project):
        return
    about = old.version
    raise retired(old.name, about.version, iso_or_none(about.retired) or "", about.retired_why or "")


def _sources(session: Session, context: Context, caller: ServerCaller, view: View) -> tuple[list[Seen], list[Decision]]:
    """What a derived dataset was made from, and the rulings on that. Raises Problem 403 where they do not allow it.

    To who neither saved it nor ever read it, it is then unknown: its name and sources are no news for everybody.
    """
    try:
        return lineage.check_derived(session, context, view, user=caller.user, project=caller.project)
    except Problem:
        if not lineage.has_known(session, caller.workspace, caller.user, view):
            raise unknown_dataset(view.name) from None
        raise


def _allowed_columns(
    session: Session, context: Context, caller: ServerCaller, view: View, wanted: list[str] | None
) -> dict[str, Decision]:
    """The rulings that allow, by column, in the order asked. Raises Problem."""
    if wanted is not None:
        _check_names(view, wanted)
    questions = column_questions(view, "read", user=caller.user, project=caller.project)
    asked = wanted if wanted is not None else list(questions)
    decided = context.policy.decide_all(questions[column] for column in asked)
    rulings = dict(zip(asked, decided, strict=True))
    refused = {column: ruling for column, ruling in rulings.items() if not ruling.allowed}
    granted = {column: ruling for column, ruling in rulings.items() if ruling.allowed}
    if (wanted is not None and refused) or not granted:
        raise _refusal(session, context, caller, view, refused, partly=bool(granted))
    return granted


def _not_shredded(session: Session, view: View, rulings: dict[str, Decision], *, explicit: bool) -> dict[str, Decision]:
    """Without what was shredded. Raises Problem 410 where that was asked for by name, or where nothing is left."""
    lost = gone(session, view.name, view.version.version, rulings)
    if lost and (explicit or len(lost) == len(rulings)):
        column, shred = next(iter(lost.items()))
        raise refusal(shred, column)
    return {column: ruling for column, ruling in rulings.items() if column not in lost}


def _check_carried_out(view: View, rulings: list[Decision]) -> None:
    """Raises Problem 403 `not-carried-out` where something is owed that nobody here can do: it is never ignored."""
    unmet = strictest(ruling.obligations for ruling in rulings).unmet("read", CARRIED_OUT)
    if unmet:
        raise Problem(
            403,
            "not-carried-out",
            "This data comes with a condition that cannot be met here",
            f"You may read {view.name}, but on conditions that this installation cannot carry out yet.",
            why=unmet[:WHY_LINES],
            next="Ask an administrator: the rule stands in the policy files.",
        )


def _check_tier(  # noqa: PLR0917 - thin
    context: Context,
    caller: ServerCaller,
    kernel: Kernel,
    view: View,
    rulings: dict[str, Decision],
    owed: list[Decision],
) -> None:
    """Raises Problem 403 `weaker-box` where a column, or a source, asks for a stronger box than the kernel has."""
    due = strictest(ruling.obligations for ruling in [*rulings.values(), *owed]).sandbox
    if reaches(kernel.tier, due.value):
        return
    strong = [one for one in context.policy.profiles(caller.user, caller.project) if reaches(one.sandbox, due.value)]
    weak = [column for column, ruling in rulings.items() if reaches(kernel.tier, ruling.obligations.sandbox.value)]
    if owed:
        weak = []  # all columns were made from the sources
    raise Problem(
        403,
        "weaker-box",
        "This kernel's box is not strong enough for this data",
        f"{view.name} may be read in a box of tier {due.value}; this kernel runs in one of tier {kernel.tier}.",
        why=(f"rule {due.rule} sandbox {due.value}" + (f': "{due.why}"' if due.why else ""),),
        next=_stronger(strong, weak),
    )


def _stronger(profiles: list[Profile], weak: list[str]) -> str:
    """What to do next: a profile that would do, and the columns that this kernel may read as it is."""
    words = (
        f"Stop the server on the home page and start it with the profile {profiles[0].title!r} ({profiles[0].name})."
        if profiles
        else "None of the profiles that you may take here has such a box: ask an administrator for one."
    )
    if weak:
        words += f" As it is, this kernel may read: {', '.join(weak[:WHY_LINES])}."
    return words


def _check_names(view: View, wanted: list[str]) -> None:
    unknown = [column for column in wanted if view.column(column) is None]
    if unknown:
        raise Problem(
            422,
            "unknown-column",
            "No such column",
            f"{view.name} version {view.version.version} has no column {', '.join(repr(name) for name in unknown)}.",
            next="The Datasets panel, or strongroom.catalog(), lists the columns.",
        )
    if not wanted or len(set(wanted)) != len(wanted):
        raise invalid_request("name each wanted column once, and at least one")


def _refusal(
    session: Session,
    context: Context,
    caller: ServerCaller,
    view: View,
    refused: dict[str, Decision],
    *,
    partly: bool,
) -> Problem:
    why = tuple(dict.fromkeys(line for ruling in refused.values() for line in ruling.why()))[:WHY_LINES]
    named = ", ".join(list(refused)[:WHY_LINES])
    if partly:
        return Problem(
            403,
            "column-not-allowed",
            "Not all of these columns are allowed",
            f"You may read {view.name}, but not: {named}.",
            why=why,
            next=f"Leave them out, or ask for them. {ASK}",
        )
    questions = column_questions(view, "read", user=caller.user, project=caller.project)
    if not all(context.policy.is_cleared(questions[column]) for column in refused):
        return Problem(
            403,
            "not-cleared",
            "You are not cleared for this data",
            f"{view.name} is {view.version.label}, which is above your clearance.",
            why=why,
            next="Clearances stand in the policy files: ask an administrator. "
            "What you are cleared for is listed in the Datasets panel.",
        )
    return _without_grant(session, context, caller, view, why)


def _without_grant(
    session: Session, context: Context, caller: ServerCaller, view: View, why: tuple[str, ...]
) -> Problem:
    """Say so when there was a grant and it ended."""
    last = session.exec(
        select(Grant)
        .where(Grant.user == caller.user, Grant.project == caller.project, Grant.dataset == view.name)
        .order_by(col(Grant.since).desc())
    ).first()
    if last is not None and last.revoked_by is not None and last.ended_at is not None:
        return Problem(
            403,
            "revoked",
            "Your grant was revoked",
            f"Your access to {view.name} was revoked by {last.revoked_by} at {iso(last.ended_at)}.",
            why=((f"reason given: {last.reason}",) if last.reason else ()) + why,
            next=f"Speak with the steward. {ASK}",
        )
    if last is not None and last.until <= context.clock():
        return Problem(
            403,
            "expired",
            "Your grant has expired",
            f"Your access to {view.name} ended at {iso(last.until)}.",
            why=why,
            next=ASK,
        )
    return Problem(
        403,
        "no-grant",
        "You may not read this dataset",
        f"Nothing permits you to read {view.name} in project {caller.project}.",
        why=why,
        next=ASK,
    )


def _record_denial(tx: Tx, caller: ServerCaller, wanted: Wanted, view: View | None, problem: Problem) -> None:
    tx.record(
        entry_of(
            caller,
            Action.READ_DENY,
            kernel=wanted.kernel,
            object=wanted.dataset if view is None else f"{view.name}@{view.version.version}",
            label=None if view is None else view.version.label,
            detail={
                "cell": wanted.cell,
                "columns": wanted.columns,
                "problem": problem.slug,
                "why": list(problem.why),
            },
        )
    )


def _record_reading(  # noqa: PLR0917 - thin
    tx: Tx, context: Context, caller: ServerCaller, wanted: Wanted, verdict: Verdict, kernel: Kernel
) -> _Allowed:
    view, sight = verdict.view, verdict.sight
    _limit_session(tx.session, kernel, verdict.session, context.clock())
    workspace, sources = workspace_of(tx.session, caller), sources_of(tx.session, caller.workspace)
    before = workspace.label
    entry = tx.record(
        entry_of(
            caller,
            Action.READ_ALLOW,
            kernel=wanted.kernel,
            object=f"{view.name}@{view.version.version}",
            label=view.version.label,
            sources=source_names(sources),
            detail={
                "cell": wanted.cell,
                "columns": sight.columns,
                "masks": sight.masks,
                "filters": None if sight.rows is None else list(sight.rows),
                "policy": context.policy.version,
                "rows": view.version.rows,
            }
            | _streamed(wanted)
            | ({} if kernel.session_until is None else {"session_until": iso(kernel.session_until)}),
        )
    )
    read = Seen(
        view.name,
        view.version.version,
        view.version.label,
        sight.columns,
        sight.masks,
        None if sight.rows is None else list(sight.rows),
        sight.subject,
    )
    # who reads what was made from sources is assumed to know the sources themselves
    for known in (read, *verdict.sources):
        sources = with_source(tx.session, context, workspace, sources, known, entry=entry)
    workspace.label = highest((before, view.version.label))
    tx.session.add(workspace)
    tx.session.flush()
    if workspace.label != before:
        tx.record(
            entry_of(
                caller,
                Action.LABEL_RAISE,
                kernel=wanted.kernel,
                object=f"workspace:{caller.user}/{caller.project}",
                label=workspace.label,
                sources=source_names(sources),
                detail={"from": before, "to": workspace.label, "read": entry},
            )
        )
    return _Allowed(
        view,
        sight,
        view.version.label,
        entry,
        until=kernel.session_until,
        until_rule=kernel.session_rule or "",
    )


def _limit_session(session: Session, kernel: Kernel, due: Due[SessionLength | None], now: datetime) -> None:
    """A kernel ends as soon as the strictest rule on what it has read asks, counted from the first reading under it."""
    if due.value is None:
        return
    until = now + timedelta(minutes=due.value.minutes)
    if kernel.session_until is None or until < kernel.session_until:
        kernel.session_until, kernel.session_rule = until, f"rule {due.rule} session {due.value}"
        session.add(kernel)
