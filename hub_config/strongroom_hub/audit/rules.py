"""The life of an erasure, and who may decide on one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from strongroom_hub.audit.settings import OFF
from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict


class ErasureState(StrEnum):
    OPEN = "open"
    DONE = "done"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


TRANSITIONS: Mapping[Verdict, ErasureState] = {
    Verdict.APPROVE: ErasureState.DONE,
    Verdict.REJECT: ErasureState.REJECTED,
    Verdict.WITHDRAW: ErasureState.WITHDRAWN,
}
"""From OPEN; every other state is an end."""
MAX_WHY = 2_000


def check_erasure_is_on(setting: str) -> None:
    """Raises Problem 409 where this instance keeps texts for ever."""
    if setting == OFF:
        raise Problem(
            409,
            "erasure-off",
            "Texts in the audit log are not erased here",
            'This instance runs with erasure = "off": what people typed is kept as long as the log.',
            next='Whether they must be erased is a question of law. To allow it, set erasure = "two-person" in the '
            "table [audit] of instance.toml and start the service again.",
        )


def check_erasure_reason(why: str) -> None:
    """Raises Problem 422."""
    if not why.strip() or len(why) > MAX_WHY:
        raise Problem(
            422,
            "no-reason",
            "A reason is needed",
            f"Say in 1 to {MAX_WHY} characters why: it stays in the log for ever, so name no private matter.",
            next="Write the reason and send it again.",
        )


def check_not_about_oneself(person: str, actor: str) -> None:
    """Raises Problem 403: nobody takes part in erasing what they typed themselves."""
    if person == actor:
        raise Problem(
            403,
            "own-traces",
            "These are your own texts",
            "Nobody asks for, or decides on, the erasure of what they typed themselves.",
            next="Ask two others who look after the enclave.",
        )


def check_open(state: ErasureState, decided_by: str | None) -> None:
    """Raises Problem 409 for an erasure that is decided."""
    if state is not ErasureState.OPEN:
        raise Problem(
            409,
            "already-decided",
            "This erasure is decided",
            f"It is {state}" + (f" by {decided_by}" if decided_by else "") + "; it is decided once.",
            next="Ask for another one if it is still needed.",
        )


def check_decider(asked_by: str, decider: str, verdict: Verdict) -> None:
    """Raises Problem 403: nobody decides on what they asked for, and nobody else takes it back."""
    if verdict is Verdict.WITHDRAW and asked_by != decider:
        raise Problem(
            403,
            "not-yours",
            "You did not ask for this erasure",
            f"Only {asked_by}, who asked for it, can take it back.",
            next="Reject it instead.",
        )
    if verdict is not Verdict.WITHDRAW and asked_by == decider:
        raise Problem(
            403,
            "own-request",
            "You asked for this erasure yourself",
            "Nobody decides on a request that they made themselves.",
            next="Another person who looks after the enclave has to decide.",
        )


def can_decide(person: str, asked_by: str, decider: str, state: ErasureState) -> bool:
    try:
        check_open(state, None)
        check_not_about_oneself(person, decider)
        check_decider(asked_by, decider, Verdict.APPROVE)
    except Problem:
        return False
    return True
