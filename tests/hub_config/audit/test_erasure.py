from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from enclave import Clock, Enclave, Vault, make_instance, open_enclave
from sqlalchemy import text
from strongroom_hub.audit import erasure, store
from strongroom_hub.audit.settings import TWO_PERSON, AuditSettings
from strongroom_hub.audit.verify import verify
from strongroom_hub.control import setup
from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict

CODE = "print('Anna Karenina was here')"


def refused(call: Callable[..., object], *arguments: object, **more: object) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


@pytest.fixture
def enclave(tmp_path: Path) -> Iterator[Enclave]:
    """Two analysts have run a cell each; entry numbers are in `cells`."""
    instance = make_instance(tmp_path, audit=AuditSettings(erasure=TWO_PERSON))
    setup.create(instance)
    made = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    made.project()
    made.cells = {}  # type: ignore[attr-defined]
    for user in ("analyst", "analyst2"):
        server = made.server(user)
        body = {"kernel": made.kernel(server), "kind": "execute", "code": CODE}
        made.cells[user] = server.begin(**body)["entry"]  # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.fixture
def asked(enclave: Enclave) -> str:
    answer = enclave.person("admin")("POST", "audit/erasures", {"person": "user:analyst", "why": "Law, article 17."})
    assert answer["state"] == "open"
    return str(answer["id"])


def decide(enclave: Enclave, user: str, asked: str, verdict: str = "approve") -> dict:
    return enclave.person(user)("POST", f"audit/erasures/{asked}/decision", {"verdict": verdict})


def wrapped_key(enclave: Enclave, person: str) -> bytes:
    with enclave.context.engine.connect() as connection:
        query = text("SELECT wrapped FROM log_payload_keys WHERE person = :person")
        return bytes(connection.execute(query, {"person": person}).scalar_one())


def everywhere_on_disk(enclave: Enclave) -> bytes:
    folder = enclave.instance.database.parent
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.name.startswith("strongroom.sqlite"))


def test_two_people_erase_for_good_and_the_log_still_verifies(enclave: Enclave, asked: str) -> None:
    key = wrapped_key(enclave, "user:analyst")
    assert key in everywhere_on_disk(enclave)
    done = decide(enclave, "auditor", asked)
    assert (done["state"], done["decided_by"]) == ("done", "user:auditor")
    assert key not in everywhere_on_disk(enclave)
    assert enclave.person("auditor")("GET", "audit/erasures")["erasures"][0]["cleared_at"] is not None
    shown = enclave.person("auditor")("GET", f"audit/entries/{enclave.cells['analyst']}")  # type: ignore[attr-defined]
    assert (shown["payload"], shown["payload_state"]) == (None, "erased")
    assert shown["erased"]["entry"] == done["done_entry"]
    other = enclave.person("auditor")("GET", f"audit/entries/{enclave.cells['analyst2']}")  # type: ignore[attr-defined]
    assert (other["payload"], other["payload_state"]) == (CODE, "shown")
    with store.open_database(enclave.instance.database) as log:
        assert verify(log, enclave.context.log_keys.verifier).findings == []
    entry = enclave.entries("control:erasure:carry-out")[0]
    assert (entry["actor"], entry["object"], entry["detail"]["payloads"]) == ("user:auditor", "user:analyst", 1)


def test_what_the_person_types_next_can_be_read_again(enclave: Enclave, asked: str) -> None:
    decide(enclave, "auditor", asked)
    server = enclave.server("analyst")
    again = server.begin(kernel=enclave.kernel(server), kind="execute", code="x")["entry"]
    assert enclave.person("auditor")("GET", f"audit/entries/{again}")["payload"] == "x"


@pytest.mark.parametrize(
    ("user", "verdict", "slug"),
    [
        ("admin", "approve", "own-request"),
        ("admin", "reject", "own-request"),
        ("auditor", "withdraw", "not-yours"),
        ("analyst", "approve", "not-permitted"),
        ("steward", "approve", "not-permitted"),
    ],
)
def test_nobody_erases_alone(enclave: Enclave, asked: str, user: str, verdict: str, slug: str) -> None:
    assert refused(decide, enclave, user, asked, verdict).slug == slug
    assert wrapped_key(enclave, "user:analyst")
    assert enclave.entries("control:erasure:carry-out") == []


def test_nobody_takes_part_in_erasing_their_own_texts(enclave: Enclave) -> None:
    enclave.add_policy("g, user:analyst, role:auditor\n")
    body = {"person": "user:analyst", "why": "Mine."}
    assert refused(enclave.person("analyst"), "POST", "audit/erasures", body).slug == "own-traces"
    asked = enclave.person("admin")("POST", "audit/erasures", body)["id"]
    assert refused(decide, enclave, "analyst", asked).slug == "own-traces"


@pytest.mark.parametrize(
    ("user", "verdict", "state"), [("auditor", "reject", "rejected"), ("admin", "withdraw", "withdrawn")]
)
def test_a_decision_is_taken_once(enclave: Enclave, asked: str, user: str, verdict: str, state: str) -> None:
    assert decide(enclave, user, asked, verdict)["state"] == state
    for again in Verdict:
        assert refused(decide, enclave, "auditor", asked, again.value).slug == "already-decided"
    assert wrapped_key(enclave, "user:analyst")


def test_refusals_say_what_to_do(enclave: Enclave, asked: str) -> None:
    admin = enclave.person("admin")
    for body, slug in (
        ({"person": "user:analyst", "why": "again"}, "erasure-open"),
        ({"person": "user:nobody", "why": "x"}, "nothing-to-erase"),
        ({"person": "user:analyst2", "why": "  "}, "no-reason"),
    ):
        assert refused(admin, "POST", "audit/erasures", body).slug == slug
    assert refused(admin, "POST", "audit/erasures/0/decision", {"verdict": "approve"}).slug == "unknown-erasure"
    assert refused(enclave.person("analyst"), "GET", "audit/erasures").slug == "not-permitted"


def test_where_it_is_off_nothing_is_erased(enclave: Enclave, asked: str) -> None:
    instance = replace(enclave.instance, audit=AuditSettings())
    enclave.public.state.context = replace(enclave.context, instance=instance)
    body = {"person": "user:analyst2", "why": "Law."}
    assert refused(enclave.person("admin"), "POST", "audit/erasures", body).slug == "erasure-off"
    assert refused(decide, enclave, "auditor", asked).slug == "erasure-off"
    assert wrapped_key(enclave, "user:analyst")


def test_clearing_up_is_repeated_until_nobody_reads(enclave: Enclave, asked: str) -> None:
    key = wrapped_key(enclave, "user:analyst")
    with closing(sqlite3.connect(enclave.instance.database, isolation_level=None)) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM log_entries").fetchone()
        with enclave.context.engine.connect() as connection:
            connection.connection.driver_connection.execute("PRAGMA busy_timeout = 50")  # type: ignore[union-attr]
        decide(enclave, "auditor", asked)
        assert key in everywhere_on_disk(enclave)
    assert erasure.clear_up(enclave.writer, enclave.context)
    assert key not in everywhere_on_disk(enclave)
    assert not erasure.clear_up(enclave.writer, enclave.context)


def test_a_key_that_was_deleted_behind_the_logs_back_is_found(enclave: Enclave) -> None:
    index = enclave.cells["analyst"]  # type: ignore[attr-defined]
    with closing(sqlite3.connect(enclave.instance.database)) as connection:
        connection.execute("DELETE FROM log_payload_keys WHERE person = 'user:analyst'")
        connection.commit()
    shown = enclave.person("auditor")("GET", f"audit/entries/{index}")
    assert (shown["payload"], shown["payload_state"]) == (None, "unreadable")
    with store.open_database(enclave.instance.database) as log:
        findings = verify(log, enclave.context.log_keys.verifier).findings
    assert [(finding.entry, "no entry says" in finding.text) for finding in findings] == [(index, True)]


def test_a_key_that_was_put_back_is_found(enclave: Enclave, asked: str) -> None:
    with enclave.context.engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM log_payload_keys WHERE person = 'user:analyst'")).one()
    decide(enclave, "auditor", asked)
    with closing(sqlite3.connect(enclave.instance.database)) as connection:
        connection.execute("INSERT INTO log_payload_keys VALUES (?, ?, ?)", tuple(row))
        connection.commit()
    with store.open_database(enclave.instance.database) as log:
        findings = verify(log, enclave.context.log_keys.verifier).findings
    assert ["key is still there" in finding.text for finding in findings] == [True]
    shown = enclave.person("auditor")("GET", f"audit/entries/{enclave.cells['analyst']}")  # type: ignore[attr-defined]
    assert shown["payload_state"] == "erased"
