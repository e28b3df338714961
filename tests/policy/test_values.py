from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_policy.decision import Request
from strongroom_policy.obligations import CLOSED
from strongroom_policy.settings import SAFE
from strongroom_policy.values import Rows, contributes, read_value, stricter
from strongroom_policy.vocabulary import KINDS

GOOD = {
    "mask": ["null", "hash", "prefix(3)", "date(month)"],
    "display": ["none", "0", "cell=1KiB", "day=2MiB image=3"],
    "review": ["1", "9"],
    "min-count": ["1", "10"],
    "max-days": ["1", "3650"],
    "sandbox": ["launcher", "gvisor"],
    "rows": ["a = 1", "b = 2 or c", "today() > d"],
    "dp-budget": ["epsilon=1.0", "epsilon=0.5 days=90", "delta=1e-06 epsilon=2.0 days=365", "epsilon=0.5 delta=0.001"],
    "training": ["gdpr", "gdpr=365", "ethics=30 gdpr", "ethics=60 gdpr=90"],
    "session": ["30min", "8h", "24h", "90min"],
}
_pairs = [(kind, text) for kind, texts in GOOD.items() for text in texts]


def test_every_kind_is_tried() -> None:
    assert set(GOOD) == set(KINDS)


@pytest.mark.parametrize(("kind", "text"), _pairs)
def test_a_value_is_written_as_it_is_read(kind: str, text: str) -> None:
    value = read_value(kind, text)
    assert read_value(kind, str(value)) == value


@given(st.sampled_from(list(GOOD)), st.data())
def test_of_two_values_the_strictest_of_each_part_holds(kind: str, data) -> None:
    one, other, third = (read_value(kind, data.draw(st.sampled_from(GOOD[kind]))) for _ in range(3))
    both = stricter(kind, one, other)
    assert both == stricter(kind, other, one)
    assert stricter(kind, one, one) == one
    assert stricter(kind, stricter(kind, one, other), third) == stricter(kind, one, stricter(kind, other, third))
    assert stricter(kind, both, one) == both
    assert contributes(kind, one, both) or contributes(kind, other, both) or kind == "mask"
    assert read_value(kind, str(both)) == both or kind == "rows"


@pytest.mark.parametrize(
    ("kind", "one", "other", "both"),
    [
        ("dp-budget", "epsilon=1.0 days=90", "epsilon=2.0 delta=1e-6 days=365", "epsilon=1.0 days=365"),
        ("dp-budget", "epsilon=1.0 days=90", "epsilon=2.0", "epsilon=1.0"),
        ("training", "gdpr=365 ethics", "gdpr=90 statistics=30", "ethics gdpr=90 statistics=30"),
        ("training", "gdpr", "gdpr=90", "gdpr=90"),
        ("session", "8h", "90min", "90min"),
        ("rows", "b or a = 1", "b or a=1", "b or a = 1"),
        ("rows", "b or c", "a = 1", "(a = 1) and (b or c)"),
    ],
)
def test_both_hold(kind: str, one: str, other: str, both: str) -> None:
    assert str(stricter(kind, read_value(kind, one), read_value(kind, other))) == both


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("rows", "", "expected a column"),
        ("rows", "a = 1 and", "it ends"),
        ("rows", "a = " + "1" * 30, "means nothing"),
        ("rows", " or ".join(["abcdefghijklmno = 1"] * 95), "longer than 2000"),
        ("dp-budget", "", "no limit given"),
        ("dp-budget", "days=90", "epsilon is more than 0"),
        ("dp-budget", "epsilon=0", "epsilon is more than 0"),
        ("dp-budget", "epsilon=inf", "epsilon is more than 0"),
        ("dp-budget", "epsilon=101", "at most 100"),
        ("dp-budget", "epsilon=1 delta=1", "delta is a small number"),
        ("dp-budget", "epsilon=1 days=0", "number of days"),
        ("dp-budget", "epsilon=1 epsilon=2", "given twice"),
        ("dp-budget", "epsilon=1 day=2", "did you mean 'days'"),
        ("training", "", "no course given"),
        ("training", "gdpr=", "no course"),
        ("training", "gdpr=never", "number of days"),
        ("training", "gdpr gdpr=3", "given twice"),
        ("training", "a,b", "no course"),
        ("session", "", "no length"),
        ("session", "8", "no length"),
        ("session", "0h", "no length"),
        ("session", "169h", "at most 168h"),
        ("session", "1.5h", "no length"),
    ],
)
def test_what_is_no_value_is_refused(kind: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        read_value(kind, text)
    assert says in str(caught.value)


def test_filters_are_bound_for_one_reading() -> None:
    rows = read_value("rows", "project = user.project") & read_value("rows", "d <= today() and \"x y\" = 'A'")
    assert isinstance(rows, Rows)
    assert rows.columns() == {"project", "d", "x y"}
    assert rows.bound(project="it's", today=date(2026, 2, 3)) == (
        "d <= 2026-02-03 and \"x y\" = 'A'",
        "project = 'it''s'",
    )


ROWS = """\
g, user:a, role:r
p, P, *, read|display, lab/**, *, , , allow,
p2, F1, *, read, lab/**, *, rows, "site = 'A'", role:r, "by contract"
p2, F2, *, read, lab/d, *, rows, "year >= 2020", ,
p2, T1, *, read, lab/d, *, training, gdpr=365, ,
p2, T2, *, read, label:public, *, training, gdpr=90 ethics, ,
p2, D1, *, display, lab/**, *, display, none, ,
"""


def test_filters_and_courses_of_all_rows_apply_and_are_named(make, noon) -> None:
    policy = make(ROWS)

    def owed(user: str):
        return policy.decide(Request(user, "read", "lab/d#c", label="public", now=noon)).obligations

    assert str(owed("user:z").rows.value) == "(site = 'A') and (year >= 2020)"
    assert owed("user:z").rows.rule == "F1 (policy.csv:3), F2 (policy.csv:4)"
    assert owed("user:z").rows.why == "by contract"
    assert str(owed("user:a").rows.value) == "year >= 2020"
    assert str(owed("user:z").training.value) == "ethics gdpr=90"
    assert owed("user:z").training.rule == "T2 (policy.csv:6)"
    assert owed("user:z").session.value is None


def test_what_the_caller_cannot_carry_out_is_told(make, noon) -> None:
    owed = make(ROWS).decide(Request("user:a", "read", "lab/d", label="public", now=noon)).obligations
    assert owed.unmet("read", tuple(KINDS)) == ()
    assert owed.unmet("display", ("display",)) == ()
    assert owed.unmet("display", ()) == (
        "display none is owed by rule D1 (policy.csv:7), but that is not carried out here",
    )
    rows, training = owed.unmet("read", (*SAFE, "mask"))
    assert rows == "rows year >= 2020 is owed by rule F2 (policy.csv:4), but that is not carried out here"
    assert training == ("training ethics gdpr=90 is owed by rule T2 (policy.csv:6), but that is not carried out here")


def test_beside_a_denial_no_row_is_read() -> None:
    assert str(CLOSED.rows.value) == "false"
    assert CLOSED.dp_budget.value.epsilon == 0
    assert CLOSED.session.value.minutes == 0


def test_tests_may_expect_that_nothing_is_owed(make, problems) -> None:
    line = "allow, {}, read, lab/{}, public, , , 2026-12-01, {},\n"
    good = line.format("user:a", "d", "rows year >= 2020; training ethics gdpr=90; session none; dp-budget none")
    make(ROWS, tests=good + line.format("user:a", "e", "rows none"))
    assert (
        "expected rows none, but site = 'A' is owed"
        in problems(ROWS, tests=line.format("user:b", "e", "rows none"))[0].message
    )
    assert "none" in problems(ROWS, tests=line.format("user:b", "e", "review none"))[0].message
