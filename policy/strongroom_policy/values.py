"""Values of obligations: how each kind is written, and which of two is the stricter."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from strongroom_policy.vocabulary import MASKS, suggest

_NUMBER = re.compile(r"[0-9]{1,6}")
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB)?")
_UNITS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_PARTS = ("cell", "day", "image")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much output may be shown, in bytes: per cell, per day, per image. None = no limit."""

    cell: int | None = None
    day: int | None = None
    image: int | None = None

    def parts(self) -> tuple[int | None, ...]:
        return (self.cell, self.day, self.image)

    def __and__(self, other: Budget) -> Budget:
        """Both limits at once: the smaller of each part."""
        return Budget(*(_smaller(mine, yours) for mine, yours in zip(self.parts(), other.parts(), strict=True)))

    def __str__(self) -> str:
        """As one would write it in policy.csv."""
        if self == NOTHING:
            return "0"
        written = (f"{name}={_size(part)}" for name, part in zip(_PARTS, self.parts(), strict=True) if part is not None)
        return " ".join(written) or "none"


UNLIMITED = Budget()
NOTHING = Budget(0, 0, 0)

Value = str | int | Budget


def read_value(kind: str, text: str) -> Value:
    """The value of an obligation of `kind`. Raises ValueError in words that say what was expected."""
    return _READERS[kind](text)


def stricter(kind: str, one: Value, other: Value) -> Value:
    """What holds where both are owed."""
    if isinstance(one, Budget) and isinstance(other, Budget):
        return one & other
    if isinstance(one, int) and isinstance(other, int):
        return min(one, other) if kind == "max-days" else max(one, other)
    return min(one, other, key=lambda mask: MASKS.index(str(mask)))


def contributes(value: Value, result: Value) -> bool:
    """Whether a row with `value` is (one of) those that made `result` what it is."""
    if isinstance(value, Budget) and isinstance(result, Budget):
        if result == UNLIMITED:
            return True
        return any(part is not None and part == held for part, held in zip(value.parts(), result.parts(), strict=True))
    return value == result


def _mask(text: str) -> str:
    if text not in MASKS:
        raise ValueError(f"unknown mask {text!r} - {suggest(text, MASKS)}")
    return text


def _number(low: int, high: int, of: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"{text!r} is not a number of {of} from {low} to {high}")
        return int(text)

    return read


def _budget(text: str) -> Budget:
    if text in ("none", "0"):
        return UNLIMITED if text == "none" else NOTHING
    parts: dict[str, int] = {}
    for word in text.split():
        name, equals, size = word.partition("=")
        found = _SIZE.fullmatch(size)
        if not equals or found is None:
            raise ValueError(f"{word!r} is no limit: write for example cell=64KiB day=2MiB image=512KiB, or none, or 0")
        if name not in _PARTS:
            raise ValueError(f"unknown limit {name!r} - {suggest(name, _PARTS)}")
        if name in parts:
            raise ValueError(f"{name} is given twice")
        parts[name] = int(found[1]) * _UNITS[found[2]]
    if not parts:
        raise ValueError("no limit given: write for example cell=64KiB day=2MiB image=512KiB, or none, or 0")
    return Budget(**parts)


_READERS: dict[str, Callable[[str], Value]] = {
    "mask": _mask,
    "display": _budget,
    "review": _number(1, 9, "reviewers"),
    "min-count": _number(1, 100_000, "people per cell"),
    "max-days": _number(1, 3650, "days"),
}


def _smaller(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _size(count: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _UNITS[unit] == 0:
            return f"{count // _UNITS[unit]}{unit}"
    return str(count)
