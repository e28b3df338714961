from __future__ import annotations

import re
from datetime import UTC, date, datetime

import polars as pl
import pytest
from filter_texts import ROWS, SCHEMA, TYPES, fitting, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_policy import filters
from strongroom_policy.filter_polars import kind_of, to_polars
from strongroom_policy.filter_sense import contradicted
from strongroom_policy.filter_types import Kind, type_problems
from strongroom_policy.filters import (
    And,
    Between,
    Column,
    Compare,
    Day,
    FilterError,
    In,
    Is,
    IsNull,
    Not,
    Number,
    Or,
    Text,
    Today,
    UserProject,
    bound,
    columns,
    parse,
)

from tests.filter_oracle import Oracle

TODAY = date(2026, 6, 1)


def test_what_a_filter_says() -> None:
    both = And((Compare("=", Column("n"), Number(1)), In(Column("t"), (Text("A"), Text("it's")), False)))
    assert parse("n = 1 AND t in ('A', 'it''s') or NOT ok") == Or((both, Not(Is(Column("ok")))))
    assert parse('"a ""b""" not between -0.5 and 2026-01-01') == Between(
        Column('a "b"'), Number(-0.5), Day(date(2026, 1, 1)), True
    )
    assert parse("(x is not null)") == IsNull(Column("x"), True)
    assert parse("user.project = today()") == Compare("=", UserProject(), Today())
    assert parse("today = user") == Compare("=", Column("today"), Column("user"))
    assert parse('"and" = 1') == Compare("=", Column("and"), Number(1))
    assert str(parse('"and"=1 or "x"=2')) == '"and" = 1 or x = 2'


@pytest.mark.parametrize(
    ("text", "says", "at"),
    [
        ("", "expected a column", 1),
        ("n == 1", "write =", 3),
        ("n <> 1", "write !=", 3),
        ("n = 1 && ok", "write and", 7),
        ("!ok", "write not", 1),
        ("t = 'A", "is never closed", 5),
        ('"n = 1', "is never closed", 1),
        ("n = ", "but it ends", 5),
        ("n = 1 2", "expected an end, and, or", 7),
        ("n in ()", "but ')' stands there", 7),
        ("n in 1", "expected (", 6),
        ("n not = 1", "expected in or between", 7),
        ("n between 1 or 2", "expected and", 13),
        ("n is 1", "expected null", 6),
        ("(n = 1", "expected )", 7),
        ("d = 2026-02-30", "no day of the calendar", 5),
        ("n = 1e9", "'1e9' means nothing", 5),
        ("n = 0x1", "'0x1' means nothing", 5),
        ("n = 9999999999999999.5", "too many digits", 5),
        ("n.real = 1", "'.real = 1' means nothing", 2),
        ("user.name = 'a'", "means nothing", 5),
        ("user.projects = 'a'", "'s' stands there", 13),
        ("eval('1')", "'(' stands there", 5),
        ("n = null", "expected a column", 5),
        ("n = 1; drop", "'; drop' means nothing", 6),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(text: str, says: str, at: int) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert caught.value.at == at


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(" * 21 + "ok" + ")" * 21, "more than 20 parentheses"),
        ("not " * 21 + "ok", "more than 20 parentheses"),
        ("(" * 10_000, "more than 20 parentheses"),
        ("n in (" + ",".join("1" * 1 for _ in range(201)) + ")", "more than 200 columns and values"),
        ("ok or " * 3000 + "ok", "more than 200 columns and values"),
        ("ok" + " " * 20_000, "longer than 20000"),
    ],
)
def test_size_and_depth_are_bounded(text: str, says: str) -> None:
    with pytest.raises(FilterError, match=says):
        parse(text)
    assert len(text) <= filters.MAX_LENGTH or "longer" in says
    parse("(" * 20 + "ok" + ")" * 20)


def attempted(text: str):
    try:
        return None, parse(text)
    except FilterError as error:
        return error, None


def read_or_refuse(text: str) -> None:
    refused, condition = attempted(text)
    if refused is not None:
        assert str(refused).endswith(f"(character {refused.at} of the filter)")
        assert 1 <= refused.at <= len(text) + 1
    else:
        assert parse(str(condition)) == condition


@given(texts)
def test_rubbish_is_refused_in_words_or_says_what_it_prints(text: str) -> None:
    read_or_refuse(text)


@given(fitting)
def test_a_filter_is_printed_as_it_is_read(condition) -> None:
    assert parse(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n = 'A'", "n = 'A': n is a number, 'A' is text"),
        ("t = 1", "t is text, 1 is a number"),
        ("t = 2026-01-01", "2026-01-01 is a date"),
        ("d = user.project", "user.project is text"),
        ("n = t", "n is a number, t is text"),
        ("n in (1, 'A')", "'A' is text"),
        ("n between 1 and 'B'", "'B' is text"),
        ("n", "n is a number: compare it"),
        ("ok < true", "have no order"),
        ("ok between false and true", "have no order"),
        ("m = 1", "there is no column m"),
        ("titel is null", "did you mean 'title'?"),
        ("1 = 1", "compares no column"),
        ("list = 1", "something that filters cannot compare"),
        ("list = list", "something that filters cannot compare"),
        ("not (ok and n = 'A')", "'A' is text"),
    ],
)
def test_what_does_not_fit_the_columns_is_told(text: str, says: str) -> None:
    problems = type_problems(parse(text), SCHEMA | {"list": Kind.OTHER, "title": Kind.TEXT})
    assert any(says in problem for problem in problems), problems
    with pytest.raises(ValueError, match=re.escape(problems[0])):
        to_polars(parse(text), TYPES | {"list": pl.List(pl.Int64()), "title": pl.String()})


def test_what_is_not_bound_is_not_compiled() -> None:
    for text in ("d = today()", "t = user.project"):
        with pytest.raises(ValueError, match="not bound"):
            to_polars(parse(text), TYPES)
    condition = bound(parse("d <= today() and t = user.project"), project="car'dio", today=TODAY)
    assert str(condition) == "d <= 2026-06-01 and t = 'car''dio'"
    to_polars(condition, TYPES)


def test_columns_that_must_be_read() -> None:
    condition = parse('n = 1 and (t is null or not d between at and today()) and "x y" in (1, n)')
    assert columns(condition) == {"n", "t", "d", "at", "x y"}


def test_a_row_without_a_value_is_dropped_whichever_way_it_is_asked() -> None:
    frame = pl.DataFrame({"n": [1, None]})

    def kept(text: str) -> list[int | None]:
        return frame.filter(to_polars(parse(text), frame.schema))["n"].to_list()

    for text in ("n = 2", "n != 1", "not n = 1", "n not in (1)", "not n in (1)", "n not between 0 and 5"):
        assert kept(text) == []
    assert kept("n is null") == [None]
    assert kept("n = 1 or n is null") == [1, None]


def test_days_beside_times_are_in_utc() -> None:
    late = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    frame = pl.DataFrame({"at": [late]}).with_columns(pl.col("at").dt.convert_time_zone("America/New_York"))
    assert frame.filter(to_polars(parse("at >= 2026-01-01"), frame.schema)).height == 1  # still 2025 over there
    naive = pl.DataFrame({"at": [datetime(2026, 1, 1)]})  # noqa: DTZ001
    assert naive.filter(to_polars(parse("at = 2026-01-01"), naive.schema)).height == 1


def test_large_numbers_and_categories_are_compared_exactly() -> None:
    frame = pl.DataFrame({"n": [2**53, 2**53 + 1]})
    assert frame.filter(to_polars(parse(f"n = {2**53 + 1}"), frame.schema))["n"].to_list() == [2**53 + 1]
    order = pl.DataFrame({"t": ["low", "high"]}, schema={"t": pl.Enum(["low", "high"])})
    assert order.filter(to_polars(parse("t < 'l'"), order.schema))["t"].to_list() == ["high"]
    assert order.filter(to_polars(parse("t = 'unheard of'"), order.schema)).height == 0


def test_kinds_of_columns() -> None:
    assert {name: kind_of(dtype) for name, dtype in TYPES.items()} == SCHEMA
    for dtype in (pl.List(pl.Int8()), pl.Struct({"a": pl.Int8()}), pl.Binary(), pl.Duration(), pl.Time(), pl.Null()):
        assert kind_of(dtype) is Kind.OTHER
    assert kind_of(pl.Decimal(10, 2)) is Kind.NUMBER


def compare(condition, order) -> None:
    condition = bound(condition, project="cardio", today=TODAY)
    rows = [{"#": number, **ROWS[number]} for number in order]
    frame = pl.DataFrame(rows, schema={"#": pl.Int64(), **TYPES})
    expected = [row["#"] for row in rows if Oracle(row).answer(condition) is True]
    assert frame.filter(to_polars(condition, TYPES))["#"].to_list() == expected, str(condition)
    assert frame.lazy().filter(to_polars(condition, TYPES)).collect()["#"].to_list() == expected


_order = st.permutations(range(len(ROWS)))


@settings(deadline=None, max_examples=150)
@given(fitting, fitting, _order)
def test_filters_that_are_called_contradictory_keep_no_row(one, other, order) -> None:
    one, other = (bound(each, project="cardio", today=TODAY) for each in (one, other))
    if contradicted([one, other]) is not None:
        frame = pl.DataFrame([ROWS[number] for number in order], schema=TYPES)
        assert frame.filter(to_polars(one, TYPES), to_polars(other, TYPES)).height == 0


@given(fitting, _order)
def test_polars_keeps_the_rows_that_plain_python_keeps(condition, order) -> None:
    compare(condition, order)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(deadline=None, max_examples=20_000)
@given(fitting, _order)
def test_polars_keeps_them_twenty_thousand_times(condition, order) -> None:
    compare(condition, order)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(deadline=None, max_examples=50_000)
@given(texts)
def test_rubbish_is_refused_fifty_thousand_times(text: str) -> None:
    read_or_refuse(text)
