"""The analysts' guide on a real instance: every example runs as it stands, and what it saved and prepared is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.notebook import Notebook

from tests.real import People

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
GUIDE = Path(__file__).parents[2] / "docs" / "analysts" / "client.md"


def test_every_example_of_the_guide_runs(running: RunningInstance, people: People) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(examples) >= 10
    server = people.server("analyst", "cardio")
    said = []
    with Notebook(server, "guide.ipynb") as notebook:
        for example in examples:
            cell = notebook.run(example)
            assert cell.status == "ok", f"{example}\n{cell.error}"
            said.append(cell.text)
    text = "\n".join(said)
    for words in (
        "public/penguins@1",
        "Prepared, not sent: access to health/randhie",
        "Saved as cardio/species",
        "True",
    ):
        assert words in text, text
    drafts = {draft["kind"]: draft for draft in server.panel("GET", "drafts")["drafts"]}
    assert drafts["access-request"]["columns"] == ["mdvis", "lncoins"]
    assert drafts["export"]["paths"] == ["species.csv"]
    datasets = {one["name"]: one for one in server.panel("GET", "datasets")["datasets"]}
    assert "public/penguins@1" in datasets["cardio/species"]["sources"]  # and what else the workspace has read
    assert datasets["public/penguins"]["used_by"] == ["cardio/species@1"]
    assert {"species", "body_mass_g"} <= set(datasets["public/penguins"]["used"])
    export = server.panel(
        "POST",
        "exports",
        {"paths": ["species.csv"], "justification": "Counts by species.", "draft": drafts["export"]["id"]},
    )
    assert export["prepared"] == drafts["export"]["entry"]
    for draft in drafts.values():
        server.panel("POST", f"drafts/{draft['id']}/discard", {})
