"""From a read ticket to a sealed memory file. Kernels of one workspace with the same view share one copy of it.

Not those of other people: who holds a file in common can signal by it (locks, times of access, mapped pages), and two
workspaces of one project may have different labels.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from strongroom_hub.vault import memfd
from strongroom_hub.vault.jobs import ViewJob, check_view, marks
from strongroom_hub.vault.keys import Keys
from strongroom_hub.vault.manifest import FILES
from strongroom_hub.vault.parts import Mark
from strongroom_hub.vault.sealing import check_files_view, unseal
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.tickets import ReadTicket
from strongroom_hub.vault.views import too_large
from strongroom_hub.vault.workers import Workers

_VERSIONS_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the kernel: `fd` is its own read-only description of the sealed file; the caller closes it."""

    fd: int
    rows: int
    bytes: int
    dataset: str
    version: int
    label: str
    kind: str
    """`table`: an Arrow file; `files`: the bytes of one file."""


@dataclass(frozen=True, slots=True)
class _Built:
    fd: int
    rows: int


class Reader:
    """Builds views in workers and keeps the latest up to `cache_bytes` in all."""

    def __init__(self, store: Store, keys: Keys, workers: Workers, *, cache_bytes: int = 1 << 30) -> None:
        self._store = store
        self._keys = keys
        self._workers = workers
        self._cache = _Cache(cache_bytes)
        self._checked: OrderedDict[str, dict[str, Mark]] = OrderedDict()

    def read(self, ticket: ReadTicket) -> Answer:
        """The view that the ticket allows. Raises Problem."""
        published = self._store.open(ticket.dataset, ticket.version, active=ticket.manifest)
        check_view(ticket, published.manifest)
        if published.manifest.kind == FILES:
            check_files_view(ticket, published.manifest)
        key = (ticket.name, ticket.user)
        with self._cache.building(key):
            found = self._cache.open(key)
            if found is None:
                if published.manifest.kind == FILES:
                    built = _Built(unseal(published, ticket, self._keys, ticket.max_bytes), 0)
                else:
                    job = ViewJob.prepare(published, ticket, self._keys, self._checked.get(ticket.manifest))
                    built = self._build(job, ticket)
                found = _Built(memfd.reopen_read_only(built.fd), built.rows)
                self._cache.keep(key, built)
        size = memfd.size(found.fd)
        if size > ticket.max_bytes:
            os.close(found.fd)
            raise too_large(ticket.max_bytes)
        kind = published.manifest.kind
        return Answer(found.fd, found.rows, size, ticket.dataset, ticket.version, ticket.label, kind)

    def close(self) -> None:
        """Let go of all cached views; kernels keep what they have mapped."""
        self._cache.clear()

    def _build(self, job: ViewJob, ticket: ReadTicket) -> _Built:
        fd = memfd.create("strongroom-view")
        try:
            answer = self._workers.run({"kind": "read", "view": job.as_json(), "max_bytes": ticket.max_bytes}, [fd])
            memfd.seal(fd)
            self._remember(ticket.manifest, marks(answer["checked"]))
            return _Built(fd, int(answer["rows"]))
        except BaseException:
            os.close(fd)
            raise

    def _remember(self, manifest: str, checked: dict[str, Mark]) -> None:
        self._checked[manifest] = checked
        while len(self._checked) > _VERSIONS_REMEMBERED:
            self._checked.popitem(last=False)


_Key = tuple[str, str]
"""Name of the view (its project is part of that), and user."""


class _Cache:
    """Sealed memory files, least recently used first out; one builder per view at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._files: OrderedDict[_Key, _Built] = OrderedDict()
        self._builders: dict[_Key, tuple[threading.Lock, int]] = {}

    @contextmanager
    def building(self, key: _Key) -> Iterator[None]:
        with self._lock:
            turn, waiting = self._builders.get(key, (threading.Lock(), 0))
            self._builders[key] = (turn, waiting + 1)
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, waiting = self._builders.pop(key)
                if waiting > 1:
                    self._builders[key] = (turn, waiting - 1)

    def open(self, key: _Key) -> _Built | None:
        with self._lock:
            if key not in self._files:
                return None
            self._files.move_to_end(key)
            built = self._files[key]
            return _Built(memfd.reopen_read_only(built.fd), built.rows)

    def keep(self, key: _Key, built: _Built) -> None:
        with self._lock:
            self._files[key] = built
            while sum(memfd.size(file.fd) for file in self._files.values()) > self._limit:
                _, oldest = self._files.popitem(last=False)
                os.close(oldest.fd)

    def clear(self) -> None:
        with self._lock:
            while self._files:
                _, built = self._files.popitem()
                os.close(built.fd)
