from __future__ import annotations

import os
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom_hub.problems import Problem
from strongroom_hub.vault import arrowfile, memfd, views
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


def _of_every_type(hidden: int) -> pl.DataFrame:
    """Every second row is shown, and of those every second is missing; `hidden`: what the rows between hold."""
    rows = 4_000

    def column(dtype: pl.DataType, value: Any) -> pl.Series:
        held = [None if row % 4 == 0 else value(row if row % 2 == 0 else row * hidden) for row in range(rows)]
        return pl.Series(held, dtype=dtype)

    return pl.DataFrame(
        {
            "shown": [row % 2 == 0 for row in range(rows)],
            "whole": column(pl.Int64(), lambda n: 10**12 + n),
            "small": column(pl.UInt8(), lambda n: n % 251),
            "number": column(pl.Float64(), lambda n: n + 0.5),
            "rough": column(pl.Float32(), lambda n: n + 0.5),
            "exact": column(pl.Decimal(20, 2), Decimal),
            "name": column(pl.String(), lambda n: f"N{n % 97}"),
            "story": column(pl.String(), lambda n: f"a text of more than twelve letters: {n}"),
            "truth": column(pl.Boolean(), lambda n: n % 3 == 0),
            "day": column(pl.Date(), lambda n: date(1950, 1, 1) + timedelta(days=n % 9_000)),
            "at": column(pl.Datetime("us"), lambda n: datetime(2000, 1, 1) + timedelta(seconds=n)),  # noqa: DTZ001
            "there": column(
                pl.Datetime("ms", "Europe/Berlin"), lambda n: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=n)
            ),
            "clock": column(pl.Time(), lambda n: time(n % 24, n % 60)),
            "took": column(pl.Duration("us"), lambda n: timedelta(seconds=n)),
        }
    )


def _bytes_of_a_view(room: Any, name: str, frame: pl.DataFrame, **changed: Any) -> bytes:
    buffer = BytesIO()
    frame.write_parquet(buffer)
    room.publish(name, buffer.getvalue(), fmt="parquet")
    answer = room.read(name, frame.columns[1:], **changed)
    try:
        return os.pread(answer.fd, answer.bytes, 0)
    finally:
        os.close(answer.fd)


def test_the_file_of_a_view_holds_nothing_of_rows_that_are_left_out(room: Any) -> None:
    """Byte for byte: what stands in the places of missing values is in the file, too, though no library shows it."""
    one, other = (_of_every_type(hidden) for hidden in (7, 13))
    assert not one.equals(other)
    found = [_bytes_of_a_view(room, f"health/v{n}", frame, rows=["shown"]) for n, frame in enumerate((one, other))]
    assert found[0] == found[1]
    assert b"a text of more than twelve letters: 2" in found[0]


def test_a_batch_of_a_stream_holds_nothing_of_rows_that_are_left_out(room: Any) -> None:
    found = []
    for n, hidden in enumerate((7, 13)):
        name = f"health/s{n}"
        buffer = BytesIO()
        frame = _of_every_type(hidden)
        frame.write_parquet(buffer)
        room.publish(name, buffer.getvalue(), fmt="parquet")
        view = View.model_validate(room.view(name, frame.columns[1:], rows=["shown"]))
        of = ViewJob.prepare(room.vault.store.open(name, 1), view, room.vault.keys)
        wish = views.Wish(rows=300, where=("whole is null or whole > 0",))
        fd = memfd.create("test")
        with views.open_view(of) as opened, arrowfile.ArrowFile(fd, frame[:, 1:].schema) as sent:
            for batch in views.batches(of, opened, wish, 1 << 30):
                sent.add(batch)
        found.append(os.pread(fd, memfd.size(fd), 0))
        os.close(fd)
    assert found[0] == found[1]


def test_the_file_of_a_view_holds_nothing_of_what_a_mask_takes_away(room: Any) -> None:
    masks = {
        "income": {"method": "topcode", "quantile": "0.2"},
        "debt": {"method": "bottomcode", "quantile": "0.8"},
        "name": {"method": "prefix", "characters": 14},
        "short": {"method": "prefix", "characters": 3},
        "born": {"method": "date", "unit": "month"},
        "age": {"method": "generalise", "width": "10"},
        "weight": {"method": "round", "decimals": 0},
    }

    def taken_away(row: int, hidden: int) -> dict[str, Any]:
        """A third has values, a third nothing, and a third what differs."""
        if row % 3 == 0:
            return dict.fromkeys(masks)
        own = row * hidden if row % 3 == 1 else 0
        return {
            "income": 10**6 + own if own else row % 100,
            "debt": -(10**6) - own if own else row % 100,
            "name": f"{row:014d}-{own}",
            "short": f"{row % 900 + 100}{own % 1000}",
            "born": date(1950 + row % 70, 1 + row % 12, 1 + own % 28),
            "age": row % 9 * 10 + own % 10,
            "weight": row % 90 + own % 49 / 100,
        }

    found = [
        _bytes_of_a_view(
            room,
            f"health/m{hidden}",
            pl.DataFrame(
                [{"row": row, **taken_away(row, hidden)} for row in range(1, 3_000)], infer_schema_length=None
            ),
            masks=masks,
        )
        for hidden in (7, 13)
    ]
    assert found[0] == found[1]
    assert b"00000000000001" in found[0]
