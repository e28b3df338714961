"""Masks as polars expressions. The type of a masked column follows from mask and column type, never from the data.

Missing values stay missing under every mask but `redact`. What each one does, for people: docs/admins/masks.md.

| method | type of the result | what it gives away |
|---|---|---|
| null | the column's own, every value missing | nothing |
| redact | text, every value `[redacted]` (missing ones too) | nothing |
| hash | text: 32 hex digits of HMAC-SHA256(project's key, the value's text) | which rows are equal |
| token | text, or Int64 (UInt64) for whole numbers: a random one of the same form | that, and the form |
| generalise | Int64 (or UInt64) where column and width are whole, else Float64: its class's lower end | the class |
| prefix | text: the first characters | those |
| date | Date: the first day of its year, quarter, month or day | that |
| round | as generalise | the rounded value |
| topcode, bottomcode | the column's own; beyond the version's quantile stands the quantile | what is not extreme |
| shift-date | the column's own, moved by 1 to 365 days forth or back, alike for all of one subject | intervals |
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import polars as pl
import polars_hash as plh
from strongroom_policy.filter_polars import kind_of
from strongroom_policy.masks import METHODS

from strongroom_hub.vault.tickets import Cap, DatePart, Generalise, Mask, Plain, Prefix, Round, ShiftDate

REDACTED = "[redacted]"
HASH_DIGITS = 32
"""128 bits: no two of 10^9 values share a pseudonym."""
SHIFT_DAYS = 365
"""The furthest that a date is moved, in days."""
_TRUNCATED = {"year": "1y", "quarter": "1q", "month": "1mo", "day": "1d"}
_NEARLY = 1e-15  # relative: so near to the end of a class, a floating number counts as that end
_SPARSE = 2.0**50
"""So many classes from zero, there are hardly more floating numbers than classes."""
_INT_64 = (-(2**63), 2**63 - 1)
_UINT_64 = (0, 2**64 - 1)

Cap_ = int | float | Decimal | None


class MaskError(ValueError):
    """A mask on a column that holds something else than it is for."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What masks of one project are keyed with, as hex text; empty where none of them needs a key."""

    hashes: str = ""
    shifts: str = ""

    @classmethod
    def of(cls, project_key: str) -> Keys:
        """Two keys out of one: days that could be computed from a published pseudonym would shift nothing."""
        return cls(project_key, hmac.new(project_key.encode(), b"shift-date", hashlib.sha256).hexdigest())


def needed_columns(columns: Sequence[str], masks: Mapping[str, Mask]) -> list[str]:
    """The columns that must be decrypted for these columns so masked, each once."""
    needed: dict[str, None] = {}
    for name in columns:
        mask = masks.get(name)
        if not isinstance(mask, Plain) or is_keyed(mask):
            needed[name] = None
        if isinstance(mask, ShiftDate):
            needed[mask.subject] = None
    return list(needed)


def is_keyed(mask: Mask) -> bool:
    return isinstance(mask, ShiftDate) or mask.method in ("hash", "token")


def tokens_wanted(columns: Sequence[str], masks: Mapping[str, Mask]) -> list[str]:
    """The columns whose values must have their tokens before they can be masked."""
    return [name for name in columns if name in masks and masks[name].method == "token"]


def for_tokens(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as its tokens know it: whole numbers as the type that masks have for them, all else as text."""
    return _whole(pl.col(name), dtype)[0] if dtype.is_integer() else pl.col(name).cast(pl.String)


def caps_wanted(columns: Sequence[str], masks: Mapping[str, Mask]) -> dict[str, Cap]:
    """The columns whose quantile must be known before they can be masked."""
    return {name: mask for name in columns if isinstance(mask := masks.get(name), Cap)}


def find_cap(values: pl.Series, mask: Cap) -> Cap_:
    """The quantile, as it stands in the column: the greatest value below which lie at most that share of the others.

    None where nothing is known of the column.
    """
    known = values.drop_nulls()
    if known.dtype.is_float():
        known = known.drop_nans()
    if known.is_empty():
        return None
    place = Decimal(mask.quantile) * (known.len() - 1)
    # the same value again when what it made is masked again
    at = math.floor(place) if mask.method == "topcode" else math.ceil(place)
    found: Cap_ = known.sort()[at]
    return found


def masked(
    columns: Sequence[str],
    masks: Mapping[str, Mask],
    schema: Mapping[str, pl.DataType],
    *,
    keys: Keys,
    caps: Mapping[str, Cap_],
    tokens: Mapping[str, tuple[pl.Series, pl.Series]] | None = None,
) -> list[pl.Expr]:
    """One expression for each column that is masked, under its own name, for a table of `schema`.

    `tokens`: by column, the values as `for_tokens` has them, and the token of each.
    Raises KeyError for a column that the schema does not have, MaskError for a mask that is not for such a column.
    """
    told = tokens or {}
    return [_masked(name, masks[name], schema, keys, caps, told).alias(name) for name in columns if name in masks]


def _masked(  # noqa: C901, PLR0911, PLR0917 - one a method
    name: str,
    mask: Mask,
    schema: Mapping[str, pl.DataType],
    keys: Keys,
    caps: Mapping[str, Cap_],
    tokens: Mapping[str, tuple[pl.Series, pl.Series]],
) -> pl.Expr:
    dtype = schema[name]
    if kind_of(dtype) not in METHODS[mask.method].suits:
        raise MaskError(f"{name!r} of type {dtype} cannot be masked by {mask.method}")
    column = pl.col(name)
    match mask:
        case Plain(method="null"):
            return pl.lit(None, dtype=dtype)
        case Plain(method="redact"):
            return pl.lit(REDACTED)
        case Plain(method="token"):
            values, theirs = tokens[name]
            # a value without a token is an error there
            return for_tokens(name, dtype).replace_strict(values, theirs, return_dtype=theirs.dtype)
        case Plain():
            return _digest(name, keys.hashes).str.slice(0, HASH_DIGITS)
        case Generalise():
            return _classes(column, dtype, Decimal(mask.width))
        case Prefix():
            return column.cast(pl.String).str.slice(0, mask.characters)
        case DatePart():
            return column.cast(pl.Date).dt.truncate(_TRUNCATED[mask.unit])
        case Round():
            return _rounded(column, dtype, mask.decimals)
        case Cap():
            return _capped(column, dtype, mask, caps[name])
        case ShiftDate():
            schema[mask.subject]
            return _shifted(column, dtype, mask.subject, keys.shifts)


def _digest(name: str, key: str) -> pl.Expr:
    """HMAC-SHA256 of a column's text, in hex."""
    digest: pl.Expr = plh.col(name).cast(pl.String).chash.hmac_sha256(key=key)  # type: ignore[attr-defined]
    return digest


def _classes(column: pl.Expr, dtype: pl.DataType, width: Decimal) -> pl.Expr:
    if dtype.is_integer() and width == int(width):
        whole, lowest, _ = _whole(column, dtype)
        size = int(width)
        below = whole - whole % size
        return below if lowest == 0 else pl.when(whole >= lowest + size).then(below)  # never around the end of the type
    step = float(width)
    number = column.cast(pl.Float64)
    parts = number / step
    nearest = parts.round(0)
    # 0.1 * 3 divided by 0.1 is a little more or less than 3, and must stay 3
    is_end = (parts - nearest).abs() <= _NEARLY * pl.max_horizontal(parts.abs(), 1.0)
    return (
        pl.when(parts.abs() >= _SPARSE).then(number).when(is_end).then(nearest * step).otherwise(parts.floor() * step)
    )


def _rounded(column: pl.Expr, dtype: pl.DataType, decimals: int) -> pl.Expr:
    if dtype.is_integer():
        whole, lowest, highest = _whole(column, dtype)
        if decimals >= 0:
            return whole
        size = 10**-decimals
        fits = (whole >= lowest + size) if lowest else pl.lit(value=True)
        return pl.when(fits & (whole <= highest - size)).then((whole + size // 2) // size * size)
    number = column.cast(pl.Float64)
    if decimals >= 0:
        return number.round(decimals)
    step = 10.0**-decimals
    return pl.when((number / step).abs() >= _SPARSE).then(number).otherwise((number / step).round(0) * step)


def _whole(column: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, int, int]:
    """A column of whole numbers in the type that such masks have, with that type's ends."""
    if dtype in (pl.UInt64, pl.UInt128):
        return column.cast(pl.UInt64, strict=False), *_UINT_64
    return column.cast(pl.Int64, strict=False), *_INT_64


def _capped(column: pl.Expr, dtype: pl.DataType, mask: Cap, cap: Cap_) -> pl.Expr:
    if cap is None:
        return column  # nothing but missing values
    end = pl.lit(cap, dtype=dtype)
    beyond = column > end if mask.method == "topcode" else column < end
    if dtype.is_float():
        beyond &= column.is_not_nan()
    return pl.when(beyond).then(end).otherwise(column)


def _shifted(column: pl.Expr, dtype: pl.DataType, subject: str, key: str) -> pl.Expr:
    number = _digest(subject, key).str.slice(0, 12).str.to_integer(base=16, dtype=pl.Int64) % (2 * SHIFT_DAYS)
    days = pl.when(number < SHIFT_DAYS).then(number - SHIFT_DAYS).otherwise(number - SHIFT_DAYS + 1)
    # the last and the first year of the calendar are left out, because a shift could not be written there
    first, last = date(2, 1, 1), date(9998, 12, 31)
    if dtype == pl.Date:
        known = column.is_between(pl.lit(first), pl.lit(last))
    else:
        assert isinstance(dtype, pl.Datetime)  # noqa: S101 - the only other kind that the method suits
        wall = column.dt.replace_time_zone(None) if dtype.time_zone else column
        known = wall.is_between(
            pl.lit(datetime.combine(first, datetime.min.time())), pl.lit(datetime.combine(last, datetime.min.time()))
        )
    return pl.when(known).then(column + pl.duration(days=days))
