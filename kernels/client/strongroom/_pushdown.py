"""What of a polars predicate can be said to the vault in its own language of row filters.

Only what means exactly the same there; the rest, and all of it once more, is applied here. Expressions themselves never
leave the kernel: an expression can carry code.
"""

from __future__ import annotations

import io
import json
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_SIGNS = {"Eq": "=", "NotEq": "!=", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_TURNED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MOST_VALUES = 50
_MOST_CHARACTERS = 1000
_DIGITS, _DECIMALS = 18, 12


def conditions(predicate: pl.Expr, schema: pl.Schema) -> list[str]:
    """Filters that hold for every row for which `predicate` does; empty where there is nothing to say."""
    try:
        tree = json.loads(predicate.meta.serialize(format="json"))
    except Exception:  # noqa: BLE001 - polars may keep such forms to itself: then all is applied here
        return []
    return _conjuncts(tree, schema)


def _conjuncts(tree: Any, schema: pl.Schema) -> list[str]:
    binary = _node(tree, "BinaryExpr")
    if binary is not None and binary.get("op") == "And":
        return _conjuncts(binary["left"], schema) + _conjuncts(binary["right"], schema)
    text = _test(tree, schema)
    return [text] if text else []


def _test(tree: Any, schema: pl.Schema) -> str | None:
    binary, function = _node(tree, "BinaryExpr"), _node(tree, "Function")
    if binary is not None and binary.get("op") in _SIGNS:
        sign = _SIGNS[binary["op"]]
        left, right = _node(binary["left"], "Column"), _node(binary["right"], "Column")
        if left is None and right is not None:
            return _comparison(right, _TURNED[sign], binary["left"], schema)
        return None if left is None else _comparison(left, sign, binary["right"], schema)
    if function is not None:
        what = function.get("function", {}).get("Boolean") if isinstance(function.get("function"), dict) else None
        column = _node(function["input"][0], "Column")
        if column in schema and what in ("IsNull", "IsNotNull"):
            return f"{_name(column)} is {'not ' if what == 'IsNotNull' else ''}null"
        if column in schema and what == {"IsIn": {"nulls_equal": False}}:
            return _among(column, function["input"][1], schema)
    return None


def _comparison(column: str, sign: str, literal: Any, schema: pl.Schema) -> str | None:
    text = _text(_value(literal), schema.get(column))
    return None if text is None else f"{_name(column)} {sign} {text}"


def _among(column: str, literal: Any, schema: pl.Schema) -> str | None:
    found = _value(literal)
    values = found.to_list() if hasattr(found, "to_list") else found
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_VALUES:
        return None
    texts = [_text(value, schema.get(column)) for value in values]
    return None if None in texts else f"{_name(column)} in ({', '.join(text for text in texts if text)})"


def _value(tree: Any) -> Any:
    """What a literal says; None where it is none."""
    import polars as pl  # noqa: PLC0415 - only where it is wanted

    said = json.dumps(tree)
    if '"Column"' in said or '"Function"' in said or '"Literal"' not in said:
        return None
    try:
        return pl.select(pl.Expr.deserialize(io.StringIO(said), format="json")).item()
    except Exception:  # noqa: BLE001 - not a plain value
        return None


def _text(value: Any, dtype: Any) -> str | None:
    """As the language writes it, where it means the same beside a column of this type."""
    import polars as pl  # noqa: PLC0415

    if isinstance(value, bool):
        return str(value).lower() if dtype == pl.Boolean else None
    if isinstance(value, str) and dtype == pl.String and value.isprintable() and len(value) <= _MOST_CHARACTERS:
        return "'" + value.replace("'", "''") + "'"
    if type(value) is date and dtype == pl.Date and value.year > 999:  # noqa: PLR2004 - four digits
        return value.isoformat()
    if isinstance(value, int | float) and dtype in {pl.Int64, pl.Int32, pl.Float64}:
        return _number(value)
    return None


def _number(value: float) -> str | None:
    exact = Decimal(repr(value))
    if not exact.is_finite():
        return None
    text = format(exact, "f")
    whole, _, decimals = text.lstrip("-").partition(".")
    return text if len(whole) <= _DIGITS and len(decimals) <= _DECIMALS else None


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _node(tree: Any, kind: str) -> Any:
    return tree.get(kind) if isinstance(tree, dict) else None
