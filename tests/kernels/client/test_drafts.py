"""Requests and exports that code prepares: in one call, and in forms that need no mouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import pytest
import strongroom
from strongroom import _used

_CATALOG = [
    {"name": "health/randhie", "columns": [{"name": "age"}, {"name": "income"}, {"name": "visits"}]},
    {"name": "nature/penguins", "columns": [{"name": "bill"}]},
]


@pytest.fixture
def server(doors: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(_used, "_touched", {"health/randhie": {"age", "visits"}})
    monkeypatch.setattr(_used, "_known", {})

    def answer(request: dict[str, Any]) -> tuple[Any, None]:
        if request["op"] == "catalog":
            return {"ok": True, "datasets": _CATALOG}, None
        return {"ok": True, "draft": "d1"}, None

    doors.ask.answer = answer
    return doors


def asked(doors: Any, operation: str) -> list[dict[str, Any]]:
    return [request for request in doors.ask.requests if request["op"] == operation]


def test_a_request_in_one_call(server: Any) -> None:
    draft = strongroom.request("health/randhie", columns=["age"], purpose="To learn.", days=30)
    assert asked(server, "request") == [
        {
            "v": 1,
            "op": "request",
            "dataset": "health/randhie",
            "columns": ["age"],
            "purpose": "To learn.",
            "days": 30,
            "used": ["age", "visits"],
        }
    ]
    assert repr(draft).startswith("Prepared, not sent: access to health/randhie, 1 column, for 30 days.")
    assert "Datasets panel" in draft._repr_html_()


def test_without_columns_a_request_is_for_those_that_were_used(server: Any) -> None:
    strongroom.request("health/randhie", purpose="To learn.")
    strongroom.request("nature/penguins", purpose="To learn.")
    assert [request["columns"] for request in asked(server, "request")] == [["age", "visits"], None]


def test_the_form_proposes_what_was_used_and_prepares_it(server: Any) -> None:
    form = strongroom.request("health/randhie")
    which, columns, hint, why, _days, button, said = form.children
    assert columns.value == ("age", "visits")
    assert "2 of 3 columns" in hint.value
    button.click()
    assert "say what for" in said.value
    assert asked(server, "request") == []
    why.value = "To <b>learn</b>"
    button.click()
    assert asked(server, "request")[0]["columns"] == ["age", "visits"]
    assert "Prepared, not sent" in said.value
    which.value = "nature/penguins"
    assert columns.value == ("bill",)


def test_a_form_for_what_one_may_not_know_of_is_refused_in_words(server: Any) -> None:
    with pytest.raises(strongroom.UnknownDataset, match=r"strongroom\.catalog"):
        strongroom.request("health/secret")
    form = strongroom.request("health/randhie", columns=["age", "no such column"])
    assert form.children[1].value == ("age",)


def test_forms_need_no_mouse(server: Any) -> None:
    """Every control is a native one with a label, in the order in which it is read; Enter sends."""
    form = strongroom.request("health/randhie")
    native = (ipywidgets.Dropdown, ipywidgets.SelectMultiple, ipywidgets.Text, ipywidgets.BoundedIntText)
    *fields, button, _said = form.children
    for field in fields:
        assert isinstance(field, (*native, ipywidgets.HTML))
        assert isinstance(field, ipywidgets.HTML) or field.description
    assert isinstance(button, ipywidgets.Button)
    why = next(field for field in fields if field.description == "Purpose")
    why.value = "To learn."
    why._handle_custom_msg({"event": "submit"}, [])  # as the page sends it for Enter
    assert len(asked(server, "request")) == 1


def test_a_refusal_is_told_in_the_form(server: Any) -> None:
    form = strongroom.request("health/randhie")
    form.children[3].value = "To learn."
    problem = {"title": "Too many <b>drafts</b>", "status": 429, "detail": "Wait."}
    server.ask.answer = lambda _request: ({"ok": False, "problem": problem}, None)
    form.children[-2].click()
    assert form.children[-1].value == "Too many &lt;b&gt;drafts&lt;/b&gt;<br>Wait."
    assert not form.children[-2].disabled


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "table.csv").write_text("a\n")
    (folder / ".hidden").write_text("a\n")
    (folder / "link.csv").symlink_to("/etc/hostname")
    monkeypatch.chdir(folder / "sub")
    return folder


def test_an_export_names_files_as_the_airlock_does(server: Any, work: Path) -> None:
    draft = strongroom.export("table.csv", justification="Counts.")
    strongroom.export(work / "sub" / "table.csv", "~/work/sub/table.csv", justification="Counts.")
    assert [request["paths"] for request in asked(server, "export")] == [["sub/table.csv"], ["sub/table.csv"] * 2]
    assert "Exports panel" in repr(draft)
    with pytest.raises(ValueError, match="not in the work folder"):
        strongroom.export("/etc/hostname", justification="x")


def test_the_export_form_offers_files(server: Any, work: Path) -> None:
    files, why, button, said = strongroom.export().children
    assert files.options == ("sub/table.csv",)
    button.click()
    assert "choose at least one file" in said.value
    files.value, why.value = ("sub/table.csv",), "Counts by age."
    why._handle_custom_msg({"event": "submit"}, [])
    assert asked(server, "export")[0]["justification"] == "Counts by age."


def test_without_widgets_the_call_is_told(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    with pytest.raises(strongroom.StrongroomError, match="Say it in one call"):
        strongroom.request("health/randhie")
    with pytest.raises(strongroom.StrongroomError, match="Say it in one call"):
        strongroom.export()


def test_a_saved_table_goes_by_a_file_that_is_gone_afterwards(server: Any, work: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415

    table = pa.table({"a": [1, 2]})
    seen: list[Any] = []

    def answer(request: dict[str, Any]) -> tuple[Any, None]:
        with pa.memory_map(str(work / request["file"])) as source:
            seen.append(pa.ipc.open_file(source).read_all())
        saved = {"dataset": "cardio/cohort1", "version": 2, "label": "confidential", "sources": ["health/randhie@1"]}
        return {"ok": True, **saved}, None

    server.ask.answer = answer
    saved = strongroom.save(table, "cardio/cohort1", title="Cohort", columns={"a": "A number."})
    assert seen == [table]
    assert sorted(path.name for path in work.iterdir()) == [".hidden", "link.csv", "sub"]
    assert str(saved) == "cardio/cohort1@2"
    assert "confidential, because of health/randhie@1" in repr(saved)
    assert asked(server, "save")[0]["columns"] == {"a": "A number."}
