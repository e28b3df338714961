from __future__ import annotations

import base64
import json

import pytest
from desk import export, reading
from enclave import Enclave
from strongroom_hub.audit import tree
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


def test_who_ran_a_cell_gets_the_proof_that_the_log_holds_it(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    began = server.begin(kernel=kernel, notebook="day.ipynb", cell="c1", kind="execute", code="1")
    then = cardio.context.log_keys.open(began["checkpoint"])
    server.end(began["entry"], withheld=123_456)
    told = server("GET", f"audit/entries/{began['entry']}?since={then.size}")
    proof, path = told["proof"], [base64.b64decode(node) for node in told["consistency"]]
    now = cardio.context.log_keys.open(proof["checkpoint"])
    leaf = base64.b64decode(proof["leaf"])
    assert (proof["index"], proof["size"]) == (began["entry"], now.size)
    hashes = [base64.b64decode(node) for node in proof["hashes"]]
    assert tree.verify_inclusion(began["entry"], now.size, tree.leaf_hash(leaf), hashes, now.root)
    assert tree.verify_consistency(then.size, now.size, then.root, now.root, path)
    assert json.loads(leaf)["detail"] == {"cell": "c1", "code_bytes": 1}
    assert "123456" not in json.dumps(told)
    # Asked without an earlier checkpoint, or with one that is ahead of the log, there is nothing to extend.
    for since in ("", f"?since={now.size + 100}"):
        assert server("GET", f"audit/entries/{began['entry']}{since}")["consistency"] == []
    read = cardio.entries("control:log:read")[0]
    assert (read["actor"], read["detail"]) == ("user:analyst", {"own": True, "entry": began["entry"]})


def test_no_proof_of_what_is_not_a_run_of_ones_own(cardio: Enclave) -> None:
    """Others' runs, runs in other projects, and ends, which hold what was withheld to the byte."""
    cardio.project("other")
    cardio.add_policy("g, user:analyst2, project:other\n")
    mine, theirs, elsewhere = cardio.server(), cardio.server("analyst2"), cardio.server("analyst2", "other")
    begun = {}
    for name, server in (("mine", mine), ("theirs", theirs), ("elsewhere", elsewhere)):
        begun[name] = server.begin(kernel=cardio.kernel(server), kind="execute", code="1")["entry"]
    completion = mine.begin(kernel=cardio.kernel(mine), kind="complete", code="pri")["entry"]
    end = mine.end(begun["mine"], withheld=123_456)
    reads = len(cardio.entries("control:log:read"))
    for server, index in (
        (mine, begun["theirs"]),
        (mine, end),
        (mine, completion),
        (mine, 0),
        (mine, 100_000),
        (theirs, begun["elsewhere"]),
        (elsewhere, begun["theirs"]),
    ):
        problem = refused(server, "GET", f"audit/entries/{index}")
        assert (problem.status, problem.slug) == (404, "unknown-entry"), index
        assert f"entry {index} of a cell" in problem.detail
    assert len(cardio.entries("control:log:read")) == reads
    for caller in (cardio.operator, cardio.hub_caller):
        assert refused(caller, "GET", f"audit/entries/{begun['mine']}").status == 401
    for since in ("0", "-1", "x"):
        assert refused(mine, "GET", f"audit/entries/{begun['mine']}?since={since}").status == 422


def test_a_server_shows_its_user_their_own_entries(day: Enclave) -> None:
    server = day.server()
    found = server("GET", "audit?limit=50")["entries"]
    assert {entry["actor"] for entry in found} == {"user:analyst"}
