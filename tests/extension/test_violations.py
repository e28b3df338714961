from __future__ import annotations

import asyncio
from typing import Any

from strongroom_hub.problems import Problem
from strongroom_lab import ask
from strongroom_lab.ask import Questions
from strongroom_lab.violations import INTERVAL, MOST_NAMES, Violations
from strongroom_lab.workspace import QUESTIONS, Workspace


class Control:
    """Keeps what it was told; refuses as set."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, int], str]] = []
        self.refusal: Problem | None = None

    async def report_violation(self, kernel: str, kind: str, counts: dict[str, int], text: str) -> dict[str, Any]:
        if self.refusal is not None:
            raise self.refusal
        self.told.append((kernel, kind, counts, text))
        return {"entry": len(self.told)}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_first_is_told_at_once_and_the_rest_summed() -> None:
    control, clock = Control(), Clock()
    violations = Violations(control, clock)  # type: ignore[arg-type]
    violations.note("k", "syscall", {"socket": 1}, "denied")
    await violations.report()
    assert control.told == [("k", "syscall", {"socket": 1}, "denied")]
    for _ in range(5):
        violations.note("k", "syscall", {"socket": 2, "ptrace": 1})
        violations.note("k", "message", {"foo": 1})
        violations.note("other", "syscall", {"socket": 1})
        await violations.report()
    assert len(control.told) == 3
    clock.now += INTERVAL
    await violations.report()
    assert control.told[3] == ("k", "syscall", {"socket": 10, "ptrace": 5}, "denied")
    clock.now += INTERVAL
    await violations.report()
    assert len(control.told) == 6


async def test_what_control_does_not_take_is_told_later() -> None:
    control, clock = Control(), Clock()
    violations = Violations(control, clock)  # type: ignore[arg-type]
    control.refusal = Problem(503, "control-silent", "Silent", "x")
    violations.note("k", "limit", {"memory": 1}, "too much")
    await violations.report()
    control.refusal = None
    clock.now += INTERVAL
    await violations.report()
    assert control.told == [("k", "limit", {"memory": 1}, "too much")]
    control.refusal = Problem(404, "unknown-kernel", "Unknown", "x")
    violations.note("k", "syscall", {"socket": 1})
    await violations.report()
    control.refusal = None
    clock.now += INTERVAL
    await violations.report()
    assert len(control.told) == 1  # control will never know that kernel: nothing is kept for it


async def test_a_kernel_that_makes_up_names_fills_nothing() -> None:
    control = Control()
    violations = Violations(control)  # type: ignore[arg-type]
    for number in range(10_000):
        violations.note("k", "message", {f"type-{number}" + "x" * 1000: 1}, "y" * 5000)
    await violations.stop()
    ((_, _, counts, text),) = control.told
    assert len(counts) == MOST_NAMES + 1
    assert sum(counts.values()) == 10_000
    assert max(map(len, counts)) <= 64
    assert len(text) == 1000


async def test_questions_that_come_too_fast_are_refused_and_counted(monkeypatch) -> None:
    monkeypatch.setattr(ask, "PAUSE", 0.0)
    workspace = Workspace(Control())  # type: ignore[arg-type]
    questions = [Questions(kernel, workspace, None, lambda: (0, ""), lambda _: None) for kernel in ("k", "other")]
    answers = [await questions[number % 2].answer({"v": 1, "op": "label"}) for number in range(10 * QUESTIONS)]
    good = [answer for answer in answers if answer["ok"]]
    assert QUESTIONS <= len(good) < 2 * QUESTIONS
    problem = answers[-1]["problem"]
    assert (problem["status"], problem["why"] != [], problem["next"] != "") == (429, True, True)
    await workspace.violations.report()
    told = {(kernel, kind): counts["ask"] for kernel, kind, counts, _ in workspace.control.told}  # type: ignore[attr-defined]
    assert set(told) == {("k", "rate"), ("other", "rate")}
    assert sum(told.values()) + len(good) == len(answers)


async def test_a_refused_question_waits() -> None:
    """Eight connections that ask without end get no more than eighty refusals a second."""
    workspace = Workspace(Control())  # type: ignore[arg-type]
    questions = Questions("k", workspace, None, lambda: (0, ""), lambda _: None)
    while workspace.questions.take(None):
        pass
    task = asyncio.ensure_future(questions.answer({"v": 1, "op": "label"}))
    await asyncio.sleep(0)
    assert not task.done()
    assert (await task)["problem"]["status"] == 429
