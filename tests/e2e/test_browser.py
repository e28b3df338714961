"""Steps 1 to 6 of the day in the real page, with Debian's chromium: what people see, and no other host asked."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from strongroom_hub.supervisor import RunningInstance

from tests.e2e.pages import SLOW, Watch, new_notebook, open_cardio, run_cell, visit

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

PURPOSE = "Does cost sharing lower the number of visits?"
JUSTIFICATION = "Mean visits by plan for the report of the cardio project."


@pytest.fixture(scope="module")
def instance() -> Iterator[RunningInstance]:
    home = os.environ.get("STRONGROOM_TEST_HOME", "")
    assert home, "STRONGROOM_TEST_HOME is not set: run this test with `make test`"
    with RunningInstance.fresh(Path(home)) as running:
        yield running


def side_panel(page: Page, title: str) -> None:
    tab = page.locator(f".jp-SideBar .lm-TabBar-tab[title='{title}']")
    if "lm-mod-current" not in (tab.get_attribute("class") or ""):
        tab.click()


SOCKET = """import socket
try:
    socket.create_connection(("127.0.0.1", 8443), 2)
except OSError:
    print("no way out")"""


class Stage:
    """One analyst's window, and what the steps share."""

    def __init__(self, browser: Browser, running: RunningInstance, page: Page, watch: Watch, pictures: Path) -> None:
        self.browser, self.running, self.page, self.watch, self.pictures = browser, running, page, watch, pictures

    def picture(self, page: Page, name: str) -> None:
        page.screenshot(path=self.pictures / f"{name}.png")

    def shows(self, label: str) -> None:
        for place in (".sr-Banner-line", ".jp-NotebookPanel-toolbar"):
            expect(self.page.locator(place)).to_contain_text(label, timeout=SLOW, ignore_case=True)


def opens_the_project(stage: Stage) -> None:
    stage.picture(stage.page, "home")
    open_cardio(stage.page)
    new_notebook(stage.page, stage.watch)
    stage.shows("public")
    run_cell(stage.page, "1 + 1", shows="2")
    run_cell(stage.page, "import plotly.express as px\npx.bar(x=['a', 'b'], y=[1, 3]).show()")
    figure = stage.page.frame_locator(".sr-Frame iframe")
    expect(figure.locator(".plot-container .bars .point").first).to_be_visible(timeout=SLOW)


def is_refused_and_asks(stage: Stage) -> None:
    page = stage.page
    refusal = run_cell(page, "import strongroom\nstrongroom.open('health/randhie')", shows="Datasets panel")
    assert "Traceback" not in refusal
    run_cell(page, "strongroom.catalog()")
    expect(page.locator(".jp-OutputArea .widget-select, .jp-OutputArea select").first).to_be_visible(timeout=SLOW)
    side_panel(page, "Strongroom datasets")
    card = page.locator("details", has=page.get_by_text("health/randhie", exact=True)).first
    card.locator("summary").click()
    page.get_by_role("button", name="Request access to health/randhie").click()
    page.get_by_label("Purpose").fill(PURPOSE)
    for column in ("person_id", "idp", "mdvis", "disea"):
        page.get_by_role("checkbox", name=re.compile(rf"^{column}\b")).check()
    page.get_by_label("Duration in days").fill("90")
    stage.picture(page, "request")
    page.get_by_role("button", name="Submit request").click()
    expect(card).to_contain_text("waits for a steward", timeout=SLOW)


def steward_grants(stage: Stage) -> None:
    with visit(stage.browser, stage.running, stage.watch, "steward") as console:
        console.goto(f"{stage.running.instance.public_url}services/control/")
        console.get_by_role("link", name="health/randhie").first.click(timeout=SLOW)
        expect(console.get_by_text(PURPOSE)).to_be_visible()
        console.get_by_label("Mask for person_id").select_option("hash")
        console.get_by_label("Comment").fill("Fine for the cardio project.")
        stage.picture(console, "console-access")
        console.get_by_role("button", name="Approve").click()
        expect(console.get_by_role("heading", name="Grant", exact=True)).to_be_visible(timeout=SLOW)


def reads(stage: Stage) -> None:
    page = stage.page
    page.get_by_role("button", name="Refresh datasets").click()
    read = "df = strongroom.open('health/randhie').to_pandas()\ndf.groupby('idp')['mdvis'].mean().round(2)"
    run_cell(page, read, shows="mdvis")
    stage.shows("confidential")
    plot = "import matplotlib.pyplot as plt\ndf.groupby('idp')['mdvis'].mean().plot.bar(figsize=(5, 2.5))\nplt.show()"
    run_cell(page, plot)
    expect(page.locator(".jp-RenderedImage img").first).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("You may read 4 of 11 columns")).to_be_visible(timeout=SLOW)
    stage.picture(page, "lab")
    flood = run_cell(page, "print('x' * 2 * 1024 * 1024)", shows="policy.csv:")
    assert len(flood) < 512 * 1024


def exports(stage: Stage, folder: Path) -> None:
    page = stage.page
    table = "df.groupby('idp')['mdvis'].agg(['mean', 'count']).round(2).reset_index()"
    run_cell(page, f"{table}.to_csv('table.csv', index=False)")
    side_panel(page, "Strongroom exports")
    page.get_by_role("button", name="Refresh work files").click()
    page.get_by_role("checkbox", name=re.compile(r"table\.csv")).check()
    page.get_by_label("Justification").fill(JUSTIFICATION)
    page.get_by_role("button", name="Submit for review").click()
    expect(page.get_by_text("Submitted for review")).to_be_visible(timeout=SLOW)
    review(stage)
    page.get_by_role("button", name="Refresh exports").click()
    mine = page.locator("details", has_text="table.csv").first
    mine.locator("summary").click()
    stage.picture(page, "export")
    with page.expect_download(timeout=SLOW) as download:
        mine.get_by_role("button", name=re.compile("Download")).click()
    target = folder / "release.zip"
    download.value.save_as(target)
    assert set(zipfile.ZipFile(target).namelist()) == {
        "table.csv",
        "manifest.json",
        "manifest.json.sig",
        "release.tlog-proof",
    }


def sends_a_withheld_output(stage: Stage, folder: Path) -> None:
    """From its cell to a steward and out: what a rule withheld is kept whole, and leaves as reviewed."""
    page = stage.page
    run_cell(
        page, "means = df.groupby('idp')['mdvis'].mean().round(2)\nprint(means.to_string() + ' ' * 70_000 + 'the end')"
    )
    notice = page.locator(".sr-Withheld").last
    expect(notice).to_contain_text("can be sent to review", timeout=SLOW)
    notice.locator("summary").click()
    notice.get_by_label("Why it may leave").fill(JUSTIFICATION)
    stage.picture(page, "withheld")
    notice.get_by_role("button", name=re.compile("review", re.IGNORECASE)).click()
    expect(notice).to_contain_text("Submitted for review", timeout=SLOW)
    with visit(stage.browser, stage.running, stage.watch, "steward") as console:
        console.goto(f"{stage.running.instance.public_url}services/control/")
        console.get_by_role("link", name=re.compile(r"cell-\d+-1\.txt")).first.click(timeout=SLOW)
        expect(console.get_by_text(JUSTIFICATION)).to_be_visible()
        expect(console.locator("main")).to_contain_text("to_string", timeout=SLOW)
        expect(console.locator("main")).to_contain_text("the end", timeout=SLOW)
        console.get_by_label("Comment").fill("The rest of a table of means.")
        stage.picture(console, "console-withheld")
        console.get_by_role("button", name="Approve").click()
        expect(console.get_by_text("1 of 1 needed approvals")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Refresh exports").click()
    mine = page.locator("details", has_text=re.compile(r"cell-\d+-1\.txt")).first
    mine.locator("summary").click()
    with page.expect_download(timeout=SLOW) as download:
        mine.get_by_role("button", name=re.compile("Download")).click()
    target = folder / "withheld.zip"
    download.value.save_as(target)
    archive = zipfile.ZipFile(target)
    [name] = [name for name in archive.namelist() if name.startswith("cell-")]
    assert archive.read(name).rstrip().endswith(b"the end")


def test_the_day_in_the_page(instance, browser, pictures, tmp_path):
    watch = Watch(instance.instance.public_url)
    with visit(browser, instance, watch, "analyst") as page:
        stage = Stage(browser, instance, page, watch, pictures)
        opens_the_project(stage)
        is_refused_and_asks(stage)
        steward_grants(stage)
        reads(stage)
        run_cell(page, SOCKET, shows="no way out")
        exports(stage, tmp_path)
        sends_a_withheld_output(stage, tmp_path)
    assert watch.foreign == [], "the page asked another host"
    assert watch.said == [], "the browser's console is not empty"


def review(stage: Stage) -> None:
    # steward2 reviews: steward's one-time code of this half minute has counted already.
    with visit(stage.browser, stage.running, stage.watch, "steward2") as console:
        console.emulate_media(color_scheme="dark")
        console.goto(f"{stage.running.instance.public_url}services/control/")
        console.get_by_role("link", name=re.compile(r"table\.csv")).first.click(timeout=SLOW)
        expect(console.get_by_text(JUSTIFICATION)).to_be_visible()
        expect(console.locator("main")).to_contain_text("to_csv", timeout=SLOW)
        expect(console.locator("main")).to_contain_text("row overlap", timeout=SLOW)
        console.get_by_label("Comment").fill("Counts are large, means only.")
        stage.picture(console, "console-export-dark")
        console.get_by_role("button", name="Approve").click()
        expect(console.get_by_text("1 of 1 needed approvals")).to_be_visible(timeout=SLOW)
