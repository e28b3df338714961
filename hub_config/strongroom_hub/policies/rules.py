"""The life of a proposal, who may decide on it, and on what a decision is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict

OPERATOR = "operator"
"""Who speaks through the command line: one person, whoever they are."""


class ProposalState(StrEnum):
    OPEN = "open"
    ACTIVATED = "activated"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    OUTDATED = "outdated"
    """Another policy came into force, or another proposal was made, before anybody decided."""


class Source(StrEnum):
    """How a version came into force."""

    FILES = "files"
    FIRST = "first-start"
    PROPOSAL = "proposal"
    ROLLBACK = "rollback"


TRANSITIONS: Mapping[Verdict, ProposalState] = {
    Verdict.APPROVE: ProposalState.ACTIVATED,
    Verdict.REJECT: ProposalState.REJECTED,
    Verdict.WITHDRAW: ProposalState.WITHDRAWN,
}
"""From OPEN; every other state is an end."""
MAX_WHY = 2_000


def check_why(why: str) -> None:
    """Raises Problem 422."""
    if not why.strip() or len(why) > MAX_WHY:
        raise Problem(
            422,
            "no-reason",
            "A reason is needed",
            f"Say in 1 to {MAX_WHY} characters why: it is what others will read when they ask.",
            next="Write the reason and send it again.",
        )


def check_open(state: ProposalState, decided_by: str | None) -> None:
    """Raises Problem 409 for a proposal that is decided or outdated."""
    if state is ProposalState.OPEN:
        return
    by = f" by {decided_by}" if decided_by else ""
    raise Problem(
        409,
        "already-decided",
        "This proposal is decided",
        f"It is {state}{by}; a proposal is decided once.",
        next="Look at the newest proposal, or make a new one.",
    )


def check_decider(author: str, decider: str, verdict: Verdict) -> None:
    """Raises Problem 403: nobody decides on a proposal of their own, and nobody else takes it back."""
    if verdict is Verdict.WITHDRAW and author != decider:
        raise Problem(
            403,
            "not-yours",
            "This is not your proposal",
            f"Only {author}, who made it, can take it back.",
            next="Reject it instead, and say why.",
        )
    if verdict is not Verdict.WITHDRAW and author == decider:
        raise Problem(
            403,
            "own-request",
            "This is your own proposal",
            "Nobody decides on a request that they made themselves.",
            next="Another administrator has to decide. Commands count as one person, whoever types them: "
            "what the command line proposed is approved in the console, and the other way round.",
        )


def can_decide(author: str, decider: str, state: ProposalState) -> bool:
    try:
        check_open(state, None)
        check_decider(author, decider, Verdict.APPROVE)
    except Problem:
        return False
    return True


def check_same(seen: str, proposed: str) -> None:
    """Raises Problem 409 where the decision speaks of other files than those that are proposed."""
    if seen != proposed:
        raise Problem(
            409,
            "other-files",
            "These are not the files that you looked at",
            f"Your decision is on {seen[:12]}, but this proposal holds {proposed[:12]}.",
            next="Look at the proposal again, then decide.",
        )


def check_base(base: str, in_force: str) -> None:
    """Raises Problem 409 where the changes that people looked at are not those that would happen."""
    if base != in_force:
        raise Problem(
            409,
            "outdated",
            "Another policy has come into force meanwhile",
            f"The proposal was compared with {base[:12]}; in force is {in_force[:12]}.",
            next="Propose it again: the changes are then found out anew.",
        )


def check_two_people(two_people: bool) -> None:
    """Raises Problem 409 where files come into force by themselves."""
    if not two_people:
        raise Problem(
            409,
            "no-proposals-here",
            "Nothing has to be proposed here",
            'This instance runs with policy_activation = "file": files that pass come into force by themselves.',
            next='Edit the files in the policy folder; or set policy_activation = "two-person" in instance.toml.',
        )


def not_changed() -> Problem:
    return Problem(
        409,
        "nothing-changed",
        "There is nothing to bring into force",
        "These files are the policy that is in force.",
        next="Edit the files in the policy folder first.",
    )


def refused(problems: tuple[str, ...]) -> Problem:
    return Problem(
        422,
        "policy-refused",
        "These files cannot come into force",
        "Nothing was changed; the policy in force stays.",
        why=problems,
        next="Mend what is named above; `strongroom policy check` says the same.",
    )


def damaged(what: str, why: str) -> Problem:
    return Problem(
        409,
        "damaged-bundle",
        "What is stored is not what control signed",
        f"{what} cannot come into force: {why}.",
        next="Nothing was changed. Tell the auditor: somebody wrote into the database past the control service.",
    )


def unknown_proposal() -> Problem:
    return Problem(
        404, "unknown-proposal", "No such proposal", "There is no proposal of that id.", next="Look at the list."
    )


def unknown_version(number: int) -> Problem:
    return Problem(
        404,
        "unknown-version",
        "No such version",
        f"No policy with the number {number} was ever in force here.",
        next="`strongroom policy history` and the console list the versions.",
    )
