from __future__ import annotations

import io
import random

import polars as pl
import pytest
from strongroom_hub.vault import overlap, tables

DISGUISES = {
    "as read": lambda frame: frame,
    "shuffled rows and columns": lambda frame: frame.select(frame.columns[::-1]).sample(
        fraction=1, shuffle=True, seed=1
    ),
    "half the columns": lambda frame: frame.select("age", "income", "town"),
    "rounded": lambda frame: frame.with_columns(pl.col("income").round(1), pl.col("weight").round(2)),
    "renamed": lambda frame: frame.rename({name: f"v{number}" for number, name in enumerate(frame.columns)}),
    "renamed over": lambda frame: frame.select(
        pl.col("weight").alias("income"), pl.col("income").alias("weight"), "age"
    ),
    "upper case": lambda frame: frame.with_columns(pl.col("town").str.to_uppercase()),
    "among made-up rows": lambda frame: pl.concat([frame, frame.with_columns(pl.col("weight", "income") + 500.55)]),
    "with a column more": lambda frame: frame.with_columns(noise=pl.int_range(pl.len()) * 7.77),
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_raw_rows_are_found_in_every_light_disguise(microdata: pl.DataFrame, disguise: str, form: str) -> None:
    rows = DISGUISES[disguise](microdata.drop("person").head(60))
    out = io.BytesIO()
    (rows.write_csv if form == "csv" else rows.write_parquet)(out)
    table = tables.parse(out.getvalue(), form)
    assert table is not None
    assert 55 <= len(overlap.find(table, microdata).rows) <= 65


def test_rows_that_were_never_read_are_not_found(microdata: pl.DataFrame) -> None:
    found = overlap.find(microdata.tail(200), microdata.head(200))
    assert len(found.rows) <= 2


def test_a_single_column_of_common_values_says_nothing(microdata: pl.DataFrame) -> None:
    assert overlap.find(microdata.select("age"), microdata).rows == []
    assert overlap.find(microdata.select("town", "age"), microdata).rows == []


def test_dates_times_flags_and_numbers_as_text_are_compared_by_what_they_say() -> None:
    made = random.Random(5)
    view = pl.DataFrame(
        {
            "born": pl.Series([made.randrange(20_000) for _ in range(300)]).cast(pl.Date),
            "seen": pl.Series([made.randrange(10**15, 2 * 10**15) // 10**6 * 10**6 for _ in range(300)]).cast(
                pl.Datetime
            ),
            "ill": [made.random() < 0.5 for _ in range(300)],
            "code": [f"{made.randrange(10**6):06d}" for _ in range(300)],
        }
    )
    out = view.head(50).with_columns(pl.col("ill").cast(pl.Int8)).write_csv()
    table = tables.parse(out.encode(), "csv")
    assert table is not None
    assert len(overlap.find(table, view).rows) == 50


@pytest.mark.parametrize(
    "odd",
    [
        pl.DataFrame({"a": [None, None]}),
        pl.DataFrame({"a": [float("nan"), float("inf")], "b": [1e308, -1e308]}),
        pl.DataFrame({"a": []}),
        pl.DataFrame({"a": [[1], [2]]}),
        pl.DataFrame({"a": ["", " "], "b": [None, "x"]}),
        pl.DataFrame({"a": [-0.0, 0.0]}),
    ],
)
def test_odd_tables_are_no_match_and_no_error(odd: pl.DataFrame, microdata: pl.DataFrame) -> None:
    assert overlap.find(odd, microdata).rows == []
    assert overlap.find(microdata, odd).rows == []
    assert overlap.find(microdata, microdata.head(0)).rows == []
