"""Looking at a column piece by piece in bounded memory: how many values, which are common, where they lie. Pure."""

from __future__ import annotations

from typing import Any

import polars as pl

DISTINCT_KEPT = 2048
"""Smallest hashes kept: up to so many different values the count is exact, beyond it is within a few percent."""
MOST_VALUES = 1000
"""Different values that are counted one by one."""
SAMPLE = 50_000
"""Values kept for quantiles, evenly over the rows."""
_HASHES = 2**64


class ColumnLook:
    """What is known of one column so far."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype
        self.rows = 0
        self.nulls = 0
        self.low: Any = None
        self.high: Any = None
        self._hashes: pl.Series = pl.Series([], dtype=pl.UInt64)
        self._more = False
        self._counts: dict[Any, int] | None = {}
        self._ordered = dtype.is_numeric() or dtype.is_temporal()
        self._kept: list[pl.Series] = []
        self._stride = 1
        self._phase = 0

    def see(self, series: pl.Series) -> None:
        known = series.drop_nulls()
        self.rows += len(series)
        self.nulls += len(series) - len(known)
        if known.is_empty():
            return
        self._hash(known)
        self._count(known)
        if self._ordered:
            self._keep(known)

    @property
    def known(self) -> int:
        """Values that are not missing."""
        return self.rows - self.nulls

    @property
    def distinct(self) -> int:
        """Different values; an estimate where there are more than `DISTINCT_KEPT`."""
        if not self._more:
            return len(self._hashes)
        largest = self._hashes.max()
        assert isinstance(largest, int)  # noqa: S101 - there are as many as are kept
        return min(self.known, round((DISTINCT_KEPT - 1) * _HASHES / max(largest, 1)))

    @property
    def unique(self) -> bool:
        """Whether no value seems to occur twice."""
        return self.known > 0 and self.distinct >= self.known * (0.93 if self._more else 1)

    @property
    def counts(self) -> dict[Any, int] | None:
        """Rows by value, where there are few enough values."""
        return self._counts

    def sample(self) -> pl.Series:
        """Sorted values, evenly chosen; all of them where there are few."""
        if not self._kept:
            return pl.Series([], dtype=self.dtype)
        return pl.concat(self._kept).sort()

    def _hash(self, known: pl.Series) -> None:
        hashes = known.hash(seed=1)
        if self._more:
            hashes = hashes.filter(hashes < self._hashes.max())
        if hashes.is_empty():
            return
        merged = pl.concat([self._hashes, hashes]).unique().sort()
        self._more = self._more or len(merged) > DISTINCT_KEPT
        self._hashes = merged.head(DISTINCT_KEPT)

    def _count(self, known: pl.Series) -> None:
        if self._counts is None:
            return
        if self._more or len(self._hashes) > MOST_VALUES:
            self._counts = None
            return
        for value, count in known.value_counts().iter_rows():
            self._counts[value] = self._counts.get(value, 0) + count

    def _keep(self, known: pl.Series) -> None:
        low, high = known.min(), known.max()
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        self._kept.append(known.gather_every(self._stride, (-self._phase) % self._stride))
        self._phase = (self._phase + len(known)) % self._stride
        if sum(map(len, self._kept)) > 2 * SAMPLE:
            self._kept = [pl.concat(self._kept).gather_every(2)]
            self._stride *= 2
            self._phase = 0


class Groups:
    """How many rows are alike in some columns; beyond a limit, of a random part of the groups."""

    def __init__(self, columns: list[str], *, limit: int = 250_000) -> None:
        self.columns = columns
        self._limit = limit
        self._part = 1
        """One of so many groups is looked at, and that one wholly."""
        self._merged = pl.DataFrame(schema={"group": pl.UInt64, "rows": pl.UInt32})
        self._fresh: list[pl.DataFrame] = []
        """Groups of the latest batches: merged when they are many, because each merging goes through all of them."""

    def see(self, frame: pl.DataFrame) -> None:
        found = pl.DataFrame({"group": frame.select(self.columns).hash_rows(seed=1)})
        self._fresh.append(self._of_this_part(found).group_by("group").agg(rows=pl.len()))
        if sum(one.height for one in self._fresh) > self._limit:
            self._merge()

    def _merge(self) -> pl.DataFrame:
        if self._fresh:
            merged = pl.concat([self._merged, *self._fresh]).group_by("group").agg(pl.col("rows").sum().cast(pl.UInt32))
            while merged.height > self._limit:
                self._part *= 2
                merged = self._of_this_part(merged)
            self._merged, self._fresh = merged, []
        return self._merged

    def _of_this_part(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame if self._part == 1 else frame.filter(pl.col("group") % self._part == 0)

    @property
    def exact(self) -> bool:
        self._merge()
        return self._part == 1

    @property
    def smallest(self) -> int:
        """Rows of the smallest group (that was looked at)."""
        smallest = self._merge()["rows"].min()
        return smallest if isinstance(smallest, int) else 0

    def share_below(self, size: int) -> float:
        """Share of rows in groups of fewer than `size` rows."""
        sizes = self._merge()
        rows = int(sizes["rows"].sum())
        return int(sizes.filter(pl.col("rows") < size)["rows"].sum()) / rows if rows else 0.0
