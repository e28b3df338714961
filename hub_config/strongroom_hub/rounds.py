"""What services do again and again beside their work: a thread for each kind, so that none waits for another's."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import ClassVar

from strongroom_hub.problems import Problem, unforeseen

log = logging.getLogger(__name__)


class Rounds(ABC):
    """One thread that makes rounds until it is closed. One that fails is told in the log, and the next one tries."""

    name: ClassVar[str]
    every: ClassVar[float]
    """Seconds between two rounds."""
    longest: ClassVar[float] = 0.0
    """Seconds that the pause grows to while rounds fail, doubled each time; 0: it stays as it is."""
    at_once: ClassVar[bool] = False
    """Whether the first round is made at the start, and not after a pause."""
    told: ClassVar[tuple[type[Exception], ...]] = (Problem,)
    """Errors whose text was written for the log; of others, which may quote an address or a secret, type and place."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Returns when the round that is being made is over."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @abstractmethod
    def tick(self) -> object:
        """One round; what it returns is for `more`."""

    def more(self, outcome: object) -> bool:  # noqa: ARG002 - for who has more to do than one round takes
        """Whether the next round is to follow without a pause."""
        return False

    def _run(self) -> None:
        pause = 0.0 if self.at_once else self.every
        while not self._stop.wait(pause):
            try:
                pause = 0.0 if self.more(self.tick()) else self.every
            except Exception as error:  # noqa: BLE001 - the next round may work
                log.error("%s: %s", self.name, error if isinstance(error, self.told) else unforeseen(error))  # noqa: TRY400 - told, not traced
                pause = max(self.every, min(pause * 2, self.longest))
