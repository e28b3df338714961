"""Tables of what boxes kept from happening, and of what the hub found out about the machine that they stand on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from strongroom_hub.control.times import UtcTime, iso


class Violation(SQLModel, table=True):
    """What one kernel tried or ran into, summed over some seconds; found by the index of its entry."""

    entry: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcTime, index=True)
    user: str = Field(max_length=64)
    project: str = Field(max_length=64)
    server: str = Field(max_length=32)
    kernel: str = Field(max_length=64)
    kind: str = Field(max_length=16)
    counts: dict[str, int] = Field(sa_type=JSON)
    text: str


class MachineCheck(SQLModel, table=True):
    """One line of `strongroom doctor` at the hub's last start; `place` keeps their order."""

    __tablename__ = "machine_check"

    name: str = Field(primary_key=True, max_length=64)
    place: int
    state: str = Field(max_length=16)
    text: str
    next: str


def violation_json(violation: Violation) -> dict[str, Any]:
    """One of `GET violations` (wire-formats 9)."""
    return {
        "entry": violation.entry,
        "time": iso(violation.at),
        "user": violation.user,
        "project": violation.project,
        "kernel": violation.kernel,
        "kind": violation.kind,
        "counts": dict(violation.counts),
        "text": violation.text,
    }
