"""Steps 1 to 6 of the day in the real page, with Debian's chromium: what people see, and nothing but our own host asked."""

from __future__ import annotations

import os
import re
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Error, Page, WebSocket, expect, sync_playwright
from strongroom_hub.demo import one_time_code
from strongroom_hub.supervisor import RunningInstance

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

CHROMIUM = "/usr/bin/chromium"
SLOW = 60_000


class Watch:
    """All that a page says in its console and asks of any host."""

    def __init__(self, base_url: str) -> None:
        self.host = urlsplit(base_url).netloc
        self.said: list[str] = []
        self.foreign: list[str] = []
        self.kernel_answers = False

    def follow(self, page: Page) -> None:
        page.on("console", lambda m: self.said.append(f"{m.type}: {m.text} ({m.location.get('url', '')})"))
        page.on("pageerror", lambda e: self.said.append(f"uncaught: {e}"))
        page.on("request", lambda r: self._asked(r.url))
        page.on("websocket", self._opened)

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


@pytest.fixture(scope="module")
def instance() -> Iterator[RunningInstance]:
    home = os.environ.get("STRONGROOM_TEST_HOME", "")
    assert home, "STRONGROOM_TEST_HOME is not set: run this test with `make test`"
    with RunningInstance.fresh(Path(home)) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # chromium's own sandbox cannot start as root; the page is ours and on loopback.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("STRONGROOM_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
    page.fill("#otp_input", one_time_code(account.otp_secret, time.time()))
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


def run_cell(page: Page, code: str) -> str:
    """Type into the active cell, run it, and return the text of its output when it is done."""
    cells = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")
    cell = cells.nth(cells.count() - 1)  # running a cell adds one below
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".sr-CellEntry")).to_be_visible(timeout=SLOW)
    expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=SLOW)
    return cell.locator(".jp-Cell-outputWrapper").inner_text()


def close_dialogs(page: Page) -> None:
    dialog = page.locator(".jp-Dialog .jp-mod-accept")
    while dialog.count():
        dialog.first.click()


def side_panel(page: Page, title: str) -> None:
    tab = page.locator(f".jp-SideBar .lm-TabBar-tab[title='{title}']")
    if "lm-mod-current" not in (tab.get_attribute("class") or ""):
        tab.click()


def test_the_day_in_the_page(instance, browser, pictures, tmp_path):
    watch = Watch(instance.instance.public_url)
    with visit(browser, instance, watch, "analyst") as page:
        # 1. the project, the banner and the badge
        page.screenshot(path=pictures / "home.png")
        open_cardio(page)
        expect(page.locator(".sr-Banner-line")).to_contain_text("public", timeout=SLOW, ignore_case=True)
        new_notebook(page, watch)
        expect(page.locator(".jp-NotebookPanel-toolbar")).to_contain_text("public", ignore_case=True)
        assert "2" in run_cell(page, "1 + 1")

        # 2. refused in words; asked for in the panel
        refusal = run_cell(page, "import strongroom\nstrongroom.open('health/randhie')")
        assert "Datasets panel" in refusal
        assert "Traceback" not in refusal
        assert run_cell(page, "strongroom.catalog()")
        side_panel(page, "Strongroom datasets")
        card = page.locator("details", has=page.get_by_text("health/randhie", exact=True)).first
        card.locator("summary").click()
        page.get_by_role("button", name="Request access to health/randhie").click()
        page.get_by_label("Purpose").fill("Does cost sharing lower the number of visits?")
        for column in ("person_id", "idp", "mdvis", "disea"):
            page.get_by_role("checkbox", name=re.compile(rf"^{column}\b")).check()
        page.get_by_label("Duration in days").fill("90")
        page.screenshot(path=pictures / "request.png")
        page.get_by_role("button", name="Submit request").click()
        expect(card).to_contain_text("waits for a steward", timeout=SLOW)

        # 3. the steward, without a notebook server
        with visit(browser, instance, watch, "steward") as console:
            console.goto(f"{instance.instance.public_url}services/control/")
            console.get_by_role("link", name="health/randhie").first.click(timeout=SLOW)
            expect(console.get_by_text("Does cost sharing lower the number of visits?")).to_be_visible()
            console.get_by_label("Mask for person_id").select_option("hash")
            console.get_by_label("Comment").fill("Fine for the cardio project.")
            console.screenshot(path=pictures / "console-access.png")
            console.get_by_role("button", name="Approve").click()
            expect(console.get_by_role("heading", name="Grant", exact=True)).to_be_visible(timeout=SLOW)

        # 4. the data, the label, a table, a plot, the budget
        read = run_cell(
            page, "df = strongroom.open('health/randhie').to_pandas()\ndf.groupby('idp')['mdvis'].mean().round(2)"
        )
        assert "mdvis" in read
        expect(page.locator(".sr-Banner-line")).to_contain_text("confidential", ignore_case=True)
        expect(page.locator(".jp-NotebookPanel-toolbar")).to_contain_text("confidential", ignore_case=True)
        run_cell(
            page,
            "import matplotlib.pyplot as plt\ndf.groupby('idp')['mdvis'].mean().plot.bar(figsize=(5, 2.5));plt.show()",
        )
        assert page.locator(".jp-RenderedImage img").count() >= 1
        page.screenshot(path=pictures / "lab.png")
        flood = run_cell(page, "print('x' * 2 * 1024 * 1024)")
        assert len(flood) < 512 * 1024
        assert "policy.csv:" in flood

        # 5. sealed
        assert "no way out" in run_cell(
            page,
            "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 8443), 2)\nexcept OSError:\n    print('no way out')",
        )

        # 6. the airlock
        run_cell(
            page,
            "df.groupby('idp')['mdvis'].agg(['mean', 'count']).round(2).reset_index().to_csv('table.csv', index=False)",
        )
        side_panel(page, "Strongroom exports")
        page.get_by_role("button", name="Refresh work files").click()
        page.get_by_role("checkbox", name=re.compile(r"table\.csv")).check()
        page.get_by_label("Justification").fill("Mean visits by plan for the report of the cardio project.")
        page.screenshot(path=pictures / "export.png")
        page.get_by_role("button", name="Submit for review").click()
        expect(page.get_by_text("Submitted for review")).to_be_visible(timeout=SLOW)
        review(browser, instance, watch, pictures)
        page.get_by_role("button", name="Refresh exports").click()
        mine = page.locator("details", has_text="table.csv").first
        mine.locator("summary").click()
        with page.expect_download(timeout=SLOW) as download:
            mine.get_by_role("button", name=re.compile("Download")).click()
        target = tmp_path / "release.zip"
        download.value.save_as(target)
        assert set(zipfile.ZipFile(target).namelist()) == {"table.csv", "manifest.json", "manifest.json.sig"}
        page.emulate_media(color_scheme="dark")
        run_cell(page, "df.head(3)")
        page.screenshot(path=pictures / "lab-exports.png")

    assert watch.foreign == [], "the page asked another host"
    assert watch.said == [], "the browser's console is not empty"


def review(browser: Browser, running: RunningInstance, watch: Watch, pictures: Path) -> None:
    # steward2 reviews: steward's one-time code of this half minute has counted already.
    with visit(browser, running, watch, "steward2") as console:
        console.emulate_media(color_scheme="dark")
        console.goto(f"{running.instance.public_url}services/control/")
        console.get_by_role("link", name=re.compile(r"table\.csv")).first.click(timeout=SLOW)
        expect(console.get_by_text("Mean visits by plan for the report")).to_be_visible()
        preview = console.get_by_role("button", name=re.compile("preview|show", re.IGNORECASE))
        if preview.count():
            preview.first.click()
        expect(console.locator("main")).to_contain_text("to_csv", timeout=SLOW)
        expect(console.locator("main")).to_contain_text("row overlap", timeout=SLOW)
        console.get_by_label("Comment").fill("Counts are large, means only.")
        console.screenshot(path=pictures / "console-export-dark.png", full_page=True)
        try:
            console.get_by_role("button", name="Approve").click()
            expect(console.get_by_text(re.compile("approved", re.IGNORECASE)).first).to_be_visible(timeout=SLOW)
        except Error:
            console.screenshot(path=pictures / "console-export-failed.png", full_page=True)
            raise
