"""What code prepares for the person, and what it saves: on a real server, from a real kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.extension.conftest import GUARDED, Lab, of_type, text_of

CATALOG = {
    "datasets": [
        {
            "name": "health/randhie",
            "columns": [{"name": "age"}, {"name": "income"}, {"name": "visits"}],
            "access": {"columns": ["age"], "masked": {}},
            "derived": None,
        }
    ]
}
NOTHING = {**GUARDED, "cell_bytes": 0, "day_bytes_left": 0, "allowed": False, "text": "secret: nothing is shown"}
SECRET = "the-secret-value"
# asks like the package, without needing anything but the standard library
ASK = """
import json, os, socket, struct
def ask(**request):
    body = json.dumps({"v": 1, **request}).encode()
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(os.environ.get("STRONGROOM_ASK_SOCKET", "/run/strongroom/server/ask.sock"))
        door.sendall(struct.pack(">I", len(body)) + body)
        size, = struct.unpack(">I", door.recv(4, socket.MSG_WAITALL))
        return json.loads(door.recv(size, socket.MSG_WAITALL))
"""


async def ask(lab: Lab, *requests: dict[str, Any], after: str = "") -> list[dict[str, Any]]:
    """The answers to what one cell asks."""
    lines = "\n".join(f"answers.append(ask(**{request!r}))" for request in requests)
    code = f"{ASK}\nanswers = []\n{lines}\n{after}\njson.dump(answers, open('answers.json', 'w'))"
    async with lab.page(lab.start_kernel("drafts.ipynb")) as page:
        messages = await page.run(code, patience=60)
    assert not of_type(messages, "error"), of_type(messages, "error")
    found: list[dict[str, Any]] = json.loads((lab.work / "answers.json").read_text())
    return found


REQUEST = {"op": "request", "dataset": "health/randhie", "columns": ["age"], "purpose": "To learn.", "days": 30}


async def test_code_prepares_and_the_person_submits(lab: Lab) -> None:
    lab.control.answers["GET catalog"] = CATALOG
    [answer] = await ask(lab, {**REQUEST, "used": ["age", "no such column"]})
    assert lab.control.named("POST access-requests") == []
    [draft] = lab.call("GET", "strongroom/api/drafts").json()["drafts"]
    assert draft["entry"] > 0
    assert {**draft, "at": "", "entry": 0} == {
        "id": answer["draft"],
        "kind": "access-request",
        "notebook": "drafts.ipynb",
        "entry": 0,
        "at": "",
        "dataset": "health/randhie",
        "columns": ["age"],
        "purpose": "To learn.",
        "days": 30,
        "used": ["age"],
    }
    body = {"draft": draft["id"], "dataset": "other/one", "columns": ["age"], "purpose": "Better words.", "days": 10}
    assert lab.call("POST", "strongroom/api/access-requests", json=body).status_code == 201
    [sent] = lab.control.named("POST access-requests")
    assert sent == {
        "dataset": "health/randhie",
        "columns": ["age"],
        "purpose": "Better words.",
        "days": 10,
        "prepared": draft["entry"],
    }
    assert lab.call("GET", "strongroom/api/drafts").json() == {"drafts": []}
    assert lab.call("POST", "strongroom/api/access-requests", json=body).json()["status"] == 404


async def test_an_export_is_prepared_and_submitted_like_any_other(lab: Lab) -> None:
    [answer] = await ask(
        lab,
        {"op": "export", "paths": ["out.csv"], "justification": "Counts."},
        after="open('out.csv', 'w').write('a\\n1\\n')",
    )
    assert lab.control.named("POST exports") == []
    lab.control.answers["POST exports"] = {"id": "x9", "tickets": ["TICKET"]}
    lab.vault.answers["PUT exports/x9/ENTRY"] = {"receipt": "R"}
    lab.control.answers["POST exports/x9/submit"] = {"id": "x9", "state": "in_review", "files": []}
    body = {"draft": answer["draft"], "paths": ["out.csv"], "justification": "Counts."}
    assert lab.call("POST", "strongroom/api/exports", json=body).status_code == 201
    [sent] = lab.control.named("POST exports")
    assert sent["prepared"] > 0
    assert lab.call("GET", "strongroom/api/drafts").json() == {"drafts": []}


async def test_a_refused_request_keeps_its_draft_and_a_discarded_one_is_gone(lab: Lab) -> None:
    lab.control.answers["GET catalog"] = CATALOG
    [answer] = await ask(lab, REQUEST)
    lab.control.refuse["POST access-requests"] = {"title": "Too long", "status": 422, "detail": "x", "next": "y"}
    body = {"draft": answer["draft"], "columns": ["age"], "purpose": "x", "days": 999}
    assert lab.call("POST", "strongroom/api/access-requests", json=body).status_code == 422
    assert len(lab.call("GET", "strongroom/api/drafts").json()["drafts"]) == 1
    assert (
        lab.call("POST", "strongroom/api/exports", json={**body, "paths": ["a"], "justification": "x"}).status_code
        == 400
    )
    lab.call("POST", f"strongroom/api/drafts/{answer['draft']}/discard")
    assert lab.call("GET", "strongroom/api/drafts").json() == {"drafts": []}


async def test_drafts_are_checked_replaced_and_bounded(lab: Lab) -> None:
    lab.control.answers["GET catalog"] = CATALOG
    wrong = [
        {**REQUEST, "dataset": "no/such"},
        {**REQUEST, "columns": ["weight"]},
        {**REQUEST, "columns": "age"},
        {**REQUEST, "purpose": ""},
        {**REQUEST, "days": True},
        {"op": "export", "paths": [], "justification": "x"},
        {"op": "export", "paths": ["a"] * 21, "justification": "x"},
        {"op": "export", "paths": ["a"]},
        {"op": "used", "dataset": "health/randhie", "columns": [1]},
    ]
    answers = await ask(lab, *wrong)
    assert [answer["problem"]["status"] for answer in answers] == [404, *[400] * 8]
    again = [REQUEST, REQUEST, *({"op": "export", "paths": [f"{n}"], "justification": "x"} for n in range(20))]
    answers = await ask(lab, *again)
    assert [answer["ok"] for answer in answers] == [True] * 21 + [False]
    drafts = lab.call("GET", "strongroom/api/drafts").json()["drafts"]
    assert len(drafts) == 20
    assert [draft["kind"] for draft in drafts].count("access-request") == 1
    for draft in drafts:
        lab.call("POST", f"strongroom/api/drafts/{draft['id']}/discard")


async def test_words_of_code_are_charged_and_taken_nowhere_else(guarded_lab: Lab) -> None:
    lab = guarded_lab
    lab.control.answers["GET catalog"] = CATALOG
    [answer] = await ask(lab, {**REQUEST, "purpose": SECRET * 50})
    assert answer["ok"]
    charged = [body["bytes"] for body in lab.control.named("POST display") if body["route"] == "work"]
    assert max(charged) > len(SECRET) * 50
    lab.call("POST", f"strongroom/api/drafts/{answer['draft']}/discard")


async def test_where_nothing_shows_code_prepares_and_tells_nothing(guarded_lab: Lab) -> None:
    """The bound at `secret`: no byte that code chose reaches a page by drafts, hints or the catalogue."""
    lab = guarded_lab
    lab.control.reset("secret", NOTHING)
    lab.control.answers["GET catalog"] = CATALOG
    lab.call("GET", "strongroom/api/session")
    answers = await ask(
        lab,
        {**REQUEST, "purpose": SECRET},
        {"op": "export", "paths": [SECRET], "justification": SECRET},
        {"op": "used", "dataset": "health/randhie", "columns": ["income"]},
    )
    assert [answer.get("problem", {}).get("type") for answer in answers] == [
        "urn:strongroom:problem:display-budget",
        "urn:strongroom:problem:display-budget",
        None,
    ]
    shown = lab.call("GET", "strongroom/api/drafts").text + lab.call("GET", "strongroom/api/datasets").text
    assert SECRET not in shown
    assert lab.call("GET", "strongroom/api/datasets").json()["datasets"][0]["used"] == []


async def test_what_code_used_is_names_of_the_catalogue_only(lab: Lab) -> None:
    lab.control.answers["GET catalog"] = CATALOG
    await ask(lab, {"op": "used", "dataset": "health/randhie", "columns": ["visits", "age", SECRET]})
    response = lab.call("GET", "strongroom/api/datasets")
    assert response.json()["datasets"][0]["used"] == ["age", "visits"]
    assert SECRET not in response.text


# --- saving --------------------------------------------------------------------------------------------------------

SAVED = {"dataset": "cardio/cohort1", "version": 3, "ticket": "TICKET", "label": "public", "sources": [], "entry": 77}
FILE = ".saving-0123456789abcdef.arrow"


def ready(lab: Lab, columns: tuple[str, ...] = ("a",)) -> None:
    manifest = {"columns": [{"name": name, "type": "Int64"} for name in columns]}
    lab.control.answers["POST saves"] = dict(SAVED)
    lab.control.answers["POST saves/cardio/cohort1/ENTRY/finish"] = {}
    lab.vault.calls.clear()
    lab.vault.answers["PUT datasets/cardio/cohort1/ENTRY"] = {"manifest": manifest, "receipt": "RECEIPT"}


def saving(**changed: Any) -> dict[str, Any]:
    request = {"op": "save", "file": FILE, "dataset": "cardio/cohort1", "title": "T", "description": "", "names": ["a"]}
    return {**request, "columns": {"a": "A number."}, **changed}


WRITE = f"open({FILE!r}, 'wb').write(b'arrow bytes')"


async def save(lab: Lab, request: dict[str, Any], before: str = WRITE) -> dict[str, Any]:
    code = f"{ASK}\n{before}\njson.dump(ask(**{request!r}), open('answers.json', 'w'))"
    async with lab.page(lab.start_kernel("saves.ipynb")) as page:
        messages = await page.run(code, patience=60)
    assert not of_type(messages, "error"), text_of(messages) + str(of_type(messages, "error"))
    found: dict[str, Any] = json.loads((lab.work / "answers.json").read_text())
    return found


async def test_a_table_is_copied_drafted_taken_in_and_finished(lab: Lab) -> None:
    ready(lab)
    answer = await save(lab, saving())
    assert answer == {
        "ok": True,
        "dataset": "cardio/cohort1",
        "version": 3,
        "label": "public",
        "sources": [],
        "entry": 77,
    }
    [drafted] = lab.control.named("POST saves")
    assert (drafted["dataset"], drafted["title"], drafted["quiet"], drafted["bytes"]) == (
        "cardio/cohort1",
        "T",
        False,
        11,
    )
    assert drafted["columns"] == {"a": "A number."}
    assert drafted["cell"] > 0
    assert lab.vault.calls == [("PUT datasets/cardio/cohort1/ENTRY", b"arrow bytes")]
    assert lab.control.named("POST saves/cardio/cohort1/ENTRY/finish") == [{"receipt": "RECEIPT"}]
    order = [call for call, _ in lab.control.calls if call.startswith("POST saves")]
    assert order == ["POST saves", "POST saves/cardio/cohort1/ENTRY/finish"]


@pytest.mark.parametrize(
    ("before", "status"),
    [
        (f"os.symlink('/etc/hostname', {FILE!r})", 422),
        (f"open('x', 'w'); os.link('x', {FILE!r})", 422),
        ("pass", 404),
    ],
    ids=["link", "hard link", "missing"],
)
async def test_only_a_plain_file_is_taken(lab: Lab, before: str, status: int) -> None:
    ready(lab)
    (lab.work / FILE).unlink(missing_ok=True)
    answer = await save(lab, saving(), before)
    (lab.work / FILE).unlink(missing_ok=True)
    (lab.work / "x").unlink(missing_ok=True)
    assert answer["problem"]["status"] == status
    assert lab.control.named("POST saves") == []
    assert lab.vault.calls == []


async def test_nothing_else_can_be_asked_for(lab: Lab) -> None:
    ready(lab)
    wrong = [
        saving(file="../notebooks/a"),
        saving(file="table.csv"),
        saving(dataset=3),
        saving(title="x" * 201),
        saving(names=[]),
        saving(columns={"b": "not there"}),
        saving(names=["a"] * 5000),
    ]
    answers = await ask(lab, *wrong)
    assert [answer["problem"]["status"] for answer in answers] == [400] * len(wrong)
    assert lab.control.named("POST saves") == []


async def test_columns_that_were_not_announced_are_not_finished(lab: Lab) -> None:
    ready(lab, ("a", SECRET))
    answer = await save(lab, saving())
    assert answer["problem"]["type"].endswith("other-columns")
    assert lab.control.named("POST saves/cardio/cohort1/ENTRY/finish") == []


async def test_a_refusal_of_control_or_vault_reaches_the_cell(lab: Lab) -> None:
    ready(lab)
    refusal = {"title": "No", "status": 403, "detail": "x", "why": ["rule W1"], "next": "y"}
    lab.control.refuse["POST saves"] = refusal
    assert (await save(lab, saving()))["problem"]["why"] == ["rule W1"]
    assert lab.vault.calls == []
    lab.control.refuse.clear()
    lab.vault.refuse["PUT datasets/cardio/cohort1/ENTRY"] = {**refusal, "title": "Bad file", "status": 422}
    assert (await save(lab, saving()))["problem"]["title"] == "Bad file"
    lab.vault.refuse.clear()
    assert lab.control.named("POST saves/cardio/cohort1/ENTRY/finish") == []


async def test_what_pages_will_be_told_of_a_save_is_charged(guarded_lab: Lab) -> None:
    lab = guarded_lab
    ready(lab)
    await save(lab, saving(title=SECRET))
    charged = [body["bytes"] for body in lab.control.named("POST display") if body["route"] == "work"]
    assert max(charged) > len(json.dumps(saving(title=SECRET))) / 2


async def test_where_nothing_shows_a_save_has_a_typed_name_and_no_words(guarded_lab: Lab) -> None:
    lab = guarded_lab
    lab.control.reset("secret", NOTHING)
    lab.call("GET", "strongroom/api/session")
    ready(lab)
    chosen = f"{WRITE}\nname = 'cardio/' + ''.join(map(chr, {[ord(letter) for letter in SECRET]}))"
    request = "{" + ", ".join(
        f"{name!r}: {value!r}" for name, value in saving(title=SECRET).items() if name != "dataset"
    )
    code = f"{ASK}\n{chosen}\njson.dump(ask(**{request}, 'dataset': name}}), open('answers.json', 'w'))"
    async with lab.page(lab.start_kernel("saves.ipynb")) as page:
        await page.run(code, patience=60)
    assert json.loads((lab.work / "answers.json").read_text())["problem"]["type"].endswith("name-not-typed")
    assert lab.control.named("POST saves") == []
    assert (await save(lab, saving(title=SECRET)))["ok"]
    [drafted] = lab.control.named("POST saves")
    assert drafted["quiet"] is True
    assert SECRET not in json.dumps(drafted)


def test_pages_get_the_name_alone_of_a_quiet_dataset(lab: Lab) -> None:
    derived = {"project": "cardio", "user": "analyst", "quiet": True, "entry": 1}
    told = {
        "name": "cardio/cohort1",
        "title": SECRET,
        "description": SECRET,
        "rows": 123456,
        "columns": [{"name": SECRET}],
        "used_by": [f"cardio/{SECRET}@1"],
        "access": {"read": True, "columns": [SECRET], "masked": {SECRET: "hash"}},
        "derived": derived,
    }
    lab.control.answers["GET catalog"] = {"datasets": [told]}
    response = lab.call("GET", "strongroom/api/datasets")
    assert SECRET not in response.text
    assert "123456" not in response.text
    assert response.json()["datasets"][0]["name"] == "cardio/cohort1"


async def test_the_package_saves_from_a_kernel(lab: Lab) -> None:
    ready(lab)
    code = (
        "import strongroom, polars as pl\nprint(repr(strongroom.save(pl.DataFrame({'a': [1, 2]}), 'cardio/cohort1')))"
    )
    async with lab.page(lab.start_kernel("saves.ipynb")) as page:
        messages = await page.run(code, patience=60)
    assert "Saved as cardio/cohort1 version 3: public." in text_of(messages), messages
    [(_, raw)] = lab.vault.calls
    assert raw.startswith(b"ARROW1")
    assert {path.name for path in lab.work.glob(".saving-*")} <= {FILE}  # what another test left
