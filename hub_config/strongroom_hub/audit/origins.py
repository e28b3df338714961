"""All that led to a file that leaves: one chain from the data to the release, oldest first, each step an entry.

Tables say where the entries lie. That they are the ones is what their leaves say: the export's own entry names its
cells, files and sources, an end its begin, a read who read. A table that says something else is an alarm, not a chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlmodel import Session, col, select

from strongroom_hub.airlock import rules as airlock
from strongroom_hub.airlock.models import Export, ExportFile
from strongroom_hub.airlock.service import may_review
from strongroom_hub.audit import reader
from strongroom_hub.audit.ends import with_ends
from strongroom_hub.audit.entries import BEGINS, Action
from strongroom_hub.audit.reach import Reach
from strongroom_hub.audit.reader import AlteredEntryError
from strongroom_hub.audit.texts import texts_of
from strongroom_hub.control.context import Context
from strongroom_hub.problems import Problem
from strongroom_hub.projects.models import Cell, Source

CELLS_IN_ENTRY = 100
"""Of the cells that an export names its entry holds so many."""
ASKED = 500
MOST = 2_000


class Role(StrEnum):
    """What an entry has to do with the export."""

    DATA = "data"
    """How a source came to be there, and its label."""
    ACCESS = "access"
    """Who may read the sources: asked, decided, granted, taken back."""
    READ = "read"
    """What the workspace read."""
    CELL = "cell"
    """Named as the files' origin."""
    EXPORT = "export"
    """The request itself, its review, its release."""


_ACCESS = (
    Action.ACCESS_REQUEST_SUBMIT,
    Action.ACCESS_REQUEST_APPROVE,
    Action.ACCESS_REQUEST_DENY,
    Action.ACCESS_REQUEST_WITHDRAW,
    Action.GRANT_CREATE,
    Action.GRANT_REVOKE,
    Action.GRANT_EXPIRE,
)
_DATA = (Action.DATASET_PUBLISH, Action.DATASET_SAVE, Action.DATASET_RELABEL, Action.DATASET_RETIRE)


@dataclass(slots=True)
class _Chain:
    """What is known of an export: its rows, and its steps by index."""

    export: Export
    files: list[ExportFile]
    steps: dict[int, tuple[Role, dict[str, Any]]] = field(default_factory=dict)

    @property
    def actor(self) -> str:
        return f"user:{self.export.user}"

    @property
    def versions(self) -> list[str]:
        return [f"{one['dataset']}@{one['version']}" for one in self.export.sources]

    def add(self, role: Role, entries: Iterable[dict[str, Any]]) -> None:
        for entry in entries:
            self.steps.setdefault(entry["index"], (role, entry))

    def is_theirs(self, entry: dict[str, Any]) -> bool:
        """Whether it was done by who asks, in the project of the export."""
        return bool(entry["actor"] == self.actor and entry["project"] == self.export.project)


def of_export(context: Context, reach: Reach, export_id: str, *, workspace: int | None = None) -> dict[str, Any]:
    """`{"export","entries","left_out"}`, oldest first, each entry with its `role`. For auditors, who asked for it, its
    reviewers, and in part for who decides on one of its sources. `workspace`: it has to be of that one. The id may come
    as the log has it (`export:ID`).

    Raises Problem 404, Problem 500 and AlteredEntryError where tables and log differ.
    """
    export_id = export_id.removeprefix("export:")
    with context.reading() as session:
        export = session.get(Export, export_id)
        if export is None or workspace not in {None, export.workspace}:
            raise airlock.unknown_export()
        found = session.exec(select(ExportFile).where(ExportFile.export == export_id).order_by(col(ExportFile.index)))
        chain = _Chain(export, list(found.all()))
        own = reach.actor == chain.actor
        reviews = not (own or reach.everything) and may_review(context, export, reach.actor.removeprefix("user:"))
        touches = any(one["dataset"] in reach.datasets for one in export.sources)
        if not (reach.everything or own or reviews or touches):
            raise airlock.unknown_export()
        chain.add(Role.EXPORT, _requested(context, chain))
        chain.add(Role.CELL, _cells(context, session, chain))
        chain.add(Role.READ, _reads(context, session, chain))
    chain.add(Role.ACCESS, _access(context, chain))
    chain.add(Role.DATA, reader.entries_about(context.engine, chain.versions, actions=_DATA, limit=MOST))
    viewer = _Viewer(reach, own=own, reviews=reviews)
    return _told(context, chain, viewer)


# -- the steps ------------------------------------------------------------------------------------------------------


def _requested(context: Context, chain: _Chain) -> list[dict[str, Any]]:
    """The export's own entries, of which the first says what the table has to say, too."""
    export, name = chain.export, f"export:{chain.export.id}"
    draft = next(iter(reader.entries_about(context.engine, [name], actions=[Action.EXPORT_DRAFT], limit=1)), None)
    if draft is None:
        raise Problem(
            500,
            "audit-altered",
            "The audit log and the table of exports differ",
            f"No entry of the log says that export {export.id} was asked for.",
            why=("an export that is in no entry was put into the database past the service",),
            next="Keep the database as it is, run `strongroom audit verify` and tell the auditor.",
        )
    files = [{"name": file.name, "sha256": file.sha256, "bytes": file.bytes} for file in chain.files]
    told = draft["detail"]
    same = (
        chain.is_theirs(draft)
        and told["files"] == files
        and told["cells"] == export.cells[:CELLS_IN_ENTRY]
        and set(draft["sources"]) == set(chain.versions)
    )
    if not same:
        raise AlteredEntryError(draft["index"], "the table of exports names other files, cells or sources than it does")
    return [draft, *reader.entries_about(context.engine, [name], limit=MOST)]


def _cells(context: Context, session: Session, chain: _Chain) -> list[dict[str, Any]]:
    """Begins of the named cells and of the one that prepared the request, each with its end."""
    export = chain.export
    named = sorted({*export.cells, *([] if export.prepared is None else [export.prepared])})
    begins = _at(context, named)
    for begin in begins:
        if begin["action"] not in BEGINS or not chain.is_theirs(begin):
            raise AlteredEntryError(begin["index"], f"export {export.id} names it as a cell, and it is none of theirs")
    rows = session.exec(
        select(Cell.entry, Cell.end_entry).where(col(Cell.entry).in_(named), col(Cell.end_entry).is_not(None))
    ).all()
    ends = {end["index"]: end for end in _at(context, sorted({int(end or 0) for _, end in rows}))}
    if len(begins) < len(named):
        raise AlteredEntryError(max(named), f"export {export.id} names a cell that the log does not have")
    for cell, at in rows:
        end = ends.get(int(at or 0))
        if end is None or end["action"] != Action.CELL_END or end["detail"]["begin"] != cell:
            raise AlteredEntryError(cell, f"entry {at}, which is to be its end, is not")
    return begins + list(ends.values())


def _reads(context: Context, session: Session, chain: _Chain) -> list[dict[str, Any]]:
    """The reads that brought the sources in, further ones of the named cells, and where the label rose."""
    export = chain.export
    rows = session.exec(
        select(Source.dataset, Source.version, Source.entry).where(Source.workspace == export.workspace)
    ).all()
    first = [entry for dataset, version, entry in rows if f"{dataset}@{version}" in set(chain.versions)]
    ends = [one for role, one in chain.steps.values() if role is Role.CELL and one["action"] == Action.CELL_END]
    further = [read["entry"] for end in ends for read in end["detail"].get("reads", [])]
    reads = _at(context, sorted({*first, *further}))
    for read in reads:
        if read["action"] != Action.READ_ALLOW or not chain.is_theirs(read):
            raise AlteredEntryError(read["index"], f"it is to be a read of export {export.id}'s workspace, and is not")
    place = f"workspace:{export.user}/{export.project}"
    return reads + reader.entries_about(context.engine, [place], actions=[Action.LABEL_RAISE], limit=MOST)


def _access(context: Context, chain: _Chain) -> list[dict[str, Any]]:
    """About this person's access to the sources in this project."""
    names = sorted({one["dataset"] for one in chain.export.sources})
    found = reader.entries_about(context.engine, names, actions=_ACCESS, project=chain.export.project, limit=MOST)
    user = chain.export.user
    return [one for one in found if one["actor"] == chain.actor or user in _about_whom(one)]


def _about_whom(entry: dict[str, Any]) -> set[str]:
    return {str(entry["detail"].get(name)) for name in ("requester", "user")}


def _at(context: Context, indexes: Sequence[int]) -> list[dict[str, Any]]:
    parts = [indexes[at : at + ASKED] for at in range(0, len(indexes), ASKED)]
    return [entry for part in parts for entry in reader.entries_at(context.engine, part)]


# -- what is told ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Viewer:
    """Who looks at the chain."""

    reach: Reach
    own: bool
    """They asked for the export."""
    reviews: bool
    """They decide on all its sources."""

    def told(self, role: Role, entry: dict[str, Any]) -> dict[str, Any] | None:
        if self.reach.everything or self.reviews:
            return entry
        if not self.own:
            return self.reach.told(entry)
        # how reviewers looked, and how the data came in, is not theirs to see
        if role is Role.DATA or entry["action"] == Action.EXPORT_VIEW:
            return None
        return self.reach.told_of_own(entry)

    def reads(self, role: Role, entry: dict[str, Any]) -> bool:
        """As on the pages of the export: code and words of the request, and what the review said."""
        concerned = self.own or self.reviews
        return self.reach.reads_payload(entry) or (concerned and role in {Role.CELL, Role.EXPORT})


def _told(context: Context, chain: _Chain, viewer: _Viewer) -> dict[str, Any]:
    export, entries = chain.export, []
    released = [index for index, (_, one) in chain.steps.items() if one["action"] == Action.EXPORT_RELEASE]
    # What came after the release did not lead to it; what became of the release is the export's own.
    last = max(released, default=1 << 62)
    steps = {
        index: (role, one) for index, (role, one) in sorted(chain.steps.items()) if role is Role.EXPORT or index < last
    }
    texts = texts_of(context, [one for role, one in steps.values() if viewer.reads(role, one)])
    for index, (role, one) in steps.items():
        shown = viewer.told(role, one)
        if shown is not None:
            entries.append(shown | {"role": role, "text": texts.get(index)})
    return {
        "export": {"id": export.id, "user": export.user, "project": export.project, "state": export.state},
        "entries": with_ends(context, entries),
        # to its author no number: how often code read is its choice
        "left_out": viewer.own or len(entries) < len(steps),
    }
