"""Tables of the catalogue: what datasets there are, never what is in them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class VersionState(StrEnum):
    DRAFT = "draft"
    SIGNED = "signed"
    ACTIVE = "active"


class Dataset(SQLModel, table=True):
    """`namespace/name` and what people are told about it; follows the newest active version."""

    name: str = Field(primary_key=True, max_length=128)
    title: str
    description: str
    owner: str
    stewards: list[str] = Field(sa_type=JSON)
    source: str
    licence: str
    created: datetime = Field(sa_type=UtcTime)


class DatasetVersion(SQLModel, table=True):
    """One immutable version. Its label is its own: relabelling makes a new version."""

    __tablename__ = "dataset_version"

    dataset: str = Field(primary_key=True, foreign_key="dataset.name", max_length=128)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    state: str
    label: str
    rows: int | None = None
    described: dict[str, Any] = Field(sa_type=JSON)
    """Descriptions and tags that came with the draft, by column name."""
    manifest_jws: str | None = None
    created: datetime = Field(sa_type=UtcTime)
    activated: datetime | None = Field(default=None, sa_type=UtcTime)


class Column(SQLModel, table=True):
    __tablename__ = "dataset_column"

    dataset: str = Field(primary_key=True, max_length=128)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str = Field(primary_key=True, max_length=128)
    position: int
    type: str
    description: str
    tags: list[str] = Field(sa_type=JSON)
