from __future__ import annotations

import logging
import threading
import time

import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.rounds import Rounds


class Clock(threading.Event):
    """Lets no time pass, and notes for how long it was to."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return self.is_set()


class Steps(Rounds):
    """Rounds that go as their list says: an error, or how much was done."""

    name = "steps"
    every = 1.0

    def __init__(self, *steps: object) -> None:
        super().__init__()
        self._stop = self.clock = Clock()
        self.steps = list(steps)

    def tick(self) -> object:
        step = self.steps.pop(0)
        if not self.steps:
            self.clock.set()
        if isinstance(step, Exception):
            raise step
        return step

    def more(self, outcome: object) -> bool:
        return outcome == 2

    def pauses(self) -> list[float | None]:
        """Made to the end: the pauses before each round."""
        self.start()
        self._thread.join()
        self.close()
        return self.clock.waited[:-1]


def test_a_round_that_fails_is_told_and_the_next_one_tries(caplog: pytest.LogCaptureFixture) -> None:
    problem = Problem(503, "away", "It is away", "It does not answer.", next="Wait.")
    with caplog.at_level(logging.ERROR):
        pauses = Steps(problem, RuntimeError("the address is https://T0KEN"), 1).pauses()
    assert pauses == [1, 1, 1]
    told, unforeseen = (record.getMessage() for record in caplog.records)
    assert told == f"steps: {problem}"
    assert unforeseen.startswith("steps: RuntimeError at test_rounds.py:")
    assert "T0KEN" not in caplog.text


def test_the_pause_grows_while_rounds_fail_and_is_short_again_after_one_that_did_not() -> None:
    class Patient(Steps):
        longest = 6.0

    assert Patient(*[OSError() for _ in range(5)], 1, OSError(), 1).pauses() == [1, 2, 4, 6, 6, 6, 1, 2]


def test_who_has_more_to_do_goes_on_without_a_pause() -> None:
    class Eager(Steps):
        at_once = True

    assert Eager(2, 2, 1, 2, OSError(), 1).pauses() == [0, 0, 0, 1, 0, 1]


class Later(Rounds):
    name = "later"
    every = 60.0
    made = 0

    def tick(self) -> object:
        self.made += 1
        return None


def test_the_first_round_waits_and_closing_does_not() -> None:
    later = Later()
    later.start()
    later.close()
    assert later.made == 0
    Later().close()  # one that was never started


def test_closing_waits_for_the_round_that_is_being_made() -> None:
    class Busy(Later):
        at_once = True
        begun = threading.Event()

        def tick(self) -> object:
            self.begun.set()
            time.sleep(0.2)
            return super().tick()

    busy = Busy()
    busy.start()
    assert busy.begun.wait(30)
    busy.close()
    assert busy.made == 1
