from __future__ import annotations

import hashlib
import json

import pytest
from enclave import Enclave
from strongroom_hub.catalog import rules
from strongroom_hub.catalog.models import VersionState
from strongroom_hub.problems import Problem

NEW = {
    "name": "health/new",
    "title": "New",
    "label": "internal",
    "owner": "steward",
    "stewards": ["steward"],
    "columns": {"a": "the a"},
}
MANIFEST = {
    "format": "strongroom-manifest/2",
    "dataset": "health/new",
    "version": 1,
    "kind": "table",
    "label": "internal",
    "rows": 3,
    "columns": [{"name": "a", "type": "Int64"}, {"name": "b", "type": "String"}],
    "parts": [],
}


def refused(call, *arguments) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize("state", VersionState)
@pytest.mark.parametrize("to", VersionState)
def test_a_version_goes_forward_only(state: VersionState, to: VersionState) -> None:
    later = list(VersionState)[list(VersionState).index(state) + 1 :]
    skipped = {(VersionState.DRAFT, VersionState.ACTIVE), (VersionState.LOADED, VersionState.ACTIVE)}
    seen = {VersionState.ACTIVE, VersionState.RETIRED}
    skipped |= {(one, VersionState.ABANDONED) for one in seen}
    forward = {
        (state, one) for one in later if one is not VersionState.RETIRED or state is VersionState.ACTIVE
    } - skipped
    assert rules.can_transition(state, to) is ((state, to) in forward)


def test_draft_sign_activate(enclave: Enclave) -> None:
    enclave.project()
    server = enclave.server()
    made = enclave.operator("POST", "datasets", NEW)
    claims = enclave.claims(made["ticket"])
    assert (claims["act"], claims["dataset"], claims["version"], claims["label"], claims["format"]) == (
        "ingest",
        "health/new",
        1,
        "internal",
        "csv",
    )
    assert server("GET", "catalog")["datasets"] == []  # a draft is not visible
    enclave.vault.down = True
    assert refused(enclave.fill, MANIFEST).status == 503
    assert server("GET", "catalog")["datasets"] == []  # nor is what is signed, until the vault has it
    enclave.vault.down = False
    enclave.operator("POST", "datasets/health/new/1/release")
    jws = enclave.vault.published["health/new", 1]
    signed = enclave.claims(jws)
    assert signed["act"] == "manifest"
    decided = [{**column, "tags": []} for column in MANIFEST["columns"]]
    assert signed["manifest"] == MANIFEST | {"columns": decided, "sources": []}
    (listed,) = enclave.operator("GET", "datasets")["datasets"]
    assert listed["manifest"] == hashlib.sha256(jws.encode()).hexdigest()
    assert "exp" not in signed
    (listed,) = server("GET", "catalog")["datasets"]
    assert [(c["name"], c["type"], c["description"]) for c in listed["columns"]] == [
        ("a", "Int64", "the a"),
        ("b", "String", ""),
    ]
    assert listed["rows"] == 3
    assert refused(enclave.fill, MANIFEST).status == 409


def test_the_operator_s_own_word_for_what_the_vault_holds_is_not_taken(enclave: Enclave) -> None:
    enclave.operator("POST", "datasets", NEW)
    path = "datasets/health/new/1"
    assert refused(enclave.operator, "POST", f"{path}/publish", {"manifest": MANIFEST}).status == 404
    assert refused(enclave.operator, "POST", f"{path}/activate").status == 404
    assert refused(enclave.operator, "POST", f"{path}/loaded", {"manifest": MANIFEST}).status == 422
    assert refused(enclave.operator, "POST", f"{path}/loaded", {"receipt": json.dumps(MANIFEST)}).slug == "bad-receipt"
    assert refused(enclave.operator, "POST", f"{path}/decision", {"decision": None}).slug == "wrong-state"
    assert refused(enclave.operator, "POST", f"{path}/release").slug == "wrong-state"
    assert [one["state"] for one in enclave.operator("GET", "datasets")["datasets"]] == ["draft"]


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "health/other"},
        {"version": 2},
        {"label": "public"},
        {"format": "other"},
        {"rows": -1},
        {"rows": True},
        {"columns": []},
        {"columns": [{"name": "a", "type": "Int64"}, {"name": "a", "type": "Int64"}]},
        {"columns": [{"name": "b", "type": "Int64"}]},
    ],
)
def test_a_manifest_must_be_about_the_draft(enclave: Enclave, change: dict) -> None:
    enclave.operator("POST", "datasets", NEW)
    receipt = enclave.vault.taken_in("health/new", 1, MANIFEST | change, None)
    problem = refused(enclave.operator, "POST", "datasets/health/new/1/loaded", {"receipt": receipt})
    assert problem.status == 422
    assert problem.why


@pytest.mark.parametrize(
    "change",
    [
        {"name": "nonamespace"},
        {"name": "../up/x"},
        {"name": "Health/X"},
        {"label": "top-secret"},
        {"stewards": []},
        {"columns": {"a": {"description": "", "tags": ["Not A Tag"]}}},
        {"columns": {"a": {"description": "", "tags": ["direct-identifer"]}}},
    ],
)
def test_unfit_drafts_are_refused(enclave: Enclave, change: dict) -> None:
    assert refused(enclave.operator, "POST", "datasets", NEW | change).status == 422


def test_a_new_version_changes_the_description_only_once_active(cardio: Enclave) -> None:
    server = cardio.server()
    draft = {**NEW, "name": "health/randhie", "title": "Changed", "columns": None}
    assert cardio.operator("POST", "datasets", draft)["version"] == 2
    assert server("GET", "catalog")["datasets"][0]["title"] == "Health/Randhie"
    states = cardio.operator("GET", "datasets")["datasets"]
    assert [(one["version"], one["state"]) for one in states] == [(2, "draft"), (1, "active")]


ABOUT = {
    **NEW,
    "legal_basis": "Consent",
    "retention": {"days": 10, "then": "retire"},
    "consent_column": "b",
    "contact": "data@example.org",
    "sources": ["health/randhie@1"],
    "columns": {"a": {"description": "the a", "unit": "mm", "codes": {"1": "yes"}, "tags": [], "nullable": False}},
}


def test_what_is_told_about_a_dataset_reaches_servers_and_console(enclave: Enclave) -> None:
    enclave.project()
    enclave.operator("POST", "datasets", ABOUT)
    enclave.fill(MANIFEST)
    (listed,) = enclave.server()("GET", "catalog")["datasets"]
    (shown,) = enclave.person("steward")("GET", "datasets")["datasets"]
    for one in (listed, shown):
        assert (one["legal_basis"], one["consent_column"], one["contact"]) == ("Consent", "b", "data@example.org")
        assert one["retention"] == {"until": None, "days": 10, "then": "retire"}
        assert one["retained_until"] == "2026-12-01T05:00:00.000Z"
        assert one["sources"] == ["health/randhie@1"]
        assert one["columns"][0] == {
            "name": "a",
            "type": "Int64",
            "description": "the a",
            "tags": [],
            "unit": "mm",
            "codes": {"1": "yes"},
            "nullable": False,
        }


@pytest.mark.parametrize(
    "change",
    [
        {"retention": {"then": "retire"}},
        {"retention": {"days": 10, "until": "2030-01-01"}},
        {"colour": "blue"},
        {"columns": {"a": {"unit": 5}}},
        {"checks": [{"kind": "range", "columns": ["a"]}]},
        {"sources": ["nowhere"]},
        {"title": ""},
    ],
)
def test_what_cannot_be_told_is_refused_at_the_door(enclave: Enclave, change: dict) -> None:
    assert refused(enclave.operator, "POST", "datasets", ABOUT | change).status == 422
    assert enclave.operator("GET", "datasets")["datasets"] == []


def test_files_are_granted_and_read_one_by_one(enclave: Enclave) -> None:
    enclave.project()
    enclave.operator("POST", "datasets", {**NEW, "label": "public", "columns": None, "format": "files"})
    files = [{"name": name, "length": 3} for name in ("net.skops", "notes (1).txt")]
    manifest = {**MANIFEST, "label": "public", "kind": "files", "rows": 0, "columns": [], "files": files}
    enclave.fill(manifest)
    signed = enclave.claims(enclave.vault.published["health/new", 1])["manifest"]
    assert [file["tags"] for file in signed["files"]] == [[], []]
    server = enclave.server()
    (listed,) = server("GET", "catalog")["datasets"]
    assert [(column["name"], column["type"]) for column in listed["columns"]] == [
        ("net.skops", "File"),
        ("notes (1).txt", "File"),
    ]
    assert listed["rows"] is None
    kernel = enclave.kernel(server)
    problem = refused(lambda: enclave.read(server, kernel, "health/new"))
    assert (problem.status, problem.slug) == (422, "files-one-by-one")
    assert 'strongroom.files("health/new")' in problem.next
    given = enclave.read(server, kernel, "health/new", columns=["notes (1).txt"])
    assert enclave.claims(given["ticket"])["columns"] == ["notes (1).txt"]


def test_a_file_that_is_owed_a_mask_is_not_read(enclave: Enclave) -> None:
    enclave.project()
    columns = [{"name": "net.skops", "description": "", "tags": ["direct-identifier"]}]
    enclave.operator("POST", "datasets", {**NEW, "columns": columns, "format": "files"})
    manifest = {**MANIFEST, "kind": "files", "rows": 0, "columns": [], "files": [{"name": "net.skops"}]}
    enclave.fill(manifest)
    server = enclave.server()
    enclave.grant(server, "health/new")
    problem = refused(lambda: enclave.read(server, enclave.kernel(server), "health/new"))
    assert (problem.status, problem.slug) == (403, "not-carried-out")
