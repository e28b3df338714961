"""Synthetic twins: of the same form, like the data where it is common, and none of its rows; attacked by nearness."""

from __future__ import annotations

import math
import random
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom_hub.problems import Problem
from strongroom_hub.vault import synthetic, synthetic_store
from strongroom_hub.vault.ingest import write_parts
from strongroom_hub.vault.synthetic import NoTwinError, fresh_twin, seed_of
from strongroom_hub.vault.synthetic_store import Sample

ROWS = 2000


def population(rows: int = ROWS, seed: int = 1) -> pl.DataFrame:
    """A table as studies have them; two rows with values that nobody else has."""
    chance = random.Random(seed)
    ages = [chance.randrange(18, 90) for _ in range(rows)]
    frame = pl.DataFrame(
        {
            "person": [f"P{seed}{number:05d}" for number in range(rows)],
            "age": ages,
            "income": [round(1000 + 40 * age + chance.gauss(0, 300), 2) for age in ages],
            "smoker": [chance.random() < (0.6 if age < 50 else 0.1) for age in ages],
            "region": chance.choices(["north", "south", "west"], [0.5, 0.3, 0.2], k=rows),
            "seen": [date(2020, 1, 1) + timedelta(days=chance.randrange(900)) for _ in range(rows)],
            "at": [datetime(2021, 1, 1) + timedelta(minutes=chance.randrange(10**6)) for _ in range(rows)],  # noqa: DTZ001
            "score": [None if chance.random() < 0.25 else chance.random() for _ in range(rows)],
            "note": [f"free words {chance.random()}" for _ in range(rows)],
        }
    )
    odd = frame.head(2).with_columns(
        age=pl.lit(119, pl.Int64),
        income=pl.lit(987654.32),
        region=pl.lit("Ultima Thule"),
        seen=pl.lit(date(1888, 8, 8)),
    )
    return pl.concat([odd, frame.tail(-2)])


@pytest.fixture(scope="module")
def data() -> pl.DataFrame:
    return population()


@pytest.fixture(scope="module")
def twin(data: pl.DataFrame) -> pl.DataFrame:
    return fresh_twin(data, {"person"}, 7, [data])


def test_a_twin_has_names_types_shares_and_dependences(data: pl.DataFrame, twin: pl.DataFrame) -> None:
    assert twin.schema == data.schema
    assert twin.height == data.height
    assert abs(twin["score"].null_count() / twin.height - 0.25) < 0.05
    assert abs(float(twin["age"].mean()) - float(data["age"].mean())) < 2  # type: ignore[arg-type]
    assert abs((twin["region"] == "north").mean() - 0.5) < 0.05  # type: ignore[operator]
    for frame in (data.tail(-2), twin):
        assert frame.select(pl.corr("age", "income")).item() > 0.8
        young = frame.filter(pl.col("age") < 45)["smoker"].mean()
        old = frame.filter(pl.col("age") > 55)["smoker"].mean()
        assert young > old + 0.3  # type: ignore[operator]


def test_no_row_no_extreme_no_rare_value_and_no_text_of_the_data(data: pl.DataFrame, twin: pl.DataFrame) -> None:
    assert twin.join(data, on=data.columns, how="semi", nulls_equal=True).height == 0
    assert twin["age"].max() < 119  # type: ignore[operator]
    assert twin["income"].max() < 100_000  # type: ignore[operator]
    assert twin["seen"].min() > date(1900, 1, 1)  # type: ignore[operator]
    assert set(twin["region"]) <= {"north", "south", "west", "other"}
    for name in ("person", "note"):
        assert not set(twin[name]) & set(data[name])


@pytest.mark.parametrize(("rows", "told"), [(19, False), (60, True)])
def test_a_value_that_few_rows_have_is_pooled(rows: int, told: bool) -> None:
    frame = population(400).with_row_index()
    region = pl.when(pl.col("index") < rows).then(pl.lit("Ultima Thule")).otherwise("region")
    frame = frame.with_columns(region=region).drop("index")
    found = set(fresh_twin(frame, {"person"}, 7, [frame])["region"])
    assert ("Ultima Thule" in found, "other" in found) == (told, not told)


def test_a_row_that_equals_an_original_is_drawn_again() -> None:
    chance = random.Random(3)
    few = pl.DataFrame({name: [chance.randrange(12) for _ in range(600)] for name in ("a", "b", "c")})
    raw = synthetic.make_twin(few, (), 1, 600)
    assert raw.join(few, on=few.columns, how="semi").height > 0  # without the look at the originals there are some
    found = fresh_twin(few, (), 1, [few])
    assert found.height > 50
    assert found.join(few, on=few.columns, how="semi").height == 0


def test_originals_are_found_whatever_stands_in_the_column_that_tells_most() -> None:
    values = [None, math.nan, -0.0, 1.5]
    other = [None, math.nan, 0.0, 1.5]  # equal to those, one by one
    twin = pl.DataFrame({"number": [*values, 2.5], "kind": ["a"] * 5})
    originals = [pl.DataFrame({"number": [value], "kind": ["a"]}, schema=twin.schema) for value in other]
    assert synthetic.without(twin, originals)["number"].to_list() == [2.5]
    assert synthetic.without(twin, [one.lazy() for one in originals])["number"].to_list() == [2.5]
    unlike = [one.with_columns(kind=pl.lit("b")) for one in originals]
    assert synthetic.without(twin, unlike).height == twin.height


def test_where_nothing_new_can_be_drawn_there_is_no_twin() -> None:
    full = pl.DataFrame({"a": [True, False] * 100})
    with pytest.raises(NoTwinError, match="is a row of the original"):
        fresh_twin(full, (), 1, [full])
    with pytest.raises(NoTwinError, match="fewer than 50 rows"):
        fresh_twin(full.head(10), (), 1, [full])


def _column(values: st.SearchStrategy[Any], dtype: Any) -> st.SearchStrategy[pl.Series]:
    several = st.lists(st.one_of(st.none(), values), min_size=50, max_size=80)
    return several.map(lambda held: pl.Series(held, dtype=dtype))


_values = st.one_of(
    _column(st.integers(-5, 5), pl.Int8),
    _column(st.integers(0, 2**64 - 1), pl.UInt64),
    _column(st.floats(), pl.Float64),
    _column(st.text(max_size=3), pl.String),
    _column(st.booleans(), pl.Boolean),
    _column(st.dates(), pl.Date),
    _column(st.timedeltas(timedelta(0), timedelta(9)), pl.Duration("us")),
    _column(st.times(), pl.Time),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_values, min_size=1, max_size=5), st.integers(0, 1000))
def test_whatever_small_table_it_is_no_row_comes_back(columns: list[pl.Series], seed: int) -> None:
    rows = min(column.len() for column in columns)
    frame = pl.DataFrame({f"c{number}": column.head(rows) for number, column in enumerate(columns)})
    try:
        twin = fresh_twin(frame, (), seed, [frame])
    except NoTwinError:
        return
    assert twin.schema == frame.schema
    assert 0 < twin.height <= rows
    assert twin.join(frame, on=frame.columns, how="semi", nulls_equal=True).height == 0


def test_the_same_version_gives_the_same_twin_and_nobody_without_its_key_can_tell() -> None:
    frame = population(300)
    key = b"k" * 32
    one, again, other = (fresh_twin(frame, (), seed_of(secret, "a/b", 1), [frame]) for secret in (key, key, b"x" * 32))
    assert one.equals(again)
    assert not one.equals(other)
    assert seed_of(key, "a/b", 1) != seed_of(key, "a/b", 2)


def test_who_was_in_the_data_is_not_nearer_to_the_twin_than_who_was_not() -> None:
    """Membership by distance to the nearest made-up row: the share of pairs that it orders rightly is about a half."""
    ordered = []
    for seed in range(3):
        inside, outside = population(700, seed=10 + seed), population(700, seed=50 + seed)
        twin = fresh_twin(inside, {"person"}, seed, [inside])
        near = [_nearest(frame, twin, inside) for frame in (inside, outside)]
        pairs = [(one, other) for one in near[0] for other in near[1]]
        ordered.append(sum((one < other) + 0.5 * (one == other) for one, other in pairs) / len(pairs))
    assert abs(sum(ordered) / len(ordered) - 0.5) < 0.05, ordered


def _nearest(frame: pl.DataFrame, twin: pl.DataFrame, scale: pl.DataFrame) -> list[float]:
    names = ["age", "income", "score"]
    deviation = {name: float(scale[name].std() or 1.0) for name in names}  # type: ignore[arg-type]

    def points(one: pl.DataFrame) -> list[tuple[float, ...]]:
        told = one.head(150).select(pl.col(name).cast(pl.Float64).fill_null(-1.0) / deviation[name] for name in names)
        return list(told.iter_rows())

    there = list(twin.select(pl.col(n).cast(pl.Float64).fill_null(-1.0) / deviation[n] for n in names).iter_rows())
    return [min(sum((a - b) ** 2 for a, b in zip(point, row, strict=True)) for row in there) for point in points(frame)]


def test_a_sample_is_bounded_and_takes_from_everywhere() -> None:
    sample = Sample()
    for number in range(40):
        sample.see(pl.DataFrame({"batch": [number] * 10_000}))
    held = sample.frame()
    assert held.height == synthetic.SAMPLE_ROWS
    shares = held["batch"].value_counts()["count"]
    assert held["batch"].n_unique() == 40
    assert shares.max() < 3 * shares.min()  # type: ignore[operator]


def test_a_version_has_its_twin_beside_it_encrypted_and_signed_and_read_apart(room: Any, data: pl.DataFrame) -> None:
    manifest = room.publish("health/study", data)
    beside = manifest["companions"]["synthetic"]
    assert beside["rows"] == data.height
    twin = room.frame("health/study", data.columns, group="synthetic", label="public")
    assert twin.height == beside["rows"]
    assert twin.columns == data.columns
    real = room.frame("health/study", data.columns)
    assert real.height == data.height
    assert twin.join(real, on=data.columns, how="semi", nulls_equal=True).height == 0
    assert room.vault.store.verify("health/study", 1).companions


def test_the_data_itself_is_never_read_under_the_label_of_its_twin(room: Any, data: pl.DataFrame) -> None:
    room.publish("health/study", data)
    with pytest.raises(Problem, match="labelled 'confidential'"):
        room.frame("health/study", ["age"], label="public")


def test_a_table_without_a_twin_is_taken_in_all_the_same_and_says_why(room: Any) -> None:
    draft = room.draft("a/b", pl.DataFrame({"a": [1, 2, 3]}))
    assert draft.manifest["companions"] == {}
    assert draft.report["synthetic"]["why"].startswith("There is no synthetic twin: a table of fewer than 50 rows")


def test_a_failure_in_making_one_blocks_nothing_and_quotes_nothing(
    room: Any, data: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def fails(*_: Any) -> None:
        raise ValueError("Ultima Thule")

    monkeypatch.setattr(synthetic_store, "fresh_twin", fails)
    manifest, keys = write_parts([data], dict(data.schema), tmp_path, "a/b", 1, "secret")
    same, twin_keys, told = synthetic_store.add_twin(manifest, keys, data, tmp_path, ())
    assert (same, twin_keys) == (manifest, {})
    assert told == {"why": "There is no synthetic twin: making it ended in ValueError."}
