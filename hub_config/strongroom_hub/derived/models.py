"""Tables of what projects save: whose a derived dataset is, and what had been read by whoever saved each version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class DerivedDataset(SQLModel, table=True):
    """A dataset that a project saved: only that project reads it, and only that project makes versions of it."""

    __tablename__ = "derived_dataset"

    dataset: str = Field(primary_key=True, foreign_key="dataset.name", max_length=128)
    project: str = Field(index=True, max_length=64)
    user: str = Field(max_length=64)
    """Who saved it first."""


class DerivedVersion(SQLModel, table=True):
    """One save: by which workspace, in which cell, of which bytes."""

    __tablename__ = "derived_version"

    dataset: str = Field(primary_key=True, max_length=128)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    workspace: int = Field(index=True, foreign_key="workspace.id")
    user: str = Field(max_length=64)
    quiet: bool
    """Its words and columns were chosen by code that may show nothing: pages get its name alone."""
    sha256: str = Field(max_length=64)
    bytes: int
    at: datetime = Field(sa_type=UtcTime)
    entry: int


class DerivedSource(SQLModel, table=True):
    """One version that the workspace had read when it saved, with every column it had seen of it.

    All of them stand here, also those that came in by reading another derived dataset: nothing has to be followed.
    """

    __tablename__ = "derived_source"

    dataset: str = Field(primary_key=True, max_length=128)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    source: str = Field(primary_key=True, max_length=128)
    source_version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    label: str
    columns: list[str] = Field(sa_type=JSON)
    masks: dict[str, Any] = Field(sa_type=JSON)
    """As in `projects.models.Source`: masks that lay on every reading of the column."""
    rows: list[str] | None = Field(default=None, sa_type=JSON)
    subject: str | None = None
    """Both as there."""
