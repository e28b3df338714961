"""Timelines: what a person did, what became of a dataset, how a notebook ran. Newest first, a page at a time.

Tables and search columns find the entries; what is shown is the verified leaf, as far as the reader may see it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlmodel import Session, col, select

from strongroom_hub.airlock.models import Export
from strongroom_hub.audit import reader
from strongroom_hub.audit.ends import with_ends
from strongroom_hub.audit.entries import BEGINS, Action
from strongroom_hub.audit.reach import Reach
from strongroom_hub.audit.search import PAGE, merged, newest_first, page_of, versions_of
from strongroom_hub.audit.texts import texts_of
from strongroom_hub.control.context import Context
from strongroom_hub.problems import Problem
from strongroom_hub.projects.models import Kernel, Server, Source

EXPORTS_ASKED = 500
"""Exports of a dataset that one question asks the log about."""
BESIDE = (
    Action.KERNEL_STOP,
    Action.KERNEL_VIOLATION,
    Action.KERNEL_LIMIT,
    Action.READ_ALLOW,
    Action.READ_DENY,
    Action.READ_END,
    Action.LABEL_RAISE,
    Action.DATASET_SAVE,
    Action.DATASET_REFUSE_SAVE,
)
"""What kernels did between the cells of a notebook; such an entry names its kernel, not the notebook."""
MOST_BESIDE = 1_000
SCANNED = 500
"""Entries that one page looks at: a steward may see few of a person's."""
Found = Iterator[tuple[int, Any]]


class Timeline(StrEnum):
    """What there is a timeline of."""

    PERSON = "person"
    DATASET = "dataset"
    NOTEBOOK = "notebook"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a timeline: what came before that entry, at most so many."""

    before: int | None
    limit: int


def _not_yours(what: str, who: str) -> Problem:
    return Problem(
        403,
        "not-permitted",
        f"The timeline of {what} is not open to you",
        f"It is open to auditors and to {who}.",
        next="The audit log shows what you may see of it.",
    )


# -- people and datasets --------------------------------------------------------------------------------------------


def of_person(context: Context, reach: Reach, user: str, part: Part) -> dict[str, Any]:
    """What somebody did, and what was done about their account. Raises Problem 403."""
    actor = f"user:{user}"
    if not (reach.everything or reach.actor == actor or reach.datasets):
        raise _not_yours("another person", "stewards, as far as it touches their datasets")
    streams = [newest_first(context, {name: actor}, part.before) for name in ("actor", "object")]
    return _page(context, reach, merged(streams), part)


def of_dataset(context: Context, reach: Reach, dataset: str, part: Part) -> dict[str, Any]:
    """Requests, decisions, grants, versions, labels, reads; and the exports of who had read it. Raises Problem 403."""
    if not (reach.everything or dataset in reach.datasets):
        raise _not_yours("this dataset", "who decides on access to it")
    names = [dataset, *versions_of(context, dataset)]
    streams: list[Found] = [newest_first(context, {"object": name}, part.before) for name in names]
    with context.reading() as session:
        exports = _exports_of(session, dataset)
    asked = [exports[at : at + EXPORTS_ASKED] for at in range(0, len(exports), EXPORTS_ASKED)]
    streams += [_about(context, some, part.before) for some in asked]
    return _page(context, reach, merged(streams), part)


def _exports_of(session: Session, dataset: str) -> list[str]:
    """Objects of the exports of workspaces that had read it by then."""
    readers = select(Source.workspace).where(Source.dataset == dataset).distinct()
    found = session.exec(select(Export.id, Export.sources).where(col(Export.workspace).in_(readers))).all()
    return [f"export:{name}" for name, sources in found if any(one["dataset"] == dataset for one in sources)]


def _about(context: Context, objects: list[str], before: int | None) -> Found:
    while True:
        batch = reader.entries_about(context.engine, objects, before=before, limit=PAGE)
        for entry in batch:
            before = entry["index"]
            yield before, entry
        if len(batch) < PAGE:
            return


def _page(context: Context, reach: Reach, found: Found, part: Part) -> dict[str, Any]:
    page = page_of(found, told=reach.told, limit=part.limit, most=SCANNED)
    return page | {"entries": with_ends(context, page["entries"])}


# -- notebooks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Book:
    """A notebook by the path that it had when its kernel was started; `None`: whoever, and wherever."""

    path: str
    user: str | None
    project: str | None

    @property
    def filters(self) -> dict[str, str | None]:
        actor = None if self.user is None else f"user:{self.user}"
        return {"object": self.path, "actor": actor, "project": self.project}


def of_notebook(context: Context, reach: Reach, book: Book, part: Part) -> dict[str, Any]:
    """Its cells in the order of their runs with their code, its kernels, and what these did in between.

    Raises Problem 403 for another person's, AlteredEntryError.
    """
    own = book.user is not None and reach.actor == f"user:{book.user}"
    if not (reach.everything or own or reach.datasets):
        raise _not_yours("another person's notebook", "stewards, as far as it touches their datasets")
    whole: dict[int, dict[str, Any]] = {}

    def told(entry: dict[str, Any]) -> dict[str, Any] | None:
        whole[entry["index"]] = entry
        return reach.told(entry)

    page = page_of(newest_first(context, book.filters, part.before), told=told, limit=part.limit, most=SCANNED)
    beside, cut = _beside(context, reach, book, page, part.before)
    shown = [one for one in page["entries"] if one["index"] >= cut] + beside
    shown.sort(key=lambda one: -int(one["index"]))
    readable = [whole[one["index"]] for one in shown if one["action"] in BEGINS and reach.reads_payload(one)]
    texts = texts_of(context, readable)
    entries = [one | {"text": texts.get(one["index"])} for one in with_ends(context, shown)]
    return {"entries": entries, "next": cut or page["next"]}


def _beside(
    context: Context, reach: Reach, book: Book, page: dict[str, Any], before: int | None
) -> tuple[list[dict[str, Any]], int]:
    """What the notebook's kernels did beside the page's entries, and the index where it has to end for too much of it.

    The index is 0 where there was room for all.
    """
    first, last = page["next"] or 0, before if before is not None else 1 << 62
    kernels = {one["kernel"] for one in page["entries"]} | _kernels(context, book)
    people = {one["actor"] for one in page["entries"] if one["kernel"] is not None}
    people |= set() if book.user is None else {f"user:{book.user}"}
    names = [str(action) for action in BESIDE]
    found = reader.entries_between(context.engine, first, last, actors=sorted(people), actions=names, limit=MOST_BESIDE)
    cut = found[-1]["index"] if len(found) == MOST_BESIDE else 0
    mine = [one for one in found if one["kernel"] in kernels and book.project in {None, one["project"]}]
    return [shown for one in mine if (shown := reach.told(one)) is not None], cut


def _kernels(context: Context, book: Book) -> set[str]:
    """Those that were last started for it."""
    query = select(Kernel.id).join(Server, col(Server.id) == Kernel.server).where(Kernel.notebook == book.path)
    if book.user is not None:
        query = query.where(Server.user == book.user)
    if book.project is not None:
        query = query.where(Server.project == book.project)
    with context.reading() as session:
        return set(session.exec(query).all())
