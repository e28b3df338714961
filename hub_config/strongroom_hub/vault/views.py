"""Reading one view inside a worker: verified parts, only the allowed columns' keys, filters and masks in one plan."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl
from strongroom_policy import filters
from strongroom_policy.filter_polars import to_polars

from strongroom_hub.problems import Problem
from strongroom_hub.vault import arrowfile, masks, memfd
from strongroom_hub.vault.jobs import ViewJob, bad_view
from strongroom_hub.vault.manifest import Part, aad_prefix
from strongroom_hub.vault.parts import Mark, damaged, is_settled, mark_of, open_part
from strongroom_hub.vault.tokenmaps import TokenMap
from strongroom_hub.vault.tokens import Domain


@contextmanager
def open_view(job: ViewJob, checked: dict[str, Mark] | None = None) -> Iterator[pl.LazyFrame]:
    """The view as a lazy frame, valid inside the block; `checked` is given the marks of parts that were found right.

    Raises Problem naming the part that cannot be trusted.
    """
    began = time.time_ns()
    with ExitStack() as stack:
        scans = []
        for part in job.table.parts:
            before = job.checked.get(part.name)
            fd = open_part(job.folder, job.manifest.dataset, job.manifest.version, part, before)
            stack.callback(os.close, fd)
            if checked is not None and is_settled(mark := mark_of(fd), began):
                checked[part.name] = mark
            scans.append(scan_part(job, part, fd))
        yield seen(job, pl.concat(scans) if len(scans) > 1 else scans[0])


@dataclass(frozen=True, slots=True)
class Written:
    """`rows` of the view; `checked`: marks of the parts that were found right."""

    rows: int
    checked: dict[str, Mark]


def write_view(job: ViewJob, target: int, max_bytes: int, wall: Callable[[int], None]) -> Written:
    """The view as an Arrow IPC file into the memory file `target`; from `wall(max_bytes)` on no file grows further.

    Raises Problem.
    """
    checked: dict[str, Mark] = {}
    with open_view(job, checked) as view:
        wall(max_bytes)  # not before: the token map is another file
        try:
            rows = arrowfile.write(view, target)
        except (pl.exceptions.PolarsError, OSError) as error:
            if memfd.size(target) >= max_bytes:
                raise too_large(max_bytes) from error
            raise _unreadable(job, error) from error
    if memfd.size(target) > max_bytes:
        raise too_large(max_bytes)
    if rows != job.table.rows and not job.rows:
        raise damaged(job.manifest.dataset, job.manifest.version, "parts", f"{rows} rows instead of {job.table.rows}")
    return Written(rows, checked)


ROWS_PER_BATCH = 100_000
_MOST_ROWS = 10_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a view a reader wants in batches. It is applied to what the view shows, never to what is stored."""

    rows: int = ROWS_PER_BATCH
    """Of one batch, at most."""
    columns: list[str] | None = None
    where: tuple[str, ...] = ()
    """Conditions in the language of row filters; all have to hold."""
    limit: int | None = None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Wish:
        """Raises Problem 422."""
        rows, columns, where = raw.get("rows", ROWS_PER_BATCH), raw.get("columns"), raw.get("where") or []
        limit = raw.get("limit")
        if not _is_count(rows) or not 1 <= rows <= _MOST_ROWS:
            raise _bad_wish(f"A batch has 1 to {_MOST_ROWS:,} rows.")
        if columns is not None and not (_are_texts(columns) and columns and len(set(columns)) == len(columns)):
            raise _bad_wish("Columns are a list of names, each once.")
        if not _are_texts(where) or len(where) > _MOST_CONDITIONS:
            raise _bad_wish("Conditions are a short list of texts.")
        if limit is not None and not (_is_count(limit) and limit >= 0):
            raise _bad_wish("A number of rows is a whole number from 0.")
        return cls(rows, columns, tuple(where), limit)


_MOST_CONDITIONS = 64


def batches(job: ViewJob, view: pl.LazyFrame, wish: Wish, most: int) -> Iterator[pl.DataFrame]:
    """What is wanted of an open view, in its order, in batches of about `most` bytes at the largest. Raises Problem."""
    whole = not job.rows and not wish.where and wish.limit is None
    rows = 0
    try:
        for batch in _wanted(view, wish).collect_batches(chunk_size=wish.rows, engine="streaming"):
            step = min(wish.rows, max(1, batch.height * most // max(1, int(batch.estimated_size()))))
            for piece in batch.iter_slices(step):
                if piece.height:
                    rows += piece.height
                    yield piece
    except pl.exceptions.PolarsError as error:
        raise _unreadable(job, error) from error
    if whole and rows != job.table.rows:
        raise damaged(job.manifest.dataset, job.manifest.version, "parts", f"{rows} rows instead of {job.table.rows}")


def _wanted(view: pl.LazyFrame, wish: Wish) -> pl.LazyFrame:
    schema = view.collect_schema()
    try:
        conditions = [to_polars(filters.parse(text), schema) for text in wish.where]
    except ValueError as error:
        raise _bad_wish(f"{error}.") from error
    unknown = [name for name in wish.columns or () if name not in schema]
    if unknown:
        raise _bad_wish(f"The view has no column {unknown[0]!r}.")
    wanted = view.filter(conditions) if conditions else view
    if wish.columns is not None:
        wanted = wanted.select(wish.columns)
    return wanted if wish.limit is None else wanted.head(wish.limit)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and len(one) <= filters.MAX_LENGTH for one in value)


def _bad_wish(detail: str) -> Problem:
    return Problem(
        422,
        "bad-selection",
        "These rows and columns cannot be selected",
        detail,
        why=("a stream selects among the columns that its ticket allows, as they are shown",),
        next="Name columns of the view, or select after reading.",
    )


def collect_view(job: ViewJob) -> pl.DataFrame:
    """The view in memory. Raises Problem."""
    with open_view(job) as view:
        try:
            return view.collect()
        except pl.exceptions.PolarsError as error:
            raise _unreadable(job, error) from error


def identify(job: ViewJob, tokens: list[str]) -> dict[str, str]:
    """Those of these tokens that stand for a value of the view's only column, each with the value. Raises Problem."""
    (name,) = job.columns
    assert job.tokens is not None  # noqa: S101 - prepared with it
    with open_view(job) as view:
        dtype = view.collect_schema()[name]
        values = view.select(masks.for_tokens(name, dtype).cast(pl.String).alias("value").drop_nulls())
        try:
            return TokenMap(job.tokens, job.project_key, Domain.of(dtype)).values_of(tokens, values)
        except pl.exceptions.PolarsError as error:
            raise _unreadable(job, error) from error


def too_large(max_bytes: int) -> Problem:
    return Problem(
        413,
        "view-too-large",
        "The view is larger than allowed",
        f"More than {max_bytes / (1 << 20):,.1f} MiB would go into one kernel at once.",
        why=("the ticket's max_bytes, and what this kernel and all together may hold",),
        next="Open fewer columns, let go of other opened data, or read it in batches: "
        'strongroom.open("namespace/name", stream=True).iter_batches().',
    )


def seen(job: ViewJob, stored: pl.LazyFrame) -> pl.LazyFrame:
    """What the view shows of the stored table. Raises Problem.

    Rows kept, then columns masked: polars reads no row group in which its statistics show no row to keep.
    """
    schema = stored.collect_schema()
    try:
        kept = stored.filter([to_polars(filters.parse(text), schema) for text in job.rows]) if job.rows else stored
        if not masks.needed_columns(job.columns, job.masks):
            kept = _nothing(job, kept)
        caps = _caps(job, stored)
        keys = masks.Keys.of(job.project_key) if job.project_key else masks.Keys()
        tokens = _tokens(job, kept, schema)
        expressions = masks.masked(job.columns, job.masks, schema, keys=keys, caps=caps, tokens=tokens)
    except ValueError as error:
        raise bad_view(f"{error}.") from error
    return cleared(kept.with_columns(expressions).select(job.columns))


def cleared(view: pl.LazyFrame) -> pl.LazyFrame:
    """The view with zeros (or empty texts) in the places of missing values.

    polars leaves there what its Parquet reader put there: the value of a row further down, perhaps of one that a filter
    took out, or one beyond a cap. No library shows it, but who holds the file can read it.
    """
    return view.select(_cleared(name, dtype) for name, dtype in view.collect_schema().items())


def _cleared(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        zero = pl.lit("")
    elif dtype == pl.Boolean:
        zero = pl.lit(value=False)
    else:
        zero = pl.lit(0).cast(dtype)
    return pl.when(column.is_not_null()).then(column.fill_null(zero)).alias(name)


def _nothing(job: ViewJob, kept: pl.LazyFrame) -> pl.LazyFrame:
    """As many rows, of nothing: where all columns are constants, polars would take any column to count them by."""
    rows = job.table.rows
    if job.column_keys:
        try:
            rows = kept.select(next(iter(job.column_keys))).collect().height
        except pl.exceptions.PolarsError as error:
            raise _unreadable(job, error) from error
    elif job.rows:
        rows = (
            pl.repeat(None, rows, eager=True)
            .to_frame()
            .filter([to_polars(filters.parse(text), {}) for text in job.rows])
            .height
        )
    return pl.LazyFrame({job.table.columns[0].name: pl.repeat(None, rows, eager=True)})


def _caps(job: ViewJob, stored: pl.LazyFrame) -> dict[str, masks.Cap_]:
    """Quantiles of the whole version: of a few rows they would be other ones, and tell their greatest values."""
    wanted = masks.caps_wanted(job.columns, job.masks)
    if not wanted:
        return {}
    try:
        return {name: masks.find_cap(stored.select(name).collect()[name], mask) for name, mask in wanted.items()}
    except pl.exceptions.PolarsError as error:
        raise _unreadable(job, error) from error


def _tokens(
    job: ViewJob, kept: pl.LazyFrame, schema: Mapping[str, pl.DataType]
) -> dict[str, tuple[pl.Series, pl.Series]]:
    """The values that will be seen, and their tokens, all of which are in the map when this returns."""
    found: dict[str, tuple[pl.Series, pl.Series]] = {}
    for name in masks.tokens_wanted(job.columns, job.masks):
        assert job.tokens is not None  # noqa: S101 - prepared with it
        try:
            values = kept.select(masks.for_tokens(name, schema[name]).unique().drop_nulls()).collect()[name]
        except pl.exceptions.PolarsError as error:
            raise _unreadable(job, error) from error
        tokens = TokenMap(job.tokens, job.project_key, Domain.of(schema[name])).tokens(values.cast(pl.String))
        found[name] = values, tokens.cast(values.dtype)
    return found


def scan_part(job: ViewJob, part: Part, fd: int) -> pl.LazyFrame:
    """The columns of an open part whose keys the job has. Raises Problem where it is not what the manifest says."""
    manifest = job.manifest
    decryption = pl.ParquetDecryptionProperties(
        footer_key=job.footer_key,
        column_keys=job.column_keys,
        aad_prefix=aad_prefix(manifest.dataset, manifest.version, part.name),
    )
    try:
        scan = pl.scan_parquet(memfd.path(fd), decryption=decryption, glob=False, cache=False, hive_partitioning=False)
        schema = scan.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise damaged(manifest.dataset, manifest.version, part.name, _kind(error)) from error
    described = [(column.name, column.type) for column in job.table.columns]
    if [(name, str(dtype)) for name, dtype in schema.items()] != described:
        raise damaged(manifest.dataset, manifest.version, part.name, "its columns are not those of the manifest")
    return scan


def _unreadable(job: ViewJob, error: Exception) -> Problem:
    return damaged(job.manifest.dataset, job.manifest.version, "a part", _kind(error))


def _kind(error: Exception) -> str:
    # polars' own words may hold a plan, and a plan holds keys
    return f"it does not decrypt ({type(error).__name__})"
