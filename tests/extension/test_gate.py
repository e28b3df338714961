"""The road of one cell through a real server and a real kernel in its box, and attacks on it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from strongroom_lab.gate.life import LARGEST_MESSAGE
from strongroom_lab.mime import WITHHELD
from strongroom_lab.workspace import LIMITED_STEP

from tests.extension.conftest import CHECKPOINT, FREE, GUARDED, REVOKED, Lab, of_type, text_of

CELLS = "strongroom/api/cells?notebook="
REFUSAL = {
    "type": "urn:strongroom:problem:audit",
    "title": "The audit log cannot be written",
    "status": 503,
    "detail": "The disk is full.",
    "why": ["rule A1"],
    "next": "Tell the operator.",
}

ASK = """
import json, socket
def ask(**request):
    s = socket.socket(socket.AF_UNIX); s.connect('/run/strongroom/server/ask.sock')
    raw = json.dumps({'v': 1, **request}).encode()
    s.sendall(len(raw).to_bytes(4, 'big') + raw)
    n = int.from_bytes(s.recv(4), 'big'); got = b''
    while len(got) < n: got += s.recv(n - len(got))
    return json.loads(got)
"""


async def test_a_cell_is_recorded_runs_and_ends(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("study/a.ipynb")) as page:
        messages = await page.run("print('hello'); 1 + 1")
    assert text_of(messages) == "hello\n"
    assert of_type(messages, "execute_result")[0]["content"]["data"] == {"text/plain": "2"}
    [begun] = lab.control.named("begin cell")
    assert (begun["kind"], begun["notebook"], begun["cell"]) == ("execute", "study/a.ipynb", "cell-1")
    assert begun["code"] == "print('hello'); 1 + 1"
    [reply] = of_type(messages, "execute_reply")
    stamp = reply["metadata"]["strongroom"]
    assert stamp["label"] == "public"
    assert stamp["withheld"] == 0
    assert stamp["shown"] > len("hello\n")
    await asyncio.sleep(0.3)
    [end] = lab.control.named("end cell")
    assert end["status"] == "ok"
    assert end["shown"] == stamp["shown"]
    assert {output["mime"] for output in end["outputs"]} == {"application/vnd.jupyter.stdout", "text/plain"}
    cells = lab.call("GET", CELLS + "study/a.ipynb").json()["cells"]
    assert cells == [{"cell": "cell-1"} | {name: stamp[name] for name in ("entry", "time", "checkpoint")}]
    # It is of the moment in which the cell was recorded, and the note is control's.
    assert stamp["checkpoint"] == CHECKPOINT
    assert stamp["time"][:23] <= of_type(messages, "execute_input")[0]["header"]["date"][:23]


async def test_the_seals_of_a_notebook_go_where_it_goes(lab: Lab) -> None:
    kernel = lab.start_kernel("moved/before.ipynb")
    async with lab.page(kernel) as page:
        await page.run("1", metadata={"cellId": "one"})
        await page.run("2", metadata={"cellId": "two"})
        await page.run("3", metadata={"cellId": "one"})
    [session] = [one for one in lab.call("GET", "api/sessions").json() if one["kernel"]["id"] == kernel]
    assert lab.call("PATCH", f"api/sessions/{session['id']}", json={"path": "moved/after.ipynb"}).status_code == 200
    entries = [begun["entry"] for begun in lab.call("GET", CELLS + "moved/after.ipynb").json()["cells"]]
    assert len(entries) == 2, "the last run of each cell"
    assert entries[0] > entries[1]
    assert lab.call("GET", CELLS + "moved/before.ipynb").json() == {"cells": []}


async def test_what_control_does_not_sign_is_no_checkpoint(lab: Lab) -> None:
    for told in (7, None, "x" * 5000, ["n"]):
        lab.control.answers["begin cell"] = {"entry": 5, "checkpoint": told, **lab.control.state()}
        async with lab.page(lab.start_kernel("unsigned.ipynb")) as page:
            [reply] = of_type(await page.run("1"), "execute_reply")
        assert reply["metadata"]["strongroom"]["checkpoint"] is None


async def test_kernel_start_is_recorded_first_and_refused_without_it(lab: Lab) -> None:
    lab.control.refuse["POST kernels"] = REFUSAL
    body = {"path": "r.ipynb", "name": "r", "type": "notebook", "kernel": {"name": "strongroom"}}
    response = lab.call("POST", "api/sessions", json=body)
    assert response.status_code >= 500
    assert "The audit log cannot be written" in response.text
    assert not [kernel for kernel in lab.call("GET", "api/kernels").json() if kernel["execution_state"] != "idle"]


async def test_refused_cell_has_no_effect_and_says_why(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("b.ipynb")) as page:
        lab.control.refuse["begin cell"] = REFUSAL
        messages = await page.run("open('ran.txt', 'w').write('x')")
        [error] = of_type(messages, "error")
        assert error["content"]["evalue"] == "This cell was not run: The audit log cannot be written"
        assert "The disk is full." in error["content"]["traceback"]
        [reply] = of_type(messages, "execute_reply")
        assert reply["content"]["status"] == "error"
        assert "strongroom" not in reply["metadata"], "pages take what has a seal for a run"
        assert lab.call("GET", CELLS + "b.ipynb").json() == {"cells": []}
        lab.control.refuse.clear()
        assert text_of(await page.run("import os; print(os.path.exists('ran.txt'))")) == "False\n"


async def test_cells_sent_after_a_refused_one_do_not_run(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("c.ipynb")) as page:
        lab.control.refuse["begin cell"] = REFUSAL
        content = {"code": "x = 1", "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}

        def mend(name: str, _body: object) -> None:
            if name == "begin cell":
                time.sleep(0.3)
                lab.control.hook = None

        lab.control.hook = mend
        first = await page.send("execute_request", content)
        second = await page.send("execute_request", {**content, "code": "open('second', 'w')"})
        await asyncio.sleep(0.1)
        messages = await page.until_idle(first)
        lab.control.refuse.clear()
        assert of_type(messages, "execute_reply")[0]["content"]["status"] == "error"
        messages = await page.until_idle(second)
        assert of_type(messages, "execute_reply")[0]["content"]["status"] == "aborted"
    assert not (lab.work / "second").exists()


async def test_order_is_kept_though_control_is_slow(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("d.ipynb")) as page:
        delays = iter([0.3, 0.0, 0.1, 0.0])
        lab.control.hook = lambda name, _body: time.sleep(next(delays, 0)) if name == "begin cell" else None
        content = {"silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        sent = [
            await page.send("execute_request", {**content, "code": f"seen = [*globals().get('seen', []), {number}]"})
            for number in range(4)
        ]
        for identifier in sent:
            await page.until_idle(identifier)
        lab.control.hook = None
        assert text_of(await page.run("print(seen)")) == "[0, 1, 2, 3]\n"


async def test_completion_inspection_and_input_are_recorded(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("e.ipynb")) as page:
        identifier = await page.send("complete_request", {"code": "prin", "cursor_pos": 4})
        [reply] = of_type(await page.until_idle(identifier), "complete_reply")
        assert "print" in reply["content"]["matches"]
        identifier = await page.send("inspect_request", {"code": "print", "cursor_pos": 5, "detail_level": 0})
        [reply] = of_type(await page.until_idle(identifier), "inspect_reply")
        assert reply["content"]["found"] is True
        content = {"code": "print(input('Name? '))", "silent": False, "store_history": True, "allow_stdin": True}
        identifier = await page.send("execute_request", content)
        while (message := await page.receive())["msg_type"] != "input_request":
            pass
        assert message["content"] == {"prompt": "Name? ", "password": False}
        await page.send("input_reply", {"status": "ok", "value": "Ada"}, channel="stdin")
        assert "Ada\n" in text_of(await page.until_idle(identifier))
        kinds = [cell["kind"] for cell in lab.control.named("begin cell")]
        assert kinds == ["complete", "inspect", "execute", "input"]
        assert lab.control.named("begin cell")[-1]["code"] == "Ada"


async def test_unasked_input_goes_nowhere(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("e2.ipynb")) as page:
        await page.send("input_reply", {"status": "ok", "value": "surprise"}, channel="stdin")
        assert await page.quiet() == []
        assert lab.control.named("begin cell") == []


async def test_refused_message_types_reach_nobody(lab: Lab) -> None:
    """Debugger, subshells, a cell on the control channel, unknown types: no record, no answer, no effect."""
    async with lab.page(lab.start_kernel("f.ipynb")) as page:
        code = {"code": "open('by-control', 'w')", "silent": False}
        for channel, kind, content in [
            ("control", "execute_request", code),
            ("control", "debug_request", {"type": "request", "command": "evaluate", "arguments": {"expression": "1"}}),
            ("control", "create_subshell_request", {}),
            ("control", "shutdown_request", {"restart": False}),
            ("control", "usage_request", {}),
            ("shell", "shutdown_request", {"restart": False}),
            ("shell", "connect_request", {}),
            ("shell", "apply_request", {}),
            ("iopub", "execute_request", code),
            ("stdin", "execute_request", code),
            ("shell", "comm_open", {"comm_id": "c1", "target_name": "evil", "data": {}}),
            ("shell", "comm_msg", {"comm_id": "never-opened", "data": {}}),
        ]:
            await page.send(kind, content, channel=channel)
        assert await page.quiet(1.0) == []
        assert lab.control.named("begin cell") == []
        assert text_of(await page.run("import os; print(os.path.exists('by-control'))")) == "False\n"


async def test_the_kernel_gets_what_was_recorded_and_nothing_else(lab: Lab) -> None:
    """User expressions, metadata and header fields of the page do not pass."""
    async with lab.page(lab.start_kernel("g.ipynb")) as page:
        content = {
            "code": "p = get_ipython().kernel.get_parent(); print(p['metadata'], p['content']['user_expressions'],"
            " p['header']['username'], sorted(p['header']))",
            "silent": False,
            "store_history": True,
            "user_expressions": {"x": "open('expression', 'w')"},
            "smuggled": "y",
        }
        identifier = await page.send("execute_request", content, metadata={"cellId": "c", "subshell_id": "s"})
        assert "{} {} strongroom ['date', 'msg_id', 'msg_type', 'session', 'username', 'version']" in text_of(
            await page.until_idle(identifier)
        )
    assert not (lab.work / "expression").exists()


HOSTILE = """
import json
from datetime import datetime
kernel = get_ipython().kernel
session, socket = kernel.session, kernel.iopub_socket
parent = kernel.get_parent()
SECRET = 'smuggled' * 2000
def send(kind, content, **more):
    message = session.msg(kind, content=content, parent=more.pop('parent', parent), metadata=more.pop('metadata', None))
    message['header'].update(more.pop('header', {}))
    session.send(socket, message, buffers=more.pop('buffers', None))
send('custom_type', {'x': SECRET})
send('status', {'execution_state': SECRET})
send('status', {'execution_state': 'busy', 'extra': SECRET})
send('status', {'execution_state': 'busy'})
send('stream', {'name': 'stdout', 'text': 'kept', 'extra': SECRET}, metadata={'m': SECRET})
send('stream', {'name': SECRET, 'text': 'x'})
send('stream', {'name': 'stdout', 'text': 'header'}, header={'username': SECRET, 'extra': SECRET, 'date': SECRET})
send('stream', {'name': 'stdout', 'text': SECRET}, parent={'header': {'msg_id': 'forged', 'x': SECRET}})
send('stream', {'name': 'stdout', 'text': SECRET}, parent={})
send('stream', {'name': 'stdout', 'text': 'buffers'}, buffers=[SECRET.encode()])
send('display_data', {'data': {'application/javascript': SECRET, 'text/plain': 'd', SECRET: SECRET},
                      'metadata': {'text/plain': SECRET, 'x': SECRET}, 'transient': {'x': SECRET}})
send('display_data', {'data': {'image/png': SECRET}, 'metadata': {}, 'transient': {}})
send('comm_open', {'comm_id': 'c', 'target_name': 'evil', 'data': {'x': SECRET}})
send('comm_msg', {'comm_id': 'c', 'data': {'x': SECRET}})
send('execute_input', {'code': SECRET, 'execution_count': 10**300})
send('execute_result', {'data': {'text/plain': 'r'}, 'metadata': {}, 'execution_count': 10**300})
send('kernel_info_reply', {'banner': SECRET})
send('debug_event', {'x': SECRET})
"""


async def test_hostile_messages_are_rebuilt_or_dropped(lab: Lab) -> None:
    kernel = lab.start_kernel("h.ipynb")
    async with lab.page(kernel) as page:
        # Only what the message itself says reaches the page, so the recorded source is looked for elsewhere.
        messages = await page.run(HOSTILE)
        rest = await page.quiet()
    text = json.dumps([message for message in messages + rest if message["msg_type"] != "execute_input"])
    assert "smuggled" not in text
    assert "forged" not in text
    assert text_of(messages) == "keptheaderbuffers"
    assert {json.dumps(message["metadata"]) for message in messages if message["msg_type"] == "stream"} == {"{}"}
    shown, notice = [m["content"]["data"] for m in of_type(messages, "display_data")]
    assert shown == {"text/plain": "d"}
    assert "not shown here, for example JavaScript" in notice["text/plain"]
    assert notice[WITHHELD]["reviewable"] is False
    assert of_type(messages, "execute_result")[0]["content"]["execution_count"] == 1
    [shown] = of_type(messages, "execute_input")
    assert shown["content"] == {"code": HOSTILE, "execution_count": 1}
    assert [m["content"]["execution_state"] for m in of_type(messages, "status")] == ["busy", "idle"]
    rest_models = lab.call("GET", "api/kernels").text + lab.call("GET", "api/sessions").text
    assert "smuggled" not in rest_models
    assert "smuggled" not in lab.log
    assert ":00Z" in rest_models or ":00.000000Z" in rest_models


async def test_the_end_of_an_honest_kernel_is_no_violation(lab: Lab) -> None:
    kernel = lab.start_kernel("honest.ipynb")
    async with lab.page(kernel) as page:
        await page.run("1")
    assert lab.call("POST", f"api/kernels/{kernel}/interrupt").status_code == 204
    assert lab.call("DELETE", f"api/kernels/{kernel}").status_code == 204
    await asyncio.sleep(1)
    assert [one for one in lab.control.named("POST violations") if one["kernel"] == kernel] == []


async def test_what_is_dropped_is_counted_as_a_violation(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("v.ipynb")) as page:
        forged = """
from jupyter_client.session import Session
other = Session(key=b'forged')
other.send(socket, other.msg('stream', content={'name': 'stdout', 'text': 'unsigned'}, parent=parent))
# A cell that is ended early is ended again, by the kernel's own end.
kernel = get_ipython().kernel
end, ident = {'status': 'ok', 'execution_count': 1}, kernel._parent_ident['shell']
kernel.session.send(kernel.shell_stream, 'execute_reply', end, parent=parent, ident=ident)
kernel.session.send(socket, 'status', {'execution_state': 'idle'}, parent=parent, ident=b'kernel')
"""
        await page.run(HOSTILE + forged)
        wanted = {"unknown type", "unknown value", "field of stream", "field of header", "stream to no request"}
        wanted |= {"not a signed message", "second reply", "second status"}
        counts: dict[str, int] = {}
        for _ in range(150):  # a second report follows the first after ten seconds
            reports = lab.control.named("POST violations")
            counts = {name: count for report in reports for name, count in report["counts"].items()}
            if wanted <= counts.keys():
                break
            await asyncio.sleep(0.1)
    assert wanted <= counts.keys(), counts
    assert {report["kind"] for report in reports} == {"message"}
    assert "smuggled" not in json.dumps(reports)


async def test_a_silent_run_is_recorded_as_one(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("silent.ipynb")) as page:
        await page.until_idle(await page.send("execute_request", {"code": "x = 1", "silent": True}))
        assert text_of(await page.run("print(x)")) == "1\n"
    assert [body.get("silent", False) for body in lab.control.named("begin cell")] == [True, False]


async def test_the_execution_count_is_the_gates_own(lab: Lab) -> None:
    """A kernel that chose it could say something with it in every cell."""
    async with lab.page(lab.start_kernel("count.ipynb")) as page:
        for number in (1, 2, 3):
            messages = await page.run("get_ipython().execution_count = 7; 1")
            counts = {m["content"]["execution_count"] for m in messages if "execution_count" in m["content"]}
            assert counts == {number}


async def test_a_flood_of_texts_is_merged_and_of_displays_is_cut(lab: Lab) -> None:
    code = """
import time
for i in range(3000):
    display({'text/plain': str(i)}, raw=True)
    if i % 100 == 0: time.sleep(0.01)
time.sleep(1)
for i in range(800): print(i, flush=True)
"""
    async with lab.page(lab.start_kernel("fl.ipynb")) as page:
        messages = await page.run(code, patience=60)
    shown = [m for m in of_type(messages, "display_data") if WITHHELD not in m["content"]["data"]]
    notices = [m for m in of_type(messages, "display_data") if WITHHELD in m["content"]["data"]]
    assert 2000 <= len(shown) < 3000, (len(shown), len(notices))
    assert 1 < len(notices) <= 9
    assert "200 outputs a second" in notices[0]["content"]["data"]["text/plain"]
    assert text_of(messages).split() == [str(number) for number in range(800)]


async def test_a_message_too_large_ends_the_kernel_in_words(fresh_lab: Lab) -> None:
    async with fresh_lab.page(fresh_lab.start_kernel("big.ipynb")) as page:
        code = f"display({{'text/plain': 'x' * {LARGEST_MESSAGE + 1000}}}, raw=True)\nimport time; time.sleep(60)"
        messages = await page.run(code, patience=40)
        [error] = of_type(messages, "error")
        assert "larger than 64 MiB" in error["content"]["evalue"]
        assert text_of(await page.run_once_up("print('back')")) == "back\n"


async def test_a_page_that_does_not_read_is_no_store_of_the_server(lab: Lab) -> None:
    """The server's memory does not grow by what the kernel prints, and the cell says that something is lost."""
    kernel = lab.start_kernel("slow.ipynb")
    code = "for i in range(400): print('x' * 4_000_000, flush=True)"
    before = lab.memory()
    async with lab.page(kernel) as page:
        page.connection.transport.pause_reading()
        await page.send("execute_request", {"code": code, "silent": False})
        await asyncio.sleep(6)
        assert lab.memory() - before < 800 << 20, "half of what is printed; about 200 MiB on a quiet machine"
        page.connection.transport.resume_reading()
        assert "faster" in json.dumps(await page.quiet(3.0))


async def test_kernel_info_and_history_are_constant(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("i.ipynb")) as page:
        await page.run(
            "k = get_ipython().kernel\ntype(k).banner = 'smuggled'\n"
            "type(k).language_info = {'name': 'smuggled'}\ntype(k).help_links = [{'text': 'smuggled', 'url': 'x'}]"
        )
        for kind in ("kernel_info_request", "history_request", "is_complete_request", "comm_info_request"):
            messages = await page.until_idle(await page.send(kind, {"code": "1"}))
            assert len(messages) == 3
            assert "smuggled" not in json.dumps(messages)


async def test_the_newer_framing_works_too(lab: Lab) -> None:
    """Lab speaks v1; ask through it and read back what comes."""
    async with lab.page(lab.start_kernel("j.ipynb"), v1=True) as page:
        header = {"msg_id": "abc", "msg_type": "execute_request", "session": "s1"}
        parts = [header, {}, {"cellId": "v1"}, {"code": "print('v1')", "silent": False}]
        await page.connection.send(serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts], "shell"))
        seen = {}
        while "execute_reply" not in seen:
            channel, raw = deserialize_msg_from_ws_v1(await asyncio.wait_for(page.connection.recv(), 20))
            header, parent, metadata, content = (json.loads(part) for part in raw[:4])
            seen[header["msg_type"]] = (channel, parent["msg_id"], metadata, content)
        assert seen["stream"][3] == {"name": "stdout", "text": "v1\n"}
        assert seen["execute_reply"][2]["strongroom"]["withheld"] == 0
        assert {parent for _, parent, _, _ in seen.values()} == {"abc"}


async def test_garbage_on_the_websocket_harms_nothing(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("k.ipynb")) as page:
        for garbage in ("", "{", "[]", '{"channel": 5}', '{"header": {"msg_type": "x"}}', b"\x00", b"\xff" * 50):
            await page.connection.send(garbage)
        await page.connection.send("[" * 100_000)
        assert text_of(await page.run("print('alive')")) == "alive\n"


async def test_widgets_work_and_are_recorded(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("l.ipynb")) as page:
        messages = await page.run(
            "import ipywidgets\ns = ipywidgets.IntSlider()\ns.observe(lambda c: print('now', c['new']), 'value')\ns"
        )
        opened = of_type(messages, "comm_open")
        assert {message["content"]["target_name"] for message in opened} == {"jupyter.widget"}
        assert opened[0]["metadata"]["version"].startswith("2.")
        view = of_type(messages, "display_data") + of_type(messages, "execute_result")
        model = view[0]["content"]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
        data = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
        moved = await page.until_idle(await page.send("comm_msg", {"comm_id": model, "data": data}))
        assert "now 7" in text_of(moved)
        recorded = [cell for cell in lab.control.named("begin cell") if cell["kind"] == "comm"]
        assert json.loads(recorded[0]["code"])["data"] == data
        lab.control.refuse["begin cell"] = REFUSAL
        data["state"] = {"value": 9}
        await page.until_idle(await page.send("comm_msg", {"comm_id": model, "data": data}))
        lab.control.refuse.clear()
        assert text_of(await page.run("print(s.value)")) == "7\n"


async def test_a_dying_kernel_ends_its_cell_in_words(lab: Lab) -> None:
    async with lab.page(lab.start_kernel("m.ipynb")) as page:
        messages = await page.run("import os; os._exit(3)", patience=30)
        [error] = of_type(messages, "error")
        assert "ended by itself" in error["content"]["evalue"]
        # It ran, so it has its entry; how it ended nobody says.
        [reply] = of_type(messages, "execute_reply")
        [recorded] = lab.call("GET", CELLS + "m.ipynb").json()["cells"]
        assert {"cell": "cell-1", **reply["metadata"]["strongroom"]} == recorded
        await asyncio.sleep(0.5)
        assert lab.control.named("end cell")[-1]["status"] == "died"
        [stopped] = lab.control.named("DELETE kernels/ID")
        assert stopped["reason"].startswith("died")
        assert text_of(await page.run_once_up("print('again')")) == "again\n"


async def test_a_cell_sent_between_two_kernels_is_not_run_and_says_so(fresh_lab: Lab) -> None:
    async with fresh_lab.page(fresh_lab.start_kernel("between.ipynb")) as page:
        held = threading.Event()
        fresh_lab.control.hook = lambda name, _body: name == "POST kernels" and held.wait(20)
        await page.run("import os; os._exit(3)", patience=30)
        try:
            messages = await page.run("print('early')")
        finally:
            held.set()
        [error] = of_type(messages, "error")
        assert error["content"]["evalue"] == "This cell was not run: The kernel is not running"
        assert "run the cell again" in error["content"]["traceback"][-1]
        [reply] = of_type(messages, "execute_reply")
        assert (reply["content"]["status"], reply["metadata"]) == ("error", {})
        assert text_of(await page.run_once_up("print('again')")) == "again\n"
        assert "print('early')" not in [cell["code"] for cell in fresh_lab.control.named("begin cell")]


async def test_a_kernel_whose_session_is_over_ends_in_words(fresh_lab: Lab) -> None:
    async with fresh_lab.page(fresh_lab.start_kernel("s.ipynb")) as page:
        await page.run(ASK)
        until = datetime.now(UTC) + timedelta(seconds=6)
        over = {"session_until": until.isoformat(), "session_rule": "rule X1 (policy.csv:40) session 1min"}
        answer = {"ticket": "TICKET", "label": "public", "sources": [], "display": FREE}
        fresh_lab.control.answers["POST reads"] = answer | over
        messages = await page.run("read = ask(op='open', dataset='health/randhie')['ticket']; print(read)")
        assert text_of(messages) == "TICKET\n"
        messages = await page.run("import time; time.sleep(60)", patience=30)
        assert datetime.now(UTC) >= until
        [error] = of_type(messages, "error")
        assert "session of this kernel is over, by rule X1 (policy.csv:40) session 1min" in error["content"]["evalue"]
        await asyncio.sleep(0.5)
        assert text_of(await page.run_once_up("print('read' in globals())")) == "False\n"
        await asyncio.sleep(2)
        assert text_of(await page.run("print('still here')")) == "still here\n", "the new kernel has read nothing"
    [stopped] = fresh_lab.control.named("DELETE kernels/ID")
    assert stopped["reason"].startswith("died: The session of this kernel is over")


async def test_restart_and_shutdown(lab: Lab) -> None:
    kernel = lab.start_kernel("n.ipynb")
    async with lab.page(kernel) as page:
        await page.run("x = 1")
        assert lab.call("POST", f"api/kernels/{kernel}/restart").status_code == 200
        assert text_of(await page.run("print('x' in globals())", patience=30)) == "False\n"
    assert lab.call("DELETE", f"api/kernels/{kernel}").status_code == 204
    await asyncio.sleep(0.3)
    assert [body["reason"] for body in lab.control.named("DELETE kernels/ID")] == ["restart", "shutdown"]
    assert len(lab.control.named("POST kernels")) == 2


async def test_interrupt(lab: Lab) -> None:
    kernel = lab.start_kernel("o.ipynb")
    async with lab.page(kernel) as page:
        content = {"code": "import time; time.sleep(30)", "silent": False, "stop_on_error": True}
        identifier = await page.send("execute_request", content)
        while (await page.receive())["msg_type"] != "execute_input":
            pass
        assert lab.call("POST", f"api/kernels/{kernel}/interrupt").status_code == 204
        messages = await page.until_idle(identifier)
        assert of_type(messages, "error")[0]["content"]["ename"] == "KeyboardInterrupt"


# --- above public -------------------------------------------------------------------------------------------------


async def test_two_megabytes_are_cut_with_one_notice(guarded_lab: Lab) -> None:
    async with guarded_lab.page(guarded_lab.start_kernel("a.ipynb")) as page:
        messages = await page.run(
            "import time\nfor i in range(200): print('x' * 10_000, flush=True); time.sleep(0.001)\nprint('late')"
        )
        raw = sum(len(json.dumps(message["content"], separators=(",", ":"))) for message in of_type(messages, "stream"))
        assert 60_000 < raw <= 65_536
        assert "late" not in text_of(messages)
        [notice] = of_type(messages, "display_data")
        words = notice["content"]["data"]["text/plain"]
        assert "O5 (policy.csv:31)" in words
        assert "64 KiB" in words
        assert "Exports panel" in words
        [update] = of_type(messages, "update_display_data")
        assert update["content"]["transient"] == notice["content"]["transient"]
        stamp = of_type(messages, "execute_reply")[0]["metadata"]["strongroom"]
        assert stamp["shown"] <= 65_536
        assert stamp["withheld"] == 4 << 20  # two megabytes, told coarsely
        # The next cell has a budget of its own, and the kernel goes on.
        assert text_of(await page.run("print('next')")) == "next\n"
    await asyncio.sleep(0.2)
    end = guarded_lab.control.named("end cell")[0]
    assert end["shown"] == stamp["shown"]
    assert end["shown"] + end["withheld"] > 2_000_000


async def test_every_route_counts(guarded_lab: Lab) -> None:
    """Results, displays, errors, replies, widgets: none of them brings more than the cell's budget."""
    code = """
from IPython.display import display, HTML, Markdown
import ipywidgets
big = 'y' * 200_000
display(big); display(HTML(big)); display(Markdown(big))
h = display('small', display_id=True); h.update(big)
ipywidgets.HTML(value=big)
print(big)
get_ipython().set_next_input(big)
raise RuntimeError(big)
"""
    async with guarded_lab.page(guarded_lab.start_kernel("b.ipynb")) as page:
        messages = await page.run(code)
        identifier = await page.send("complete_request", {"code": "big.", "cursor_pos": 4})
        messages += await page.until_idle(identifier)
    assert len(json.dumps([m["content"] for m in messages if m["msg_type"] != "execute_input"])) < 65_536 + 8_000
    assert json.dumps(messages).count("y" * 1000) <= 66
    [error] = of_type(messages, "error")
    assert "withheld" in error["content"]["evalue"]


async def test_the_day_ends_it_too(guarded_lab: Lab) -> None:
    guarded_lab.control.display = {**GUARDED, "day_bytes_left": 10_000}
    async with guarded_lab.page(guarded_lab.start_kernel("c.ipynb")) as page:
        messages = await page.run("print('z' * 50_000)")
        # What was charged ahead before counts for this day too.
        assert len(text_of(messages)) <= 10_000 + LIMITED_STEP
        assert "day" in of_type(messages, "display_data")[0]["content"]["data"]["text/plain"]


async def test_no_active_content_above_public(guarded_lab: Lab) -> None:
    code = """
from IPython.display import display
display({'text/html': '<table class="dataframe" onclick="x()"><tr><td>1</td></tr></table><script>x</script>'
         '<img src=x onerror=y><a href="http://e/">l</a><style>q</style><iframe src=z></iframe>',
         'image/svg+xml': '<svg/>', 'application/json': {}, 'application/javascript': 'x'}, raw=True)
display({'image/svg+xml': '<svg/>'}, raw=True)
"""
    async with guarded_lab.page(guarded_lab.start_kernel("d.ipynb")) as page:
        messages = await page.run(code)
    shown = of_type(messages, "display_data")
    assert list(shown[0]["content"]["data"]) == ["text/html"]
    html = shown[0]["content"]["data"]["text/html"]
    assert html.startswith('<table class="dataframe">')
    for active in ("script", "onclick", "img", "href", "style", "iframe"):
        assert active not in html
    assert "Active content is not shown" in shown[1]["content"]["data"]["text/plain"]
    assert "image/svg+xml" in shown[2]["content"]["data"]["text/plain"]


async def test_a_picture_has_its_own_limit(guarded_lab: Lab) -> None:
    code = """
import base64
from IPython.display import display
def picture(n): return base64.b64encode(b'\\x89PNG\\r\\n\\x1a\\n' + b'0' * n).decode()
display({'image/png': picture(300_000), 'text/plain': 'fig'}, raw=True)
display({'image/png': picture(600_000), 'text/plain': 'fig'}, raw=True)
display({'image/png': base64.b64encode(b'text' * 1000).decode()}, raw=True)
"""
    async with guarded_lab.page(guarded_lab.start_kernel("e.ipynb")) as page:
        messages = await page.run(code)
    shown = [message["content"]["data"] for message in of_type(messages, "display_data")]
    assert set(shown[0]) == {"image/png", "text/plain"}
    assert shown[1] == {"text/plain": "fig"}
    assert "picture" in shown[2]["text/plain"]
    assert shown[2][WITHHELD]["mime"] == "image/png"
    assert not any("image/png" in data for data in shown[1:])


async def test_revocation_works_on_the_next_display(guarded_lab: Lab) -> None:
    async with guarded_lab.page(guarded_lab.start_kernel("f.ipynb")) as page:
        content = {
            "code": "import time\nfor i in range(40): print(i, flush=True); time.sleep(0.1)",
            "silent": False,
            "store_history": True,
        }
        identifier = await page.send("execute_request", content)
        while (await page.receive())["msg_type"] != "stream":
            pass
        guarded_lab.control.display = dict(REVOKED)
        revoked = time.monotonic()
        messages = await page.until_idle(identifier)
        assert time.monotonic() - revoked > 3
        numbers = [int(line) for line in text_of(messages).split()]
        assert max(numbers) < 20
        assert "revoked" in of_type(messages, "display_data")[0]["content"]["data"]["text/plain"]


async def test_what_runs_on_after_its_cell_is_still_counted(guarded_lab: Lab) -> None:
    code = """
import threading, time
def later():
    time.sleep(0.7)
    print('late' * 10_000, flush=True)
threading.Thread(target=later).start()
"""
    async with guarded_lab.page(guarded_lab.start_kernel("g.ipynb")) as page:
        await page.run(code)
        guarded_lab.control.calls.clear()
        late = await page.quiet(2.0)
    assert "late" in text_of(late)
    charged = [body for body in guarded_lab.control.named("POST display") if body["route"] == "cell"]
    assert sum(body["bytes"] for body in charged) + LIMITED_STEP > 40_000


async def test_a_cell_whose_page_has_left_is_closed_and_charged(guarded_lab: Lab) -> None:
    """Its output goes to the pages that are left, so it must count like any other."""
    kernel = guarded_lab.start_kernel("left.ipynb")
    async with guarded_lab.page(kernel) as stays:
        async with guarded_lab.page(kernel) as leaves:
            guarded_lab.control.calls.clear()
            await leaves.send("execute_request", {"code": "import time; time.sleep(1.5); print('a' * 5000)"})
            await asyncio.sleep(0.5)
        messages = await stays.quiet(3.0)
    assert "a" * 5000 in text_of(messages)
    [end] = guarded_lab.control.named("end cell")
    assert end["status"] == "ok"
    assert end["charged"] > 5000


async def test_a_kernel_whose_page_has_left_ends_in_order(guarded_lab: Lab) -> None:
    kernel = guarded_lab.start_kernel("gone.ipynb")
    async with guarded_lab.page(kernel) as page:
        await page.send("execute_request", {"code": "import time; time.sleep(60)"})
        await asyncio.sleep(1.0)
    guarded_lab.control.calls.clear()
    assert guarded_lab.call("DELETE", f"api/kernels/{kernel}").status_code == 204
    for _ in range(100):
        if guarded_lab.control.named("DELETE kernels/ID"):
            break
        await asyncio.sleep(0.1)
    (end,) = guarded_lab.control.named("end cell")
    assert end["status"] in {"died", "error"}  # the kernel is interrupted first, and may still say so
    assert len(guarded_lab.control.named("DELETE kernels/ID")) == 1


async def test_control_dead_during_a_cell(fresh_lab: Lab) -> None:
    """Output stops within seconds, the next cell is refused; after the restart all goes on and is recorded."""
    control = fresh_lab.control
    control.label, control.display = "confidential", dict(GUARDED)
    async with fresh_lab.page(fresh_lab.start_kernel()) as page:
        content = {
            "code": "import time\nfor i in range(90): print(i, flush=True); time.sleep(0.1)",
            "silent": False,
            "store_history": True,
        }
        identifier = await page.send("execute_request", content)
        while (await page.receive())["msg_type"] != "stream":
            pass
        control.stop()
        messages = await page.until_idle(identifier)
        assert max(int(line) for line in text_of(messages).split()) < 75
        assert "could not be checked" in of_type(messages, "display_data")[0]["content"]["data"]["text/plain"]
        refused = await page.run("open('ran', 'w')")
        assert "was not run: The control service does not answer" in of_type(refused, "error")[0]["content"]["evalue"]
        assert not (fresh_lab.work / "ran").exists()
        control.start()
        assert text_of(await page.run("print('back')", patience=30)) == "back\n"
    # The end that could not be sent is repeated, at most five seconds apart.
    await asyncio.sleep(6)
    assert len(control.named("end cell")) == 2


async def test_the_label_is_up_before_the_ticket_is_out(fresh_lab: Lab) -> None:
    """What the kernel prints right after its ticket came is already under the rule that the ticket brought."""
    async with fresh_lab.page(fresh_lab.start_kernel()) as page:
        await page.run(ASK)
        assert text_of(await page.run("print(ask(op='label')['label'])")) == "public\n"
        messages = await page.run("t = ask(op='open', dataset='health/randhie')['ticket']; print(t + 'x' * 100_000)")
        assert len(text_of(messages)) < 65_536
        assert of_type(messages, "execute_reply")[0]["metadata"]["strongroom"]["label"] == "confidential"
        assert text_of(await page.run("print(ask(op='label')['label'])")) == "confidential\n"
        refused = await page.run("print(ask(op='nonsense')['problem']['title'])")
        assert text_of(refused) == "Not understood\n"
    [read] = fresh_lab.control.named("POST reads")
    begun = [call for call, _ in fresh_lab.control.calls]
    assert begun.index("POST reads") > begun.index("begin cell")
    assert read["cell"] > 0
    # A second kernel shares the files, so it shares the label.
    async with fresh_lab.page(fresh_lab.start_kernel("other.ipynb")) as page:
        fresh_lab.control.label, fresh_lab.control.display = "public", {**FREE, "cell_bytes": 65_536}
        messages = await page.run("print('x' * 100_000)")
        assert of_type(messages, "execute_reply")[0]["metadata"]["strongroom"]["label"] == "confidential"


# --- where nothing free is shown ----------------------------------------------------------------------------------

SECRET = {**GUARDED, "cell_bytes": 0, "day_bytes_left": 0, "image_bytes": 0, "rule": "O4 (policy.csv:75)"}


async def told_at_secret(lab: Lab, notebook: str, code: str) -> list[dict[str, object]]:
    """All that a page gets of one cell, without what is random or the page's own."""
    async with lab.page(lab.start_kernel(notebook)) as page:
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
        identifier = await page.send("execute_request", content)
        messages = []
        while not messages or messages[-1]["content"].get("execution_state") != "idle":
            messages.append(await page.receive())
            if messages[-1]["msg_type"] == "input_request":
                await page.send("input_reply", {"value": "x"}, channel="stdin")
        assert {m["parent_header"]["msg_id"] for m in messages} == {identifier}
    told = [
        {"type": m["msg_type"], "content": m["content"], "metadata": m["metadata"]}
        for m in messages
        if m["msg_type"] != "execute_input"
    ]
    text = json.dumps(told)
    for message in told:
        data = message["content"].get("data", {})  # type: ignore[attr-defined]
        if WITHHELD in data:
            text = text.replace(data[WITHHELD]["id"], "ID")
        seal = message["metadata"].get("strongroom")  # type: ignore[attr-defined]
        if seal is not None:
            text = text.replace(f'"entry": {seal["entry"]}', '"entry": 0').replace(seal["time"], "TIME")
    found: list[dict[str, object]] = json.loads(re.sub(r"strongroom-notice-\d+", "notice", text))
    return found


async def test_at_secret_cells_tell_nothing_but_that_something_is_withheld(guarded_lab: Lab) -> None:
    """Two cells that say quite different things look the same, byte by byte."""
    guarded_lab.control.reset("secret", SECRET)
    cells = [
        f"""
import base64, ipywidgets
from IPython.display import display, HTML, clear_output
print({text!r} * {size}); print({text!r})
import sys; print({text!r}, file=sys.stderr)
display({{{mime!r}: {text!r} * {size}}}, raw=True)
h = display({text!r}, display_id={text[:4]!r}); h.update({text!r})
w = ipywidgets.Text(value={text!r}); w.value = {text!r} * {size}; w.close()
clear_output(wait={wait})
answer = ({ask})({text!r})
get_ipython().set_next_input({text!r})
get_ipython().execution_count = {size}
raise {error}({text!r})
"""
        for text, size, mime, wait, ask, error in (
            ("a", 10, "text/plain", True, "input", "ValueError"),
            ("something else", 5000, "text/html", False, "__import__('getpass').getpass", "KeyError"),
        )
    ]
    one, two = [await told_at_secret(guarded_lab, f"s{len(code)}.ipynb", code) for code in cells]
    assert [m for m in one if m not in two] == [m for m in two if m not in one] == []
    assert len(one) == len(two), [[m["type"] for m in told] for told in (one, two)]
    for word in ("ValueError", "text/", "KiB", "something"):
        assert word not in json.dumps(one).replace("text/plain", "", json.dumps(one).count(WITHHELD))
    assert [m["type"] for m in one].count("display_data") == 1


async def test_at_secret_completions_inspections_and_comms_are_empty(guarded_lab: Lab) -> None:
    guarded_lab.control.reset("secret", SECRET)
    async with guarded_lab.page(guarded_lab.start_kernel("t.ipynb")) as page:
        await page.run("secret_name = 1")
        messages = []
        for kind in ("complete_request", "inspect_request"):
            code = "secret_na" if kind == "complete_request" else "secret_name"
            content = {"code": code, "cursor_pos": len(code), "detail_level": 0}
            messages += await page.until_idle(await page.send(kind, content))
        messages += await page.until_idle(await page.send("comm_info_request", {}))
    replies = {m["msg_type"]: m["content"] for m in messages if m["msg_type"].endswith("_reply")}
    assert replies["complete_reply"]["matches"] == []
    assert replies["inspect_reply"]["found"] is False
    assert replies["comm_info_reply"]["comms"] == {}
    assert "secret_name" not in json.dumps(replies)


async def test_a_widget_closed_at_secret_stays_open_for_pages(guarded_lab: Lab) -> None:
    """Which of a hundred widgets are closed would be a hundred bits."""
    async with guarded_lab.page(guarded_lab.start_kernel("u.ipynb")) as page:
        await page.run("import ipywidgets; w = [ipywidgets.IntSlider() for _ in range(2)]")
        guarded_lab.control.reset("secret", SECRET)
        await page.run("w[0].close()")
        [reply] = of_type(await page.until_idle(await page.send("comm_info_request", {})), "comm_info_reply")
    # Each slider has a layout and a style of its own.
    assert len(reply["content"]["comms"]) == 6


async def test_output_that_cannot_be_charged_is_not_shown(guarded_lab: Lab) -> None:
    guarded_lab.control.refuse["POST display"] = REFUSAL
    async with guarded_lab.page(guarded_lab.start_kernel("w.ipynb")) as page:
        messages = await page.run("print('x' * 40_000)")
        assert text_of(messages) == ""
        [notice] = of_type(messages, "display_data")
        assert "could not be charged" in notice["content"]["data"]["text/plain"]
        guarded_lab.control.refuse.clear()
        assert len(text_of(await page.run("print('x' * 40_000)"))) == 40_001
