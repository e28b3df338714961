"""Who reaches what: every permission of a policy, found from its rules, each decided by the policy itself.

Nobody is asked twice: people who hold the same of what the rows mention, and things that the same rows speak of, are a
class, and one of them asks for all. What an allow rule cannot reach is not asked at all, because nothing else allows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from strongroom_policy import times
from strongroom_policy.decision import Decision, Request
from strongroom_policy.rows import Duty, Member, Rule
from strongroom_policy.universe import Person, Thing, Universe
from strongroom_policy.vocabulary import ANYONE, CLEARANCES, suits

if TYPE_CHECKING:
    from strongroom_policy.engine import Policy

EDGES = 12
"""Future instants that a tool looks at: a calendar of a thousand windows would be as many policies."""
Names = frozenset[str]
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Persons for whom all answers are the same. `names`: what they hold of what rows mention, by policy."""

    all: tuple[Person, ...]
    names: tuple[Names, ...]

    @property
    def one(self) -> Person:
        return self.all[0]

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(person.shown for person in self.all)


@dataclass(frozen=True, slots=True, eq=False)
class Things:
    """Things of which all answers are the same. `names`: which of the rows' objects they are, by policy."""

    all: tuple[Thing, ...]
    names: tuple[Names, ...]

    @property
    def one(self) -> Thing:
        return self.all[0]

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(thing.shown for thing in self.all)


C = TypeVar("C", People, Things)


@dataclass(frozen=True, slots=True)
class Reach:
    """One permission, for a class of people and of things; `decision` is that of the first of each."""

    people: People
    things: Things
    decision: Decision

    @property
    def action(self) -> str:
        return self.decision.request.action

    @property
    def project(self) -> str:
        """`project:NAME`, or empty outside projects."""
        return self.decision.request.purpose

    @property
    def key(self) -> tuple[int, int, str, str]:
        return id(self.people), id(self.things), self.action, self.project


class Classes:
    """The people and things of a universe in classes that fit all of `policies` (at one instant)."""

    def __init__(
        self,
        policies: Sequence[Policy],
        universe: Universe,
        now: datetime,
        *,
        apart: Collection[str] = (),
        only_duties: bool = False,
    ) -> None:
        """`apart`: further subjects and objects by which classes differ; `only_duties`: obligations alone matter."""
        self.policies = policies
        self.now = now
        self._projects, self._outside = universe.projects, universe.outside
        around = [tuple(policy.names_of(thing.name) | thing.marks for policy in policies) for thing in universe.things]
        everywhere = frozenset[str]().union(*(names for each in around for names in each))
        rows = [_rows(policy, everywhere, only_duties=only_duties) for policy in policies]
        objects = frozenset(item.object for some in rows for item in some).union(apart)
        marked = zip(universe.things, around, strict=True)
        alike = _grouped(
            (thing, (thing.label, _suited(thing.name), tuple(each & objects for each in names)))
            for thing, names in marked
        )
        self.things = [Things(members, names) for (*_, names), members in alike.items()]
        mentioned = frozenset(name for some in rows for item in some for name in _subjects(item)).union(apart)
        if not only_duties:
            mentioned |= frozenset(universe.projects) | frozenset(CLEARANCES)
        holding = _grouped(
            (
                person,
                tuple(mentioned.intersection(policy.membership(person.user, person.groups)) for policy in policies),
            )
            for person in universe.people
        )
        self.people = [People(members, names) for names, members in holding.items()]
        self._allows = [[item for item in some if isinstance(item, Rule) and item.allows] for some in rows]
        self._below = [_by_name(self.people, number) for number in range(len(policies))]
        self._within = [_by_name(self.things, number) for number in range(len(policies))]

    @property
    def everywhere(self) -> tuple[str, ...]:
        """All projects, and the empty one for outside projects, where that is asked about."""
        return ("", *self._projects) if self._outside else self._projects

    def projects(self, people: People, number: int) -> tuple[str, ...]:
        """Those in which they may ask anything of policy `number`, and the empty one outside projects."""
        return tuple(name for name in self.everywhere if not name or name in people.names[number])

    def request(self, people: People, things: Things, action: str, project: str) -> Request:
        person, thing = people.one, things.one
        return Request(person.user, action, thing.name, project, thing.label, thing.tags, self.now, person.groups)

    def allowed(
        self,
        actions: Collection[str],
        number: int = 0,
        wanted: Callable[[People, Things], bool] = lambda _people, _things: True,
    ) -> Iterator[Reach]:
        """Every permission of policy `number` for one of `actions`, where `wanted`; each once."""
        policy = self.policies[number]
        seen: set[tuple[int, int, str, str]] = set()
        for rule in self._allows[number]:
            able = sorted(rule.actions.intersection(actions))
            for people in self._below[number].get(rule.subject, ()) if able else ():
                projects = self._fitting(people, rule.purpose, number)
                for things in self._within[number].get(rule.object, ()) if projects else ():
                    if not wanted(people, things):
                        continue
                    for action in able:
                        for project in projects:
                            key = id(people), id(things), action, project
                            if key in seen or not suits(action, things.one.name):
                                continue
                            seen.add(key)
                            decision = policy.decide(self.request(people, things, action, project))
                            if decision.allowed:
                                yield Reach(people, things, decision)

    def _fitting(self, people: People, purpose: str, number: int) -> tuple[str, ...]:
        own = self.projects(people, number)
        return own if purpose == ANYONE else tuple(project for project in own if project == purpose)


def who_can(policy: Policy, universe: Universe, action: str, now: datetime) -> list[Reach]:
    """Everybody in `universe` who may do `action` on one of its things, in classes, with rules and obligations.

    `policy` must have been built for `now`. The work grows with the classes, not with people or rows.
    """
    return list(Classes([policy], universe, now).allowed([action]))


def what_can(policy: Policy, universe: Universe, person: Person, now: datetime) -> list[Reach]:
    """Everything in `universe` that `person` may do, in classes."""
    alone = replace(universe, people=(person,))
    return list(Classes([policy], alone, now).allowed(policy.settings.actions))


def edges(rows: Iterable[Rule | Member], now: datetime) -> tuple[datetime, ...]:
    """The instants after `now` at which one of `rows` begins or ends, in order, at most EDGES."""
    found = {edge for row in rows for edge in (row.since, row.until) if edge > times.canonical(now)}
    return tuple(datetime.fromisoformat(edge) for edge in sorted(found)[:EDGES])


def _suited(name: str) -> tuple[bool, bool]:
    """Which kinds of actions fit an object at all: those on the enclave, those on profiles."""
    return suits("administer", name), suits("use", name)


def _rows(policy: Policy, about: Names, *, only_duties: bool) -> list[Rule | Duty]:
    rows: list[Rule | Duty] = [*policy.duties] if only_duties else [*policy.rules, *policy.duties]
    return [row for row in rows if row.object in about]


def _subjects(item: Rule | Duty) -> Iterator[str]:
    yield item.subject
    yield item.purpose
    if isinstance(item, Duty) and item.unless:
        yield item.unless


def _grouped(keyed: Iterable[tuple[T, K]]) -> dict[K, tuple[T, ...]]:
    found: dict[K, list[T]] = defaultdict(list)
    for item, key in keyed:
        found[key].append(item)
    return {key: tuple(items) for key, items in found.items()}


def _by_name(classes: Iterable[C], number: int) -> dict[str, list[C]]:
    found: dict[str, list[C]] = defaultdict(list)
    for one in classes:
        for name in one.names[number]:
            found[name].append(one)
    return found
