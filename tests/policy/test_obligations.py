from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_policy.decision import Request
from strongroom_policy.masks import METHODS
from strongroom_policy.obligations import CLOSED, due_from, strictest
from strongroom_policy.reader import Reader
from strongroom_policy.rows import Row
from strongroom_policy.settings import SAFE, Settings
from strongroom_policy.values import NOTHING, UNLIMITED, Budget, read_value, stricter
from strongroom_policy.vocabulary import KINDS

DEFAULTS = {kind: read_value(kind, text) for kind, text in SAFE.items()}
VALUES = {
    "mask": ["null", "redact", "hash"],
    "display": ["none", "0", "cell=1KiB", "cell=64KiB day=2MiB", "day=1MiB image=512KiB", "image=3"],
    "review": ["1", "2", "9"],
    "min-count": ["1", "5", "10"],
    "max-days": ["1", "30", "3650"],
    "sandbox": ["launcher", "bubblewrap", "gvisor"],
}
STRICTER_NUMBER = {"max-days": int}
_kind_and_value = st.sampled_from([(kind, value) for kind, values in VALUES.items() for value in values])


def duties(pairs):
    reader = Reader(Settings(), METHODS)
    rows = [
        Row("p2", (f"O{n}", "*", KINDS[kind], "*", "*", kind, value, "", f"why {n}"), "policy.csv", n + 1)
        for n, (kind, value) in enumerate(pairs)
    ]
    typed = reader.read(rows)
    assert reader.findings == []
    return typed


@given(st.lists(_kind_and_value, max_size=8), st.randoms(use_true_random=False))
def test_the_strictest_wins_in_any_order(pairs, random) -> None:
    owed = due_from(duties(pairs), DEFAULTS)
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    again = due_from(duties(shuffled), DEFAULTS)
    for kind in KINDS:
        given_values = [read_value(kind, value) for one, value in pairs if one == kind]
        assert owed.value(kind) == again.value(kind)
        if not given_values:
            assert owed.value(kind) == DEFAULTS.get(kind)
        elif kind == "display":
            for part in ("cell", "day", "image"):
                limits = [limit for value in given_values if (limit := getattr(value, part)) is not None]
                assert getattr(owed.display.value, part) == min(limits, default=None)
        else:
            strictest_first = {"mask": VALUES["mask"], "sandbox": VALUES["sandbox"][::-1]}
            order = strictest_first[kind].index if kind in strictest_first else STRICTER_NUMBER.get(kind, int.__neg__)
            assert owed.value(kind) == min(given_values, key=order)


@given(st.lists(_kind_and_value, min_size=1, max_size=6), _kind_and_value)
def test_one_more_duty_never_loosens(pairs, more) -> None:
    kind = more[0]
    before, after = due_from(duties(pairs), DEFAULTS), due_from(duties([*pairs, more]), DEFAULTS)
    if any(one == kind for one, _ in pairs):
        assert after.value(kind) == stricter(kind, before.value(kind), after.value(kind))


@given(st.lists(st.lists(_kind_and_value, max_size=4), min_size=1, max_size=4))
def test_several_at_once_owe_the_strictest_of_each(groups) -> None:
    each = [due_from(duties(pairs), DEFAULTS) for pairs in groups]
    joint = strictest(each)
    for kind in KINDS:
        values = [one.value(kind) for one in each if one.value(kind) is not None]
        expected = None
        for value in values:
            expected = value if expected is None else stricter(kind, expected, value)
        assert joint.value(kind) == expected


def test_of_nothing_nothing_is_shown() -> None:
    assert strictest([]) is CLOSED
    assert CLOSED.display.value == NOTHING
    assert CLOSED.mask.value == "null"


def test_the_rows_that_made_it_are_named() -> None:
    owed = due_from(
        duties([("display", "none"), ("display", "cell=1KiB"), ("display", "cell=2KiB day=1MiB")]), DEFAULTS
    )
    assert owed.display.value == Budget(cell=1024, day=1 << 20)
    assert owed.display.rule == "O1 (policy.csv:2), O2 (policy.csv:3)"
    assert owed.display.why == "why 1; why 2"
    assert owed.review.rule == "default (labels.toml) review"


@pytest.mark.parametrize(
    ("text", "budget", "again"),
    [
        ("none", UNLIMITED, "none"),
        ("0", NOTHING, "0"),
        ("cell=0 day=0 image=0", NOTHING, "0"),
        ("cell=65536", Budget(cell=65536), "cell=64KiB"),
        ("image=512KiB  cell=100B", Budget(cell=100, image=524288), "cell=100 image=512KiB"),
        ("day=1GiB", Budget(day=1 << 30), "day=1GiB"),
    ],
)
def test_display_budgets(text, budget, again) -> None:
    assert read_value("display", text) == budget
    assert str(budget) == again
    assert read_value("display", again) == budget


ROWS = """\
g , user:a, role:analyst
g , user:d, role:dpo
g , user:a, project:x
g2, lab/d#ssn, tag:direct-identifier
p , R, role:analyst, read, lab/**, *, , , allow,
p2, O1, *, read, tag:direct-identifier, *, mask, hash, role:dpo,
p2, O2, project:x, read, lab/d, *, mask, redact, ,
p2, O3, *, read, lab/d#id, project:x, mask, null, ,
p2, O4, *, display, label:public, *, display, none, ,
"""


def test_who_owes_what(make, noon) -> None:
    policy = make(ROWS)

    def mask(user: str, what: str, purpose: str = "", tags: frozenset[str] = frozenset()) -> str | None:
        request = Request(f"user:{user}", "read", what, purpose, "public", tags, noon)
        return policy.obligations(request).mask.value

    assert mask("z", "lab/d#ssn") == "hash"
    assert mask("z", "lab/d#age") is None
    assert mask("z", "lab/d#age", tags=frozenset({"tag:direct-identifier"})) == "hash"
    assert mask("d", "lab/d#ssn") is None  # exempt
    assert mask("a", "lab/d#ssn") == "redact"  # the stronger of two
    assert mask("a", "lab/d#id") == "redact"
    assert mask("a", "lab/d#id", "project:x") == "null"
    assert mask("z", "lab/d#id", "project:x") == "null"


def test_where_no_row_speaks_the_default_is_strict(make, noon) -> None:
    policy = make(ROWS)
    public, other = (
        policy.obligations(Request("user:a", "display", "lab/d", "", label, now=noon))
        for label in ("public", "internal")
    )
    assert public.display.value == UNLIMITED
    assert other.display.value == NOTHING
    assert other.review.value == 2


def test_a_decision_carries_what_is_owed(make, noon) -> None:
    decision = make(ROWS).decide(Request("user:a", "read", "lab/d#ssn", "", "public", now=noon))
    assert decision.allowed
    assert decision.obligations.mask.value == "redact"
    assert decision.obligations.mask.rule == "O2 (policy.csv:7)"
    assert decision.as_json()["obligations"]["mask"] == {"value": "redact", "rule": "O2 (policy.csv:7)"}


def test_obligations_for_what_is_no_question_are_refused(make, noon) -> None:
    with pytest.raises(ValueError, match="no user"):
        make(ROWS).obligations(Request("*", "read", "lab/d", now=noon))
