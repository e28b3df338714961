"""Instants as the policy compares them: UTC texts of one width, whose alphabetical order is their order in time."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

START = "0001-01-01T00:00:00.000000Z"
END = "9999-12-31T23:59:59.999999Z"
_WIDTH = len(START) - 1
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def canonical(moment: datetime) -> str:
    """`2026-11-21T05:00:00.000000Z`. Raises ValueError for a datetime without a time zone."""
    if moment.tzinfo is not UTC:
        if moment.tzinfo is None or moment.utcoffset() is None:
            raise ValueError("a time without a time zone is not a point in time")
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:_WIDTH] + "Z"


def parse(text: str, *, end: bool = False) -> str:
    """A date, or a date with time and zone, as a canonical instant.

    A plain date is the start of that day in UTC; as the *end* of a window it means the whole day, hence the start of
    the next. Raises ValueError in words for anything else.
    """
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=1 if end else 0)
            return canonical(datetime(day.year, day.month, day.day, tzinfo=UTC))
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no date: write 2026-12-31 or 2026-12-31T17:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} lacks its time zone: write a Z at its end for UTC")
    try:
        return canonical(moment)
    except OverflowError:
        raise ValueError(f"{text!r} is too far away") from None


def readable(instant: str) -> str:
    """`2026-11-21 05:00 UTC`, with seconds where they are not zero."""
    seconds = instant[16:19]
    return f"{instant[:10]} {instant[11:16]}{'' if seconds == ':00' else seconds} UTC"
