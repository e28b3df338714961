"""What requesters and stewards are shown of requests and grants."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from strongroom_hub.access import rules
from strongroom_hub.access.models import AccessRequest, Grant
from strongroom_hub.access.questions import column_questions, may_discover
from strongroom_hub.access.rules import RequestState
from strongroom_hub.access.stewards import may_steward, stewarded_datasets
from strongroom_hub.catalog.service import View, active_view, active_views
from strongroom_hub.control.callers import ServerCaller
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.projects.models import Project, Source, Workspace
from strongroom_hub.projects.service import project_json


def own_requests(context: Context, caller: ServerCaller) -> list[dict[str, Any]]:
    with context.reading() as session:
        found = session.exec(
            select(AccessRequest)
            .where(AccessRequest.user == caller.user, AccessRequest.project == caller.project)
            .order_by(col(AccessRequest.submitted_at).desc())
        ).all()
        return [request_json(session, request) for request in found]


def stewarded_requests(context: Context, *, user: str, only_open: bool) -> list[dict[str, Any]]:
    """Requests for the datasets on which the user may decide, newest first, each with its context."""
    query = select(AccessRequest).order_by(col(AccessRequest.submitted_at).desc())
    if only_open:
        query = query.where(AccessRequest.state == RequestState.SUBMITTED)
    mine = stewarded_datasets(context, user=user, action="approve-access")
    with context.reading() as session:
        return [
            for_steward(session, context, request, user)
            for request in session.exec(query).all()
            if request.dataset in mine
        ]


def stewarded_request(context: Context, *, user: str, request_id: str) -> dict[str, Any]:
    """Raises Problem 404 for what is not the user's to decide."""
    with context.reading() as session:
        request = session.get(AccessRequest, request_id)
        if request is None or not may_steward(session, context, user, request.dataset):
            raise rules.unknown_request()
        return for_steward(session, context, request, user)


def stewarded_grants(context: Context, *, user: str) -> list[dict[str, Any]]:
    mine = stewarded_datasets(context, user=user, action="approve-access")
    with context.reading() as session:
        found = session.exec(select(Grant).order_by(col(Grant.since).desc())).all()
        return [grant_json(grant) | {"unread": unread(session, grant)} for grant in found if grant.dataset in mine]


def request_json(session: Session, request: AccessRequest) -> dict[str, Any]:
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


def for_steward(session: Session, context: Context, request: AccessRequest, steward: str) -> dict[str, Any]:
    return request_json(session, request) | {"context": _context(session, context, request, steward)}


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


def unread(session: Session, grant: Grant) -> list[str]:
    """The granted columns that were never read, in any version: what a renewal need not hold."""
    read = session.exec(
        select(Source.columns)
        .join(Workspace, col(Workspace.id) == col(Source.workspace))
        .where(Workspace.user == grant.user, Workspace.project == grant.project, Source.dataset == grant.dataset)
    ).all()
    known = {column for columns in read for column in columns}
    return [column for column in grant.columns if column not in known]


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
