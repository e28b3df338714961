"""Masks as polars expressions. The type of a masked column follows from mask and column type, never from the data.

| method | result | what it gives away |
|---|---|---|
| null | the column's own type, every value missing | nothing |
| redact | text, every value `[redacted]` (missing ones too) | nothing |
| hash | 32 hex digits of HMAC-SHA256(project's key, the value's text); missing stays missing | which rows are equal |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl
import polars_hash as plh

Method = Literal["null", "redact", "hash"]
REDACTED = "[redacted]"
HASH_DIGITS = 32
"""128 bits: no two of 10^9 values share a pseudonym."""


def needs_value(method: Method | None) -> bool:
    """Whether the column must be decrypted at all for this mask (None: no mask)."""
    return method in (None, "hash")


def project(
    columns: Sequence[str],
    masks: Mapping[str, Method],
    schema: Mapping[str, pl.DataType],
    *,
    rows: int,
    project_key: str,
) -> list[pl.Expr]:
    """One expression per column, in order, for a table of `rows` rows and `schema`.

    `project_key` is hex text. Raises KeyError for a column that the schema does not have.
    """
    return [_masked(name, masks.get(name), schema[name], rows, project_key) for name in columns]


def _masked(name: str, method: Method | None, dtype: pl.DataType, rows: int, project_key: str) -> pl.Expr:
    if method is None:
        return pl.col(name)
    if method == "hash":
        digest = plh.col(name).cast(pl.String).chash.hmac_sha256(key=project_key)  # type: ignore[attr-defined]
        expression: pl.Expr = digest.str.slice(0, HASH_DIGITS)
    elif method == "redact":
        expression = pl.repeat(REDACTED, rows, dtype=pl.String)
    else:
        expression = pl.repeat(None, rows, dtype=dtype)
    return expression.alias(name)
