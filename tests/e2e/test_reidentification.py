"""Whom a token stands for, in two people's real pages: asked for, agreed to, seen once, and never by a notebook."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from strongroom_hub.tour.notebook import Notebook
from strongroom_hub.tour.person import Person

from tests.e2e.pages import SLOW, Watch
from tests.real import People, policy_rows

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300)]

DATASET, COLUMN = "surveys/anes96", "respondent_id"
MAY_ASK = f"p, R1, role:analyst, reidentify, {DATASET}, project:cardio, , , allow, incidental findings"
AS_TOKENS = ("hash", "token")
"""The demo's policy lets nobody read identifiers but as hashes, which nobody can turn back."""
TRUTH = [f"P-{int(hashlib.sha256(f'anes96:{row}'.encode()).hexdigest(), 16) % 10**10:010d}" for row in range(2)]
"""The demo's made-up identifiers of the first two rows."""
WHY = "A finding that this person should know of."


@contextmanager
def console(browser: Browser, person: Person, watch: Watch) -> Iterator[Page]:
    """The page of re-identifications, in a window that has the person's session: a one-time code counts once."""
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    context.add_cookies(
        [
            {"name": one.name, "value": one.value or "", "domain": "127.0.0.1", "path": one.path, "secure": one.secure}
            for one in person.http.cookies.jar
        ]
    )
    page = context.new_page()
    watch.follow(page)
    page.goto(f"{person.base_url}/services/control/#/reidentifications")
    try:
        yield page
    finally:
        context.close()


def tokens_of(people: People) -> list[str]:
    """What the analyst reads in place of the first identifiers, by a grant that shows tokens."""
    server = people.server("analyst", "cardio")
    wish = {"dataset": DATASET, "columns": [COLUMN], "purpose": "To follow findings up.", "days": 30}
    asked = server.panel("POST", "access-requests", wish)
    steward = people.at_console("steward")
    decision = {"verdict": "approve", "masks": {COLUMN: "token"}, "comment": "As tokens."}
    steward.console("POST", f"access-requests/{asked['id']}/decision", decision)
    with Notebook(server, "tokens.ipynb") as notebook:
        cell = notebook.run(
            f"import strongroom\nread = strongroom.open({DATASET!r}, progress=False).to_polars()\n"
            f"print(*read[{COLUMN!r}][:2], sep='\\n')"
        )
    assert cell.status == "ok", cell.error
    return cell.text.split()


def ask(page: Page, tokens: list[str]) -> None:
    page.get_by_label("Project").fill("cardio")
    page.get_by_label("Dataset").fill(DATASET)
    page.get_by_label("Column").fill(COLUMN)
    page.get_by_label("Tokens").fill("\n".join(tokens))
    page.get_by_label("Why").fill(WHY)
    page.get_by_role("button", name="Ask to turn back 2 tokens").click()
    expect(page.get_by_text("You asked for it: a steward of the dataset has to decide.")).to_be_visible(timeout=SLOW)


def approve(page: Page) -> None:
    expect(page.get_by_text(WHY)).to_be_visible(timeout=SLOW)
    page.get_by_label("Comment").fill("As the protocol says.")
    page.get_by_role("button", name=re.compile("^Approve the re-identification")).click()
    expect(page.get_by_text("It is approved; who asked can see it.")).to_be_visible(timeout=SLOW)


def test_two_people_turn_tokens_back_and_one_sees_the_values_once(
    people: People, browser: Browser, pictures: Path
) -> None:
    watch = Watch(people.running.instance.public_url)
    with policy_rows(people.running, MAY_ASK, instead=AS_TOKENS):
        tokens = tokens_of(people)
        assert not {*tokens} & {*TRUTH}
        with console(browser, people.at_console("analyst"), watch) as asker:
            ask(asker, tokens)
            asker.screenshot(path=pictures / "reidentification-asked.png")
            with console(browser, people["steward"], watch) as steward:
                approve(steward)
                steward.screenshot(path=pictures / "reidentification-approved.png")
                for value in TRUTH:
                    expect(steward.get_by_text(value)).to_have_count(0)
            asker.reload()
            asker.get_by_role("button", name=re.compile("^Show the values")).click(timeout=SLOW)
            for token, value in zip(tokens, TRUTH, strict=True):
                expect(asker.get_by_role("row", name=f"{token} {value}")).to_be_visible(timeout=SLOW)
            asker.emulate_media(color_scheme="dark")
            asker.screenshot(path=pictures / "reidentification-values-dark.png")
            asker.reload()
            expect(asker.get_by_text("No re-identification waits for you.")).to_be_visible(timeout=SLOW)
            asker.get_by_label("All", exact=True).check()
            expect(asker.get_by_text("Shown to")).to_be_visible(timeout=SLOW)
            for value in TRUTH:
                expect(asker.get_by_text(value)).to_have_count(0)
    assert watch.foreign == []
    assert watch.said == []
