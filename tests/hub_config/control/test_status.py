"""The status that every console shows: problems of the policy are told in words to those who may read the policy."""

from __future__ import annotations

import pytest
from enclave import Enclave

BROKEN = "p, SECRETPLAN, user:analyst, raed, health/randhie, *, , , allow, why\n"


@pytest.fixture
def broken(cardio: Enclave) -> Enclave:
    cardio.add_policy(BROKEN)
    assert cardio.context.policy.state()["state"] == "refused"
    return cardio


@pytest.mark.parametrize("user", ["admin", "auditor"])
def test_who_may_read_the_policy_is_told_what_is_wrong_with_it(broken: Enclave, user: str) -> None:
    told = broken.person(user)("GET", "status")["policy"]
    assert any("raed" in problem["message"] for problem in told["problems"])


@pytest.mark.parametrize("user", ["analyst", "steward", "stranger"])
def test_everybody_else_learns_that_and_where_but_no_word_of_it(broken: Enclave, user: str) -> None:
    person = broken.person(user)
    told = person("GET", "status")["policy"]
    known = broken.person("admin")("GET", "status")["policy"]
    assert told["state"] == "refused"
    assert [(one["file"], one["line"]) for one in told["problems"]] == [
        (one["file"], one["line"]) for one in known["problems"]
    ]
    text = person.raw("GET", "status").text
    for word in ("raed", "SECRETPLAN", "randhie"):
        assert word not in text


def test_the_operator_is_told(broken: Enclave) -> None:
    assert any("raed" in one["message"] for one in broken.operator("GET", "status")["policy"]["problems"])
