"""One dataset as this kernel may see it."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from strongroom import _wire
from strongroom._errors import Unavailable, from_problem

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


@dataclass(frozen=True, slots=True, repr=False)
class Dataset:
    """The allowed columns of one version, masked where a mask applies. The data is mapped, not copied."""

    name: str
    version: int
    label: str
    columns: tuple[str, ...]
    masked: dict[str, str]
    """Column -> how it is masked: "null", "redact" or "hash"."""
    _table: pa.Table

    def arrow(self) -> pa.Table:
        """As a pyarrow table, without a copy."""
        return self._table

    def to_pandas(self, **options: Any) -> pd.DataFrame:
        """As a pandas data frame; `options` go to `pyarrow.Table.to_pandas`."""
        return self._table.to_pandas(**options)

    def to_polars(self) -> pl.DataFrame:
        """As a polars data frame, without a copy where polars can."""
        import polars as pl  # noqa: PLC0415 - only where it is wanted

        return pl.DataFrame(pl.from_arrow(self._table))

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _facts(self) -> tuple[tuple[str, str], ...]:
        masks = ", ".join(f"{column} ({method})" for column, method in self.masked.items())
        return (
            ("label", self.label),
            ("rows", f"{len(self):,}"),
            ("columns", ", ".join(self.columns)),
            *((("masked", masks),) if masks else ()),
            ("read it with", ".to_pandas()  .to_polars()  .arrow()"),
        )

    def __repr__(self) -> str:
        return "\n".join(
            [f"{self.name} version {self.version}", *(f"  {name}: {value}" for name, value in self._facts())]
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in self._facts()
        )
        return f"<table><caption>{html.escape(self.name)} version {self.version}</caption>{rows}</table>"


def read(name: str, version: int | None, columns: list[str] | None) -> Dataset:
    """Ask for a ticket, take the data, map it. Raises StrongroomError in words."""
    answer = _wire.ask("open", dataset=name, version=version, columns=columns)
    if answer.get("ok") is not True:
        raise from_problem(answer.get("problem"), name)
    given, descriptor = _wire.fetch(str(answer.get("ticket", "")))
    try:
        if given.get("ok") is not True:
            raise from_problem(given.get("problem"), name)
        if descriptor is None:
            raise _broken("the vault sent no data")
        try:
            table = _mapped(descriptor)
        except (OSError, pa.ArrowInvalid) as error:
            raise _broken(str(error)) from error
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return Dataset(
        name=str(answer.get("dataset", name)),
        version=int(answer.get("version", 0)),
        label=str(answer.get("label", "secret")),
        columns=tuple(table.column_names),
        masked=dict(answer.get("masked") or {}),
        _table=table,
    )


def _mapped(descriptor: int) -> pa.Table:
    """The Arrow file behind a descriptor, by its memory: opening it anew, read-only, is what a sealed file allows."""
    with pa.memory_map(f"/proc/self/fd/{descriptor}") as source, pa.ipc.open_file(source) as reader:
        return reader.read_all()


def _broken(detail: str) -> Unavailable:
    return Unavailable(
        "The data did not arrive whole",
        f"Nothing can be shown: {detail}.",
        next_step="Run the cell again. If it stays so, tell whoever runs this Strongroom.",
        slug="broken-data",
    )
