"""The log's tables. They lie in control's database so that a change and its entries are one transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime


class LogEntry(SQLModel, table=True):
    """One leaf. The columns beside it are derived from it, for search only; what is shown comes from the leaf."""

    __tablename__ = "log_entries"

    index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    leaf: bytes
    time: str = Field(index=True)
    actor: str = Field(index=True)
    action: str = Field(index=True)
    project: str | None = Field(default=None, index=True)
    object: str | None = Field(default=None, index=True)
    label: str | None = Field(default=None, index=True)


class LogTile(SQLModel, table=True):
    """One tile: up to 256 hashes of subtrees of height 8 x level. Only the last of a level above 0 may be shorter."""

    __tablename__ = "log_tiles"

    level: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    hashes: bytes


class LogHash(SQLModel, table=True):
    """An entry's hash, until the tile of level 0 that it belongs to is whole."""

    __tablename__ = "log_hashes"

    index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    hash: bytes


class LogHead(SQLModel, table=True):
    """The one row that says where the log ends: size, right edge and the signed checkpoint."""

    __tablename__ = "log_head"

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int
    edge: bytes
    note: str


class LogPayload(SQLModel, table=True):
    """The encrypted payload of one entry."""

    __tablename__ = "log_payloads"

    entry: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    subject: str = Field(index=True)
    ciphertext: bytes


class LogPayloadKey(SQLModel, table=True):
    """A person's payload key, wrapped. Deleting the row erases all that was encrypted under it."""

    __tablename__ = "log_payload_keys"

    subject: str = Field(primary_key=True)
    person: str = Field(unique=True, index=True)
    """The actor whose key it is, for example `user:analyst`."""
    wrapped: bytes


class LogErasure(SQLModel, table=True):
    """The erasure of one person's texts: asked for by one, decided by another. What counts is what its entries say."""

    __tablename__ = "log_erasures"

    id: str = Field(primary_key=True, max_length=32)
    person: str = Field(index=True)
    subject: str = Field(index=True)
    """The pseudonym whose key goes; the person gets another with the next text."""
    state: str = Field(max_length=16)
    why: str
    asked_by: str
    asked_at: datetime = Field(sa_type=UtcTime)
    entry: int = -1
    decided_by: str | None = None
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)
    done_entry: int | None = None
    cleared_at: datetime | None = Field(default=None, sa_type=UtcTime)
    """When the database's free pages and journal were emptied of the deleted key."""


class LogCosignature(SQLModel, table=True):
    """A witness's signature under a checkpoint of this log; the newest ones are kept."""

    __tablename__ = "log_cosignatures"

    size: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    witness: str = Field(primary_key=True)
    note: str
    """The checkpoint as the log signed it."""
    line: str
    """The signature line, with its newline."""
    at: datetime = Field(sa_type=UtcTime)


class LogWord(SQLModel, table=True):
    """That a text holds a word, as a keyed hash (words.py)."""

    __tablename__ = "log_words"
    __table_args__ = (Index("ix_log_words_entry", "entry"), {"sqlite_with_rowid": False})

    word: bytes = Field(primary_key=True)
    entry: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})


class LogSearch(SQLModel, table=True):
    """How far texts are indexed."""

    __tablename__ = "log_search"

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    next: int
