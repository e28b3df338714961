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

from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd
from strongroom_hub.vault.jobs import ViewJob
from strongroom_hub.vault.keys import KeyService
from strongroom_hub.vault.manifest import FILES, Manifest
from strongroom_hub.vault.sealing import check_files_view, unseal
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.tickets import ReadTicket, View
from strongroom_hub.vault.views import too_large
from strongroom_hub.vault.workers import Workers

_RANK = {"public": 0, "internal": 1, "confidential": 2, "secret": 3}


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


class Reader:
    """Builds views in workers and keeps the latest up to `cache_bytes` in all."""

    def __init__(self, store: Store, keys: KeyService, workers: Workers, *, cache_bytes: int = 1 << 30) -> None:
        self._store = store
        self._keys = keys
        self._workers = workers
        self._cache = _Cache(cache_bytes)

    def read(self, ticket: ReadTicket) -> Answer:
        """The view that the ticket allows. Raises Problem."""
        published = self._store.open(ticket.dataset, ticket.version, active=ticket.manifest)
        check_view(ticket, published.manifest)
        if published.manifest.kind == FILES:
            check_files_view(ticket, published.manifest)
        key = _cache_key(ticket)
        with self._cache.building(key):
            fd = self._cache.open(key)
            if fd is None:
                if published.manifest.kind == FILES:
                    built = unseal(published, ticket, self._keys, ticket.max_bytes)
                else:
                    built = self._build(ViewJob.prepare(published, ticket, self._keys), ticket.max_bytes)
                fd = memfd.reopen_read_only(built)
                self._cache.keep(key, built)
        size = memfd.size(fd)
        if size > ticket.max_bytes:
            os.close(fd)
            raise too_large(ticket.max_bytes)
        about = published.manifest
        return Answer(fd, about.rows, size, ticket.dataset, ticket.version, ticket.label, about.kind)

    def close(self) -> None:
        """Let go of all cached views; kernels keep what they have mapped."""
        self._cache.clear()

    def _build(self, job: ViewJob, max_bytes: int) -> int:
        fd = memfd.create("strongroom-view")
        try:
            self._workers.run({"kind": "read", "view": job.as_json(), "max_bytes": max_bytes}, [fd])
            memfd.seal(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd


def check_view(view: View, manifest: Manifest) -> None:
    """Raises Problem where the view is not of this version: an unknown column, a column twice, too low a label."""
    if _rank(view.label) < _rank(manifest.label):
        raise _bad_view(f"It says label {view.label!r}, the stored version is labelled {manifest.label!r}.")
    unknown = (set(view.columns) | set(view.masks)) - set(manifest.visible_names)
    if unknown:
        raise _bad_view(f"{view.dataset} version {view.version} has no column {min(unknown)!r}.")
    if len(set(view.columns)) != len(view.columns):
        raise _bad_view("It names a column twice.")


def _rank(label: str) -> int:
    return _RANK.get(label, max(_RANK.values()))


def _bad_view(detail: str) -> Problem:
    return Problem(
        422,
        "bad-view",
        "The view cannot be read",
        detail,
        why=("control's catalogue and the vault's signed manifest disagree",),
        next="Tell an operator: the dataset must be published again under its new label or columns.",
    )


def _cache_key(ticket: ReadTicket) -> tuple[object, ...]:
    masks = tuple(sorted((name, mask.method) for name, mask in ticket.masks.items()))
    return (ticket.dataset, ticket.version, ticket.manifest, tuple(ticket.columns), masks, ticket.project, ticket.user)


class _Cache:
    """Sealed memory files, least recently used first out; one builder per view at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[object, ...], int] = OrderedDict()
        self._builders: dict[tuple[object, ...], tuple[threading.Lock, int]] = {}

    @contextmanager
    def building(self, key: tuple[object, ...]) -> Iterator[None]:
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

    def open(self, key: tuple[object, ...]) -> int | None:
        with self._lock:
            if key not in self._files:
                return None
            self._files.move_to_end(key)
            return memfd.reopen_read_only(self._files[key])

    def keep(self, key: tuple[object, ...], fd: int) -> None:
        with self._lock:
            self._files[key] = fd
            while sum(memfd.size(file) for file in self._files.values()) > self._limit:
                _, oldest = self._files.popitem(last=False)
                os.close(oldest)

    def clear(self) -> None:
        with self._lock:
            while self._files:
                _, fd = self._files.popitem()
                os.close(fd)
