"""From a derived dataset to its sources: who may read it is decided by them, each time anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select
from strongroom_policy.decision import Decision
from strongroom_policy.labels import Label, highest

from strongroom_hub.catalog.models import DatasetVersion, VersionState
from strongroom_hub.catalog.service import View, version_columns
from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.derived import rules
from strongroom_hub.derived.models import DerivedDataset, DerivedSource, DerivedVersion
from strongroom_hub.problems import Problem
from strongroom_hub.projects.models import Source

WHY_LINES = 12


@dataclass(frozen=True, slots=True)
class Seen:
    """A source of a workspace or of a derived version, in one form."""

    dataset: str
    version: int
    label: str
    columns: list[str]
    masks: dict[str, Any]
    rows: list[str] | None
    """Row filters that keep every row which was seen; None: all rows."""
    subject: str | None

    @property
    def name(self) -> str:
        return f"{self.dataset}@{self.version}"

    @classmethod
    def by_workspace(cls, source: Source) -> Seen:
        return cls(
            source.dataset,
            source.version,
            source.label,
            source.columns,
            source.masks,
            source.rows,
            source.subject,
        )

    @classmethod
    def by_derived(cls, source: DerivedSource) -> Seen:
        return cls(
            source.source,
            source.source_version,
            source.label,
            source.columns,
            source.masks,
            source.rows,
            source.subject,
        )


def project_of(session: Session, dataset: str) -> str | None:
    """The project that saved a dataset; None for one that was brought in from outside."""
    found = session.get(DerivedDataset, dataset)
    return None if found is None else found.project


def sources_of_version(session: Session, dataset: str, version: int) -> list[Seen]:
    """All that a derived version was made from; empty for others."""
    found = session.exec(
        select(DerivedSource)
        .where(DerivedSource.dataset == dataset, DerivedSource.version == version)
        .order_by(DerivedSource.source, col(DerivedSource.source_version))
    ).all()
    return [Seen.by_derived(source) for source in found]


def check_sources(
    session: Session, context: Context, sources: Sequence[Seen], *, user: str, project: str, of: str
) -> list[Decision]:
    """The rulings by which the user may read every column of all sources as it was seen; what they owe is owed for
    what was made from them. Raises Problem 403 that names the first source that is in the way.
    """
    questions = [
        (source, question) for source in sources for question in _questions(session, source, user, project, of)
    ]
    decided = context.policy.decide_all(question for _, question in questions)
    for (source, question), decision in zip(questions, decided, strict=True):
        if not decision.allowed:
            raise rules.source_refused(source.name, of, tuple(decision.why())[:WHY_LINES])
        column = question.object.partition("#")[2]
        due = decision.obligations.mask
        if due.value is not None and not rules.mask_covers(due.value, source.masks.get(column)):
            why = f"rule {due.rule} masks {question.object} by {due.value}, and it was made from other values"
            raise rules.source_refused(source.name, of, (why,))
        rows = decision.obligations.rows
        today = context.clock().date()
        if rows.value is not None and not rules.rows_cover(rows.value.bound(project=project, today=today), source.rows):
            why = f"rule {rows.rule} lets only rows be read for which {rows.value}, and it was made from other rows"
            raise rules.source_refused(source.name, of, (why,))
    return decided


def _questions(session: Session, source: Seen, user: str, project: str, of: str) -> Iterable[Question]:
    version = session.get(DatasetVersion, (source.dataset, source.version))
    if version is None or version.state != VersionState.ACTIVE:
        raise rules.source_gone(source.name, of)
    tags = version_columns(session, source.dataset, source.version)
    label = label_now(session, source)
    for column in source.columns:
        yield Question(
            user=user,
            project=project,
            action="read",
            object=f"{source.dataset}#{column}",
            label=label,
            tags=tuple(tags.get(column, ())),
        )


def label_now(session: Session, source: Seen) -> str:
    """The label of a source as it is now, or was when it was read, whichever is higher."""
    version = session.get(DatasetVersion, (source.dataset, source.version))
    return highest((source.label, "secret" if version is None else version.label))


def check_derived(
    session: Session, context: Context, view: View, *, user: str, project: str
) -> tuple[list[Seen], list[Decision]]:
    """Sources of a dataset that is about to be read, and the rulings on them; nothing for one that is not derived.

    Raises Problem 403: another project's, a source that may not be read, or one that was relabelled above it.
    """
    owner = project_of(session, view.name)
    if owner is None:
        return [], []
    of = f"{view.name}@{view.version.version}"
    if owner != project:
        raise rules.source_refused(
            view.name, of, (f"it was saved by project {owner}, and is read in that project only",)
        )
    sources = sources_of_version(session, view.name, view.version.version)
    rulings = check_sources(session, context, sources, user=user, project=project, of=of)
    for source in sources:
        if Label.parse(label_now(session, source)) > Label.parse(view.version.label):
            raise rules.relabelled(source.name, of)
    return sources, rulings


def may_see(session: Session, context: Context, view: View, *, user: str, project: str) -> bool:
    """Whether its catalogue entry may be seen: its words were chosen by code that had read the sources."""
    try:
        check_derived(session, context, view, user=user, project=project)
    except Problem:
        return False
    return True


def has_known(session: Session, workspace: int, user: str, view: View) -> bool:
    """Whether this person saved a version of it, or this workspace has read one: then its name is no news."""
    saved = session.exec(
        select(DerivedVersion.entry).where(DerivedVersion.dataset == view.name, DerivedVersion.user == user)
    ).first()
    read = session.exec(select(Source.id).where(Source.workspace == workspace, Source.dataset == view.name)).first()
    return saved is not None or read is not None


def told(session: Session, view: View) -> dict[str, Any] | None:
    """`derived` of a DATASET: by which project and whom it was saved; None for one that is not derived."""
    project = project_of(session, view.name)
    saved = session.get(DerivedVersion, (view.name, view.version.version))
    if project is None or saved is None:
        return None
    return {"project": project, "user": saved.user, "quiet": saved.quiet, "entry": saved.entry}
