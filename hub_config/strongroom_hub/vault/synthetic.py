"""A synthetic twin of a table: same columns and types, similar shares and dependences, and no row of the original.

Each column becomes a small number of levels: bins of numbers and times, categories, and one for what is missing. What
is taken from the data is the count of each level, and the joint counts along a tree of the strongest dependences
between two columns (Chow and Liu, 1968); both with noise, and without cells of few rows. Rows are drawn along that
tree, values within a bin evenly. This is no anonymity by proof: docs/stewards says what it keeps and how it was
attacked.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import accumulate

import polars as pl

from strongroom_hub.vault.synthetic_levels import levels_of

SAMPLE_ROWS = 50_000
"""Rows of a larger table that are looked at: time and memory are bounded by this."""
TWIN_ROWS = 5_000
"""Rows of a twin at most."""
FEWEST_ROWS = 50
"""A table with fewer rows gets no twin: hardly anything would be left of its counts."""
FEWEST_IN_CELL = 5
"""A combination of two levels that fewer rows have is not drawn for its own sake."""
NOISE = 2.0
"""Scale of the Laplace noise on every count."""
MOST_COLUMNS = 100
"""The dependences that are looked at grow with its square."""
_ROUNDS = 8

Counts = list[list[float]]
"""By level of one column, by level of another."""


class NoTwinError(Exception):
    """Why there is no twin, in words that name no value."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A column drawn from another's level; `parent` None: the root, drawn from its own shares."""

    child: int
    parent: int | None
    shares: Counts
    """By level of the parent (one row for the root), by level of the child; as weights."""


def seed_of(key: bytes, dataset: str, version: int) -> int:
    """The same for a version each time, and unknown to who does not hold its key: noise that can be guessed is none."""
    return int.from_bytes(hashlib.blake2b(f"{dataset}/{version}/synthetic".encode(), key=key[:64]).digest()[:16], "big")


def make_twin(sample: pl.DataFrame, identifying: Collection[str], seed: int, rows: int) -> pl.DataFrame:
    """At most `rows` rows like `sample`; `identifying`: columns of which nothing but the look is kept.

    Rows of the original are not taken out here: see `without`. Raises NoTwinError.
    """
    if sample.height < FEWEST_ROWS:
        raise NoTwinError(f"a table of fewer than {FEWEST_ROWS} rows would give away too much of itself")
    if sample.width > MOST_COLUMNS:
        raise NoTwinError(f"it has more than {MOST_COLUMNS} columns")
    chance = random.Random(seed)  # noqa: S311 - what has to be unknown is the seed
    levels = [levels_of(sample[name], identifying=name in identifying) for name in sample.columns]
    codes = [one.encode(sample[name]) for one, name in zip(levels, sample.columns, strict=True)]
    branches = _tree(codes, [one.count for one in levels], chance)
    drawn = _draw(branches, rows, chance)
    return pl.DataFrame([one.decode(drawn[place], chance) for place, one in enumerate(levels)])


def without(twin: pl.DataFrame, originals: Iterable[pl.DataFrame | pl.LazyFrame]) -> pl.DataFrame:
    """The rows of `twin` that no original row equals; lists and structures, of which a twin has none, do not count."""
    compared = [name for name, dtype in twin.schema.items() if not dtype.is_nested()]
    # few rows share a value with the twin in the column where it has most: only those are read whole, and compared
    telling = max(compared, key=lambda name: twin[name].n_unique())
    for batch in originals:
        if not twin.height:
            break
        alike = batch.lazy().filter(pl.col(telling).is_in(twin[telling].unique().implode(), nulls_equal=True)).collect()
        twin = twin.join(alike, on=compared, how="anti", nulls_equal=True, maintain_order="left")
    return twin


def fresh_twin(
    sample: pl.DataFrame, identifying: Collection[str], seed: int, originals: Iterable[pl.DataFrame | pl.LazyFrame]
) -> pl.DataFrame:
    """A twin without any row of `originals` (which must be iterable again and again). Raises NoTwinError."""
    wanted = min(TWIN_ROWS, sample.height)
    found: list[pl.DataFrame] = []
    for turn in range(_ROUNDS):
        missing = wanted - sum(one.height for one in found)
        if missing <= 0:
            break
        found.append(without(make_twin(sample, identifying, seed + turn, wanted), originals).head(missing))
    twin = pl.concat(found)
    if not twin.height:
        raise NoTwinError("whatever could be drawn is a row of the original: it has too few columns or levels")
    return twin


def _tree(codes: list[pl.Series], sizes: list[int], chance: random.Random) -> list[Branch]:
    """Columns in the order in which they can be drawn, by a spanning tree of the greatest mutual information."""
    alone = [
        _noisy(_joint(pl.zeros(code.len(), pl.Int32, eager=True), code, 1, size), chance)[0]
        for code, size in zip(codes, sizes, strict=True)
    ]
    best = dict.fromkeys(range(1, len(codes)), (-1.0, 0))
    branches = [Branch(0, None, _shares([alone[0]], alone[0]))]
    while best:
        newest = branches[-1].child
        for column, (strength, _) in list(best.items()):
            between = _information(_joint(codes[newest], codes[column], sizes[newest], sizes[column]))
            if between > strength:
                best[column] = (between, newest)
        column = max(best, key=lambda one: (best[one][0], -one))
        parent = best.pop(column)[1]
        joint = _noisy(_joint(codes[parent], codes[column], sizes[parent], sizes[column]), chance)
        branches.append(Branch(column, parent, _shares(joint, alone[column], alone[parent])))
    return branches


def _joint(one: pl.Series, other: pl.Series, size: int, other_size: int) -> Counts:
    counted = (one * other_size + other).alias("cell").value_counts()
    flat = [0.0] * (size * other_size)
    for cell, count in counted.iter_rows():
        flat[cell] = float(count)
    return [flat[row * other_size : (row + 1) * other_size] for row in range(size)]


def _information(joint: Counts) -> float:
    """Mutual information in nats; the part that chance alone would bring is taken off."""
    rows, columns = [sum(row) for row in joint], [sum(column) for column in zip(*joint, strict=True)]
    total = sum(rows)
    found = sum(
        count / total * math.log(count * total / (rows[one] * columns[other]))
        for one, row in enumerate(joint)
        for other, count in enumerate(row)
        if count
    )
    return found - (len(rows) - 1) * (len(columns) - 1) / (2 * total)


def _noisy(counts: Counts, chance: random.Random) -> Counts:
    return [[_told(count, chance) for count in row] for row in counts]


def _told(count: float, chance: random.Random) -> float:
    noisy = count + NOISE * (chance.expovariate(1.0) - chance.expovariate(1.0))  # their difference is Laplace's
    return noisy if min(count, noisy) >= FEWEST_IN_CELL else 0.0


def _shares(counts: Counts, alone: list[float], totals: list[float] | None = None) -> Counts:
    """Rows to draw by. What a row lacks to its total goes to the cells of which nothing is told, by the child's shares.

    `totals`: the parent's own counts.
    """
    return [_filled(row, alone, None if totals is None else totals[place]) for place, row in enumerate(counts)]


def _filled(row: list[float], alone: list[float], total: float | None) -> list[float]:
    untold = [share if not count else 0.0 for count, share in zip(row, alone, strict=True)]
    lacking = 0.0 if total is None else max(0.0, total - sum(row))
    if lacking and sum(untold):
        row = [count + lacking * share / sum(untold) for count, share in zip(row, untold, strict=True)]
    if sum(row):
        return row
    return alone if sum(alone) else [1.0] * len(alone)


def _draw(branches: list[Branch], rows: int, chance: random.Random) -> dict[int, list[int]]:
    drawn: dict[int, list[int]] = {}
    for branch in branches:
        bounds = [list(accumulate(row)) for row in branch.shares]
        levels = range(len(bounds[0]))
        above = [0] * rows if branch.parent is None else drawn[branch.parent]
        drawn[branch.child] = [chance.choices(levels, cum_weights=bounds[one])[0] for one in above]
    return drawn
