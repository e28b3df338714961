"""Table of what was asked to be turned back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class Reidentification(SQLModel, table=True):
    """A wish to learn which values some tokens stand for, and what became of it. The values are kept nowhere."""

    id: str = Field(primary_key=True, max_length=32)
    state: str
    user: str = Field(index=True, max_length=128)
    """Who asked."""
    project: str
    dataset: str = Field(index=True, max_length=128)
    version: int
    column: str
    tokens: list[str] = Field(sa_type=JSON)
    salt: str
    """With it the log's commitment to the tokens can be checked, and without it not be guessed."""
    shown_to: str
    why: str
    asked_at: datetime = Field(sa_type=UtcTime)
    entry: int
    decided_by: str | None = None
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)
    decided_entry: int | None = None
    until: datetime | None = Field(default=None, sa_type=UtcTime)
    """When the time to look ends."""
    shown_at: datetime | None = Field(default=None, sa_type=UtcTime)
    shown_entry: int | None = None
