"""A hostile kernel and its messages: nothing but the schema's fields gets out, and no more than the budget."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from strongroom_hub.audit.keys import VERIFIER_KEY
from strongroom_hub.audit.note import VerifierKey, open_checkpoint
from strongroom_hub.tour.notebook import Notebook
from strongroom_lab.workspace import LIMITED_STEP

from tests.security.conftest import all_frames, refused

pytestmark = pytest.mark.e2e

CELL_BUDGET = 64 * 1024
PUBLISH = """
import time
kernel = get_ipython().kernel
session, iopub, parent = kernel.session, kernel.iopub_socket, kernel.get_parent()
JUNK = "SMUG" + "GLED" * 8192
problems = []
def publish(kind, content, **more):
    try:
        session.send(iopub, kind, content, parent=parent, ident=b"kernel", **more)
    except Exception as error:
        problems.append(f"{kind}: {error}")
"""
SMUGGLE = (
    PUBLISH
    + """
JUNK = JUNK[:64] + " "  # no identifier, and short: the schema should stop it, not the budget
raw, spoiled = [JUNK.encode()], {JUNK: JUNK, "strongroom": {"entry": 1, "label": "public", "shown": 0, "x": JUNK}}
publish("smuggled", {"data": JUNK})
publish("comm_info_reply", {"status": "ok", "comms": {JUNK: JUNK}})
publish("kernel_info_reply", {"status": "ok", "banner": JUNK})
publish("execute_reply", {"status": "ok", "payload": [{"source": "page", "data": {"text/plain": JUNK}}]})
publish("execute_input", {"code": JUNK, "execution_count": JUNK})
publish("status", {"execution_state": JUNK})
publish("status", {"execution_state": "busy", "more": JUNK}, metadata=spoiled, buffers=raw)
publish("stream", {"name": JUNK, "text": "."})
publish("stream", {"name": "stdout", "text": ".", "more": JUNK}, metadata=spoiled, buffers=raw)
publish("clear_output", {"wait": JUNK, "more": JUNK}, metadata=spoiled)
publish("display_data", {"data": {"text/plain": "."}, "metadata": {"text/plain": JUNK, "image/png": {"width": JUNK}},
                         "transient": {"display_id": "d", "more": JUNK}}, metadata=spoiled, buffers=raw)
publish("display_data", {"data": {"application/x-smuggled": JUNK, "application/javascript": JUNK,
                                  "image/svg+xml": JUNK}})
publish("display_data", {"data": {"text/html": f"<!--{JUNK}--><script>{JUNK}</script><b style='{JUNK}'>.</b>"
                                               f"<a href='https://example.org/{JUNK}'>.</a>"}})
publish("update_display_data", {"data": {"text/plain": "."}, "transient": {"display_id": JUNK}})
publish("execute_result", {"data": {"text/plain": "."}, "metadata": {}, "execution_count": JUNK}, metadata=spoiled)
publish("comm_open", {"comm_id": JUNK, "target_name": "jupyter.widget", "data": {}})
publish("comm_open", {"comm_id": "c1", "target_name": JUNK, "data": {}})
publish("comm_msg", {"comm_id": "never-opened", "data": {"more": JUNK}}, buffers=raw)
for field in ("header", "parent_header"):
    message = session.msg("stream", {"name": "stdout", "text": "."}, parent=parent)
    message[field] = {**message[field], "more": JUNK, "session": JUNK, "username": JUNK, "date": JUNK}
    session.send(iopub, message)
message = session.msg("stream", {"name": "stdout", "text": JUNK}, parent=parent)
message["parent_header"] = {**message["parent_header"], "msg_id": JUNK}
session.send(iopub, message)
session.send(iopub, "stream", {"name": "stdout", "text": JUNK})
ident = kernel._parent_ident["shell"]
shell = kernel.shell_stream
session.send(shell, "smuggled", {"data": JUNK}, parent, ident=ident)
session.send(shell, "execute_reply", {"status": "ok", "execution_count": 1 << 4000, "user_expressions":
    {"x": {"status": "ok", "data": {"text/plain": JUNK}}}, "payload": [{"source": "set_next_input", "text": JUNK}]},
    parent, ident=ident, metadata=spoiled, buffers=raw)
time.sleep(0.5)
assert not problems, problems
"""
)
FLOOD = (
    PUBLISH
    + """
for _ in range(30):
    publish("stream", {"name": "stderr", "text": JUNK})
    publish("display_data", {"data": {"text/plain": JUNK}, "metadata": {}, "transient": {"display_id": "d"}})
    publish("update_display_data", {"data": {"text/html": f"<p title='{JUNK}'>x</p>"},
                                    "transient": {"display_id": "d"}})
    publish("execute_result", {"data": {"text/markdown": JUNK}, "metadata": {}, "execution_count": 1})
    publish("error", {"ename": JUNK, "evalue": JUNK, "traceback": [JUNK]})
    publish("comm_open", {"comm_id": "c1", "target_name": "jupyter.widget", "data": {"state": JUNK}},
            buffers=[JUNK.encode()])
    publish("comm_msg", {"comm_id": "c1", "data": {"state": JUNK}}, buffers=[JUNK.encode()])
    publish("comm_close", {"comm_id": "c1", "data": {"state": JUNK}})
    publish("clear_output", {"wait": False})
    session.send(kernel.stdin_socket, "input_request", {"prompt": JUNK, "password": False}, parent,
                 ident=kernel._parent_ident["shell"])
time.sleep(0.5)
assert not problems, problems
"""
)


def reply_in(frames: list[str]) -> dict[str, Any]:
    [reply] = [json.loads(frame) for frame in frames if frame.startswith("{") and '"execute_reply"' in frame]
    return dict(reply)


def test_nothing_is_smuggled_beside_the_schema(running, confidential):
    with Notebook(confidential, "smuggle.ipynb") as notebook:
        frames = all_frames(notebook, SMUGGLE)
    errors = [frame[:2000] for frame in frames if '"msg_type":"error"' in frame.replace(" ", "")]
    assert not errors, errors
    # The cell's own source comes back, once and from the gate; the word as the code spells it is not the word it makes.
    assert [frame[:300] for frame in frames if "SMUGGLED" in frame] == []
    reply = reply_in(frames)
    seal = reply["metadata"]["strongroom"]
    assert seal["label"] == "confidential"
    assert seal["entry"] > 1
    assert set(reply["metadata"]) == {"strongroom"}
    assert set(seal) == {"entry", "label", "shown", "withheld", "time", "checkpoint"}
    verifier = VerifierKey.parse((running.instance.public_dir / VERIFIER_KEY).read_text(encoding="ascii"))
    assert open_checkpoint(seal["checkpoint"], verifier).size > seal["entry"]
    assert seal["withheld"] < CELL_BUDGET, "the budget stopped what the schema should have"


def test_every_channel_together_stays_within_the_cells_budget(confidential):
    with Notebook(confidential, "flood.ipynb") as notebook:
        frames = all_frames(notebook, FLOOD)
        after = notebook.run("print('still here')")
    junk = sum(frame.count("GLED") * 4 for frame in frames)
    assert 0 < junk <= CELL_BUDGET
    assert sum(map(len, frames)) < 2 * CELL_BUDGET
    reply = reply_in(frames)
    assert reply["metadata"]["strongroom"]["shown"] <= CELL_BUDGET
    assert reply["metadata"]["strongroom"]["withheld"] > 1_000_000
    assert "still here" in after.text


def left(server) -> int:
    found: int = server.panel("GET", "session")["display"]["day_bytes_left"]
    return found


def until_left(server, most: int) -> int:
    deadline = time.monotonic() + 10
    while (now := left(server)) > most and time.monotonic() < deadline:
        time.sleep(0.2)
    return now


def settled(server) -> int:
    """What is left once nothing is charged any more for what came before: the gate charges beside what it shows."""
    deadline = time.monotonic() + 10
    now, before = left(server), -1
    while now != before and time.monotonic() < deadline:
        time.sleep(0.5)
        now, before = left(server), now
    return now


def test_kernels_and_restarts_share_one_day(people, confidential):
    shown = 30_000
    with Notebook(confidential, "one.ipynb") as one, Notebook(confidential, "two.ipynb") as two:
        before = left(confidential)
        for notebook in (one, two):
            assert "x" * shown in notebook.run(f"print('x' * {shown})").text
        # Up to one step was charged ahead, before.
        after = until_left(confidential, before - 2 * shown + LIMITED_STEP)
        assert after <= before - 2 * shown + LIMITED_STEP, "two kernels have two budgets"
    again = people.restart("analyst", "cardio")
    with Notebook(again, "three.ipynb") as three:
        assert left(again) <= after, "a new server is a new day"
        cell = three.run("print('x')")
        assert cell.seal["label"] == "confidential", "a new server has forgotten the label"


def test_what_the_files_room_says_counts_as_output(people, confidential):
    server = people.server("analyst", "cardio")
    ask = {"paths": ["message-by-size.csv"], "justification": "To ask how large it is."}
    with Notebook(server, "sizes.ipynb") as notebook:
        notebook.run("f = open('message-by-size.csv', 'w'); f.truncate(1_234_567_890); f.close()")
        before = left(server)
        problem = refused(server.panel, "POST", "exports", ask)
        assert "1,234,567,890" in problem.detail
        spent = before - until_left(server, before - 1)
        assert spent >= len(problem.detail), "the size of a file is told for nothing"
        made = notebook.run("open('message.csv', 'w').write('n_' + 'a' * 70 + ',n_b\\n1,2\\n3,4\\n')")
        assert made.status == "ok"
        # A server that was started anew has told nothing yet: exports of other tests are charged when listed first.
        server.panel("GET", "exports")
        before = settled(server)
        export = server.panel("POST", "exports", {"paths": ["message.csv"], "justification": "Names of columns."})
        told = len(json.dumps(export["files"], separators=(",", ":")))
        assert "n_" + "a" * 70 in json.dumps(export["files"]), "the findings name columns"
        assert before - until_left(server, before - told) >= told
        again = settled(server)
        server.panel("GET", "exports")
        assert left(server) == again, "what was told once costs nothing more"
    server.panel("POST", f"exports/{export['id']}/withdraw")
