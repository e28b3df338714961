"""Counting in memory, so that nothing is flooded. Thread-safe, and of one process: two let twice as much through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime

from strongroom_hub.boxes.rules import DENIALS, DENIALS_PER_SECOND, INTERVAL, SAVES, SAVES_PER_SECOND

REMEMBERED = 10_000
"""Workspaces and kernels that are counted at one time; the longest silent is forgotten first."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


class Buckets:
    """A token bucket per key."""

    def __init__(self, clock: Callable[[], datetime], *, size: float, per_second: float) -> None:
        self._clock = clock
        self._size = size
        self._per_second = per_second
        self._buckets: dict[Hashable, _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, key: Hashable) -> bool:
        """Whether there was a token left, which is gone now."""
        now = self._clock()
        with self._lock:
            bucket = self._filled(key, now)
            if bucket.tokens < 1:
                return False
            bucket.tokens -= 1
            return True

    def give_back(self, key: Hashable) -> None:
        """What was taken was not used."""
        now = self._clock()
        with self._lock:
            bucket = self._filled(key, now)
            bucket.tokens = min(self._size, bucket.tokens + 1)

    def _filled(self, key: Hashable, now: datetime) -> _Bucket:
        bucket = self._buckets.pop(key, None) or _Bucket(self._size, now)
        elapsed = max(0.0, (now - bucket.at).total_seconds())
        bucket.tokens, bucket.at = min(self._size, bucket.tokens + elapsed * self._per_second), now
        if len(self._buckets) >= REMEMBERED:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket  # at the end: the first is the longest silent
        return bucket


class Spaced:
    """Lets one report per key through in `INTERVAL`, and counts those that came in between."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._seen: dict[Hashable, tuple[datetime, int]] = {}
        self._lock = threading.Lock()

    def admit(self, key: Hashable) -> int | None:
        """How many were refused since the last one; None when this one comes too soon, and is counted."""
        now = self._clock()
        with self._lock:
            at, refused = self._seen.pop(key, (None, 0))
            early = at is not None and now - at < INTERVAL
            if len(self._seen) >= REMEMBERED:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = (at, refused + 1) if at is not None and early else (now, 0)
            return None if early else refused


@dataclass(frozen=True, slots=True)
class Unread:
    """Reads of one kernel that were refused without being looked at."""

    server: str
    kernel: str
    user: str
    project: str


@dataclass(slots=True)
class _Sum:
    count: int = 0
    told: datetime | None = None


@dataclass(slots=True)
class Sums:
    """Counts what was refused unlooked at, until it is time for an entry about it."""

    clock: Callable[[], datetime]
    _sums: dict[Unread, _Sum] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: Unread) -> None:
        with self._lock:
            if what not in self._sums and len(self._sums) >= REMEMBERED:
                return
            self._sums.setdefault(what, _Sum()).count += 1

    def due(self, *, all_of_them: bool = False) -> list[tuple[Unread, int]]:
        """What is to be recorded now: the first at once, later ones each `INTERVAL`; it is forgotten here."""
        now = self.clock()
        with self._lock:
            late = [
                (what, one)
                for what, one in self._sums.items()
                if all_of_them or one.told is None or now - one.told >= INTERVAL
            ]
            found = [(what, one.count) for what, one in late if one.count]
            for what, one in late:
                if one.count:
                    one.count, one.told = 0, now
                else:
                    del self._sums[what]
        return found


@dataclass(frozen=True, slots=True)
class Bounds:
    """What control counts in memory so that no kernel can flood the log."""

    denials: Buckets
    reports: Spaced
    unread: Sums
    saves: Buckets

    @classmethod
    def of(cls, clock: Callable[[], datetime]) -> Bounds:
        return cls(
            Buckets(clock, size=DENIALS, per_second=DENIALS_PER_SECOND),
            Spaced(clock),
            Sums(clock),
            Buckets(clock, size=SAVES, per_second=SAVES_PER_SECOND),
        )
