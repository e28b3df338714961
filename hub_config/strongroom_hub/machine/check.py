"""One thing that was looked at: how it is, in words, and what to do where it is not fine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How something about the machine is; worst last."""

    FINE = "fine"
    WEAKER = "weaker"
    """It works, and protects less than it could."""
    BROKEN = "broken"
    """It does not work, or a promise would not hold."""


@dataclass(frozen=True, slots=True)
class Check:
    """CHECK of the wire formats."""

    name: str
    state: State
    text: str
    next: str = ""

    def as_json(self) -> dict[str, str]:
        return {"name": self.name, "state": self.state.value, "text": self.text, "next": self.next}


def fine(name: str, text: str) -> Check:
    return Check(name, State.FINE, text)


def weaker(name: str, text: str, next: str) -> Check:  # noqa: A002 - the wire's name
    return Check(name, State.WEAKER, text, next)


def broken(name: str, text: str, next: str) -> Check:  # noqa: A002 - the wire's name
    return Check(name, State.BROKEN, text, next)


def worst(checks: Iterable[Check]) -> State:
    """The worst state among them; FINE for none."""
    order = list(State)
    return max((check.state for check in checks), key=order.index, default=State.FINE)
