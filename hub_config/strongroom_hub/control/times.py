"""Times as the wire and the database carry them: RFC 3339, UTC, milliseconds, so that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


def utc_now() -> datetime:
    """The wall clock, cut to milliseconds so that a time read back from the database equals the one written."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def iso(moment: datetime) -> str:
    """`2026-11-21T05:00:00.000Z`. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone means nothing here")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def parse(text: str) -> datetime:
    """Read an RFC 3339 time or a plain date (its first moment in UTC). Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_or_none(text: str | None) -> datetime | None:
    """As `parse`, of what may be missing."""
    return None if text is None else parse(text)


def end_of_day(moment: datetime) -> datetime:
    """The first moment after the UTC day that `moment` lies in: windows name their last day inclusively."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


class UtcTime(TypeDecorator[datetime]):
    """A column of zone-aware times, stored as `iso` text: SQLite has no time type that keeps the zone."""

    impl = String(24)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else iso(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else parse(value)
