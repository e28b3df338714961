from __future__ import annotations

import hashlib
import hmac
import itertools
import math
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from strongroom_hub.vault import masks
from strongroom_hub.vault.tickets import Mask
from strongroom_hub.vault.tokens import Domain, Drawing, form_of
from strongroom_policy.filter_polars import kind_of
from strongroom_policy.masks import METHODS, parse_mask

KEY, OTHER = masks.Keys.of("ab" * 32), masks.Keys.of("cd" * 32)
READ = TypeAdapter(Mask)
TYPES: dict[Any, st.SearchStrategy[Any]] = {
    pl.String(): st.text(max_size=20),
    pl.Int64(): st.integers(-(2**63), 2**63 - 1),
    pl.Int8(): st.integers(-128, 127),
    pl.UInt64(): st.integers(0, 2**64 - 1),
    pl.Float64(): st.floats(allow_nan=False),
    pl.Float32(): st.floats(width=32, allow_nan=False),
    pl.Boolean(): st.booleans(),
    pl.Date(): st.dates(date(1, 1, 1), date(9999, 12, 31)),
    pl.Datetime("us"): st.datetimes(),
    pl.Datetime("ms", "UTC"): st.dates(date(1900, 1, 1)).map(lambda day: datetime.combine(day, time(7), tzinfo=UTC)),
}
MASKS = [
    {"method": "null"},
    {"method": "redact"},
    {"method": "hash"},
    *({"method": "generalise", "width": width} for width in ("1", "5", "0.1", "0.3", "1000000000")),
    *({"method": "prefix", "characters": characters} for characters in (1, 3)),
    *({"method": "date", "unit": unit} for unit in ("year", "quarter", "month", "day")),
    *({"method": "round", "decimals": decimals} for decimals in (-9, -1, 0, 2)),
    {"method": "topcode", "quantile": "0.9"},
    {"method": "topcode", "quantile": "0.5"},
    {"method": "bottomcode", "quantile": "0.1"},
    {"method": "shift-date", "subject": "who"},
]
IDEMPOTENT = {"null", "redact", "generalise", "prefix", "date", "round", "topcode", "bottomcode"}


@st.composite
def cases(draw: st.DrawFn, *methods: str) -> tuple[pl.DataFrame, Mask]:
    """A column `c` and a mask that suits it, beside a column `who`."""
    mask = READ.validate_python(draw(st.sampled_from([mask for mask in MASKS if mask["method"] in methods])))
    dtype = draw(st.sampled_from([one for one in TYPES if kind_of(one) in METHODS[mask.method].suits]))
    rows = draw(st.integers(1, 12))
    values = draw(st.lists(st.none() | TYPES[dtype], min_size=rows, max_size=rows))
    who = draw(st.lists(st.none() | st.sampled_from(["ann", "bob", "eve"]), min_size=rows, max_size=rows))
    return pl.DataFrame(
        {"c": pl.Series(values, dtype=dtype, strict=False), "who": pl.Series(who, dtype=pl.String)}
    ), mask


def apply(frame: pl.DataFrame, mask: Mask, keys: masks.Keys = KEY) -> pl.Series:
    given_masks = {"c": mask}
    caps = {name: masks.find_cap(frame[name], cap) for name, cap in masks.caps_wanted(["c"], given_masks).items()}
    expressions = masks.masked(["c"], given_masks, frame.schema, keys=keys, caps=caps)
    return frame.lazy().with_columns(expressions).select("c").collect()["c"]


ALL = tuple(dict.fromkeys(mask["method"] for mask in MASKS))


@given(cases(*ALL))
@settings(max_examples=100, deadline=None)
def test_the_type_of_a_masked_column_follows_from_mask_and_column_type_alone(case: tuple[pl.DataFrame, Mask]) -> None:
    frame, mask = case
    result = apply(frame, mask)
    empty = apply(frame.clear(), mask)
    nothing = apply(frame.with_columns(c=pl.lit(None, dtype=frame.schema["c"])), mask)
    assert result.dtype == empty.dtype == nothing.dtype
    assert len(result) == frame.height


@given(cases(*ALL))
@settings(max_examples=100, deadline=None)
def test_what_is_missing_stays_missing_and_nothing_else_gets_lost(case: tuple[pl.DataFrame, Mask]) -> None:
    frame, mask = case
    was, now = frame["c"].is_null().to_list(), apply(frame, mask).is_null().to_list()
    if mask.method == "null":
        assert all(now)
    elif mask.method == "redact":
        assert not any(now)
    else:
        assert all(gone for gone, before in zip(now, was, strict=True) if before)
        ends = {"generalise", "round", "shift-date"}  # where the result would not fit into the type
        assert mask.method in ends or now == was


@given(cases(*IDEMPOTENT))
@settings(max_examples=100, deadline=None)
def test_masking_again_changes_nothing(case: tuple[pl.DataFrame, Mask]) -> None:
    frame, mask = case
    once = apply(frame, mask)
    again = frame.with_columns(c=once)
    if kind_of(once.dtype) in METHODS[mask.method].suits:
        assert apply(again, mask).equals(once, null_equal=True)


@given(cases("hash", "shift-date"))
@settings(max_examples=100, deadline=None)
def test_keyed_masks_differ_between_projects_and_never_within_one(case: tuple[pl.DataFrame, Mask]) -> None:
    frame, mask = case
    mine, again, theirs = apply(frame, mask), apply(frame, mask), apply(frame, mask, OTHER)
    assert mine.equals(again, null_equal=True)
    if mask.method == "hash":
        assert all(one != other for one, other in zip(mine, theirs, strict=True) if one is not None)


@given(st.lists(st.none() | st.text(max_size=8), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_hash_is_the_hmac_that_anybody_can_compute_with_the_key(values: list[str | None]) -> None:
    frame = pl.DataFrame({"c": pl.Series(values, dtype=pl.String)})
    hashed = apply(frame, READ.validate_python({"method": "hash"}))
    for text, digest in zip(values, hashed, strict=True):
        expected = text and hmac.new(KEY.hashes.encode(), text.encode(), hashlib.sha256).hexdigest()
        assert digest == (None if text is None else (expected or digest)[: masks.HASH_DIGITS])
    assert hashed.n_unique() == frame["c"].n_unique()


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1), st.sampled_from([1, 5, 7, 1000]))
@settings(max_examples=80, deadline=None)
def test_classes_of_whole_numbers_are_those_of_plain_python(values: list[int], width: int) -> None:
    mask = READ.validate_python({"method": "generalise", "width": str(width)})
    assert apply(pl.DataFrame({"c": values}), mask).to_list() == [value // width * width for value in values]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.sampled_from(["0.1", "0.5", "2.5"]))
@settings(max_examples=80, deadline=None)
def test_a_number_lies_in_its_class(values: list[float], width: str) -> None:
    result = apply(pl.DataFrame({"c": values}), READ.validate_python({"method": "generalise", "width": width}))
    for value, low in zip(values, result, strict=True):
        assert -1e-6 <= value - low <= float(width) + 1e-6
        assert math.isclose(low / float(width), round(low / float(width)), abs_tol=1e-6)


@given(st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)), min_size=2, max_size=10), st.booleans())
@settings(max_examples=80, deadline=None)
def test_shifted_dates_keep_the_intervals_of_one_subject_and_move_by_at_most_a_year(
    days: list[date], timed: bool
) -> None:
    frame = pl.DataFrame({"c": days, "who": ["ann"] * len(days)})
    if timed:
        frame = frame.with_columns(pl.col("c").cast(pl.Datetime("us")))
    moved = apply(frame, READ.validate_python({"method": "shift-date", "subject": "who"}))
    before = frame["c"].to_list()
    shifts = {after - was for was, after in zip(before, moved, strict=True)}
    assert len(shifts) == 1
    (shift,) = shifts
    assert timedelta() < abs(shift) <= timedelta(days=masks.SHIFT_DAYS)


def test_dates_move_by_other_days_for_others_and_not_at_all_without_a_subject() -> None:
    people = [f"p{number}" for number in range(2000)]
    frame = pl.DataFrame({"c": [date(2000, 1, 1)] * 2001, "who": [*people, None]})
    moved = apply(frame, READ.validate_python({"method": "shift-date", "subject": "who"}))
    assert moved[-1] is None
    shifts = {(day - date(2000, 1, 1)).days for day in moved[:-1]}
    assert 0 not in shifts
    assert (min(shifts) < -330, max(shifts) > 330, len(shifts) > 600) == (True, True, True)


def test_the_shift_cannot_be_computed_from_a_pseudonym() -> None:
    """Both are HMACs of the subject: under one key, the one would give away the other."""
    people = [f"p{number}" for number in range(50)]
    frame = pl.DataFrame({"c": people})
    hashed = apply(frame, READ.validate_python({"method": "hash"}))
    assert KEY.hashes != KEY.shifts
    expected = [hmac.new(KEY.hashes.encode(), one.encode(), hashlib.sha256).hexdigest()[:32] for one in people]
    assert hashed.to_list() == expected
    dated = pl.DataFrame({"c": [date(2000, 1, 1)] * 50, "who": people})
    moved = apply(dated, READ.validate_python({"method": "shift-date", "subject": "who"}))
    guessed = [int(digest[:12], 16) % (2 * masks.SHIFT_DAYS) - masks.SHIFT_DAYS for digest in hashed]
    hits = sum((day - date(2000, 1, 1)).days == guess for day, guess in zip(moved, guessed, strict=True))
    assert hits < 5


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan) | st.none(), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_nothing_is_above_the_quantile_and_all_below_is_as_it_was(values: list[float | None]) -> None:
    known = sorted(value for value in values if value is not None and not math.isnan(value))
    result = apply(
        pl.DataFrame({"c": pl.Series(values, dtype=pl.Float64)}),
        READ.validate_python({"method": "topcode", "quantile": "0.9"}),
    )
    cap = known[math.floor(Decimal("0.9") * (len(known) - 1))] if known else None
    for was, now in zip(values, result, strict=True):
        if was is None or math.isnan(was):
            assert now is None if was is None else math.isnan(now)
        else:
            assert cap is not None
            assert now == min(was, cap)


def test_a_mask_never_falls_on_a_column_that_it_is_not_for() -> None:
    for raw, dtype in itertools.product(MASKS, TYPES):
        mask = READ.validate_python(raw)
        frame = pl.DataFrame({"c": pl.Series([], dtype=dtype), "who": pl.Series([], dtype=pl.String)})
        if kind_of(dtype) not in METHODS[mask.method].suits:
            with pytest.raises(masks.MaskError):
                apply(frame, mask)
        else:
            apply(frame, mask)


def test_a_mask_on_or_by_a_column_that_is_not_there_is_an_error() -> None:
    frame = pl.DataFrame({"c": [date(2000, 1, 1)]})
    with pytest.raises(KeyError):
        masks.masked(["d"], {"d": READ.validate_python({"method": "hash"})}, frame.schema, keys=KEY, caps={})
    with pytest.raises(KeyError):
        apply(frame, READ.validate_python({"method": "shift-date", "subject": "who"}))


def test_only_what_a_view_needs_is_decrypted() -> None:
    given_masks = {
        "a": READ.validate_python({"method": "null"}),
        "b": READ.validate_python({"method": "hash"}),
        "c": READ.validate_python({"method": "shift-date", "subject": "who"}),
        "d": READ.validate_python({"method": "redact"}),
    }
    assert masks.needed_columns(["a", "b", "c", "d", "e"], given_masks) == ["b", "c", "who", "e"]


PAGE = (Path(__file__).parents[3] / "docs" / "admins" / "masks.md").read_text()


def _read(text: str) -> list[Any]:
    if text == "ann" or (text.isdecimal() and len(text) == 5) or text.isupper():
        return [text]
    if text[:5] == "2026-" and ":" in text:
        return [datetime.fromisoformat(text)]
    one = date.fromisoformat if text[:5] == "2026-" else float if "." in text else int
    return [one(word) for word in text.split()]


@pytest.mark.parametrize(
    ("written", "stored", "shown"), re.findall(r"^\| `(.+?)` \| .+? \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
)
def test_masks_do_what_the_page_says(written: str, stored: str, shown: str) -> None:
    """Under the key and for the subject with which the page was written."""
    policy = parse_mask(written)
    names = {"generalise": "width", "prefix": "characters", "date": "unit", "round": "decimals"}
    name = names.get(policy.method, "quantile" if policy.method.endswith("code") else "subject")
    value = policy.parameter if isinstance(policy.parameter, int) else policy.shown or "who"
    if policy.method == "token":
        (token,) = Drawing(Domain.TEXT, pl.Series([], dtype=pl.String), b"k" * 32).draw([stored])
        assert form_of(token, Domain.TEXT) == form_of(shown, Domain.TEXT)
        return
    plain = policy.method in ("null", "redact", "hash")
    mask = READ.validate_python({"method": policy.method} | ({} if plain else {name: value}))
    values = _read(stored)
    result = apply(pl.DataFrame({"c": values, "who": ["ann"] * len(values)}), mask)
    said = ["missing" if value is None else str(value) for value in result]
    assert " ".join(said) == shown
