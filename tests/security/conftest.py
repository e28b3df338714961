"""One real instance for the attacks, apart from the end-to-end tests': labels that rise here never come down."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.notebook import Notebook
from strongroom_hub.tour.person import Server, TourError

from tests.real import People, fresh_instance

CONFIDENTIAL = "health/randhie"


@pytest.fixture(scope="session")
def running() -> Iterator[RunningInstance]:
    with fresh_instance() as instance:
        yield instance


@pytest.fixture(scope="session")
def people(running: RunningInstance) -> Iterator[People]:
    everybody = People(running)
    yield everybody
    everybody.close()


@pytest.fixture(scope="session")
def confidential(people: People) -> Server:
    """The analyst's server of cardio, whose workspace has read confidential data."""
    server = people.server("analyst", "cardio")
    grant(people, server, CONFIDENTIAL)
    with Notebook(server, "reading.ipynb") as notebook:
        cell = notebook.run(f"import strongroom\nd = strongroom.open({CONFIDENTIAL!r})\nprint(d.label)")
    assert cell.seal["label"] == "confidential", cell.error
    return server


def grant(people: People, server: Server, dataset: str, steward: str = "steward") -> dict[str, Any]:
    """Ask for access and have it approved; the grant."""
    ask = {"dataset": dataset, "columns": None, "purpose": "To attack it.", "days": 1}
    asked = server.panel("POST", "access-requests", ask)
    decided = people.at_console(steward).console(
        "POST", f"access-requests/{asked['id']}/decision", {"verdict": "approve"}
    )
    found: dict[str, Any] = decided["grant"]
    return found


def refused(call: Any, *arguments: Any, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def kernel_json(notebook: Notebook, code: str) -> Any:
    """What `code` prints as its last line, read as JSON."""
    cell = notebook.run(code)
    assert cell.status == "ok", cell.error
    return json.loads(cell.text.strip().splitlines()[-1])


def all_frames(notebook: Notebook, code: str, *, quiet: float = 3.0, patience: float = 60.0) -> list[str]:
    """Every websocket frame from the start of a cell until `quiet` seconds after its reply, whatever it answers."""
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True, "stop_on_error": True}
    mine = notebook.send("shell", "execute_request", content, cell=uuid.uuid4().hex)
    frames: list[str] = []
    deadline, replied = time.monotonic() + patience, False
    while True:
        try:
            raw = notebook.socket.recv(timeout=quiet if replied else max(0.1, deadline - time.monotonic()))
        except TimeoutError:
            if replied:
                return frames
            raise TourError("no reply to the cell") from None
        frames.append(raw if isinstance(raw, str) else raw.decode("latin-1"))
        if not isinstance(raw, str):  # a widget's, with buffers
            continue
        message = json.loads(raw)
        replied = replied or (message["msg_type"] == "execute_reply" and message["parent_header"].get("msg_id") == mine)
