"""Tables of the policies that were ever in force, and of those that somebody proposes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class PolicyVersion(SQLModel, table=True):
    """One coming into force; the newest is the policy in force."""

    __tablename__ = "policy_version"
    __table_args__ = ({"sqlite_autoincrement": True},)

    number: int | None = Field(default=None, primary_key=True)
    digest: str = Field(max_length=64)
    """SHA-256 over names and bytes of the files."""
    folder: str = Field(max_length=64)
    """The same of the files that then stood in the policy folder: they differ from what came into force by a proposal
    or a rollback, and do not come into force by themselves until somebody edits them."""
    at: datetime = Field(sa_type=UtcTime)
    actor: str
    why: str
    source: str = Field(max_length=16)
    proposal: str | None = Field(default=None, max_length=32)
    changes: dict[str, Any] = Field(sa_type=JSON)
    """`Difference.as_json` to the version before; empty for the first."""
    bundle: str
    """The files, signed by control (bundle.py)."""
    entry: int


class PolicyProposal(SQLModel, table=True):
    __tablename__ = "policy_proposal"

    id: str = Field(primary_key=True, max_length=32)
    state: str = Field(index=True, max_length=16)
    digest: str = Field(max_length=64)
    base: str = Field(max_length=64)
    """Digest of the policy that was in force then: the differences that people look at are those to it."""
    author: str
    why: str
    at: datetime = Field(sa_type=UtcTime)
    results: dict[str, Any] = Field(sa_type=JSON)
    bundle: str
    entry: int
    decided_by: str | None = None
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)
    comment: str = ""
