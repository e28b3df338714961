"""The life of access requests and grants, and who may move them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from strongroom_policy.filter_types import Kind
from strongroom_policy.masks import parse_mask, unsuited
from strongroom_policy.vocabulary import MASKS

from strongroom_hub.control.times import iso
from strongroom_hub.problems import Problem


class RequestState(StrEnum):
    SUBMITTED = "submitted"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"


class GrantState(StrEnum):
    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"


REQUEST_TRANSITIONS: Mapping[RequestState, frozenset[RequestState]] = {
    RequestState.SUBMITTED: frozenset({RequestState.APPROVED, RequestState.DENIED, RequestState.WITHDRAWN}),
    RequestState.APPROVED: frozenset(),
    RequestState.DENIED: frozenset(),
    RequestState.WITHDRAWN: frozenset(),
}
GRANT_TRANSITIONS: Mapping[GrantState, frozenset[GrantState]] = {
    GrantState.ACTIVE: frozenset({GrantState.REVOKED, GrantState.EXPIRED}),
    GrantState.REVOKED: frozenset(),
    GrantState.EXPIRED: frozenset(),
}
OPEN_REQUESTS = frozenset(state for state, following in REQUEST_TRANSITIONS.items() if following)
TURN = {
    RequestState.SUBMITTED: "steward",
    RequestState.APPROVED: "nobody",
    RequestState.DENIED: "requester",
    RequestState.WITHDRAWN: "nobody",
}
ASK = "Ask for access in the Datasets panel: say which columns, what for and for how long."


def check_request_transition(
    state: RequestState, to: RequestState, decided_by: str | None, decided_at: datetime | None
) -> None:
    """Raises Problem 409, which says who decided and when."""
    if to not in REQUEST_TRANSITIONS[state]:
        when = f" by {decided_by} at {iso(decided_at)}" if decided_by and decided_at else ""
        raise Problem(
            409,
            "already-decided",
            "This request is decided",
            f"It was {state}{when}; a request is decided once.",
            next="Make a new request if something else is wanted.",
        )


def can_move_request(state: RequestState, to: RequestState) -> bool:
    try:
        check_request_transition(state, to, None, None)
    except Problem:
        return False
    return True


def check_grant_transition(state: GrantState, to: GrantState) -> None:
    """Raises Problem 409."""
    if to not in GRANT_TRANSITIONS[state]:
        raise Problem(
            409, "grant-ended", "This grant has ended", f"It is {state} already.", next="Nothing has to be done."
        )


def can_move_grant(state: GrantState, to: GrantState) -> bool:
    try:
        check_grant_transition(state, to)
    except Problem:
        return False
    return True


def check_not_requester(requester: str, decider: str) -> None:
    """Raises Problem 403: nobody decides on a request of their own."""
    if requester == decider:
        raise Problem(
            403,
            "own-request",
            "This is your own request",
            "Nobody decides on a request that they made themselves.",
            next="Another steward of the dataset has to decide.",
        )


def check_columns(wanted: list[str], known: list[str], of: str) -> None:
    """Every wanted column among the known ones, none twice, at least one. Raises Problem 422."""
    if not wanted:
        raise invalid_request("no columns are named")
    unknown = [column for column in wanted if column not in known]
    if unknown:
        raise invalid_request(f"not among the columns of {of}: {', '.join(unknown)}")
    if len(set(wanted)) != len(wanted):
        raise invalid_request("a column is named twice")


def check_days(days: int, most: int, rule: str) -> None:
    """Raises Problem 422 unless 1 <= days <= most."""
    if not 1 <= days <= most:
        raise invalid_request(f"{days} days asked for; at most {most} can be granted: {rule}")


def check_purpose(purpose: str) -> None:
    """Raises Problem 422."""
    if not purpose.strip():
        raise invalid_request("no purpose is given")


def check_masks(masks: Mapping[str, str], columns: list[str], kinds: Mapping[str, Kind]) -> None:
    """Masks that the vault carries out, on granted columns that hold what they are for; `kinds` by column.

    Raises Problem 422.
    """
    for column, text in masks.items():
        if column not in columns:
            raise invalid_request(f"a mask is set on {column}, which is not among the granted columns")
        try:
            mask = parse_mask(text)
        except ValueError as error:
            raise invalid_request(f"column {column}: {error}") from error
        if mask.method not in MASKS:
            raise invalid_request(f"no such mask here: {text!r}; masks are {', '.join(MASKS)}")
        if problem := unsuited(mask, kinds[column]):
            raise invalid_request(f"column {column}: {problem}")


def invalid_request(why: str) -> Problem:
    return Problem(
        422,
        "invalid-access-request",
        "This cannot be asked or granted so",
        "Nothing was changed.",
        why=(why,),
        next="Correct what is named above and try again.",
    )


def unknown_request() -> Problem:
    """The same for a request that never was and for one that is not the caller's business."""
    return Problem(
        404,
        "unknown-request",
        "No such request",
        "There is no request of that id for you.",
        next="Look at the list of requests.",
    )


def unknown_grant() -> Problem:
    return Problem(
        404,
        "unknown-grant",
        "No such grant",
        "There is no grant of that id for you.",
        next="Look at the list of grants.",
    )


def not_permitted(action: str, what: str, why: tuple[str, ...]) -> Problem:
    """The policy does not let the caller do this."""
    return Problem(
        403,
        "not-permitted",
        "The policy does not permit this",
        f"You may not {action} {what}.",
        why=why,
        next="If you should be able to, ask an administrator: the rules stand in the policy files.",
    )
