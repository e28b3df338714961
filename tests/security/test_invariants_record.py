"""The record: no cell without an entry, no entry lost, whatever dies; and nothing shown on an old decision."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from strongroom_hub.internal import ControlClient
from strongroom_hub.problems import Problem
from strongroom_hub.tour.notebook import Notebook

from tests.e2e.processes import below, wait_until

pytestmark = pytest.mark.e2e

PATIENCE = 60


@pytest.fixture(scope="module")
def internal(people):
    """The analyst's server of elections, whose workspace has read internal data: shown, but decided on again."""
    server = people.server("analyst", "elections")
    with Notebook(server, "flights.ipynb") as notebook:
        cell = notebook.run("import strongroom\nprint(strongroom.open('transport/flights', columns=['year']).label)")
    assert cell.seal["label"] == "internal", cell.error
    return server


def control_of(running) -> int:
    return below(running.hub_pid, "strongroom_hub.control")[-1]


def entries(people, **filters) -> list[dict]:
    found = people.at_console("auditor").console("GET", "audit/entries", None, limit=1000, **filters)["entries"]
    return list(found)


def test_every_cell_has_one_beginning_with_its_code_and_one_end(people, internal):
    with Notebook(internal, "count.ipynb") as notebook:
        codes = ["x = 1", "1/0", "print('shown')", "def broken(:", ""]
        cells = [notebook.run(code) for code in codes]
        notebook.send("shell", "execute_request", {"code": "x += 1", "silent": True, "store_history": False})
        notebook.send("shell", "inspect_request", {"code": "x", "cursor_pos": 1, "detail_level": 0})
        assert notebook.run("print('x is', x)").text.strip() == "x is 2"
        wait_until(lambda: len(begun(people, notebook, "server:cell:end")) == 8, 15, "the end of each cell")
        begins = begun(people, notebook, "server:cell:begin")
        assert len(begins) == len(codes) + 2
        assert len(begun(people, notebook, "server:inspection:request")) == 1
        ends = Counter(entry["detail"]["begin"] for entry in begun(people, notebook, "server:cell:end"))
        assert set(ends.values()) == {1}
        assert {entry["index"] for entry in begins} <= set(ends)
    for code, cell in zip(codes, cells, strict=True):
        assert people["auditor"].console("GET", f"audit/entries/{cell.seal['entry']}")["payload"] == code


def begun(people, notebook, action: str) -> list[dict]:
    return [entry for entry in entries(people, action=action) if entry["kernel"] == notebook.kernel]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_while_control_does_not_answer_nothing_runs_and_nothing_is_shown(running, people, internal):
    talk = "import time\nfor n in range(24):\n    print('tick', n, flush=True)\n    time.sleep(0.5)"
    with Notebook(internal, "talks.ipynb") as talks, Notebook(internal, "waits.ipynb") as waits:
        waits.run("import os, pathlib")
        told: list = []
        talking = threading.Thread(target=lambda: told.append(talks.run(talk)))
        talking.start()
        time.sleep(1.5)
        with frozen(control_of(running)):
            cell = waits.run("pathlib.Path('ran-without-entry').touch()")
            talking.join(PATIENCE)
        assert cell.status == "error"
        assert "not run" in cell.error
        assert "does not answer" in cell.error
        after = until_ok(waits, "print(os.path.exists('ran-without-entry'))")
        assert after.text.strip() == "False", "a cell ran that control had not recorded"
    assert "tick 0" in told[0].text
    assert "tick 20" not in told[0].text, "shown on a decision older than the limit"
    assert "could not be checked" in told[0].text


def until_ok(notebook: Notebook, code: str):
    deadline = time.monotonic() + PATIENCE
    while (cell := notebook.run(code)).status != "ok":
        assert time.monotonic() < deadline, cell.error
        time.sleep(0.5)
    return cell


def test_control_killed_again_and_again_loses_no_acknowledged_cell(running, people, internal):
    instance = running.instance
    operator = ControlClient(instance.control_socket, instance.operator_token_file)
    chance = random.Random(6)
    stop = threading.Event()
    cells: list = []

    def work() -> None:
        with Notebook(internal, "killed.ipynb") as notebook:
            while not stop.is_set():
                cells.append(notebook.run(f"n = {len(cells)}; print('ran', n)"))
                if cells[-1].status != "ok":
                    time.sleep(0.1)

    working = threading.Thread(target=work)
    working.start()
    try:
        for _ in range(4):
            time.sleep(chance.uniform(0.1, 1.5))
            pid = control_of(running)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: control_of_or_none(running) not in {None, pid}, PATIENCE, "another control")
            wait_until(lambda: answers(operator), PATIENCE, "control answers again")
    finally:
        stop.set()
        working.join(PATIENCE)
    ran = [cell for cell in cells if "ran" in cell.text]
    assert len(ran) > 10
    assert any(cell.status == "error" for cell in cells), "no cell met a dead control: the kills came too late"
    auditor = people["auditor"]
    auditor.open_console()  # its session ended with control
    for cell in ran:
        recorded = auditor.console("GET", f"audit/entries/{cell.seal['entry']}")
        assert recorded["payload"] == cell.code, "a cell ran and is not in the log as it ran"
    verified = subprocess.run(
        [str(Path(sys.executable).with_name("strongroom")), "audit", "verify"],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "STRONGROOM_INSTANCE": str(instance.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def control_of_or_none(running) -> int | None:
    found = below(running.hub_pid, "strongroom_hub.control")
    return found[-1] if found else None


def answers(operator: ControlClient) -> bool:
    try:
        operator.call("GET", "status")
    except Problem:
        return False
    return True
