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
from strongroom_hub.access.discovery import may_know
from strongroom_hub.access.models import AccessRequest, Grant
from strongroom_hub.access.pages import for_steward, grant_json, request_json
from strongroom_hub.access.questions import column_questions
from strongroom_hub.access.rules import GrantState, RequestState
from strongroom_hub.access.stewards import check_steward
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog.kinds import kind_of
from strongroom_hub.catalog.rules import guards_forbid, unknown_dataset
from strongroom_hub.catalog.service import View, active_view
from strongroom_hub.control.callers import ServerCaller
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import iso
from strongroom_hub.derived import lineage
from strongroom_hub.derived.rules import ask_for_sources
from strongroom_hub.policies.grants import rows_of
from strongroom_hub.policies.trial import Trial, tried
from strongroom_hub.problems import Problem
from strongroom_hub.projects.rules import via
from strongroom_hub.projects.service import check_cells, check_member


@dataclass(frozen=True, slots=True)
class Decision:
    """What a steward decided: `columns` None = all that were asked for; `days` None = as many as asked for."""

    approve: bool
    days: int | None
    columns: list[str] | None
    masks: dict[str, str]
    comment: str


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
        return request_json(session, request)


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
        return request_json(session, request)


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
        return for_steward(session, context, request, user)


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
