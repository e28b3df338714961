"""Values of obligations: how each kind is written, and which of two is the stricter."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from strongroom_policy.sizes import parse_size, written_size
from strongroom_policy.vocabulary import MASKS, TIERS, suggest

_NUMBER = re.compile(r"[0-9]{1,6}")
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
        written = (
            f"{name}={written_size(part)}" for name, part in zip(_PARTS, self.parts(), strict=True) if part is not None
        )
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
    if kind == "sandbox":
        return max(one, other, key=lambda tier: TIERS.index(str(tier)))
    return min(one, other, key=lambda mask: MASKS.index(str(mask)))


def contributes(value: Value, result: Value) -> bool:
    """Whether a row with `value` is (one of) those that made `result` what it is."""
    if isinstance(value, Budget) and isinstance(result, Budget):
        if result == UNLIMITED:
            return True
        return any(part is not None and part == held for part, held in zip(value.parts(), result.parts(), strict=True))
    return value == result


def _word(of: str, known: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"unknown {of} {text!r} - {suggest(text, known)}")
        return text

    return read


def _number(low: int, high: int, of: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"{text!r} is not a number of {of} from {low} to {high}")
        return int(text)

    return read


_BUDGET_FORM = "write for example cell=64KiB day=2MiB image=512KiB, or none, or 0"


def _budget(text: str) -> Budget:
    if text in ("none", "0"):
        return UNLIMITED if text == "none" else NOTHING
    parts: dict[str, int] = {}
    for word in text.split():
        name, equals, size = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is no limit: {_BUDGET_FORM}")
        if name not in _PARTS:
            raise ValueError(f"unknown limit {name!r} - {suggest(name, _PARTS)}")
        if name in parts:
            raise ValueError(f"{name} is given twice")
        try:
            parts[name] = parse_size(size)
        except ValueError:
            raise ValueError(f"{word!r} is no limit: {_BUDGET_FORM}") from None
    if not parts:
        raise ValueError(f"no limit given: {_BUDGET_FORM}")
    return Budget(**parts)


_READERS: dict[str, Callable[[str], Value]] = {
    "mask": _word("mask", MASKS),
    "display": _budget,
    "review": _number(1, 9, "reviewers"),
    "min-count": _number(1, 100_000, "people per cell"),
    "max-days": _number(1, 3650, "days"),
    "sandbox": _word("tier", TIERS),
}


def _smaller(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
