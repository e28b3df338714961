"""What a permission is tied to: every duty that matches applies, and the strictest wins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from strongroom_policy.rows import Duty
from strongroom_policy.values import (
    NO_ROWS,
    NOTHING,
    Budget,
    DpBudget,
    Rows,
    Session,
    Training,
    Value,
    contributes,
    stricter,
)
from strongroom_policy.vocabulary import KINDS, TIERS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Due(Generic[T]):
    """One obligation: its value and the row(s) that made it so, for people: `O5 (policy.csv:31)`."""

    value: T
    rule: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Obligations:
    """What is owed, whatever the action: a caller takes the part that it is about to carry out."""

    mask: Due[str | None]
    """How a column is shown on read, as policy.csv has it (`hash`, `prefix(3)`), or None = as it is."""
    display: Due[Budget]
    review: Due[int]
    """How many reviewers have to approve an export."""
    min_count: Due[int]
    """The smallest group of people that a table to be exported may speak of."""
    max_days: Due[int]
    """The longest grant."""
    sandbox: Due[str]
    """The weakest tier of a kernel that may read it, one of TIERS."""
    rows: Due[Rows | None]
    """Which rows are read; a reading of several columns gets what `strictest` makes of all of theirs."""
    dp_budget: Due[DpBudget | None]
    training: Due[Training | None]
    session: Due[Session | None]

    def as_json(self) -> dict[str, object]:
        """`{"display": {"value": "cell=64KiB", "rule": "O5 (policy.csv:31)"}, ...}`."""
        named = {kind: self.due(kind) for kind in KINDS}
        return {
            kind: {"value": due.value if isinstance(due.value, int | None) else str(due.value), "rule": due.rule}
            for kind, due in named.items()
        }

    def due(self, kind: str) -> Due[Value | None]:
        """The obligation of that kind, by its name in policy.csv."""
        return cast("Due[Value | None]", getattr(self, kind.replace("-", "_")))

    def value(self, kind: str) -> Value | None:
        """The value of the obligation of that kind."""
        return self.due(kind).value

    def of(self, action: str) -> dict[str, Due[Value]]:
        """What is owed for `action`, by kind."""
        return {kind: due for kind, due in self.all().items() if KINDS[kind] == action}

    def all(self) -> dict[str, Due[Value]]:
        """All that is owed, by kind."""
        dues = {kind: self.due(kind) for kind in KINDS}
        return {kind: cast("Due[Value]", due) for kind, due in dues.items() if due.value is not None}

    def unmet(self, action: str, carried_out: Collection[str]) -> tuple[str, ...]:
        """Why `action` must be refused all the same: each obligation that the caller cannot carry out, with its rule.

        `carried_out`: the kinds that the caller does carry out. What nobody carries out must not be ignored.
        """
        return tuple(
            f"{kind} {due.value} is owed by rule {due.rule}, but {_CANNOT.get(kind, 'that is not carried out here')}"
            for kind, due in self.of(action).items()
            if kind not in carried_out
        )


_CANNOT = {
    "dp-budget": "this installation does not answer differentially private queries yet",
}
_CLOSED = "nothing is allowed"
CLOSED = Obligations(
    mask=Due("null", _CLOSED),
    display=Due(NOTHING, _CLOSED),
    review=Due(9, _CLOSED),
    min_count=Due(100_000, _CLOSED),
    max_days=Due(0, _CLOSED),
    sandbox=Due(TIERS[-1], _CLOSED),
    rows=Due(NO_ROWS, _CLOSED),
    dp_budget=Due(DpBudget(0.0), _CLOSED),
    training=Due(None, _CLOSED),
    session=Due(Session(0), _CLOSED),
)
"""What stands beside a denial: a caller that forgets to look at the verdict still shows nothing."""


def due_from(duties: Iterable[Duty], defaults: Mapping[str, Value]) -> Obligations:
    """The strictest of all `duties`; where none of a kind is among them, labels.toml's default (no mask for masks)."""
    by_kind: dict[str, list[Due[Value]]] = {}
    for duty in duties:
        by_kind.setdefault(duty.kind, []).append(Due(duty.value, duty.name, duty.why))
    standing = {kind: Due(value, f"default (labels.toml) {kind}") for kind, value in defaults.items()}
    return _obligations({kind: _fold(kind, dues) for kind, dues in by_kind.items()}, standing)


def strictest(several: Iterable[Obligations]) -> Obligations:
    """What is owed where several hold at once, as for a kernel that has read several datasets.

    Of none at all: CLOSED.
    """
    held = list(several)
    if not held:
        return CLOSED
    folded: dict[str, Due[Value]] = {}
    for kind in KINDS:
        dues = [cast("Due[Value]", due) for one in held if (due := one.due(kind)).value is not None]
        if dues:
            folded[kind] = _fold(kind, dues)
    return _obligations(folded, {})


def _fold(kind: str, dues: list[Due[Value]]) -> Due[Value]:
    result = dues[0].value
    for due in dues[1:]:
        result = stricter(kind, result, due.value)
    # masks that cannot be compared make a third one together
    made_it = [due for due in dues if contributes(kind, due.value, result)] or dues
    rules = list(dict.fromkeys(due.rule for due in made_it))
    reasons = list(dict.fromkeys(due.why for due in made_it if due.why))
    return Due(result, ", ".join(rules), "; ".join(reasons))


def _obligations(due: Mapping[str, Due[Value]], standing: Mapping[str, Due[Value]]) -> Obligations:
    held = {**standing, **due}
    none: Due[Value | None] = Due(None, "")
    return Obligations(
        mask=cast("Due[str | None]", held.get("mask", none)),
        display=cast("Due[Budget]", held["display"]),
        review=cast("Due[int]", held["review"]),
        min_count=cast("Due[int]", held["min-count"]),
        max_days=cast("Due[int]", held["max-days"]),
        sandbox=cast("Due[str]", held["sandbox"]),
        rows=cast("Due[Rows | None]", held.get("rows", none)),
        dp_budget=cast("Due[DpBudget | None]", held.get("dp-budget", none)),
        training=cast("Due[Training | None]", held.get("training", none)),
        session=cast("Due[Session | None]", held.get("session", none)),
    )
