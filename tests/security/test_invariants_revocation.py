"""A revoked grant acts on the next read, the next batch and the next display, also of a cell that is running; and what
was opened is taken back."""

from __future__ import annotations

import threading
import time

import pytest
from strongroom_hub.tour.notebook import Notebook

from tests.security.conftest import CONFIDENTIAL

pytestmark = pytest.mark.e2e

TALK = "import time\nfor n in range(16):\n    print('tick', n, flush=True)\n    time.sleep(0.5)"

OPENS = f"""import strongroom
held = strongroom.open({CONFIDENTIAL!r})
batches = strongroom.open({CONFIDENTIAL!r}, stream=True).iter_batches(rows=100)
print(held.label, len(next(batches)))"""
ENDS = """import time
try:
    next(batches)
except strongroom.AccessDenied:
    for _ in range(100):
        held.arrow()
        time.sleep(0.1)
"""


def test_revocation_acts_at_once(people, confidential):
    server = people.server("analyst", "cardio")
    steward = people["steward"]
    steward.open_console()
    grants = [g for g in steward.console("GET", "grants")["grants"] if (g["user"], g["state"]) == ("analyst", "active")]
    with Notebook(server, "talks.ipynb") as talks, Notebook(server, "reads.ipynb") as reads:
        ready = reads.run(OPENS)
        assert "confidential 100" in ready.text, ready.error
        told: list = []
        talking = threading.Thread(target=lambda: told.append(talks.run(TALK)))
        talking.start()
        time.sleep(2)
        for one in grants:
            steward.console("POST", f"grants/{one['id']}/revoke", {"reason": "It was an attack."})
        shown = reads.run("print('after the revocation')")
        ended = reads.run(ENDS)
        taken = reads.run("try:\n    held.arrow()\nexcept strongroom.AccessDenied:\n    pass")
        denied = reads.run(f"strongroom.open({CONFIDENTIAL!r})")
        talking.join(60)
    assert grants
    assert "after the revocation" not in shown.text
    assert denied.status == "error"
    assert (ended.status, taken.status) == ("error", "ok"), "the data of a revoked grant can still be used"
    [cell] = told
    assert "tick 1" in cell.text
    assert "tick 9" not in cell.text, "a running cell went on showing"
    session = server.panel("GET", "session")
    assert session["label"] == "confidential", "a label came down"
    assert session["display"]["allowed"] is False
