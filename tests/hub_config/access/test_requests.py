from __future__ import annotations

import threading

import pytest
from enclave import Enclave
from strongroom_hub.access import rules
from strongroom_hub.access.rules import GrantState, RequestState
from strongroom_hub.problems import Problem


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


ASK = {"dataset": "health/randhie", "columns": ["age", "visits"], "purpose": "To learn.", "days": 90}
APPROVE = {"verdict": "approve", "comment": "fine"}

REQUEST_TABLE = {
    (RequestState.SUBMITTED, RequestState.APPROVED): True,
    (RequestState.SUBMITTED, RequestState.DENIED): True,
    (RequestState.SUBMITTED, RequestState.WITHDRAWN): True,
}


@pytest.mark.parametrize("state", RequestState)
@pytest.mark.parametrize("to", RequestState)
def test_a_request_is_decided_once(state: RequestState, to: RequestState) -> None:
    allowed = REQUEST_TABLE.get((state, to), False)
    assert rules.can_move_request(state, to) is allowed
    if not allowed:
        assert refused(rules.check_request_transition, state, to, None, None).status == 409


@pytest.mark.parametrize("state", GrantState)
@pytest.mark.parametrize("to", GrantState)
def test_a_grant_ends_once(state: GrantState, to: GrantState) -> None:
    assert rules.can_move_grant(state, to) is (state is GrantState.ACTIVE and to is not GrantState.ACTIVE)


def test_tables_cover_every_state() -> None:
    assert set(rules.REQUEST_TRANSITIONS) == set(rules.TURN) == set(RequestState)
    assert set(rules.GRANT_TRANSITIONS) == set(GrantState)


def test_from_request_to_grant(cardio: Enclave) -> None:
    server = cardio.server()
    asked = server("POST", "access-requests", ASK)
    assert (asked["state"], asked["turn"], asked["grant"]) == ("submitted", "steward", None)
    steward = cardio.person("steward")
    (waiting,) = steward("GET", "access-requests")["access_requests"]
    assert waiting["id"] == asked["id"]
    assert waiting["context"]["project"]["purpose"] == "To learn."
    assert [line["column"] for line in waiting["context"]["policy"]] == ["age", "visits"]
    assert waiting["context"]["policy"][0]["readable_now"] is False

    decided = steward(
        "POST", f"access-requests/{asked['id']}/decision", APPROVE | {"columns": ["age"], "masks": {"age": "redact"}}
    )
    assert decided["state"] == "approved"
    assert decided["decided_by"] == "steward"
    assert decided["grant"]["columns"] == ["age"]
    assert decided["grant"]["masks"] == {"age": "redact"}
    assert decided["grant"]["until"] == "2027-02-19T05:00:00.000Z"
    assert steward("GET", "access-requests")["access_requests"] == []
    assert len(steward("GET", "access-requests", state="all")["access_requests"]) == 1
    (own,) = server("GET", "access-requests")["access_requests"]
    assert own["grant"]["state"] == "active"
    access = server("GET", "catalog")["datasets"][0]["access"]
    assert access == {
        "read": True,
        "columns": ["age"],
        "masked": {"age": "redact"},
        "until": "2027-02-19T05:00:00.000Z",
        "request": None,
    }


def test_a_decided_request_says_by_whom_and_when(cardio: Enclave) -> None:
    server = cardio.server()
    asked = server("POST", "access-requests", ASK)
    path = f"access-requests/{asked['id']}/decision"
    cardio.person("steward")("POST", path, {"verdict": "deny", "comment": "no"})
    for body in (APPROVE, {"verdict": "deny"}):
        problem = refused(cardio.person("steward2"), "POST", path, body)
        assert problem.status == 409
        assert "steward" in problem.detail
        assert "2026-11-21T05:00" in problem.detail
    assert refused(server, "POST", f"access-requests/{asked['id']}/withdraw").status == 409
    assert cardio.entries("control:grant:create") == []


def test_nobody_decides_on_their_own_request(cardio: Enclave) -> None:
    cardio.add_policy("g, user:steward, project:cardio\ng, user:steward, role:analyst\n")
    server = cardio.server("steward")
    asked = server("POST", "access-requests", ASK)
    path = f"access-requests/{asked['id']}/decision"
    for verdict in ("approve", "deny"):
        assert refused(cardio.person("steward"), "POST", path, {"verdict": verdict}).slug == "own-request"
    cardio.person("steward2")("POST", path, APPROVE)


@pytest.mark.parametrize("user", ["analyst2", "admin", "auditor", "nobody"])
def test_only_who_holds_approve_access_decides(cardio: Enclave, user: str) -> None:
    asked = cardio.server()("POST", "access-requests", ASK)
    person = cardio.person(user)
    problem = refused(person, "POST", f"access-requests/{asked['id']}/decision", APPROVE)
    assert problem.status == 403
    assert problem.why
    assert person("GET", "access-requests")["access_requests"] == []
    assert refused(person, "GET", f"access-requests/{asked['id']}").status == 404


def test_of_two_stewards_at_once_one_decides(cardio: Enclave) -> None:
    asked = cardio.server()("POST", "access-requests", ASK)
    people = [cardio.person("steward"), cardio.person("steward2")] * 3
    outcomes, gate = [], threading.Barrier(len(people))

    def decide(number: int) -> None:
        gate.wait()
        body = APPROVE if number % 2 else {"verdict": "deny"}
        try:
            outcomes.append(people[number]("POST", f"access-requests/{asked['id']}/decision", body)["state"])
        except Problem as problem:
            outcomes.append(problem.status)

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(len(people))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(409) == len(people) - 1
    decided = cardio.entries("control:access-request:approve") + cardio.entries("control:access-request:deny")
    assert len(decided) == 1
    assert len(cardio.entries("control:grant:create")) == len(cardio.entries("control:access-request:approve"))


@pytest.mark.parametrize(
    "change",
    [
        {"columns": ["age", "nothing"]},
        {"columns": []},
        {"columns": ["age", "age"]},
        {"purpose": "  "},
        {"days": 0},
        {"days": 366},
    ],
)
def test_what_cannot_be_asked(cardio: Enclave, change: dict) -> None:
    problem = refused(cardio.server(), "POST", "access-requests", ASK | change)
    assert problem.status == 422
    assert cardio.entries("control:access-request:submit") == []


@pytest.mark.parametrize(
    "change",
    [
        {"columns": ["age", "person_id"]},  # not asked for
        {"columns": []},
        {"masks": {"person_id": "hash"}},
        {"masks": {"age": "scramble"}},
        {"days": 366},
        {"days": 0},
    ],
)
def test_what_cannot_be_granted_leaves_the_request_open(cardio: Enclave, change: dict) -> None:
    server = cardio.server()
    asked = server("POST", "access-requests", ASK)
    problem = refused(cardio.person("steward"), "POST", f"access-requests/{asked['id']}/decision", APPROVE | change)
    assert problem.status == 422
    assert server("GET", "access-requests")["access_requests"][0]["state"] == "submitted"
    assert cardio.entries("control:grant:create") == []


def test_one_open_request_at_a_time_and_withdrawal(cardio: Enclave) -> None:
    server = cardio.server()
    asked = server("POST", "access-requests", ASK)
    assert server("GET", "catalog")["datasets"][0]["access"]["request"] == asked["id"]
    assert refused(server, "POST", "access-requests", ASK).slug == "request-open"
    other = cardio.server("analyst2")
    assert refused(other, "POST", f"access-requests/{asked['id']}/withdraw").status == 404
    assert server("POST", f"access-requests/{asked['id']}/withdraw")["state"] == "withdrawn"
    path = f"access-requests/{asked['id']}/decision"
    assert refused(cardio.person("steward"), "POST", path, APPROVE).status == 409
    server("POST", "access-requests", ASK)


def test_a_grant_is_for_its_person_and_project_only(cardio: Enclave) -> None:
    cardio.project("elections")
    server = cardio.server()
    cardio.grant(server)
    elsewhere = cardio.server("analyst", "elections")
    problem = refused(cardio.read, elsewhere, cardio.kernel(elsewhere))
    assert problem.slug == "no-grant"


def test_grants_are_revoked_once_by_their_stewards(cardio: Enclave) -> None:
    grant = cardio.grant(cardio.server())["grant"]
    path = f"grants/{grant['id']}/revoke"
    assert refused(cardio.person("analyst"), "POST", path, {}).status == 403
    steward = cardio.person("steward")
    assert steward("POST", path, {"reason": "over"})["state"] == "revoked"
    assert refused(steward, "POST", path, {}).status == 409
    assert [one["state"] for one in steward("GET", "grants")["grants"]] == ["revoked"]
    assert cardio.person("analyst")("GET", "grants")["grants"] == []


def test_purposes_and_comments_are_payloads_not_log_text(cardio: Enclave) -> None:
    server = cardio.server()
    server("POST", "access-requests", ASK | {"purpose": "a private purpose"})
    assert "a private purpose" not in str(cardio.entries())


def test_unread_columns_are_told_before_a_renewal(cardio: Enclave) -> None:
    server = cardio.server()
    cardio.grant(server, columns=["person_id", "age"])
    steward = cardio.person("steward")
    assert steward("GET", "grants")["grants"][0]["unread"] == ["person_id", "age"]
    kernel = cardio.kernel(server)
    cardio.read(server, kernel, columns=["age"])
    assert steward("GET", "grants")["grants"][0]["unread"] == ["person_id"]
    server("POST", "access-requests", ASK)
    (waiting,) = steward("GET", "access-requests")["access_requests"]
    last = waiting["context"]["last_grant"]
    assert (last["columns"], last["unread"]) == (["person_id", "age"], ["person_id"])


def test_a_first_request_has_no_grant_before_it(cardio: Enclave) -> None:
    cardio.server()("POST", "access-requests", ASK)
    (waiting,) = cardio.person("steward")("GET", "access-requests")["access_requests"]
    assert waiting["context"]["last_grant"] is None


def test_a_request_says_that_code_prepared_it(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    entry = server.begin(kernel=kernel, notebook="n.ipynb", cell="c", kind="execute", code="x")["entry"]
    other = cardio.server("analyst2")
    assert refused(other, "POST", "access-requests", ASK | {"prepared": entry}).slug == "unknown-cell"
    assert server("POST", "access-requests", ASK | {"prepared": entry})["prepared"] == entry
    (recorded,) = cardio.entries("control:access-request:submit")
    assert (recorded["detail"]["via"], recorded["detail"]["prepared"]) == ("kernel", entry)
    (waiting,) = cardio.person("steward")("GET", "access-requests")["access_requests"]
    assert waiting["prepared"] == entry
