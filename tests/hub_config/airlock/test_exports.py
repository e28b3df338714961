from __future__ import annotations

import base64
import hashlib
import json
import threading

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from desk import TABLE, draft, export, reading, vote
from enclave import Caller, Enclave
from strongroom_hub.audit.proof import Proof
from strongroom_hub.problems import Problem


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


@pytest.fixture
def server(cardio: Enclave) -> Caller:
    return reading(cardio)[0]


def test_from_draft_to_signed_release(cardio: Enclave) -> None:
    server, kernel = reading(cardio)
    cell = {"kernel": kernel, "notebook": "day.ipynb", "cell": "c", "kind": "execute", "code": "t.to_csv('table.csv')"}
    entry = server.begin(**cell)["entry"]
    made = draft(server, cells=[entry])
    assert (made["state"], made["label"], made["turn"]) == ("draft", "confidential", "requester")
    claims = cardio.claims(made["tickets"][0])
    assert claims["act"] == "stage"
    assert claims["rules"]["min_count"] == 10
    assert claims["sources"] == [
        {
            "dataset": "health/randhie",
            "version": 1,
            "manifest": cardio.operator("GET", "datasets")["datasets"][0]["manifest"],
            "label": "confidential",
            "columns": ["person_id", "age", "visits"],
            "masks": {},
            "rows": None,
            "project": "cardio",
        }
    ]
    receipt = cardio.vault.stage(made["tickets"][0], TABLE)
    submitted = server("POST", f"exports/{made['id']}/submit", {"receipts": [receipt]})
    assert (submitted["state"], submitted["turn"], submitted["reviewers_needed"]) == ("in_review", "steward", 1)
    assert "code" not in submitted["cells"][0]
    assert refused(server, "POST", f"exports/{made['id']}/download").slug == "not-approved"

    steward = cardio.person("steward")
    (waiting,) = steward("GET", "exports")["exports"]
    assert waiting["may"] == {"vote": True, "withdraw": False, "download": False}
    seen = steward("GET", f"exports/{made['id']}")
    assert seen["cells"][0]["code"] == "t.to_csv('table.csv')"
    sha256 = seen["files"][0]["sha256"]
    preview = steward("GET", f"exports/{made['id']}/files/{sha256}/preview")
    assert preview == {
        "kind": "table",
        "columns": ["year", "mean", "n"],
        "rows": [["1", "2.5", "100"], ["2", "2.75", "120"]],
        "truncated": False,
    }
    raw = steward.raw("GET", f"exports/{made['id']}/files/{sha256}")
    assert raw.content == TABLE
    assert raw.headers["content-security-policy"] == "sandbox"
    assert raw.headers["content-disposition"].startswith("attachment")
    assert cardio.claims(cardio.vault.fetched[0])["act"] == "fetch"
    views = [one["detail"]["file"] for one in cardio.entries("control:export:view")]
    assert views == [None, sha256, sha256]

    assert vote(cardio, "steward", made["id"])["state"] == "approved"
    answer = server("POST", f"exports/{made['id']}/download")
    manifest = json.loads(answer["manifest"])
    assert manifest["files"] == [{"name": "table.csv", "sha256": sha256, "bytes": len(TABLE)}]
    assert manifest["reviewers"] == ["steward"]
    assert manifest["justification_sha256"] == hashlib.sha256(b"For the report.").hexdigest()
    (released,) = cardio.entries("control:export:release")
    assert manifest["entry"] == released["index"]
    key = load_pem_public_key((cardio.instance.public_dir / "control.pub.pem").read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(answer["signature"]), answer["manifest"].encode())
    proven = Proof.parse(answer["proof"]).check(cardio.context.log_keys.verifier)
    assert (proven["action"], proven["index"]) == ("control:export:release", json.loads(answer["manifest"])["entry"])
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(answer["signature"]), answer["manifest"].replace("table", "fable").encode())
    again = server("POST", f"exports/{made['id']}/download")
    assert again["manifest"] == answer["manifest"]
    assert len(cardio.entries("control:export:release")) == 1
    assert len(cardio.entries("control:export:download")) == 2
    assert server("GET", "exports")["exports"][0]["state"] == "released"


def test_a_blocking_finding_blocks(cardio: Enclave, server: Caller) -> None:
    blocking = [{"check": "row-overlap", "severity": "block", "text": "raw rows", "evidence": {}}]
    made = export(cardio, server, findings=blocking)
    assert (made["state"], made["turn"]) == ("blocked", "requester")
    assert refused(vote, cardio, "steward", made["id"]).status == 409
    assert refused(server, "POST", f"exports/{made['id']}/download").status == 409
    (entry,) = cardio.entries("control:export:block")
    assert entry["detail"]["findings"] == ["table.csv: raw rows"]


def test_an_unknown_severity_blocks_too(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server, findings=[{"check": "new", "severity": "catastrophe", "text": "?", "evidence": {}}])
    assert made["state"] == "blocked"


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "0" * 64},
        {"bytes": 1},
        {"name": "other.csv"},
        {"index": 1},
        {"export": "0123456789abcdef"},
        {"iss": "strongroom:control"},
        {"aud": "strongroom:vault"},
        {"findings": "none"},
        {"bytes": "many"},
    ],
)
def test_a_receipt_about_anything_else_is_refused(cardio: Enclave, server: Caller, change: dict) -> None:
    made = draft(server)
    receipt = cardio.vault.stage(made["tickets"][0], TABLE, **change)
    problem = refused(server, "POST", f"exports/{made['id']}/submit", {"receipts": [receipt]})
    assert (problem.status, problem.slug) == (422, "bad-receipt")
    assert server("GET", "exports")["exports"][0]["state"] == "draft"


def test_receipts_of_another_signer_or_number_are_refused(cardio: Enclave, server: Caller) -> None:
    made = draft(server)
    good = cardio.vault.stage(made["tickets"][0], TABLE)
    body, _, _ = good.rpartition(".")
    path = f"exports/{made['id']}/submit"
    for receipts in ([], [good, good], [body + "." + "A" * 86], ["rubbish"]):
        assert refused(server, "POST", path, {"receipts": receipts}).slug == "bad-receipt"
    server("POST", path, {"receipts": [good]})
    assert refused(server, "POST", path, {"receipts": [good]}).status == 409


def test_reviewers_open_no_file_that_is_not_up_for_review(cardio: Enclave, server: Caller) -> None:
    blocking = [{"check": "row-overlap", "severity": "block", "text": "raw rows", "evidence": {}}]
    blocked = export(cardio, server, findings=blocking)
    returned = export(cardio, server)
    vote(cardio, "steward", returned["id"], "changes")
    for made in (blocked, returned):
        path = f"exports/{made['id']}/files/{made['files'][0]['sha256']}"
        assert refused(cardio.person("steward"), "GET", path).slug == "not-under-review"
        assert refused(cardio.person("steward"), "GET", f"{path}/preview").slug == "not-under-review"
    assert cardio.vault.fetched == []


def test_nobody_votes_on_their_own_export(cardio: Enclave) -> None:
    cardio.add_policy("g, user:steward, project:cardio\ng, user:steward, role:analyst\n")
    server = cardio.server("steward")
    kernel = cardio.kernel(server)
    asked = server("POST", "access-requests", {"dataset": "health/randhie", "columns": None, "purpose": "p", "days": 1})
    cardio.person("steward2")("POST", f"access-requests/{asked['id']}/decision", {"verdict": "approve"})
    cardio.read(server, kernel)
    made = export(cardio, server)
    assert refused(vote, cardio, "steward", made["id"]).slug == "own-request"
    path = f"exports/{made['id']}/files/{made['files'][0]['sha256']}"
    for way in (path, f"{path}/preview"):
        assert refused(cardio.person("steward"), "GET", way).slug == "own-request", "released without a review"
    assert cardio.vault.fetched == []
    assert cardio.person("steward")("GET", "exports")["exports"][0]["may"]["vote"] is False
    assert vote(cardio, "steward2", made["id"])["state"] == "approved"


@pytest.mark.parametrize("user", ["analyst", "analyst2", "admin", "auditor"])
def test_only_reviewers_see_and_vote(cardio: Enclave, server: Caller, user: str) -> None:
    made = export(cardio, server)
    person = cardio.person(user)
    assert person("GET", "exports", state="all")["exports"] == []
    assert refused(person, "GET", f"exports/{made['id']}").status == 404
    sha256 = made["files"][0]["sha256"]
    assert refused(person, "GET", f"exports/{made['id']}/files/{sha256}").status == 404
    assert refused(person, "GET", f"exports/{made['id']}/files/{sha256}/preview").status == 404
    assert refused(vote, cardio, user, made["id"]).status == 403
    assert cardio.vault.fetched == []


def test_a_reviewer_needs_the_right_on_every_source(cardio: Enclave) -> None:
    cardio.dataset("survey/other", "internal", ("a",))
    server, kernel = reading(cardio)
    cardio.read(server, kernel, "survey/other")
    cardio.add_policy("p, NOT, user:steward, approve-export, survey/other, *, , , deny, conflict\n")
    made = export(cardio, server)
    assert refused(vote, cardio, "steward", made["id"]).status == 403
    assert vote(cardio, "steward2", made["id"])["state"] == "approved"


def test_secret_takes_two_different_reviewers(enclave: Enclave) -> None:
    enclave.project()
    enclave.add_policy("g, user:analyst, clearance:secret\ng, user:steward3, role:steward\n")
    enclave.dataset("surveys/fair", "secret")
    server, _ = reading(enclave, "surveys/fair")
    made = export(enclave, server)
    assert made["reviewers_needed"] == 2
    assert vote(enclave, "steward", made["id"])["state"] == "in_review"
    assert refused(vote, enclave, "steward", made["id"]).slug == "already-voted"
    assert refused(server, "POST", f"exports/{made['id']}/download").status == 409
    assert vote(enclave, "steward2", made["id"])["state"] == "approved"
    assert refused(vote, enclave, "steward3", made["id"]).status == 409


@pytest.mark.parametrize(("verdict", "state"), [("reject", "rejected"), ("changes", "returned")])
def test_one_reviewer_can_stop_it(cardio: Enclave, server: Caller, verdict: str, state: str) -> None:
    made = export(cardio, server)
    assert vote(cardio, "steward", made["id"], verdict)["state"] == state
    assert refused(vote, cardio, "steward2", made["id"]).status == 409
    assert refused(server, "POST", f"exports/{made['id']}/download").status == 409


def test_withdrawn_by_its_owner_only(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server)
    other = cardio.server("analyst2")
    path = f"exports/{made['id']}"
    for verb in ("withdraw", "download"):
        assert refused(other, "POST", f"{path}/{verb}").status == 404
    assert server("POST", f"{path}/withdraw")["state"] == "withdrawn"
    assert refused(vote, cardio, "steward", made["id"]).status == 409
    assert refused(server, "POST", f"{path}/download").status == 409


def test_a_policy_change_voids_the_approvals(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server)
    vote(cardio, "steward", made["id"])
    cardio.add_policy("# anything at all\n")
    problem = refused(server, "POST", f"exports/{made['id']}/download")
    assert problem.slug == "approvals-void"
    (void,) = cardio.entries("control:export:void")
    assert void["detail"] == {"approvals": 0, "needed": 1}
    assert server("GET", "exports")["exports"][0]["state"] == "in_review"
    assert vote(cardio, "steward", made["id"])["state"] == "approved"  # the same reviewer, on the new terms
    server("POST", f"exports/{made['id']}/download")


def test_a_policy_that_is_put_back_does_not_bring_voided_approvals_back(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server)
    vote(cardio, "steward", made["id"])
    text = (cardio.instance.policy_dir / "policy.csv").read_text()
    cardio.add_policy("# anything at all\n")
    assert refused(server, "POST", f"exports/{made['id']}/download").slug == "approvals-void"
    cardio.edit_policy("# anything at all\n", "")
    assert (cardio.instance.policy_dir / "policy.csv").read_text() == text
    (again,) = server("GET", "exports")["exports"]
    assert (again["state"], [one["valid"] for one in again["votes"]]) == ("in_review", [False])
    assert vote(cardio, "steward", made["id"])["state"] == "approved"


def test_new_checking_rules_need_a_new_request(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server)
    cardio.edit_policy("label:confidential, *, min-count, 10", "label:confidential, *, min-count, 20")
    assert refused(vote, cardio, "steward", made["id"]).slug == "checks-outdated"


def test_the_approval_of_who_may_no_longer_review_does_not_count(enclave: Enclave) -> None:
    enclave.project()
    enclave.dataset()
    enclave.add_policy("g, user:guest, role:steward, , 2026-11-21\n")
    server, _ = reading(enclave)
    made = export(enclave, server)
    assert vote(enclave, "guest", made["id"])["state"] == "approved"
    enclave.clock.forward(days=1)
    assert refused(server, "POST", f"exports/{made['id']}/download").slug == "approvals-void"


def test_without_the_right_to_export_nothing_is_drafted_or_released(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server)
    vote(cardio, "steward", made["id"])
    cardio.clock.forward(days=31)  # the grant has ended
    assert refused(draft, server).slug == "not-permitted"
    assert refused(server, "POST", f"exports/{made['id']}/download").slug == "not-permitted"
    assert cardio.entries("control:export:release") == []


def test_an_untouched_workspace_is_reviewed_too(cardio: Enclave) -> None:
    server = cardio.server()
    made = export(cardio, server)
    assert (made["label"], made["reviewers_needed"]) == ("public", 1)
    assert refused(vote, cardio, "analyst2", made["id"]).status == 403
    assert vote(cardio, "steward", made["id"])["state"] == "approved"


def test_only_own_cells_can_be_named(cardio: Enclave, server: Caller) -> None:
    other = cardio.server("analyst2")
    kernel = cardio.kernel(other)
    entry = other.begin(kernel=kernel, kind="execute", code="secret plan")["entry"]
    assert refused(draft, server, cells=[entry]).slug == "unknown-cell"
    assert refused(draft, server, cells=[0]).slug == "unknown-cell"


def test_reviewers_racing_for_one_vote_decide_once(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server)
    people = [cardio.person("steward"), cardio.person("steward2")] * 3
    outcomes, gate = [], threading.Barrier(len(people))

    def decide(number: int) -> None:
        body = {"verdict": "approve" if number % 2 else "reject", "comment": ""}
        gate.wait()
        try:
            outcomes.append(people[number]("POST", f"exports/{made['id']}/votes", body)["state"])
        except Problem as problem:
            outcomes.append(problem.status)

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(len(people))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(409) == len(people) - 1
    assert len(cardio.entries("control:export:vote")) == 1


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("t.csv", b"a,b\n" + b"1,2\n" * 500, "table"),
        ("t.tsv", b"a\tb\n1\t2\n", "table"),
        ("t.txt", b"x" * 100_000, "text"),
        ("t.md", b"<script>alert(1)</script>", "text"),
        ("t.png", b"\x89PNG\r\n\x1a\n", "image"),
        ("odd.csv", b"\xff\xfe\x00", "table"),
        ("empty.csv", b"", "table"),
    ],
)
def test_previews_are_plain_data_and_cut(cardio: Enclave, server: Caller, name: str, content: bytes, kind: str) -> None:
    made = export(cardio, server, {name: content})
    sha256 = made["files"][0]["sha256"]
    shown = cardio.person("steward")("GET", f"exports/{made['id']}/files/{sha256}/preview")
    assert shown["kind"] == kind
    if len(content) > 1000:
        assert shown["truncated"] is True
        assert len(shown.get("rows", [])) <= 200


def test_what_has_no_preview_says_so(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server, {"t.parquet": b"PAR1"})
    path = f"exports/{made['id']}/files/{made['files'][0]['sha256']}/preview"
    assert refused(cardio.person("steward"), "GET", path).slug == "no-preview"


def test_an_export_says_that_code_prepared_it(cardio: Enclave) -> None:
    server, kernel = reading(cardio)
    entry = server.begin(kernel=kernel, notebook="n.ipynb", cell="c", kind="execute", code="x")["entry"]
    body = {"justification": "x", "files": [{"name": "t.csv", "bytes": 1, "sha256": "a" * 64}], "cells": []}
    assert refused(server, "POST", "exports", body | {"prepared": entry + 1000}).slug == "unknown-cell"
    assert server("POST", "exports", body | {"prepared": entry})["prepared"] == entry
    assert server("POST", "exports", body)["prepared"] is None
    told = [entry["detail"]["via"] for entry in cardio.entries("control:export:draft")]
    assert told[-2:] == ["kernel", "panel"]
