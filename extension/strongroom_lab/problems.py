"""Refusals that the single-user server itself makes in more than one place."""

from __future__ import annotations

from strongroom_hub.problems import Problem


def control_silent() -> Problem:
    """Control did not answer: nothing may run or be shown on an old decision."""
    return Problem(
        503,
        "control-unreachable",
        "The control service does not answer",
        "Strongroom could not reach the service that decides and keeps the audit log, so this was not done.",
        next="Try again in a moment; if it stays so, tell the operator.",
    )
