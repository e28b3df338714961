"""From what a decision owes to the view that a ticket opens: masks with parameters, row filters bound to the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from strongroom_policy import filters
from strongroom_policy.filter_types import type_problems
from strongroom_policy.masks import parse_mask, unsuited
from strongroom_policy.obligations import Due
from strongroom_policy.values import Rows

from strongroom_hub.catalog.kinds import kind_of
from strongroom_hub.catalog.service import View
from strongroom_hub.problems import Problem
from strongroom_hub.viewname import mask_claims

SUBJECT_TAG = "subject"
"""Marks the column that says whom a row is about."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one reading shows of a dataset version."""

    columns: list[str]
    masks: dict[str, str]
    """As the policy writes them, by column."""
    subject: str | None
    """The column that says whom a row is about, where a mask needs to know."""
    rows: tuple[str, ...] | None
    """Bound filters that all have to hold; None: every row."""

    @property
    def claims(self) -> dict[str, dict[str, Any]]:
        """The masks as a ticket has them."""
        return mask_claims(self.masks, self.subject)


def subject_of(view: View, masks: Mapping[str, str]) -> str | None:
    """The subject column where a mask needs it. Raises Problem 403 where there is none, or a mask does not fit."""
    for name, text in masks.items():
        column, mask = view.column(name), parse_mask(text)
        if column is None or (problem := unsuited(mask, kind_of(column.type))):
            raise Problem(
                403,
                "mask-does-not-fit",
                "This column cannot be masked as it must be",
                f"{view.name} has a column {name!r} that the policy masks in a way which does not fit what it holds.",
                why=(problem if column is not None else f"there is no column {name!r}",),
                next="Open the other columns, and tell an administrator: the rule stands in the policy files.",
            )
    return _subject(view) if any(parse_mask(text).method == "shift-date" for text in masks.values()) else None


def row_filters(view: View, due: Due[Rows | None], *, project: str, today: date) -> tuple[str, ...] | None:
    """The filters for this reading. Raises Problem 403 where they do not fit the dataset: no row is read then."""
    if due.value is None:
        return None
    schema = {column.name: kind_of(column.type) for column in view.columns}
    bound = due.value.bound(project=project, today=today)
    problems = [problem for one in bound for problem in type_problems(filters.parse(one), schema)]
    if problems:
        raise Problem(
            403,
            "filter-does-not-fit",
            "This data comes with a condition that does not fit it",
            f"Which rows of {view.name} you may read cannot be decided, so none is read.",
            why=(f"rule {due.rule} rows {due.value}", *problems),
            next="Ask an administrator: the rule stands in the policy files, the columns in the catalogue.",
        )
    return bound


def widened(one: Sequence[str] | None, other: Sequence[str] | None) -> list[str] | None:
    """Filters that keep the rows which either of two sets of filters keeps; None = every row."""
    if one is None or other is None:
        return None
    if set(one) == set(other):
        return list(one)
    both = f"({_all(one)}) or ({_all(other)})"
    try:
        return [str(filters.parse(both))]
    except filters.FilterError:
        return None  # more than a filter can say: all rows are among what may have been read


def _all(texts: Sequence[str]) -> str:
    return " and ".join(f"({text})" for text in texts)


def _subject(view: View) -> str:
    tagged = [column.name for column in view.columns if SUBJECT_TAG in column.tags]
    if len(tagged) == 1:
        return tagged[0]
    raise Problem(
        403,
        "no-subject",
        "Its dates cannot be shifted",
        f"Dates of {view.name} are to be shifted by days that belong to a person, "
        f"but {'no column says' if not tagged else 'several columns say'} whom a row is about.",
        why=(f"columns with the tag {SUBJECT_TAG}: {', '.join(tagged) or 'none'}",),
        next=f"Ask a steward to give exactly one column the tag {SUBJECT_TAG}.",
    )
