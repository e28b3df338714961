"""Tables of access requests, the grants that came of them, and what people were trained in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class AccessRequest(SQLModel, table=True):
    __tablename__ = "access_request"

    id: str = Field(primary_key=True, max_length=32)
    state: str = Field(index=True)
    user: str = Field(index=True)
    project: str
    dataset: str = Field(index=True)
    version_at_request: int
    columns: list[str] = Field(sa_type=JSON)
    purpose: str
    days: int
    submitted_at: datetime = Field(sa_type=UtcTime)
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)
    decided_by: str | None = None
    comment: str | None = None
    prepared: int | None = None
    """The entry of the cell whose code prepared it; None: the person wrote it."""


class Grant(SQLModel, table=True):
    """A time-limited permission; enters the policy as rows while it is active."""

    __tablename__ = "access_grant"

    id: str = Field(primary_key=True, max_length=32)
    request: str = Field(unique=True, foreign_key="access_request.id")
    state: str = Field(index=True)
    user: str
    project: str
    dataset: str
    columns: list[str] = Field(sa_type=JSON)
    masks: dict[str, str] = Field(sa_type=JSON)
    since: datetime = Field(sa_type=UtcTime)
    until: datetime = Field(sa_type=UtcTime)
    granted_by: str
    ended_at: datetime | None = Field(default=None, sa_type=UtcTime)
    revoked_by: str | None = None
    reason: str | None = None


class TrainingRecord(SQLModel, table=True):
    """A course that somebody passed, on the last day they did."""

    __tablename__ = "training_record"

    user: str = Field(primary_key=True, max_length=64)
    course: str = Field(primary_key=True, max_length=64)
    passed: str = Field(max_length=10)
    """The day (UTC), as `2026-11-29`."""
