"""Types for the columns of a CSV, by what every one of their values says, never by a sample of them.

A type is taken only where it loses nothing: `007` and integers beyond 64 bits stay text. A `Guess` sees a column piece
by piece, so that the column need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

_WHOLE = r"^[+-]?\d+$"
_PADDED = r"^[+-]?0\d"
_PADDED_WHOLE = r"^[+-]?0\d+$"
_COMMA_NUMBER = r"^[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+$|^[+-]?\d+$|^[+-]?\d{1,3}(\.\d{3})+$"
_DATETIMES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z")
_FLAGS = ("true", "false")
_ENOUGH = 20
"""Values that must have been of one kind before one that is not is worth a remark."""


@dataclass(frozen=True, slots=True)
class Forms:
    """How a file writes numbers with a fraction and dates; `dates` None: as ISO 8601."""

    decimal: str = "."
    dates: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One type that a column may have: `words` for people, `make` the typed values, null where one does not fit."""

    words: str
    declared: str
    make: Callable[[pl.Series, Forms], pl.Series]


def _integer(texts: pl.Series, _: Forms) -> pl.Series:
    return texts.set(texts.str.contains(_PADDED).fill_null(value=False), None).cast(pl.Int64, strict=False)


def _number(texts: pl.Series, forms: Forms) -> pl.Series:
    texts = texts.set(texts.str.contains(_PADDED_WHOLE).fill_null(value=False), None)
    if forms.decimal == ",":
        texts = texts.set(~texts.str.contains(_COMMA_NUMBER).fill_null(value=True), None)
        texts = texts.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return texts.cast(pl.Float64, strict=False)


def _boolean(texts: pl.Series, _: Forms) -> pl.Series:
    lower = texts.str.to_lowercase()
    return (lower == _FLAGS[0]).set(~lower.is_in(_FLAGS).fill_null(value=True), None)


def _date(texts: pl.Series, forms: Forms) -> pl.Series:
    if forms.dates is not None:
        return texts.str.to_date(forms.dates, strict=False)
    return texts.set(~texts.str.contains(r"^\d{4}-\d\d-\d\d$").fill_null(value=True), None).str.to_date(
        "%Y-%m-%d", strict=False
    )


def _datetime(form: str) -> Callable[[pl.Series, Forms], pl.Series]:
    return lambda texts, _: texts.str.to_datetime(form, strict=False, time_unit="us")


ATTEMPTS = (
    Attempt("a whole number", "integer", _integer),
    Attempt("a number", "number", _number),
    Attempt("true or false", "boolean", _boolean),
    Attempt("a date", "date", _date),
    *(Attempt("a date with a time", "datetime", _datetime(form)) for form in _DATETIMES),
)
"""In the order in which they are tried."""


class MistypedError(ValueError):
    """A value that is not of the declared type: `row` counts values from 0, `words` say what was expected."""

    def __init__(self, row: int, words: str) -> None:
        super().__init__(words)
        self.row = row
        self.words = words


class Guess:
    """What all values of one text column so far could be; `declared` is a type that they must have."""

    def __init__(self, forms: Forms = Forms(), declared: str | None = None) -> None:
        self._forms = forms
        self._declared = declared
        self._left = [one for one in ATTEMPTS if declared in (None, one.declared)]
        self._known = 0
        self._rows = 0
        self._all_whole = True
        self.remark: str | None = None
        """Where a column that had begun as numbers or dates turned out not to be."""

    def see(self, texts: pl.Series) -> None:
        """The next values. Raises MistypedError where one is not of the declared type."""
        known = texts.replace("", None)
        count = len(known) - known.null_count()
        if count and self._left:
            self._narrow(known, count)
        self._known += count
        self._rows += len(texts)

    def _narrow(self, known: pl.Series, count: int) -> None:
        if self._all_whole:
            self._all_whole = bool(known.str.contains(_WHOLE).all())
        lost: list[tuple[Attempt, int]] = []
        left = []
        for attempt in self._left:
            made = attempt.make(known, self._forms)
            if len(made) - made.null_count() == count:
                left.append(attempt)
            else:
                misfit = (made.is_null() & known.is_not_null()).arg_true()[0]
                lost.append((attempt, misfit))
        if not left and lost:
            attempt, row = max(lost, key=lambda one: one[1])
            row += self._rows
            if self._declared not in (None, "text"):
                raise MistypedError(row, attempt.words)
            if self._known + known[: row - self._rows].count() >= _ENOUGH:
                self.remark = f"stays text: row {row + 2} is not {attempt.words}, as those before it are"
        self._left = left

    def decide(self) -> Attempt | None:
        """The type of all values; None: text."""
        if not self._known:
            return None if self._declared in (None, "text") else next(iter(self._left), None)
        for attempt in self._left:
            # whole numbers beyond 64 bits would lose digits as floats
            if attempt.declared == "number" and self._declared is None and self._all_whole:
                continue
            return attempt
        return None


def convert(texts: pl.Series, attempt: Attempt | None, forms: Forms = Forms()) -> pl.Series:
    """The values in the type that was decided on; text stays as it is."""
    return texts if attempt is None else attempt.make(texts.replace("", None), forms)


def read(source: str | bytes, *, separator: str = ",") -> pl.DataFrame:
    """The CSV at a path, or in bytes, with typed columns. Raises polars' errors."""
    texts = pl.read_csv(source, separator=separator, infer_schema=False, glob=False, raise_if_empty=True)
    return typed(texts)


def typed(texts: pl.DataFrame) -> pl.DataFrame:
    """Every text column as the narrowest of Int64, Float64, Boolean, Date, Datetime, String that holds all of it."""
    return texts.with_columns(_typed(series) for series in texts.iter_columns())


def _typed(series: pl.Series) -> pl.Series:
    guess = Guess()
    guess.see(series)
    return convert(series, guess.decide())
