"""Which rows can concern a request: (everything the subject is) x (everything the object is), without a scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice

from strongroom_policy.rows import Member, Tagging
from strongroom_policy.vocabulary import ANYONE

_REMEMBERED = 8192
"""Subjects and objects whose closure is kept; bounded, because anybody may ask about any name."""
_REMEMBERED_GROUPED = 1024
"""The same for subjects with groups of the identity provider, of which each may have hundreds."""
_NONE: frozenset[str] = frozenset()


class Index:
    """Row numbers by object and subject, both as they are written in the row.

    The object comes first: it is few things (itself, its namespaces, its marks), somebody may be hundreds, and each
    step into a table of a million rows waits for memory.
    """

    def __init__(self, keys: Iterable[tuple[str, str]]) -> None:
        self._by_object: dict[str, dict[str, list[int]]] = {}
        for number, (subject, what) in enumerate(keys):
            self._by_object.setdefault(what, {}).setdefault(subject, []).append(number)

    def find(self, subjects: Mapping[str, str], objects: Iterable[str]) -> list[int]:
        """Numbers, ascending, of all rows whose subject and object are among these."""
        found: list[int] = []
        for what in objects:
            by_subject = self._by_object.get(what)
            if by_subject is not None:
                for subject in by_subject.keys() & subjects.keys():  # walks the smaller of the two
                    found += by_subject[subject]
        found.sort()
        return found

    def about(self, objects: Iterable[str], limit: int) -> list[int]:
        """Numbers of rows about any of `objects`, whoever they are for; at most `limit`."""
        rows = (self._by_object[what] for what in sorted(objects) if what in self._by_object)
        return sorted(islice((number for by_subject in rows for each in by_subject.values() for number in each), limit))


class Subjects:
    """Who belongs to what, at one moment."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._above: dict[str, list[str]] = {}
        for member in members:
            self._above.setdefault(member.who, []).append(member.of)
        self._alone = lru_cache(maxsize=_REMEMBERED)(self._closure)
        self._grouped = lru_cache(maxsize=_REMEMBERED_GROUPED)(self._closure)

    def closure(self, name: str, groups: frozenset[str] = frozenset()) -> Mapping[str, str]:
        """Everything that `name` is, itself and `*` included, each with the name through which it is.

        `groups`: what it belongs to besides the g rows, as the identity provider says.
        """
        return self._grouped(name, groups) if groups else self._alone(name)

    def _closure(self, name: str, groups: frozenset[str] = frozenset()) -> Mapping[str, str]:
        through = {name: "", ANYONE: ""}
        queue = [name]
        if groups:
            through |= dict.fromkeys(sorted(groups - {name}), name)
            queue += through.keys() - {name, ANYONE}
        for low in queue:  # grows below
            for high in self._above.get(low, ()):
                if high not in through:
                    through[high] = low
                    queue.append(high)
        return through


def path(through: Mapping[str, str], group: str) -> tuple[str, ...]:
    """`("user:alice", "role:analyst")`: the shortest membership path in a closure; empty where there is none."""
    name = next(iter(through))
    if group not in through or group == ANYONE:
        return (name,) if group == ANYONE else ()
    found = [group]
    while found[-1] != name:
        found.append(through[found[-1]])
    return tuple(reversed(found))


class Objects:
    """What an object is part of, and which tags it carries."""

    def __init__(self, taggings: Sequence[Tagging]) -> None:
        self._tags: dict[str, set[str]] = {}
        for tagging in taggings:
            self._tags.setdefault(tagging.what, set()).add(tagging.tag)
        self.closure = lru_cache(maxsize=_REMEMBERED)(self._closure)

    def _closure(self, name: str) -> frozenset[str]:
        return self.tags(name).union(ancestors(name))

    def tags(self, name: str) -> frozenset[str]:
        return _NONE.union(*[self._tags[each] for each in ancestors(name) if each in self._tags])


def ancestors(name: str) -> tuple[str, ...]:
    """The patterns that cover `name`: itself, its dataset, each namespace as `ns/**` up to `/**`, and `*`."""
    dataset, hash_sign, _ = name.partition("#")
    found = [name, dataset] if hash_sign else [name]
    if "/" in dataset:
        found.append(dataset + "/**")
        end = dataset.rfind("/")
        while end >= 0:
            found.append(dataset[:end] + "/**")
            end = dataset.rfind("/", 0, end)
        found.append("/**")
    found.append(ANYONE)
    return tuple(found)
