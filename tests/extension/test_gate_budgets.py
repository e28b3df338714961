"""What may be shown above public, through a real server and a real kernel: counted, cut, and nothing free at secret."""

from __future__ import annotations

import asyncio
import json
import re
import time

from strongroom_lab.mime import WITHHELD
from strongroom_lab.workspace import LIMITED_STEP

from tests.extension.conftest import ASK, FREE, GUARDED, REFUSAL, REVOKED, Lab, of_type, text_of


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
