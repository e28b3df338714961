"""The REST of the Lab panels, the contents guard and the event stream, on a real server."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import time
import zipfile
from typing import Any

import httpx
import pytest
from strongroom_lab.workspace import FRESH, STALE

from tests.extension.conftest import GUARDED, Lab, own

REFUSAL = {"title": "The audit log cannot be written", "status": 503, "detail": "Full.", "why": [], "next": "Wait."}
NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_session_and_catalogue(lab: Lab) -> None:
    session = lab.call("GET", "strongroom/api/session").json()
    assert session["user"] == "analyst"
    assert session["label"] == "public"
    assert session["console_url"] == "/services/control/"
    assert session["log_key"] == "log.test/1+00000000+AQ=="
    lab.control.answers["GET catalog"] = {"datasets": [{"name": "health/randhie"}]}
    assert lab.call("GET", "strongroom/api/datasets").json() == {"datasets": [{"name": "health/randhie", "used": []}]}


def test_the_proof_of_a_cell_is_passed_on_as_control_tells_it(lab: Lab) -> None:
    told = {"proof": {"index": 7, "leaf": "e30="}, "consistency": ["AAAA"]}
    for query in ("", "?since=12"):
        lab.control.answers["GET audit/entries/ENTRY"] = told
        assert lab.call("GET", f"strongroom/api/cells/7/proof{query}").json() == told
    problem = {"title": "The log does not show this run", "status": 404, "detail": "No.", "why": [], "next": "Tell."}
    lab.control.refuse["GET audit/entries/ENTRY"] = problem
    refused = lab.call("GET", "strongroom/api/cells/8/proof")
    assert (refused.status_code, refused.json()["title"]) == (404, problem["title"])
    asked = len(lab.control.calls)
    for path in ("7/proof?since=-1", "7/proof?since=1%26x=1", "7/proof?since=1e3", "7/proof?since=\u0661"):
        assert lab.call("GET", f"strongroom/api/cells/{path}").status_code == 400
    for path in ("x/proof", "-1/proof", "7%2f..%2f8/proof", f"{10**15}/proof", "7"):
        assert lab.call("GET", f"strongroom/api/cells/{path}").status_code == 404
    assert len(lab.control.calls) == asked


def test_the_profile_of_a_dataset_is_controls(lab: Lab) -> None:
    told = {"dataset": "health/randhie", "version": 1, "label": "confidential", "profile": None, "quality": None}
    lab.control.answers["GET catalog/health/randhie/profile"] = told
    assert lab.call("GET", "strongroom/api/datasets/health/randhie/profile").json() == told
    for name in ("health", "..%2f..%2fx/y", "health/%2e%2e", "health/a%3fb", "Health/x"):
        assert lab.call("GET", f"strongroom/api/datasets/{name}/profile").status_code == 404


def test_a_problem_of_control_reaches_the_panel(lab: Lab) -> None:
    problem = {
        "type": "urn:strongroom:problem:days",
        "title": "Too long",
        "status": 422,
        "detail": "400 days.",
        "why": ["rule R1"],
        "next": "Ask for fewer.",
    }
    lab.control.refuse["POST access-requests"] = problem
    response = lab.call("POST", "strongroom/api/access-requests", json={"dataset": "a/b"})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == problem
    assert lab.call("POST", "strongroom/api/access-requests", content=b"[").json()["status"] == 400


def test_withdrawals_take_plain_ids_only(lab: Lab) -> None:
    lab.control.answers["POST access-requests/r1/withdraw"] = {"id": "r1", "state": "withdrawn"}
    assert lab.call("POST", "strongroom/api/access-requests/r1/withdraw").json()["state"] == "withdrawn"
    assert lab.call("POST", "strongroom/api/access-requests/..%2fx/withdraw").status_code == 404


def test_writes_need_the_token_or_the_xsrf_cookie(lab: Lab) -> None:
    with httpx.Client(trust_env=False, follow_redirects=True) as browser:
        browser.get(lab.url + f"lab?token={lab.token}")
        assert browser.get(lab.url + "strongroom/api/cells").status_code in {200, 403}
        url = lab.url + "strongroom/api/access-requests"
        body = {"dataset": "a/b"}
        assert browser.post(url, json=body).status_code == 403
        cookie = next(value for name, value in browser.cookies.items() if name == "_xsrf")
        assert browser.post(url, json=body, headers={"X-XSRFToken": cookie}).status_code == 201


def test_work_files_are_listed_and_charged(guarded_lab: Lab) -> None:
    lab = guarded_lab
    (lab.work / "table.csv").write_text("a\n1\n")
    own(lab.work / "table.csv")
    response = lab.call("GET", "strongroom/api/work?path=")
    [entry] = [entry for entry in response.json()["entries"] if entry["name"] == "table.csv"]
    assert (entry["type"], entry["bytes"]) == ("file", 4)
    [charged] = lab.control.named("POST display")
    assert charged["route"] == "work"
    assert charged["bytes"] == len(response.content)
    assert lab.call("GET", "strongroom/api/work?path=../notebooks").status_code == 400


def test_a_workspace_that_was_left_alone_asks_for_the_rule_anew(guarded_lab: Lab) -> None:
    lab = guarded_lab
    lab.call("GET", "strongroom/api/work")
    time.sleep(STALE + 0.2)
    assert lab.call("GET", "strongroom/api/work").status_code == 200
    time.sleep(STALE + 0.2)
    lab.control.refuse["GET display"] = REFUSAL
    withheld = lab.call("GET", "strongroom/api/work")
    assert withheld.status_code == 403
    assert "could not be checked" in withheld.json()["detail"]
    lab.control.refuse.clear()
    time.sleep(FRESH)
    lab.call("GET", "strongroom/api/work")
    assert lab.call("GET", "strongroom/api/work").status_code == 200


def test_a_listing_that_cannot_be_charged_is_withheld(guarded_lab: Lab) -> None:
    lab = guarded_lab
    (lab.work / "leak-by-name").touch()
    lab.control.refuse["POST display"] = REFUSAL
    response = lab.call("GET", "strongroom/api/work")
    assert response.status_code == 503
    assert "leak" not in response.text
    lab.control.reset("confidential", {**GUARDED, "day_bytes_left": 10})
    lab.call("GET", "strongroom/api/session")
    response = lab.call("GET", "strongroom/api/work")
    assert response.status_code == 403
    assert "leak" not in response.text
    assert response.json()["why"] == ["O5 (policy.csv:31)"]


def test_refusals_that_tell_of_work_files_are_charged_each_time(guarded_lab: Lab) -> None:
    lab = guarded_lab
    lab.call("GET", "strongroom/api/session")
    ask = {"paths": ["told-by-absence.csv"], "justification": "x"}
    answers = [lab.call("POST", "strongroom/api/exports", json=ask) for _ in range(2)]
    answers.append(lab.call("GET", "strongroom/api/work?path=told-by-absence"))
    assert [answer.status_code for answer in answers] == [404] * 3
    charged = [body["bytes"] for body in lab.control.named("POST display")]
    assert len(charged) == 3
    assert all(amount >= len("told-by-absence.csv does not exist") for amount in charged)
    lab.control.reset("confidential", {**GUARDED, "day_bytes_left": 10})
    lab.call("GET", "strongroom/api/session")
    for answer in (
        lab.call("POST", "strongroom/api/exports", json=ask),
        lab.call("GET", "strongroom/api/work?path=told-by-absence"),
    ):
        assert answer.status_code == 403
        assert "does not exist" not in answer.text
        assert answer.json()["why"] == ["O5 (policy.csv:31)"]


def told(export: str) -> dict[str, Any]:
    """An export whose findings carry a message of the kernel: names of columns in its file."""
    finding = {"check": "small-counts", "severity": "warn", "text": "9", "evidence": {"cells": ["MESSAGE" * 50]}}
    file = {"index": 0, "name": "t.csv", "sha256": "abcdef", "bytes": 1234567, "type": "csv", "findings": [finding]}
    return {"id": export, "state": "in_review", "files": [file]}


def test_what_an_export_tells_of_its_file_is_charged_once(guarded_lab: Lab) -> None:
    lab = guarded_lab
    lab.call("GET", "strongroom/api/session")
    lab.control.answers["GET exports"] = {"exports": [told("x2")]}
    for _ in range(3):
        assert lab.call("GET", "strongroom/api/exports").json() == {"exports": [told("x2")]}
    [charged] = lab.control.named("POST display")
    assert charged["bytes"] > 350


def test_findings_do_not_get_around_the_days_budget(guarded_lab: Lab) -> None:
    lab = guarded_lab
    lab.control.reset("confidential", {**GUARDED, "day_bytes_left": 10})
    lab.call("GET", "strongroom/api/session")
    exported = {**told("x3"), "files": [{**told("x3")["files"][0], "sha256": "fedcba"}]}
    lab.control.answers["GET exports"] = {"exports": [exported]}
    lab.control.answers["POST exports/x3/withdraw"] = exported
    for answer in (
        lab.call("GET", "strongroom/api/exports"),
        lab.call("POST", "strongroom/api/exports/x3/withdraw"),
    ):
        assert answer.status_code == 200
        assert "t.csv" in answer.text
        for hidden in ("MESSAGE", "fedcba", "1234567"):
            assert hidden not in answer.text


def test_an_export_is_copied_staged_and_submitted(lab: Lab) -> None:
    (lab.work / "out.csv").write_bytes(b"a,b\n1,2\n")
    own(lab.work / "out.csv")
    lab.control.answers["POST exports"] = {"id": "x1", "state": "draft", "tickets": ["TICKET"]}
    lab.control.answers["POST exports/x1/submit"] = {"id": "x1", "state": "in_review"}
    lab.vault.answers["PUT exports/x1/ENTRY"] = {"receipt": "RECEIPT"}
    lab.vault.calls.clear()
    body = {"paths": ["out.csv"], "justification": "A table."}
    response = lab.call("POST", "strongroom/api/exports", json=body)
    assert response.status_code == 201, response.text
    assert response.json()["state"] == "in_review"
    [draft] = lab.control.named("POST exports")
    assert draft["files"] == [{"name": "out.csv", "bytes": 8, "sha256": hashlib.sha256(b"a,b\n1,2\n").hexdigest()}]
    assert lab.vault.named("PUT exports/x1/ENTRY") == [b"a,b\n1,2\n"]
    assert lab.control.named("POST exports/x1/submit") == [{"receipts": ["RECEIPT"]}]


def test_histories_are_what_control_tells_the_author(lab: Lab) -> None:
    chain = {"export": {"id": "x1"}, "entries": [{"index": 3, "narrowed": True}], "left_out": True}
    page = {"entries": [{"index": 7}], "next": None}
    lab.control.answers["GET audit/timelines/export/x1"] = chain
    lab.control.answers["GET audit/timelines/notebook"] = page
    assert lab.call("GET", "strongroom/api/exports/x1/history").json() == chain
    asked = {"notebook": "a &/ä.ipynb", "before": "9"}
    assert lab.call("GET", "strongroom/api/history", params=asked).json() == page
    assert lab.control.named("GET audit/timelines/notebook") == [b"notebook=a+%26/%C3%A4.ipynb&before=9"]
    for bad in ({}, {"notebook": "x" * 1025}, {"notebook": "a", "before": "-1"}, {"notebook": "a", "before": "²"}):
        assert lab.call("GET", "strongroom/api/history", params=bad).status_code == 400


def test_a_symlink_is_refused_before_control_hears_of_it(lab: Lab) -> None:
    (lab.work / "key").symlink_to("/proc/self/environ")
    body = {"paths": ["key"], "justification": "x"}
    response = lab.call("POST", "strongroom/api/exports", json=body)
    assert response.status_code == 422
    assert "is a link" in response.json()["detail"]
    assert lab.control.named("POST exports") == []


@pytest.fixture
def released(lab: Lab) -> dict[str, Any]:
    content = b"a,b\n1,2\n"
    digest = hashlib.sha256(content).hexdigest()
    answer = {
        "manifest": '{"export": "x1"}',
        "signature": base64.b64encode(b"s").decode(),
        "proof": "c2sp.org/tlog-proof@v1",
        "files": [{"name": "out.csv", "sha256": digest, "ticket": "TICKET"}],
    }
    lab.control.answers["POST exports/x1/download"] = answer
    lab.vault.answers[f"GET exports/x1/{digest}"] = content
    return answer


def test_a_download_holds_the_approved_bytes(lab: Lab, released: dict[str, Any]) -> None:
    response = lab.call("GET", "strongroom/api/exports/x1/download")
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as packed:
        assert packed.read("out.csv") == b"a,b\n1,2\n"
        assert packed.read("manifest.json") == released["manifest"].encode()
        assert packed.read("manifest.json.sig") == released["signature"].encode()
        assert packed.read("release.tlog-proof") == released["proof"].encode()


def test_other_bytes_than_the_approved_are_not_delivered(lab: Lab, released: dict[str, Any]) -> None:
    lab.vault.answers[f"GET exports/x1/{released['files'][0]['sha256']}"] = b"changed"
    response = lab.call("GET", "strongroom/api/exports/x1/download")
    assert response.status_code == 502
    assert response.json()["title"] == "The vault did not give back the approved bytes"


def test_saves_are_recorded_first_and_refused_without(lab: Lab) -> None:
    model = {"type": "notebook", "format": "json", "content": NOTEBOOK}
    assert lab.call("PUT", "api/contents/s.ipynb", json=model).status_code == 201
    [saved] = lab.control.named("POST files")
    written = (lab.notebooks / "s.ipynb").read_bytes()
    assert saved == {"path": "s.ipynb", "bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}
    lab.control.refuse["POST files"] = REFUSAL
    model["content"] = {**NOTEBOOK, "metadata": {"changed": True}}
    response = lab.call("PUT", "api/contents/s.ipynb", json=model)
    assert response.status_code == 503
    assert "The audit log cannot be written" in response.text
    assert (lab.notebooks / "s.ipynb").read_bytes() == written


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("data.bin", {"type": "file", "format": "base64", "content": "AAAA"}),
        ("data.csv", {"type": "file", "format": "text", "content": "a,b"}),
        ("x.py", {"type": "file", "format": "base64", "content": "AAAA"}),
        ("x.py", {"type": "file", "format": "text", "content": "a", "chunk": 1}),
        ("x.txt", {"type": "notebook", "format": "json", "content": NOTEBOOK}),
        (".hidden.py", {"type": "file", "format": "text", "content": "a"}),
        ("../work/x.py", {"type": "file", "format": "text", "content": "a"}),
    ],
)
def test_what_cannot_be_saved(lab: Lab, path: str, model: dict[str, Any]) -> None:
    assert lab.call("PUT", f"api/contents/{path}", json=model).status_code in {400, 403, 404}
    assert not list(lab.root.glob(f"*/{path.rsplit('/', 1)[-1]}"))


def test_work_files_are_no_contents(lab: Lab) -> None:
    (lab.work / "seen.py").write_text("x")
    (lab.notebooks / "way.py").symlink_to(lab.work / "seen.py")
    assert lab.call("GET", "api/contents/seen.py").status_code == 404
    assert lab.call("GET", "api/contents/../work/seen.py").status_code == 404
    (lab.notebooks / "way.py").unlink()


def test_the_stream_tells_of_a_raised_label(fresh_lab: Lab) -> None:
    seen: list[str] = []
    up = threading.Event()

    def listen() -> None:
        headers = {"Authorization": f"token {fresh_lab.token}"}
        url = fresh_lab.url + "strongroom/api/stream"
        with httpx.stream("GET", url, headers=headers, timeout=20, trust_env=False) as response:
            assert response.headers["content-type"] == "text/event-stream"
            for line in response.iter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:])["label"])
                    up.set()
                if len(seen) == 2:
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert up.wait(10)
    fresh_lab.control.label, fresh_lab.control.display = "confidential", dict(GUARDED)
    fresh_lab.call("GET", "strongroom/api/session")
    thread.join(10)
    assert seen == ["public", "confidential"]
    # Labels never come down by themselves.
    fresh_lab.control.label = "public"
    assert fresh_lab.call("GET", "strongroom/api/session").json()["label"] == "confidential"
