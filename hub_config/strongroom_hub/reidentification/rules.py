"""The life of a re-identification, who may decide on one, and who sees what comes out. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict, fits

MIN_WHY, MAX_WHY = 10, 500
MAX_TOKENS = 20
"""In one request."""
DAY_TOKENS = 50
"""Of one person in one project in any 24 hours, but for what was rejected or taken back."""
DAY = timedelta(hours=24)
WINDOW = timedelta(hours=24)
"""How long after the approval it can be looked at, once."""
_MAX_LENGTH = 1000


class State(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    """It can be looked at, until its time is over."""
    SHOWN = "shown"
    EXPIRED = "expired"
    """Approved, and nobody looked in time. Never stored: it follows from the clock."""
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class ShownTo(StrEnum):
    """Who sees the values: who asked for them, or the steward who agreed, so that the first never learns them."""

    ASKER = "asker"
    STEWARD = "steward"


TRANSITIONS: Mapping[Verdict, State] = {
    Verdict.APPROVE: State.APPROVED,
    Verdict.REJECT: State.REJECTED,
    Verdict.WITHDRAW: State.WITHDRAWN,
}
UNCHARGED = (State.REJECTED, State.WITHDRAWN)
"""States whose tokens do not count for the day."""


def state_now(stored: str, until: datetime | None, now: datetime) -> State:
    """What a stored state amounts to at a time."""
    state = State(stored)
    return State.EXPIRED if state is State.APPROVED and (until is None or now >= until) else state


def check_wish(tokens: Sequence[str], why: str) -> None:
    """Raises Problem 422."""
    if not MIN_WHY <= len(why.strip()) <= MAX_WHY:
        raise _invalid(f"the reason has {MIN_WHY} to {MAX_WHY} characters: a steward decides by it")
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise _invalid(f"a request names 1 to {MAX_TOKENS} tokens")
    if len(set(tokens)) != len(tokens) or not all(0 < len(token) <= _MAX_LENGTH for token in tokens):
        raise _invalid("name each token once, as it stands in the data")


def check_day(charged: int, more: int) -> None:
    """Raises Problem 429 where a person asked for as much as one may in a day."""
    if charged + more > DAY_TOKENS:
        raise Problem(
            429,
            "reidentifications-used-up",
            "You asked for as many tokens as one may in a day",
            f"You asked for {charged} in the last 24 hours; {more} more would be above {DAY_TOKENS}.",
            why=("what is turned back bit by bit would be the whole column in the end",),
            next="Ask for fewer, or tomorrow. A project that needs a whole column in clear asks for access to it.",
        )


def can_decide(state: State, asked_by: str, decider: str, verdict: Verdict) -> bool:
    return state is State.OPEN and fits(asked_by, decider, verdict)


def check_decision(state: State, asked_by: str, decider: str, verdict: Verdict) -> None:
    """Raises Problem 409 where it is decided, 403 where one person would be both of the two."""
    if state is not State.OPEN:
        raise Problem(
            409,
            "reidentification-decided",
            "This request is decided",
            f"It is {state}.",
            next="Ask anew if these tokens still have to be turned back.",
        )
    if not fits(asked_by, decider, verdict):
        raise Problem(
            403,
            "two-people",
            "Two people turn tokens back",
            "Who asked for it can only withdraw it; a steward of the dataset approves or rejects.",
            next="Ask another steward of the dataset to decide.",
        )


def viewer(shown_to: str, asked_by: str, decided_by: str | None) -> str | None:
    """The one person who may look."""
    return asked_by if ShownTo(shown_to) is ShownTo.ASKER else decided_by


def check_show(state: State, looking: str, may: str | None) -> None:
    """Raises Problem 403 for anybody else, 409 before it is approved, 410 after it was seen or its time is over."""
    if looking != may:
        raise Problem(
            403,
            "not-yours-to-see",
            "These values are not for you",
            "The request says who sees them: who asked, or the steward who agreed.",
            next="Ask that person, or make a request of your own.",
        )
    if state in (State.SHOWN, State.EXPIRED):
        raise Problem(
            410,
            "reidentification-over",
            "This was shown, or its time is over",
            "Values are shown once, within 24 hours after the approval, and are kept nowhere.",
            next="Ask anew if they are still needed.",
        )
    if state is not State.APPROVED:
        raise Problem(
            409,
            "not-approved",
            "This is not approved",
            f"It is {state}.",
            next="A steward of the dataset decides.",
        )


def commitment(salt: str, tokens: Sequence[str]) -> str:
    """What the log says of the tokens: nobody finds them from it, and who has the salt can check them."""
    return hashlib.sha256(json.dumps([salt, *tokens]).encode()).hexdigest()


def _invalid(why: str) -> Problem:
    return Problem(
        422,
        "invalid-reidentification",
        "This cannot be asked so",
        "Nothing was changed.",
        why=(why,),
        next="Correct what is named above and ask again.",
    )
