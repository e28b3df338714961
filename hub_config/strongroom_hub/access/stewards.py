"""Who decides about a dataset: whoever the policy lets, beside its name and label."""

from __future__ import annotations

from sqlmodel import Session

from strongroom_hub.access import rules
from strongroom_hub.access.questions import dataset_question
from strongroom_hub.catalog.rules import unknown_dataset
from strongroom_hub.catalog.service import View, active_view, active_views
from strongroom_hub.control.context import Context
from strongroom_hub.problems import Problem


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


def stewarded_datasets(context: Context, *, user: str, action: str) -> set[str]:
    """Names of the datasets on which the user may `approve-access` or `approve-export`."""
    with context.reading() as session:
        return {
            view.name
            for view in active_views(session)
            if context.policy.decide(dataset_question(view, action, user=user, project=None)).allowed
        }
