"""What the log tells of a kernel's doings to the author of its code: no more than pages are told."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from desk import draft, export, reading, vote
from enclave import Caller, Enclave
from strongroom_hub.audit.entries import Action
from strongroom_hub.audit.reach import NAMED_BY_CODE, TOLD, UNLABELLED
from strongroom_hub.problems import Problem

FREE = {
    "hub:user:login", "hub:user:refuse-login", "hub:user:logout", "hub:user:groups", "hub:server:spawn",
    "hub:server:stop", "hub:server:refuse-spawn", "hub:machine:check", "server:kernel:start", "server:cell:begin",
    "server:completion:request", "server:inspection:request", "server:comm:message", "server:input:reply",
    "server:file:save", "server:display:show", "control:label:raise", "control:access-request:submit",
    "control:access-request:approve", "control:access-request:deny", "control:access-request:withdraw",
    "control:grant:create", "control:grant:revoke", "control:grant:expire", "control:export:approve",
    "control:export:reject", "control:export:withdraw", "control:export:release", "control:export:download",
    "control:export:void", "control:policy:activate", "control:policy:refuse", "control:policy:propose",
    "control:policy:reject", "control:policy:withdraw", "control:dataset:twin", "control:dataset:draft",
    "control:dataset:load", "control:dataset:decide", "control:dataset:retire", "control:dataset:relabel",
    "control:key:rotate", "control:key:rekey", "control:key:destroy", "control:key:shred", "control:account:create",
    "control:training:record", "control:project:create", "control:log:read", "control:erasure:request",
    "control:erasure:reject", "control:erasure:withdraw", "control:erasure:carry-out", "control:witness:alarm",
    "control:witness:settle", "control:system:start", "control:system:stop", "control:token:reidentify",
    "control:vault:start", "control:dataset:abandon",
}  # fmt: skip
"""Actions in whose entries code in a kernel has no say: a new action belongs here, or into `TOLD`."""


def test_of_every_action_it_is_decided_whether_code_has_a_say_in_its_entries() -> None:
    assert {str(action) for action in Action} == FREE | set(TOLD)
    assert not FREE & set(TOLD)
    assert set(TOLD) >= NAMED_BY_CODE | UNLABELLED


@pytest.fixture
def desk(cardio: Enclave) -> tuple[Enclave, Caller, str]:
    server, kernel = reading(cardio)
    return cardio, server, kernel


def end_of_cell(server: Caller, kernel: str, choice: int) -> int:
    begin = server.begin(kernel=kernel, kind="execute", notebook="day.ipynb", code="same code")["entry"]
    return server.end(begin, withheld=choice, duration_ms=choice)


def violation(server: Caller, kernel: str, choice: int, kind: str = "syscall") -> int:
    body = {"kernel": kernel, "kind": kind, "counts": {"socket": choice}, "text": f"chosen {choice}"}
    return int(server("POST", "violations", body)["entry"])


def limit(server: Caller, kernel: str, choice: int) -> int:
    return violation(server, kernel, choice, "limit")


def stop(server: Caller, kernel: str, choice: int) -> int:
    return int(server("DELETE", f"kernels/{kernel}", {"reason": f"died: exit status {choice}"})["entry"])


def refused_read(server: Caller, kernel: str, choice: int) -> int:
    with pytest.raises(Problem):
        server("POST", "reads", {"kernel": kernel, "cell": 0, "dataset": f"health/chosen{choice}", "columns": ["x"]})
    return -1


def refused_save(server: Caller, kernel: str, choice: int) -> int:
    body = {"kernel": kernel, "cell": 0, "dataset": f"other/chosen{choice}", "quiet": True, "sha256": "a" * 64}
    with pytest.raises(Problem):
        server("POST", "saves", body | {"bytes": choice})
    return -1


def drafted(server: Caller, kernel: str, choice: int) -> int:
    draft(server, {"table.csv": b"x" * choice})
    return -1


CHOICES: dict[str, Callable[[Caller, str, int], int]] = {
    "server:cell:end": end_of_cell,
    "server:kernel:violation": violation,
    "server:kernel:limit": limit,
    "server:kernel:stop": stop,
    "control:read:deny": refused_read,
    "control:dataset:refuse-save": refused_save,
    "control:export:draft": drafted,
}
IDENTITY = {"index", "kernel", "time", "proof", "payload_reference", "payload", "payload_state", "erased"}
"""What is no choice of code, or a random number."""


def seen(enclave: Enclave, user: str, index: int) -> dict[str, Any]:
    found: dict[str, Any] = enclave.person(user)("GET", f"audit/entries/{index}")
    return found


@pytest.mark.parametrize("action", CHOICES)
def test_what_code_chose_is_not_in_what_its_author_sees(desk: tuple[Enclave, Caller, str], action: str) -> None:
    enclave, server, _ = desk
    told, whole = [], []
    for choice in (3, 70_000):
        CHOICES[action](server, enclave.kernel(server), choice)
        index = enclave.entries(action)[-1]["index"]
        (listed,) = enclave.person("analyst")("GET", "audit/entries", action=action, limit=1)["entries"]
        one = seen(enclave, "analyst", index)
        (own,) = [entry for entry in server("GET", "audit?limit=50")["entries"] if entry["index"] == index]
        for way in (listed, one, own):
            assert way["narrowed"] is True
            assert way["time"].endswith(".000Z")
            bare = {name: value for name, value in way.items() if name not in IDENTITY}
            if action == "control:export:draft":
                bare["object"] = ""  # a random number
            told.append({**bare, "detail": {**bare["detail"], "begin": None}})
        assert "leaf" not in one["proof"]
        whole.append(seen(enclave, "auditor", index))
    assert len({json.dumps(one) for one in told}) == 1
    assert whole[0]["detail"] != whole[1]["detail"] or whole[0]["object"] != whole[1]["object"]
    assert all("narrowed" not in one and "leaf" in one["proof"] for one in whole)


def test_a_reads_columns_and_further_reads_are_not_told(desk: tuple[Enclave, Caller, str]) -> None:
    enclave, server, kernel = desk
    for columns in (["age"], ["age", "visits"], ["visits"]):
        enclave.read(server, kernel, columns=columns)
    assert len(enclave.entries("control:read:allow")) == 4
    (first,) = enclave.person("analyst")("GET", "audit/entries", action="control:read:allow")["entries"]
    assert first["index"] == enclave.entries("control:read:allow")[0]["index"]
    assert set(first["detail"]) == {"cell", "policy", "rows"}
    further = enclave.entries("control:read:allow")[1]["index"]
    with pytest.raises(Problem) as refused:
        seen(enclave, "analyst", further)
    assert refused.value.status == 404
    assert seen(enclave, "steward", further)["detail"]["columns"] == ["age"]


def test_at_public_all_of_ones_own_is_told(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    for action in ("server:cell:end", "server:kernel:violation", "control:read:deny"):
        CHOICES[action](server, kernel, 5)
        index = cardio.entries(action)[-1]["index"]
        shown = seen(cardio, "analyst", index)
        assert "narrowed" not in shown
        assert json.loads(base64.b64decode(shown["proof"]["leaf"]))["detail"] == shown["detail"]


def test_what_is_left_out_finds_no_entry(desk: tuple[Enclave, Caller, str]) -> None:
    enclave, server, kernel = desk
    refused_read(server, kernel, 77)
    found = enclave.entries("control:read:deny")[-1]
    person = enclave.person("analyst")

    def indexes(**asked: str) -> list[int]:
        return [one["index"] for one in person("GET", "audit/entries", **asked)["entries"]]

    assert indexes(action="control:read:deny") == [found["index"]]
    assert indexes(action="control:read:deny", object="health/chosen77") == []
    # times are those of the second: not even by asking again and again is a finer one to be had
    end_of_cell(server, kernel, 5)
    end = enclave.entries("server:cell:end")[-1]
    second = end["time"][:19]
    for fraction in (".000Z", ".300Z", ".999Z"):
        assert end["index"] in indexes(action="server:cell:end", since=second + fraction)
        assert end["index"] not in indexes(action="server:cell:end", until=second + fraction)
    assert enclave.person("auditor")("GET", "audit/entries", until=end["time"], action="server:cell:end") == {
        "entries": [],
        "next": None,
        "size": len(enclave.entries()),
    }


@pytest.mark.parametrize("action", ["server:cell:end", "control:export:draft"])
def test_the_proof_of_a_narrowed_entry_is_by_its_hash_and_what_is_random_in_it_is_not_told(
    desk: tuple[Enclave, Caller, str], action: str
) -> None:
    enclave, server, kernel = desk
    CHOICES[action](server, kernel, 5)
    index = enclave.entries(action)[-1]["index"]
    mine, whole = seen(enclave, "analyst", index), seen(enclave, "auditor", index)
    leaf = base64.b64decode(whole["proof"]["leaf"])
    assert base64.b64decode(mine["proof"]["leaf_hash"]) == hashlib.sha256(b"\0" + leaf).digest()
    # with it one could try values until the hash fits
    said = json.loads(leaf)
    (random,) = {said.get("salt"), said.get("payload", {}).get("commitment")} - {None}
    listed = (server("GET", "audit?limit=50"), enclave.person("analyst")("GET", "audit/entries"))
    assert all(random not in json.dumps(told) for told in (mine, *listed))


def test_stewards_see_others_doings_whole_and_their_own_reviews_too(desk: tuple[Enclave, Caller, str]) -> None:
    enclave, server, kernel = desk
    index = end_of_cell(server, kernel, 5)
    assert seen(enclave, "steward", index)["detail"]["withheld"] == 5
    made = export(enclave, server)
    vote(enclave, "steward", made["id"])
    voted = seen(enclave, "steward", enclave.entries("control:export:vote")[0]["index"])
    assert voted["detail"]["binding"]
    assert "leaf" in voted["proof"]
    for earlier, later in pairwise(enclave.person("steward")("GET", "audit/entries", limit=50)["entries"]):
        assert earlier["index"] > later["index"]


def test_a_steward_who_is_an_analyst_sees_their_own_work_as_an_analyst(cardio: Enclave) -> None:
    cardio.add_policy("g, user:steward, project:cardio\n")
    server = cardio.server("steward")
    kernel = cardio.kernel(server)
    asked = server("POST", "access-requests", {"dataset": "health/randhie", "columns": None, "purpose": "x", "days": 3})
    cardio.person("steward2")("POST", f"access-requests/{asked['id']}/decision", {"verdict": "approve"})
    cardio.read(server, kernel)
    assert "withheld" not in seen(cardio, "steward", end_of_cell(server, kernel, 5))["detail"]
