"""What Lab says below cells: checked in the browser against the real log, and nothing that a file says is believed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from strongroom_hub.audit import standalone
from strongroom_hub.supervisor import RunningInstance

from tests.e2e.pages import SLOW, Watch, new_notebook, open_cardio, run_cell, visit

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

PROOFS = "**/strongroom/api/cells/*/proof*"
SAVE = re.compile(r"^Save the proof of entry \d+$")
FORGED = {"entry": 1, "time": "2026-01-01T00:00:00.000Z", "checkpoint": None, "label": "public", "shown": 9}
CONTENTS = """async ([path, content]) => {
    const base = JSON.parse(document.getElementById('jupyter-config-data').textContent).baseUrl;
    const token = document.cookie.split('; ').find(one => one.startsWith('_xsrf=')).slice(6);
    const answer = await fetch(`${base}api/contents/${path}`, {
        method: content ? 'PUT' : 'GET', body: content && JSON.stringify({type: 'notebook', content}),
        headers: {'X-XSRFToken': decodeURIComponent(token), 'Content-Type': 'application/json'},
    });
    return [answer.status, await answer.json()];
}"""


def cell(page: Page, number: int) -> Locator:
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").nth(number)


def saved_cell(page: Page) -> str:
    """The first cell's identifier, once the notebook is saved."""
    for _ in range(100):
        status, told = page.evaluate(CONTENTS, ["Untitled.ipynb", None])
        if status == 200 and len(told["content"]["cells"]) > 1:
            return str(told["content"]["cells"][0]["id"])
        page.wait_for_timeout(200)
    pytest.fail(f"the notebook is not saved: {told}")


def forged(identifier: str) -> dict[str, Any]:
    """A notebook that claims, wherever a file can, that its cell was run here."""
    output = {
        "output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "forged"},
        "metadata": {"strongroom": FORGED},
    }  # fmt: skip
    code = {
        "cell_type": "code", "id": identifier, "execution_count": 1, "source": "1 + 1", "outputs": [output],
        "metadata": {"strongroom": FORGED, "execution": {"shell.execute_reply": FORGED["time"]}},
    }  # fmt: skip
    kernel = {"name": "strongroom", "display_name": "Strongroom"}
    metadata = {"kernelspec": kernel, "strongroom": {"cells": [{"cell": identifier, **FORGED}]}}
    return {"cells": [code], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def test_badges_are_checked_against_the_log_and_believe_no_file(
    running: RunningInstance, browser: Browser, pictures: Path
) -> None:
    watch = Watch(running.instance.public_url)
    with visit(browser, running, watch, "analyst") as page:
        open_cardio(page)
        new_notebook(page, watch)
        run_cell(page, "6 * 7", shows="42")
        run_cell(page, "print('second')")
        is_verified_by_keyboard(page, pictures)
        leaf = saved_and_verified(running, page, pictures)
        assert (leaf["action"], leaf["actor"], leaf["project"]) == ("server:cell:begin", "user:analyst", "cardio")
        is_not_verified_when_the_answer_is_another(page, pictures)
        page.keyboard.press("Control+S")
        page.locator(".jp-Dialog .jp-mod-accept").click(timeout=SLOW)  # what the new file is to be called
        identifier = saved_cell(page)
        watch.kernel_answers = False
        page.reload()
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=SLOW)
        expect(cell(page, 0).locator(".sr-CellEntry")).to_contain_text("output was put back", timeout=SLOW)
        cell(page, 0).locator(".sr-CellEntry-entry").click()
        expect(cell(page, 0).locator(".sr-CellEntry")).to_contain_text("verified", timeout=SLOW)
        is_not_run_here(page, identifier, pictures)
    assert watch.foreign == []
    assert [line for line in watch.said if line.startswith("uncaught")] == []


def test_the_console_saves_what_it_has_verified(running: RunningInstance, browser: Browser, pictures: Path) -> None:
    watch = Watch(running.instance.public_url)
    with visit(browser, running, watch, "auditor") as page:
        page.emulate_media(color_scheme="dark")
        page.goto(f"{running.instance.public_url}services/control/#/audit")
        page.locator("tbody th a").first.click(timeout=SLOW)
        page.get_by_role("button", name="Verify in this browser").click(timeout=SLOW)
        expect(page.get_by_text("Verified: this entry is in the log")).to_be_visible(timeout=SLOW)
        page.get_by_role("button", name=SAVE).scroll_into_view_if_needed()
        page.screenshot(path=pictures / "entry-verified-dark.png")
        index = saved_and_verified(running, page, pictures)["index"]
        expect(page.get_by_role("heading", name=f"Entry {index}", exact=True)).to_be_visible()
    assert watch.foreign == []
    assert watch.said == []


def saved_and_verified(running: RunningInstance, page: Page, folder: Path) -> dict[str, Any]:
    """The entry in the one proof that the page offers to save, as a stranger verifies it."""
    with page.expect_download(timeout=SLOW) as download:
        page.get_by_role("button", name=SAVE).click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    vkey = (running.instance.public_dir / "log.vkey").read_text(encoding="utf-8")
    key = standalone.read_key(vkey, standalone.ED25519)
    fields, head = standalone.verify_proof(file.read_text(encoding="utf-8"), key, [], 0)
    assert file.name == f"entry-{fields['index']}.tlog-proof"
    assert fields["index"] < head.size
    return fields


def is_verified_by_keyboard(page: Page, pictures: Path) -> None:
    line = cell(page, 0).locator(".sr-CellEntry")
    line.locator(".sr-CellEntry-entry").focus()
    page.keyboard.press("Enter")
    expect(line.locator(".sr-CellEntry-entry")).to_contain_text("verified", timeout=SLOW)
    said = line.get_by_role("status")
    expect(said).to_contain_text("The audit log holds this run as entry")
    expect(said).to_contain_text("goes on from the one of")
    expect(page.locator(".jp-Notebook.jp-mod-editMode")).to_have_count(0)
    page.screenshot(path=pictures / "badge-verified.png")


def is_not_verified_when_the_answer_is_another(page: Page, pictures: Path) -> None:
    line = cell(page, 1).locator(".sr-CellEntry")
    button = line.locator(".sr-CellEntry-entry")
    first: list[str] = []

    def tampered(route: Route) -> None:
        told = json.loads(route.fetch().text())
        told["proof"]["hashes"] = told["proof"]["hashes"][::-1] + told["proof"]["hashes"][:1]
        route.fulfill(json=told)

    def of_another(route: Route) -> None:
        address = route.request.url
        asked = address.rpartition("/cells/")[2].partition("/")[0]
        first.append(asked)
        route.fulfill(response=route.fetch(url=address.replace(f"/cells/{asked}/", f"/cells/{another}/")))

    def gone(route: Route) -> None:
        problem = {"type": "urn:strongroom:problem:unknown-entry", "title": "The log does not show this run"}
        route.fulfill(status=404, json={**problem, "status": 404, "detail": "It has no such entry."})

    another = (cell(page, 0).locator(".sr-CellEntry-entry").inner_text().split("·")[0]).split()[-1]
    for number, handler in enumerate((tampered, of_another, gone)):
        page.route(PROOFS, handler)
        button.click()
        expect(line.get_by_role("alert")).to_contain_text("tell your auditor", timeout=SLOW)
        expect(button).to_contain_text("NOT VERIFIED")
        page.screenshot(path=pictures / f"badge-failed-{number}.png")
        button.click()
        page.unroute(PROOFS)
    assert first
    button.click()
    expect(button).to_contain_text("verified", timeout=SLOW)
    expect(line.get_by_role("alert")).to_have_count(0)


def is_not_run_here(page: Page, identifier: str, pictures: Path) -> None:
    """Also where the file has taken the identifier of a cell that did run."""
    assert page.evaluate(CONTENTS, ["forged.ipynb", forged(identifier)])[0] == 201
    page.goto(page.url.partition("/lab")[0] + "/lab/tree/forged.ipynb")
    line = cell(page, 0).locator(".sr-CellEntry")
    expect(line).to_contain_text("not run here", timeout=SLOW)
    expect(line.locator(".sr-CellEntry-entry")).to_have_count(0)
    line.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(line.locator("details p")).to_be_visible()
    page.screenshot(path=pictures / "badge-not-run.png")
