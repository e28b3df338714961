"""What every format comes down to: a schema, batches of rows, and what the file itself tells about its columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from strongroom_hub.problems import Problem

BATCH_ROWS = 65_536
MAX_NAME = 200
"""Characters of a column's name."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(slots=True)
class Told:
    """What a file says about one of its columns: statistics packages keep labels and code lists with the data."""

    description: str = ""
    codes: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"description": self.description, "codes": self.codes}


class Table(Protocol):
    """A file that was understood as far as its schema; `batches` yields frames of exactly that schema."""

    schema: dict[str, pl.DataType]
    told: dict[str, Told]
    notes: list[str]
    """Sentences for the steward: what was taken otherwise than one might think."""

    def batches(self) -> Iterator[pl.DataFrame]:
        """Raises Problem (422) with row and column."""
        ...


def bad_file(detail: str, *, next: str = "Correct the file and add it again; nothing was kept.") -> Problem:  # noqa: A002
    return Problem(422, "bad-file", "The file was not taken in", detail, next=next)


def place(row: int, column: str | None = None) -> str:
    """`Row 7, column 'age'`; the header is row 1."""
    return f"Row {row}" if column is None else f"Row {row}, column {column!r}"


def check_names(names: list[str]) -> None:
    """Raises Problem for names that are empty, twice there, too long or not printable, and where there are none."""
    if not names:
        raise bad_file("It has no rows or no columns.")
    for number, name in enumerate(names, start=1):
        if not name or len(name) > MAX_NAME or _CONTROL.search(name):
            raise bad_file(f"Column {number}: its name is empty, longer than {MAX_NAME} characters or not printable.")
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise bad_file(f"Row 1 (the header): two columns are named {twice!r}.")


def storable(schema: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The types in which these columns are stored. Raises Problem for what cannot be."""
    stored: dict[str, pl.DataType] = {}
    for name, dtype in schema.items():
        if isinstance(dtype, (pl.Categorical, pl.Enum, pl.Null)):
            stored[name] = pl.String()
        elif dtype.is_nested() or dtype in (pl.Binary, pl.Int128, pl.UInt128, pl.Object, pl.Unknown):
            raise bad_file(f"Column {name!r}: values of type {dtype} cannot be stored; split or convert the column.")
        else:
            stored[name] = dtype
    return stored
