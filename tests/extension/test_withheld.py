"""Withheld outputs: kept for a while, told coarsely, sent to review from the cell."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import pytest
from strongroom_hub.problems import Problem
from strongroom_lab import withheld
from strongroom_lab.canon import Message
from strongroom_lab.gate.notices import PLACES
from strongroom_lab.mime import WITHHELD
from strongroom_lab.withheld import Kept, Withheld, form_of

from tests.extension.conftest import GUARDED, Lab, of_type

SECRET = {**GUARDED, "cell_bytes": 0, "day_bytes_left": 0, "image_bytes": 0, "rule": "O4 (policy.csv:75)"}
PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 100


def kept(raw: bytes = b"x") -> Kept:
    return Kept(7, "a.ipynb", "c1", "text/plain", "txt", bytearray(raw), told=True)


def test_the_store_is_bounded_in_number() -> None:
    store = Withheld()
    items = [kept() for _ in range(withheld.MOST + 5)]
    for item in items:
        store.keep(item)
    assert [one["id"] for one in store.listed()] == [item.id for item in items[5:]]


def test_the_store_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(withheld, "MOST_BYTES", 1000)
    monkeypatch.setattr(withheld, "LARGEST", 600)
    store = Withheld()
    first, second = kept(b"a" * 500), kept(b"b" * 100)
    store.keep(first)
    store.keep(second)
    store.extend(second, b"b" * 5000)
    assert [one["id"] for one in store.listed()] == [second.id]
    assert len(second.raw) == 600
    # What is gone takes no memory, and does not come back.
    store.extend(first, b"more")
    assert first.raw == b""


@pytest.mark.parametrize(
    ("kind", "content", "form"),
    [
        ("stream", {"name": "stdout", "text": "é"}, ("text/plain", "txt", "é".encode())),
        ("error", {"traceback": ["\x1b[31mline\x1b[0m"]}, ("text/plain", "txt", b"line\n")),
        (
            "display_data",
            {"data": {"text/plain": "fig", "image/png": base64.b64encode(PNG).decode()}},
            ("image/png", "png", PNG),
        ),
        ("execute_result", {"data": {"text/html": "<b>", "text/plain": "b"}}, ("text/plain", "txt", b"b")),
        ("display_data", {"data": {"application/json": {"a": 1}}}, ("application/json", "json", b'{"a":1}')),
        ("display_data", {"data": {}}, None),
        ("comm_msg", {"data": {}}, None),
    ],
)
def test_each_output_has_one_form(kind: str, content: dict[str, Any], form: tuple[str, str, bytes] | None) -> None:
    assert form_of(Message("iopub", kind, content)) == form


def test_outputs_under_one_id_are_listed_once_and_leave_together() -> None:
    store = Withheld()
    for raw in (b"one", b"two"):
        part = kept(raw)
        part.id = "cell"
        store.keep(part)
    assert [one["id"] for one in store.listed()] == ["cell"]
    copies, entries = store.copies(["cell"])
    for copy in copies:
        copy.file.close()
    assert [copy.name for copy in copies] == ["cell-7-1.txt", "cell-7-2.txt"]
    assert entries == [7]


def test_what_is_gone_is_said() -> None:
    for ids in (["never"], []):
        with pytest.raises(Problem) as refused:
            Withheld().copies(ids)
        assert refused.value.status == 410


PLOT = f"""
import base64
display({{'image/png': base64.b64encode({PNG!r}).decode(), 'text/plain': 'fig'}}, raw=True)
print('the answer is 42')
"""


async def test_a_secret_output_goes_to_review_from_its_cell(guarded_lab: Lab) -> None:
    guarded_lab.control.reset("secret", SECRET)
    async with guarded_lab.page(guarded_lab.start_kernel("secret.ipynb")) as page:
        messages = await page.run(PLOT)
    [notice] = [m["content"]["data"][WITHHELD] for m in of_type(messages, "display_data")]
    assert (notice["bytes"], notice["mime"], notice["reviewable"]) == (None, None, True)
    listed = guarded_lab.call("GET", "strongroom/api/withheld").json()["withheld"]
    mine = [one for one in listed if one["id"] == notice["id"]]
    entry = guarded_lab.call("GET", "strongroom/api/cells?notebook=secret.ipynb").json()["cells"][0]["entry"]
    assert [(one["entry"], one["notebook"], one["cell"], one["bytes"]) for one in mine] == [
        (entry, "secret.ipynb", "cell-1", None)
    ]

    guarded_lab.control.answers["POST exports"] = {"id": "e1", "tickets": ["TICKET", "TICKET"]}
    staged = [
        {"index": index, "name": f"cell-{entry}-{index + 1}.{suffix}", "type": kind, "bytes": 9, "sha256": "a" * 64}
        for index, (suffix, kind) in enumerate((("png", "image/png"), ("txt", "text/plain")))
    ]
    sent = {"id": "e1", "state": "in_review", "files": [{**file, "findings": [{"text": "a"}]} for file in staged]}
    guarded_lab.control.answers["POST exports/e1/submit"] = sent
    guarded_lab.control.answers["GET exports"] = {"exports": [sent]}
    guarded_lab.vault.credential = "TICKET"
    guarded_lab.vault.answers = {"PUT exports/e1/ENTRY": {"receipt": "R"}}
    guarded_lab.vault.calls.clear()
    body = {"ids": [notice["id"]], "justification": "The figure of our paper."}
    response = guarded_lab.call("POST", "strongroom/api/withheld/review", json=body)
    assert response.status_code == 201, response.text
    [draft] = guarded_lab.control.named("POST exports")
    assert [file["name"] for file in draft["files"]] == [f"cell-{entry}-1.png", f"cell-{entry}-2.txt"]
    assert draft["files"][0]["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert draft["cells"] == [entry]
    assert [sent for _, sent in guarded_lab.vault.calls] == [PNG, b"the answer is 42\n"]
    # how many outputs there were and of which kind is the kernel's to choose, so the page is not told
    for told in (response.json(), guarded_lab.call("GET", "strongroom/api/exports").json()["exports"][0]):
        [file] = told["files"]
        assert (file["index"], file["name"], file["type"]) == (0, "withheld outputs", None)
        assert (file["bytes"], file["sha256"], len(file["findings"])) == (0, "", 1)
        assert "Reviewers see" in file["findings"][0]["text"]


async def test_notices_say_size_and_type_where_that_may_be_told(guarded_lab: Lab) -> None:
    code = "display({'text/plain': 'x' * 100_000}, raw=True); raise ValueError('y' * 100_000)"
    async with guarded_lab.page(guarded_lab.start_kernel("told.ipynb")) as page:
        messages = await page.run(code)
    one, rest = [m["content"]["data"] for m in of_type(messages, "display_data")]
    assert (one[WITHHELD]["bytes"], one[WITHHELD]["mime"]) == (256 << 10, "text/plain")
    assert "text/plain, at most 256 KiB" in one["text/plain"]
    assert one[WITHHELD]["rule"] == "O5 (policy.csv:31)"
    assert rest[WITHHELD]["id"] != one[WITHHELD]["id"]


def test_review_takes_ids_only(guarded_lab: Lab) -> None:
    for body, status in (
        ({"ids": "all", "justification": "x"}, 400),
        ({"ids": ["a"] * 21, "justification": "x"}, 400),
        ({"ids": ["a"], "justification": 1}, 400),
        ({"ids": ["gone"], "justification": "The figure of our paper."}, 410),
    ):
        assert guarded_lab.call("POST", "strongroom/api/withheld/review", json=body).status_code == status
    assert not guarded_lab.control.named("POST exports")


async def test_at_secret_a_cell_has_one_notice(guarded_lab: Lab) -> None:
    """Their number and kinds would be a message; what the notice stands for goes to review together."""
    guarded_lab.control.reset("secret", SECRET)
    code = "for i in range(100): display({'text/plain': 'x'}, raw=True)\n'a result'"
    async with guarded_lab.page(guarded_lab.start_kernel("many.ipynb")) as page:
        messages = await page.run(code)
        await asyncio.sleep(0)
    assert len(of_type(messages, "display_data")) == 1
    assert not of_type(messages, "update_display_data")
    assert not of_type(messages, "execute_result")


async def test_a_cell_has_few_notices(guarded_lab: Lab) -> None:
    """Beyond some, outputs are summed up in one."""
    code = "for i in range(100): display({'text/plain': 'x' * 100_000}, raw=True)"
    async with guarded_lab.page(guarded_lab.start_kernel("few.ipynb")) as page:
        messages = await page.run(code)
        await asyncio.sleep(0)
    assert len(of_type(messages, "display_data")) == PLACES + 1
