"""Searching the log: by person, project, dataset, label, time, action and text, within what somebody may see.

What is found is shown from the verified leaf. One call looks at a bounded number of entries; whoever sees few of them
goes on with `next`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import select

from strongroom_hub.audit import reader
from strongroom_hub.audit.reader import PayloadUnreadableError
from strongroom_hub.audit.words import words_of
from strongroom_hub.catalog.models import DatasetVersion
from strongroom_hub.control.context import Context
from strongroom_hub.problems import Problem

FEW, PAGE = 25, 200
SCANNED = 5_000
Told = Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for. `filters`: of `reader.entries`; those that are None say nothing."""

    filters: Mapping[str, Any]
    text: str | None
    before: int | None
    limit: int

    def matches(self, entry: dict[str, Any]) -> bool:
        """Whether an entry passes the filters."""
        exact = {name: self.filters.get(name) for name in ("actor", "action", "project", "label")}
        since, until, thing = (self.filters.get(name) for name in ("since", "until", "object"))
        return (
            all(value is None or entry[name] == value for name, value in exact.items())
            and (thing is None or entry["object"] == thing or str(entry["object"]).startswith(f"{thing}@"))
            and (since is None or entry["time"] >= since)
            and (until is None or entry["time"] < until)
        )


def find(context: Context, asked: Asked, *, told: Told) -> dict[str, Any]:
    """`{"entries","next"}`, newest first. `told`: an entry as it may be shown; None where it may not.

    What may not be shown of an entry does not find it. Texts are searched of all entries that `asked` allows: who may
    not read others' asks for an actor's, their own.
    """

    def matching(entry: dict[str, Any]) -> dict[str, Any] | None:
        shown = told(entry)
        return shown if shown is None or shown is entry or asked.matches(shown) else None

    source = _by_filters(context, asked) if not asked.text else _by_text(context, asked)
    return page_of(source, told=matching, limit=asked.limit)


def page_of(source: Iterator[tuple[int, Any]], *, told: Told, limit: int, most: int = SCANNED) -> dict[str, Any]:
    """`{"entries","next"}` of what comes newest first, each with its index; None in place of what does not count.

    It looks at `most` of them: a page may be short, or empty, and go on.
    """
    found: list[dict[str, Any]] = []
    last: int | None = None
    scanned = 0
    for index, entry in source:
        last, scanned = index, scanned + 1
        shown = None if entry is None else told(entry)
        if shown is not None:
            found.append(shown)
        if len(found) == limit or scanned == most:
            return {"entries": found, "next": last or None}
    return {"entries": found, "next": None}


def _by_filters(context: Context, asked: Asked) -> Iterator[tuple[int, Any]]:
    """A dataset named without its version is looked for in all its versions at once."""
    versions = versions_of(context, asked.filters.get("object"))
    filters = [{**asked.filters, "object": name} for name in versions] or [dict(asked.filters)]
    yield from merged([newest_first(context, one, asked.before) for one in filters])


def merged(streams: Iterable[Iterator[tuple[int, Any]]]) -> Iterator[tuple[int, Any]]:
    """All of them in one, newest first; what is in several comes once."""
    last = None
    for index, entry in heapq.merge(*streams, key=lambda found: found[0], reverse=True):
        if index != last:
            yield index, entry
        last = index


def versions_of(context: Context, name: str | None) -> list[str]:
    """`NAME@VERSION` for each version of the dataset of that name; nothing where there is none."""
    if name is None or "/" not in name or "@" in name:
        return []
    with context.reading() as session:
        found = session.exec(select(DatasetVersion.version).where(DatasetVersion.dataset == name)).all()
    return [f"{name}@{version}" for version in found]


def newest_first(context: Context, filters: Mapping[str, Any], before: int | None) -> Iterator[tuple[int, Any]]:
    """Entries by `reader.entries`, few at first: of many streams most are hardly looked into."""
    size = FEW
    while True:
        batch = reader.entries(context.engine, **filters, before=before, limit=size)
        for entry in batch:
            before = entry["index"]
            yield before, entry
        if len(batch) < size:
            return
        size = min(PAGE, size * 2)


def _by_text(context: Context, asked: Asked) -> Iterator[tuple[int, Any]]:
    """Each candidate's index, with its entry where it passes and the text itself, decrypted, holds all the words."""
    if context.words is None:
        raise Problem(
            409,
            "text-search-off",
            "Texts are not searched here",
            "This instance runs with text_search = false: no index of what people typed is made.",
            next="Search by person, project, object, action or time.",
        )
    wanted = words_of(asked.text or "")
    before = asked.before
    while wanted:
        with context.engine.connect() as connection:
            indexes = context.words.candidates(connection, wanted, before, PAGE, actor=asked.filters.get("actor"))
        for entry in reader.entries_at(context.engine, indexes):
            before = entry["index"]
            good = asked.matches(entry) and _holds(context, entry, wanted)
            yield before, entry if good else None
        if len(indexes) < PAGE:
            return


def _holds(context: Context, entry: dict[str, Any], wanted: set[str]) -> bool:
    try:
        text = reader.payload(context.engine, context.log_keys, entry["index"])
    except PayloadUnreadableError:
        return False
    return text is not None and wanted <= words_of(text)
