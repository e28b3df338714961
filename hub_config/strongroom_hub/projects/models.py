"""Tables of projects, the servers that run for them, their kernels, cells and workspaces."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, UniqueConstraint
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime
from strongroom_hub.viewname import mask_claims


class Project(SQLModel, table=True):
    """A purpose and a time window. Who belongs to it stands in the policy files, nowhere else."""

    name: str = Field(primary_key=True, max_length=64)
    title: str
    purpose: str
    since: datetime | None = Field(default=None, sa_type=UtcTime)
    until: datetime | None = Field(default=None, sa_type=UtcTime)
    """First moment after the window."""
    created: datetime = Field(sa_type=UtcTime)


class Workspace(SQLModel, table=True):
    """What one person in one project is assumed to know. `id` - 1 is their `uid_index`, for good."""

    __table_args__ = (UniqueConstraint("user", "project"), {"sqlite_autoincrement": True})

    id: int | None = Field(default=None, primary_key=True)
    user: str = Field(max_length=64)
    project: str = Field(max_length=64)
    label: str = "public"
    """High-water mark: only ever raised."""


class Source(SQLModel, table=True):
    """One dataset version that a workspace has read, with every column it has seen of it."""

    __table_args__ = (UniqueConstraint("workspace", "dataset", "version"),)

    id: int | None = Field(default=None, primary_key=True)
    workspace: int = Field(index=True, foreign_key="workspace.id")
    dataset: str
    version: int
    label: str
    columns: list[str] = Field(sa_type=JSON)
    masks: dict[str, str] = Field(sa_type=JSON)
    """Masks that lay on *every* reading of the column: a column once read in clear is not listed."""
    rows: list[str] | None = Field(default=None, sa_type=JSON)
    """Row filters that keep every row which any reading kept; None: all rows."""
    subject: str | None = None
    """The column that says whom a row is about, where a mask needs to know."""
    since: datetime = Field(sa_type=UtcTime)
    entry: int


class Server(SQLModel, table=True):
    """One life of a single-user server and the credential it authenticates with."""

    id: str = Field(primary_key=True, max_length=32)
    workspace: int = Field(index=True, foreign_key="workspace.id")
    user: str = Field(max_length=64)
    project: str = Field(max_length=64)
    credential_sha256: str = Field(unique=True, max_length=64)
    started: datetime = Field(sa_type=UtcTime)
    ended: datetime | None = Field(default=None, sa_type=UtcTime)


class Kernel(SQLModel, table=True):
    id: str = Field(primary_key=True, max_length=64)
    server: str = Field(index=True, foreign_key="server.id")
    notebook: str | None = None
    tier: str = Field(max_length=16)
    """Of the box that holds it: what it may read depends on that."""
    started: datetime = Field(sa_type=UtcTime)
    ended: datetime | None = Field(default=None, sa_type=UtcTime)
    session_until: datetime | None = Field(default=None, sa_type=UtcTime)
    """When it has to have ended, by the strictest rule on what it has read."""
    session_rule: str | None = Field(default=None, max_length=512)
    """That rule, in words: `rule P9 (policy.csv:12) session 8h`."""


class Cell(SQLModel, table=True):
    """One audited run, found by the index of its begin entry."""

    entry: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    workspace: int = Field(foreign_key="workspace.id")
    server: str
    kernel: str
    notebook: str | None = None
    cell: str | None = None
    kind: str
    label: str
    began: datetime = Field(sa_type=UtcTime)
    ended: datetime | None = Field(default=None, sa_type=UtcTime)
    status: str | None = None
    end_entry: int | None = None


class Shown(SQLModel, table=True):
    """Bytes above `public` that reached a workspace's browser on one UTC day: what day budgets are counted from."""

    workspace: int = Field(primary_key=True, foreign_key="workspace.id")
    day: str = Field(primary_key=True, max_length=10)
    bytes: int = 0


def source_view(source: Source, project: str, *, manifest: str) -> dict[str, Any]:
    """The source as a stage ticket tells the vault (wire-formats 2); `manifest`: the digest of its signed manifest."""
    return {
        "dataset": source.dataset,
        "version": source.version,
        "manifest": manifest,
        "label": source.label,
        "columns": list(source.columns),
        "masks": mask_claims(source.masks, source.subject),
        "rows": None if source.rows is None else list(source.rows),
        "project": project,
    }
