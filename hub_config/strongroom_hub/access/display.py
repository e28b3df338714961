"""What may be shown of a workspace now: decided over everything it has read, strictest wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strongroom_policy.labels import Label
from strongroom_policy.obligations import strictest
from strongroom_policy.sizes import size
from strongroom_policy.values import Budget

from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import Question


@dataclass(frozen=True, slots=True)
class Display:
    """DISPLAY of the wire formats; None = no limit; not allowed = nothing may be shown."""

    allowed: bool
    cell_bytes: int | None
    day_bytes_left: int | None
    image_bytes: int | None
    rule: str
    text: str

    def as_json(self) -> dict[str, Any]:
        return {
            "allowed": self.allowed,
            "cell_bytes": self.cell_bytes,
            "day_bytes_left": self.day_bytes_left,
            "image_bytes": self.image_bytes,
            "rule": self.rule,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """What was read of one version of a dataset."""

    dataset: str
    label: str
    tags: Mapping[str, tuple[str, ...]]
    """Of each column that was read."""


def questions_about(action: str, *, user: str, project: str, sources: Iterable[SourceColumns]) -> Iterator[Question]:
    """One question for each column that was read: a grant may cover some columns of a dataset and not others."""
    for source in sources:
        for column, tags in source.tags.items():
            yield Question(
                user=user,
                project=project,
                action=action,
                object=f"{source.dataset}#{column}",
                label=source.label,
                tags=tags,
            )


def display_for(
    context: Context,
    *,
    user: str,
    project: str,
    label: str,
    sources: Sequence[SourceColumns],
    shown_today: int,
) -> Display:
    """Decide `display` on every column of every source; one denial stops all, budgets are the smallest of each part.

    A workspace whose label is `public` has no budget. `shown_today`: bytes already shown on this UTC day.
    """
    if not sources:
        return display_of_nothing_read(context, user=user, project=project, label=label)
    if not context.policy.is_member(user, project):
        return _no_member(project)
    questions = list(questions_about("display", user=user, project=project, sources=sources))
    decisions = context.policy.decide_all(questions)
    for question, decision in zip(questions, decisions, strict=True):
        if not decision.allowed:
            why = decision.why()
            return stopped(why[0] if why else "policy", f"{question.object}: {'; '.join(why)}")
    if label == Label.PUBLIC:
        return _unlimited()
    if not questions:
        return _unknown_reading(label)
    due = strictest(decision.obligations for decision in decisions).display
    left = None if due.value.day is None else max(0, due.value.day - shown_today)
    return Display(
        allowed=True,
        cell_bytes=due.value.cell,
        day_bytes_left=left,
        image_bytes=due.value.image,
        rule=due.rule,
        text=f"This workspace is {label}: {_words(due.value, left)}.",
    )


def display_of_nothing_read(context: Context, *, user: str, project: str, label: str) -> Display:
    """`display_for` a workspace without sources."""
    if not context.policy.is_member(user, project):
        return _no_member(project)
    return _unlimited() if label == Label.PUBLIC else _unknown_reading(label)


def _no_member(project: str) -> Display:
    return stopped("membership", f"You are not a member of project {project} now, so nothing is shown.")


def _unlimited() -> Display:
    return Display(True, None, None, None, "", "Nothing but public data was read: no limit.")


def _unknown_reading(label: str) -> Display:
    return stopped("policy", f"The workspace is {label}, but what it has read is not known.")


def _words(budget: Budget, left: int | None) -> str:
    parts = []
    if budget.cell is not None:
        parts.append(f"{size(budget.cell)} a cell")
    if budget.day is not None:
        parts.append(f"{size(left or 0)} of {size(budget.day)} left today")
    if budget.image is not None:
        parts.append(f"images up to {size(budget.image)}")
    return ", ".join(parts) or "no limit"


def stopped(rule: str, text: str) -> Display:
    """Nothing may be shown, and why."""
    return Display(allowed=False, cell_bytes=0, day_bytes_left=0, image_bytes=0, rule=rule, text=text)
