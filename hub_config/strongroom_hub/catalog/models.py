"""Tables of the catalogue: what datasets there are, never what is in them."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

import jwt
from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class VersionState(StrEnum):
    DRAFT = "draft"
    LOADED = "loaded"
    """The vault holds it; its steward has not decided on it yet."""
    SIGNED = "signed"
    ACTIVE = "active"
    RETIRED = "retired"
    ABANDONED = "abandoned"
    """Nobody made it visible in time: the vault has removed its files."""


class Dataset(SQLModel, table=True):
    """`namespace/name` and what people are told about it; follows the newest active version."""

    name: str = Field(primary_key=True, max_length=128)
    title: str
    description: str
    owner: str
    stewards: list[str] = Field(sa_type=JSON)
    source: str
    licence: str
    legal_basis: str = ""
    retention: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """`schema.Retention`, for versions that became visible with it."""
    consent_column: str | None = None
    contact: str = ""
    twin_allowed: bool | None = None
    """Whether its synthetic twins may be read; None where nobody has decided (`rules.twin_allowed`)."""
    created: datetime = Field(sa_type=UtcTime)


class DatasetVersion(SQLModel, table=True):
    """One version: its data never changes. A new label is a new signed manifest over the same data."""

    __tablename__ = "dataset_version"

    dataset: str = Field(primary_key=True, foreign_key="dataset.name", max_length=128)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    state: str
    label: str
    rows: int | None = None
    described: dict[str, Any] = Field(sa_type=JSON)
    """`schema.About` as it came with the draft and as its steward changed it."""
    manifest_jws: str | None = None
    manifest: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """The vault's own account of a draft, until control has decided and signed."""
    report: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """What the vault found when it took a table in: proposals, quality, profile, notes."""
    decided: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """Who decided on the proposals, when, and how."""
    sources: list[str] = Field(default_factory=list, sa_type=JSON)
    """The versions that it was derived from, each as `namespace/name@version`."""
    created: datetime = Field(sa_type=UtcTime)
    activated: datetime | None = Field(default=None, sa_type=UtcTime)
    retired: datetime | None = Field(default=None, sa_type=UtcTime)
    retired_by: str | None = None
    retired_why: str | None = None

    @property
    def twin(self) -> dict[str, Any] | None:
        """The synthetic twin that lies beside the version, as its signed manifest says; None where there is none."""
        if not self.manifest_jws:
            return None
        claims = jwt.decode(self.manifest_jws, options={"verify_signature": False})  # our own, from our own database
        found: dict[str, Any] | None = claims["manifest"].get("companions", {}).get("synthetic")
        return found

    @property
    def manifest_digest(self) -> str:
        """What names the signed manifest in tickets: the vault reads no other one. Empty before it is signed."""
        return hashlib.sha256(self.manifest_jws.encode()).hexdigest() if self.manifest_jws else ""


class Column(SQLModel, table=True):
    __tablename__ = "dataset_column"

    dataset: str = Field(primary_key=True, max_length=128)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str = Field(primary_key=True, max_length=128)
    position: int
    type: str
    description: str
    tags: list[str] = Field(sa_type=JSON)
    unit: str = ""
    codes: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    """What coded values mean: value as text -> meaning."""
    nullable: bool = True


class Relabelling(SQLModel, table=True):
    """A lower label that somebody asked for and that another person has to agree to."""

    id: str = Field(primary_key=True, max_length=32)
    state: str
    dataset: str = Field(index=True, max_length=128)
    version: int
    before: str
    after: str
    why: str
    proposed_by: str
    at: datetime = Field(sa_type=UtcTime)
    decided_by: str | None = None
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)
