"""Who may work in a project now, and what server credentials, kernels and cells must satisfy. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from strongroom_policy.profiles import Profile
from strongroom_policy.vocabulary import TIERS

from strongroom_hub.audit.entries import Action
from strongroom_hub.control.times import iso
from strongroom_hub.problems import Problem

PROJECT_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
KERNEL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
ASK_FOR_MEMBERSHIP = "Ask the project's lead or an administrator: membership stands in the policy files."


class CellKind(StrEnum):
    EXECUTE = "execute"
    COMPLETE = "complete"
    INSPECT = "inspect"
    COMM = "comm"
    INPUT = "input"


BEGIN_ACTIONS = {
    CellKind.EXECUTE: Action.CELL_BEGIN,
    CellKind.COMPLETE: Action.COMPLETION_REQUEST,
    CellKind.INSPECT: Action.INSPECTION_REQUEST,
    CellKind.COMM: Action.COMM_MESSAGE,
    CellKind.INPUT: Action.INPUT_REPLY,
}


def via(prepared: int | None) -> str:
    """How a request came about: `kernel` where the code of a cell filled it in, and the person submitted it."""
    return "panel" if prepared is None else "kernel"


def not_a_member(project: str) -> Problem:
    """One answer for a project that does not exist and for one that the person does not belong to."""
    return Problem(
        403,
        "not-a-member",
        "Not a member of this project",
        f"You are not a member of a project {project} now.",
        next=ASK_FOR_MEMBERSHIP,
    )


def check_window(project: str, since: datetime | None, until: datetime | None, now: datetime) -> None:
    """Raises Problem 403 `project-closed` outside `since <= now < until`."""
    if (since is not None and now < since) or (until is not None and now >= until):
        opened = iso(since)[:10] if since else "always"
        closed = iso(until) if until else "no end"
        raise Problem(
            403,
            "project-closed",
            "This project is not open now",
            f"Project {project} runs from {opened} until {closed}.",
            next="Ask an administrator to extend the project's window.",
        )


def can_work(since: datetime | None, until: datetime | None, now: datetime) -> bool:
    try:
        check_window("", since, until, now)
    except Problem:
        return False
    return True


def check_new_project(name: str, since: datetime | None, until: datetime | None) -> None:
    """Raises Problem 422."""
    if not PROJECT_NAME.fullmatch(name):
        raise bad_project("a project name is 1 to 32 of a-z 0-9 - and starts with a letter")
    if since is not None and until is not None and until <= since:
        raise bad_project("the project ends before it begins")


def check_kernel_id(kernel: str) -> None:
    if not KERNEL_ID.fullmatch(kernel):
        raise Problem(
            422,
            "invalid-kernel",
            "Not a kernel id",
            "A kernel id is 1 to 64 of A-Z a-z 0-9 _ -.",
            next="Restart the kernel.",
        )


def reaches(tier: str, needed: str) -> bool:
    """Whether a box of `tier` is at least as strong as `needed`; one that is not known is not."""
    return tier in TIERS and TIERS.index(tier) >= TIERS.index(needed)


def choose_profile(name: str | None, allowed: Sequence[Profile]) -> Profile:
    """The profile of that name, or the first allowed one without a name. Raises Problem 403."""
    found = next((profile for profile in allowed if name in {None, profile.name}), None)
    if found is not None:
        return found
    why = [f"you may take: {', '.join(profile.name for profile in allowed)}"] if allowed else []
    raise Problem(
        403,
        "profile-not-allowed",
        "You may not take this profile",
        f"The policy does not let you take the profile {name} in this project."
        if name
        else "The policy gives you no profile in this project.",
        why=tuple(why),
        next="Choose another profile on your projects page."
        if allowed
        else "Ask an administrator for a rule with the action `use` on a profile (policy.csv).",
    )


def check_tier(tier: str) -> None:
    if tier not in TIERS:
        raise Problem(
            422,
            "invalid-tier",
            "Not a tier of boxes",
            f"A kernel's box is one of: {', '.join(TIERS)}.",
            next="Use a notebook server of the same release as the hub.",
        )


def unknown_kernel() -> Problem:
    """The same for a kernel that never was, one that has ended and one of another server."""
    return Problem(
        404,
        "unknown-kernel",
        "No such kernel here",
        "This server has no running kernel of that id.",
        next="Restart the kernel from the notebook.",
    )


def check_session(until: datetime | None, rule: str | None, now: datetime) -> None:
    """Raises Problem 403 `session-over` for a kernel that has to have ended by now."""
    if until is not None and now >= until:
        raise Problem(
            403,
            "session-over",
            "The session of this kernel is over",
            f"It has read data that a kernel may hold for so long only; its time ended at {iso(until)}.",
            why=(rule,) if rule else (),
            next="Restart the kernel, and open the data again: a new session begins.",
        )


def kernel_taken() -> Problem:
    return Problem(
        409,
        "kernel-exists",
        "This kernel id was used before",
        "A kernel of another server has or had it.",
        next="Start a new kernel.",
    )


def unknown_cell() -> Problem:
    return Problem(
        404,
        "unknown-cell",
        "No such cell here",
        "This server began no cell with that entry.",
        next="Run the cell again.",
    )


def bad_project(why: str) -> Problem:
    return Problem(
        422,
        "invalid-project",
        "This project cannot be made",
        "Nothing was created.",
        why=(why,),
        next="Correct it and try again.",
    )
