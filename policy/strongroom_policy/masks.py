"""Masks: how each is written, what it does to a column, and what holds where two are owed.

Of two masks the stricter is the one whose result could be made from the other's. `null` (nothing) is stricter than
`redact` (a constant), and that than all others; `hash` is stricter than `token`, which can be turned back; of one
method the parameter decides. Where neither can be made from the other (a pseudonym, and the month of a date) nothing
of the column may be told: `redact` holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from strongroom_policy.filter_types import Kind
from strongroom_policy.vocabulary import suggest

_WRITTEN = re.compile(r"([a-z-]+)(?:\(([^()]*)\))?")
_MAX_PREFIX, _MAX_DIGITS, _MAX_WIDTH = 64, 9, 10**9
_DECIMALS = 6
UNITS = ("year", "quarter", "month", "day")
"""What `date(...)` leaves of a date, strictest first."""

Parameter = str | int | Fraction | None
_TOO_COARSE = "too coarse"


@dataclass(frozen=True, slots=True)
class Mask:
    """One mask. `str()` is its text as one would write it in policy.csv, always the same for the same mask."""

    method: str
    parameter: Parameter = None

    def __str__(self) -> str:
        if self.parameter is None:
            return self.method
        return f"{self.method}({'width=' if self.method == 'generalise' else ''}{self.shown})"

    @property
    def shown(self) -> str:
        """The parameter as text: an exact decimal, a whole number or a word; empty where there is none."""
        if self.parameter is None:
            return ""
        return _decimal(self.parameter) if isinstance(self.parameter, Fraction) else str(self.parameter)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of masking: how its parameter is read, which columns it suits, and the join of two parameters."""

    does: str
    form: str
    read: Callable[[str], Parameter] | None
    suits: frozenset[Kind]
    join: Callable[[Parameter, Parameter], Parameter]


def parse_mask(text: str) -> Mask:
    """The mask that `text` says. Raises ValueError in words."""
    found = _WRITTEN.fullmatch(text)
    name = found[1] if found else text.partition("(")[0]
    method = METHODS.get(name)
    if method is None:
        raise ValueError(f"unknown mask {text!r} - {suggest(name, METHODS)}")
    if found is None or (found[2] is None) != (method.read is None):
        raise ValueError(f"{text!r}: write {method.form}")
    if method.read is None:
        return Mask(name)
    try:
        return Mask(name, method.read(found[2]))
    except ValueError:
        raise ValueError(f"{text!r}: write {method.form}") from None


def join(one: Mask, other: Mask) -> Mask:
    """The least strict mask that is as strict as both."""
    if one.method == other.method:
        parameter = METHODS[one.method].join(one.parameter, other.parameter)
        return Mask("redact") if parameter is _TOO_COARSE else Mask(one.method, parameter)
    pair = {one.method, other.method}
    for strongest in ("null", "redact"):
        if strongest in pair:
            return Mask(strongest)
    return Mask("hash") if pair == {"hash", "token"} else Mask("redact")


def conflict(one: Mask, other: Mask) -> bool:
    """Whether neither is as strict as the other, and no mask of their kind is as strict as both."""
    return join(one, other) == Mask("redact") and Mask("redact") not in (one, other)


def unsuited(mask: Mask, kind: Kind) -> str:
    """Why a column that holds `kind` cannot be masked so; empty where it can."""
    if kind in METHODS[mask.method].suits:
        return ""
    wanted = " or ".join(sorted(METHODS[mask.method].suits))
    return f"{mask} is for columns of {wanted}, this one holds {kind}"


def needed(masks: Iterable[str]) -> frozenset[str]:
    """The methods of these masks (as texts)."""
    return frozenset(parse_mask(text).method for text in masks)


def _same(one: Parameter, _: Parameter) -> Parameter:
    return one


def _least(one: Parameter, other: Parameter) -> Parameter:
    assert isinstance(one, int | Fraction)  # noqa: S101 - of one method
    assert isinstance(other, int | Fraction)  # noqa: S101
    return min(one, other)


def _greatest(one: Parameter, other: Parameter) -> Parameter:
    assert isinstance(one, Fraction)  # noqa: S101 - of one method
    assert isinstance(other, Fraction)  # noqa: S101
    return max(one, other)


def _coarser_unit(one: Parameter, other: Parameter) -> Parameter:
    return min(str(one), str(other), key=UNITS.index)


def _common_width(one: Parameter, other: Parameter) -> Parameter:
    """Classes of both widths fit into classes of their least common multiple."""
    left, right = Fraction(one or 0), Fraction(other or 0)
    numerator = math.lcm(left.numerator * right.denominator, right.numerator * left.denominator)
    width = Fraction(numerator, left.denominator * right.denominator)
    return width if width <= _MAX_WIDTH else _TOO_COARSE


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,3}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return read


def _width(text: str) -> Fraction:
    name, _, number = text.partition("=")
    width = _number(number)
    if name != "width" or not 0 < width <= _MAX_WIDTH:
        raise ValueError
    return width


def _quantile(text: str) -> Fraction:
    share = _number(text)
    if not Fraction(1, 2) <= share < 1:
        raise ValueError
    return share


def _low_quantile(text: str) -> Fraction:
    share = _number(text)
    if not 0 < share <= Fraction(1, 2):
        raise ValueError
    return share


def _number(text: str) -> Fraction:
    if not re.fullmatch(rf"[0-9]{{1,10}}(\.[0-9]{{1,{_DECIMALS}}})?", text):
        raise ValueError
    try:
        return Fraction(Decimal(text))
    except InvalidOperation:
        raise ValueError from None


def _decimal(value: Fraction) -> str:
    return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"


def _unit(text: str) -> str:
    if text not in UNITS:
        raise ValueError
    return text


_ANY = frozenset(Kind)
_CALENDAR = frozenset({Kind.DATE, Kind.TIME})
_NUMBERS = frozenset({Kind.NUMBER})
_VALUES = _ANY - {Kind.OTHER}
_NAMES = frozenset({Kind.TEXT, Kind.NUMBER})  # of a date or a truth the form says too much
METHODS: dict[str, Method] = {
    "null": Method("nothing: every value is missing", "null", None, _ANY, _same),
    "redact": Method("a constant text", "redact", None, _ANY, _same),
    "hash": Method("a keyed pseudonym of the project", "hash", None, _VALUES, _same),
    "token": Method("a pseudonym that can be turned back", "token", None, _NAMES, _same),
    "generalise": Method("the class it falls into", "generalise(width=5)", _width, _NUMBERS, _common_width),
    "prefix": Method("its first characters", "prefix(3)", _whole(1, _MAX_PREFIX), frozenset({Kind.TEXT}), _least),
    "date": Method("the date's " + ", ".join(UNITS), "date(month)", _unit, _CALENDAR, _coarser_unit),
    "round": Method("so many decimals", "round(2)", _whole(-_MAX_DIGITS, _MAX_DIGITS), _NUMBERS, _least),
    "topcode": Method("at most that quantile", "topcode(0.99)", _quantile, _NUMBERS, _least),
    "bottomcode": Method("at least that quantile", "bottomcode(0.01)", _low_quantile, _NUMBERS, _greatest),
    "shift-date": Method("moved by days that differ between people", "shift-date", None, _CALENDAR, _same),
}
"""All methods that the language has; an enforcement point says which of them it carries out."""
