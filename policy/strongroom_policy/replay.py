"""What if: questions that were asked and answered, put to a draft, each at the moment at which it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from strongroom_policy.decision import Decision, Request
from strongroom_policy.engine import Policy, Sources
from strongroom_policy.rows import Row


@dataclass(frozen=True, slots=True)
class Asked:
    """One recorded answer. It may have been about several objects at once, as the columns of a reading are."""

    entry: int
    requests: tuple[Request, ...]
    allowed: bool
    masks: Mapping[str, str] = field(default_factory=dict)
    """By object: the masks under which it was allowed."""
    any_of: bool = False
    """It would have been allowed if one of the requests had been; otherwise all have to be."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a draft would have answered: `same` as recorded, or what differs and by which rules, in sentences."""

    asked: Asked
    allowed: bool
    differs: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not self.differs


def replay(sources: Sources, grants: Sequence[Row], asked: Iterable[Asked]) -> Iterator[Replayed]:
    """Each question under the draft. `grants`: the rows of all grants there ever were, each up to its end.

    Raises PolicyError where the draft is no policy together with them.
    """
    policy = Policy.build(sources, grants, datetime.now(UTC))
    for one in asked:
        now = one.requests[0].now
        if not policy.holds_at(now):
            policy = policy.rebuilt(grants, now=now)
        decisions = [policy.decide(request) for request in one.requests]
        answers = [decision.allowed for decision in decisions]
        allowed = any(answers) if one.any_of else all(answers)
        yield Replayed(one, allowed, tuple(dict.fromkeys(_differences(one, decisions, allowed=allowed))))


def _differences(one: Asked, decisions: Sequence[Decision], *, allowed: bool) -> Iterator[str]:
    if one.allowed and not allowed:
        for decision in decisions:
            if not decision.allowed:
                yield f"{decision.request.object} would be denied: {'; '.join(decision.why())}"
    elif allowed and not one.allowed:
        for decision in decisions:
            if decision.allowed:
                yield f"{decision.request.object} would be allowed: {'; '.join(decision.why())}"
    elif allowed:
        for decision in decisions:
            due, before = decision.obligations.mask, one.masks.get(decision.request.object)
            if decision.request.action == "read" and due.value != before:
                by = f" by {due.rule}" if due.value else ""
                yield f"{decision.request.object}: mask {before or 'none'} would be {due.value or 'none'}{by}"
