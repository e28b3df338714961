"""The log is no way around the display budget: what code makes the log keep, its author does not read there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from strongroom_hub.internal import ControlClient
from strongroom_hub.tour.notebook import Notebook

from tests.e2e.processes import wait_until
from tests.real import policy_rows
from tests.security.conftest import CONFIDENTIAL, grant, refused

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SECRET = "health/lymph_node"
ROWS = """
g, user:analyst, project:logged
g, user:analyst2, project:unlogged
g, user:analyst2, clearance:secret
"""
DESKS = {
    "confidential": ("analyst", "logged", CONFIDENTIAL),
    "secret": ("analyst2", "unlogged", SECRET),
}
ATTACK = """
import contextlib, os, time, strongroom
print("x" * {amount})
{word!r}
with contextlib.suppress(BaseException):
    strongroom.open("health/" + {word!r})
with contextlib.suppress(BaseException):
    strongroom.save([{{"x": 1}}] * {rows}, {project!r} + "/" + {word!r})
for columns in {columns!r}:
    strongroom.open({dataset!r}, columns=columns)
open({word!r} + ".csv", "w").write("x," * {rows})
"""
GONE = {"withheld", "duration_ms", "columns", "reads", "reads_in_all", "bytes", "sha256", "files", "findings", "counts"}


@pytest.fixture(scope="module", params=DESKS)
def desk(request: pytest.FixtureRequest, running, people) -> Iterator[tuple[Any, str, Any]]:
    """Who reads their own log, the dataset that their workspace may read, and its server; in a project of its own."""
    user, project, dataset = DESKS[request.param]
    operator = ControlClient(running.instance.control_socket, running.instance.operator_token_file)
    operator.call("POST", "projects", {"name": project, "title": project.title(), "purpose": "To be attacked."})
    with policy_rows(running, ROWS):
        server = people.server(user, project)
        grant(people, server, dataset)
        yield people.at_console(user), dataset, server


def everything(person, **filters: Any) -> list[dict[str, Any]]:
    found, before = [], None
    while True:
        page = person.console("GET", "audit/entries", None, limit=1000, before=before or 1 << 40, **filters)
        found += page["entries"]
        before = page["next"]
        if before is None:
            return found


def test_what_a_kernel_makes_the_log_keep_its_author_does_not_read_there(people, desk):
    person, dataset, server = desk
    word, other = (secrets.token_hex(12) for _ in range(2))
    amounts = [secrets.randbelow(80_000) + 200_000 for _ in range(2)]
    with Notebook(server, "leak.ipynb") as notebook:
        opened = notebook.run(f"import strongroom\nstrongroom.open({dataset!r})")
        assert opened.status == "ok", opened.error
        auditor = people.at_console("auditor")
        read = everything(auditor, action="control:read:allow", object=dataset, actor=f"user:{person.name}")[0]
        names = read["detail"]["columns"]
        cells = [
            notebook.run(
                ATTACK.format(
                    amount=amount,
                    word=said,
                    rows=amount % 977,
                    columns=[names[:n], names[n:]],
                    dataset=dataset,
                    project=server.project,
                )
            )
            for amount, said, n in ((amounts[0], word, 1), (amounts[1], other, 2))
        ]
        assert [cell.status for cell in cells] == ["ok", "ok"], cells[0].error
        began = [cell.seal["entry"] for cell in cells]

        def ends() -> list[dict[str, Any]]:
            known = everything(auditor, action="server:cell:end")
            return [one for begin in began for one in known if one["detail"]["begin"] == begin]

        wait_until(lambda: len(ends()) == 2, 20, "the ends of both cells")
        whole = ends()
    assert all(end["detail"]["withheld"] > 100_000 for end in whole), "nothing was withheld: this says nothing"
    assert any(word in one["object"] for one in everything(auditor, action="control:read:deny"))

    told = [
        *everything(person),
        *everything(person, action="server:cell:end"),
        *everything(person, text="strongroom", action="server:cell:begin"),
    ]
    for index in range(min(began), whole[-1]["index"] + 30):
        answer = person.http.get(person.base_url + f"/services/control/api/v1/audit/entries/{index}")
        if answer.status_code == 200:
            told.append(answer.json())
    kernels = [one for one in told if one.get("narrowed")]
    assert {"server:cell:end", "control:read:deny"} <= {one["action"] for one in kernels}
    for one in kernels:
        assert not GONE & set(one["detail"]), one
        assert "leaf" not in one.get("proof", {})
        assert word not in json.dumps(one)
    for end in whole:
        raw = json.dumps([one for one in told if one["index"] == end["index"]])
        assert str(end["detail"]["withheld"]) not in raw
        assert end["time"] not in raw
    # both ends say the same, although they are of cells that chose differently
    mine = {one["index"]: one for one in everything(person, action="server:cell:end")}
    first, second = ({**mine[end["index"]], "index": 0, "time": ""} for end in whole)
    for end in (first, second):
        end["detail"] = {**end["detail"], "begin": 0, "count": 0, "cell": ""}
        end["detail"] |= {"shown": 0, "charged": 0, "outputs": [], "outputs_in_all": 0}  # charged, and seen in the cell
    assert first == second
    # nor does the search answer for what it does not show, or the order of reads say anything
    assert everything(person, object=f"health/{word}") == []
    (read,) = everything(person, action="control:read:allow", project=server.project)
    assert read["object"].startswith(f"{dataset}@")
    repeated = everything(auditor, action="control:read:allow", project=server.project)[0]
    assert repeated["detail"]["columns"] == names[2:]
    assert refused(person.console, "GET", f"audit/entries/{repeated['index']}").status == 404
    # how often kernels tried what they may not is a number of theirs, too
    assert person.console("GET", "status")["violations"] == {}
