"""Saving a table as a dataset of the project."""

from __future__ import annotations

import contextlib
import html
import os
import secrets
import sys
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from strongroom import _drafts, _names, _wire

_SECONDS = 600.0
"""Encrypting a large table takes a while."""


@dataclass(frozen=True, slots=True, repr=False)
class Saved:
    """A table that was saved: its name and version, the label it inherited, and what it was made from."""

    name: str
    version: int
    label: str
    sources: tuple[str, ...]
    """`namespace/name@version` of everything that this workspace had read."""

    def _lines(self) -> list[str]:
        because = f", because of {', '.join(self.sources)}" if self.sources else ""
        return [
            f"Saved as {self.name} version {self.version}: {self.label}{because}.",
            f'Members of the project who may read all of that open it with strongroom.open("{self.name}").',
        ]

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return "<br>".join(html.escape(line) for line in self._lines())

    def __str__(self) -> str:
        return _names.spelt(self.name, self.version)


def save(data: Any, name: str, *, title: str, description: str, columns: dict[str, str]) -> Saved:
    """Hand the table over by a file in the work folder, which the server copies; the file is gone afterwards."""
    table = as_table(data)
    file = _drafts.work() / f".saving-{secrets.token_hex(8)}.arrow"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
        answer = _wire.asked(
            "save",
            seconds=_SECONDS,
            file=file.name,
            dataset=name,
            title=title,
            description=description,
            columns=columns,
            names=table.column_names,
        )
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
    return Saved(
        str(answer.get("dataset", name)),
        int(answer.get("version", 0)),
        str(answer.get("label", "secret")),
        tuple(str(source) for source in answer.get("sources") or ()),
    )


def as_table(data: Any) -> pa.Table:
    """The Arrow table in a pandas, polars, pyarrow or DuckDB table, or in anything else that speaks Arrow.

    A pandas index is saved as a column where it has a name, and left out where it just counts. Raises TypeError.
    """
    if isinstance(data, pa.Table):
        return data
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        named = any(name is not None for name in data.index.names)
        return pa.Table.from_pandas(data, preserve_index=named).replace_schema_metadata(None)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise TypeError(
        f"a {type(data).__name__} cannot be saved: give a table of pandas, polars, pyarrow or DuckDB "
        "(a lazy polars frame after .collect(), a series as a frame of one column)"
    )
