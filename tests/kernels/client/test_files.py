from __future__ import annotations

from typing import Any

import pytest
import strongroom

LISTED = {
    "name": "lab/models",
    "version": 2,
    "label": "internal",
    "columns": [{"name": "net.skops", "type": "File"}, {"name": "notes.txt", "type": "File"}],
    "access": {"read": True, "columns": ["net.skops"]},
}
TABLE = {"name": "health/people", "version": 1, "label": "secret", "columns": [{"name": "age", "type": "Int64"}]}


def server(request: dict[str, Any]) -> tuple[dict[str, Any], None]:
    if request["op"] == "catalog":
        return {"ok": True, "datasets": [TABLE, LISTED]}, None
    return {"ok": True, "ticket": "t", **{key: request[key] for key in ("dataset", "version", "columns")}}, None


@pytest.fixture
def given(doors: Any) -> Any:
    """Sets what the vault answers; the server lists and gives tickets."""
    doors.ask.answer = server

    def set_answer(said: dict[str, Any], content: bytes | None) -> Any:
        doors.data.answer = lambda _: (said, content)
        return doors

    return set_answer


def test_files_are_listed_without_reading_and_opened_one_by_one(given: Any) -> None:
    doors = given({"ok": True, "kind": "files"}, b"model bytes")
    found = strongroom.files("lab/models")
    assert (list(found), found.readable, found.version, len(found)) == (
        ["net.skops", "notes.txt"],
        ("net.skops",),
        2,
        2,
    )
    assert "notes.txt   (ask for access)" in repr(found)
    assert doors.data.requests == []
    with found.open("net.skops") as content:
        assert content.read(5) == b"model"
    assert found.read("net.skops") == b"model bytes"
    assert doors.ask.requests[1] == {
        "v": 1,
        "op": "open",
        "dataset": "lab/models",
        "version": 2,
        "columns": ["net.skops"],
    }


def test_what_is_not_there_is_said_in_words(given: Any) -> None:
    given({"ok": True, "kind": "table"}, b"rows")
    with pytest.raises(strongroom.UnknownDataset, match=r"holds no 'other'"):
        strongroom.files("lab/models").open("other")
    with pytest.raises(strongroom.UnknownDataset, match="no dataset 'lab/none'"):
        strongroom.files("lab/none")
    with pytest.raises(strongroom.StrongroomError, match="is a table"):
        strongroom.files("health/people")
    with pytest.raises(strongroom.Unavailable, match="did not arrive"):
        strongroom.files("lab/models").open("net.skops")


def test_a_refusal_keeps_its_words(given: Any) -> None:
    problem = {
        "type": "urn:strongroom:problem:too-large",
        "title": "Too large",
        "status": 413,
        "detail": "No.",
        "why": [],
    }
    given({"ok": False, "problem": problem}, None)
    with pytest.raises(strongroom.StrongroomError, match="Too large"):
        strongroom.files("lab/models").open("net.skops")


def test_files_opened_as_a_table_name_the_way_to_open_them(given: Any) -> None:
    given({"ok": True, "kind": "files"}, b"model bytes")
    with pytest.raises(strongroom.StrongroomError, match=r"strongroom\.files"):
        strongroom.open("lab/models", columns=["net.skops"])
