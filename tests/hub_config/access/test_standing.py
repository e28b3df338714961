"""The vault asks whether reads still stand, and tells how they ended; it proves by its signature who it is."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from enclave import Caller, Enclave, word
from strongroom_hub.control.times import iso
from strongroom_hub.problems import Problem


def ended(enclave: Enclave, *entries: int) -> dict[int, str]:
    """The slugs of those that do not stand."""
    answer = enclave.operator("POST", "reads/standing", word(enclave, act="standing", entries=list(entries)))
    assert all(problem["detail"] for problem in answer["ended"].values())
    return {int(entry): Problem.from_json(problem).slug for entry, problem in answer["ended"].items()}


def end(enclave: Enclave, entry: int, **changed: Any) -> int:
    told = {"state": "complete", "rows": 100, "bytes": 2400, "batches": 2, "why": "", **changed}
    return int(enclave.operator("POST", "reads/ended", word(enclave, act="read-ended", entry=entry, **told))["entry"])


def test_a_revoked_grant_ends_the_reads_that_it_allowed(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    grant = cardio.grant(server)["grant"]
    read = cardio.read(server, kernel)["entry"]
    assert ended(cardio, read) == {}
    cardio.person("steward")("POST", f"grants/{grant['id']}/revoke", {"reason": "Over."})
    assert ended(cardio, read) == {read: "revoked"}


def test_an_expired_grant_a_closed_project_and_a_retired_version_end_reads(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    read = cardio.read(server, kernel)["entry"]
    twin = cardio.clock()
    cardio.clock.forward(days=31)
    cardio.housekeeper.tick()
    assert ended(cardio, read) == {read: "expired"}
    cardio.clock.now = twin + timedelta(hours=1)


def test_other_masks_end_a_read_and_the_same_ones_do_not(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server, masks={"age": "hash"})
    read = cardio.read(server, kernel)["entry"]
    assert ended(cardio, read) == {}
    cardio.clock.forward(days=2)  # row filters are bound to the day of the read
    assert ended(cardio, read) == {}
    cardio.add_policy('p2, X9, *, read, health/randhie#person_id, *, mask, redact, , "from now on"\n')
    assert ended(cardio, read) == {read: "rules-changed"}


def test_a_kernel_that_ended_or_began_anew_ends_its_reads(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    read = cardio.read(server, kernel)["entry"]
    cardio.clock.forward(seconds=1)
    server("POST", "kernels", {"kernel": kernel, "notebook": "day.ipynb", "tier": "bubblewrap"})
    assert ended(cardio, read) == {read: "kernel-ended"}
    again = cardio.read(server, kernel)["entry"]
    assert ended(cardio, read, again) == {read: "kernel-ended"}
    server("DELETE", f"kernels/{kernel}", {"reason": "shutdown"})
    assert ended(cardio, again) == {again: "kernel-ended"}


def test_what_is_no_read_does_not_stand(cardio: Enclave) -> None:
    assert ended(cardio, 0, 10**9) == {0: "bad-receipt", 10**9: "bad-receipt"}


def test_a_stream_has_a_begin_and_one_end(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    answer = cardio.read(server, kernel, stream=True)
    assert cardio.claims(answer["ticket"])["stream"] is True
    assert cardio.claims(cardio.read(server, kernel)["ticket"])["stream"] is False
    begun, whole = cardio.entries("control:read:allow")
    assert begun["detail"]["stream"] is True
    assert "stream" not in whole["detail"]
    first = end(cardio, answer["entry"])
    assert end(cardio, answer["entry"], state="stopped", rows=1) == first
    (told,) = cardio.entries("control:read:end")
    assert {name: told[name] for name in ("actor", "project", "server", "kernel", "object", "label")} == {
        name: begun[name] for name in ("actor", "project", "server", "kernel", "object", "label")
    }
    assert told["detail"] == {
        "read": answer["entry"],
        "state": "complete",
        "why": "",
        "rows": 100,
        "bytes": 2400,
        "batches": 2,
    }


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("standing", {"act": "standing", "entries": "all"}),
        ("standing", {"act": "standing", "entries": [True]}),
        ("standing", {"act": "standing", "entries": [0] * 1001}),
        ("standing", {"act": "read-ended", "entries": [0]}),
        ("ended", {"act": "standing", "entry": 0, "state": "complete", "rows": 1, "bytes": 1, "batches": 1, "why": ""}),
        ("ended", {"act": "read-ended", "entry": 0, "state": "odd", "rows": 1, "bytes": 1, "batches": 1, "why": ""}),
        ("ended", {"act": "read-ended", "entry": 0, "state": "complete"}),
        ("ended", {"act": "read-ended", "entry": 0, "state": "failed", "rows": 1, "bytes": 1, "batches": 1, "why": ""}),
    ],
)
def test_only_whole_words_of_the_vault_count(cardio: Enclave, path: str, claims: dict[str, Any]) -> None:
    with pytest.raises(Problem) as refused:
        cardio.operator("POST", f"reads/{path}", word(cardio, **claims))
    assert refused.value.slug == "bad-receipt"


@pytest.mark.parametrize("path", ["standing", "ended"])
def test_nobody_else_can_ask_or_tell(cardio: Enclave, path: str) -> None:
    forged = word(cardio, Ed25519PrivateKey.generate(), act="standing", entries=[0])
    with pytest.raises(Problem) as refused:
        cardio.operator("POST", f"reads/{path}", forged)
    assert refused.value.slug == "bad-receipt"


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def begun(server: Caller, kernel: str) -> Any:
    return server.begin(kernel=kernel, notebook="n.ipynb", cell="c1", kind="execute", code="1")


def test_a_kernel_works_no_longer_than_the_rule_on_what_it_has_read_allows(cardio: Enclave) -> None:
    cardio.add_policy("p2, X1, *, read, health/randhie#age, *, session, 90min, , why\n")
    server = cardio.server()
    cardio.grant(server)
    kernel, other = cardio.kernel(server), cardio.kernel(server)
    assert cardio.read(server, kernel, columns=["visits"])["session_until"] is None
    cardio.clock.forward(hours=30)  # only what has the rule counts
    begun(server, kernel)
    read = cardio.read(server, kernel, columns=["age"])
    until = read["session_until"]
    assert "X1 (policy.csv:" in read["session_rule"]
    assert read["session_rule"].endswith("session 90min")
    assert cardio.entries("control:read:allow")[-1]["detail"]["session_until"] == until
    cardio.clock.forward(minutes=60)
    assert cardio.read(server, kernel, columns=["age"])["session_until"] == until, "reading again makes it longer"
    assert cardio.read(server, kernel, columns=["visits"])["session_until"] == until
    begun(server, kernel)
    assert ended(cardio, read["entry"]) == {}
    cardio.clock.forward(minutes=30)
    assert iso(cardio.clock()) == until
    for attempt in (lambda: begun(server, kernel), lambda: cardio.read(server, kernel, columns=["visits"])):
        problem = refused(attempt)
        assert (problem.status, problem.slug) == (403, "session-over")
        assert until in problem.detail
        assert "X1 (policy.csv:" in problem.why[0]
        assert "Restart the kernel" in problem.next
    assert cardio.entries("control:read:deny")[-1]["detail"]["problem"] == "session-over"
    assert ended(cardio, read["entry"]) == {read["entry"]: "session-over"}, "the vault takes it back"
    begun(server, other)  # a kernel that has read nothing
    server("POST", "kernels", {"kernel": kernel, "notebook": None, "tier": "bubblewrap"})
    begun(server, kernel)
    cardio.clock.forward(hours=3)
    begun(server, kernel)
    assert cardio.read(server, kernel, columns=["age"])["session_until"] > until


def test_the_shortest_counts_whichever_was_read_first(cardio: Enclave) -> None:
    cardio.add_policy(
        "p2, X1, *, read, health/randhie#age, *, session, 8h, , why\n"
        "p2, X2, *, read, health/randhie#visits, *, session, 1h, , why\n"
    )
    server = cardio.server()
    cardio.grant(server)
    kernel, other = cardio.kernel(server), cardio.kernel(server)
    long = cardio.read(server, kernel, columns=["age"])["session_until"]
    short = cardio.read(server, kernel, columns=["visits"])["session_until"]
    assert short < long
    assert cardio.read(server, kernel, columns=["age"])["session_until"] == short
    assert cardio.read(server, other, columns=["age", "visits"])["session_until"] == short


def test_nothing_is_saved_by_a_kernel_whose_session_is_over(cardio: Enclave) -> None:
    cardio.add_policy("p2, X1, *, read, health/randhie#age, *, session, 1min, , why\n")
    server = cardio.server()
    cardio.grant(server)
    kernel = cardio.kernel(server)
    cardio.read(server, kernel)
    cardio.clock.forward(minutes=1)
    save = {"kernel": kernel, "dataset": "cardio/cohort1", "quiet": True, "sha256": "0" * 64, "bytes": 10}
    assert refused(server, "POST", "saves", save).slug == "session-over"


def started(enclave: Enclave, at: float) -> int:
    """The vault says when it has started; how many streams that ended."""
    body = word(enclave, act="vault-started", started=at)
    return int(enclave.operator("POST", "vault-starts", body)["interrupted"])


def moment() -> float:
    """Later than all before, and earlier than all after: entries have the time in milliseconds."""
    time.sleep(0.01)
    now = time.time()
    time.sleep(0.01)
    return now


def test_streams_of_a_vault_that_was_killed_end_when_the_next_one_starts(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    whole = cardio.read(server, kernel)["entry"]
    finished, cut = (cardio.read(server, kernel, stream=True)["entry"] for _ in range(2))
    end(cardio, finished)
    first = moment()
    later = cardio.read(server, kernel, stream=True)["entry"]  # of the vault's new life
    assert started(cardio, first) == 1
    *_, told = cardio.entries("control:read:end")
    assert told["detail"] == {
        "read": cut,
        "state": "interrupted",
        "why": "vault-started",
        "rows": None,
        "bytes": None,
        "batches": None,
    }
    assert (told["actor"], told["kernel"], told["object"]) == ("user:analyst", kernel, "health/randhie@1")
    assert whole not in {one["detail"]["read"] for one in cardio.entries("control:read:end")}
    assert started(cardio, first) == 0  # told again
    assert len(cardio.entries("control:vault:start")) == 1
    assert end(cardio, cut, state="stopped") == told["index"]  # the first word counts
    assert started(cardio, moment()) == 1
    assert cardio.entries("control:read:end")[-1]["detail"]["read"] == later
    assert [one["detail"]["interrupted"] for one in cardio.entries("control:vault:start")] == [1, 1]


def test_only_the_vault_says_that_it_started(cardio: Enclave) -> None:
    forged = word(cardio, Ed25519PrivateKey.generate(), act="vault-started", started=1.0)
    wrong = [word(cardio, act="vault-started", started=value) for value in (None, True, "now")]
    for body in (forged, *wrong, word(cardio, act="standing", entries=[])):
        with pytest.raises(Problem) as refused:
            cardio.operator("POST", "vault-starts", body)
        assert refused.value.slug == "bad-receipt"
    assert cardio.entries("control:vault:start") == []
