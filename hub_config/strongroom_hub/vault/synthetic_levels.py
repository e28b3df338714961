"""A column as a few levels, and values for levels again: no extreme, no rare value, no text of the original."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import polars as pl

FEWEST = 20
"""Rows that a level must have: a value that fewer have is pooled."""
MOST_CATEGORIES = 60
BINS = 16
MISSING = 0
"""The level of what is missing, in every column; the others follow."""
OTHER = "other"
_DIGITS = 2
"""Digits that are kept of where a bin begins."""


@dataclass(frozen=True, slots=True)
class Levels:
    """How one column becomes levels. Either `values` (categories) or `edges` (bins), or neither: nothing is kept."""

    name: str
    dtype: pl.DataType
    values: tuple[Any, ...] = ()
    edges: tuple[float, ...] = ()
    """In the column's physical numbers; bins lie between them."""
    pooled: bool = False
    """The last level is what is too rare: `other` in a text, any of the others elsewhere."""

    @property
    def count(self) -> int:
        return 1 + max(1, len(self.values) + self.pooled, len(self.edges) - 1)

    def encode(self, column: pl.Series) -> pl.Series:
        """The level of each row."""
        if self.edges:
            inner = list(self.edges[1:-1])
            numbers = _numbers(column).fill_null(0.0)
            found = pl.Series(inner, dtype=pl.Float64).search_sorted(numbers, side="right") + 1
        elif self.values or self.pooled:
            last = len(self.values) + 1 if self.pooled else MISSING
            place = {value: number for number, value in enumerate(self.values, start=1)}
            found = pl.Series([place.get(value, last) for value in column.to_list()], dtype=pl.Int32)
        else:
            found = pl.repeat(1, column.len(), dtype=pl.Int32, eager=True)
        there = column.is_not_null()
        return pl.select(pl.when(there).then(found.cast(pl.Int32)).otherwise(MISSING)).to_series().fill_null(MISSING)

    def decode(self, codes: list[int], chance: random.Random) -> pl.Series:
        """A value for each level, of the column's own type."""
        if self.edges:
            return self._within(codes, chance)
        if self.values or self.pooled:
            return self._chosen(codes, chance)
        return self._looks(codes)

    def _within(self, codes: list[int], chance: random.Random) -> pl.Series:
        whole = not self.dtype.is_float()
        digits = _decimals(self.edges)
        made: list[float | int | None] = []
        for code in codes:
            if code == MISSING:
                made.append(None)
                continue
            low, high = self.edges[code - 1], self.edges[code]
            value = chance.uniform(low, high)
            made.append(math.floor(value) if whole else round(value, digits))
        return pl.Series(self.name, made, dtype=pl.Int64 if whole else pl.Float64).cast(self.dtype)

    def _chosen(self, codes: list[int], chance: random.Random) -> pl.Series:
        rare: list[Any] = [OTHER] if self.dtype in {pl.String, pl.Categorical} or not self.values else list(self.values)
        made = [
            None if code == MISSING else self.values[code - 1] if code <= len(self.values) else chance.choice(rare)
            for code in codes
        ]
        return pl.Series(self.name, made, dtype=self.dtype)

    def _looks(self, codes: list[int]) -> pl.Series:
        """What only looks like it: running numbers, texts of the column's name, or nothing where neither fits."""
        numbers = [None if code == MISSING else number for number, code in enumerate(codes, start=1)]
        if self.dtype == pl.String:
            texts = [None if number is None else f"{self.name}-{number:06d}" for number in numbers]
            return pl.Series(self.name, texts, dtype=pl.String)
        if self.dtype.is_numeric() and self.dtype not in {pl.Int8, pl.UInt8, pl.Int16, pl.UInt16}:
            return pl.Series(self.name, numbers).cast(self.dtype)
        return pl.Series(self.name, [None] * len(codes), dtype=self.dtype)


def levels_of(column: pl.Series, *, identifying: bool) -> Levels:
    """`identifying`: nothing but the look is kept. The same for free text, and for what has no order and no levels."""
    bare = Levels(column.name, column.dtype)
    if identifying:
        return bare
    counted = _counted(column)
    if counted is None:
        return bare
    few = counted.height <= MOST_CATEGORIES
    if few or column.dtype == pl.Boolean or isinstance(column.dtype, pl.Categorical | pl.Enum):
        return _categories(column, counted)
    if column.dtype == pl.String:
        kept = counted.filter(pl.col("count") >= FEWEST)
        # a text most of whose values occur again is a list of codes; others are free
        return _categories(column, counted) if kept["count"].sum() * 2 >= column.len() - column.null_count() else bare
    return _bins(column) or bare


def _counted(column: pl.Series) -> pl.DataFrame | None:
    if (
        column.dtype.is_nested()
        or column.dtype in {pl.Binary, pl.Object, pl.Null}
        or column.null_count() == column.len()
    ):
        return None
    counted = column.drop_nulls().value_counts(sort=True, name="count", parallel=False)
    return counted.rename({column.name: "value"}) if column.name != "value" else counted


def _categories(column: pl.Series, counted: pl.DataFrame) -> Levels:
    kept = counted.filter(pl.col("count") >= FEWEST).head(MOST_CATEGORIES)
    values = kept["value"].to_list()
    pooled = kept.height < counted.height
    if not values and column.dtype != pl.String:
        return Levels(column.name, column.dtype)  # each value is rare: nothing of them is told
    if pooled and isinstance(column.dtype, pl.Enum):
        pooled = bool(values)
    return Levels(column.name, column.dtype, values=tuple(_sorted(values)), pooled=pooled)


def _sorted(values: list[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (str(type(value)), value))


def _bins(column: pl.Series) -> Levels | None:
    """Bins of equal numbers of rows between the first and the last hundredth, their ends rounded."""
    numbers = _numbers(column).drop_nulls()
    numbers = numbers.filter(numbers.is_finite())
    bins = min(BINS, max(1, math.isqrt(numbers.len() // FEWEST)))  # two columns of them share the rows
    if numbers.len() < FEWEST:
        return None
    cuts = sorted({_quantile(numbers, 0.01 + 0.98 * place / bins) for place in range(bins + 1)})
    step = _step(cuts[-1] - cuts[0])
    edges = {round(cut / step) * step for cut in cuts}
    if not column.dtype.is_float():
        edges = {float(round(edge)) for edge in edges}
    if len(edges) == 1:
        edges.add(max(edges) + max(step, 1.0))
    lowest, highest = _range(column.dtype)
    kept = tuple(sorted({min(max(edge, lowest), highest) for edge in edges}))
    return Levels(column.name, column.dtype, edges=kept) if len(kept) > 1 else None


def _quantile(numbers: pl.Series, share: float) -> float:
    return float(numbers.quantile(share, "linear") or 0.0)


def _step(spread: float) -> float:
    """A round number small beside `spread`: ends of bins are multiples of it, and no value of the data."""
    return float(10.0 ** (math.floor(math.log10(spread)) - _DIGITS)) if spread > 0 else 1.0


def _decimals(edges: tuple[float, ...]) -> int:
    return max(0, -round(math.log10(_step(edges[-1] - edges[0])))) + 1


def _range(dtype: pl.DataType) -> tuple[float, float]:
    if not dtype.is_integer():
        return -math.inf, math.inf
    bits = int("".join(character for character in str(dtype) if character.isdigit()))
    return (0.0, 2.0**bits - 1) if str(dtype).startswith("U") else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)


def _numbers(column: pl.Series) -> pl.Series:
    """Numbers that order a column as its values do: days, ticks, or the numbers themselves."""
    return (column.to_physical() if column.dtype.is_temporal() else column).cast(pl.Float64, strict=False)
