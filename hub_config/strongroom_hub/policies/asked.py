"""The log's last readings, outputs and exports as questions that can be put to a draft."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlmodel import Session, select
from strongroom_policy.decision import Request
from strongroom_policy.replay import Asked

from strongroom_hub.airlock.models import Export
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Action
from strongroom_hub.catalog.service import version_columns
from strongroom_hub.control.context import Context
from strongroom_hub.policies.grants import provided_groups
from strongroom_hub.projects.models import Source, Workspace

ACTIONS = (Action.READ_ALLOW, Action.READ_DENY, Action.DISPLAY_SHOW, Action.EXPORT_DRAFT)
_BY_POLICY = frozenset({"no-grant", "not-cleared", "expired", "revoked", "column-not-allowed", "not-a-member"})
"""Denials that rules made; a box that was too weak is not their business."""


def last_asked(context: Context, last: int) -> tuple[list[Asked], int]:
    """The newest `last` of the log's decisions, newest first; and how many of them no rule decided.

    Raises AlteredEntryError.
    """
    found = [entry for action in ACTIONS for entry in reader.entries(context.engine, action=action, limit=last)]
    newest = sorted(found, key=lambda entry: int(entry["index"]), reverse=True)[:last]
    with context.reading() as session:
        groups = provided_groups(session)
        asked = [_grouped(one, groups) for entry in newest if (one := _asked(session, entry)) is not None]
    return asked, len(newest) - len(asked)


def _grouped(asked: Asked, groups: Mapping[str, frozenset[str]]) -> Asked:
    """With the groups that the identity provider says today: who was in which one then is in the log only."""
    held = (groups.get(request.subject.removeprefix("user:"), frozenset()) for request in asked.requests)
    return replace(asked, requests=tuple(replace(one, groups=g) for one, g in zip(asked.requests, held, strict=True)))


def _asked(session: Session, entry: Mapping[str, Any]) -> Asked | None:
    detail = entry["detail"]
    match entry["action"]:
        case Action.READ_ALLOW if detail.get("synthetic"):
            return None  # no rule about reading decided that
        case Action.READ_ALLOW:
            masks = {_column(entry, column): mask for column, mask in detail["masks"].items()}
            return _about(entry, _reading(session, entry, detail["columns"]), masks=masks)
        case Action.READ_DENY if detail["problem"] in _BY_POLICY and "@" in (entry["object"] or ""):
            columns = detail["columns"]
            return _about(entry, _reading(session, entry, columns), allowed=False, any_of=columns is None)
        case Action.DISPLAY_SHOW:
            return _about(entry, _shown(session, entry))
        case Action.EXPORT_DRAFT:
            return _about(entry, _exported(session, entry))
    return None


def _about(
    entry: Mapping[str, Any],
    requests: Iterator[Request],
    *,
    allowed: bool = True,
    masks: Mapping[str, str] | None = None,
    any_of: bool = False,
) -> Asked | None:
    several = tuple(requests)
    return Asked(entry["index"], several, allowed, masks or {}, any_of) if several else None


def _column(entry: Mapping[str, Any], column: str) -> str:
    return f"{entry['object'].partition('@')[0]}#{column}"


def _reading(session: Session, entry: Mapping[str, Any], columns: list[str] | None) -> Iterator[Request]:
    dataset, _, version = entry["object"].partition("@")
    tags = version_columns(session, dataset, int(version))
    for column in tags if columns is None else columns:
        yield _request(entry, "read", f"{dataset}#{column}", entry["label"], tags.get(column, []))


def _shown(session: Session, entry: Mapping[str, Any]) -> Iterator[Request]:
    """Everything that the workspace had read by then: what may be shown follows from all of it."""
    user = str(entry["actor"]).removeprefix("user:")
    sources = session.exec(
        select(Source)
        .join(Workspace, Workspace.id == Source.workspace)  # type: ignore[arg-type]
        .where(Workspace.user == user, Workspace.project == entry["project"], Source.entry < entry["index"])
    ).all()
    for source in sources:
        tags = version_columns(session, source.dataset, source.version)
        for column in source.columns:
            yield _request(entry, "display", f"{source.dataset}#{column}", source.label, tags.get(column, []))


def _exported(session: Session, entry: Mapping[str, Any]) -> Iterator[Request]:
    export = session.get(Export, str(entry["object"]).removeprefix("export:"))
    for source in export.sources if export is not None else ():
        tags = version_columns(session, source["dataset"], source["version"])
        for column in source["columns"]:
            what = f"{source['dataset']}#{column}"
            yield _request(entry, "export", what, source["label"], tags.get(column, []))


def _request(entry: Mapping[str, Any], action: str, what: str, label: str, tags: list[str]) -> Request:
    return Request(
        subject=entry["actor"],
        action=action,
        object=what,
        purpose=f"project:{entry['project']}" if entry["project"] else "",
        label=label,
        tags=frozenset(f"tag:{tag}" for tag in tags),
        now=datetime.fromisoformat(entry["time"]),
    )
