"""The bound: all that a hostile kernel can say to a hostile browser, over all routes together, and not a byte more.

The kernel forges every message it can (`hostile_kernel`), the browser keeps every byte of websockets, REST and events
(`hostile_browser`). What honest cells show too, up to what the gate mints, is no word of the kernel's; all else counts.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import time
from collections.abc import Iterator

import pytest
from strongroom_hub.internal import ControlClient
from strongroom_hub.tour.notebook import Notebook
from strongroom_lab.workspace import LIMITED_STEP

from tests.real import policy_rows
from tests.security.conftest import CONFIDENTIAL, grant
from tests.security.hostile_browser import Browser, Frame, blank
from tests.security.hostile_kernel import PREPARE, pieces, secret_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SECRET = "health/lymph_node"
CELL, DAY, PICTURE = 64 << 10, 2 << 20, 512 << 10
ROWS = "g, user:analyst, project:bound\ng, user:analyst2, project:sealed\ng, user:analyst2, clearance:secret\n"
OWN = 16 << 10
"""Bytes of a cell that are the gate's own words: at most nine notices, and the record's stamp on the reply."""
HONEST = {
    "nothing": "pass",
    "output": "print('x'); import sys; print('y', file=sys.stderr)",
    "result": "'x'",
    "pictures and more": (
        "from IPython.display import display\n"
        "display({'text/plain': 'x', 'text/html': '<b>x</b>'}, raw=True)\n"
        "display({'image/svg+xml': '<svg/>'}, raw=True)"
    ),
    "error": "raise ValueError('x')",
    "input": "input('x')",
    "widget": "import ipywidgets\nipywidgets.IntSlider()",
    "more than may be shown": "for n in range(40): print('x' * 4000)",
}
"""What honest cells do: their frames are the alphabet that a gate may use at `secret`."""


@pytest.fixture(scope="module")
def projects(running) -> Iterator[None]:
    """A project each, so that labels and days are nobody else's."""
    operator = ControlClient(running.instance.control_socket, running.instance.operator_token_file)
    for name in ("bound", "sealed"):
        operator.call("POST", "projects", {"name": name, "title": name.title(), "purpose": "To be attacked."})
    with policy_rows(running, ROWS):
        yield


def reading(people, user: str, project: str, dataset: str):
    server = people.server(user, project)
    grant(people, server, dataset)
    with Notebook(server, "reads.ipynb") as notebook:
        assert notebook.run(f"import strongroom\nstrongroom.open({dataset!r})").seal["label"] in {
            "confidential",
            "secret",
        }
    return server


@pytest.fixture(scope="module")
def bound(projects, people):
    return reading(people, "analyst", "bound", CONFIDENTIAL)


@pytest.fixture(scope="module")
def sealed(projects, people):
    return reading(people, "analyst2", "sealed", SECRET)


def check_frames(browser: Browser) -> None:
    """Headers are minted, parents are the browser's own, and every tab sees the same bodies."""
    for tab in browser.tabs:
        assert tab.odd == []
        for frame in tab.frames:
            frame.check_header(browser.sent)
    first = {frame.header["msg_id"]: frame.payload for frame in browser.tabs[0].frames}
    for tab in browser.tabs[1:]:
        for frame in tab.frames:
            assert first[frame.header["msg_id"]] == frame.payload, "two tabs are told different things"


def attack(running, browser: Browser, seed: str, before: str = "pass", after: str = "pass") -> list[Frame]:
    """One cell with every attack; all that came until the kernel was through with it.

    The kernel forges the cell's end too, so the page may think that it is over long before.
    """
    began = len(browser.tabs[0].frames)
    told = browser.run(f"{before}\nleak(got)\n{after}\nreport({seed!r} + '.json')")
    deadline = time.monotonic() + 60
    while not (found := list(running.instance.data.rglob(f"{seed}.json"))):
        assert time.monotonic() < deadline, [frame.content for frame in told if frame.type == "error"]
        time.sleep(0.2)
    browser.run("pass")  # behind all that was sent before
    report = json.loads(found[0].read_text())
    assert len(report["tried"]) > 1000
    assert len(report["failed"]) < len(report["tried"]) // 4, report["failed"][:20]
    return browser.tabs[0].frames[began:]


def constant(browser: Browser) -> set[str]:
    """The frames of honest cells, without what the gate mints."""
    frames = [frame for code in HONEST.values() for frame in browser.run(code, quiet=0.4)]
    frames += browser.ask_everything()
    return {frame.canonical() for frame in frames}


def found(browser: Browser, secret: bytes) -> list[str]:
    """Where in all that the browser got a piece of the secret stands."""
    wanted = pieces(secret)
    places = []
    for text in browser.everything():
        for length, known in wanted.items():
            at = next((at for at in range(len(text) - length + 1) if text[at : at + length] in known), None)
            if at is not None:
                places.append(text[max(0, at - 300) : at + 300])
    return places


def bodies(frames: list[Frame]) -> tuple[int, list[int]]:
    """Bytes that a kernel may have chosen: of all but pictures together, and of each picture."""
    words, pictures, error = 0, [], b""
    for frame in frames:
        if frame.type in {"status", "execute_input"}:
            continue
        said = {name: frame.content.get(name) for name in ("ename", "evalue", "traceback")}
        if frame.type == "error":
            error = json.dumps(said).encode()
        elif frame.type == "execute_reply" and json.dumps(said).encode() == error:
            words -= len(error)  # the reply repeats the error that the page has seen
        pictures += map(len, frame.pictures)
        words += len(frame.payload) - sum(map(len, frame.pictures))
    return words, pictures


def left(server) -> int:
    return int(server.panel("GET", "session")["display"]["day_bytes_left"])


def settled(server) -> int:
    """The day's budget once all that was shown is reported."""
    before = -1
    while (now := left(server)) != before:
        before = now
        time.sleep(1.2)
    return now


def hostile(seed: str) -> str:
    return f"{PREPARE}\ngot = secret_of({seed!r})\n"


def test_a_cell_at_confidential_says_no_more_than_its_budget(running, bound):
    seed = secrets.token_hex(8)
    with Browser(bound, "bound-cell.ipynb") as browser:
        browser.run(hostile(seed))
        before = settled(bound)
        told = attack(
            running,
            browser,
            seed,
            "flood(3, 2000)\nsmall_ones('Z', 100)\nimage_attack(1, 300_000)",
            "small_ones('Z', 20_000)\nflood(10)",
        )
        spent = before - settled(bound)
        check_frames(browser)
    text, pictures = bodies(told)
    assert CELL // 2 < text <= CELL + OWN, "the cell's budget is not what bounds it"
    assert all(len(base64.b64decode(one)) <= PICTURE for frame in told for one in frame.pictures)
    # What the browser got is what control was told of before, up to a step that was charged ahead of the cell.
    assert text + sum(pictures) <= spent + LIMITED_STEP + OWN


@pytest.mark.soak
def test_a_day_at_confidential_says_no_more_than_its_budget_over_all_routes_together(running, bound):
    seed = secrets.token_hex(8)
    with Browser(bound, "bound-day.ipynb") as browser:
        alphabet = constant(browser)
        browser.run(hostile(seed))
        browser.look_everywhere()
        usual = {path: {blank(raw.decode("latin-1")) for raw in found} for path, found in browser.answers().items()}
        at_start = settled(bound)
        began = len(browser.tabs[0].frames)
        for n in range(3):
            browser.run(f"image_attack(2, 380_000)\nflood(4, 9_000)\nopen('{n}' + 'Z' * 200, 'w').close()")
            browser.ask_everything()
            browser.look("strongroom/api/work")
            browser.look("strongroom/api/exports", "POST", {"paths": ["Z" * 200], "justification": "To hear of it."})
        for _ in range(40):  # the rest, in small coins
            browser.run("print('Z' * 60_000)", quiet=0.1)
            if left(bound) == 0:
                break
        frames = browser.tabs[0].frames[began:]
        words, pictures = bodies([frame for frame in frames if frame.canonical() not in alphabet])
        shown = words + sum(pictures)
        rest = sum(
            len(raw)
            for path, answers in browser.answers().items()
            for raw in answers
            if blank(raw.decode("latin-1")) not in usual.get(path, set())
        )
        assert settled(bound) < 64, "the day was not spent: the rest of this test would say nothing"
        cells = sum(frame.type == "execute_reply" for frame in frames)
        assert shown + rest <= at_start + OWN * cells
        assert shown + rest <= DAY + OWN * cells
        assert shown > at_start // 2
        # From here on nothing more: every route once more, this time with the secret.
        began = len(browser.tabs[0].frames)
        attack(running, browser, seed)
        browser.ask_everything()
        for name in (secret_of(seed).hex()[:100], "Z" * 50):
            browser.look("strongroom/api/exports", "POST", {"paths": [f"{name}.csv"], "justification": "Its name."})
        browser.look_everywhere()
        with contextlib.suppress(AssertionError):
            browser.run("sys.stderr.write(got.hex()); os.write(2, got.hex().encode()); os._exit(got[0])", patience=15)
        browser.look_everywhere()
    check_frames(browser)
    assert found(browser, secret_of(seed)) == []


def test_at_secret_every_frame_is_one_that_honest_cells_show_too(running, sealed):
    seed = secrets.token_hex(8)
    with Browser(sealed, "sealed.ipynb") as browser:
        alphabet = constant(browser)
        browser.look_everywhere()
        usual = {path: {blank(raw.decode("latin-1")) for raw in found} for path, found in browser.answers().items()}
        began = len(browser.tabs[0].frames)
        browser.run(hostile(seed))
        attack(running, browser, seed, after="small_ones(got.hex(), 2000)\nflood(2)\nimage_attack(2)")
        browser.run("input(got.hex())\nraise ValueError(got.hex())")
        browser.ask_everything()
        browser.look("strongroom/api/work?path=" + secret_of(seed).hex()[:80])
        browser.look("strongroom/api/exports", "POST", {"paths": [secret_of(seed).hex()[:80]], "justification": "x"})
        browser.look_everywhere()
        check_frames(browser)
        strange = {
            frame.canonical()[:1500]
            for frame in browser.tabs[0].frames[began:]
            if frame.type != "execute_input" and frame.canonical() not in alphabet
        }
        assert strange == set()
        for path in ("api/kernels", "api/kernels/{kernel}", "api/sessions", "api/status", "strongroom/api/session"):
            for raw in browser.answers()[path]:
                text = re.sub(r'"execution_state": ?"(starting|idle|busy)"', "STATE", blank(raw.decode("latin-1")))
                known = {re.sub(r'"execution_state": ?"(starting|idle|busy)"', "STATE", one) for one in usual[path]}
                assert text in known, (path, raw)
        assert found(browser, secret_of(seed)) == []
