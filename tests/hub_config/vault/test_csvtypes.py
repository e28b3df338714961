from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_hub.vault import csvtypes


@pytest.mark.parametrize(
    ("texts", "dtype", "values"),
    [
        (["1", "-2", None], pl.Int64, [1, -2, None]),
        (["1", "", "3"], pl.Int64, [1, None, 3]),
        (["1", "2.5", "1e3"], pl.Float64, [1.0, 2.5, 1000.0]),
        (["0", "0.5"], pl.Float64, [0.0, 0.5]),
        (["007", "010"], pl.String, ["007", "010"]),
        (["007", "1.5"], pl.String, ["007", "1.5"]),
        (["9223372036854775808", "1"], pl.String, ["9223372036854775808", "1"]),
        (["true", "FALSE", None], pl.Boolean, [True, False, None]),
        (["2020-01-31", None], pl.Date, [date(2020, 1, 31), None]),
        (["2020-01-31", "2020-02-31"], pl.String, ["2020-01-31", "2020-02-31"]),
        (["2020-01-31 10:00:01"], pl.Datetime("us"), [datetime(2020, 1, 31, 10, 0, 1)]),  # noqa: DTZ001 - none given
        (["2020-01-31T10:00:01Z"], pl.Datetime("us", "UTC"), [datetime(2020, 1, 31, 10, 0, 1, tzinfo=UTC)]),
        (["1", "x", ""], pl.String, ["1", "x", ""]),
        ([None, None], pl.String, [None, None]),
    ],
)
def test_a_type_is_taken_only_where_it_loses_nothing(
    texts: list[str | None], dtype: pl.DataType, values: list[object]
) -> None:
    (made,) = csvtypes.typed(pl.DataFrame({"c": texts}, schema={"c": pl.String})).iter_columns()
    assert (made.dtype, made.to_list()) == (dtype, values)


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_whole_numbers_survive_being_written_and_read(values: list[int | None]) -> None:
    written = pl.DataFrame({"c": values, "row": range(len(values))}, schema={"c": pl.Int64, "row": pl.Int64})
    read = csvtypes.read(written.write_csv().encode())
    assert read["c"].to_list() == values
