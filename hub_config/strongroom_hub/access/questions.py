"""What the policy is asked about a dataset."""

from __future__ import annotations

from strongroom_hub.catalog.service import View
from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import Question


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
