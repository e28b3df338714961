"""Types for the columns of a CSV, by what every one of their values says, never by a sample of them.

A type is taken only where it loses nothing: `007` and integers beyond 64 bits stay text.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

_WHOLE = r"^[+-]?\d+$"
_PADDED = r"^[+-]?0\d"
_DATETIMES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z")
_FLAGS = ("true", "false")


def read(source: str | bytes, *, separator: str = ",") -> pl.DataFrame:
    """The CSV at a path, or in bytes, with typed columns. Raises polars' errors."""
    texts = pl.read_csv(source, separator=separator, infer_schema=False, glob=False, raise_if_empty=True)
    return typed(texts)


def typed(texts: pl.DataFrame) -> pl.DataFrame:
    """Every text column as the narrowest of Int64, Float64, Boolean, Date, Datetime, String that holds all of it."""
    return texts.with_columns(_typed(series) for series in texts.iter_columns())


def _typed(series: pl.Series) -> pl.Series:
    known = series.replace("", None)
    if known.null_count() == len(known):
        return series
    for attempt in _ATTEMPTS:
        made = attempt(known)
        if made is not None and made.null_count() == known.null_count():
            return made
    return series


def _integer(texts: pl.Series) -> pl.Series | None:
    return None if texts.str.contains(_PADDED).any() else texts.cast(pl.Int64, strict=False)


def _float(texts: pl.Series) -> pl.Series | None:
    if texts.str.contains(r"^[+-]?0\d+$").any() or texts.str.contains(_WHOLE).all():
        return None
    return texts.cast(pl.Float64, strict=False)


def _boolean(texts: pl.Series) -> pl.Series | None:
    lower = texts.str.to_lowercase()
    return (lower == _FLAGS[0]) if lower.drop_nulls().is_in(_FLAGS).all() else None


def _date(texts: pl.Series) -> pl.Series | None:
    return texts.str.to_date("%Y-%m-%d", strict=False) if _looks(texts, r"^\d{4}-\d\d-\d\d$") else None


def _datetime(texts: pl.Series) -> pl.Series | None:
    if not _looks(texts, r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"):
        return None
    attempts = (texts.str.to_datetime(form, strict=False, time_unit="us") for form in _DATETIMES)
    return next((made for made in attempts if made.null_count() == texts.null_count()), None)


def _looks(texts: pl.Series, pattern: str) -> bool:
    return bool(texts.str.contains(pattern).all())


_ATTEMPTS: list[Callable[[pl.Series], pl.Series | None]] = [_integer, _float, _boolean, _date, _datetime]
