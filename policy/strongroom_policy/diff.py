"""What a change of the policy means: who may do what now, or no longer, and what is owed; not which lines differ.

Both versions are asked the same questions, about everybody and everything that either of them, the accounts, the
projects and the catalogue know: at present, and at the moments at which a changed row begins or ends. Only what a
changed row touches is asked. Rows of grants in the database belong to both sides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import product
from typing import Any

from strongroom_policy import times
from strongroom_policy.catalogue import Dataset
from strongroom_policy.engine import Policy, Sources
from strongroom_policy.obligations import Due
from strongroom_policy.profiles import Profile
from strongroom_policy.reach import Classes, People, Reach, Things, edges
from strongroom_policy.rows import Duty, Member, Row, Rule, Typed
from strongroom_policy.universe import Universe, things_known, universe
from strongroom_policy.values import Value
from strongroom_policy.vocabulary import KINDS

MAX_QUESTIONS = 200_000
"""Decisions and obligations that one comparison asks for at most; it says when there were more."""
_NAMES_SHOWN = 6
_TAGGED = ", tagged "
_NOW = {"may": "now", "may-not": "no longer", "holds": "now", "holds-not": "no longer"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, of all people and objects that it is the same for.

    `kind`: `may` (newly allowed), `may-not` (no longer), `holds` and `holds-not` (projects and clearances), `owes` (an
    obligation), `profile` or `guard`. `projects` are bare names, empty text = outside projects (of
    `owes`: in all others), none = wherever.
    `before` and `after`: obligations and limits, as they are written.
    """

    kind: str
    who: tuple[str, ...]
    actions: tuple[str, ...]
    objects: tuple[str, ...]
    projects: tuple[str, ...]
    rules: tuple[str, ...]
    """Names with file and line: those that allow now, or that denied it or allowed it before."""
    since: str = ""
    """From when on, where that is not now: an instant."""
    before: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """`user:analyst may now read health/randhie#age (secret) in cardio (rule I7, policy.csv:41)`."""
        by = f" ({', '.join(self.rules)})" if self.rules else ""
        who = several(self.who)
        start = f", from {times.readable(self.since)}" if self.since else ""
        if self.kind.startswith("holds"):
            return f"{several(self.objects)} {_NOW[self.kind]} includes {who}{start}"
        if self.kind == "profile":
            return f"{who}: {self.before} is now {self.after}"
        if self.kind == "guard":
            return f"the guard {who} is {self.after}"
        where, objects = _where(self.projects), several(_condensed(self.objects))
        if self.kind == "owes":
            where = "" if not self.projects else f" in {self.projects[0]}" if self.projects[0] else " elsewhere"
            kinds = f"{self.before or 'nothing'} becomes {self.after or 'nothing'}"
            owed = f", by {', '.join(self.rules)}" if self.rules else ""
            return f"{who}, {several(self.actions)} {objects}{where}: {kinds}{start}{owed}"
        return f"{who} may {_NOW[self.kind]} {several(self.actions)} {objects}{where}{start}{by}"

    def as_json(self) -> dict[str, Any]:
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()} | {
            "text": self.text
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes; `complete` is no where there was more to ask than one comparison asks for."""

    changes: tuple[Change, ...]
    complete: bool = True

    def __bool__(self) -> bool:
        """Whether anything changed, as far as is known: what was not asked may have."""
        return bool(self.changes) or not self.complete

    def lines(self, limit: int) -> list[str]:
        """The changes in words, at most `limit` of them, and how many more there are."""
        told = [change.text for change in self.changes[:limit]]
        if len(self.changes) > limit:
            told.append(f"... and {len(self.changes) - limit} more")
        if not self.complete:
            told.append(f"more was touched than the {MAX_QUESTIONS:,} questions that one comparison asks")
        return told or ["no decision and no obligation changes"]

    def as_json(self, limit: int) -> dict[str, Any]:
        return {
            "changed": bool(self),
            "complete": self.complete,
            "changes": [change.as_json() for change in self.changes[:limit]],
            "changes_in_all": len(self.changes),
        }


def difference(
    old: Sources,
    new: Sources,
    now: datetime,
    *,
    extra: Sequence[Row] = (),
    users: Iterable[str] | Mapping[str, frozenset[str]] = (),
    projects: Iterable[str] = (),
    datasets: Sequence[Dataset] = (),
) -> Difference:
    """What changes for whom when `new` takes the place of `old`. `extra`: rows of the database.

    `users`, `projects` and `datasets` as `universe` and `things_known` want them. Raises PolicyError where one of them
    is no policy together with `extra`.
    """
    both = [Policy.build(sources, extra, now) for sources in (old, new)]
    ground = universe(both, users, projects, things_known(both, datasets))
    found: list[Change] = [*_profiles(old.profiles, new.profiles), *_guards(old, new)]
    budget = _Budget(MAX_QUESTIONS)
    changed = _changed_rows(*both)
    told: set[Change] = set()
    for instant in (now, *edges((row for row in changed if isinstance(row, Rule | Member)), now)):
        there = [one if one.holds_at(instant) else one.rebuilt(extra, now=instant) for one in both]
        for change in _at(there, ground, instant, changed, budget):
            if change not in told:
                told.add(change)
                found.append(change if instant == now else replace(change, since=times.canonical(instant)))
    return Difference(tuple(found), complete=not budget.spent)


class _Budget:
    def __init__(self, questions: int) -> None:
        self._left = questions

    @property
    def spent(self) -> bool:
        return self._left < 0

    def take(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _changed_rows(old: Policy, new: Policy) -> list[Typed]:
    """Rows of one side only; where they stand, and why, makes no difference to a decision."""
    sides = [_rows(one) for one in (old, new)]
    counts = [Counter(map(_said, side)) for side in sides]
    return [
        row
        for side, more in zip(sides, (counts[0] - counts[1], counts[1] - counts[0]), strict=True)
        for row in side
        if _said(row) in more
    ]


def _rows(policy: Policy) -> list[Typed]:
    return [*policy.rules, *policy.duties, *policy.members, *policy.taggings, *policy.needs]


def _said(row: Typed) -> tuple[str, ...]:
    """What a row means to a decision: neither its id nor its reason."""
    told = row.row.fields
    return (row.row.ptype, *(told[1:-1] if isinstance(row, Rule | Duty) else told))


# -- one instant ------------------------------------------------------------------------------------------------------


def _at(
    both: Sequence[Policy], ground: Universe, now: datetime, changed: Sequence[Typed], budget: _Budget
) -> Iterator[Change]:
    classes = Classes(both, ground, now)
    touched = _touched(both, [row for row in changed if isinstance(row, Rule)])

    def wanted(people: People, things: Things) -> bool:
        return touched(people, things) and budget.take()

    old, new = both
    before, after = (classes.allowed(_actions(both), side, wanted) for side in (0, 1))
    gained = [(reach, reach.decision.rules) for reach in after if not old.decide(reach.decision.request).allowed]
    yield from _permissions("may", gained)
    answered = ((reach, new.decide(reach.decision.request)) for reach in before)
    # lost to the rule that denies it now; otherwise those are told that allowed it before
    lost = [(reach, now.rules or reach.decision.rules) for reach, now in answered if not now.allowed]
    yield from _permissions("may-not", lost)
    yield from _holdings(both, ground)
    yield from _duties(both, ground, now, [row for row in changed if isinstance(row, Duty)], budget)


def _actions(both: Sequence[Policy]) -> frozenset[str]:
    return frozenset(both[0].settings.actions) | frozenset(both[1].settings.actions)


def _touched(both: Sequence[Policy], changed: Sequence[Rule | Duty]) -> Callable[[People, Things], bool]:
    """Whether an answer about them can differ: by a changed row about both, or because they are something else now."""
    old, new = both
    everything = (
        Counter(map(_said, old.needs)) != Counter(map(_said, new.needs))
        or old.settings.tags != new.settings.tags
        or set(old.settings.actions) != set(new.settings.actions)
    )
    by_object: dict[str, set[str]] = defaultdict(set)
    for row in changed:
        by_object[row.object].add(row.subject)

    def touched(people: People, things: Things) -> bool:
        if everything or people.names[0] != people.names[1] or things.names[0] != things.names[1]:
            return True
        return any(not by_object[name].isdisjoint(people.names[0]) for name in things.names[0] & by_object.keys())

    return touched


def _permissions(kind: str, found: Iterable[tuple[Reach, tuple[Rule, ...]]]) -> Iterator[Change]:
    """One change for each set of people and rules: first the actions are put together, then things, then projects."""
    actions: dict[Any, list[str]] = defaultdict(list)
    for reach, rules in found:
        actions[reach.people.shown, _named(rules), reach.project, reach.things.shown].append(reach.action)
    things: dict[Any, list[str]] = defaultdict(list)
    for (who, rules, project, shown), able in actions.items():
        things[who, rules, tuple(sorted(able)), project].extend(shown)
    projects: dict[Any, list[str]] = defaultdict(list)
    for (who, rules, able, project), shown in things.items():
        projects[who, rules, able, tuple(sorted(shown))].append(_bare(project))
    for (who, rules, able, shown), names in projects.items():
        yield Change(kind, who, able, shown, tuple(sorted(names)), rules)


def _holdings(both: Sequence[Policy], ground: Universe) -> Iterator[Change]:
    """Projects and clearances that somebody holds on one side only: grants may build on them."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for person in ground.people:
        old, new = (frozenset(policy.membership(person.user, person.groups)) for policy in both)
        for kind, names in (("holds", new - old), ("holds-not", old - new)):
            for name in names:
                if name.startswith(("project:", "clearance:")):
                    found[kind, name].append(person.shown)
    for (kind, name), who in sorted(found.items()):
        yield Change(kind, tuple(who), (), (name,), (), ())


def _named(rules: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(f"rule {rule.id}, {rule.row.place}" for rule in rules)


def _bare(project: str) -> str:
    return project.removeprefix("project:")


# -- obligations ------------------------------------------------------------------------------------------------------


def _duties(
    both: Sequence[Policy], ground: Universe, now: datetime, changed: Sequence[Duty], budget: _Budget
) -> Iterator[Change]:
    """Obligations on all data, whoever may do anything with it now: a grant may come tomorrow."""
    classes = Classes(both, ground, now, only_duties=True)
    touched = _touched(both, changed)
    same_defaults = both[0].settings.defaults == both[1].settings.defaults
    projects = [name for name in classes.everywhere if not name or _speaks_of(both, name)]
    things_of: dict[Any, list[str]] = defaultdict(list)
    for people, things in product(classes.people, classes.things):
        if things.one.label is None or not (touched(people, things) or not same_defaults):
            continue
        for project in projects if budget.take() else ():
            for kind, dues in _differing(both, classes, people, things, project):
                before, after = (_written(kind, due) for due in dues)
                rules = tuple(dict.fromkeys(due.rule for due in dues if due.rule))
                things_of[people, kind, before, after, rules, project].extend(things.shown)
    who_of: dict[Any, list[str]] = defaultdict(list)
    for (people, *told), shown in things_of.items():
        who_of[*told, tuple(sorted(shown))].extend(people.shown)
    for (kind, before, after, rules, project, shown), names in who_of.items():
        who = tuple(names) if len(names) < len(ground.people) else ("everybody",)
        where = () if projects == [""] else (_bare(project),)
        yield Change("owes", who, (KINDS[kind],), shown, where, rules, before=before, after=after)


def _speaks_of(both: Sequence[Policy], project: str) -> bool:
    return any(duty.purpose == project for policy in both for duty in policy.duties)


def _differing(
    both: Sequence[Policy], classes: Classes, people: People, things: Things, project: str
) -> Iterator[tuple[str, tuple[Due[Value | None], Due[Value | None]]]]:
    asked = classes.request(people, things, "read", project)
    old, new = (policy.obligations(asked) for policy in both)
    for kind in KINDS:
        if old.value(kind) != new.value(kind):
            yield kind, (old.due(kind), new.due(kind))


def _written(kind: str, due: Due[Value | None]) -> str:
    return "" if due.value is None else f"{kind} {due.value}"


# -- what is no row ---------------------------------------------------------------------------------------------------


def _profiles(old: Sequence[Profile], new: Sequence[Profile]) -> Iterator[Change]:
    before, after = ({one.name: one for one in side} for side in (old, new))
    for name in dict.fromkeys((*before, *after)):
        yield from _profile(name, before.get(name), after.get(name))
    orders = [[name for name in side if name in before and name in after] for side in (before, after)]
    if orders[0] != orders[1]:
        yield _other("profile", "the first that one may take", " ".join(orders[0]), " ".join(orders[1]))


def _profile(name: str, before: Profile | None, after: Profile | None) -> Iterator[Change]:
    if before is None or after is None:
        yield _other("profile", f"profile {name}", *(("nothing", "there") if before is None else ("there", "gone")))
        return
    old, new = before.as_json(), after.as_json()
    for field in old:
        if old[field] != new[field]:
            yield _other("profile", f"profile {name}, {field.replace('_', ' ')}", str(old[field]), str(new[field]))


def _guards(old: Sources, new: Sources) -> Iterator[Change]:
    before, after = ({one.name: replace(one, line=0) for one in side.guards} for side in (old, new))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            state = "new" if name not in before else "changed" if name in after else "gone"
            yield _other("guard", name, "", state)


def _other(kind: str, what: str, before: str, after: str) -> Change:
    return Change(kind, (what,), (), (), (), (), before=before, after=after)


# -- words ------------------------------------------------------------------------------------------------------------


def several(names: Sequence[str]) -> str:
    """At most six of them, and how many more there are."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown} and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else shown


def _condensed(objects: Sequence[str]) -> list[str]:
    """Without examples of tagged data where the same is said of all such data."""
    said = set(objects)
    return [name for name in objects if _TAGGED not in name or not _without_tag(name) <= said]


def _without_tag(name: str) -> set[str]:
    return {name.partition(_TAGGED)[0] + " (" + name.rpartition(" (")[2]}


def _where(projects: Sequence[str]) -> str:
    inside = [name for name in projects if name]
    words = [f"in {several(inside)}"] if inside else []
    if len(inside) < len(projects):
        words.append("outside projects")
    return f" {' and '.join(words)}" if words else ""
