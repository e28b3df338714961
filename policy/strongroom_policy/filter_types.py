"""Whether a row filter fits the columns of a dataset: names, and what is compared with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from strongroom_policy.filters import (
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
    Today,
    Truth,
    UserProject,
)
from strongroom_policy.vocabulary import suggest


class Kind(StrEnum):
    """What a column holds, as far as filters and masks care."""

    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    TIME = "time"
    """A date with a time of day."""
    TRUTH = "truth"
    OTHER = "other"
    """Lists, structures, binary: no filter can look into it."""


Schema = Mapping[str, Kind]

_OF = {Text: Kind.TEXT, UserProject: Kind.TEXT, Number: Kind.NUMBER, Day: Kind.DATE, Today: Kind.DATE,
       Truth: Kind.TRUTH}  # fmt: skip
_CALLED = {
    Kind.NUMBER: "a number",
    Kind.TEXT: "text",
    Kind.DATE: "a date",
    Kind.TIME: "a date and time",
    Kind.TRUTH: "true or false",
    Kind.OTHER: "something that filters cannot compare",
}


def type_problems(condition: Condition, schema: Schema) -> tuple[str, ...]:
    """What is wrong with `condition` for a dataset of these columns, in words; empty where it can be compiled."""
    return tuple(dict.fromkeys(_problems(condition, schema)))


def _problems(condition: Condition, schema: Schema) -> Iterator[str]:  # noqa: C901 - one case a node
    match condition:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _problems(part, schema)
        case Not(part):
            yield from _problems(part, schema)
        case Is(operand):
            yield from _unknown(schema, operand)
            if _kind(operand, schema) not in (None, Kind.TRUTH):
                yield f"{operand} is {_called(operand, schema)}: compare it with something, or ask whether it is null"
        case IsNull(operand):
            yield from _unknown(schema, operand)
        case Compare(operator, left, right):
            yield from _comparable(schema, condition, left, right)
            if operator not in EQUALITY and Kind.TRUTH in (_kind(left, schema), _kind(right, schema)):
                yield f"{condition}: true and false have no order"
        case In(operand, among):
            yield from _comparable(schema, condition, operand, *among)
        case Between(operand, low, high):
            yield from _comparable(schema, condition, operand, low, high)
            if _kind(operand, schema) is Kind.TRUTH:
                yield f"{condition}: true and false have no order"


def _comparable(schema: Schema, condition: Condition, first: Operand, *others: Operand) -> Iterator[str]:
    yield from _unknown(schema, first, *others)
    left = _kind(first, schema)
    for other in others:
        right = _kind(other, schema)
        if left is None or right is None:
            continue
        if left is Kind.OTHER or right is Kind.OTHER or _family(left) != _family(right):
            yield f"{condition}: {first} is {_called(first, schema)}, {other} is {_called(other, schema)}"
    if not any(isinstance(one, Column) for one in (first, *others)):
        yield f"{condition}: compares no column"


def _unknown(schema: Schema, *several: Operand) -> Iterator[str]:
    for operand in several:
        if isinstance(operand, Column) and operand.name not in schema:
            yield f"there is no column {operand} - {suggest(operand.name, schema)}"


def _kind(operand: Operand, schema: Schema) -> Kind | None:
    """None for a column that does not exist."""
    return schema.get(operand.name) if isinstance(operand, Column) else _OF[type(operand)]


def _family(kind: Kind) -> Kind:
    return Kind.DATE if kind is Kind.TIME else kind


def _called(operand: Operand, schema: Schema) -> str:
    kind = _kind(operand, schema)
    return "unknown" if kind is None else _CALLED[kind]
