"""The life of a shredding, and who may decide on one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict, fits

MIN_WHY, MAX_WHY = 10, 500
OPERATIONS = ("status", "rotate", "rekey", "destroy")


class ShredState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    """Decided; the vault has not said yet that the keys are gone. From here on nothing of it is read."""
    DONE = "done"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


TRANSITIONS: Mapping[Verdict, ShredState] = {
    Verdict.APPROVE: ShredState.APPROVED,
    Verdict.REJECT: ShredState.REJECTED,
    Verdict.WITHDRAW: ShredState.WITHDRAWN,
}
GONE = (ShredState.APPROVED, ShredState.DONE)
"""States in which the data counts as destroyed."""


def check_wish(why: str, columns: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raises Problem 422."""
    if not MIN_WHY <= len(why.strip()) <= MAX_WHY:
        raise _invalid(f"the reason has {MIN_WHY} to {MAX_WHY} characters: it stays in the log and beside the data")
    if columns is None:
        return
    if not columns or len(set(columns)) != len(columns):
        raise _invalid("name each column once, and at least one; leave them out for the whole version")
    if unknown := [column for column in columns if column not in known]:
        raise _invalid(f"the version has no column {', '.join(map(repr, unknown))}")


def can_decide(state: ShredState, asked_by: str, decider: str, verdict: Verdict) -> bool:
    return _awaits(state, verdict) and fits(asked_by, decider, verdict)


def check_decision(state: ShredState, asked_by: str, decider: str, verdict: Verdict) -> None:
    """Raises Problem 409 where it is decided, 403 where one person would be both of the two."""
    if not _awaits(state, verdict):
        raise Problem(
            409,
            "shred-decided",
            "This shredding is decided",
            f"It is {state}.",
            next="Ask for a new one if something else has to go.",
        )
    if not fits(asked_by, decider, verdict):
        raise Problem(
            403,
            "two-people",
            "Two people shred data",
            "Who asked for it can only withdraw it; another person approves or rejects.",
            next="Ask another steward of the dataset or an administrator to decide.",
        )


def _awaits(state: ShredState, verdict: Verdict) -> bool:
    again = state is ShredState.APPROVED and verdict is Verdict.APPROVE  # the vault was away: try once more
    return state is ShredState.OPEN or again


def _invalid(why: str) -> Problem:
    return Problem(
        422,
        "invalid-shred",
        "This cannot be shredded so",
        "Nothing was changed.",
        why=(why,),
        next="Correct what is named above and ask again.",
    )
