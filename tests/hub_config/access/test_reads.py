from __future__ import annotations

import pytest
from enclave import Enclave

from strongroom_hub.problems import Problem


def test_a_grant_lets_read_the_granted_columns_masked(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server, columns=["person_id", "age"], masks={"person_id": "hash"})

    answer = cardio.read(server, kernel)

    claims = cardio.claims(answer["ticket"])
    assert claims["columns"] == answer["columns"] == ["person_id", "age"]
    assert claims["masks"] == {"person_id": {"method": "hash"}}
    assert answer["masked"] == {"person_id": "hash"}
    assert (claims["act"], claims["dataset"], claims["version"], claims["kernel"]) == (
        "read",
        "health/randhie",
        1,
        kernel,
    )
    assert claims["user"] == "analyst"
    assert claims["project"] == "cardio"
    assert claims["entry"] == answer["entry"]
    assert claims["exp"] - claims["iat"] == 30
    assert claims["uid"] is None
    assert claims["rows"] is None


def test_reading_raises_label_and_source_set_for_good(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    assert server("GET", "session")["label"] == "public"

    answer = cardio.read(server, kernel)

    assert answer["label"] == "confidential"
    assert answer["sources"] == [{"dataset": "health/randhie", "version": 1}]
    (raised,) = cardio.entries("control:label:raise")
    assert raised["detail"] == {"from": "public", "to": "confidential", "read": answer["entry"]}
    cardio.read(server, kernel)
    assert len(cardio.entries("control:label:raise")) == 1
    # a new server of the same person and project starts where the workspace stands
    again = cardio.server()
    assert again.made["label"] == "confidential"
    assert again("GET", "session")["sources"] == [{"dataset": "health/randhie", "version": 1}]


def test_refusals_say_why_and_how_to_ask(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    with pytest.raises(Problem) as refused:
        cardio.read(server, kernel)
    assert refused.value.slug == "no-grant"
    assert refused.value.status == 403
    assert "Datasets panel" in refused.value.next
    (denied,) = cardio.entries("control:read:deny")
    assert denied["object"] == "health/randhie@1"
    assert denied["detail"]["problem"] == "no-grant"
    assert server("GET", "session")["label"] == "public"
