"""Views in batches: a worker makes them one after the other, each is a sealed memory file, lent like any other.

One ticket opens one stream, and the ticket must be for a stream: its end is recorded. Before each batch control is
asked whether the read still stands. The worker is a few batches ahead of the reader at most, and waits.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from strongroom_hub.problems import Problem
from strongroom_hub.vault.controldoor import State
from strongroom_hub.vault.jobs import marks
from strongroom_hub.vault.reader import Reader
from strongroom_hub.vault.recall import End, Recall
from strongroom_hub.vault.settings import StreamSettings
from strongroom_hub.vault.shelf import MIB, File, Shelf
from strongroom_hub.vault.tickets import ReadTicket
from strongroom_hub.vault.workers import Conversation, Workers

_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Batch:
    """`fd` is the kernel's own description of it; the caller closes it."""

    fd: int
    rows: int
    bytes: int
    of: int | None = None
    """With the first, empty one: the rows that there are, where that is known."""


class Streams:
    """Opens streams, so many at a time."""

    def __init__(
        self, reader: Reader, workers: Workers, shelf: Shelf, recall: Recall, settings: StreamSettings
    ) -> None:
        self._reader = reader
        self._workers = workers
        self._shelf = shelf
        self._recall = recall
        self._settings = settings
        self._lock = threading.Lock()
        self._open: dict[Stream, tuple[str, str]] = {}

    @property
    def idle(self) -> int:
        """Seconds that a reader may take over one batch."""
        return self._settings.idle

    @property
    def limit(self) -> int:
        return self._settings.all

    def open(self, ticket: ReadTicket) -> Stream:
        """Raises Problem: too many, or nothing that can be streamed."""
        who = (ticket.user, ticket.project)
        stream = Stream(self._shelf, self._recall, self._reader, ticket)
        with self._lock:
            crowded = Counter(self._open.values())[who] >= self._settings.person
            self._open[stream] = who
        try:
            if crowded:
                raise self._too_many()  # noqa: TRY301 - its end is told below
            self._shelf.room(ticket)
            view = self._reader.job(ticket)
            job = {"kind": "stream", "view": view.as_json(), "most": self._settings.batch * MIB}
            with self._reader.at_hand(view):  # until the worker has them open
                stream.begin(self._workers.open(job, writes=view.changes))
        except BaseException as error:
            self.end(stream, "failed", error.slug if isinstance(error, Problem) else "vault-failed")
            raise
        return stream

    def end(self, stream: Stream, state: State = "stopped", why: str = "") -> None:
        """End the stream and its worker, and have that recorded; the first word on it counts."""
        with self._lock:
            if self._open.pop(stream, None) is None:
                return
        self._recall.streamed(stream.end(state, why))

    def close(self) -> None:
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            self.end(stream, "stopped", "vault-ended")

    def _too_many(self) -> Problem:
        return Problem(
            429,
            "too-many-streams",
            "Too many streams are open",
            f"A person may read {self._settings.person} datasets in batches at a time in one project.",
            why=("each stream keeps a process of the vault waiting (vault.toml, streams)",),
            next="Read one to its end, or leave its loop; restarting a kernel ends all of its streams.",
        )


class Stream:
    """One stream; its calls follow one another."""

    def __init__(self, shelf: Shelf, recall: Recall, reader: Reader, ticket: ReadTicket) -> None:
        self._shelf = shelf
        self._recall = recall
        self._reader = reader
        self._ticket = ticket
        self._worker: Conversation | None = None
        self._ready: File | None = None
        self._ended: tuple[State, str] | None = None
        self._wished = False
        self._rows = self._bytes = self._batches = 0
        self._of: int | None = None

    def begin(self, worker: Conversation) -> None:
        """Take the first, empty batch, which says what the columns are. Raises Problem."""
        self._worker = worker
        self._recall.streaming(self._ticket.entry)
        message, self._ready = self._take()
        self._of = message.get("of")
        self._reader.remember(self._ticket, marks(message["checked"]))

    def first(self) -> Batch:
        """The empty batch. Raises Problem where there is no room for it."""
        return self._lend(self._of)

    def next(self, wish: object) -> Batch | None:
        """The next batch, None after the last. `wish` says, the first time, which columns and rows of the view.

        Raises Problem; after `kernel-memory-full` and `vault-memory-full` it can be asked again.
        """
        if self._ended is not None:
            return None
        try:
            self._recall.check(self._ticket.entry)
        except Problem as problem:
            self._finish("failed" if problem.status == _UNAVAILABLE else "taken-back", problem.slug)
            raise
        self._shelf.room(self._ticket)
        try:
            if self._ready is None:
                self._ask(wish)
                message, self._ready = self._take()
                if message.get("end"):
                    self._finish("complete", "")
                    return None
        except Problem as problem:
            self._finish("failed", problem.slug)
            raise
        batch = self._lend()
        self._batches += 1
        return batch

    @property
    def told(self) -> dict[str, int]:
        """What was handed out so far."""
        return {"rows": self._rows, "bytes": self._bytes, "batches": self._batches}

    @property
    def over(self) -> bool:
        return self._ended is not None

    def abort(self, why: str) -> None:
        """End the worker from another thread; `next` then raises."""
        self._finish("stopped", why)
        if self._worker is not None:
            self._worker.end()

    def _finish(self, state: State, why: str) -> None:
        """The first word on how it ended counts."""
        self._ended = self._ended or (state, why)

    def end(self, state: State, why: str) -> End:
        """End the worker, let go of what was not handed out; the end as it is to be recorded."""
        self._finish(state, why)
        assert self._ended is not None  # noqa: S101 - just set
        state, why = self._ended
        if self._worker is not None:
            self._worker.end()
        if self._ready is not None:
            os.close(self._ready.fd)
            self._ready = None
        return End(self._ticket.entry, state, self._rows, self._bytes, self._batches, why)

    def _ask(self, wish: object) -> None:
        assert self._worker is not None  # noqa: S101 - begun
        if not self._wished:
            self._worker.send({"wish": wish if isinstance(wish, dict) else {}})
            self._wished = True

    def _take(self) -> tuple[dict[str, Any], File | None]:
        assert self._worker is not None  # noqa: S101 - begun
        message, fds = self._worker.receive()
        if not fds:
            return message, None
        if self._wished:
            self._worker.encourage()
        try:
            return message, self._reader.seal(fds[0], int(message["rows"]))
        except BaseException:
            os.close(fds[0])
            raise

    def _lend(self, of: int | None = None) -> Batch:
        assert self._ready is not None  # noqa: S101 - taken before
        file = self._ready
        fd = self._shelf.lend(file, self._ticket)
        self._ready = None
        self._rows += file.rows
        self._bytes += file.bytes
        return Batch(fd, file.rows, file.bytes, of)
