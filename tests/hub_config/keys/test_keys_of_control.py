from __future__ import annotations

from typing import Any

import pytest
from enclave import Enclave
from strongroom_hub.keys import rules
from strongroom_hub.keys.rules import ShredState
from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict

WISH = {"dataset": "health/randhie", "version": 1, "columns": ["age"], "why": "The consent was withdrawn."}


def refused(call: Any, *arguments: Any, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def entries(enclave: Enclave, action: str) -> list[dict[str, Any]]:
    return sorted(enclave.entries(action), key=lambda entry: entry["index"])


def test_two_people_shred_a_column_and_readers_are_told(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    assert "age" in cardio.read(server, kernel)["columns"]
    asked = cardio.person("steward")("POST", "shreds", WISH)
    assert (asked["state"], asked["asked_by"]) == ("open", "user:steward")
    path = f"shreds/{asked['id']}/decision"
    problem = refused(cardio.person("steward"), "POST", path, {"verdict": "approve"})
    assert (problem.status, problem.slug) == (403, "two-people")
    assert "age" in cardio.read(server, kernel)["columns"]
    done = cardio.person("admin")("POST", path, {"verdict": "approve"})
    assert (done["state"], done["decided_by"]) == ("done", "user:admin")
    (order,) = cardio.vault.orders
    assert {name: order[name] for name in ("operation", "dataset", "version", "columns", "asked_by", "agreed_by")} == {
        "operation": "shred",
        "dataset": "health/randhie",
        "version": 1,
        "columns": ["age"],
        "asked_by": "user:steward",
        "agreed_by": "user:admin",
    }
    assert order["entry"] == done["decided_entry"]
    problem = refused(cardio.read, server, kernel, columns=["age"])
    assert (problem.status, problem.slug) == (410, "shredded")
    assert f"agreed to by user:admin, entry {done['decided_entry']}" in problem.detail
    assert "age" not in cardio.read(server, kernel)["columns"]
    assert [entry["detail"]["stage"] for entry in entries(cardio, "control:key:shred")] == ["asked", "approve", "done"]
    last = entries(cardio, "control:key:shred")[2]["detail"]
    assert last["removed"] == ["table:age"]
    assert done["proof"] == {"removed": ["table:age"], "order": last["order"]}
    assert (asked["proof"], asked["may"]) == (None, {"decide": False, "withdraw": True})
    assert done["may"] == {"decide": False, "withdraw": False}
    assert refused(cardio.person("admin"), "POST", path, {"verdict": "approve"}).slug == "shred-decided"


def test_a_whole_version_can_go(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    asked = cardio.operator("POST", "keys/shreds", WISH | {"columns": None})
    path = f"shreds/{asked['id']}/decision"
    assert refused(cardio.operator, "POST", f"keys/{path}", {"verdict": "approve"}).slug == "two-people"
    cardio.person("steward")("POST", path, {"verdict": "approve"})
    assert refused(cardio.read, server, kernel).slug == "shredded"


def test_while_the_vault_is_away_nothing_of_it_is_read_and_approving_again_ends_it(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    asked = cardio.person("steward")("POST", "shreds", WISH)
    path = f"shreds/{asked['id']}/decision"
    cardio.vault.down = True
    assert refused(cardio.person("admin"), "POST", path, {"verdict": "approve"}).status == 503
    assert refused(cardio.read, server, kernel, columns=["age"]).slug == "shredded"
    cardio.vault.down = False
    assert cardio.person("admin")("POST", path, {"verdict": "approve"})["state"] == "done"
    assert len(cardio.vault.orders) == 1


def test_only_who_looks_after_a_dataset_may_ask_or_decide(cardio: Enclave) -> None:
    for person in ("analyst", "auditor"):
        assert refused(cardio.person(person), "POST", "shreds", WISH).status == 403
    asked = cardio.person("steward")("POST", "shreds", WISH)
    assert (
        refused(cardio.person("analyst"), "POST", f"shreds/{asked['id']}/decision", {"verdict": "approve"}).status
        == 403
    )
    assert cardio.person("analyst")("GET", "shreds") == {"shreds": []}
    assert [one["id"] for one in cardio.person("steward")("GET", "shreds")["shreds"]] == [asked["id"]]
    assert (
        cardio.person("steward")("POST", f"shreds/{asked['id']}/decision", {"verdict": "withdraw"})["state"]
        == "withdrawn"
    )


@pytest.mark.parametrize(
    "change", [{"why": "short"}, {"columns": ["other"]}, {"columns": []}, {"columns": ["age", "age"]}]
)
def test_a_wish_that_makes_no_sense_is_refused(cardio: Enclave, change: dict[str, Any]) -> None:
    assert refused(cardio.person("steward"), "POST", "shreds", WISH | change).status == 422


@pytest.mark.parametrize("state", ShredState)
@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("decider", ["a", "b"])
def test_the_life_of_a_shredding(state: ShredState, verdict: Verdict, decider: str) -> None:
    """`a` asked for it."""
    open_one = state is ShredState.OPEN and (verdict is Verdict.WITHDRAW) == (decider == "a")
    again = state is ShredState.APPROVED and verdict is Verdict.APPROVE and decider == "b"
    assert rules.can_decide(state, "a", decider, verdict) == (open_one or again)
    if open_one or again:
        rules.check_decision(state, "a", decider, verdict)
    else:
        assert refused(rules.check_decision, state, "a", decider, verdict).status in {403, 409}


def test_orders_about_the_master_key_are_entries_before_and_after(enclave: Enclave) -> None:
    assert enclave.operator("GET", "keys")["current"] == "local:1"
    assert enclave.operator("POST", "keys/rotate")["current"] == "local:2"
    assert enclave.operator("POST", "keys/rekey", {})["exchanged"] == 3
    enclave.operator("POST", "keys/destroy", {"generation": "local:1"})
    enclave.vault.down = True
    assert refused(enclave.operator, "POST", "keys/rotate").status == 503
    assert [order["operation"] for order in enclave.vault.orders] == ["status", "rotate", "rekey", "destroy"]
    told = {
        action: [e["detail"]["stage"] for e in entries(enclave, f"control:key:{action}")]
        for action in ("rotate", "rekey")
    }
    assert told == {"rotate": ["ordered", "done", "ordered", "failed"], "rekey": ["ordered", "done"]}
    (_, destroyed) = entries(enclave, "control:key:destroy")
    assert (destroyed["object"], destroyed["detail"]["generations"]) == ("local:1", ["local:2"])
