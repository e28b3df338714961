"""Reading where control's database is PostgreSQL: the questions of that path are written once for both."""

from __future__ import annotations

from enclave import Enclave


def test_a_read_there_raises_the_label_and_what_may_be_shown_follows_from_all_sources(
    cardio_on_postgres: Enclave,
) -> None:
    cardio = cardio_on_postgres
    cardio.dataset("health/doctors", label="internal")
    server = cardio.server()
    kernel = cardio.kernel(server)
    for dataset in ("health/randhie", "health/doctors"):
        cardio.grant(server, dataset)

    cardio.read(server, kernel, "health/doctors")
    answer = cardio.read(server, kernel)

    assert answer["workspace_label"] == "confidential"
    assert [one["dataset"] for one in answer["sources"]] == ["health/doctors", "health/randhie"]
    now = server("GET", "session")
    assert (now["label"], now["sources"], now["display"]) == ("confidential", answer["sources"], answer["display"])
    assert now["display"]["allowed"]
