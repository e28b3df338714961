"""The verbs of saving: a draft under the label and source set of the workspace, signed and made visible at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, select
from strongroom_policy.labels import highest

from strongroom_hub.access.rules import not_permitted
from strongroom_hub.audit.entries import Action
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog import service as catalogue
from strongroom_hub.catalog.decisions import release
from strongroom_hub.catalog.models import Dataset, DatasetVersion
from strongroom_hub.catalog.schema import About, ColumnAbout
from strongroom_hub.catalog.service import version_columns
from strongroom_hub.control.callers import ServerCaller
from strongroom_hub.control.context import Context, settle
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.derived import lineage, rules
from strongroom_hub.derived.lineage import Seen
from strongroom_hub.derived.models import DerivedDataset, DerivedSource, DerivedVersion
from strongroom_hub.problems import Problem
from strongroom_hub.projects.models import Workspace
from strongroom_hub.projects.service import check_member, entry_of, sources_of, working_kernel, workspace_of

FORMAT = "arrow"


@dataclass(frozen=True, slots=True)
class Save:
    """What a kernel wants to save, with hash and size of the bytes, which its server has copied already."""

    kernel: str
    cell: int | None
    dataset: str
    title: str
    description: str
    columns: Mapping[str, str]
    quiet: bool
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Saving:
    """A draft that waits for its bytes."""

    dataset: str
    version: int
    label: str
    sources: tuple[str, ...]
    entry: int


def begin(writer: AuditWriter, context: Context, caller: ServerCaller, save: Save) -> dict[str, Any]:
    """A draft version and the ticket for its bytes. Label and sources are those of this moment, after the copy.

    Raises Problem 403 (membership, policy, a source that may not be read now), 409, 413, 422 or 429. Refusals are
    entries.
    """
    if not context.bounds.saves.take(caller.workspace):
        raise rules.too_fast()
    saving = settle(writer.transact(lambda tx: _begin(tx, context, caller, save)))
    ticket = context.tickets.ingest(
        dataset=saving.dataset, version=saving.version, file_format=FORMAT, label=saving.label
    )
    return {
        "dataset": saving.dataset,
        "version": saving.version,
        "label": saving.label,
        "sources": list(saving.sources),
        "entry": saving.entry,
        "ticket": ticket,
    }


def _begin(tx: Tx, context: Context, caller: ServerCaller, save: Save) -> Saving | Problem:
    working_kernel(tx.session, context, caller, save.kernel)
    workspace = workspace_of(tx.session, caller)
    sources = [Seen.by_workspace(source) for source in sources_of(tx.session, caller.workspace)]
    try:
        check_member(tx.session, context, caller.user, caller.project)
        _check_may_save(tx.session, context, caller, save, label=workspace.label, sources=sources)
    except Problem as problem:
        tx.record(
            entry_of(
                caller,
                Action.DATASET_REFUSE_SAVE,
                kernel=save.kernel,
                object=save.dataset[:128],
                label=workspace.label,
                sources=tuple(source.name for source in sources),
                detail={"cell": save.cell, "bytes": save.bytes, "problem": problem.slug, "why": list(problem.why)},
            )
        )
        return problem
    return _record(tx, context, caller, save, workspace=workspace, sources=sources)


def _check_may_save(
    session: Session, context: Context, caller: ServerCaller, save: Save, *, label: str, sources: list[Seen]
) -> None:
    rules.check_name(save.dataset, caller.project)
    rules.check_size(save.bytes)
    if session.get(Dataset, save.dataset) is not None and (lineage.project_of(session, save.dataset) != caller.project):
        raise rules.name_taken(save.dataset)
    rules.check_room(_versions_of(session, caller.project), caller.project)
    question = Question(
        user=caller.user, project=caller.project, action="save", object=save.dataset, label=label, tags=()
    )
    decision = context.policy.decide(question)
    if not decision.allowed:
        raise not_permitted("save", f"{save.dataset} in project {caller.project}", tuple(decision.why()))
    lineage.check_sources(
        session, context, sources, user=caller.user, project=caller.project, of="What this workspace knows"
    )


def _versions_of(session: Session, project: str) -> int:
    return session.exec(
        select(func.count())
        .select_from(DerivedVersion)
        .join(DerivedDataset, col(DerivedDataset.dataset) == col(DerivedVersion.dataset))
        .where(DerivedDataset.project == project)
    ).one()


def _record(
    tx: Tx, context: Context, caller: ServerCaller, save: Save, *, workspace: Workspace, sources: list[Seen]
) -> Saving:
    names = tuple(source.name for source in sources)
    label = highest([workspace.label, *(lineage.label_now(tx.session, source) for source in sources)])
    version = catalogue.add_draft(tx, context, save.dataset, label, _about(tx.session, caller, save, sources))
    if tx.session.get(DerivedDataset, save.dataset) is None:
        tx.session.add(DerivedDataset(dataset=save.dataset, project=caller.project, user=caller.user))
    entry = tx.record(
        entry_of(
            caller,
            Action.DATASET_SAVE,
            kernel=save.kernel,
            object=f"{save.dataset}@{version}",
            label=label,
            sources=names,
            detail={
                "cell": save.cell,
                "sha256": save.sha256,
                "bytes": save.bytes,
                "policy": context.policy.version,
                "quiet": save.quiet,
            },
        )
    )
    tx.session.add(
        DerivedVersion(
            dataset=save.dataset,
            version=version,
            workspace=caller.workspace,
            user=caller.user,
            quiet=save.quiet,
            sha256=save.sha256,
            bytes=save.bytes,
            at=context.clock(),
            entry=entry,
        )
    )
    tx.session.add_all(
        DerivedSource(
            dataset=save.dataset,
            version=version,
            source=source.dataset,
            source_version=source.version,
            label=source.label,
            columns=list(source.columns),
            masks=dict(source.masks),
            rows=None if source.rows is None else list(source.rows),
            subject=source.subject,
        )
        for source in sources
    )
    return Saving(save.dataset, version, label, names, entry)


def _about(session: Session, caller: ServerCaller, save: Save, sources: list[Seen]) -> About:
    """What the catalogue tells: the person's words, and of the sources their stewards, who keep the say over it."""
    datasets = [session.get(Dataset, source.dataset) for source in sources]
    stewards = dict.fromkeys(steward for one in datasets if one is not None for steward in one.stewards)
    return About(
        title=save.title.strip() or save.dataset,
        description=save.description,
        owner=caller.user,
        stewards=list(stewards)[:20] or [caller.user],
        source=f"saved by {caller.user} in project {caller.project}",
        columns={name: ColumnAbout(description=text) for name, text in save.columns.items()},
        sources=[source.name for source in sources][:100],
    )


def finish(
    writer: AuditWriter, context: Context, caller: ServerCaller, *, dataset: str, version: int, receipt: str
) -> None:
    """Sign what the vault says that it took in for a save of this workspace, and make it visible to the project.

    Raises Problem 404, 409, 422 (also for a receipt that the vault did not write for this draft) or 503.
    """
    with context.reading() as session:
        _own(session, caller, dataset, version)
    manifest = context.receipts.read_taken(receipt, dataset=dataset, version=version).manifest

    def describe(tx: Tx) -> None:
        """Columns are known now: each gets the tags of what it was read from; descriptions of others are dropped."""
        draft = _own(tx.session, caller, dataset, version)
        sources = [
            (version_columns(tx.session, one.dataset, one.version), one.columns, one.masks)
            for one in lineage.sources_of_version(tx.session, dataset, version)
        ]
        told = draft.described["columns"]
        described = {
            column["name"]: {
                **ColumnAbout.model_validate(told.get(column["name"], {})).model_dump(),
                "tags": rules.inherited_tags(column["name"], sources),
            }
            for column in manifest["columns"]
        }
        draft.described = {**draft.described, "columns": described}
        tx.session.add(draft)

    writer.transact(describe)
    catalogue.sign_manifest(writer, context, dataset=dataset, version=version, manifest=manifest, actor=caller.actor)
    release(writer, context, dataset, version, caller.actor)
    context.policy.rebuild(writer)


def _own(session: Session, caller: ServerCaller, dataset: str, version: int) -> DatasetVersion:
    saved = session.get(DerivedVersion, (dataset, version))
    draft = session.get(DatasetVersion, (dataset, version))
    if saved is None or draft is None or saved.workspace != caller.workspace:
        raise rules.not_a_draft_of_yours(dataset, version)
    return draft
