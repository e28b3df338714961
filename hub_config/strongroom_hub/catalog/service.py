"""The verbs of the catalogue: draft, sign, activate; look up what is active."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, col, func, select
from strongroom_policy import catalogue
from strongroom_policy.labels import Label

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog import rules
from strongroom_hub.catalog.kinds import kind_of
from strongroom_hub.catalog.models import Column, Dataset, DatasetVersion, VersionState
from strongroom_hub.catalog.schema import About, ColumnAbout
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import iso_or_none
from strongroom_hub.derived.models import DerivedDataset
from strongroom_hub.policies.trial import Trial, tried

TOLD = (
    "title",
    "description",
    "owner",
    "stewards",
    "source",
    "licence",
    "legal_basis",
    "retention",
    "consent_column",
    "contact",
)
"""What a dataset says of itself: what its newest visible version said."""
_NEWEST = (
    select(Dataset, DatasetVersion)
    .join(DatasetVersion, DatasetVersion.dataset == Dataset.name)  # type: ignore[arg-type]
    .where(Dataset.name == bindparam("name"), DatasetVersion.state == bindparam("state"))
    .order_by(col(DatasetVersion.version).desc())
    .limit(1)
)
_NUMBERED = _NEWEST.where(DatasetVersion.version == bindparam("version"))
_COLUMNS = (
    select(Column)
    .where(Column.dataset == bindparam("name"), Column.version == bindparam("version"))
    .order_by(col(Column.position))
)


@dataclass(frozen=True, slots=True)
class NewDataset:
    """A version that is to be made; `about` is what is told about it."""

    name: str
    label: str
    file_format: str
    about: About


@dataclass(frozen=True, slots=True)
class View:
    """One active version with its columns in order: what decisions are made about."""

    dataset: Dataset
    version: DatasetVersion
    columns: list[Column]

    @property
    def name(self) -> str:
        return self.dataset.name

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    def object(self, column: Column) -> str:
        return f"{self.dataset.name}#{column.name}"

    def as_json(self) -> dict[str, Any]:
        """DATASET of the wire formats without `access`."""
        return {
            "name": self.dataset.name,
            "version": self.version.version,
            "title": self.dataset.title,
            "description": self.dataset.description,
            "label": self.version.label,
            "rows": self.version.rows,
            "owner": self.dataset.owner,
            "stewards": list(self.dataset.stewards),
            "source": self.dataset.source,
            "licence": self.dataset.licence,
            "legal_basis": self.dataset.legal_basis,
            "retention": self.dataset.retention,
            "retained_until": iso_or_none(self.retained_until),
            "consent_column": self.dataset.consent_column,
            "contact": self.dataset.contact,
            "sources": list(self.version.sources),
            "synthetic": self.version.twin is not None and self.twin_allowed,
            "columns": [column_json(column) for column in self.columns],
        }

    @property
    def known(self) -> catalogue.Dataset:
        """As the policy knows it."""
        return _known(self.name, self.version.label, self.columns)

    @property
    def twin_allowed(self) -> bool:
        return rules.twin_allowed(self.version.label, self.dataset.twin_allowed)

    @property
    def retained_until(self) -> datetime | None:
        """The first moment after the version's retention; None without one."""
        return rules.retained_until(self.version.described.get("retention"), self.version.activated)


def _known(name: str, label: str, columns: Iterable[Column]) -> catalogue.Dataset:
    told = {
        column.name: catalogue.Column(kind_of(column.type), frozenset(f"tag:{tag}" for tag in column.tags))
        for column in columns
    }
    return catalogue.Dataset(name, Label.parse(label), told)


def column_json(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "tags": list(column.tags),
        "unit": column.unit,
        "codes": dict(column.codes),
        "nullable": column.nullable,
    }


def draft(writer: AuditWriter, context: Context, new: NewDataset) -> tuple[int, str]:
    """A new draft version and the ingest ticket for it. Raises Problem 422."""
    columns = {name: told.model_dump() for name, told in new.about.columns.items()}
    rules.check_draft(new.name, new.label, new.about.stewards, columns)
    for name, told in new.about.columns.items():
        check_tags(context, name, told.tags or [])

    def work(tx: Tx) -> int:
        if tx.session.get(DerivedDataset, new.name) is not None:
            raise rules.invalid(f"{new.name} was saved by a project, which alone makes versions of it")
        version = add_draft(tx, context, new.name, new.label, new.about, new.file_format)
        tx.record(
            Entry(
                action=Action.DATASET_DRAFT,
                actor="operator",
                object=f"{new.name}@{version}",
                label=new.label,
                detail={"format": new.file_format},
            )
        )
        return version

    version = writer.transact(work)
    return version, ticket(context, dataset=new.name, version=version)


def ticket(context: Context, *, dataset: str, version: int) -> str:
    """Another ingest ticket for a draft: each can be presented once. Raises Problem 404 or 409."""
    with context.reading() as session:
        found = version_of(session, dataset, version)
        if found.state != VersionState.DRAFT:
            raise rules.wrong_state(dataset, version, found.state, "filled")
        return _ingest_ticket(context, dataset, version, found.label, found.described)


def _ingest_ticket(context: Context, dataset: str, version: int, label: str, described: Mapping[str, Any]) -> str:
    return context.tickets.ingest(
        dataset=dataset,
        version=version,
        file_format=described["format"],
        label=label,
        plan=rules.ingest_plan(described, context.clock().date()),
    )


def add_draft(  # noqa: PLR0917 - what a version begins with
    tx: Tx, context: Context, name: str, label: str, about: About, file_format: str = "arrow"
) -> int:
    """The next version of a dataset, as a draft; the dataset is made with its first one. The caller records it."""
    described = {**about.stored(), "format": file_format}
    if tx.session.get(Dataset, name) is None:
        told = {field: described[field] for field in TOLD}
        tx.session.add(Dataset(name=name, created=context.clock(), **told))
        tx.session.flush()
    newest = tx.session.exec(select(func.max(DatasetVersion.version)).where(DatasetVersion.dataset == name)).one()
    version = (newest or 0) + 1
    tx.session.add(
        DatasetVersion(
            dataset=name,
            version=version,
            state=VersionState.DRAFT,
            label=label,
            described=described,
            sources=described["sources"],
            created=context.clock(),
        )
    )
    return version


def sign_manifest(
    writer: AuditWriter,
    context: Context,
    *,
    dataset: str,
    version: int,
    manifest: Mapping[str, Any],
    actor: str,
) -> str:
    """Control's signature over what the vault holds for a draft. Raises Problem 404, 409 or 422.

    `manifest` is the vault's own, out of a receipt that it signed; nobody else's word is signed for.
    """

    def work(tx: Tx) -> str:
        found = version_of(tx.session, dataset, version)
        rules.check_transition(dataset, version, VersionState(found.state), VersionState.SIGNED)
        described = found.described["columns"]
        rules.check_manifest(manifest, dataset=dataset, version=version, label=found.label, described=described)
        found.state = VersionState.SIGNED
        found.rows = manifest["rows"] if rules.is_table(manifest) else None
        signed = rules.decided(manifest, label=found.label, described=described, sources=found.sources)
        found.manifest_jws = context.tickets.manifest(signed)
        tx.session.add(found)
        columns = rules.visible_columns(manifest)
        for position, column in enumerate(columns):
            told = ColumnAbout.model_validate(described.get(column["name"], {}))
            tx.session.add(
                Column(
                    dataset=dataset,
                    version=version,
                    name=column["name"],
                    position=position,
                    type=column["type"],
                    description=told.description,
                    tags=told.tags or [],
                    unit=told.unit,
                    codes=told.codes,
                    nullable=told.nullable,
                )
            )
        tx.record(
            Entry(
                action=Action.DATASET_PUBLISH,
                actor=actor,
                object=f"{dataset}@{version}",
                label=found.label,
                detail={"stage": "signed", "rows": found.rows, "columns": len(columns)},
            )
        )
        return found.manifest_jws

    return writer.transact(work)


def activate(writer: AuditWriter, context: Context, *, dataset: str, version: int, actor: str) -> None:
    """Make a signed version the visible one. Raises Problem 404, or 409 (its state, a guard of the policy)."""

    def work(tx: Tx, broken: tuple[str, ...]) -> None:
        found = version_of(tx.session, dataset, version)
        rules.check_transition(dataset, version, VersionState(found.state), VersionState.ACTIVE)
        if broken:
            raise rules.guards_forbid(f"{dataset} version {version}", broken)
        found.state, found.activated = VersionState.ACTIVE, context.clock()
        about = tx.session.get(Dataset, dataset)
        if about is None:
            raise rules.unknown_dataset(dataset)
        for field in TOLD:
            setattr(about, field, found.described[field])
        tx.session.add_all((found, about))
        tx.record(
            Entry(
                action=Action.DATASET_PUBLISH,
                actor=actor,
                object=f"{dataset}@{version}",
                label=found.label,
                detail={"stage": "active", "rows": found.rows},
            )
        )

    tried(writer, context, lambda session: trial_of(session, dataset, version), work)


def trial_of(session: Session, dataset: str, version: int, *, label: str | None = None) -> Trial:
    """That everybody meets this version (under that label). Raises Problem 404."""
    found = version_of(session, dataset, version)
    return Trial(_known(dataset, label or found.label, columns_of(session, dataset, version)))


def check_tags(context: Context, column: str, tags: list[str]) -> None:
    """Raises Problem 422 for a tag that probably is a misspelling of one that the policy knows."""
    for tag in tags:
        meant = context.policy.meant_tag(tag)
        if meant is not None:
            raise rules.invalid(f"column {column}: unknown tag {tag!r} - did you mean {meant!r}?")


def version_of(session: Session, dataset: str, version: int) -> DatasetVersion:
    """A version in whatever state. Raises Problem 404."""
    found = session.get(DatasetVersion, (dataset, version))
    if found is None:
        raise rules.unknown_dataset(f"{dataset}@{version}")
    return found


def active_view(session: Session, name: str, version: int | None = None) -> View | None:
    """The newest active version of a dataset, or that version if it is active; None when there is none."""
    return _view(session, VersionState.ACTIVE, name, version)


def retired_view(session: Session, name: str, version: int | None) -> View | None:
    """That version, or the newest, if it is retired."""
    return _view(session, VersionState.RETIRED, name, version)


def _view(session: Session, state: VersionState, name: str, version: int | None) -> View | None:
    query = _NEWEST if version is None else _NUMBERED
    found = session.exec(query, params={"name": name, "state": state, "version": version}).first()
    return None if found is None else View(*found, columns_of(session, name, found[1].version))


def columns_of(session: Session, name: str, version: int) -> list[Column]:
    """The columns of a version, in order."""
    return list(session.exec(_COLUMNS, params={"name": name, "version": version}).all())


def active_views(session: Session) -> list[View]:
    """The newest active version of each dataset, by name."""
    names = session.exec(select(Dataset.name).order_by(Dataset.name)).all()
    return [view for name in names if (view := active_view(session, name)) is not None]


def all_versions(session: Session) -> list[dict[str, Any]]:
    """For the operator: every version in whatever state, newest first within its dataset."""
    found = session.exec(
        select(DatasetVersion).order_by(DatasetVersion.dataset, col(DatasetVersion.version).desc())
    ).all()
    return [
        {
            "name": version.dataset,
            "version": version.version,
            "state": version.state,
            "label": version.label,
            "rows": version.rows,
            "manifest": version.manifest_digest,
        }
        for version in found
    ]


def manifest_digest(session: Session, dataset: str, version: int) -> str:
    """The digest of a version's signed manifest; empty where it has none."""
    found = session.get(DatasetVersion, (dataset, version))
    return "" if found is None else found.manifest_digest


def version_columns(session: Session, dataset: str, version: int) -> dict[str, list[str]]:
    """Tags by column name of any version, active or superseded: what was read stays what it was."""
    found = session.exec(select(Column).where(Column.dataset == dataset, Column.version == version)).all()
    return {column.name: list(column.tags) for column in found}
