"""The road of one cell through a real server and a real kernel in its box, and attacks on it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import UTC, datetime, timedelta

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from strongroom_lab.gate.life import LARGEST_MESSAGE
from strongroom_lab.mime import WITHHELD

from tests.extension.conftest import ASK, CHECKPOINT, FREE, REFUSAL, Lab, of_type, text_of

CELLS = "strongroom/api/cells?notebook="


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
