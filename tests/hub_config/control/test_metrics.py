from __future__ import annotations

from pathlib import Path

import pytest
from enclave import HUB_TOKEN, METRICS_TOKEN, OPERATOR_TOKEN, Enclave
from prometheus_client.parser import text_string_to_metric_families
from strongroom_hub.control import metrics
from strongroom_hub.control.callers import Principals

Samples = dict[tuple[str, tuple[str, ...]], float]


def scrape(enclave: Enclave, token: str = METRICS_TOKEN) -> str:
    answer = enclave.client.get("/internal/v1/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == metrics.MEDIA_TYPE
    return str(answer.text)


def samples(text: str) -> Samples:
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_the_numbers_are_those_of_the_log(cardio: Enclave) -> None:
    server = cardio.server()
    kernel, _ = cardio.kernel(server), cardio.kernel(server, "gvisor")
    for shown in (100, 23):
        cell = server.begin(kernel=kernel, kind="execute", code="1")["entry"]
        end = {"status": "ok", "shown": shown, "withheld": 7, "charged": 0, "duration_ms": 1}
        server.end(cell, **end)
    server("POST", "display", {"kernel": None, "route": "work", "bytes": 1000})
    with pytest.raises(Exception, match="may not read"):
        cardio.read(server, kernel)
    server("POST", "access-requests", {"dataset": "health/randhie", "columns": None, "purpose": "p", "days": 1})
    for kind, counts in (("syscall", {"socket": 3, "ptrace": 2}), ("limit", {"memory": 1})):
        server("POST", "violations", {"kernel": kernel, "kind": kind, "counts": counts, "text": ""})
    cardio.hub_caller(
        "POST", "machine", {"checks": [{"name": "swap", "state": "weaker", "text": "There is swap.", "next": "x"}]}
    )
    cardio.clock.forward(seconds=90)

    found = samples(scrape(cardio))

    assert found["strongroom_cells_total", ()] == 2
    assert found["strongroom_shown_bytes_total", ("public",)] == 1123
    assert found["strongroom_withheld_bytes_total", ("public",)] == 14
    assert found["strongroom_reads_denied_total", ()] == 1
    assert found["strongroom_violations_total", ("syscall",)] == 5
    assert found["strongroom_violations_total", ("limit",)] == 1
    assert found["strongroom_violations_total", ("rate",)] == 0
    assert found["strongroom_kernels_running", ("bubblewrap",)] == 1
    assert found["strongroom_kernels_running", ("gvisor",)] == 1
    assert found["strongroom_requests_open", ("access",)] == 1
    assert found["strongroom_requests_open", ("export",)] == 0
    assert found["strongroom_machine_checks", ("weaker",)] == 1
    assert found["strongroom_policy_info", (cardio.context.policy.version,)] == 1
    assert found["strongroom_policy_files_refused", ()] == 0
    assert found["strongroom_log_entries", ()] == len(cardio.entries())
    assert found["strongroom_log_checkpoint_age_seconds", ()] >= 0
    assert found["strongroom_entries_total", ("server:cell:begin",)] == 2


def test_counters_only_rise_and_each_entry_is_counted_once(cardio: Enclave, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PIECE", 3)
    server = cardio.server()
    for _ in range(10):
        cardio.kernel(server)
    for _ in range(2):
        found = samples(scrape(cardio))
        assert found["strongroom_entries_total", ("server:kernel:start",)] == 10
    cardio.kernel(server)
    assert samples(scrape(cardio))["strongroom_entries_total", ("server:kernel:start",)] == 11


def test_nobody_is_named_and_labels_are_few(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    counts = {f"made-up-{number}": 1 for number in range(200)}
    server("POST", "violations", {"kernel": kernel, "kind": "message", "counts": counts, "text": "secret words"})
    text = scrape(cardio)
    for word in ("analyst", "cardio", "health", kernel, "made-up", "secret words"):
        assert word not in text
    assert len(samples(text)) < 60


def test_a_scrapers_token_opens_metrics_alone_and_no_other_token_opens_them(cardio: Enclave) -> None:
    for token in (HUB_TOKEN, OPERATOR_TOKEN, cardio.server().token, "", METRICS_TOKEN + "x"):
        answer = cardio.client.get("/internal/v1/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    for path in ("status", "session", "users/analyst/projects", "datasets"):
        answer = cardio.client.get(f"/internal/v1/{path}", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        assert answer.status_code == 401, path


def test_people_who_look_after_the_enclave_may_read_them(cardio: Enclave) -> None:
    for user, status in (("admin", 200), ("auditor", 200), ("steward", 403), ("analyst", 403)):
        assert cardio.person(user).raw("GET", "metrics").status_code == status


def test_without_a_token_from_set_up_nobody_scrapes(enclave: Enclave, tmp_path: Path) -> None:
    file = tmp_path / "principals.json"
    file.write_text('{"hub": "a", "operator": "b"}')
    principals = Principals.load(file)
    assert principals.metrics == ""
    enclave.internal.state.principals = principals
    for token in ("", "x", METRICS_TOKEN):
        answer = enclave.client.get("/internal/v1/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
