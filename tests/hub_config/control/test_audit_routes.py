from __future__ import annotations

import base64
import json

import pytest
from desk import export, reading
from enclave import Enclave
from strongroom_hub.problems import Problem


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


@pytest.fixture
def day(cardio: Enclave) -> Enclave:
    server, kernel = reading(cardio)
    server.begin(kernel=kernel, kind="execute", code="secret code")
    export(cardio, server)
    other = cardio.server("analyst2")
    other_kernel = cardio.kernel(other)
    other.begin(kernel=other_kernel, kind="execute", code="theirs")
    return cardio


def everything(enclave: Enclave, user: str, **query: object) -> list[dict]:
    person, found, before = enclave.person(user), [], None
    while True:
        more = {} if before is None else {"before": before}
        page = person("GET", "audit/entries", limit=7, **query, **more)
        found += page["entries"]
        before = page["next"]
        if before is None:
            return found


def test_an_auditor_sees_all_page_by_page(day: Enclave) -> None:
    size = len(day.entries())
    found = everything(day, "auditor")
    first = [entry["index"] for entry in found if entry["index"] < size]
    assert first == list(range(size - 1, -1, -1))


def test_an_analyst_sees_their_own(day: Enclave) -> None:
    assert {entry["actor"] for entry in everything(day, "analyst")} == {"user:analyst"}
    assert everything(day, "stranger")[-1]["action"] == "control:log:read"  # only their own reading of it


def test_a_steward_sees_what_came_of_their_datasets(day: Enclave) -> None:
    found = everything(day, "steward")
    assert {"control:read:allow", "control:export:submit", "server:cell:begin"} <= {one["action"] for one in found}
    assert not any(one["actor"] == "user:analyst2" for one in found)


def test_filters(day: Enclave) -> None:
    found = everything(day, "auditor", action="server:cell:begin", actor="user:analyst2")
    assert [entry["actor"] for entry in found] == ["user:analyst2"]


def test_payloads_are_for_auditors_and_their_authors(day: Enclave) -> None:
    index = day.entries("server:cell:begin")[0]["index"]
    for user in ("auditor", "analyst"):
        shown = day.person(user)("GET", f"audit/entries/{index}")
        leaf = json.loads(base64.b64decode(shown["proof"]["leaf"]))
        # the browser compares what it shows with the leaf, as JSON and so in this order
        assert json.dumps({name: shown[name] for name in leaf if name != "payload"}) == json.dumps(
            {name: leaf[name] for name in leaf if name != "payload"}
        )
        assert shown["payload"] == "secret code"
        assert shown["proof"]["index"] == index
    assert day.person("steward")("GET", f"audit/entries/{index}")["payload"] is None
    assert refused(day.person("analyst2"), "GET", f"audit/entries/{index}").status == 404
    assert refused(day.person("auditor"), "GET", "audit/entries/100000").status == 404


def test_reading_the_log_is_logged(day: Enclave) -> None:
    day.person("auditor")("GET", "audit/entries", object="health/randhie@1", limit=5)
    last = day.entries("control:log:read")[-1]
    assert last["actor"] == "user:auditor"
    assert last["detail"] == {"object": "health/randhie@1", "before": None, "limit": 5}


def test_the_checkpoint_is_the_signed_note(day: Enclave) -> None:
    raw = day.person("analyst").raw("GET", "audit/checkpoint")
    assert raw.headers["content-type"].startswith("text/plain")
    assert day.context.log_keys.open(raw.text).size == len(day.entries())


def test_a_server_shows_its_user_their_own_entries(day: Enclave) -> None:
    server = day.server()
    found = server("GET", "audit?limit=50")["entries"]
    assert {entry["actor"] for entry in found} == {"user:analyst"}
