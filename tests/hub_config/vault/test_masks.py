from __future__ import annotations

import hashlib
import hmac
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_hub.vault import masks

KEY, OTHER = "ab" * 32, "cd" * 32
VALUES = {
    pl.String: st.text(max_size=20),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.Float64: st.floats(allow_nan=False),
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(date(1900, 1, 1), date(2100, 1, 1)),
}


@st.composite
def columns(draw: st.DrawFn) -> pl.Series:
    dtype = draw(st.sampled_from(list(VALUES)))
    values = draw(st.lists(st.none() | VALUES[dtype], min_size=1, max_size=12))
    return pl.Series("c", values, dtype=dtype)


def apply(series: pl.Series, method: masks.Method | None, key: str = KEY) -> pl.Series:
    frame = series.to_frame()
    given_masks = {} if method is None else {"c": method}
    expressions = masks.project(["c"], given_masks, frame.schema, rows=frame.height, project_key=key)
    return frame.lazy().select(expressions).collect()["c"]


@given(columns())
@settings(max_examples=60, deadline=None)
def test_masks_keep_height_and_a_type_that_the_data_cannot_change(series: pl.Series) -> None:
    assert apply(series, None).equals(series)
    for method, dtype in (("null", series.dtype), ("redact", pl.String), ("hash", pl.String)):
        masked = apply(series, method)  # type: ignore[arg-type]
        assert (len(masked), masked.dtype) == (len(series), dtype)
    assert apply(series, "null").null_count() == len(series)
    assert set(apply(series, "redact")) == {masks.REDACTED}


@given(columns())
@settings(max_examples=60, deadline=None)
def test_null_and_redact_are_idempotent(series: pl.Series) -> None:
    for method in ("null", "redact"):
        once = apply(series, method)  # type: ignore[arg-type]
        assert apply(once, method).equals(once)  # type: ignore[arg-type]


@given(columns())
@settings(max_examples=60, deadline=None)
def test_a_hash_is_equal_where_the_value_is_missing_where_it_is_and_another_under_another_key(
    series: pl.Series,
) -> None:
    hashed, elsewhere = apply(series, "hash"), apply(series, "hash", OTHER)
    texts = series.cast(pl.String).to_list()
    for text, mine, theirs in zip(texts, hashed.to_list(), elsewhere.to_list(), strict=True):
        if text is None:
            assert mine is theirs is None
        else:
            assert mine == hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()[: masks.HASH_DIGITS]
            assert mine != theirs
    assert hashed.n_unique() == pl.Series(texts, dtype=pl.String).n_unique()


def test_a_mask_on_a_column_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        masks.project(["d"], {}, {"c": pl.Int64()}, rows=1, project_key=KEY)
