from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom_hub.problems import Problem
from strongroom_hub.vault import views
from strongroom_hub.vault.jobs import ViewJob
from strongroom_hub.vault.tickets import View
from strongroom_policy import filters

from tests.filter_oracle import Oracle

NAME = "health/visits"
VISITS = pl.DataFrame(
    {
        "row": range(12),
        "site": ["A", "B", None, "A", "C", "b'c", "", "A", None, "B", "C", "A"],
        "age": [20, None, 41, 67, 18, 90, 33, None, 55, 20, 41, 20],
        "day": [date(2026, 1 + n % 6, 1) if n % 5 else None for n in range(12)],
        "at": [datetime(2026, 1, 1, n) if n % 4 else None for n in range(12)],  # noqa: DTZ001 - stored without a zone
        "consent": [None if n % 6 == 5 else n % 2 == 0 for n in range(12)],
    }
)
PLAIN = [
    row | {"at": row["at"] and row["at"].replace(tzinfo=UTC)} for row in VISITS.to_dicts()
]  # what the oracle knows: times without a zone are in UTC
LITERALS = {
    "age": ["18", "20", "41", "90.5"],
    "site": ["'A'", "'b''c'", "''"],
    "day": ["2026-01-01", "2026-03-01"],
    "at": ["2026-01-01", "2025-12-31"],
}


def _tests(column: str) -> st.SearchStrategy[str]:
    literal = st.sampled_from(LITERALS[column])
    compared = st.tuples(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), literal).map(" ".join)
    among = st.lists(literal, min_size=1, max_size=3).map(lambda values: f"in ({', '.join(values)})")
    between = st.tuples(literal, literal).map(lambda ends: f"between {ends[0]} and {ends[1]}")
    answer = st.one_of(compared, among, among.map("not ".__add__), between, st.sampled_from(["is null", "is not null"]))
    return answer.map(f"{column} ".__add__)


conditions = st.recursive(
    st.one_of(*map(_tests, LITERALS), st.sampled_from(["consent", "consent = false", "false", "true"])),
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda three: "({}) {} ({})".format(*three)),
    ),
    max_leaves=5,
)


@pytest.fixture
def visits(room: Any, tmp_path: Any) -> Any:
    from io import BytesIO  # noqa: PLC0415 - only here

    buffer = BytesIO()
    VISITS.write_parquet(buffer)
    room.publish(NAME, buffer.getvalue(), fmt="parquet")
    return room


def job(room: Any, columns: list[str], rows: list[str] | None, **changed: Any) -> ViewJob:
    view = View.model_validate(room.view(NAME, columns, rows=rows, **changed))
    return ViewJob.prepare(room.vault.store.open(NAME, 1), view, room.vault.keys)


@given(texts=st.lists(conditions, min_size=1, max_size=2))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_view_has_the_rows_that_plain_python_keeps(visits: Any, texts: list[str]) -> None:
    trees = [filters.parse(text) for text in texts]
    expected = [row["row"] for row in PLAIN if all(Oracle(row).answer(tree) is True for tree in trees)]
    assert views.collect_view(job(visits, ["row"], texts))["row"].to_list() == expected
    # and the same rows where nothing of them is shown
    hidden = job(visits, ["row", "age"], texts, masks={"row": {"method": "null"}, "age": {"method": "redact"}})
    assert views.collect_view(hidden).rows() == [(None, "[redacted]")] * len(expected)


def test_what_only_the_filter_needs_is_decrypted_and_not_delivered(visits: Any) -> None:
    prepared = job(visits, ["row"], ["site = 'A' and age > 18"])
    assert set(prepared.column_keys) == {"row", "site", "age"}
    frame = visits.frame(NAME, ["row"], rows=["site = 'A' and age > 18"])
    assert frame.columns == ["row"]
    assert frame["row"].to_list() == [0, 3, 11]


def test_the_kernel_is_told_the_rows_of_its_view(visits: Any) -> None:
    for _ in range(2):  # built, and out of the cache
        answer = visits.read(NAME, ["row"], rows=["site = 'A'"])
        assert answer.rows == 4
    assert visits.read(NAME, ["row"], rows=["false"]).rows == 0
    assert visits.read(NAME, ["row"]).rows == 12


def test_a_filter_looks_at_what_is_stored_and_not_at_what_is_shown(visits: Any) -> None:
    frame = visits.frame(
        NAME, ["age", "site"], rows=["age = 41"], masks={"age": {"method": "generalise", "width": "10"}}
    )
    assert frame["age"].to_list() == [40, 40]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["sit = 'A'"], "no column 'sit'"),
        (["age = 'A'"], "age"),
        (["age >"], "cannot be read"),
        (["day < today()"], "not bound to a day and a project"),
        (["site = user.project"], "not bound to a day and a project"),
        (["__import__('os')"], "cannot be read"),
    ],
)
def test_a_filter_that_does_not_fit_lets_no_row_through(visits: Any, rows: list[str], words: str) -> None:
    with pytest.raises(Problem, match=words) as refused:
        visits.frame(NAME, ["row"], rows=rows)
    assert refused.value.slug == "bad-view"


def test_row_groups_without_such_a_row_are_not_read(
    room: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """polars says itself how many row groups its statistics let it skip: of five here, all but one or two."""
    from io import BytesIO  # noqa: PLC0415 - only here

    buffer = BytesIO()
    days = pl.date_range(date(1000, 1, 1), date(2600, 1, 1), eager=True)
    long = pl.DataFrame({"n": range(len(days)), "day": days, "site": [f"S{n // 200_000}" for n in range(len(days))]})
    long.write_parquet(buffer)
    room.publish("health/long", buffer.getvalue(), fmt="parquet")
    monkeypatch.setenv("POLARS_VERBOSE", "0")  # so that it is put back
    pl.Config.set_verbose(active=True)
    for text, kept, read in (("n > 550000", 34_388, 1), ("day >= 2590-01-01", 3_653, 1), ("site = 'S2'", 184_389, 2)):
        view = View.model_validate(room.view("health/long", ["n"], rows=[text]))
        capfd.readouterr()
        frame = views.collect_view(ViewJob.prepare(room.vault.store.open("health/long", 1), view, room.vault.keys))
        said = capfd.readouterr().err
        assert frame.height == kept
        assert f"Predicate pushdown: reading {read} / 5 row groups" in said, text
