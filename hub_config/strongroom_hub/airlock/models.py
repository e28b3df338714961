"""Tables of export requests, their files and the votes on them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, UniqueConstraint
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class Export(SQLModel, table=True):
    __tablename__ = "export"

    id: str = Field(primary_key=True, max_length=32)
    state: str = Field(index=True)
    workspace: int = Field(foreign_key="workspace.id")
    user: str = Field(index=True)
    project: str
    label: str
    justification: str
    sources: list[dict[str, Any]] = Field(sa_type=JSON)
    """What the workspace had read when the request was made, as stage tickets carry it (wire-formats 2)."""
    cells: list[int] = Field(sa_type=JSON)
    """Indexes of the cell entries that the requester names as the files' origin."""
    prepared: int | None = None
    """The entry of the cell whose code prepared it; None: the person wrote it."""
    rule_set: str
    """SHA-256 of the checks' rules at staging."""
    review: int = 1
    """Counts up when approvals are voided."""
    created_at: datetime = Field(sa_type=UtcTime)
    submitted_at: datetime | None = Field(default=None, sa_type=UtcTime)
    released_at: datetime | None = Field(default=None, sa_type=UtcTime)
    manifest: str | None = None
    signature: str | None = None


class ExportFile(SQLModel, table=True):
    __tablename__ = "export_file"

    export: str = Field(primary_key=True, foreign_key="export.id", max_length=32)
    index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str
    sha256: str = Field(max_length=64)
    bytes: int
    type: str | None = None
    findings: list[dict[str, Any]] = Field(sa_type=JSON)


class Vote(SQLModel, table=True):
    """One reviewer's verdict on exactly what `binding` stands for (files, policy, rules)."""

    __tablename__ = "export_vote"
    __table_args__ = (UniqueConstraint("export", "reviewer", "binding"),)

    id: int | None = Field(default=None, primary_key=True)
    export: str = Field(index=True, foreign_key="export.id")
    reviewer: str
    verdict: str
    comment: str
    binding: str
    at: datetime = Field(sa_type=UtcTime)
    entry: int
