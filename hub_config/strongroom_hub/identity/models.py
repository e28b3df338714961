"""Tables of the local accounts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class Account(SQLModel, table=True):
    """A person who can log in. What they may do is the policy's business, not this table's."""

    user: str = Field(primary_key=True, max_length=64)
    full_name: str
    password: str
    """Argon2id in PHC form; the password itself is kept nowhere."""
    otp_secret: str
    """Base32, shared with the person's authenticator."""
    otp_last_step: int = -1
    """The newest time step a code was accepted for: that code and all older ones are spent."""
    created: datetime = Field(sa_type=UtcTime)


class LoginGuard(SQLModel, table=True):
    """Failures in a row for one login name, existing or not (a lock must not tell which names exist)."""

    __tablename__ = "login_guard"

    user: str = Field(primary_key=True, max_length=64)
    failures: int = 0
    locks: int = 0
    """Locks since the last success: each is twice as long as the one before."""
    locked_until: datetime | None = Field(default=None, sa_type=UtcTime)


class ProvidedGroups(SQLModel, table=True):
    """What the identity provider said last about a person's groups: every decision about them knows these."""

    __tablename__ = "provided_groups"

    user: str = Field(primary_key=True, max_length=64)
    groups: list[str] = Field(sa_type=JSON)
    """`group:NAME`, sorted."""
    taken: datetime = Field(sa_type=UtcTime)
