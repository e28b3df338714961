"""What an admin may want to tidy up: rows that are over, that nobody is reached by, or that others make needless."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from strongroom_policy import times
from strongroom_policy.errors import Finding
from strongroom_policy.files import rank
from strongroom_policy.filter_sense import contradicted
from strongroom_policy.filters import parse
from strongroom_policy.index import Index, Objects, Subjects
from strongroom_policy.labels import Label
from strongroom_policy.matcher import Words
from strongroom_policy.profiles import Profile
from strongroom_policy.rows import Duty, Member, Row, Rule
from strongroom_policy.values import Rows as Filters
from strongroom_policy.values import stricter
from strongroom_policy.vocabulary import ANYONE, TIERS, UNCLEARED_ACTIONS

_TIDY = "remove the row, or write what was meant"
Holders = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a policy, with what its closures say."""

    rules: Sequence[Rule]
    duties: Sequence[Duty]
    members: Sequence[Member]
    objects: Objects
    words: Words


def notes(rows: Rows, profiles: Iterable[Profile], now: datetime) -> tuple[Finding, ...]:
    """Everything there is to say about the rows of the files, in their order."""
    rules = [rule for rule in rows.rules if rule.row.line]
    duties = [duty for duty in rows.duties if duty.row.line]
    members = [row for row in rows.members if row.row.line]
    # what holds only for a time makes nothing needless
    lasting = Subjects([row for row in rows.members if not row.since and not row.until])
    found = [
        *_over([*rules, *members], times.canonical(now)),
        *_needless(rules, lasting, rows.objects, rows.words),
        *_needless_duties(duties, lasting, rows.objects),
        *_empty_filters(duties, lasting, rows.objects),
        *_unreachable(rules, duties, _holders(rows.members)),
        *_tiers(duties, profiles),
    ]
    return tuple(sorted(found, key=lambda one: (rank(one.file), one.line)))


def _note(row: Row, message: str, hint: str = _TIDY) -> Finding:
    return Finding(row.origin, row.line, message, hint)


def _over(rows: Iterable[Rule | Member], now: str) -> Iterator[Finding]:
    for row in rows:
        if row.until and row.until <= now:
            what = row.id if isinstance(row, Rule) else f"{row.who} in {row.of}"
            yield _note(row.row, f"{what} ended at {times.readable(row.until)}", "remove the row")


def _needless(rules: Sequence[Rule], subjects: Subjects, objects: Objects, words: Words) -> Iterator[Finding]:
    index = Index((rule.subject, rule.object) for rule in rules)

    def needless_beside(rule: Rule) -> dict[Rule, str]:
        found = (rules[number] for number in index.find(subjects.closure(rule.subject), objects.closure(rule.object)))
        return {other: text for other in found if other is not rule and (text := _saying_nothing(rule, other, words))}

    for rule in rules:
        for other, text in needless_beside(rule).items():
            # of two that say the same, the later one
            if not _later(other, rule) or rule not in needless_beside(other):
                yield _note(rule.row, text)
                break


def _saying_nothing(rule: Rule, other: Rule, words: Words) -> str:
    """Why `rule` adds nothing to `other`, whose subject and object cover its own; empty where it does."""
    if not _wider(other, rule):
        return ""
    if other.allows:
        covered = rule.allows and rule.actions <= other.actions
        return f"{rule.id} allows nothing that {other.name} does not allow" if covered else ""
    if not all(words.denies(action, other.actions) for action in rule.actions):
        return ""
    if rule.allows:
        return f"{rule.id} allows nothing: {other.name} denies all of it"
    return f"{rule.id} denies nothing that {other.name} does not deny"


def _wider(wide: Rule, narrow: Rule) -> bool:
    """Whether purpose and time of `narrow` lie within those of `wide`."""
    if wide.purpose not in (ANYONE, narrow.purpose):
        return False
    ends_in_time = not wide.until or (narrow.until != "" and narrow.until <= wide.until)
    return ends_in_time and wide.since <= narrow.since


def _later(one: Rule | Duty, other: Rule | Duty) -> bool:
    return (rank(one.file), one.line) > (rank(other.file), other.line)


def _needless_duties(duties: Sequence[Duty], subjects: Subjects, objects: Objects) -> Iterator[Finding]:
    index = Index((duty.subject, duty.object) for duty in duties)
    for duty in duties:
        for number in index.find(subjects.closure(duty.subject), objects.closure(duty.object)):
            other = duties[number]
            covers = other.kind == duty.kind and other.purpose in (ANYONE, duty.purpose)
            if other is duty or not covers or other.unless not in ("", duty.unless):
                continue
            same = (other.subject, other.object, other.value) == (duty.subject, duty.object, duty.value)
            if stricter(duty.kind, other.value, duty.value) == other.value and not (same and _later(other, duty)):
                yield _note(duty.row, f"{duty.id} asks for nothing that {other.name} does not ask for")
                break


def _empty_filters(duties: Sequence[Duty], subjects: Subjects, objects: Objects) -> Iterator[Finding]:
    """Filters that no row can pass, alone or with others that bind the same people and data."""
    filtering = [duty for duty in duties if isinstance(duty.value, Filters)]
    index = Index((duty.subject, duty.object) for duty in filtering)
    for duty in filtering:
        if column := _contradicted(duty):
            yield _note(duty.row, f"no row passes {duty.id}: no {column} is as it says")
            continue
        for number in index.find(subjects.closure(duty.subject), objects.closure(duty.object)):
            other = filtering[number]
            meets = other is not duty and (duty.purpose == other.purpose or ANYONE in (duty.purpose, other.purpose))
            same = (other.subject, other.object) == (duty.subject, duty.object)
            if same and _later(other, duty):
                continue
            if meets and not _contradicted(other) and (column := _contradicted(duty, other)):
                yield _note(duty.row, f"no row passes {duty.id} and {other.name} together: no {column} is as both say")
                break


def _contradicted(*duties: Duty) -> str | None:
    return contradicted(
        parse(text) for duty in duties if isinstance(duty.value, Filters) for text in duty.value.filters
    )


def _holders(members: Iterable[Member]) -> Holders:
    """Who ever holds each name: users, and groups, in which the identity provider may put anybody."""
    subjects = Subjects(list(members))
    held: dict[str, set[str]] = defaultdict(set)
    for who in {row.who for row in members if row.who.startswith(("user:", "group:"))}:
        for name in subjects.closure(who):
            held[name].add(who)
    return {name: frozenset(people) for name, people in held.items()}


def _unreachable(rules: Iterable[Rule], duties: Iterable[Duty], holders: Holders) -> Iterator[Finding]:
    for item in (*rules, *duties):
        people = _people(item.subject, holders)
        if people is not None and not people:
            yield _note(item.row, f"{item.id} reaches nobody: no user belongs to {item.subject}")
        elif isinstance(item, Rule) and item.allows:
            yield from _out_of_reach(item, holders)


def _out_of_reach(rule: Rule, holders: Holders) -> Iterator[Finding]:
    if rule.purpose != ANYONE and not _together(rule.subject, rule.purpose, holders):
        yield _note(rule.row, f"{rule.id} reaches nobody: none of {rule.subject} is a member of {rule.purpose}")
        return
    label = Label.parse(rule.object.removeprefix("label:")) if rule.object.startswith("label:") else Label.PUBLIC
    cleared = label is Label.PUBLIC or not rule.actions.isdisjoint(UNCLEARED_ACTIONS)
    if not cleared and not _together(rule.subject, f"clearance:{label}", holders):
        yield _note(rule.row, f"{rule.id} reaches nobody: none of {rule.subject} is cleared for {label}")


def _people(name: str, holders: Holders) -> frozenset[str] | None:
    """None: anybody."""
    if name == ANYONE or name.startswith("group:"):
        return None
    return holders.get(name, frozenset()) | ({name} if name.startswith("user:") else frozenset())


def _together(one: str, other: str, holders: Holders) -> bool:
    """Whether somebody may hold both."""
    left, right = _people(one, holders), _people(other, holders)
    if left is None or right is None:
        return bool(left is None or left) and bool(right is None or right)
    return bool(left & right) or any(name.startswith("group:") for name in left | right)


def _tiers(duties: Iterable[Duty], profiles: Iterable[Profile]) -> Iterator[Finding]:
    there_are = [TIERS.index(profile.sandbox) for profile in profiles]
    for duty in duties:
        if duty.kind == "sandbox" and TIERS.index(str(duty.value)) > max(there_are):
            message = f"{duty.id} asks for the tier {duty.value}, which no profile of profiles.toml has"
            yield _note(duty.row, message, "nobody can read what it binds: add such a profile")
