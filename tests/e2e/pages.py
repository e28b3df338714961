"""A browser's window into a real instance: logging in, opening a project, running cells as people do."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, WebSocket, expect
from strongroom_hub.demo import one_time_code
from strongroom_hub.supervisor import RunningInstance

SLOW = 60_000
expect.set_options(timeout=SLOW)  # on a busy machine five seconds are soon over


class Watch:
    """All that a page says in its console and asks of any host."""

    def __init__(self, base_url: str) -> None:
        self.host = urlsplit(base_url).netloc
        self.said: list[str] = []
        self.foreign: list[str] = []
        self.kernel_answers = False
        self.codes: set[str] = set()

    def follow(self, page: Page) -> None:
        # Lab traces its start with console.debug, which browsers do not show.
        page.on("console", lambda m: m.type == "debug" or self.said.append(f"{m.type}: {m.text} ({m.location})"))
        page.on("pageerror", lambda e: self.said.append(f"uncaught: {e}"))
        page.on("request", lambda r: self._asked(r.url))
        page.on("websocket", self._opened)

    def code(self, otp_secret: str) -> str:
        """A one-time code that has not been used; each counts once, so a second login may have to wait for the next."""
        while (found := one_time_code(otp_secret, time.time())) in self.codes:
            time.sleep(0.2)
        self.codes.add(found)
        return found

    def _opened(self, websocket: WebSocket) -> None:
        self._asked(websocket.url)
        websocket.on("framereceived", self._received)

    def _received(self, frame: str | bytes) -> None:
        # Lab drops what is run before the kernel has answered its last question of the start.
        if (b"comm_info_reply" if isinstance(frame, bytes) else "comm_info_reply") in frame:
            self.kernel_answers = True

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob", "about"} and parts.netloc != self.host:
            self.foreign.append(url)


@contextmanager
def visit(browser: Browser, running: RunningInstance, watch: Watch, name: str) -> Iterator[Page]:
    """A browser window of its own in which `name` is logged in. The instance's CA is not in chromium's store."""
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    context.on("page", watch.follow)
    watch.follow(page)
    account = running.accounts[name]
    page.goto(f"{running.instance.public_url}hub/login")
    page.fill("#username_input", name)
    page.fill("#password_input", account.password)
    page.fill("#otp_input", watch.code(account.otp_secret))
    page.click("#login_submit")
    page.wait_for_url("**/hub/home")
    try:
        yield page
    finally:
        context.close()


def open_cardio(page: Page) -> None:
    page.get_by_role("link", name=re.compile("Open.*Cardio", re.IGNORECASE)).or_(
        page.get_by_role("button", name=re.compile("Open.*Cardio", re.IGNORECASE))
    ).first.click()
    page.wait_for_url("**/lab*", timeout=SLOW)
    page.wait_for_selector("#jp-main-dock-panel", timeout=SLOW)


def new_notebook(page: Page, watch: Watch) -> None:
    """From the launcher; returns when the kernel's socket is up."""
    page.locator(".jp-LauncherCard[data-category='Notebook']").first.click(timeout=SLOW)
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=SLOW)
    deadline = time.monotonic() + SLOW / 1000
    while not watch.kernel_answers:
        assert time.monotonic() < deadline, "the kernel does not answer"
        page.wait_for_timeout(100)


def run_cell(page: Page, code: str, shows: str = "") -> str:
    """Type into the active cell, run it, and return the text of its output when it is done and `shows` is drawn."""
    cells = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")
    cell = cells.nth(cells.count() - 1)  # running a cell adds one below
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".sr-CellEntry")).to_be_visible(timeout=SLOW)
    expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=SLOW)
    output = cell.locator(".jp-Cell-outputWrapper")
    expect(output).to_contain_text(shows, timeout=SLOW)
    return output.inner_text()
