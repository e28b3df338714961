"""What may be reported of boxes and how often, and how often reads may be refused. Pure."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from strongroom_hub.audit.entries import Action
from strongroom_hub.problems import Problem


class Kind(StrEnum):
    SYSCALL = "syscall"
    """System calls that the box denied, by name."""
    LIMIT = "limit"
    """A kernel ended by a limit of its profile."""
    START = "start"
    """A box that did not come up."""
    MESSAGE = "message"
    """Messages that the gate dropped, by type."""
    RATE = "rate"
    """Questions and reads that came too fast, and were not looked at."""


ACTIONS = {kind: Action.KERNEL_LIMIT if kind is Kind.LIMIT else Action.KERNEL_VIOLATION for kind in Kind}
INTERVAL = timedelta(seconds=10)
"""A kernel's violations of one kind become at most one entry in this time."""
DENIALS, DENIALS_PER_SECOND = 30, 0.5
"""Refused reads of one workspace: so many at once, and so many more each second."""
SAVES, SAVES_PER_SECOND = 10, 1 / 60
"""Tables that one workspace may save at once, and each second after that."""


def too_many_reports(kind: Kind) -> Problem:
    return Problem(
        429,
        "too-many-reports",
        "Reported too often",
        f"A kernel's violations of kind {kind} become one entry in {INTERVAL.seconds} seconds.",
        next="Sum them and report again later.",
    )


def too_many_denials() -> Problem:
    return Problem(
        429,
        "too-many-refused-reads",
        "Too many refused reads",
        f"More than {DENIALS} reads of this workspace were refused in short time, so reads are not looked at for now.",
        why=("each refused read is an entry in the audit log, and no kernel may flood it",),
        next=f"Wait {1 / DENIALS_PER_SECOND:.0f} seconds and open a dataset that you may read; "
        "strongroom.catalog() lists them.",
    )
