from __future__ import annotations

from typing import Any

import pytest
from enclave import Caller, Enclave
from strongroom_hub.boxes.rates import Buckets, Spaced
from strongroom_hub.problems import Problem


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def report(server: Caller, kernel: str, kind: str = "syscall", **changes: Any) -> Any:
    body = {"kernel": kernel, "kind": kind, "counts": {"socket": 3, "ptrace": 1}, "text": "Denied system calls."}
    return server("POST", "violations", body | changes)


def test_a_violation_is_an_entry_and_is_listed(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    entry = report(server, kernel)["entry"]
    (found,) = cardio.entries("server:kernel:violation")
    assert (found["index"], found["actor"], found["project"], found["kernel"]) == (
        entry,
        "user:analyst",
        "cardio",
        kernel,
    )
    assert found["detail"]["counts"] == {"socket": 3, "ptrace": 1}
    (listed,) = cardio.person("auditor")("GET", "violations")["violations"]
    assert listed == {
        "entry": entry,
        "time": listed["time"],
        "user": "analyst",
        "project": "cardio",
        "kernel": kernel,
        "kind": "syscall",
        "counts": {"socket": 3, "ptrace": 1},
        "text": "Denied system calls.",
    }
    assert cardio.person("auditor")("GET", "status")["violations"] == {"syscall": 4}
    assert cardio.person("analyst")("GET", "status")["violations"] == {}, "a number that code chooses"


def test_a_limit_has_an_action_of_its_own_and_is_told_after_the_kernels_end(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    server("DELETE", f"kernels/{kernel}", {"reason": "died"})
    report(server, kernel, "limit", counts={"memory": 1}, text="It needed more than 4 GiB.")
    (found,) = cardio.entries("server:kernel:limit")
    assert found["detail"]["kind"] == "limit"
    assert cardio.entries("server:kernel:violation") == []


def test_one_report_in_ten_seconds_and_the_next_says_what_was_refused(cardio: Enclave) -> None:
    server = cardio.server()
    kernel, other = cardio.kernel(server), cardio.kernel(server)
    report(server, kernel)
    for _ in range(5):
        assert refused(report, server, kernel).status == 429
    report(server, kernel, "message")
    report(server, other)
    cardio.clock.forward(seconds=10)
    report(server, kernel)
    assert [one["detail"]["reports_refused"] for one in cardio.entries("server:kernel:violation")] == [0, 0, 0, 5]


def test_a_server_speaks_for_its_own_kernels_only(cardio: Enclave) -> None:
    server, other = cardio.server(), cardio.server("analyst2")
    kernel = cardio.kernel(server)
    assert refused(report, other, kernel).status == 404
    assert refused(report, server, "never").status == 404
    assert refused(report, cardio.hub_caller, kernel).status == 401
    for bad in (
        {"kind": "party"},
        {"counts": {"x" * 65: 1}},
        {"counts": {"x": -1}},
        {"counts": {str(number): 1 for number in range(201)}},
        {"text": "x" * 1001},
    ):
        assert refused(report, server, kernel, **bad).status == 422, bad
    assert cardio.entries("server:kernel:violation") == []


def test_who_does_not_look_after_the_enclave_sees_no_violations_and_no_number_of_them(cardio: Enclave) -> None:
    server = cardio.server()
    report(server, cardio.kernel(server))
    for user in ("analyst", "steward"):
        assert refused(cardio.person(user), "GET", "violations").status == 403
        assert cardio.person(user)("GET", "status")["violations"] == {}
    assert cardio.person("admin")("GET", "violations")["violations"]


def test_yesterdays_violations_are_not_counted(cardio: Enclave) -> None:
    server = cardio.server()
    report(server, cardio.kernel(server))
    cardio.clock.forward(days=1, seconds=1)
    assert cardio.person("admin")("GET", "status")["violations"] == {}


def check(name: str, state: str) -> dict[str, str]:
    return {"name": name, "state": state, "text": f"{name} is {state}.", "next": "" if state == "fine" else "Mend it."}


def test_the_hub_tells_what_it_found_and_the_newest_counts(enclave: Enclave) -> None:
    first = [check("swap", "weaker"), check("cgroups", "broken"), check("clock", "fine")]
    enclave.hub_caller("POST", "machine", {"checks": first})
    assert enclave.person("analyst")("GET", "status")["machine"] == first
    (entry,) = enclave.entries("hub:machine:check")
    assert entry["actor"] == "system:hub"
    assert entry["detail"] == {"fine": ["clock"], "weaker": ["swap"], "broken": ["cgroups"]}
    enclave.hub_caller("POST", "machine", {"checks": [check("clock", "fine")]})
    assert enclave.operator("GET", "status")["machine"] == [check("clock", "fine")]
    assert refused(enclave.operator, "POST", "machine", {"checks": []}).status == 401
    assert refused(enclave.hub_caller, "POST", "machine", {"checks": [check("x", "odd")]}).status == 422
    twice = [check("clock", "fine"), check("clock", "broken")]
    assert refused(enclave.hub_caller, "POST", "machine", {"checks": twice}).status == 422


def test_buckets_fill_with_time_and_forget_the_longest_silent(
    enclave: Enclave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom_hub.boxes.rates.REMEMBERED", 3)
    buckets = Buckets(enclave.clock, size=2, per_second=0.5)
    assert [buckets.take("a") for _ in range(3)] == [True, True, False]
    enclave.clock.forward(seconds=2)
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    buckets.give_back("a")
    assert buckets.take("a")
    for key in "bcd":
        buckets.take(key)
    assert buckets.take("a")  # forgotten, so full again
    assert len(buckets._buckets) == 3


def test_a_clock_that_goes_back_lets_nothing_through(enclave: Enclave) -> None:
    buckets, spaced = Buckets(enclave.clock, size=1, per_second=100), Spaced(enclave.clock)
    assert buckets.take("a")
    assert spaced.admit("a") == 0
    enclave.clock.forward(hours=-1)
    assert not buckets.take("a")
    assert spaced.admit("a") is None
