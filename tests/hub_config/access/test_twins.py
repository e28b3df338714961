"""Reading synthetic twins: by whoever may discover the dataset, without a grant, a label or a source."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from enclave import Caller, Enclave
from strongroom_hub.problems import Problem

NAME = "health/randhie"
COLUMNS = [{"name": name, "type": "Int64", "tags": []} for name in ("person_id", "age", "visits")]


@pytest.fixture
def twinned(enclave: Enclave) -> Enclave:
    """Project cardio and a confidential dataset, of whose version the vault says that it has a twin."""
    enclave.project()
    enclave.dataset(NAME, companions={"synthetic": {"rows": 50, "columns": COLUMNS, "parts": []}})
    return enclave


def twin(server: Caller, kernel: str, **more: Any) -> Any:
    return server("POST", "reads", {"kernel": kernel, "cell": 0, "dataset": NAME, "synthetic": True, **more})


def refused(call: Any, *arguments: Any, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def test_who_may_discover_reads_the_twin_and_nothing_rises(twinned: Enclave) -> None:
    server = twinned.server()
    kernel = twinned.kernel(server)
    assert refused(twinned.read, server, kernel, NAME).slug in {"no-grant", "not-cleared"}
    answer = twin(server, kernel)
    assert (answer["synthetic"], answer["label"], answer["workspace_label"]) == (True, "public", "public")
    assert answer["sources"] == []
    assert answer["columns"] == ["person_id", "age", "visits"]
    claims = jwt.decode(answer["ticket"], options={"verify_signature": False})
    assert (claims["group"], claims["label"], claims["columns"]) == ("synthetic", "public", answer["columns"])
    entry = twinned.entries("control:read:allow")[-1]
    assert (entry["index"], entry["label"]) == (answer["entry"], "public")
    assert entry["detail"]["synthetic"] is True
    assert server("GET", "display")["display"]["allowed"]
    assert server("GET", "session")["label"] == "public"


def test_the_catalogue_says_whether_there_is_one(twinned: Enclave) -> None:
    twinned.dataset("health/other")
    server = twinned.server()
    told = {one["name"]: one["synthetic"] for one in server("GET", "catalog")["datasets"]}
    assert told == {NAME: True, "health/other": False}
    kernel = twinned.kernel(server)
    problem = refused(twin, server, kernel, dataset="health/other")
    assert (problem.status, problem.slug) == (404, "no-twin")


def test_who_may_not_discover_is_told_of_no_dataset(twinned: Enclave) -> None:
    twinned.add_policy('\np, X1, user:analyst, discover, health/**, *, , , deny, "kept apart"\n')
    server = twinned.server()
    assert refused(twin, server, twinned.kernel(server)).slug == "unknown-dataset"
    assert twinned.entries("control:read:allow") == []
    assert twinned.entries("control:read:deny")[-1]["detail"]["problem"] == "unknown-dataset"


def test_a_steward_withholds_it_and_lets_it_be_read_again(twinned: Enclave) -> None:
    server = twinned.server()
    kernel = twinned.kernel(server)
    steward = twinned.person("steward")
    steward("PUT", f"datasets/{NAME}/synthetic", {"allowed": False})
    assert refused(twin, server, kernel).slug == "twin-withheld"
    assert not server("GET", "catalog")["datasets"][0]["synthetic"]
    twinned.operator("PUT", f"datasets/{NAME}/synthetic", {"allowed": True})
    assert twin(server, kernel)["synthetic"]
    actors = [(one["actor"], one["detail"]["allowed"]) for one in twinned.entries("control:dataset:twin")]
    assert actors == [("user:steward", False), ("operator", True)]


def test_of_secret_data_there_is_none_until_a_steward_opens_it(enclave: Enclave) -> None:
    enclave.project()
    enclave.dataset(NAME, "secret", companions={"synthetic": {"rows": 50, "columns": COLUMNS, "parts": []}})
    enclave.add_policy('\np, X1, user:analyst, discover, health/**, *, , , allow, "may know of it"\n')
    server = enclave.server()
    kernel = enclave.kernel(server)
    assert refused(twin, server, kernel).slug == "twin-withheld"
    assert not server("GET", "catalog")["datasets"][0]["synthetic"]
    enclave.person("steward")("PUT", f"datasets/{NAME}/synthetic", {"allowed": True})
    assert twin(server, kernel)["synthetic"]


def test_the_page_of_the_dataset_tells_stewards_of_it(twinned: Enclave) -> None:
    steward = twinned.person("steward")
    told = steward("GET", f"datasets/{NAME}")["twin"]
    assert told.pop("made").startswith("2026-11-21T")
    assert told == {"version": 1, "rows": 50, "why": "", "allowed": True, "decided": False, "may_decide": True}
    after = steward("PUT", f"datasets/{NAME}/synthetic", {"allowed": False})["twin"]
    assert (after["allowed"], after["decided"]) == (False, True)
    twinned.dataset("health/other")
    other = steward("GET", "datasets/health/other")["twin"]
    assert (other["rows"], other["made"]) == (None, None)
    assert "There is no synthetic twin" in other["why"]


def test_only_stewards_have_a_say(twinned: Enclave) -> None:
    for name in ("analyst", "auditor"):
        problem = refused(twinned.person(name), "PUT", f"datasets/{NAME}/synthetic", {"allowed": False})
        assert problem.status == 404
    assert twinned.entries("control:dataset:twin") == []


def test_columns_that_are_not_there_are_a_question_without_sense(twinned: Enclave) -> None:
    server = twinned.server()
    assert refused(twin, server, twinned.kernel(server), columns=["nope"]).status == 422


def test_what_if_leaves_readings_of_twins_alone(twinned: Enclave) -> None:
    server = twinned.server()
    twin(server, twinned.kernel(server))
    answer = twinned.operator("POST", "policy/what-if", {"files": None, "last": 10})
    assert answer["changes"] == []
