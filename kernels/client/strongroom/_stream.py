"""A dataset in batches: for what does not fit into memory, or need not."""

from __future__ import annotations

import gc
import html
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from strongroom import _names, _progress, _pushdown, _used, _wire
from strongroom._dataset import Dataset, broken, mapped, plain_schema
from strongroom._errors import StrongroomError, from_problem

if TYPE_CHECKING:
    import polars as pl

ROWS = 100_000
_FRESH = 20.0
"""Seconds for which a ticket that was not used yet is good here; the vault takes it for a little longer."""
_COPIED = 1 << 20
"""Bytes up to which a batch is copied: that costs little, and its file can be let go of at once."""
_FULL = ("kernel-memory-full", "vault-memory-full")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A decision: what the server said, and when."""

    answer: dict[str, Any]
    at: float


class Stream:
    """The allowed columns of one version, masked where a mask applies, in batches. Nothing is read before you ask.

    Each reading (`iter_batches`, `scan().collect()`) is decided anew and is an entry of its own in the log.
    """

    def __init__(
        self, opened: dict[str, Any], columns: list[str] | None, synthetic: bool, *, progress: bool = True
    ) -> None:
        self._progress = progress
        self.name = str(opened.get("dataset"))
        self.version = int(opened.get("version", 0))
        self.label = str(opened.get("label", "secret"))
        self.columns: tuple[str, ...] = tuple(opened.get("columns") or ())
        self.masked: dict[str, str] = dict(opened.get("masked") or {})
        """Column -> how it is masked."""
        self.synthetic = synthetic
        """Made-up rows of the same form, not the data."""
        self._asked = columns
        self._opened: _Opened | None = _Opened(opened, time.monotonic())
        self._waiting: _Line | None = None

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the columns. Raises StrongroomError."""
        self._waiting = self._line()
        return plain_schema(self._waiting.empty.schema)

    def iter_batches(
        self, rows: int = ROWS, *, columns: list[str] | None = None, progress: bool | None = None
    ) -> Iterator[Dataset]:
        """The data in order, at most `rows` rows at a time; each batch is what `open` gives: `.to_pandas()`,
        `.to_polars()`, `.arrow()`, `.duckdb()`. With `columns`, those only.

        A batch lies in the vault's memory for as long as you keep it: keep what you made of it instead. Leaving the
        loop ends the reading. A bar tells how far it is when that takes longer, unless `progress` is False. Raises
        StrongroomError (also in the midst, when access ends), KeyError, ValueError.
        """
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise ValueError("rows is a whole number from 1")
        for column in columns or ():
            if column not in self.columns:
                raise KeyError(f"{self.name} has no column {column!r} here; it has {', '.join(self.columns)}")
        _used.touch(self.name, columns if columns is not None else self.columns)
        return self._batches({"rows": rows, "columns": columns, "where": [], "limit": None}, progress=progress)

    def scan(self, *, progress: bool | None = None) -> pl.LazyFrame:
        """As a polars LazyFrame: only the columns that a query needs are read, simple conditions and `head` are applied
        before the rows come here, and the rows come in batches. Raises StrongroomError, here and in `collect`.
        """
        import polars as pl  # noqa: PLC0415 - only where it is wanted
        from polars.io.plugins import register_io_source  # noqa: PLC0415

        self._waiting = self._line()
        empty = pl.DataFrame(pl.from_arrow(self._waiting.empty))
        schema = empty.schema

        def source(
            columns: list[str] | None, predicate: pl.Expr | None, limit: int | None, rows: int | None
        ) -> Iterator[pl.DataFrame]:
            needed = list(self.columns) if columns is None else list(columns)
            read = list(dict.fromkeys([*needed, *(predicate.meta.root_names() if predicate is not None else ())]))
            # a limit beside a condition counts the rows before it
            where = _pushdown.conditions(predicate, schema) if predicate is not None and limit is None else []
            wish = {"rows": rows or ROWS, "columns": read or list(self.columns[:1]), "where": where, "limit": limit}
            _used.touch(self.name, read)
            for batch in self._batches(wish, progress=progress):
                frame = batch.to_polars()
                yield (frame if predicate is None else frame.filter(predicate)).select(needed)
            yield empty.select(needed)

        return register_io_source(source, schema=schema)

    def _batches(self, wish: dict[str, Any], *, progress: bool | None) -> Iterator[Dataset]:
        line = self._line()
        shown = self._progress if progress is None else progress
        bar = _progress.Progress(self.name, line.of if not wish["where"] else None, shown=shown)
        whole = False
        try:
            while (table := line.next(wish)) is not None:
                bar.add(table.num_rows)
                batch = self._batch(table, line.held)
                del table  # whoever reads decides how long a batch is kept
                yield batch
                del batch
            whole = True
        finally:
            line.close()
            bar.close(whole=whole)

    def _batch(self, table: pa.Table, held: Any) -> Dataset:
        masked = {column: mask for column, mask in self.masked.items() if column in table.column_names}
        return Dataset(
            self.name,
            self.version,
            self.label,
            tuple(table.column_names),
            masked,
            table,
            synthetic=self.synthetic,
            _held=held,
        )

    def _line(self) -> _Line:
        """A connection to the vault that was not asked for rows yet."""
        line, self._waiting = self._waiting, None
        if line is not None and line.is_open():
            return line
        opened, self._opened = self._opened, None
        if opened is None or time.monotonic() - opened.at > _FRESH:
            opened = _Opened(_ask(self.name, self.version, self._asked, synthetic=self.synthetic), time.monotonic())
        return _Line(str(opened.answer.get("ticket", "")), self.name)

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"{self.name} version {self.version}, in batches",
                *(f"  {name}: {value}" for name, value in self._facts()),
            ]
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in self._facts()
        )
        return f"<table><caption>{html.escape(self.name)} version {self.version}, in batches</caption>{rows}</table>"

    def _facts(self) -> list[tuple[str, str]]:
        again = _names.spelt(self.name, self.version)
        masks = ", ".join(f"{column} ({method})" for column, method in self.masked.items())
        return [
            *([("SYNTHETIC", "made-up rows of the same form, not the data")] if self.synthetic else []),
            ("label", self.label),
            ("columns", ", ".join(self.columns)),
            *([("masked", masks)] if masks else []),
            ("read it with", "for batch in stream.iter_batches(rows=100_000): ...   stream.scan()"),
            (
                "the same again",
                f'strongroom.open("{again}", stream=True{", synthetic=True" if self.synthetic else ""})',
            ),
        ]


def opened(
    name: str, version: int | None, columns: list[str] | None, *, synthetic: bool, progress: bool = True
) -> Stream:
    """Ask whether it may be read; nothing is read yet. Raises StrongroomError."""
    answer = _ask(name, version, columns, synthetic=synthetic)
    stream = Stream(answer, columns, synthetic, progress=progress)
    _used.opened(stream.name, stream.columns)
    if columns is not None:
        _used.touch(stream.name, columns)
    return stream


def _ask(name: str, version: int | None, columns: list[str] | None, *, synthetic: bool) -> dict[str, Any]:
    more = {"synthetic": True} if synthetic else {}
    answer = _wire.ask("open", dataset=name, version=version, columns=columns, stream=True, **more)
    if answer.get("ok") is not True:
        raise from_problem(answer.get("problem"), name)
    if synthetic and answer.get("synthetic") is not True:
        raise broken("the server answered with the data instead of its synthetic twin")
    return answer


class _Line:
    """One open stream of the vault. `empty`: a table without rows; `of`: how many rows there are, where it is known."""

    def __init__(self, ticket: str, name: str) -> None:
        self._name = name
        self._line = _wire.Line({"v": 1, "ticket": ticket, "stream": True})
        try:
            answer, table, self.held = self._receive()
        except BaseException:
            self.close()
            raise
        self.empty: pa.Table = table
        of = answer.get("of")
        self.of: int | None = of if isinstance(of, int) else None

    def next(self, wish: dict[str, Any]) -> pa.Table | None:
        """The next batch; None after the last. Raises StrongroomError."""
        try:
            return self._ask(wish)
        except StrongroomError as error:
            if error.slug not in _FULL:
                raise
        gc.collect()  # what only a cycle keeps is not needed
        return self._ask(wish)

    def _ask(self, wish: dict[str, Any]) -> pa.Table | None:
        self._line.send({"v": 1, **wish})
        _, table, self.held = self._receive()
        return table

    def _receive(self) -> tuple[dict[str, Any], pa.Table | None, Any]:
        answer, descriptor = self._line.receive()
        try:
            if answer.get("ok") is not True:
                raise from_problem(answer.get("problem"), self._name)
            if answer.get("end") is True:
                return answer, None, None
            if descriptor is None:
                raise broken("the vault sent no data")
            table, held = mapped(descriptor, copied=_COPIED)
        except (OSError, pa.ArrowInvalid) as error:
            raise broken(str(error)) from error
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return answer, table, held

    def is_open(self) -> bool:
        return self._line.is_open()

    def close(self) -> None:
        self._line.close()
