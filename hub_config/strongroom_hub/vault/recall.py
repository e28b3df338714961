"""Taking back: every few seconds control is asked whether the reads whose data kernels hold still stand."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from strongroom_hub.problems import Problem
from strongroom_hub.rounds import Rounds
from strongroom_hub.vault.controldoor import ControlDoor, State
from strongroom_hub.vault.shelf import Shelf

log = logging.getLogger(__name__)

_UNTOLD = 10_000
"""Ends that are kept for a control service which does not answer."""


@dataclass(frozen=True, slots=True)
class End:
    """How a read ended, for its end entry."""

    entry: int
    state: State
    rows: int
    bytes: int
    batches: int
    why: str


class Recall(Rounds):
    """Control decides, this carries out; while control is silent nothing is taken back."""

    name = "recall"
    every = 2.0

    def __init__(self, shelf: Shelf, control: ControlDoor, started: float) -> None:
        """`started`: when this vault did, as Unix time."""
        super().__init__()
        self._shelf = shelf
        self.control = control
        self._started: float | None = started
        self._streams: dict[int, None] = {}
        self._untold: deque[End] = deque(maxlen=_UNTOLD)
        self._lock = threading.Lock()
        self._telling = threading.Lock()

    def close(self) -> None:
        super().close()
        self._tell()

    def tick(self) -> None:
        """One look. Raises nothing: without an answer it is tried again."""
        try:
            if self._started is not None:
                self.control.started(self._started)
                self._started = None
            entries = self._shelf.entries()
            for entry, problem in (self.control.ended(entries) if entries else {}).items():
                self.take_back(entry, problem)
        except Problem as problem:
            log.warning("recall: %s", problem.slug)
        self._tell()

    def check(self, entry: int) -> None:
        """Raises the Problem that ends a read: its right ended (then its data is taken back), or control is silent."""
        problem = self.control.ended([entry]).get(entry)
        if problem is not None:
            self.take_back(entry, problem)
            raise problem

    def take_back(self, entry: int, problem: Problem) -> None:
        """Cut off what was lent for this read."""
        for size, gone in self._shelf.take_back([entry]).values():
            log.info("took back %d bytes of entry %d (%s), cut off: %s", size, entry, problem.slug, gone)
            with self._lock:
                streaming = entry in self._streams
            if not streaming:  # a stream tells its end itself
                self.tell(End(entry, "taken-back", 0, size, 0, problem.slug))

    def streaming(self, entry: int) -> None:
        with self._lock:
            self._streams[entry] = None

    def streamed(self, end: End) -> None:
        """A stream is over."""
        with self._lock:
            self._streams.pop(end.entry, None)
        self.tell(end)

    def tell(self, end: End) -> None:
        """Have an end recorded, now or as soon as control answers."""
        self._untold.append(end)
        self._tell()

    def _tell(self) -> None:
        with self._telling:
            try:
                while self._untold:
                    end = self._untold[0]
                    self.control.report(
                        end.entry, end.state, rows=end.rows, size=end.bytes, batches=end.batches, why=end.why
                    )
                    self._untold.popleft()
            except Problem as problem:
                log.warning("an end waits to be recorded: %s", problem.slug)
