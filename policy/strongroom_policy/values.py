"""Values of obligations: how each kind is written, and what holds where two are owed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from strongroom_policy import filters
from strongroom_policy.masks import join as join_masks
from strongroom_policy.masks import parse_mask
from strongroom_policy.sizes import parse_size, written_size
from strongroom_policy.vocabulary import COURSE, TIERS, suggest

_NUMBER = re.compile(r"[0-9]{1,6}")
_PARTS = ("cell", "day", "image")
_MAX_DAYS = 3650
_MAX_MINUTES = 7 * 24 * 60
_MAX_EPSILON = 100


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


@dataclass(frozen=True, slots=True)
class Rows:
    """Row filters that all have to hold, as canonical texts, sorted."""

    filters: tuple[str, ...]

    def __and__(self, other: Rows) -> Rows:
        return Rows(tuple(sorted({*self.filters, *other.filters})))

    def __str__(self) -> str:
        if len(self.filters) == 1:
            return self.filters[0]
        return " and ".join(f"({one})" for one in self.filters)

    def columns(self) -> frozenset[str]:
        """The columns that must be read to decide which rows are kept, whether or not they are shown."""
        return frozenset(name for one in self.filters for name in filters.columns(filters.parse(one)))

    def bound(self, *, project: str, today: date) -> tuple[str, ...]:
        """The filters for one reading, each a text that names neither `today()` nor `user.project` (a bare name)."""
        return tuple(str(filters.bound(filters.parse(one), project=project, today=today)) for one in self.filters)


NO_ROWS = Rows((str(filters.NOTHING),))


@dataclass(frozen=True, slots=True)
class DpBudget:
    """What the answers of differentially private queries may add up to, per project, in `days` (None = for ever)."""

    epsilon: float
    delta: float = 0.0
    days: int | None = None

    def __and__(self, other: DpBudget) -> DpBudget:
        """Both at once: the smaller losses in the longer time."""
        longer = None if self.days is None or other.days is None else max(self.days, other.days)
        return DpBudget(min(self.epsilon, other.epsilon), min(self.delta, other.delta), longer)

    def __str__(self) -> str:
        delta = f" delta={self.delta!r}" if self.delta else ""
        return f"epsilon={self.epsilon!r}{delta}" + (f" days={self.days}" if self.days is not None else "")


@dataclass(frozen=True, slots=True)
class Training:
    """Courses that must have been passed, each with the days after which it must be repeated (None = never)."""

    courses: tuple[tuple[str, int | None], ...]

    def __and__(self, other: Training) -> Training:
        """All courses of both, each by the shorter time."""
        held = dict(self.courses)
        for name, days in other.courses:
            held[name] = _smaller(held.get(name), days)
        return Training(tuple(sorted(held.items(), key=lambda pair: pair[0])))

    def __str__(self) -> str:
        return " ".join(name if days is None else f"{name}={days}" for name, days in self.courses)


@dataclass(frozen=True, slots=True)
class Session:
    """How long a kernel that has read the data may live."""

    minutes: int

    def __and__(self, other: Session) -> Session:
        return Session(min(self.minutes, other.minutes))

    def __str__(self) -> str:
        hours, rest = divmod(self.minutes, 60)
        return f"{self.minutes}min" if rest or not hours else f"{hours}h"


Value = str | int | Budget | Rows | DpBudget | Training | Session


def read_value(kind: str, text: str) -> Value:
    """The value of an obligation of `kind`. Raises ValueError in words that say what was expected."""
    return _KINDS[kind].read(text)


def stricter(kind: str, one: Value, other: Value) -> Value:
    """The least strict value that is as strict as both: what holds where both are owed."""
    value: Value = _KINDS[kind].join(one, other)
    return value


def contributes(kind: str, value: Value, result: Value) -> bool:
    """Whether a row with `value` is (one of) those that made `result` what it is."""
    return _KINDS[kind].part(value, result)


@dataclass(frozen=True, slots=True)
class _Kind:
    read: Callable[[str], Value]
    join: Callable[[Any, Any], Any]
    part: Callable[[Any, Any], bool] = lambda value, result: bool(value == result)


def _both(one: Any, other: Any) -> Any:
    return one & other


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


def _parts(text: str, names: tuple[str, ...], form: str) -> dict[str, str]:
    """`cell=1KiB day=2MiB` by name. Raises ValueError for an unknown name, a second one, or none at all."""
    parts: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise ValueError(f"{word!r} is no limit: {form}")
        if name not in names:
            raise ValueError(f"unknown limit {name!r} - {suggest(name, names)}")
        if name in parts:
            raise ValueError(f"{name} is given twice")
        parts[name] = value
    if not parts:
        raise ValueError(f"no limit given: {form}")
    return parts


_BUDGET_FORM = "write for example cell=64KiB day=2MiB image=512KiB, or none, or 0"


def _budget(text: str) -> Budget:
    if text in ("none", "0"):
        return UNLIMITED if text == "none" else NOTHING
    parts = _parts(text, _PARTS, _BUDGET_FORM)
    try:
        return Budget(**{name: parse_size(value) for name, value in parts.items()})
    except ValueError:
        raise ValueError(f"{text!r} is no limit: {_BUDGET_FORM}") from None


def _budget_part(value: Budget, result: Budget) -> bool:
    if result == UNLIMITED:
        return True
    return any(part is not None and part == held for part, held in zip(value.parts(), result.parts(), strict=True))


_DP_FORM = "write for example epsilon=1.0 days=90, or epsilon=0.5 delta=1e-6 days=365"
_EPSILON = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")
_DELTA = re.compile(r"0\.[0-9]{1,12}|[1-9](\.[0-9]{1,6})?e-[0-9]{1,2}")


def _dp_budget(text: str) -> DpBudget:
    parts = _parts(text, ("epsilon", "delta", "days"), _DP_FORM)
    epsilon, delta, days = (parts.get(name, "") for name in ("epsilon", "delta", "days"))
    if not _EPSILON.fullmatch(epsilon) or not 0 < float(epsilon) <= _MAX_EPSILON:
        raise ValueError(f"epsilon is more than 0 and at most {_MAX_EPSILON}: {_DP_FORM}")
    if delta and not (_DELTA.fullmatch(delta) and 0 < float(delta) < 1):
        raise ValueError(f"delta is a small number: {_DP_FORM}")
    period = _number(1, _MAX_DAYS, "days")(days) if days else None
    return DpBudget(float(epsilon), float(delta or 0), period)


def _dp_part(value: DpBudget, result: DpBudget) -> bool:
    return value.epsilon == result.epsilon or value.delta == result.delta or value.days == result.days


_TRAINING_FORM = "write the courses, each with the days it holds: gdpr=365 statistics"


def _training(text: str) -> Training:
    held: dict[str, int | None] = {}
    for word in text.split():
        name, equals, days = word.partition("=")
        if not COURSE.fullmatch(name) or (equals and not days):
            raise ValueError(f"{word!r} is no course: {_TRAINING_FORM}")
        if name in held:
            raise ValueError(f"the course {name} is given twice")
        held[name] = _number(1, _MAX_DAYS, "days")(days) if equals else None
    if not held:
        raise ValueError(f"no course given: {_TRAINING_FORM}")
    return Training(tuple(sorted(held.items(), key=lambda pair: pair[0])))


def _training_part(value: Training, result: Training) -> bool:
    return not set(value.courses).isdisjoint(result.courses)


def _session(text: str) -> Session:
    found = re.fullmatch(r"([0-9]{1,5})(min|h)", text)
    minutes = 0 if found is None else int(found[1]) * (60 if found[2] == "h" else 1)
    if not 1 <= minutes <= _MAX_MINUTES:
        raise ValueError(f"{text!r} is no length of a session: write 90min or 8h, at most {_MAX_MINUTES // 60}h")
    return Session(minutes)


def _rows(text: str) -> Rows:
    written = str(filters.parse(text))
    if len(written) > filters.MAX_WRITTEN:
        raise ValueError(
            f"the filter is longer than {filters.MAX_WRITTEN} characters: keep a column for it in the data"
        )
    return Rows((written,))


_KINDS: dict[str, _Kind] = {
    "mask": _Kind(
        lambda text: str(parse_mask(text)), lambda one, other: str(join_masks(parse_mask(one), parse_mask(other)))
    ),
    "display": _Kind(_budget, _both, _budget_part),
    "review": _Kind(_number(1, 9, "reviewers"), max),
    "min-count": _Kind(_number(1, 100_000, "people per cell"), max),
    "max-days": _Kind(_number(1, _MAX_DAYS, "days"), min),
    "sandbox": _Kind(_word("tier", TIERS), lambda one, other: max(one, other, key=TIERS.index)),
    "rows": _Kind(_rows, _both, lambda value, result: set(value.filters) <= set(result.filters)),
    "dp-budget": _Kind(_dp_budget, _both, _dp_part),
    "training": _Kind(_training, _both, _training_part),
    "session": _Kind(_session, _both),
}


def _smaller(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
