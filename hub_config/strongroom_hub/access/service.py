"""The verbs of access requests and grants."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sqlmodel import Session, col, select

from strongroom_hub.access import rules
from strongroom_hub.access.models import AccessRequest, Grant
from strongroom_hub.access.rules import GrantState, RequestState
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog.kinds import kind_of
from strongroom_hub.catalog.rules import guards_forbid, unknown_dataset
from strongroom_hub.catalog.service import View, active_view, active_views
from strongroom_hub.control.callers import ServerCaller
from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.derived import lineage
from strongroom_hub.derived.rules import ask_for_sources
from strongroom_hub.policies.grants import rows_of
from strongroom_hub.policies.trial import Trial, tried
from strongroom_hub.problems import Problem
from strongroom_hub.projects.models import Project, Source, Workspace
from strongroom_hub.projects.rules import via
from strongroom_hub.projects.service import check_cells, check_member, project_json


@dataclass(frozen=True, slots=True)
class Decision:
    """What a steward decided: `columns` None = all that were asked for; `days` None = as many as asked for."""

    approve: bool
    days: int | None
    columns: list[str] | None
    masks: dict[str, str]
    comment: str


# -- what somebody may know of and read ---------------------------------------------------------------------------


def column_questions(view: View, action: str, *, user: str, project: str | None) -> dict[str, Question]:
    """One question per column of a dataset's version, by column name."""
    return {
        column.name: Question(
            user=user,
            project=project,
            action=action,
            object=view.object(column),
            label=view.version.label,
            tags=tuple(column.tags),
        )
        for column in view.columns
    }


def dataset_question(view: View, action: str, *, user: str, project: str | None) -> Question:
    return Question(user=user, project=project, action=action, object=view.name, label=view.version.label, tags=())


def may_discover(context: Context, view: View, *, user: str, project: str | None) -> bool:
    return context.policy.decide(dataset_question(view, "discover", user=user, project=project)).allowed


def catalog(context: Context, *, user: str, project: str) -> list[dict[str, Any]]:
    """DATASETs that user and project may discover, each with what they may read of it now."""
    with context.reading() as session:
        views = [view for view in active_views(session) if may_know(session, context, view, user=user, project=project)]
        used_by = _used_by(views)
        return [
            view.as_json()
            | {
                "access": _access(session, context, view, user=user, project=project),
                "derived": lineage.told(session, view),
                "used_by": used_by.get(view.name, []),
            }
            for view in views
        ]


def may_know(session: Session, context: Context, view: View, *, user: str, project: str) -> bool:
    """Whether somebody at work in a project may know of a dataset; of a derived one, who may read its sources."""
    return may_discover(context, view, user=user, project=project) and lineage.may_see(
        session, context, view, user=user, project=project
    )


def check_known(context: Context, dataset: str, version: int | None, *, user: str, project: str) -> None:
    """Raises Problem 404 for a version (None: the newest) of which somebody at work in a project may not know."""
    with context.reading() as session:
        view = active_view(session, dataset, version)
        if view is None or not may_know(session, context, view, user=user, project=project):
            raise unknown_dataset(dataset)


def _used_by(views: list[View]) -> dict[str, list[str]]:
    """By dataset: the newest versions, among these, that were made from it."""
    found: dict[str, list[str]] = {}
    for view in views:
        for source in view.version.sources:
            made = found.setdefault(source.partition("@")[0], [])
            if (name := f"{view.name}@{view.version.version}") not in made:
                made.append(name)
    return found


def _access(session: Session, context: Context, view: View, *, user: str, project: str) -> dict[str, Any]:
    allowed, masked = [], {}
    for column, question in column_questions(view, "read", user=user, project=project).items():
        decision = context.policy.decide(question)
        if decision.allowed:
            allowed.append(column)
            mask = decision.obligations.mask.value
            if mask is not None:
                masked[column] = mask
    mine = (Grant.user == user, Grant.project == project, Grant.dataset == view.name)
    until = session.exec(
        select(Grant.until).where(*mine, Grant.state == GrantState.ACTIVE).order_by(col(Grant.until).desc())
    ).first()
    request = session.exec(
        select(AccessRequest.id)
        .where(
            AccessRequest.user == user,
            AccessRequest.project == project,
            AccessRequest.dataset == view.name,
            AccessRequest.state == RequestState.SUBMITTED,
        )
        .order_by(col(AccessRequest.submitted_at).desc())
    ).first()
    return {
        "read": bool(allowed),
        "columns": allowed,
        "masked": masked,
        "until": iso_or_none(until) if allowed else None,
        "request": request,
    }


# -- the requester's verbs ----------------------------------------------------------------------------------------


def submit(
    writer: AuditWriter,
    context: Context,
    caller: ServerCaller,
    *,
    dataset: str,
    columns: list[str] | None,
    purpose: str,
    days: int,
    prepared: int | None = None,
) -> dict[str, Any]:
    """Ask for access; `prepared`: the entry of the cell whose code filled in what the person submits.

    Raises Problem 404 for what the caller may not know of, 409 while one is open, 422 otherwise.
    """
    rules.check_purpose(purpose)

    def work(tx: Tx) -> AccessRequest:
        check_member(tx.session, context, caller.user, caller.project)
        view = active_view(tx.session, dataset)
        if view is None or not may_know(tx.session, context, view, user=caller.user, project=caller.project):
            raise unknown_dataset(dataset)
        if lineage.project_of(tx.session, dataset) is not None:
            raise ask_for_sources(dataset, view.version.sources)
        wanted = columns if columns is not None else [column.name for column in view.columns]
        rules.check_columns(wanted, [column.name for column in view.columns], dataset)
        _check_days(context, view, wanted, user=caller.user, project=caller.project, days=days)
        _check_none_open(tx.session, caller, dataset)
        if prepared is not None:
            check_cells(tx.session, caller, [prepared])
        request = AccessRequest(
            id=secrets.token_hex(8),
            state=RequestState.SUBMITTED,
            user=caller.user,
            project=caller.project,
            dataset=dataset,
            version_at_request=view.version.version,
            columns=wanted,
            purpose=purpose,
            days=days,
            submitted_at=context.clock(),
            prepared=prepared,
        )
        tx.session.add(request)
        tx.record(
            Entry(
                action=Action.ACCESS_REQUEST_SUBMIT,
                actor=caller.actor,
                project=caller.project,
                server=caller.server,
                object=dataset,
                label=view.version.label,
                detail={
                    "request": request.id,
                    "columns": tuple(wanted),
                    "days": days,
                    "via": via(prepared),
                    "prepared": prepared,
                },
                payload=purpose,
                payload_subject=caller.actor,
            )
        )
        return request

    request = writer.transact(work)
    with context.reading() as session:
        return _request_json(session, request)


def _check_none_open(session: Session, caller: ServerCaller, dataset: str) -> None:
    open_one = session.exec(
        select(AccessRequest).where(
            AccessRequest.user == caller.user,
            AccessRequest.project == caller.project,
            AccessRequest.dataset == dataset,
            AccessRequest.state == RequestState.SUBMITTED,
        )
    ).first()
    if open_one is not None:
        raise Problem(
            409,
            "request-open",
            "You have asked for this already",
            f"Request {open_one.id} of {iso(open_one.submitted_at)} waits for a steward.",
            next="Wait for the decision, or withdraw that request and make a new one.",
        )


def _check_days(context: Context, view: View, columns: Iterable[str], *, user: str, project: str, days: int) -> None:
    questions = column_questions(view, "read", user=user, project=project)
    due = context.policy.obligations(questions[column] for column in columns).max_days
    rules.check_days(days, due.value, due.rule)


def withdraw(writer: AuditWriter, context: Context, caller: ServerCaller, request_id: str) -> dict[str, Any]:
    """Raises Problem 404 for another's request, 409 for a decided one."""

    def work(tx: Tx) -> AccessRequest:
        request = tx.session.get(AccessRequest, request_id)
        if request is None or (request.user, request.project) != (caller.user, caller.project):
            raise rules.unknown_request()
        _move(context, request, RequestState.WITHDRAWN, caller.user)
        tx.session.add(request)
        tx.record(
            Entry(
                action=Action.ACCESS_REQUEST_WITHDRAW,
                actor=caller.actor,
                project=caller.project,
                server=caller.server,
                object=request.dataset,
                detail={"request": request.id},
            )
        )
        return request

    request = writer.transact(work)
    with context.reading() as session:
        return _request_json(session, request)


def own_requests(context: Context, caller: ServerCaller) -> list[dict[str, Any]]:
    with context.reading() as session:
        found = session.exec(
            select(AccessRequest)
            .where(AccessRequest.user == caller.user, AccessRequest.project == caller.project)
            .order_by(col(AccessRequest.submitted_at).desc())
        ).all()
        return [_request_json(session, request) for request in found]


# -- the steward's verbs ------------------------------------------------------------------------------------------


def check_steward(session: Session, context: Context, user: str, dataset: str) -> View:
    """The dataset, when the user may decide on access to it. Raises Problem 403."""
    view = active_view(session, dataset)
    if view is None:
        raise unknown_dataset(dataset)
    decision = context.policy.decide(dataset_question(view, "approve-access", user=user, project=None))
    if not decision.allowed:
        raise rules.not_permitted("decide on access to", dataset, tuple(decision.why()))
    return view


def may_steward(session: Session, context: Context, user: str, dataset: str) -> bool:
    try:
        check_steward(session, context, user, dataset)
    except Problem:
        return False
    return True


def decide(writer: AuditWriter, context: Context, *, user: str, request_id: str, decision: Decision) -> dict[str, Any]:
    """Approve (which makes a grant that acts at once) or deny.

    Raises Problem 403 (own request, not a steward of it), 404, 409 (decided already: who and when; or a guard of the
    policy forbids the grant) or 422.
    """
    to = RequestState.APPROVED if decision.approve else RequestState.DENIED
    made = partial(_grant, context, grant_id=secrets.token_hex(8), user=user, decision=decision)

    def about(session: Session) -> Trial | None:
        if not decision.approve:
            return None
        request, view = _decidable(session, context, request_id, to, user)
        return Trial(view.known, request.user, tuple(rows_of(made(view, request))))

    def work(tx: Tx, broken: tuple[str, ...]) -> tuple[AccessRequest, Grant | None]:
        request, view = _decidable(tx.session, context, request_id, to, user)
        _move(context, request, to, user)
        request.comment = decision.comment
        tx.session.add(request)
        grant = made(view, request) if decision.approve else None
        if broken:
            raise guards_forbid("this grant", broken)
        if grant is not None:
            _add_grant(tx, view, grant)
        tx.record(
            Entry(
                action=Action.ACCESS_REQUEST_APPROVE if decision.approve else Action.ACCESS_REQUEST_DENY,
                actor=f"user:{user}",
                project=request.project,
                object=request.dataset,
                label=view.version.label,
                detail={"request": request.id, "requester": request.user, "grant": grant.id if grant else None},
                payload=decision.comment or None,
                payload_subject=f"user:{user}",
            )
        )
        return request, grant

    request, grant = tried(writer, context, about, work)
    if grant is not None:
        context.policy.rebuild(writer)
    with context.reading() as session:
        return _request_json(session, request) | {"context": _context(session, context, request, user)}


def _decidable(
    session: Session, context: Context, request_id: str, to: RequestState, user: str
) -> tuple[AccessRequest, View]:
    """Raises Problem where the user may not decide on that request now."""
    request = session.get(AccessRequest, request_id)
    if request is None:
        raise rules.unknown_request()
    rules.check_not_requester(request.user, user)
    view = check_steward(session, context, user, request.dataset)
    rules.check_request_transition(RequestState(request.state), to, request.decided_by, request.decided_at)
    return request, view


def _grant(
    context: Context, view: View, request: AccessRequest, *, grant_id: str, user: str, decision: Decision
) -> Grant:
    columns = decision.columns if decision.columns is not None else list(request.columns)
    rules.check_columns(columns, list(request.columns), f"request {request.id}")
    # A column can be gone from the newest version since the request was made.
    rules.check_columns(columns, [column.name for column in view.columns], request.dataset)
    kinds = {column.name: kind_of(column.type) for column in view.columns}
    rules.check_masks(decision.masks, columns, kinds)
    days = decision.days if decision.days is not None else request.days
    _check_days(context, view, columns, user=request.user, project=request.project, days=days)
    now = context.clock()
    return Grant(
        id=grant_id,
        request=request.id,
        state=GrantState.ACTIVE,
        user=request.user,
        project=request.project,
        dataset=request.dataset,
        columns=columns,
        masks=decision.masks,
        since=now,
        until=now + timedelta(days=days),
        granted_by=user,
    )


def _add_grant(tx: Tx, view: View, grant: Grant) -> None:
    tx.session.flush()  # the request before the grant that points to it
    tx.session.add(grant)
    tx.session.flush()
    tx.record(
        Entry(
            action=Action.GRANT_CREATE,
            actor=f"user:{grant.granted_by}",
            project=grant.project,
            object=grant.dataset,
            label=view.version.label,
            detail={
                "grant": grant.id,
                "request": grant.request,
                "user": grant.user,
                "columns": tuple(grant.columns),
                "masks": grant.masks,
                "until": iso(grant.until),
            },
        )
    )


def _move(context: Context, request: AccessRequest, to: RequestState, by: str) -> None:
    rules.check_request_transition(RequestState(request.state), to, request.decided_by, request.decided_at)
    request.state, request.decided_by, request.decided_at = to, by, context.clock()


def revoke(writer: AuditWriter, context: Context, *, user: str, grant_id: str, reason: str) -> dict[str, Any]:
    """End a grant; acts on the next decision. Raises Problem 403, 404 or 409."""

    def work(tx: Tx) -> Grant:
        grant = tx.session.get(Grant, grant_id)
        if grant is None:
            raise rules.unknown_grant()
        check_steward(tx.session, context, user, grant.dataset)
        rules.check_grant_transition(GrantState(grant.state), GrantState.REVOKED)
        grant.state, grant.ended_at = GrantState.REVOKED, context.clock()
        grant.revoked_by, grant.reason = user, reason
        tx.session.add(grant)
        tx.record(
            Entry(
                action=Action.GRANT_REVOKE,
                actor=f"user:{user}",
                project=grant.project,
                object=grant.dataset,
                detail={"grant": grant.id, "user": grant.user},
                payload=reason or None,
                payload_subject=f"user:{user}",
            )
        )
        return grant

    grant = writer.transact(work)
    context.policy.rebuild(writer)
    return grant_json(grant)


def stewarded_requests(context: Context, *, user: str, only_open: bool) -> list[dict[str, Any]]:
    """Requests for the datasets on which the user may decide, newest first, each with its context."""
    query = select(AccessRequest).order_by(col(AccessRequest.submitted_at).desc())
    if only_open:
        query = query.where(AccessRequest.state == RequestState.SUBMITTED)
    mine = stewarded_datasets(context, user=user, action="approve-access")
    with context.reading() as session:
        return [
            _request_json(session, request) | {"context": _context(session, context, request, user)}
            for request in session.exec(query).all()
            if request.dataset in mine
        ]


def stewarded_request(context: Context, *, user: str, request_id: str) -> dict[str, Any]:
    """Raises Problem 404 for what is not the user's to decide."""
    with context.reading() as session:
        request = session.get(AccessRequest, request_id)
        if request is None or not may_steward(session, context, user, request.dataset):
            raise rules.unknown_request()
        return _request_json(session, request) | {"context": _context(session, context, request, user)}


def stewarded_grants(context: Context, *, user: str) -> list[dict[str, Any]]:
    mine = stewarded_datasets(context, user=user, action="approve-access")
    with context.reading() as session:
        found = session.exec(select(Grant).order_by(col(Grant.since).desc())).all()
        return [grant_json(grant) | {"unread": unread(session, grant)} for grant in found if grant.dataset in mine]


def unread(session: Session, grant: Grant) -> list[str]:
    """The granted columns that were never read, in any version: what a renewal need not hold."""
    read = session.exec(
        select(Source.columns)
        .join(Workspace, col(Workspace.id) == col(Source.workspace))
        .where(Workspace.user == grant.user, Workspace.project == grant.project, Source.dataset == grant.dataset)
    ).all()
    known = {column for columns in read for column in columns}
    return [column for column in grant.columns if column not in known]


def stewarded_datasets(context: Context, *, user: str, action: str) -> set[str]:
    """Names of the datasets on which the user may `approve-access` or `approve-export`."""
    with context.reading() as session:
        return {
            view.name
            for view in active_views(session)
            if context.policy.decide(dataset_question(view, action, user=user, project=None)).allowed
        }


def console_datasets(context: Context, *, user: str) -> list[dict[str, Any]]:
    """DATASETs that somebody outside projects may know of: what they may discover or decide on.

    A derived one only who decides on it: its words were chosen by code that had read the sources.
    """
    deciding = ("approve-access", "approve-export")
    with context.reading() as session:
        found = []
        for view in active_views(session):
            derived = lineage.told(session, view)
            actions = deciding if derived is not None else ("discover", *deciding)
            questions = [dataset_question(view, action, user=user, project=None) for action in actions]
            if any(decision.allowed for decision in context.policy.decide_all(questions)):
                found.append((view, derived))
        used_by = _used_by([view for view, _ in found])
        return [view.as_json() | {"derived": derived, "used_by": used_by.get(view.name, [])} for view, derived in found]


# -- shapes -------------------------------------------------------------------------------------------------------


def _request_json(session: Session, request: AccessRequest) -> dict[str, Any]:
    grant = session.exec(select(Grant).where(Grant.request == request.id)).first()
    return {
        "id": request.id,
        "state": request.state,
        "user": request.user,
        "project": request.project,
        "dataset": request.dataset,
        "version_at_request": request.version_at_request,
        "columns": list(request.columns),
        "purpose": request.purpose,
        "days": request.days,
        "submitted_at": iso(request.submitted_at),
        "decided_at": iso_or_none(request.decided_at),
        "decided_by": request.decided_by,
        "comment": request.comment,
        "prepared": request.prepared,
        "grant": None if grant is None else grant_json(grant),
        "turn": rules.TURN[RequestState(request.state)],
    }


def grant_json(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "state": grant.state,
        "user": grant.user,
        "project": grant.project,
        "dataset": grant.dataset,
        "columns": list(grant.columns),
        "masks": dict(grant.masks),
        "since": iso(grant.since),
        "until": iso(grant.until),
        "request": grant.request,
        "revoked_by": grant.revoked_by,
        "reason": grant.reason,
    }


def _context(session: Session, context: Context, request: AccessRequest, steward: str) -> dict[str, Any]:
    """What a steward needs to judge: the project, the person's earlier requests, what the policy itself says.

    Earlier requests for datasets that the steward may not know of are left out.
    """
    known = {
        view.name
        for view in active_views(session)
        if may_discover(context, view, user=steward, project=None) or view.name == request.dataset
    }
    project = session.get(Project, request.project)
    earlier = session.exec(
        select(AccessRequest)
        .where(AccessRequest.user == request.user, AccessRequest.id != request.id)
        .order_by(col(AccessRequest.submitted_at).desc())
        .limit(20)
    ).all()
    view = active_view(session, request.dataset)
    return {
        "project": None if project is None else project_json(project),
        "member": context.policy.is_member(request.user, request.project),
        "dataset": None if view is None else view.as_json(),
        "earlier_requests": [
            {
                "id": one.id,
                "dataset": one.dataset,
                "project": one.project,
                "state": one.state,
                "submitted_at": iso(one.submitted_at),
                "decided_by": one.decided_by,
            }
            for one in earlier
            if one.dataset in known
        ],
        "policy": [] if view is None else _policy_view(context, view, request),
        "last_grant": _last_grant(session, request),
    }


def _last_grant(session: Session, request: AccessRequest) -> dict[str, Any] | None:
    """The person's newest grant before this request, for the same dataset and project, and what of it was not used."""
    found = session.exec(
        select(Grant)
        .where(
            Grant.user == request.user,
            Grant.project == request.project,
            Grant.dataset == request.dataset,
            Grant.request != request.id,
        )
        .order_by(col(Grant.since).desc())
    ).first()
    return None if found is None else grant_json(found) | {"unread": unread(session, found)}


def _policy_view(context: Context, view: View, request: AccessRequest) -> list[dict[str, Any]]:
    """For each wanted column: tags, whether it can be read now, and the mask that the policy would lay on it."""
    questions = column_questions(view, "read", user=request.user, project=request.project)
    lines = []
    for name in request.columns:
        column, question = view.column(name), questions.get(name)
        if column is None or question is None:
            continue
        decision = context.policy.decide(question)
        lines.append(
            {
                "column": name,
                "tags": list(column.tags),
                "readable_now": decision.allowed,
                "mask": context.policy.mask(question),
                "why": list(decision.why()),
            }
        )
    return lines


def expire_grants(writer: AuditWriter, context: Context) -> int:
    """Mark the grants whose time is over; returns how many. The policy stopped allowing by them at that moment."""
    now = context.clock()
    query = select(Grant).where(Grant.state == GrantState.ACTIVE, col(Grant.until) <= now)
    with context.reading() as session:
        if session.exec(query).first() is None:
            return 0  # the usual case, each second: no need for a transaction that writes

    def work(tx: Tx) -> int:
        over = tx.session.exec(query).all()
        for grant in over:
            grant.state, grant.ended_at = GrantState.EXPIRED, now
            tx.session.add(grant)
            tx.record(
                Entry(
                    action=Action.GRANT_EXPIRE,
                    actor="system:control",
                    project=grant.project,
                    object=grant.dataset,
                    detail={"grant": grant.id, "user": grant.user},
                )
            )
        return len(over)

    return writer.transact(work)
