"""Which datasets somebody may know of, and what they are told of each."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from strongroom_hub.access.models import AccessRequest, Grant
from strongroom_hub.access.questions import column_questions, dataset_question, may_discover
from strongroom_hub.access.rules import GrantState, RequestState
from strongroom_hub.catalog.rules import unknown_dataset
from strongroom_hub.catalog.service import View, active_view, active_views
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import iso_or_none
from strongroom_hub.derived import lineage


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
