from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from enclave import Enclave
from hypothesis import given
from hypothesis import strategies as st
from strongroom_hub.audit import words
from strongroom_hub.audit.words import words_of
from strongroom_hub.problems import Problem

CODE = {"analyst": "frame = sr.read_csv('Größe')\nprint(frame.head())", "analyst2": "import polars as pl\nframe = 1"}


def ran(cardio: Enclave) -> Enclave:
    """Two people ran a cell each; `cells` are their entries."""
    cardio.cells = {}  # type: ignore[attr-defined]
    for user, code in CODE.items():
        server = cardio.server(user)
        cell = server.begin(kernel=cardio.kernel(server), notebook="day.ipynb", kind="execute", code=code)
        cardio.cells[user] = cell["entry"]  # type: ignore[attr-defined]
    cardio.housekeeper.tick()
    return cardio


@pytest.fixture
def day(cardio: Enclave) -> Enclave:
    return ran(cardio)


def found(day: Enclave, user: str, **query: object) -> list[int]:
    return [entry["index"] for entry in day.person(user)("GET", "audit/entries", **query)["entries"]]


def test_text_is_found_by_its_words(day: Enclave) -> None:
    mine, other = day.cells["analyst"], day.cells["analyst2"]  # type: ignore[attr-defined]
    for text, indexes in (
        ("read_csv", [mine]),
        ("READ", [mine]),
        ("größe", [mine]),
        ("frame", [other, mine]),
        ("frame polars", [other]),
        ("frame nothing", []),
        ("fram", []),
    ):
        assert found(day, "auditor", text=text, action="server:cell:begin") == indexes, text
    assert found(day, "auditor", text="frame", actor="user:analyst", action="server:cell:begin") == [mine]
    assert found(day, "auditor", text="frame", before=other, action="server:cell:begin") == [mine]


def test_nobody_searches_what_they_may_not_read(day: Enclave) -> None:
    mine = day.cells["analyst"]  # type: ignore[attr-defined]
    assert found(day, "analyst", text="frame", action="server:cell:begin") == [mine]
    assert found(day, "analyst", text="polars") == []
    assert found(day, "analyst", text="frame", actor="user:analyst2") == []
    assert found(day, "steward", text="frame", action="server:cell:begin") == []
    assert found(day, "stranger", text="frame", action="server:cell:begin") == []
    # a steward sees that a cell ran on their data, not what was typed there: nor may a search tell it
    server = day.server("analyst")
    kernel = day.kernel(server)
    day.grant(server)
    day.read(server, kernel)
    later = server.begin(kernel=kernel, kind="execute", code="confession")["entry"]
    day.housekeeper.tick()
    assert later in found(day, "steward", action="server:cell:begin")
    assert found(day, "steward", text="confession") == []
    assert found(day, "auditor", text="confession", action="server:cell:begin") == [later]


def test_what_is_searched_for_in_texts_is_kept_as_a_text(day: Enclave) -> None:
    day.person("auditor")("GET", "audit/entries", text="dismissal")
    last = day.entries("control:log:read")[-1]
    assert "dismissal" not in str(last)
    assert day.person("auditor")("GET", f"audit/entries/{last['index']}")["payload"] == "dismissal"


def test_no_word_lies_readable_in_the_database(day: Enclave) -> None:
    with closing(sqlite3.connect(day.instance.database)) as connection:
        rows = connection.execute("SELECT word FROM log_words").fetchall()
        connection.execute("PRAGMA wal_checkpoint(FULL)")
    assert {len(word) for (word,) in rows} == {words.WORD_BYTES}
    on_disk = b"".join(file.read_bytes() for file in Path(day.instance.database).parent.glob("strongroom.sqlite*"))
    assert b"read_csv" not in on_disk
    assert b"polars" not in on_disk


def test_erased_texts_are_found_by_no_word(day: Enclave) -> None:
    instance = replace(day.instance, audit=replace(day.instance.audit, erasure="two-person"))
    day.public.state.context = replace(day.context, instance=instance)
    asked = day.person("admin")("POST", "audit/erasures", {"person": "user:analyst", "why": "Law."})["id"]
    day.person("auditor")("POST", f"audit/erasures/{asked}/decision", {"verdict": "approve"})
    index = day.cells["analyst"]  # type: ignore[attr-defined]
    with closing(sqlite3.connect(day.instance.database)) as connection:
        count = "SELECT count(*) FROM log_words WHERE entry = ?"
        assert connection.execute(count, (index,)).fetchone() == (0,)
    assert found(day, "auditor", text="read_csv", action="server:cell:begin") == []


def test_an_erasure_that_comes_between_leaves_no_word(day: Enclave, monkeypatch: pytest.MonkeyPatch) -> None:
    server = day.server("analyst")
    late = server.begin(kernel=day.kernel(server), kind="execute", code="meanwhile")["entry"]
    assert day.context.words is not None
    make = day.context.words._words

    def slow(row: object) -> set[bytes]:
        with closing(sqlite3.connect(day.instance.database)) as connection:
            connection.execute("DELETE FROM log_payload_keys WHERE person = 'user:analyst'")
            connection.commit()
        return make(row)

    monkeypatch.setattr(type(day.context.words), "_words", lambda self, row: slow(row))
    day.housekeeper.tick()
    with closing(sqlite3.connect(day.instance.database)) as connection:
        assert connection.execute("SELECT count(*) FROM log_words WHERE entry = ?", (late,)).fetchone() == (0,)


def test_where_it_is_off_it_says_so(day: Enclave) -> None:
    day.public.state.context = replace(day.context, words=None)
    with pytest.raises(Problem) as refused:
        found(day, "auditor", text="frame")
    assert refused.value.slug == "text-search-off"


def test_times_labels_and_datasets(day: Enclave) -> None:
    day.dataset("health/randhie")  # a second version
    entries = day.entries()
    middle = entries[len(entries) // 2]["time"]
    after = found(day, "auditor", since=middle, limit=1000)
    before = found(day, "auditor", until=middle, limit=1000)
    known = {entry["index"] for entry in entries}
    assert set(after) & set(before) == set()
    assert known <= set(after) | set(before)
    assert found(day, "auditor", since="2100-01-01") == []
    assert found(day, "auditor", until="2000-01-01") == []
    with pytest.raises(Problem) as refused:
        found(day, "auditor", since="yesterday")
    assert refused.value.slug == "no-time"
    labels = day.person("auditor")("GET", "audit/entries", label="confidential")["entries"]
    assert {entry["label"] for entry in labels} == {"confidential"}
    both = day.person("auditor")("GET", "audit/entries", object="health/randhie", limit=1000)["entries"]
    assert {entry["object"] for entry in both} == {"health/randhie@1", "health/randhie@2"}
    indexes = [entry["index"] for entry in both]
    assert indexes == sorted(indexes, reverse=True)
    first = day.person("auditor")("GET", "audit/entries", object="health/randhie", limit=2)
    rest = found(day, "auditor", object="health/randhie", before=first["next"], limit=1000)
    assert [entry["index"] for entry in first["entries"]] + rest == indexes


@given(st.text(max_size=60))
def test_words_are_found_however_they_are_written(text: str) -> None:
    assert words_of(text.upper().lower()) <= words_of(text.casefold()) | words_of(text.upper().lower())
    for word in words_of(text):
        assert word
        assert word in words_of(word)
