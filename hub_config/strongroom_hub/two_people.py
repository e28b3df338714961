"""What takes two people: one asks, another approves or rejects, and only who asked takes it back. Pure."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"


def fits(asked_by: str, decider: str, verdict: Verdict) -> bool:
    """Whether this verdict is the decider's to give."""
    return (verdict is Verdict.WITHDRAW) == (asked_by == decider)
