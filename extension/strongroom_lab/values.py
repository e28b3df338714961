"""Checked values: what all schemas are made of. A check takes a value and gives it back clean, or raises Unfit.

Rules
- Text is valid Unicode, numbers are finite and bounded, identifiers are short and of a fixed alphabet.
- A check gets `MISSING` where a field is not there; only `optional` accepts that.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable
from typing import Any

import orjson

Check = Callable[[Any], Any]
MISSING: Any = object()
"""What a check gets for a field that is not there."""
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")


class Unfit(Exception):  # noqa: N818 - a verdict on a message, not a fault of the program
    """A message that no schema knows, or whose content does not fit its schema."""


def encode(value: Any) -> bytes:
    """JSON as it goes to a browser; a number that is none becomes null. Raises Unfit for what JSON cannot say."""
    with contextlib.suppress(TypeError):  # halves of characters and whole numbers beyond 64 bits: the slow way below
        return orjson.dumps(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    except (ValueError, TypeError, RecursionError) as error:
        raise Unfit("not representable") from error


def decode(raw: str | bytes) -> Any:
    """A value from JSON, as lenient as pages and kernels are used to. Raises ValueError."""
    try:
        return orjson.loads(raw)
    except ValueError:  # halves of characters, numbers that are none, and what is no JSON at all
        return json.loads(raw)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("text expected")
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def identifier(value: Any) -> str:
    if not isinstance(value, str) or not _IDENTIFIER.match(value):
        raise Unfit("identifier expected")
    return value


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unfit("object expected")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit("true or false expected")
    return value


def number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unfit("number expected")
    return value


def lines(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Unfit("list expected")
    return [text(item) for item in value]


def joined(value: Any) -> str:
    """Text that may come as a list of lines."""
    return "".join(lines(value)) if isinstance(value, list) else text(value)


def anything(value: Any) -> Any:
    """Any JSON; what it may hold is decided elsewhere."""
    if value is MISSING:
        raise Unfit("a field is missing")
    return value


# --- makers of checks ---------------------------------------------------------------------------------------------


def optional(check: Check, default: Any) -> Check:
    """`check`, and `default` where the field is not there."""
    return lambda value: default if value is MISSING else check(value)


def nullable(check: Check) -> Check:
    """`check`, and None as it is."""
    return lambda value: None if value is None else check(value)


def at_most(limit: int) -> Check:
    """Text, cut after `limit` characters."""
    return lambda value: text(value)[:limit]


def choice(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise Unfit("unknown value")
        return value

    return check


def whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Unfit("integer expected")
        return value

    return check


def list_of(check: Check) -> Check:
    def check_all(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Unfit("list expected")
        return [check(item) for item in value]

    return check_all


def is_true(value: Any) -> bool:
    """Whatever is not true is false."""
    return value is True


def not_false(value: Any) -> bool:
    """Whatever is not false is true."""
    return value is not False
