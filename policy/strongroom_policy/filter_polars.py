"""Row filters as polars expressions. The one module here that needs polars: only what touches data imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from functools import reduce
from operator import and_, or_

import polars as pl

from strongroom_policy.filter_types import Kind, type_problems
from strongroom_policy.filters import (
    COMPARISONS,
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
    columns,
)

Types = Mapping[str, pl.DataType]


def kind_of(dtype: pl.DataType) -> Kind:
    """What a column of this type holds, as far as filters care."""
    if dtype.is_numeric():
        return Kind.NUMBER
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Kind.TEXT
    if dtype == pl.Date:
        return Kind.DATE
    if dtype == pl.Datetime:
        return Kind.TIME
    return Kind.TRUTH if dtype == pl.Boolean else Kind.OTHER


def to_polars(condition: Condition, types: Types) -> pl.Expr:
    """A boolean expression for a table of these column types; a row whose value is null is to be dropped.

    `condition` must be bound: no `today()`, no `user.project`. Raises ValueError where it is not, or does not fit.
    """
    needed = columns(condition)
    schema = {name: kind_of(dtype) for name, dtype in types.items()}
    problems = type_problems(condition, schema)
    if problems:
        raise ValueError("; ".join(problems))
    return _condition(condition, {name: types[name] for name in needed})


def _condition(condition: Condition, types: Types) -> pl.Expr:  # noqa: PLR0911 - one a node
    match condition:
        case And(parts):
            return reduce(and_, (_condition(part, types) for part in parts))
        case Or(parts):
            return reduce(or_, (_condition(part, types) for part in parts))
        case Not(part):
            return ~_condition(part, types)
        case Is(operand):
            return _operand(operand, types)
        case IsNull(operand, negated):
            missing = _operand(operand, types).is_null()
            return ~missing if negated else missing
        case Compare(operator, left, right):
            one, other = _comparable((left, right), types)
            compared: pl.Expr = COMPARISONS[operator](one, other)
            return compared
        case In(operand, among, negated):
            value, *values = _comparable((operand, *among), types)
            # not is_in: that would compare by the list's type, this by each value's
            found = reduce(or_, (value == one for one in values))
            return ~found if negated else found
        case Between(operand, low, high, negated):
            value, least, most = _comparable((operand, low, high), types)
            within = (value >= least) & (value <= most)
            return ~within if negated else within


def _comparable(operands: Sequence[Operand], types: Types) -> list[pl.Expr]:
    """Days among themselves are compared as they are stored, so that the least and greatest of a row group tell."""
    days = [_day(one, types) for one in operands]
    if all(day is not None for day in days):
        return [day for day in days if day is not None]
    return [_operand(one, types) for one in operands]


def _day(operand: Operand, types: Types) -> pl.Expr | None:
    match operand:
        case Column(name) if types[name] == pl.Date:
            return pl.col(name)
        case Day(value):
            return pl.lit(value)
    return None


def _operand(operand: Operand, types: Types) -> pl.Expr:
    match operand:
        case Column(name):
            return _column(name, types[name])
        case Day(value):
            # a day beside a time means its first instant in UTC
            return pl.lit(datetime.combine(value, time(), tzinfo=UTC), dtype=_INSTANT)
        case Text(value) | Number(value) | Truth(value):
            return pl.lit(value)
    raise ValueError(f"{operand} is not bound to a value yet")


_INSTANT = pl.Datetime("us", "UTC")


def _column(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    kind = kind_of(dtype)
    if kind is Kind.TEXT:
        if dtype == pl.String:
            return column
        return column.cast(pl.String)  # the order of categories is not that of their names
    if kind is Kind.DATE:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(dtype, pl.Datetime):
        zoned = column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        return zoned.cast(_INSTANT)
    return column
