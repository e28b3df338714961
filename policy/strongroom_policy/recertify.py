"""Which rows nobody has looked at for long: rules outlive their reasons unless somebody asks.

Who looks at rows says so in a comment above them, which holds up to the next blank line:

    # certified 2026-03-01 by user:dora

Where no such line stands, a row is as old as its first coming into force (where that is known), or as its `since`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from strongroom_policy.adapter import CellError, decode
from strongroom_policy.engine import Sources
from strongroom_policy.files import is_rules, rank
from strongroom_policy.reader import Reader
from strongroom_policy.rows import Row, Rule

NOBODY = "nobody"
_CERTIFIED = re.compile(r"\s*#\s*certified\s+([0-9]{4}-[0-9]{2}-[0-9]{2})\s+by\s+(\S+?)[.,;:]?(?:\s.*)?", re.IGNORECASE)
_ASKED = frozenset({"p", "p2", "g"})
_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Standing:
    """One row and when somebody last stood for it. `by` says what `on` is: certified, in force since, holds since."""

    row: Row
    owner: str
    """As the comment names them; `nobody` without one."""
    on: date | None
    by: str
    overdue: bool

    @property
    def says(self) -> str:
        """The row, as it may be pasted into a mail."""
        return ", ".join((self.row.ptype, *self.row.fields))

    @property
    def text(self) -> str:
        named = self.row.fields[0] if self.row.ptype != "g" else " in ".join(self.row.fields[:2])
        return f"{self.row.place}: {named}, " + (f"{self.by} {self.on}" if self.on else "nobody knows since when")


def standings(
    files: Mapping[str, bytes], sources: Sources, today: date, months: int, first_seen: Mapping[tuple[str, ...], date]
) -> tuple[Standing, ...]:
    """Every rule, obligation and membership of `files`, in their order; overdue where it is older than `months`.

    `sources`: the same files, read. `first_seen`: by `key_of` a row, the day on which it first came into force. A row
    of which nothing is known is overdue.
    """
    told = {name: _certified(files[name]) for name in sorted(files, key=rank) if is_rules(name)}
    limit = _back(today, months)
    found = []
    for row in sources.rows:
        if row.ptype in _ASKED:
            certified = told[row.origin].get(row.line)
            on, by = (certified[0], "certified") if certified else _age(row, sources, first_seen)
            owner = certified[1] if certified else NOBODY
            found.append(Standing(row, owner, on, by, on is None or on <= limit))
    return tuple(found)


def standing_json(one: Standing) -> dict[str, str | None]:
    """One overdue row, for command line and console."""
    on = None if one.on is None else one.on.isoformat()
    return {"place": one.row.place, "owner": one.owner, "on": on, "text": one.text, "says": one.says}


def key_of(row: Row) -> tuple[str, ...]:
    """What makes a row the same one as in an earlier version, wherever it stands."""
    return (row.ptype, *row.fields)


def _age(row: Row, sources: Sources, first_seen: Mapping[tuple[str, ...], date]) -> tuple[date | None, str]:
    seen = first_seen.get(key_of(row))
    if seen is not None:
        return seen, "in force since"
    (typed,) = Reader(sources.settings, sources.masks).read([row]) or (None,)
    since = typed.since if isinstance(typed, Rule) else ""
    return (date.fromisoformat(since[:10]) if since else None), "holds since"


def _certified(raw: bytes) -> dict[int, tuple[date, str]]:
    """By line: the day and the owner of the certification above it."""
    return dict(_lines(raw))


def _lines(raw: bytes) -> Iterator[tuple[int, tuple[date, str]]]:
    standing: tuple[date, str] | None = None
    try:
        lines = decode(raw, "").split("\n")
    except CellError:
        return
    for number, line in enumerate(lines, start=1):
        found = _CERTIFIED.fullmatch(line.rstrip())
        if found is not None:
            standing = _day(found[1], found[2])
        elif not line.strip():
            standing = None
        elif standing is not None:
            yield number, standing


def _day(text: str, owner: str) -> tuple[date, str] | None:
    try:
        return date.fromisoformat(text), owner
    except ValueError:
        return None


def _back(today: date, months: int) -> date:
    """The same day so many months ago; the last of that month where it is shorter."""
    year, month = divmod(today.year * _MONTHS + today.month - 1 - months, _MONTHS)
    return date(year, month + 1, min(today.day, monthrange(year, month + 1)[1]))
