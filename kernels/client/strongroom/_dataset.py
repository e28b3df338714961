"""One dataset as this kernel may see it."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa

from strongroom import _names, _progress, _used, _wire
from strongroom._errors import AccessDenied, StrongroomError, Unavailable, from_problem

if TYPE_CHECKING:
    import duckdb as _duckdb
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
    """Column -> how it is masked, as policies write it: "hash", "token", "date(month)"..."""
    _rows: pa.Table
    synthetic: bool = False
    """Made-up rows of the same form, not the data."""
    _held: Held | None = None
    _texts: dict[str, pa.ChunkedArray] = field(default_factory=dict, compare=False)
    """Columns of texts as pyarrow and pandas take them, made when first asked for (`plain_schema`)."""

    @property
    def _table(self) -> pa.Table:
        """Raises AccessDenied where the vault took the data back: touching it would end this kernel."""
        if self._held is not None and self._held.is_gone():
            raise AccessDenied(
                "This data was taken back",
                f"Your access to {self.name} ended, so the vault took version {self.version} out of this kernel.",
                ("data that was opened is taken back when the right to it ends",),
                f'strongroom.open("{self.name}") says why, or opens it again. Do not use tables made from this one '
                "without a copy: that ends the kernel.",
                "taken-back",
            )
        return self._rows

    def arrow(self) -> pa.Table:
        """As a pyarrow table. Numbers, days and the like are not copied; texts are, once."""
        return pa.table({name: self._plain(name) for name in self.columns}, schema=self.schema)

    def _plain(self, name: str) -> pa.ChunkedArray:
        column = self._table.column(name)
        if column.type != pa.string_view():
            return column
        if name not in self._texts:
            self._texts[name] = column.cast(pa.large_string())
        return self._texts[name]

    def to_pandas(self, *, arrow_types: bool = False, **options: Any) -> pd.DataFrame:
        """As a pandas data frame; `options` go to `pyarrow.Table.to_pandas`.

        With `arrow_types` the columns keep Arrow's types (`pandas.ArrowDtype`): nothing but texts is copied, and whole
        numbers with gaps stay whole. Without it pandas gets the types it has always had, at the price of a copy.
        """
        if arrow_types:
            import pandas as pd  # noqa: PLC0415 - only where it is wanted

            options.setdefault("types_mapper", pd.ArrowDtype)
        return self.arrow().to_pandas(**options)

    def to_polars(self) -> pl.DataFrame:
        """As a polars data frame, without a copy: texts lie in the mapped file as polars has them."""
        import polars as pl  # noqa: PLC0415 - only where it is wanted

        return pl.DataFrame(pl.from_arrow(self._table))

    def duckdb(self, connection: _duckdb.DuckDBPyConnection | None = None) -> _duckdb.DuckDBPyRelation:
        """As a DuckDB relation over the mapped data, without a copy: `people.duckdb().filter("age > 60").count("*")`.

        Without a `connection` it lives in a database in memory of its own.
        """
        import duckdb  # noqa: PLC0415 - only where it is wanted

        return (connection or duckdb.connect()).from_arrow(self._table)

    def iter_batches(
        self,
        rows: int = 100_000,
        *,
        columns: list[str] | None = None,
        progress: bool | None = None,  # noqa: ARG002
    ) -> Iterator[Dataset]:
        """The same data, at most `rows` rows at a time, as a stream's `iter_batches` gives it; here it is all in memory
        already, so there is no progress to show. Raises KeyError, ValueError.
        """
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise ValueError("rows is a whole number from 1")
        part = self if columns is None else self.select(*columns)
        table = self._table.select(part.columns)
        return (replace(part, _rows=table.slice(start, rows), _texts={}) for start in range(0, table.num_rows, rows))

    def scan(self, *, progress: bool | None = None) -> pl.LazyFrame:  # noqa: ARG002 - as a stream has it
        """As a polars LazyFrame over the mapped data."""
        return self.to_polars().lazy()

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the columns."""
        return plain_schema(self._table.schema)

    def head(self, n: int = 5) -> pd.DataFrame:
        """The first `n` rows as a pandas data frame: like all output, it counts where it is shown."""
        return replace(self, _rows=self._table.slice(0, n), _texts={}).to_pandas()

    def select(self, *columns: str) -> Dataset:
        """The same data with these columns only, in this order; nothing is copied. Raises KeyError."""
        _used.touch(self.name, map(self._column, columns))
        return replace(self, columns=columns, masked=_of(self.masked, columns), _rows=self._table.select(columns))

    @overload
    def __getitem__(self, key: str) -> pa.ChunkedArray: ...
    @overload
    def __getitem__(self, key: Sequence[str]) -> Dataset: ...
    def __getitem__(self, key: str | Sequence[str]) -> pa.ChunkedArray | Dataset:
        """One column as an Arrow array (`.to_pandas()`, `polars.from_arrow`, `numpy.asarray` take it), or several as a
        narrower dataset. Raises KeyError.
        """
        if isinstance(key, str):
            _used.touch(self.name, [self._column(key)])
            return self._plain(key)
        return self.select(*key)

    def __getattr__(self, name: str) -> pa.ChunkedArray:
        """`people.age` is `people["age"]`."""
        if name.startswith("_") or name not in self.columns:
            raise AttributeError(f"a dataset has no {name!r}, and {self.name} no such column")
        return self[name]

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *(column for column in self.columns if column.isidentifier())]

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.columns)

    def _column(self, name: str) -> str:
        if name not in self.columns:
            raise KeyError(f"{self.name} has no column {name!r} here; it has {', '.join(self.columns)}")
        return name

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Lets polars, pandas, duckdb and others take a dataset where they take a table. Only texts are copied."""
        return self.arrow().__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _facts(self) -> tuple[tuple[str, str], ...]:
        masks = ", ".join(f"{column} ({method})" for column, method in self.masked.items())
        again = _names.spelt(self.name, self.version)
        return (
            *((("SYNTHETIC", "made-up rows of the same form, not the data"),) if self.synthetic else ()),
            ("label", self.label),
            ("rows", f"{len(self):,}"),
            ("columns", ", ".join(self.columns)),
            *((("masked", masks),) if masks else ()),
            ("read it with", ".to_pandas()  .to_polars()  .arrow()  .duckdb()"),
            ("the same again", f'strongroom.open("{again}"{", synthetic=True" if self.synthetic else ""})'),
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


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The vault's schema as pyarrow and pandas take it: they can do hardly anything with views of texts, which is how
    polars and DuckDB take them.
    """
    return pa.schema(one.with_type(pa.large_string()) if one.type == pa.string_view() else one for one in schema)


def _of(masks: dict[str, str], columns: Sequence[str]) -> dict[str, str]:
    return {column: mask for column, mask in masks.items() if column in columns}


def read(
    name: str, version: int | None, columns: list[str] | None, *, synthetic: bool = False, progress: bool = True
) -> Dataset:
    """Ask for a ticket, take the data, map it. Raises StrongroomError in words."""
    more = {"synthetic": True} if synthetic else {}
    answer = _wire.ask("open", dataset=name, version=version, columns=columns, **more)
    if answer.get("ok") is not True:
        raise from_problem(answer.get("problem"), name)
    with _progress.waiting(name, shown=progress):
        given, descriptor = _wire.fetch(str(answer.get("ticket", "")))
    try:
        if given.get("ok") is not True:
            raise from_problem(given.get("problem"), name)
        if descriptor is None:
            raise broken("the vault sent no data")
        if given.get("kind") == "files":
            raise StrongroomError(
                "This dataset holds files, not a table",
                f"{name} cannot be opened as a table.",
                next_step=f'Open its files one by one: strongroom.files("{name}").open("...").',
                slug="files-one-by-one",
            )
        try:
            table, held = mapped(descriptor)
        except (OSError, pa.ArrowInvalid) as error:
            raise broken(str(error)) from error
    finally:
        if descriptor is not None:
            os.close(descriptor)
    found = Dataset(
        name=str(answer.get("dataset", name)),
        version=int(answer.get("version", 0)),
        label=str(answer.get("label", "secret")),
        columns=tuple(table.column_names),
        masked=dict(answer.get("masked") or {}),
        _rows=table,
        _held=held,
        synthetic=answer.get("synthetic") is True,
    )
    if synthetic and not found.synthetic:
        raise broken("the server answered with the data instead of its synthetic twin")
    _used.opened(found.name, found.columns)
    if columns is not None:
        _used.touch(found.name, columns)
    return found


class Held:
    """The memory file behind a table, which the vault may cut off."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._size = os.fstat(descriptor).st_size

    def is_gone(self) -> bool:
        return os.fstat(self._descriptor).st_size < self._size

    def __del__(self) -> None:
        os.close(self._descriptor)


def mapped(descriptor: int, *, copied: int = 0) -> tuple[pa.Table, Held | None]:
    """The Arrow file behind a descriptor, by its memory: opening it anew, read-only, is what a sealed file allows.

    One of up to `copied` bytes is copied instead. Raises OSError or ArrowInvalid.
    """
    size = os.fstat(descriptor).st_size
    if size <= copied:
        with pa.ipc.open_file(pa.py_buffer(os.pread(descriptor, size, 0))) as reader:
            return reader.read_all(), None
    held = Held(descriptor)
    with pa.memory_map(f"/proc/self/fd/{descriptor}") as source, pa.ipc.open_file(source) as reader:
        return reader.read_all(), held


def broken(detail: str) -> Unavailable:
    return Unavailable(
        "The data did not arrive whole",
        f"Nothing can be shown: {detail}.",
        next_step="Run the cell again. If it stays so, tell whoever runs this Strongroom.",
        slug="broken-data",
    )
