"""What stewards and the operator are shown of a dataset: versions, what was found, who reads, what waits for them."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from strongroom_hub.access.models import Grant
from strongroom_hub.access.pages import grant_json
from strongroom_hub.access.rules import GrantState
from strongroom_hub.catalog import decisions, findings, rules, service
from strongroom_hub.catalog.changes import relabelling_json
from strongroom_hub.catalog.models import Dataset, DatasetVersion, Relabelling, VersionState
from strongroom_hub.catalog.schema import About, ColumnAbout
from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.problems import Problem

_UNDECIDED = (VersionState.DRAFT, VersionState.LOADED, VersionState.SIGNED)
_NO_TWIN = "There is no synthetic twin: the version is older than twins are, holds files, or was derived in a project."


def may_steward(context: Context, user: str, dataset: str, label: str) -> bool:
    """Whether the policy lets the user decide on a dataset of this label, whatever state its version is in."""
    question = Question(user=user, project=None, action="approve-access", object=dataset, label=label, tags=())
    return context.policy.decide(question).allowed


def check_steward(context: Context, user: str, dataset: str, version: int) -> None:
    """Raises Problem 404 where the user has no say, as where there is no such version."""
    with context.reading() as session:
        found = service.version_of(session, dataset, version)
    if not may_steward(context, user, dataset, found.label):
        raise rules.unknown_dataset(f"{dataset}@{version}")


def check_steward_of_newest(context: Context, user: str, dataset: str) -> None:
    """Raises Problem 404 where the user has no say on the version that people see, or there is none."""
    with context.reading() as session:
        found = service.active_view(session, dataset)
    if found is None or not may_steward(context, user, dataset, found.version.label):
        raise rules.unknown_dataset(dataset)


def stewards_of_relabelling(context: Context, user: str, relabelling: str) -> None:
    """Raises Problem 404 where the user has no say in this proposal of a label."""
    with context.reading() as session:
        change = session.get(Relabelling, relabelling)
    if change is None or not may_steward(context, user, change.dataset, change.before):
        raise rules.unknown_relabelling()


def drafts(context: Context, user: str | None) -> list[dict[str, Any]]:
    """Versions that nobody sees yet and on which the user has a say (None: the operator, who sees all)."""
    with context.reading() as session:
        found = session.exec(
            select(DatasetVersion)
            .where(col(DatasetVersion.state).in_(_UNDECIDED))
            .order_by(col(DatasetVersion.created).desc())
        ).all()
        return [
            _line(version) | {"title": version.described["title"], "waits_for": decisions.waiting(version)["undecided"]}
            for version in found
            if user is None or may_steward(context, user, version.dataset, version.label)
        ]


def page(context: Context, name: str, user: str | None) -> dict[str, Any]:
    """All about one dataset, its newest version first. Raises Problem 404 for who has no say in it (None: operator)."""
    with context.reading() as session:
        dataset = session.get(Dataset, name)
        versions = session.exec(
            select(DatasetVersion).where(DatasetVersion.dataset == name).order_by(col(DatasetVersion.version).desc())
        ).all()
        if dataset is None or not versions:
            raise rules.unknown_dataset(name)
        if user is not None and not any(may_steward(context, user, name, one.label) for one in versions):
            raise rules.unknown_dataset(name)
        view = service.active_view(session, name)
        grants = session.exec(
            select(Grant).where(Grant.dataset == name, Grant.state == GrantState.ACTIVE).order_by(col(Grant.until))
        ).all()
        changes = session.exec(
            select(Relabelling).where(Relabelling.dataset == name).order_by(col(Relabelling.at).desc())
        ).all()
        return {
            "name": name,
            "title": dataset.title,
            "dataset": view.as_json() if view is not None else None,
            "versions": [_line(one) for one in versions],
            "grants": [grant_json(grant) for grant in grants],
            "relabellings": [relabelling_json(one) | {"may_approve": _may_approve(one, user)} for one in changes],
            "used_by": _used_by(session, name),
            "twin": _twin(view) | {"may_decide": _may_decide(context, view, user)} if view is not None else None,
        }


def _may_approve(change: Relabelling, user: str | None) -> bool:
    """Whether this steward can agree to a lower label; the operator (None) never does."""
    return user is not None and change.state == "open" and change.proposed_by != f"user:{user}"


def _twin(view: service.View) -> dict[str, Any]:
    """TWIN of the wire formats without `may_decide`: of the version that people see."""
    twin = view.version.twin
    report = view.version.report or {}
    return {
        "version": view.version.version,
        "rows": None if twin is None else twin["rows"],
        "made": None if twin is None else iso(view.version.created),
        "why": "" if twin is not None else report.get("synthetic", {}).get("why", _NO_TWIN),
        "allowed": view.twin_allowed,
        "decided": view.dataset.twin_allowed is not None,
    }


def _may_decide(context: Context, view: service.View, user: str | None) -> bool:
    return user is None or may_steward(context, user, view.name, view.version.label)


def version(context: Context, name: str, number: int | None, user: str | None) -> dict[str, Any]:
    """One version with what was found in it. Raises Problem 404 as `page`."""
    with context.reading() as session:
        found = _numbered(session, name, number)
        if user is not None and not may_steward(context, user, name, found.label):
            raise rules.unknown_dataset(f"{name}@{found.version}")
        about = found.described
        return {
            **_line(found),
            **{field: about.get(field) for field in service.TOLD},
            "about": {field: about[field] for field in About.model_fields if field in about},
            "sources": list(found.sources),
            "columns": _columns(session, found),
            "decided": found.decided,
            "profile": findings.shown_profile(found.report, found.label),
            **decisions.waiting(found),
        }


def profile(context: Context, name: str, number: int | None) -> dict[str, Any]:
    """What may be told of a version's data under its label, and of its checks. Raises Problem 404.

    The caller has asked who may know.
    """
    with context.reading() as session:
        view = service.active_view(session, name, number)
        if view is None:
            raise rules.unknown_dataset(name)
        return {
            "dataset": name,
            "version": view.version.version,
            "label": view.version.label,
            "profile": findings.shown_profile(view.version.report, view.version.label),
            "quality": findings.shown_quality(view.version.report, view.version.label),
        }


def difference(context: Context, name: str, before: int, after: int | None, user: str | None) -> dict[str, Any]:
    """Two versions side by side. Raises Problem 404 as `page`."""
    old, new = (version(context, name, number, user) for number in (before, after))
    return {"name": name, **findings.difference(old, new)}


def _numbered(session: Session, name: str, number: int | None) -> DatasetVersion:
    if number is not None:
        return service.version_of(session, name, number)
    view = service.active_view(session, name)
    if view is None:
        raise rules.unknown_dataset(f"{name}@latest")
    return view.version


def _line(found: DatasetVersion) -> dict[str, Any]:
    return {
        "name": found.dataset,
        "version": found.version,
        "state": found.state,
        "label": found.label,
        "rows": found.rows if found.rows is not None else (found.manifest or {}).get("rows"),
        "created": iso(found.created),
        "activated": iso_or_none(found.activated),
        "retained_until": iso_or_none(rules.retained_until(found.described.get("retention"), found.activated)),
        "retired": iso_or_none(found.retired),
        "retired_by": found.retired_by,
        "retired_why": found.retired_why,
        "failed_checks": sum(one["state"] != "passed" for one in found.report["quality"]) if found.report else 0,
    }


def _columns(session: Session, found: DatasetVersion) -> list[dict[str, Any]]:
    """Of a draft as the vault says, else as they are published."""
    stored = service.columns_of(session, found.dataset, found.version)
    if stored:
        return [service.column_json(column) for column in stored]
    told = found.described["columns"]
    listed = rules.visible_columns(found.manifest) if found.manifest else [{"name": name, "type": ""} for name in told]
    return [
        {
            "name": one["name"],
            "type": one["type"],
            **ColumnAbout.model_validate(told.get(one["name"], {})).model_dump(exclude={"type"}),
        }
        for one in listed
    ]


def _used_by(session: Session, name: str) -> list[str]:
    """Versions of other datasets that were made from this one."""
    found = session.exec(select(DatasetVersion).where(DatasetVersion.state == VersionState.ACTIVE)).all()
    return sorted(
        f"{one.dataset}@{one.version}"
        for one in found
        if any(source.partition("@")[0] == name for source in one.sources)
    )


def latest_or(number: str) -> int | None:
    """`latest` or a number out of an address. Raises Problem 404."""
    if number == "latest":
        return None
    if not number.isdecimal() or not 0 < int(number) < 10**9:
        raise Problem(404, "unknown-dataset", "No such version", f"{number!r} is no version.", next="Use @latest.")
    return int(number)
