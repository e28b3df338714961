"""What questions can be about: the people, projects and objects that policy, accounts, projects and catalogue know.

A policy speaks of patterns; whoever wants to know what it allows needs examples. Besides everything that is known by
name there are people who are in no row, members of each group of the identity provider, and data that is known by
nothing but its label, a tag or its namespace. What a tool finds, it finds among these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from strongroom_policy.labels import Label
from strongroom_policy.vocabulary import NAMESPACE, SYSTEM_OBJECTS, WORKSPACE, carries_no_label, is_data_object

if TYPE_CHECKING:
    from strongroom_policy.catalogue import Dataset
    from strongroom_policy.engine import Policy

_NONE: frozenset[str] = frozenset()
_STRANGER = "user:somebody-else"
_ANY = "any"


@dataclass(frozen=True, slots=True, order=True)
class Person:
    """Who may ask: `user:NAME`, or somebody of whom nothing is known but one group of the identity provider."""

    user: str
    group: str = ""
    named: bool = True
    """No: `user` stands for anybody that no row names."""
    known: frozenset[str] = field(default=_NONE, compare=False)
    """Groups of the identity provider that a person known by name is in."""

    @property
    def groups(self) -> frozenset[str]:
        return frozenset({self.group}) if self.group else self.known

    @property
    def shown(self) -> str:
        if self.group:
            return f"anyone in {self.group}"
        return self.user if self.named else "anyone else"


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that can be asked about, as it is asked about. `label` None: it carries none (`policy`, profiles)."""

    name: str
    label: Label | None = None
    tags: frozenset[str] = _NONE
    """`tag:NAME`, beyond those of g2 rows."""
    example: str = ""
    """For people, where `name` is only an example: `anything tagged tag:sensitive`."""

    @property
    def marks(self) -> frozenset[str]:
        """What it carries, as rules name it."""
        return self.tags | ({f"label:{self.label}"} if self.label else _NONE)

    @property
    def shown(self) -> str:
        return (self.example or self.name) + (f" ({self.label})" if self.label else "")


@dataclass(frozen=True, slots=True)
class Universe:
    """Everybody and everything that a tool looks at. `outside`: whether also what is asked outside projects."""

    people: tuple[Person, ...]
    projects: tuple[str, ...]
    things: tuple[Thing, ...]
    outside: bool = True

    def within(self, project: str) -> Universe:
        """Only what is asked in that `project:NAME`."""
        return replace(self, projects=(project,), outside=False)


def universe(
    policies: Sequence[Policy],
    users: Iterable[str] | Mapping[str, frozenset[str]] = (),
    projects: Iterable[str] = (),
    things: Iterable[Thing] = (),
) -> Universe:
    """Everybody that `policies` name, with the accounts (`user:NAME`) and projects (`project:NAME`) that there are.

    `users`: names, or each with the groups that the identity provider says. `things`: what is asked about, as
    `things_known` or `things_called` say.
    """
    held = users if isinstance(users, Mapping) else {}
    named = sorted({name for policy in policies for name in policy.named("user:")} | set(users))
    in_rows = sorted({name for policy in policies for name in policy.named("group:")})
    stranger = _unused(_STRANGER, named)
    people = [Person(name, known=held.get(name, _NONE)) for name in named]
    people += [Person(stranger, group, named=False) for group in in_rows]
    people.append(Person(stranger, named=False))
    known = {name for policy in policies for name in policy.named("project:")} | set(projects)
    return Universe(tuple(people), tuple(sorted(known)), tuple(things))


def things_called(name: str, datasets: Sequence[Dataset]) -> tuple[Thing, ...]:
    """The things of that name: as the catalogue has it, otherwise with each label. Empty for what is no object."""
    if carries_no_label(name):
        return (Thing(name),)
    dataset, _, column = name.partition("#")
    for known in datasets:
        if known.name == dataset:
            held = known.columns.get(column)
            return (Thing(name, known.label, held.tags if held else _NONE),)
    return tuple(Thing(name, label) for label in Label) if is_data_object(name) else ()


def things_known(policies: Sequence[Policy], datasets: Sequence[Dataset] = ()) -> tuple[Thing, ...]:
    """All datasets and columns of the catalogue and of `policies`' rows, and examples of what no row names.

    A dataset that rows name and the catalogue does not know is looked at with each label.
    """
    return tuple(dict.fromkeys(_things(policies, datasets)))


def _things(policies: Sequence[Policy], datasets: Sequence[Dataset]) -> Iterator[Thing]:
    for dataset in datasets:
        yield Thing(dataset.name, dataset.label)
        for name, column in dataset.columns.items():
            yield Thing(f"{dataset.name}#{name}", dataset.label, column.tags)
    patterns = {item.object for policy in policies for item in (*policy.rules, *policy.duties)}
    patterns |= {row.what for policy in policies for row in policy.taggings}
    known = {dataset.name for dataset in datasets}
    for name in sorted(patterns):
        if is_data_object(name) and name.partition("#")[0] not in known:
            yield from things_called(name, ())
    yield from _examples(policies, patterns)
    for label in Label:
        yield Thing(WORKSPACE, label, example="a workspace without sources")
    yield from (Thing(name) for name in sorted(SYSTEM_OBJECTS))
    yield from (
        Thing(f"profile:{name}") for name in dict.fromkeys(one.name for policy in policies for one in policy.profiles)
    )


def _examples(policies: Sequence[Policy], patterns: Collection[str]) -> Iterator[Thing]:
    """Data that no row names: anywhere and in each namespace, without a tag and with each one."""
    spaces = sorted({found[1] for name in patterns if (found := NAMESPACE.fullmatch(name)) and found[1]})
    tags = sorted(
        {name for name in patterns if name.startswith("tag:")} | {t for p in policies for t in p.settings.tags}
    )
    datasets = {name.partition("#")[0] for name in patterns}
    anywhere = _unused(_ANY, {name.partition("/")[0] for name in patterns})
    places = [(f"{anywhere}/{_ANY}", "any other data")]
    places += [(_unused(f"{space}/{_ANY}", datasets), f"any other data in {space}/**") for space in spaces]
    for name, example in places:
        for label in Label:
            yield Thing(name, label, example=example)
            for tag in tags:
                column = f"{name}#{tag.partition(':')[2]}"
                yield Thing(column, label, frozenset({tag}), f"{example}, tagged {tag}")


def _unused(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "-other"
    return name
