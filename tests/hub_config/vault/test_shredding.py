from __future__ import annotations

import errno
import os
from typing import Any

import polars as pl
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import store as store_module
from strongroom_hub.vault import views
from strongroom_hub.vault.jobs import ViewJob
from strongroom_hub.vault.tickets import KeyTicket, View

ORDER = {
    "operation": "shred",
    "dataset": "health/people",
    "version": 1,
    "asked_by": "user:steward",
    "agreed_by": "user:admin",
    "why": "The consent was withdrawn.",
    "entry": 41,
    "at": "2026-11-28T05:00:00.000Z",
}


def order(room: Any, **changed: Any) -> list[str]:
    token = room.signer.token("keys", **(ORDER | changed))
    ticket = room.vault.tickets.verify(token, KeyTicket)
    removed: list[str] = room.vault.key_operation(ticket, token)["removed"]
    return removed


def collected(room: Any, columns: list[str], **changed: Any) -> pl.DataFrame:
    view = View.model_validate(room.view("health/people", columns, **changed))
    return views.collect_view(ViewJob.prepare(room.vault.store.open("health/people", 1), view, room.vault.keys))


@pytest.fixture
def filled(room: Any, people: pl.DataFrame) -> Any:
    room.publish("health/people", people)
    return room


def test_a_shredded_column_is_gone_and_says_by_whom(filled: Any, people: pl.DataFrame) -> None:
    folder = filled.folder("health/people")
    before = (folder / "keys.json").read_bytes()
    os.close(filled.read("health/people", ["person", "age"]).fd)  # its view is cached
    assert order(filled, columns=["person"]) == ["synthetic:person", "table:person"]
    for attempt in (
        lambda: collected(filled, ["person"]),
        lambda: filled.read("health/people", ["person", "age"]),
    ):
        with pytest.raises(Problem) as refused:
            attempt()
        assert (refused.value.status, refused.value.slug) == (410, "shredded")
        assert "asked for by user:steward, agreed to by user:admin, entry 41" in refused.value.detail
    assert collected(filled, ["age", "income"]).equals(people.select("age", "income"))
    assert '"person"' not in (folder / "keys.json").read_text()
    assert filled.vault.store.verify("health/people", 1).rows == 60
    # a backup that somebody puts back opens nothing, and is noticed
    (folder / "keys.json").write_bytes(before)
    with pytest.raises(Problem, match="was shredded"):
        collected(filled, ["person"])
    with pytest.raises(Problem, match="'person' lies here, but it was shredded"):
        filled.vault.store.verify("health/people", 1)
    assert order(filled, columns=["person"]) == ["synthetic:person", "table:person"]
    assert filled.vault.store.verify("health/people", 1).rows == 60


def test_no_wrapped_key_of_it_is_left_anywhere_on_disk(filled: Any) -> None:
    wrapped = filled.vault.store.open("health/people", 1).wrapped
    filled.vault.key_room.rotate()
    filled.vault.key_room.rekey()
    again = filled.vault.store.open("health/people", 1).wrapped
    order(filled, columns=["person"])
    secrets = [keys["table", "person"].wrapped.encode() for keys in (wrapped, again)]
    for file in [path for path in filled.instance.data.rglob("*") if path.is_file()]:
        assert not any(secret in file.read_bytes() for secret in secrets), file


def test_a_whole_version_can_be_shredded_and_then_verifies(filled: Any) -> None:
    assert len(order(filled)) == 10  # and those of the synthetic twin
    with pytest.raises(Problem, match="was shredded"):
        collected(filled, ["age"])
    assert filled.vault.store.open("health/people", 1).wrapped == {}
    assert filled.vault.store.verify("health/people", 1).rows == 60


def test_a_mask_that_hides_a_column_needs_nothing_of_what_is_gone(filled: Any) -> None:
    order(filled, columns=["person"])
    frame = collected(filled, ["person", "age"], masks={"person": {"method": "redact"}})
    assert frame["person"].unique().to_list() == ["[redacted]"]


def test_an_order_counts_from_its_writing_on_and_a_full_disk_loses_nothing(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "replace_and_wipe", full)
        with pytest.raises(Problem, match="could not write"):
            order(filled, columns=["person"])
    with pytest.raises(Problem, match="was shredded"):
        collected(filled, ["person"])
    with pytest.raises(Problem, match="lies here"):
        filled.vault.store.verify("health/people", 1)
    assert collected(filled, ["age"]).height == 60
    order(filled, columns=["person"])
    assert filled.vault.store.verify("health/people", 1).rows == 60


def test_orders_are_control_s_and_of_this_version(filled: Any) -> None:
    with pytest.raises(Problem, match="holds no 'other'"):
        order(filled, columns=["other"])
    file = filled.folder("health/people") / "shredded.jws"
    assert not file.exists()
    own = filled.signer
    forged = type(own)().token("keys", **ORDER)
    for text in (
        forged,
        own.token("keys", **(ORDER | {"version": 2})),
        own.token("fetch", export="e", sha256="0" * 64),
    ):
        file.write_text(text + "\n")
        with pytest.raises(Problem, match=r"shredded\.jws"):
            collected(filled, ["age"])
    file.write_text(own.token("keys", life=-3600, **ORDER) + "\n")  # a kept order never expires
    with pytest.raises(Problem, match="was shredded"):
        collected(filled, ["age"])


def test_the_door_takes_no_other_ticket_for_an_order(filled: Any) -> None:
    with pytest.raises(Problem, match="needs a keys ticket"):
        filled.vault.tickets.verify(filled.signer.token("fetch", export="e", sha256="0" * 64), KeyTicket)
    with pytest.raises(Problem, match="cannot be honoured"):
        filled.vault.tickets.verify(filled.signer.token("keys", operation="export"), KeyTicket)
