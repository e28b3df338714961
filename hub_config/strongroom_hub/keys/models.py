"""Table of what was asked to be destroyed by removing its keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class Shred(SQLModel, table=True):
    """A wish to make columns or a whole version unreadable for good, and what became of it."""

    id: str = Field(primary_key=True, max_length=32)
    state: str
    dataset: str = Field(index=True, max_length=128)
    version: int
    columns: list[str] | None = Field(default=None, sa_type=JSON)
    """None: everything of the version."""
    why: str
    asked_by: str
    asked_at: datetime = Field(sa_type=UtcTime)
    entry: int
    decided_by: str | None = None
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)
    decided_entry: int | None = None
    done_entry: int | None = None
