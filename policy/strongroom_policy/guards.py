"""guards.toml: what no policy here may ever allow, whatever its rows say; with a counterexample where one does.

A guard looks at decisions and memberships, not at rows, so it holds against rules that nobody thought of when it was
written. It is asked about all that is known by name and about examples of the rest (universe.py). Files are tried
alone, as in tests.csv, and then with the grants that there are; a grant, and a dataset, is tried when it is made.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, pairwise, product
from typing import TYPE_CHECKING, Any

from strongroom_policy import times
from strongroom_policy.adapter import read_toml
from strongroom_policy.errors import Finding
from strongroom_policy.index import path
from strongroom_policy.reach import Classes, People, Reach, Things, edges
from strongroom_policy.rows import Member, Row, Rule
from strongroom_policy.universe import Universe
from strongroom_policy.values import Value, read_value, stricter
from strongroom_policy.vocabulary import (
    ACTIONS,
    ANYONE,
    CLEARANCES,
    KINDS,
    LABEL_OBJECTS,
    NAMESPACE,
    ROW_ID,
    SUBJECT,
    TAG,
    is_object,
    suggest,
    suits,
)

if TYPE_CHECKING:
    from strongroom_policy.engine import Policy

GUARDS_FILE = "guards.toml"
_SHOWN = 3
"""Counterexamples that are told of one guard."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One section of guards.toml; which fields it has says its kind (FIELDS)."""

    name: str
    line: int
    kind: str
    why: str
    may: tuple[str, ...] = ()
    on: str = ANYONE
    who: str = ANYONE
    unless: str = ""
    project: str = ANYONE
    groups: tuple[str, ...] = ()
    people: int = 1
    owing: tuple[str, Value] = ("", "")

    @property
    def said(self) -> Guard:
        """What it says, wherever it stands and for whatever reason: two guards that say the same are one."""
        return replace(self, name="", line=0, why="")

    @property
    def names(self) -> frozenset[str]:
        """The subjects that it speaks of."""
        return frozenset({self.who, self.unless, self.project, *self.groups}) - {"", ANYONE}

    def binds(self, people: People) -> bool:
        held = people.names[0]
        return (self.who == ANYONE or self.who in held) and self.unless not in held

    def covers(self, things: Things) -> bool:
        return self.on == ANYONE or self.on in things.names[0]

    def broken(self, text: str) -> Finding:
        return Finding(GUARDS_FILE, self.line, f"the guard {self.name} is broken: {text}", self.why)


# -- reading ----------------------------------------------------------------------------------------------------------


def read_guards(raw: bytes, findings: list[Finding]) -> tuple[Guard, ...]:
    """The guards in file order; on findings they are not to be used."""
    said = read_toml(raw, GUARDS_FILE, findings)
    places = {
        found[1].decode(): number for number, found in enumerate(map(_SECTION.match, raw.splitlines()), 1) if found
    }
    read = (_guard(name, section, places.get(name, 0), findings) for name, section in (said or {}).items())
    return tuple(guard for guard in read if guard is not None)


def _guard(name: str, section: Any, line: int, findings: list[Finding]) -> Guard | None:
    before = len(findings)

    def report(message: str, hint: str = "") -> None:
        findings.append(Finding(GUARDS_FILE, line, f"[{name}] {message}", hint))

    if not isinstance(section, dict) or not ROW_ID.fullmatch(name):
        report("is no section", "a guard is a section such as [no-names] with its keys below it")
        return None
    kind = section.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS:
        report(f"unknown kind {kind!r}", suggest(str(kind), FIELDS))
        return None
    needed, may_be = FIELDS[kind]
    for key in section.keys() - {"kind", "why", *needed, *may_be}:
        report(f"{kind} has no key {key!r}", suggest(key, ("why", *needed, *may_be)))
    for key in ("why", *needed):
        if key not in section:
            report(f"{key} is missing", f"{kind} needs: {', '.join(('why', *needed))}")
    values: dict[str, Any] = {}
    for key in section.keys() & _READ.keys():
        try:
            values[key] = _READ[key](section[key])
        except ValueError as error:
            report(f"{key}: {error}")
    if kind == "never-both" and len(values.get("may", ("", ""))) < _PAIR:
        report("may: name at least two actions that nobody may have together")
    return Guard(name=name, line=line, kind=kind, **values) if len(findings) == before else None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text in quotes")
    return value.strip()


def _actions(value: Any) -> tuple[str, ...]:
    for word in _list(value):
        if word not in ACTIONS:
            raise ValueError(f"unknown action {word!r} - {suggest(word, ACTIONS)}")
    return _list(value)


def _list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise ValueError('write a list of texts, as in ["read", "display"]')
    if len(set(value)) < len(value):
        raise ValueError("a word stands there twice")
    return tuple(value)


def _subject(value: Any) -> str:
    if value != ANYONE and not SUBJECT.fullmatch(_text(value)):
        raise ValueError(f"{value!r} is nobody: write user:, role:, project:, group: or clearance:NAME, or *")
    return str(value)


def _subjects(value: Any) -> tuple[str, ...]:
    if len(_list(value)) < _PAIR:
        raise ValueError("name at least two")
    return tuple(_subject(one) for one in value)


def _project(value: Any) -> str:
    if value != ANYONE and not _subject(value).startswith("project:"):
        raise ValueError(f"{value!r} is no project: write project:NAME, or * for any project")
    return str(value)


def _pattern(value: Any) -> str:
    name = _text(value)
    if name == ANYONE or name in LABEL_OBJECTS or is_object(name) or NAMESPACE.fullmatch(name) or TAG.fullmatch(name):
        return name
    raise ValueError(f"{name!r} is no object: write a dataset, ns/**, tag:NAME, label:LABEL, policy, log, system or *")


def _people(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_PEOPLE:
        raise ValueError(f"{value!r} is no number from 1 to {_MOST_PEOPLE}")
    return value


def _owing(value: Any) -> tuple[str, Value]:
    kind, _, text = _text(value).partition(" ")
    if kind not in KINDS:
        raise ValueError(f"unknown obligation {kind!r} - {suggest(kind, KINDS)}")
    return kind, read_value(kind, text.strip())


FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "never": (("may", "on"), ("who", "unless")),
    "never-both": (("may",), ("on", "who", "unless")),
    "only-in": (("may", "on", "project"), ("who", "unless")),
    "apart": (("groups",), ()),
    "at-least": (("owing", "on"), ("who", "unless")),
    "somebody": (("may", "on"), ("people",)),
}
"""For each kind of guard the keys that it needs, beside `why`, and those that it may have."""
BROKEN_BY_GRANTS = frozenset({"never", "never-both", "only-in"})
"""Kinds that a permission more can break: a grant changes no membership, and ties to its rows more, never less."""
_READ: dict[str, Callable[[Any], Any]] = {
    "why": _text,
    "may": _actions,
    "on": _pattern,
    "who": _subject,
    "unless": _subject,
    "project": _project,
    "groups": _subjects,
    "people": _people,
    "owing": _owing,
}
_PAIR = 2
_MOST_PEOPLE = 100
_SECTION = re.compile(rb"\s*\[\s*[\"']?([^\]\"']+?)[\"']?\s*\]")


# -- asking -----------------------------------------------------------------------------------------------------------


def broken(
    guards: Iterable[Guard], policy: Policy, universe: Universe, now: datetime, extra: Sequence[Row] = ()
) -> tuple[Finding, ...]:
    """What `policy` allows against `guards`, now and when rows of its files begin or end; at most three of each guard.

    `universe`: with things. `extra`: the rows of the database in `policy`. Raises PolicyError where the policy cannot
    be built for a later moment.
    """
    found = [one for _, one in breaches(guards, policy, universe, now, extra)]
    return tuple(sorted(found, key=lambda one: one.line))


def breaches(
    guards: Iterable[Guard], policy: Policy, universe: Universe, now: datetime, extra: Sequence[Row] = ()
) -> list[tuple[Guard, Finding]]:
    """As `broken`, each with its guard."""
    guards = tuple(guards)
    found = list(_unknown(guards, policy))
    if found or not guards:
        return found
    rows: list[Rule | Member] = [*policy.rules, *policy.members]
    left = dict.fromkeys(guards)
    for instant in (now, *edges((row for row in rows if row.row.line), now)):
        there = policy if policy.holds_at(instant) else policy.rebuilt(extra, now=instant)
        for guard in list(left):
            told = list(islice(_ASKED[guard.kind](guard, there, universe, instant), _SHOWN))
            if told:
                del left[guard]
            found += [(guard, guard.broken(text + _from(instant, now))) for text in told]
    return found


def _unknown(guards: Iterable[Guard], policy: Policy) -> Iterator[tuple[Guard, Finding]]:
    """A guard about somebody whom no row names guards nothing."""
    known = {name for kind in ("user:", "role:", "project:", "group:", "clearance:") for name in policy.named(kind)}
    known |= set(CLEARANCES)
    tags = {row.tag for row in policy.taggings} | policy.settings.tags.keys()
    for guard in guards:
        for name in sorted(guard.names - known):
            hint = suggest(name, known)
            yield guard, Finding(GUARDS_FILE, guard.line, f"[{guard.name}] no row names {name}", hint)
        if guard.on.startswith("tag:") and guard.on not in tags:
            hint = suggest(guard.on, tags)
            yield guard, Finding(GUARDS_FILE, guard.line, f"[{guard.name}] unknown tag {guard.on!r}", hint)


def _from(instant: datetime, now: datetime) -> str:
    return "" if instant == now else f", from {times.readable(times.canonical(instant))}"


def _allowed(guard: Guard, policy: Policy, universe: Universe, now: datetime) -> Iterator[Reach]:
    classes = Classes([policy], universe, now, apart={guard.on, *guard.names})
    return classes.allowed(guard.may, wanted=lambda people, things: guard.binds(people) and guard.covers(things))


def _never(guard: Guard, policy: Policy, universe: Universe, now: datetime) -> Iterator[str]:
    return (_may(reach) for reach in _allowed(guard, policy, universe, now))


def _only_in(guard: Guard, policy: Policy, universe: Universe, now: datetime) -> Iterator[str]:
    for reach in _allowed(guard, policy, universe, now):
        if not reach.project or guard.project not in (ANYONE, reach.project):
            yield _may(reach)


def _never_both(guard: Guard, policy: Policy, universe: Universe, now: datetime) -> Iterator[str]:
    held: dict[tuple[People, Things], dict[str, Reach]] = defaultdict(dict)
    for reach in _allowed(guard, policy, universe, now):
        held[reach.people, reach.things].setdefault(reach.action, reach)
    for reaches in held.values():
        if len(reaches) >= _PAIR:
            first, second = list(reaches.values())[:_PAIR]
            yield f"{_may(first)}; and {_may(second)}"


def _apart(guard: Guard, policy: Policy, universe: Universe, now: datetime) -> Iterator[str]:
    for people in Classes([policy], replace(universe, things=()), now, apart=guard.groups).people:
        held = [name for name in guard.groups if name in people.names[0]]
        if len(held) >= _PAIR:
            through = policy.membership(people.one.user, people.one.groups)
            ways = [path(through, name) for name in held[:_PAIR]]
            rows = {link: row.row.place for row in policy.members for link in [(row.who, row.of)]}
            places = sorted({place for way in ways for link in pairwise(way) if (place := rows.get(link))})
            told = " and ".join(" -> ".join(way) for way in ways)
            yield f"{_several(people.shown)}: {told}" + (f" ({', '.join(places)})" if places else "")


def _at_least(guard: Guard, policy: Policy, universe: Universe, now: datetime) -> Iterator[str]:
    kind, least = guard.owing
    classes = Classes([policy], universe, now, apart={guard.on, *guard.names}, only_duties=True)
    for people, things in product(classes.people, classes.things):
        if not (guard.binds(people) and guard.covers(things) and things.one.label):
            continue
        for project in classes.projects(people, 0):
            due = policy.obligations(classes.request(people, things, KINDS[kind], project)).due(kind)
            if due.value is None or stricter(kind, due.value, least) != due.value:
                owed = f"{kind} {due.value} by {due.rule}" if due.value is not None else f"no {kind}"
                yield f"{_several(people.shown)} would owe {owed} for {_several(things.shown)}{_in(project)}"


def _somebody(guard: Guard, policy: Policy, universe: Universe, now: datetime) -> Iterator[str]:
    classes = Classes([policy], universe, now, apart={guard.on})
    able: dict[tuple[str, Things], set[str]] = defaultdict(set)
    for reach in classes.allowed(guard.may, wanted=lambda _, things: guard.covers(things)):
        # how many belong to a group of the identity provider, only that one knows
        groups = [one.group for one in reach.people.all if one.group]
        able[reach.action, reach.things].update(f"{group}/{n}" for group in groups for n in range(guard.people))
        able[reach.action, reach.things].update(one.user for one in reach.people.all if one.named)
    for action, things in product(guard.may, classes.things):
        count = len(able[action, things])
        if guard.covers(things) and suits(action, things.one.name) and count < guard.people:
            people = "nobody" if not count else f"only {' and '.join(sorted(able[action, things]))}"
            yield f"{people} may {action} {_several(things.shown)}, and it takes {guard.people}"


_ASKED: Mapping[str, Callable[[Guard, Policy, Universe, datetime], Iterator[str]]] = {
    "never": _never,
    "never-both": _never_both,
    "only-in": _only_in,
    "apart": _apart,
    "at-least": _at_least,
    "somebody": _somebody,
}


def _may(reach: Reach) -> str:
    rules = ", ".join(rule.name for rule in reach.decision.rules)
    people, things = _several(reach.people.shown), _several(reach.things.shown)
    return f"{people} may {reach.action} {things}{_in(reach.project)} by {rules}"


def _in(project: str) -> str:
    return f" in {project.removeprefix('project:')}" if project else " outside projects"


def _several(names: tuple[str, ...]) -> str:
    more = len(names) - 1
    return names[0] + (f" (and {more} more)" if more else "")
