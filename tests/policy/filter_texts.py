"""Random row filters with the rows they are about, for tests that compare or attack."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
from hypothesis import strategies as st
from strongroom_policy.filter_types import Kind
from strongroom_policy.filters import (
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
    Or,
    Text,
    Today,
    Truth,
    UserProject,
)

SCHEMA = {
    "n": Kind.NUMBER, "x y": Kind.NUMBER, "t": Kind.TEXT, 'a"b': Kind.TEXT, "d": Kind.DATE, "at": Kind.TIME,
    "ok": Kind.TRUTH,
}  # fmt: skip
ROWS = [
    {"n": 1, "x y": 0.5, "t": "A", 'a"b': "cardio", "d": date(2026, 1, 1), "at": datetime(2026, 1, 1, tzinfo=UTC),
     "ok": True},
    {"n": 2, "x y": -1.0, "t": "b'c", 'a"b': "A", "d": date(2026, 6, 1), "at": datetime(2025, 12, 31, 23, tzinfo=UTC),
     "ok": False},
    {"n": None, "x y": 1.0, "t": None, 'a"b': "", "d": None, "at": datetime(2026, 6, 1, 1, tzinfo=UTC), "ok": None},
    {"n": 0, "x y": None, "t": "", 'a"b': None, "d": date(2025, 1, 1), "at": None, "ok": True},
]  # fmt: skip
TYPES = {
    "n": pl.Int64(), "x y": pl.Float64(), "t": pl.Categorical(), 'a"b': pl.String(), "d": pl.Date(),
    "at": pl.Datetime("ms", "Europe/Berlin"), "ok": pl.Boolean(),
}  # fmt: skip

_numbers = st.one_of(st.integers(-(10**17), 10**17), st.sampled_from([0, 1, 2, 0.5, -1.0, 123456789.25]))
_strings = st.one_of(st.text(max_size=4), st.sampled_from(["A", "b'c", "cardio", ""]))
_literals = {
    Kind.NUMBER: _numbers.map(Number),
    Kind.TEXT: _strings.map(Text) | st.just(UserProject()),
    Kind.DATE: st.sampled_from([date(2025, 1, 1), date(2026, 1, 1), date(2026, 6, 1)]).map(Day) | st.just(Today()),
    Kind.TRUTH: st.booleans().map(Truth),
}  # fmt: skip
_FAMILIES = {
    Kind.NUMBER: ["n", "x y"], Kind.TEXT: ["t", 'a"b'], Kind.DATE: ["d", "at"], Kind.TRUTH: ["ok"],
}  # fmt: skip


def _tests(kind: Kind) -> st.SearchStrategy[Condition]:
    column = st.sampled_from(_FAMILIES[kind]).map(Column)
    operand = column | _literals[kind]
    equality = ["=", "!="]
    operators = equality if kind is Kind.TRUTH else [*equality, "<", "<=", ">", ">="]
    several = st.lists(operand, min_size=1, max_size=3).map(tuple)
    found = [
        st.builds(Compare, st.sampled_from(operators), column, operand),
        st.builds(In, column, several, st.booleans()),
        st.builds(IsNull, column, st.booleans()),
    ]
    if kind is Kind.TRUTH:
        return st.one_of(*found, st.builds(Is, operand))
    return st.one_of(*found, st.builds(Between, column, operand, operand, st.booleans()))


fitting: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(*(_tests(kind) for kind in _FAMILIES)),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=8,
)
"""Conditions that fit SCHEMA."""
_SIGNS = (
    "(",
    ")",
    ",",
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "<>",
    "==",
    "&&",
    "'",
    '"',
    ";",
    ".",
    "-",
    "[",
    "{",
    "\\",
    "#",
)
_NAMES = (
    "and",
    "or",
    "not",
    "in",
    "between",
    "is",
    "null",
    "true",
    "false",
    "today()",
    "user.project",
    "today",
    "user",
)
_VALUES = (
    "n",
    '"x y"',
    "'A'",
    "1",
    "-0.5",
    "1e9",
    "2026-01-01",
    "2026-99-99",
    "0x1",
    "9" * 30,
    "AND",
    "nOt",
    "''",
    '""',
)
WORDS = (*_SIGNS, *_NAMES, *_VALUES, "__import__('os')", "\n", "\x00", "é")
texts = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=30)
"""Rubbish, and now and then a filter."""
