from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from strongroom_hub.machine import start
from strongroom_hub.machine.boxes import failed
from strongroom_hub.machine.check import Check, State, broken, fine, weaker
from strongroom_hub.machine.start import StartCheck
from strongroom_hub.pages import choices
from strongroom_hub.problems import Problem

STANDARD = {
    "name": "standard",
    "title": "Standard",
    "sandbox": "bubblewrap",
    "memory_bytes": 1 << 30,
    "cpus": 1,
    "processes": 100,
    "work_bytes": 1 << 30,
}
SEALED = STANDARD | {"name": "sealed", "title": "Sealed", "sandbox": "gvisor"}
HOLDS = fine("box: bubblewrap", "It holds.")
MISSING = weaker("box: gvisor", "start: runsc is not installed.", "Install runsc.")


class Control:
    def __init__(self, refusals: int = 0) -> None:
        self.told: list[Any] = []
        self.refusals = refusals

    async def call_async(self, method: str, path: str, body: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Problem(503, "control-unreachable", "Not there", "yet")
        self.told.append((method, path, body))


def begun(monkeypatch: pytest.MonkeyPatch, found: list[Check] | Exception, control: Control) -> StartCheck:
    def look(programs: Any, place: Any) -> list[Check]:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(start, "examine", look)
    monkeypatch.setattr(start.Programs, "of_instance", lambda place: None)
    monkeypatch.setattr(start, "RETRY_SECONDS", 0.0)
    check = StartCheck(None)  # type: ignore[arg-type]
    check.begin(control, logging.getLogger("test"))  # type: ignore[arg-type]
    return check


async def test_a_box_that_holds_may_start_and_control_is_told(monkeypatch, caplog) -> None:
    control = Control(refusals=3)
    check = begun(monkeypatch, [HOLDS, MISSING], control)
    assert await check.refusal("bubblewrap") is None
    await check._telling  # type: ignore[misc]
    assert control.told == [("POST", "machine", {"checks": [HOLDS.as_json(), MISSING.as_json()]})]
    assert "runsc is not installed" in caplog.text
    assert "It holds." not in caplog.text


async def test_a_tier_that_does_not_hold_is_refused_in_words(monkeypatch) -> None:
    check = begun(monkeypatch, [HOLDS, MISSING], Control())
    problem = await check.refusal("gvisor")
    assert problem is not None
    assert problem.status == 503
    assert "runsc is not installed" in problem.why[0]
    assert "Install runsc." in problem.next


async def test_a_page_says_what_this_machine_cannot_run(monkeypatch) -> None:
    project = {
        "name": "cardio",
        "last_profile": "sealed",
        "profiles": [SEALED, STANDARD],
    }
    check = begun(monkeypatch, [HOLDS, MISSING], Control())
    assert [profile["lacks"] for profile in choices(project, check.lacks)["profiles"]] == ["", ""]  # not known yet
    assert await check.refusal("bubblewrap") is None
    told = choices(project, check.lacks)
    sealed, standard = told["profiles"]
    assert "runsc is not installed" in sealed["lacks"]
    assert standard["lacks"] == ""
    assert told["chosen"] == STANDARD["name"]


@pytest.mark.parametrize(
    "found",
    [
        [broken("box: bubblewrap", "A wall is missing.", "Build it.")],
        [fine("Landlock", "It is there.")],
        [],
        RuntimeError("no idea"),
    ],
    ids=["broken", "not tried", "nothing", "error"],
)
async def test_what_was_not_seen_to_hold_does_not_start(monkeypatch, found) -> None:
    check = begun(monkeypatch, found, Control())
    assert await check.refusal("bubblewrap") is not None


async def test_before_the_machine_was_looked_at_nothing_starts() -> None:
    assert await StartCheck(None).refusal("bubblewrap") is not None  # type: ignore[arg-type]


async def test_the_first_server_waits_and_gives_up_without_ending_the_look(monkeypatch) -> None:
    check = begun(monkeypatch, [HOLDS], Control())
    waiting = asyncio.create_task(check.refusal("bubblewrap"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await check.refusal("bubblewrap") is None


def test_weaker_counts_as_failed_for_a_box() -> None:
    assert failed("gvisor", [MISSING]) is MISSING
    assert failed("bubblewrap", [HOLDS]) is None
    unknown = failed("castle", [HOLDS])
    assert unknown is not None
    assert unknown.state is State.BROKEN
