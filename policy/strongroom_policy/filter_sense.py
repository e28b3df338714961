"""Whether filters can ever be true together: under two that exclude each other nobody reads a row, or learns why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from strongroom_policy.filters import (
    COMPARISONS,
    EQUALITY,
    And,
    Between,
    Column,
    Compare,
    Condition,
    Day,
    In,
    Is,
    IsNull,
    Not,
    Number,
    Operand,
    Or,
    Text,
    Truth,
    operands,
)

Value = int | float | str | bool


def contradicted(conditions: Iterable[Condition]) -> str | None:
    """A column of which no value makes all `conditions` true; None where each has one, or it depends on more.

    Looks at one column at a time and at what is compared with constants. Finds nothing that is not there.
    """
    about: dict[str, list[Condition]] = defaultdict(list)
    for term in _terms(conditions):
        found = set(operands(term))
        names = {one.name for one in found if isinstance(one, Column)}
        if len(names) == 1 and all(isinstance(one, Column | Number | Text | Day | Truth) for one in found):
            about[names.pop()].append(term)
    for name, terms in about.items():
        beside = [one for term in terms for one in operands(term) if not isinstance(one, Column)]
        if len({type(one) for one in beside}) > 1:
            continue  # types that do not fit are told elsewhere
        if any(isinstance(one, Text) for one in beside) and any(map(_ordering, terms)):
            continue  # how texts are ordered, says the column
        constants = {value for one in beside if (value := _constant(one)) is not None}
        if not any(all(_holds(term, value) for term in terms) for value in _samples(constants)):
            return name
    return None


def _terms(conditions: Iterable[Condition]) -> Iterator[Condition]:
    for one in conditions:
        yield from _terms(one.parts) if isinstance(one, And) else (one,)


def _constant(one: Operand) -> Value | None:
    if isinstance(one, Day):
        return one.value.toordinal()  # a column of times has more between two days
    return one.value if isinstance(one, Number | Text | Truth) else None


def _ordering(condition: Condition) -> bool:
    match condition:
        case Compare(word, _, _):
            return word not in EQUALITY
        case Not(part):
            return _ordering(part)
        case And(parts) | Or(parts):
            return any(map(_ordering, parts))
    return isinstance(condition, Between)


def _samples(constants: set[Value]) -> Sequence[Value | None]:
    """Missing; each constant; and something between, before and behind them."""
    ordered: list[Any] = sorted(constants)
    more: list[Value | None] = [None, True, False] if not ordered or isinstance(ordered[0], bool) else [None]
    for place, one in enumerate(ordered):
        if isinstance(one, str):
            more += [f"{ordered[-1]}, or another"]
        elif not isinstance(one, bool):
            more += [one - 1, one + 1]
            more += [(one + ordered[place + 1]) / 2] if place + 1 < len(ordered) else []
    return [*ordered, *more]


def _holds(condition: Condition, value: Value | None) -> bool | None:  # noqa: C901, PLR0911 - one a node
    """Three-valued, as the vault decides it: None where a missing value leaves it open."""

    def of(one: Operand) -> Value | None:
        return value if isinstance(one, Column) else _constant(one)

    def compared(word: str, left: Operand, right: Operand) -> bool | None:
        one, other = of(left), of(right)
        return None if one is None or other is None else bool(COMPARISONS[word](one, other))

    match condition:
        case Compare(word, left, right):
            return compared(word, left, right)
        case In(one, among, negated):
            return _not(_any(compared("=", one, other) for other in among), negated)
        case Between(one, low, high, negated):
            return _not(_all([compared(">=", one, low), compared("<=", one, high)]), negated)
        case IsNull(one, negated):
            return (of(one) is None) is not negated
        case Is(one):
            found = of(one)
            return None if found is None else found is True
        case Not(part):
            return _not(_holds(part, value), negated=True)
        case And(parts):
            return _all(_holds(part, value) for part in parts)
        case Or(parts):
            return _any(_holds(part, value) for part in parts)


def _all(found: Iterable[bool | None]) -> bool | None:
    told = list(found)
    return False if False in told else None if None in told else True


def _any(found: Iterable[bool | None]) -> bool | None:
    return _not(_all(_not(one, negated=True) for one in found), negated=True)


def _not(found: bool | None, negated: bool) -> bool | None:
    return found if found is None or not negated else not found
