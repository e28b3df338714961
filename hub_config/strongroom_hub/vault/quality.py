"""What the data must satisfy, checked batch by batch: how often it does not, in which rows, never by which values."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from strongroom_hub.problems import Problem
from strongroom_hub.vault.formats.table import bad_file

ROWS_NAMED = 10
MOST_UNIQUE = 20_000_000
"""Rows up to which a column can be checked to be unique."""


class Check:
    """One declared check (`catalog.schema.Check` as JSON) and what it has found so far."""

    def __init__(self, number: int, told: dict[str, Any], codes: dict[str, list[str]], today: dt.date) -> None:
        self.told = told
        self.number = number
        self._codes = codes
        self._today = today
        self.failed = 0
        self.rows: list[int] = []
        self.unchecked = ""
        self._seen: list[pl.Series] = []
        self._newest: dt.date | None = None

    def see(self, frame: pl.DataFrame, first: int) -> None:
        """`first`: the row number of the batch's first row; the header is row 1."""
        kind, columns = self.told["kind"], self.told["columns"]
        if kind == "unique":
            self._unique(frame.select(columns), first)
        elif kind == "fresh":
            self._date(frame[columns[0]])
        elif kind != "rows":
            for column in columns:
                self._note(self._wrong(frame[column]).fill_null(value=False), first)

    def finish(self, rows: int) -> None:
        kind, low, high = self.told["kind"], self.told["min"], self.told["max"]
        if kind == "rows" and ((low is not None and rows < low) or (high is not None and rows > high)):
            self.failed = 1
        if kind == "fresh" and (
            self._newest is None or self._newest < self._today - dt.timedelta(days=self.told["days"])
        ):
            self.failed = 1

    def as_json(self) -> dict[str, Any]:
        state = "unchecked" if self.unchecked else "failed" if self.failed else "passed"
        kept = {key: self.told[key] for key in ("kind", "columns", "severity", "why")}
        return {**kept, "state": state, "failed": self.failed, "rows": self.rows, "text": self.text()}

    def text(self) -> str:
        named = " and ".join(repr(column) for column in self.told["columns"])
        if self.unchecked:
            return f"{self.told['kind']} {named}: {self.unchecked}"
        if not self.failed:
            return f"{self.told['kind']} {named}".strip() + ": fine"
        if self.told["kind"] in {"rows", "fresh"}:
            return f"{self.told['kind']} {named}".strip() + ": not satisfied"
        where = ", ".join(map(str, self.rows)) + (" ..." if self.failed > len(self.rows) else "")
        return f"{self.told['kind']} {named}: {self.failed} value(s) are not, in rows {where}"

    def _wrong(self, series: pl.Series) -> pl.Series:
        kind = self.told["kind"]
        if kind == "not-null":
            return series.is_null()
        if kind == "range":
            return self._outside(series)
        if kind == "codes":
            return ~series.cast(pl.String).is_in(self._codes.get(series.name, []))
        return ~series.cast(pl.String).str.contains(f"^(?:{self.told['pattern']})$")

    def _outside(self, series: pl.Series) -> pl.Series:
        wrong = pl.repeat(value=False, n=len(series), eager=True)
        for bound, beyond in ((self.told["min"], series.__lt__), (self.told["max"], series.__gt__)):
            if bound is not None:
                limit = dt.date.fromisoformat(bound) if isinstance(bound, str) else bound
                if not (series.dtype.is_temporal() if isinstance(bound, str) else series.dtype.is_numeric()):
                    raise TypeError(f"{series.dtype} has no such bounds")
                wrong = wrong | beyond(limit).fill_null(value=False)
        return wrong

    def _unique(self, frame: pl.DataFrame, first: int) -> None:
        if self.unchecked:
            return
        complete = ~frame.select(pl.any_horizontal(pl.all().is_null())).to_series()
        hashes = frame.hash_rows(seed=1)
        repeated = ~hashes.is_first_distinct()
        for earlier in self._seen:
            repeated = repeated | hashes.is_in(earlier.implode())
        self._note(repeated & complete, first)
        self._seen.append(hashes.filter(complete).unique())
        if len(self._seen) > ROWS_NAMED:
            self._seen = [pl.concat(self._seen)]
        if sum(map(len, self._seen)) > MOST_UNIQUE:
            self.unchecked = f"more than {MOST_UNIQUE} rows cannot be compared"
            self._seen = []

    def _date(self, series: pl.Series) -> None:
        newest = series.cast(pl.Date).max()
        if isinstance(newest, dt.date):
            self._newest = newest if self._newest is None else max(self._newest, newest)

    def _note(self, wrong: pl.Series, first: int) -> None:
        count = int(wrong.sum())
        if not count:
            return
        self.failed += count
        missing = ROWS_NAMED - len(self.rows)
        self.rows += [first + int(row) for row in wrong.arg_true().head(missing)]


class Quality:
    """All declared checks of one version."""

    def __init__(
        self, checks: list[dict[str, Any]], codes: dict[str, list[str]], today: str, schema: dict[str, pl.DataType]
    ) -> None:
        """Raises Problem where a check is about a column that is not there."""
        for number, told in enumerate(checks, start=1):
            for column in told["columns"]:
                if column not in schema:
                    raise bad_file(f"Check {number} ({told['kind']}) is about {column!r}: there is no such column.")
        day = dt.date.fromisoformat(today) if today else dt.datetime.now(dt.UTC).date()
        self._checks = [Check(number, told, codes, day) for number, told in enumerate(checks, start=1)]
        self._row = 2

    def see(self, frame: pl.DataFrame) -> None:
        """Raises Problem where a check makes no sense for the column's type."""
        for check in self._checks:
            try:
                check.see(frame, self._row)
            except (pl.exceptions.PolarsError, TypeError) as error:
                named = ", ".join(check.told["columns"])
                raise bad_file(
                    f"Check {check.number} ({check.told['kind']}) cannot be made on {named}: its values are of another "
                    "type than the check is about, or its pattern is not understood.",
                    next="Correct the check in the metadata, or give the column a `type`; nothing was kept.",
                ) from error
        self._row += frame.height

    def results(self) -> list[dict[str, Any]]:
        """Raises Problem 422 where an `error` does not pass."""
        for check in self._checks:
            check.finish(self._row - 2)
        blocking = [one for one in self._checks if (one.failed or one.unchecked) and one.told["severity"] == "error"]
        if blocking:
            raise Problem(
                422,
                "quality-failed",
                "The data does not satisfy its own checks",
                f"{len(blocking)} of {len(self._checks)} checks of severity `error` failed.",
                why=tuple(one.text() + (f" ({one.told['why']})" if one.told["why"] else "") for one in blocking),
                next="Correct the data, or the checks in its metadata, and add it again; nothing was kept.",
            )
        return [check.as_json() for check in self._checks]
