"""Attacks on the gate one by one, each on one protection: at the doors of a real server with a real kernel."""

from __future__ import annotations

import json
from pathlib import Path

from strongroom_lab import page as lab_page

from tests.extension.conftest import Lab, of_type, text_of

FORGE = """
import json, time
kernel = get_ipython().kernel
session, iopub, parent = kernel.session, kernel.iopub_socket, kernel.get_parent()
def send(content, kind="stream", parent=parent):
    session.send(iopub, kind, content, parent=parent, ident=b"kernel")
"""


async def test_unsigned_and_wrongly_signed_messages_are_dropped(lab: Lab) -> None:
    code = (
        FORGE
        + """
message = session.msg("stream", {"name": "stdout", "text": "forged"}, parent=parent)
whole = session.serialize(message)
at = whole.index(b"<IDS|MSG>") + 1
for signature in (b"", b"0" * 64, whole[at][:-1] + b"x", whole[at].upper()):
    iopub.send_multipart([*whole[:at], signature, *whole[at + 1:]])
other = session.serialize(session.msg("stream", {"name": "stdout", "text": "other"}, parent=parent))
iopub.send_multipart([*whole[:at + 1], *other[at + 1:]])
iopub.send_multipart([*whole[:at + 1], *whole[at + 1:-1], whole[-1].replace(b"forged", b"FORGED")])
time.sleep(0.2)
print("honest")
"""
    )
    async with lab.page(lab.start_kernel("signed.ipynb")) as page:
        messages = await page.run(code)
        await page.quiet()
    assert text_of(messages) == "honest\n"
    assert "forged" not in json.dumps([m for m in page.seen if m["msg_type"] != "execute_input"]).lower()


async def test_what_answers_no_request_reaches_nobody(lab: Lab) -> None:
    code = (
        FORGE
        + """
mine = parent["header"]["msg_id"]
for other in ({}, *({"msg_id": one} for one in ("made-up", None, ["x"], mine + "x", mine[:-1]))):
    message = session.msg("stream", {"name": "stdout", "text": "orphan"})
    message["parent_header"] = other
    session.send(iopub, message)
time.sleep(0.2)
"""
    )
    async with lab.page(lab.start_kernel("orphans.ipynb")) as page:
        await page.run(code)
        await page.quiet()
    assert "orphan" not in json.dumps([m for m in page.seen if m["msg_type"] != "execute_input"])


async def test_a_late_message_to_a_foreign_cell_carries_that_cells_own_parent(lab: Lab) -> None:
    """A kernel may answer an earlier request, under its own budget; it cannot change what the page knows of it."""
    async with lab.page(lab.start_kernel("foreign.ipynb")) as page:
        first = await page.run(FORGE + "earlier = kernel.get_parent()")
        mine = first[0]["parent_header"]["msg_id"]
        await page.run(FORGE + "send({'name': 'stdout', 'text': 'late'}, parent=earlier)\ntime.sleep(0.2)")
        await page.quiet()
    [late] = [m for m in of_type(page.seen, "stream") if m["content"]["text"] == "late"]
    assert late["parent_header"]["msg_id"] == mine
    assert late["parent_header"] == first[0]["parent_header"]


async def test_comms_that_nobody_opened_say_nothing(lab: Lab) -> None:
    code = (
        FORGE
        + """
send({"comm_id": "never", "data": {"x": "smuggled"}}, "comm_msg")
send({"comm_id": "never", "data": {"x": "smuggled"}}, "comm_close")
send({"comm_id": "odd", "target_name": "anywidget", "data": {}}, "comm_open")
send({"comm_id": "odd", "data": {"x": "smuggled"}}, "comm_msg")
time.sleep(0.2)
"""
    )
    async with lab.page(lab.start_kernel("comms.ipynb")) as page:
        messages = await page.run(code) + await page.quiet()
    assert [m["msg_type"] for m in messages if m["msg_type"].startswith("comm")] == []


async def test_an_answer_without_an_entry_is_no_entry(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("entry.ipynb")) as page:
        for answer in ({}, {"entry": None}, {"entry": True}, {"entry": "7"}, {"entry": [7]}):
            lab.control.answers["begin cell"] = {**answer, **lab.control.state()}
            messages = await page.run("open('ran', 'w')")
            assert "was not run" in of_type(messages, "error")[0]["content"]["evalue"], answer
        lab.control.answers.clear()
        assert not (lab.work / "ran").exists()
        assert text_of(await page.run("print('alive')")) == "alive\n"


def test_the_path_resolver_tells_of_no_file(lab: Lab) -> None:
    kernel = lab.start_kernel("paths.ipynb")
    answers = {
        lab.call("GET", f"api/resolvePath?kernel={kernel}&path={path}").text
        for path in ("/etc/passwd", "/does/not/exist", str(lab.notebooks), "a.ipynb", "../work")
    }
    assert len(answers) == 1
    assert "passwd" not in answers.pop()


def test_the_pages_policy_is_this_and_no_other() -> None:
    """Every directive: one that is missing falls back, and one that is wider lets a package lead data out."""
    directives = dict(part.split(" ", 1) for part in lab_page.policy(Path("/nothing/here")).split("; "))
    assert directives == {
        "default-src": "'self'",
        "frame-src": "'none'",
        "script-src": "'self' 'unsafe-eval'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
