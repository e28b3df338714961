"""Tokens are turned back by two people, once, in time, and only while the policy lets their asker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enclave import Caller, Enclave
from sqlalchemy import select
from sqlmodel import Session
from strongroom_hub.audit.models import LogEntry
from strongroom_hub.problems import Problem
from strongroom_hub.reidentification import rules
from strongroom_hub.reidentification.models import Reidentification
from strongroom_hub.reidentification.rules import State
from strongroom_hub.two_people import Verdict

ALLOW = 'p, R1, role:analyst, reidentify, health/randhie, project:cardio, , , allow, "incidental findings"\n'
WISH = {
    "project": "cardio",
    "dataset": "health/randhie",
    "column": "person_id",
    "tokens": ["T-1", "T-0"],
    "why": "A finding that the person should know of.",
}
ACTION = "control:token:reidentify"


def refused(call: Any, *arguments: Any, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


@pytest.fixture
def server(cardio: Enclave) -> Caller:
    return cardio.server()


@pytest.fixture
def ready(cardio: Enclave, server: Caller) -> Enclave:
    """The analyst may ask, and reads `person_id` as tokens."""
    cardio.add_policy(ALLOW)
    cardio.grant(server, masks={"person_id": "token"})
    return cardio


def ask(enclave: Enclave, user: str = "analyst", **change: Any) -> Any:
    return enclave.person(user)("POST", "reidentifications", WISH | change)


def decide(enclave: Enclave, asked: Any, user: str = "steward", verdict: str = "approve", comment: str = "") -> Any:
    path = f"reidentifications/{asked['id']}/decision"
    return enclave.person(user)("POST", path, {"verdict": verdict, "comment": comment})


def show(enclave: Enclave, asked: Any, user: str = "analyst") -> Any:
    return enclave.person(user)("POST", f"reidentifications/{asked['id']}/values")


def stages(enclave: Enclave) -> list[str]:
    found = sorted(enclave.entries(ACTION), key=lambda entry: entry["index"])
    return [entry["detail"]["stage"] for entry in found]


def test_two_people_turn_tokens_back_and_one_sees_them_once(ready: Enclave) -> None:
    asked = ask(ready)
    assert (asked["state"], asked["version"], asked["shown_to"]) == ("open", 1, "asker")
    assert asked["may"] == {"decide": False, "withdraw": True, "show": False}
    (listed,) = ready.person("steward")("GET", "reidentifications")["reidentifications"]
    assert listed["may"] == {"decide": True, "withdraw": False, "show": False}
    approved = decide(ready, asked)
    assert (approved["state"], approved["decided_by"]) == ("approved", "user:steward")
    assert approved["may"]["show"] is False  # the steward learns nothing
    shown = show(ready, asked)
    assert shown["values"] == [{"token": "T-1", "value": "value of T-1"}, {"token": "T-0", "value": None}]
    assert (shown["state"], shown["may"]["show"]) == ("shown", False)
    (claims,) = ready.vault.identified
    wanted = ("act", "dataset", "version", "columns", "masks", "project", "tokens", "asked_by", "agreed_by", "entry")
    assert {name: claims[name] for name in wanted} == {
        "act": "identify",
        "dataset": "health/randhie",
        "version": 1,
        "columns": ["person_id"],
        "masks": {},
        "project": "cardio",
        "tokens": ["T-1", "T-0"],
        "asked_by": "user:analyst",
        "agreed_by": "user:steward",
        "entry": shown["shown_entry"],
    }
    assert claims["exp"] - claims["iat"] == 60
    assert stages(ready) == ["asked", "approve", "shown", "told"]
    problem = refused(show, ready, asked)
    assert (problem.status, problem.slug) == (410, "reidentification-over")
    assert len(ready.vault.identified) == 1


def test_the_log_holds_neither_tokens_nor_values_and_commits_to_them(ready: Enclave) -> None:
    asked = ask(ready)
    decide(ready, asked)
    show(ready, asked)
    with Session(ready.context.engine) as session:
        leaves = [bytes(leaf) for (leaf,) in session.execute(select(LogEntry.leaf))]
        stored = session.get(Reidentification, asked["id"])
        assert stored is not None
        assert "value of" not in json.dumps(stored.model_dump(mode="json"))
        committed = rules.commitment(stored.salt, ["T-1", "T-0"])
    assert not [leaf for leaf in leaves if b"T-1" in leaf or b"value of" in leaf or WISH["why"].encode() in leaf]
    for entry in ready.entries(ACTION):
        assert (entry["detail"]["tokens"], entry["detail"]["commitment"]) == (2, committed)
        assert (entry["object"], entry["project"]) == ("health/randhie@1", "cardio")
    assert ready.entries(ACTION)[-1]["detail"]["found"] == 1
    assert rules.commitment("other", ["T-1", "T-0"]) != committed


def test_nobody_decides_on_their_own_and_only_stewards_decide(ready: Enclave) -> None:
    asked = ask(ready)
    for verdict in ("approve", "reject"):
        assert refused(decide, ready, asked, "analyst", verdict).slug == "two-people"
    for stranger in ("admin", "auditor", "analyst2"):
        problem = refused(decide, ready, asked, stranger)
        assert (problem.status, problem.slug) == (404, "unknown-reidentification")
        assert ready.person(stranger)("GET", "reidentifications") == {"reidentifications": []}
    assert refused(decide, ready, asked, "steward", "withdraw").slug == "two-people"
    assert refused(show, ready, asked).slug == "not-approved"
    assert decide(ready, asked, verdict="reject", comment="No.")["state"] == "rejected"
    assert refused(decide, ready, asked, "steward2").slug == "reidentification-decided"
    assert refused(show, ready, asked).slug == "not-approved"
    assert ready.vault.identified == []


def test_a_steward_who_asks_needs_another_steward(ready: Enclave) -> None:
    ready.add_policy(
        "g, user:steward, project:cardio\n"
        "p, R2, role:steward, read|reidentify, health/randhie, project:cardio, , , allow, reason\n"
        "p2, OX, *, read, health/randhie#person_id, *, mask, token, , reason\n"
    )
    asked = ask(ready, "steward")
    assert refused(decide, ready, asked, "steward").slug == "two-people"
    assert decide(ready, asked, "steward2")["state"] == "approved"
    assert len(show(ready, asked, "steward")["values"]) == 2


def test_values_can_be_for_the_steward_alone(ready: Enclave) -> None:
    asked = ask(ready, shown_to="steward")
    assert decide(ready, asked)["may"]["show"] is True
    for other in ("analyst", "steward2"):
        assert refused(show, ready, asked, other).slug == "not-yours-to-see"
    assert ready.vault.identified == []
    assert len(show(ready, asked, "steward")["values"]) == 2
    assert refused(show, ready, asked, "steward").slug == "reidentification-over"


def test_values_for_the_asker_are_for_nobody_else(ready: Enclave) -> None:
    asked = ask(ready)
    decide(ready, asked)
    for other in ("steward", "steward2"):
        assert refused(show, ready, asked, other).slug == "not-yours-to-see"
    assert refused(show, ready, asked, "auditor").slug == "unknown-reidentification"
    assert refused(show, ready, {"id": "nothing"}).slug == "unknown-reidentification"


def test_the_time_to_look_ends(ready: Enclave) -> None:
    asked = ask(ready)
    decide(ready, asked)
    ready.clock.forward(hours=24)
    (listed,) = ready.person("analyst")("GET", "reidentifications")["reidentifications"]
    assert (listed["state"], listed["may"]["show"]) == ("expired", False)
    assert refused(show, ready, asked).slug == "reidentification-over"
    assert ready.vault.identified == []


def test_without_the_right_nothing_can_be_asked_and_the_try_is_recorded(cardio: Enclave, server: Caller) -> None:
    cardio.grant(server, masks={"person_id": "token"})
    problem = refused(ask, cardio)
    assert (problem.status, problem.slug) == (403, "not-permitted")
    cardio.add_policy(ALLOW)
    assert refused(ask, cardio, "analyst2").slug == "not-permitted"  # no grant: who may not read, may not either
    assert refused(ask, cardio, "auditor").slug == "not-a-member"
    assert refused(ask, cardio, project="elections").slug in {"not-a-member", "not-permitted"}
    assert ask(cardio)["state"] == "open"
    assert stages(cardio) == ["refused"] * 4 + ["asked"]
    assert cardio.entries(ACTION)[0]["detail"]["problem"] == "not-permitted"


def test_only_what_is_shown_as_tokens_can_be_turned_back(cardio: Enclave, server: Caller) -> None:
    cardio.add_policy(ALLOW)
    cardio.grant(server, masks={"person_id": "hash"})
    for column in ("person_id", "age"):
        problem = refused(ask, cardio, column=column)
        assert (problem.status, problem.slug) == (403, "no-tokens")


@pytest.mark.parametrize("when", ["approval", "show"])
@pytest.mark.parametrize("change", ["deny", "mask", "member", "grant", "shred", "steward"])
def test_what_changes_in_between_counts(ready: Enclave, when: str, change: str) -> None:
    shown_to = "steward" if change == "steward" else "asker"
    asked = ask(ready, shown_to=shown_to)
    if when == "show":
        decide(ready, asked)
    if change == "deny":
        ready.edit_policy(ALLOW, "")
    elif change == "mask":
        ready.add_policy("p2, OX, *, read, health/randhie#person_id, *, mask, hash, , reason\n")
    elif change == "member":
        ready.edit_policy("g, user:analyst , project:cardio\n", "")
    elif change == "steward":
        ready.edit_policy("g, user:steward , role:steward\n", "")
    elif change == "grant":
        (grant,) = ready.person("steward")("GET", "grants")["grants"]
        ready.person("steward")("POST", f"grants/{grant['id']}/revoke", {"reason": "It is over."})
    else:
        wish = {"dataset": "health/randhie", "version": 1, "columns": ["person_id"], "why": "Consent withdrawn."}
        shred = ready.person("steward")("POST", "shreds", wish)
        ready.person("admin")("POST", f"shreds/{shred['id']}/decision", {"verdict": "approve"})
    if when == "approval":
        assert refused(decide, ready, asked).status in {403, 404, 410}
    else:
        assert refused(show, ready, asked, "steward" if shown_to == "steward" else "analyst").status in {403, 404, 410}
        assert "shown" not in stages(ready)
    assert ready.vault.identified == []


def test_while_the_vault_is_away_nothing_counts_as_seen(ready: Enclave) -> None:
    asked = ask(ready)
    decide(ready, asked)
    ready.vault.down = True
    assert refused(show, ready, asked).status == 503
    ready.vault.down = False
    assert len(show(ready, asked)["values"]) == 2
    assert stages(ready) == ["asked", "approve", "shown", "failed", "shown", "told"]


def test_what_ends_in_between_counts_as_seen(ready: Enclave, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control that dies after the entry: rather an entry too many than values that nobody knows to be seen."""
    asked = ask(ready)
    decide(ready, asked)

    def killed(_: str) -> dict[str, str]:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(ready.vault, "identify", killed)
        with pytest.raises(RuntimeError):
            show(ready, asked)
    assert refused(show, ready, asked).slug == "reidentification-over"


def test_a_day_has_so_many_tokens_and_no_more(ready: Enclave) -> None:
    def some(count: int, first: int = 1) -> list[str]:
        return [f"T-{number}" for number in range(first, first + count)]

    rejected = ask(ready, tokens=some(20))
    ask(ready, tokens=some(20, 100))
    ask(ready, tokens=some(10, 200))
    problem = refused(ask, ready, tokens=["T-9"])
    assert (problem.status, problem.slug) == (429, "reidentifications-used-up")
    decide(ready, rejected, verdict="reject", comment="No.")
    ask(ready, tokens=some(20))
    assert refused(ask, ready, tokens=["T-9"]).slug == "reidentifications-used-up"
    ready.clock.forward(hours=24, seconds=1)
    assert ask(ready, tokens=["T-9"])["state"] == "open"


@pytest.mark.parametrize(
    "change",
    [
        {"why": "short"},
        {"tokens": []},
        {"tokens": ["T-1", "T-1"]},
        {"tokens": [""]},
        {"tokens": [f"T-{number}" for number in range(21)]},
        {"tokens": ["x" * 1001]},
        {"column": "other"},
        {"version": 0},
        {"shown_to": "everybody"},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(ready: Enclave, change: dict[str, Any]) -> None:
    assert refused(ask, ready, **change).status == 422
    assert stages(ready) == []


def test_what_may_not_be_known_is_not_told(ready: Enclave) -> None:
    ready.dataset("health/hidden", label="secret")
    hidden, nothing = refused(ask, ready, dataset="health/hidden"), refused(ask, ready, dataset="health/nothing")
    assert hidden.status == nothing.status == 404
    assert hidden.detail.replace("hidden", "nothing") == nothing.detail
    assert refused(ask, ready, version=9).status == 404


def test_row_filters_of_the_asker_reach_the_vault(ready: Enclave) -> None:
    ready.add_policy('p2, OX, *, read, health/randhie, *, rows, "age >= 40", , reason\n')
    asked = ask(ready)
    decide(ready, asked)
    show(ready, asked)
    assert ready.vault.identified[0]["rows"] == ["age >= 40"]


def test_there_is_no_way_for_a_server(ready: Enclave, server: Caller) -> None:
    assert refused(server, "POST", "reidentifications", WISH).status == 404
    assert refused(ready.operator, "GET", "reidentifications").status == 404


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("decider", ["a", "b"])
def test_the_life_of_a_request(state: State, verdict: Verdict, decider: str) -> None:
    """`a` asked for it."""
    possible = state is State.OPEN and (verdict is Verdict.WITHDRAW) == (decider == "a")
    assert rules.can_decide(state, "a", decider, verdict) == possible
    if possible:
        rules.check_decision(state, "a", decider, verdict)
    else:
        assert refused(rules.check_decision, state, "a", decider, verdict).status in {403, 409}
