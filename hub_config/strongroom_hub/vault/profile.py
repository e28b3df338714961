"""The profile of a version, as far as its label lets it be told.

Up to `internal` it is plain. At `confidential` nothing is told that fewer than `GROUP` rows stand behind: no extremes,
no rare values, quantiles rounded to the width of the data, shares to whole percents. At `secret`: only how many values
are missing, roughly, and whether there are few or many different ones.
"""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from strongroom_hub.vault.looks import ColumnLook
from strongroom_hub.vault.sensitive import DIRECT

GROUP = 10
"""Rows that must stand behind whatever is told above `internal`."""
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_BINS = 8
_LISTED = 20
_FEW = 20
_PLAIN = frozenset({"public", "internal"})
_STEPS = 20
"""Steps between the outer quantiles to which the others are rounded."""


def column_profile(look: ColumnLook, label: str, tags: Sequence[str]) -> dict[str, Any]:
    """What may be told of one column under this label; an unknown label counts as `secret`."""
    if label in _PLAIN:
        return _plain(look)
    if label == "confidential":
        return _coarse(look, tags)
    share = look.nulls / look.rows if look.rows else 0.0
    return {"missing": round(share * 20) / 20, "different": f"more than {_FEW}" if look.distinct > _FEW else "few"}


def _plain(look: ColumnLook) -> dict[str, Any]:
    told: dict[str, Any] = {
        "missing": round(look.nulls / look.rows, 4) if look.rows else 0.0,
        "missing_rows": look.nulls,
        "different": look.distinct,
    }
    if look.counts is not None and look.distinct <= _LISTED:
        common = sorted(look.counts.items(), key=lambda one: (-one[1], str(one[0])))
        told["values"] = [[_json(value), count] for value, count in common]
    sample = look.sample()
    values = sample.to_list()
    if values:
        told |= {"min": _json(look.low), "max": _json(look.high)}
        told["quantiles"] = {f"{q:g}": _json(values[round(q * (len(values) - 1))]) for q in _QUANTILES}
        numbers = _numbers(sample)
        if all(math.isfinite(number) for number in numbers):
            told["histogram"] = _bins(numbers, _number(look.low), _number(look.high), type(values[0]))
    return told


def _coarse(look: ColumnLook, tags: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "missing": round(look.nulls / look.rows, 2) if look.rows else 0.0,
        "different": _two_digits(look.distinct),
        "rounded": True,
    }
    if DIRECT in tags or look.known < 20 * GROUP:
        return told
    if look.counts is not None and look.distinct <= _LISTED:
        # a share of the common values, never how few the others are
        common = [(value, count) for value, count in look.counts.items() if count >= GROUP]
        common.sort(key=lambda one: (-one[1], str(one[0])))
        told["values"] = [[_json(value), round(count / look.known, 2)] for value, count in common]
        return told
    sample = look.sample()
    numbers = _numbers(sample)
    if not numbers or not all(math.isfinite(number) for number in numbers):
        return told
    low, high = (numbers[round(q * (len(numbers) - 1))] for q in (_QUANTILES[0], _QUANTILES[-1]))
    if low == high:
        return told
    step = _nice((high - low) / _STEPS)
    kind = type(sample[0])
    told["quantiles"] = {
        f"{q:g}": _back(_rounded(numbers[round(q * (len(numbers) - 1))], step), kind) for q in _QUANTILES
    }
    edge = _nice((high - low) / _BINS)
    first, last = _rounded(low, edge), _rounded(high, edge)
    if bisect_left(numbers, first) < bisect_left(numbers, last):
        told["histogram"] = _coarse_bins(numbers, look.known, first, last, edge, kind)
    return told


def _coarse_bins(  # noqa: PLR0917 - the axis and what lies on it
    numbers: list[float], known: int, low: float, high: float, step: float, kind: type
) -> dict[str, Any]:
    """`numbers` in order."""
    edges = [low + step * n for n in range(round((high - low) / step) + 1)]
    cuts = [0, *(bisect_left(numbers, edge) for edge in edges), len(numbers)]
    counts = [after - before for before, after in pairwise(cuts)]
    scale = known / len(numbers)
    shares = [round(count / len(numbers), 2) if count * scale >= GROUP else None for count in counts]
    return {"edges": [_back(edge, kind) for edge in edges], "shares": shares, "open": True}


def _bins(numbers: list[float], low: float, high: float, kind: type) -> dict[str, Any]:
    width = (high - low) / _BINS or 1.0
    counts = [0] * _BINS
    for number in numbers:
        counts[min(max(int((number - low) / width), 0), _BINS - 1)] += 1
    edges = [_back(low + width * n, kind) for n in range(_BINS + 1)]
    return {"edges": edges, "shares": [round(count / len(numbers), 4) for count in counts], "open": False}


def _nice(width: float) -> float:
    """The next of 1, 2, 5 times a power of ten that is not smaller."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= width * 0.999999)


def _rounded(number: float, step: float) -> float:
    return float(f"{round(number / step) * step:.12g}")


def _two_digits(number: int) -> int:
    return number if number < 10 else int(float(f"{number:.1e}"))  # noqa: PLR2004 - two digits


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _numbers(sample: pl.Series) -> list[float]:
    """As `_number`, of all values."""
    if sample.dtype.is_integer() or sample.dtype.is_float() or sample.dtype == pl.Date:
        return sample.to_physical().cast(pl.Float64).to_list()
    return [_number(value) for value in sample]


def _number(value: Any) -> float:
    """Numbers as they are, dates and times as days."""
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
        return (aware - _EPOCH).total_seconds() / 86_400
    if isinstance(value, dt.date):
        return float((value - _EPOCH.date()).days)
    if isinstance(value, dt.timedelta):
        return value.total_seconds() / 86_400
    if isinstance(value, dt.time):
        return (value.hour * 60 + value.minute) / 1440
    return float(value)


def _back(number: float, kind: type) -> Any:
    if issubclass(kind, dt.date):
        return (_EPOCH + dt.timedelta(days=round(number))).date().isoformat()
    return int(number) if issubclass(kind, int) and number == int(number) else float(f"{number:.6g}")


def _json(value: Any) -> Any:
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
