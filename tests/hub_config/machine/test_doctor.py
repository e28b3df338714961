from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from strongroom_hub.cli import app
from strongroom_hub.cli import doctor as command
from strongroom_hub.machine import boxes, doctor
from strongroom_hub.machine.check import Check, State, broken, fine, weaker
from typer.testing import CliRunner

FINDINGS = {
    "checks": [{"name": "Landlock", "state": "fine", "text": "ABI 7.", "next": ""}],
    "tiers": {"launcher": [], "bubblewrap": [], "gvisor": []},
    "families": [1],
}


@pytest.fixture(scope="session")
def kernel_prefix() -> str:
    named = os.environ.get("STRONGROOM_TEST_KERNEL_PREFIX", "")
    assert named, "STRONGROOM_TEST_KERNEL_PREFIX is not set: run these tests with `make test`"
    return named


def test_the_boxes_of_this_machine_hold(kernel_prefix: str) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    found = {check.name: check for check in boxes.checks(sys.executable, kernel_prefix, doctor._trial_uid())}
    assert found["box: bubblewrap"].state is State.FINE, found["box: bubblewrap"]
    assert found["socket families"].state is State.FINE
    assert found["user namespaces"].state is State.FINE
    assert boxes.failed("bubblewrap", list(found.values())) is None
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.parametrize(
    ("python", "prefix"), [("/none/python", "/none"), (sys.executable, "/none")], ids=["no servers", "no kernels"]
)
def test_a_box_that_cannot_be_tried_is_broken(python: str, prefix: str) -> None:
    found = boxes.checks(python, prefix, doctor._trial_uid())
    why = boxes.failed("bubblewrap", found)
    assert why is not None
    assert why.state is State.BROKEN
    assert "Traceback" not in why.text


def said(monkeypatch: pytest.MonkeyPatch, **changes: object) -> dict[str, Check]:
    monkeypatch.setattr(boxes, "_tried", lambda *_: FINDINGS | changes)
    return {check.name: check for check in boxes.checks("python", "prefix", None)}


def test_the_default_tier_is_needed_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = [{"check": "seccomp", "severity": "failure", "text": "the filters are not active."}]
    for tier, state in (("launcher", State.WEAKER), ("bubblewrap", State.BROKEN), ("gvisor", State.WEAKER)):
        found = said(monkeypatch, tiers=FINDINGS["tiers"] | {tier: failure})  # type: ignore[operator]
        assert found[f"box: {tier}"].state is state
        assert "the filters are not active" in found[f"box: {tier}"].text
        assert boxes.failed(tier, list(found.values())) is not None


def test_a_weakness_is_told_and_does_not_stop_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    weakness = [{"check": "landlock", "severity": "weakness", "text": "Landlock does not run here."}]
    found = said(monkeypatch, tiers=FINDINGS["tiers"] | {"bubblewrap": weakness})  # type: ignore[operator]
    assert "Landlock does not run here" in found["box: bubblewrap"].text
    assert boxes.failed("bubblewrap", list(found.values())) is None


def test_a_socket_of_another_family_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, families=[1, 40])["socket families"].state is State.BROKEN


# -- the command --------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, found: list[Check], *arguments: str) -> tuple[int, str]:
    for name in ("STRONGROOM_INSTANCE", "STRONGROOM_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(command, "examine", lambda programs, place: found)
    done = CliRunner().invoke(app, ["doctor", *arguments])
    return done.exit_code, done.output


GOOD, WEAK, BAD = fine("a", "Good."), weaker("b", "So so.", "Mend b."), broken("c", "Bad.", "Mend c.")


@pytest.mark.parametrize(("found", "status"), [([GOOD], 0), ([GOOD, WEAK], 1), ([BAD, WEAK, GOOD], 2), ([], 0)])
def test_the_exit_status_is_the_worst_state(monkeypatch: pytest.MonkeyPatch, found: list[Check], status: int) -> None:
    code, told = run(monkeypatch, found)
    assert code == status
    for check in found:
        assert check.text in told
        assert check.next in told


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    code, told = run(monkeypatch, [GOOD, BAD], "--json")
    assert code == 2
    assert json.loads(told) == {"state": "broken", "checks": [GOOD.as_json(), BAD.as_json()]}


def test_it_runs_before_set_up() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")}
    program = "from strongroom_hub.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor"], capture_output=True, text=True, env=clean, check=False, timeout=60
    )
    assert done.returncode in {0, 1, 2}
    assert "make setup" in done.stdout
    assert "Traceback" not in done.stderr
