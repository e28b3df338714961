from __future__ import annotations

from datetime import date, timedelta

import pytest
from enclave import Enclave
from strongroom_hub.problems import Problem


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def passed(enclave: Enclave, course: str, *, days_ago: int = 0) -> None:
    day = enclave.clock().date() - timedelta(days=days_ago)
    enclave.operator("POST", "training", {"user": "analyst", "course": course, "passed": day.isoformat()})


def test_data_is_read_once_all_courses_are_passed_and_while_they_hold(cardio: Enclave) -> None:
    cardio.add_policy("p2, X1, *, read, health/randhie#age, *, training, gdpr=30 statistics, , care\n")
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    problem = refused(cardio.read, server, kernel, columns=["age"])
    assert problem.slug == "training-missing"
    assert [line.partition(":")[0] for line in problem.why[1:]] == ["gdpr", "statistics"]
    assert "X1 (policy.csv:" in problem.why[0]
    assert cardio.entries("control:read:deny")[-1]["detail"]["problem"] == "training-missing"
    assert server("GET", "session")["label"] == "public"
    assert cardio.read(server, kernel, columns=["visits"])["columns"] == ["visits"]  # asked of that column alone

    passed(cardio, "gdpr", days_ago=29)
    assert [line.partition(":")[0] for line in refused(cardio.read, server, kernel).why[1:]] == ["statistics"]
    passed(cardio, "statistics", days_ago=5000)
    assert cardio.read(server, kernel, columns=["age"])["columns"] == ["age"]
    cardio.clock.forward(days=1)
    assert "held for 30 days" in refused(cardio.read, server, kernel, columns=["age"]).why[1]
    passed(cardio, "gdpr")
    assert cardio.read(server, kernel, columns=["age"])["columns"] == ["age"]


def test_what_is_recorded_is_an_entry_and_can_be_listed(cardio: Enclave) -> None:
    passed(cardio, "gdpr", days_ago=3)
    day = (cardio.clock().date() - timedelta(days=3)).isoformat()
    assert cardio.operator("GET", "training?user=analyst")["training"] == [
        {"user": "analyst", "course": "gdpr", "passed": day}
    ]
    assert cardio.operator("GET", "training?user=steward")["training"] == []
    (entry,) = cardio.entries("control:training:record")
    assert (entry["actor"], entry["object"]) == ("operator", "user:analyst")
    assert entry["detail"] == {"course": "gdpr", "passed": day}


def test_only_the_operator_records_and_only_what_has_been(cardio: Enclave) -> None:
    server = cardio.server()
    body = {"user": "analyst", "course": "gdpr", "passed": date(2000, 1, 1).isoformat()}
    assert refused(server, "POST", "training", body).status in (401, 403)
    for changed in ({"passed": "2999-01-01"}, {"course": "a b"}, {"passed": "yesterday"}, {"user": ""}):
        assert refused(cardio.operator, "POST", "training", body | changed).status == 422
    passed(cardio, "gdpr", days_ago=1)
    assert refused(cardio.operator, "POST", "training", body).status == 422  # an older day takes nothing away
