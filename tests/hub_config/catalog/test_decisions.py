from __future__ import annotations

from typing import Any

import pytest
from enclave import Enclave
from strongroom_hub.catalog import findings
from strongroom_hub.problems import Problem

ABOUT = {
    "name": "health/visits",
    "title": "Visits",
    "label": "internal",
    "owner": "steward",
    "stewards": ["steward"],
    "columns": {"age": {"description": "Age", "tags": ["quasi-identifier"]}, "n": {"unit": "mm"}},
}
MANIFEST: dict[str, Any] = {
    "format": "strongroom-manifest/2",
    "dataset": "health/visits",
    "version": 1,
    "kind": "table",
    "label": "internal",
    "rows": 3,
    "columns": [{"name": name, "type": "String"} for name in ("mail", "age", "n", "note")],
    "parts": [],
}
EVIDENCE = [{"kind": "pattern", "text": "all of its values have the form of e-mail addresses"}]
REPORT: dict[str, Any] = {
    "notes": [],
    "told": {"n": {"description": "Counted", "codes": {"1": "one"}}},
    "quality": [
        {
            "kind": "unique",
            "columns": ["mail"],
            "severity": "warn",
            "why": "",
            "state": "failed",
            "failed": 2,
            "text": "unique 'mail': 2 value(s) are not, in rows 3, 4",
        }
    ],
    "proposals": {
        "columns": {
            "mail": {"tags": ["direct-identifier"], "evidence": EVIDENCE, "decided": False},
            "age": {"tags": ["quasi-identifier"], "evidence": EVIDENCE, "decided": True},
            "note": {"tags": ["sensitive"], "evidence": EVIDENCE, "decided": False},
        },
        "groups": [{"columns": ["age"], "smallest": 1, "alone": 0.3, "small": 1.0, "exact": True}],
        "label": {"label": "confidential", "evidence": ["it names people directly: mail"]},
    },
    "profile": {"label": "confidential", "columns": {"n": {"missing": 0.12, "different": 7, "values": [["1", 0.5]]}}},
}


def refused(call: Any, *arguments: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments)
    return caught.value


def load(enclave: Enclave, version: int = 1, **report: Any) -> dict[str, Any]:
    assert enclave.operator("POST", "datasets", ABOUT)["version"] == version
    receipt = enclave.vault.taken_in("health/visits", version, {**MANIFEST, "version": version}, {**REPORT, **report})
    answer: dict[str, Any] = enclave.operator("POST", f"datasets/health/visits/{version}/loaded", {"receipt": receipt})
    return answer


def everything(**label: str) -> dict[str, Any]:
    return {"columns": {"mail": {"verdict": "accept"}, "note": {"verdict": "refuse"}}, **label}


DECISION = "datasets/health/visits/1/decision"


def test_a_draft_waits_for_its_steward_who_decides_on_each_column(enclave: Enclave) -> None:
    enclave.project()
    waiting = load(enclave)
    assert (waiting["state"], waiting["undecided"], waiting["raises_label"]) == ("loaded", ["mail", "note"], True)
    steward = enclave.person("steward")
    (draft,) = steward("GET", "drafts")["drafts"]
    assert (draft["name"], draft["version"], draft["waits_for"]) == ("health/visits", 1, ["mail", "note"])
    page = steward("GET", "datasets/health/visits/1")
    assert page["proposals"]["columns"]["mail"]["evidence"] == EVIDENCE
    assert [column["name"] for column in page["columns"]] == ["mail", "age", "n", "note"]
    assert page["columns"][2] | {"tags": None} == {
        "name": "n",
        "type": "String",
        "description": "Counted",
        "unit": "mm",
        "codes": {"1": "one"},
        "tags": None,
        "nullable": True,
    }
    assert enclave.server()("GET", "catalog")["datasets"] == []
    answer = {
        "columns": {
            "mail": {"verdict": "change", "tags": ["direct-identifier", "sensitive"]},
            "note": {"verdict": "refuse"},
        },
        "label": "confidential",
        "comment": "The notes hold no names.",
    }
    decided = steward("POST", DECISION, answer)
    assert (decided["state"], decided["label"], decided["decided"]["by"]) == ("active", "confidential", "user:steward")
    signed = enclave.claims(enclave.vault.published["health/visits", 1])["manifest"]
    assert signed["label"] == "confidential"
    assert {column["name"]: column["tags"] for column in signed["columns"]} == {
        "mail": ["direct-identifier", "sensitive"],
        "age": ["quasi-identifier"],
        "n": [],
        "note": [],
    }
    (entry,) = enclave.entries("control:dataset:decide")
    assert (entry["actor"], entry["object"], entry["label"]) == ("user:steward", "health/visits@1", "confidential")
    assert entry["detail"] == {
        "accept": [],
        "change": ["mail"],
        "refuse": ["note"],
        "tags": {"mail": ["direct-identifier", "sensitive"]},
        "drafted": "internal",
        "proposed": "confidential",
    }
    assert "names" not in str(entry["detail"])  # the comment is kept encrypted beside the log
    (listed,) = enclave.server()("GET", "catalog")["datasets"]
    assert listed["label"] == "confidential"
    assert steward("GET", "drafts")["drafts"] == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "nothing was decided on mail, note"),
        ({"columns": {"mail": {"verdict": "accept"}}}, "nothing was decided on note"),
        ({"columns": {**everything()["columns"], "age": {"verdict": "accept"}}}, "nothing is open about age"),
        ({"columns": {**everything()["columns"], "mail": {"verdict": "accept", "tags": ["x"]}}}, "tags are given only"),
        (everything(label="top"), "no such label"),
        (
            {"columns": {**everything()["columns"], "mail": {"verdict": "change", "tags": ["direct-identifer"]}}},
            "did you mean",
        ),
    ],
)
def test_a_decision_that_leaves_something_open_is_refused(enclave: Enclave, answer: dict[str, Any], words: str) -> None:
    load(enclave)
    problem = refused(enclave.person("steward"), "POST", DECISION, answer)
    assert problem.status == 422
    assert words in " ".join(problem.why)
    assert enclave.entries("control:dataset:decide") == []
    assert enclave.vault.published == {}


def test_who_is_no_steward_sees_no_draft_and_decides_on_none(enclave: Enclave) -> None:
    load(enclave)
    for user in ("analyst", "admin", "auditor"):
        person = enclave.person(user)
        assert person("GET", "drafts")["drafts"] == []
        for method, path, body in (
            ("GET", "datasets/health/visits", None),
            ("GET", "datasets/health/visits/1", None),
            ("POST", DECISION, everything()),
            ("POST", "datasets/health/visits/1/release", {}),
            ("POST", "datasets/health/visits/1/retire", {"why": "x"}),
            ("POST", "datasets/health/visits/1/relabel", {"label": "public", "why": "x"}),
        ):
            assert refused(person, method, path, body).status == 404
    assert enclave.operator("GET", "datasets")["datasets"][0]["state"] == "loaded"


def test_a_receipt_is_believed_only_for_its_own_draft_and_from_the_vault(enclave: Enclave) -> None:
    enclave.operator("POST", "datasets", ABOUT)
    path = "datasets/health/visits/1/loaded"
    other = enclave.vault.taken_in("health/visits", 2, MANIFEST, REPORT)
    good = enclave.vault.taken_in("health/visits", 1, MANIFEST, REPORT)
    staged = enclave.vault.stage(_ticket(), b"x")
    for receipt in (other, staged, good[:-4] + "AAAA", "rubbish"):
        assert refused(enclave.operator, "POST", path, {"receipt": receipt}).slug == "bad-receipt"
    wrong = enclave.vault.taken_in("health/visits", 1, {**MANIFEST, "dataset": "health/other"}, REPORT)
    assert refused(enclave.operator, "POST", path, {"receipt": wrong}).status == 422
    enclave.operator("POST", path, {"receipt": good})
    assert refused(enclave.operator, "POST", path, {"receipt": good}).status == 409


def _ticket() -> str:
    import jwt  # noqa: PLC0415 - for this one token

    return jwt.encode({"export": "e", "index": 0, "name": "a.csv"}, "x" * 32, algorithm="HS256")


def test_a_vault_that_is_down_at_the_release_loses_no_decision(enclave: Enclave) -> None:
    load(enclave)
    steward = enclave.person("steward")
    enclave.vault.down = True
    assert refused(steward, "POST", DECISION, everything()).status == 503
    assert steward("GET", "datasets/health/visits/1")["state"] == "signed"
    enclave.vault.down = False
    assert steward("POST", "datasets/health/visits/1/release", {})["state"] == "active"
    assert refused(steward, "POST", "datasets/health/visits/1/release", {}).status == 409


def test_the_operator_takes_all_as_proposed(enclave: Enclave) -> None:
    load(enclave)
    enclave.operator("POST", DECISION, {"decision": None})
    found = enclave.operator("GET", "datasets/health/visits/latest")
    assert (found["label"], found["decided"]["accept"]) == ("confidential", ["mail", "note"])
    assert [column["tags"] for column in found["columns"]] == [
        ["direct-identifier"],
        ["quasi-identifier"],
        [],
        ["sensitive"],
    ]


def test_files_that_are_no_table_have_nothing_to_decide(enclave: Enclave) -> None:
    enclave.operator("POST", "datasets", {**ABOUT, "columns": {}, "format": "files"})
    manifest = {**MANIFEST, "kind": "files", "columns": [], "rows": 0, "files": [{"name": "model.onnx"}]}
    receipt = enclave.vault.taken_in("health/visits", 1, manifest, None)
    waiting = enclave.operator("POST", "datasets/health/visits/1/loaded", {"receipt": receipt})
    assert (waiting["undecided"], waiting["raises_label"]) == ([], False)
    enclave.operator("POST", DECISION, {"decision": None})
    assert enclave.operator("GET", "datasets/health/visits/1")["columns"][0]["type"] == "File"


def test_a_profile_reaches_who_may_discover_and_shrinks_when_the_label_rises(enclave: Enclave) -> None:
    enclave.project()
    load(enclave)
    enclave.person("steward")("POST", DECISION, everything(label="confidential"))
    server = enclave.server()
    told = server("GET", "catalog/health/visits/profile")
    assert told["profile"] == REPORT["profile"]
    assert told["quality"] == {"checks": 1, "passed": 0, "failed": None}  # which one, and where, tells of an extreme
    assert refused(server, "GET", "catalog/health/none/profile").status == 404
    enclave.person("steward")(
        "POST", "datasets/health/visits/1/relabel", {"label": "secret", "why": "It names people."}
    )
    # secret data is not known to who is not cleared, and hardly anything is told of it to who is
    assert refused(server, "GET", "catalog/health/visits/profile").status == 404
    shown = enclave.person("steward")("GET", "datasets/health/visits/1")["profile"]
    assert shown == {"label": "secret", "columns": {"n": {"missing": 0.1}}}


def test_checks_that_failed_are_told_up_to_internal_only() -> None:
    for label in ("public", "internal"):
        told = findings.shown_quality(REPORT, label)
        assert told is not None
        assert told["failed"][0]["text"] == "unique 'mail': 2 value(s) are not, in rows 3, 4"
    for label in ("confidential", "secret"):
        assert findings.shown_quality(REPORT, label) == {"checks": 1, "passed": 0, "failed": None}
    assert findings.shown_quality({**REPORT, "quality": []}, "public") is None


def test_the_profile_of_a_version_is_told_to_who_may_know_of_that_version(enclave: Enclave) -> None:
    enclave.project()
    load(enclave)
    enclave.person("steward")("POST", DECISION, everything(label="confidential"))
    enclave.dataset("health/visits", "internal")
    enclave.person("steward")(
        "POST", "datasets/health/visits/1/relabel", {"label": "secret", "why": "It names people."}
    )
    server = enclave.server()
    assert server("GET", "catalog/health/visits/profile")["version"] == 2
    assert refused(server, "GET", "catalog/health/visits/profile?version=1").status == 404


def test_two_versions_side_by_side(enclave: Enclave) -> None:
    load(enclave)
    steward = enclave.person("steward")
    steward("POST", DECISION, everything(label="confidential"))
    columns = {"n": {"missing": 0.4, "different": 7}}
    enclave.operator("POST", "datasets", {**ABOUT, "columns": {"age": {"tags": []}}})
    manifest = {
        **MANIFEST,
        "version": 2,
        "rows": 5,
        "columns": [{"name": "n", "type": "Int64"}, {"name": "age", "type": "String"}],
    }
    report = {**REPORT, "told": {}, "proposals": {**REPORT["proposals"], "columns": {}}}
    report["profile"] = {"label": "confidential", "columns": columns}
    receipt = enclave.vault.taken_in("health/visits", 2, manifest, report)
    enclave.operator("POST", "datasets/health/visits/2/loaded", {"receipt": receipt})
    enclave.operator("POST", "datasets/health/visits/2/decision", {"decision": {"label": "confidential"}})
    found = steward("GET", "datasets/health/visits/diff", before=1)
    assert (found["added"], found["removed"]) == ([], ["mail", "note"])
    assert found["before"] == {"version": 1, "label": "confidential", "rows": 3}
    assert found["after"] == {"version": 2, "label": "confidential", "rows": 5}
    assert found["missing"] == [{"name": "n", "before": 0.12, "after": 0.4}]
    fields = {one["name"]: one["fields"] for one in found["changed"]}
    assert fields == {"n": ["type", "unit", "codes", "description"], "age": ["tags", "description"]}
