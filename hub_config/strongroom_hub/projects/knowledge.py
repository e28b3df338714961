"""What a workspace is assumed to know, and what may be shown of it now: asked with every cell and every read, so its
statements are written out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from strongroom_hub.access.display import Display, SourceColumns, display_for, stopped
from strongroom_hub.control.callers import ServerCaller
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import parse_or_none
from strongroom_hub.database import Statement
from strongroom_hub.projects import rules

_PLACE = Statement(
    "SELECT workspace.label, project.name, project.since, project.until, shown.bytes FROM workspace "
    "LEFT JOIN project ON project.name = :project "
    "LEFT JOIN shown ON shown.workspace = workspace.id AND shown.day = :day "
    "WHERE workspace.id = :workspace"
)
# as text, because one driver reads JSON itself and the other does not
_SOURCES = Statement(
    "SELECT dataset, version, label, CAST(columns AS TEXT) FROM source WHERE workspace = :workspace "
    "ORDER BY dataset, version"
)
_TAGS = Statement(
    "SELECT dataset_column.dataset, dataset_column.version, dataset_column.name, CAST(dataset_column.tags AS TEXT) "
    "FROM source JOIN dataset_column "
    "ON dataset_column.dataset = source.dataset AND dataset_column.version = source.version "
    "WHERE source.workspace = :workspace"
)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a workspace is assumed to know, and what may be shown of it now."""

    label: str
    sources: list[dict[str, Any]]
    display: Display

    def as_json(self) -> dict[str, Any]:
        return {"label": self.label, "sources": self.sources, "display": self.display.as_json()}


def knowledge(context: Context, caller: ServerCaller) -> Knowledge:
    """Label, sources and display, decided now against the policy in force."""
    with context.engine.connect() as connection, connection.begin():
        return knows(connection, context, caller)


def knows(connection: Connection, context: Context, caller: ServerCaller) -> Knowledge:
    """The same as a transaction sees it."""
    now = context.clock()
    label, project, since, until, shown = _PLACE(
        connection, workspace=caller.workspace, project=caller.project, day=now.date().isoformat()
    ).fetchone()
    sources = _SOURCES(connection, workspace=caller.workspace).fetchall()
    display = display_for(
        context,
        user=caller.user,
        project=caller.project,
        label=label,
        sources=_with_tags(connection, caller, sources),
        shown_today=shown or 0,
    )
    if project is None or not rules.can_work(parse_or_none(since), parse_or_none(until), now):
        # Servers outlive the window of their project; what runs in them then shows nothing more.
        display = stopped("project window", f"Project {caller.project} is not open now, so nothing is shown.")
    told = [{"dataset": dataset, "version": version} for dataset, version, _, _ in sources]
    return Knowledge(label, told, display)


def _with_tags(connection: Connection, caller: ServerCaller, sources: list[Any]) -> list[SourceColumns]:
    tags: defaultdict[tuple[str, int], dict[str, tuple[str, ...]]] = defaultdict(dict)
    for dataset, version, name, listed in _TAGS(connection, workspace=caller.workspace) if sources else ():
        tags[dataset, version][name] = tuple(json.loads(listed))
    return [
        SourceColumns(dataset, label, {name: tags[dataset, version].get(name, ()) for name in json.loads(columns)})
        for dataset, version, label, columns in sources
    ]
