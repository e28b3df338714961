"""Join-back: which rows of an export occur in what its workspace has read.

Columns are matched by name, else by their values; numbers are rounded as the export rounds them; a row counts when it
matches at most three rows of the view and would be there by chance less than once in a hundred. What this cannot see
(single values, rescaled numbers, encryption) is what the reviewer is for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

_MOST_SOURCE_ROWS = 3
_CHANCE = 0.01
_CONTAINED = 0.9  # share of a column's distinct values that must occur in the view's column
_MAX_DECIMALS = 10
_QUANTILES = [q / 10 for q in range(11)]
_NEARLY_UNIQUE = 0.5  # distinct values per value above which a column is like an identifier
_LONG_TEXT = 8  # characters from which equal text is no coincidence
_LONG_NUMBER = 6  # significant digits, likewise


@dataclass(frozen=True, slots=True)
class Match:
    """`rows`: 0-based numbers of the export's rows that occur in the view; `columns`: the export's columns by which."""

    rows: list[int]
    columns: list[str]

    @property
    def cells(self) -> int:
        return len(self.rows) * len(self.columns)


@dataclass(frozen=True, eq=False)
class _Column:
    """One column in comparable form: Float64 or lower-case text; `decimals` to which its numbers are given."""

    name: str
    values: pl.Series
    decimals: int
    _distinct: dict[int, pl.Series] = field(default_factory=dict)
    _shares: dict[_Column, float] = field(default_factory=dict)

    @property
    def is_number(self) -> bool:
        return self.values.dtype == pl.Float64

    @cached_property
    def quantiles(self) -> list[float]:
        ordered = self.values.drop_nulls().sort()
        return [float(ordered[round(q * (len(ordered) - 1))]) for q in _QUANTILES]

    @cached_property
    def variety(self) -> float:
        """Distinct values per value."""
        return len(self.distinct(self.decimals)) / len(self.values)

    def rounded(self, decimals: int) -> pl.Series:
        return self.values.round(decimals) + 0.0 if self.is_number else self.values  # + 0.0: no negative zero

    def distinct(self, decimals: int) -> pl.Series:
        """The known values, each once, rounded; kept, because a column is compared with many others."""
        if decimals not in self._distinct:
            source = self.values if decimals >= self.decimals else self.distinct(self.decimals)
            rounded = source.round(decimals) + 0.0 if self.is_number else source
            self._distinct[decimals] = rounded.drop_nulls().unique()
        return self._distinct[decimals]

    def contained_in(self, other: _Column) -> float:
        """Which share of the distinct values occurs in `other`, rounded as this column is."""
        if other not in self._shares:
            distinct = self.distinct(self.decimals)
            found = distinct.is_in(other.distinct(self.decimals).implode()) if len(distinct) else distinct
            self._shares[other] = int(found.sum()) / max(len(distinct), 1)
        return self._shares[other]


def find(export: pl.DataFrame, view: pl.DataFrame) -> Match:
    """The match with the most cells under the different ways to pair columns; empty when there is none."""
    mine, theirs = _columns(export), _columns(view)
    best = _copied_column(mine, theirs)
    tried: list[_Pairs] = []
    for pair in (_complete, _named, _careful, _sure, _blind):
        pairs = pair(mine, theirs)
        if best.cells == export.height * export.width:
            break
        if pairs in tried:
            continue
        tried.append(pairs)
        rows = _matching_rows(pairs)
        best = max(best, Match(rows, [column.name for column, _ in pairs]), key=lambda match: match.cells)
    return best


def _columns(frame: pl.DataFrame) -> list[_Column]:
    found = []
    for series in frame.iter_columns():
        values = _comparable(series)
        if values is not None and values.null_count() < len(values):
            found.append(_Column(series.name, values, _decimals(values)))
    return found


def _comparable(series: pl.Series) -> pl.Series | None:
    dtype = series.dtype
    if dtype.is_numeric() or dtype == pl.Boolean:
        return series.cast(pl.Float64).fill_nan(None)
    if dtype == pl.Datetime:
        return series.dt.strftime("%Y-%m-%dt%H:%M:%S")
    if dtype in (pl.Date, pl.Time, pl.Duration, pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    if dtype != pl.String:
        return None
    text = series.str.strip_chars().str.to_lowercase()
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == text.null_count():
        return numbers.fill_nan(None)
    return text


def _decimals(values: pl.Series) -> int:
    if values.dtype != pl.Float64:
        return 0
    known = values.drop_nulls()
    known = known.filter(known.is_finite())
    for decimals in range(_MAX_DECIMALS):
        if ((known.round(decimals) - known).abs() <= known.abs() * 1e-12).all():
            return decimals
    return _MAX_DECIMALS


_Pairs = list[tuple[_Column, _Column]]


# Five ways to pair columns, tried in this order: each finds rows that the others miss.


def _named(mine: list[_Column], theirs: list[_Column]) -> _Pairs:
    """By name."""
    by_name = {_plain(column.name): column for column in theirs}
    named = [(column, by_name[_plain(column.name)]) for column in mine if _plain(column.name) in by_name]
    return [(own, other) for own, other in named if own.is_number == other.is_number]


def _sure(mine: list[_Column], theirs: list[_Column]) -> _Pairs:
    """By name, where the values agree: an added or changed column hides nothing."""
    return [(own, other) for own, other in _named(mine, theirs) if own.contained_in(other) >= _CONTAINED]


def _complete(mine: list[_Column], theirs: list[_Column]) -> _Pairs:
    """By name, and the rest by values."""
    named = _named(mine, theirs)
    return named + _by_values(mine, theirs, named)


def _careful(mine: list[_Column], theirs: list[_Column]) -> _Pairs:
    """By name where the values agree, and the rest by values."""
    sure = _sure(mine, theirs)
    return sure + _by_values(mine, theirs, sure)


def _blind(mine: list[_Column], theirs: list[_Column]) -> _Pairs:
    """By values alone: names may have been exchanged."""
    return _by_values(mine, theirs, [])


def _plain(name: str) -> str:
    return name.strip().casefold()


def _by_values(mine: list[_Column], theirs: list[_Column], taken: _Pairs) -> _Pairs:
    """Pairs for the columns that are not in `taken`: most values in common first, then the nearest distribution."""
    own_taken = {own.name for own, _ in taken}
    other_taken = {other.name for _, other in taken}
    scored = []
    for own in mine:
        for other in theirs:
            free = own.name not in own_taken and other.name not in other_taken
            if free and own.is_number == other.is_number and (share := own.contained_in(other)) >= _CONTAINED:
                scored.append((-share, _distance(own, other), own, other))
    scored.sort(key=lambda item: item[:2])
    pairs: _Pairs = []
    for _, _, own, other in scored:
        if own.name not in own_taken and other.name not in other_taken:
            own_taken.add(own.name)
            other_taken.add(other.name)
            pairs.append((own, other))
    return pairs


def _distance(own: _Column, other: _Column) -> float:
    """How unlike two distributions are; only good for telling nearer from farther."""
    if not own.is_number:
        return abs(own.variety - other.variety)
    ours, others = own.quantiles, other.quantiles
    return sum(abs(a - b) for a, b in zip(ours, others, strict=True)) / max(others[-1] - others[0], 1e-12)


def _matching_rows(pairs: _Pairs) -> list[int]:
    if not pairs:
        return []
    keys = [f"k{number}" for number in range(len(pairs))]
    own = pl.DataFrame({key: mine.rounded(mine.decimals) for key, (mine, _) in zip(keys, pairs, strict=True)})
    other = pl.DataFrame({key: theirs.rounded(mine.decimals) for key, (mine, theirs) in zip(keys, pairs, strict=True)})
    own = own.with_row_index("row").filter(pl.any_horizontal(pl.col(key).is_not_null() for key in keys))
    alike = other.join(own.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    sources = alike.group_by(keys).len("sources").filter(pl.col("sources") <= _MOST_SOURCE_ROWS)
    matched = own.join(sources, on=keys, how="inner", nulls_equal=True)
    # expected number of equal rows if the columns were independent: rows x product of the values' shares
    matched = matched.with_columns(chance=pl.lit(math.log(max(other.height, 1))))
    for key in keys:
        share = other.group_by(key).agg((pl.len() / other.height).log().alias("share"))
        matched = matched.join(share, on=key, how="left", nulls_equal=True)
        matched = matched.with_columns(chance=pl.col("chance") + pl.col("share")).drop("share")
    return sorted(matched.filter(pl.col("chance") < math.log(_CHANCE))["row"].to_list())


def _copied_column(mine: list[_Column], theirs: list[_Column]) -> Match:
    """Identifiers and the like: one column whose long, nearly unique values come out of one column of the view."""
    best = Match([], [])
    for other in theirs:
        if other.variety <= _NEARLY_UNIQUE:
            continue
        for own in mine:
            if own.is_number != other.is_number or own.contained_in(other) < _CONTAINED:
                continue
            values = own.rounded(own.decimals)
            found = values.is_in(other.distinct(own.decimals).implode()) & _is_long(own)
            rows = found.fill_null(value=False).arg_true().to_list()
            if len(rows) > len(best.rows):
                best = Match(rows, [own.name])
    return best


def _is_long(column: _Column) -> pl.Series:
    if not column.is_number:
        return column.values.str.len_chars() >= _LONG_TEXT
    return column.values.abs() * 10.0**column.decimals >= 10.0 ** (_LONG_NUMBER - 1)
