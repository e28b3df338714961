"""Timelines: who sees which, that all of it is there in its order, and that tables which say otherwise are noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from desk import export, reading, vote
from enclave import Caller, Enclave
from sqlalchemy import text
from strongroom_hub.cli import app, dataset_words
from strongroom_hub.cli import timeline as command
from strongroom_hub.database import writing
from strongroom_hub.problems import Problem
from typer.testing import CliRunner

DATASET, OTHER = "health/randhie", "health/other"


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


class Day:
    """The analyst read, ran cells in two notebooks, and exported; a colleague worked beside them."""

    def __init__(self, enclave: Enclave) -> None:
        self.enclave = enclave
        enclave.dataset(OTHER)
        self.server, self.kernel = reading(enclave)
        self.begun = [self.cell(f"code {number}") for number in range(3)]
        colleague = enclave.server("analyst2")
        colleague.begin(kernel=enclave.kernel(colleague), kind="execute", notebook="day.ipynb", code="theirs")
        self.export = export(enclave, self.server, cells=self.begun[:2])["id"]
        vote(enclave, "steward", self.export)

    def cell(self, code: str, server: Caller | None = None, kernel: str = "", notebook: str = "day.ipynb") -> int:
        server = server or self.server
        cell = server.begin(kernel=kernel or self.kernel, kind="execute", notebook=notebook, code=code)["entry"]
        server.end(cell, withheld=12345, duration_ms=777)
        return int(cell)

    def ask(self, who: str, at: str, **query: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.enclave.person(who)("GET", f"audit/timelines/{at}", **query)
        return found

    def all_of(self, who: str, at: str, **query: Any) -> list[dict[str, Any]]:
        found, before = [], None
        while True:
            page = self.ask(who, at, limit=5, **query, **({} if before is None else {"before": before}))
            found += page["entries"]
            before = page["next"]
            if before is None:
                return found


@pytest.fixture
def day(cardio: Enclave) -> Day:
    return Day(cardio)


def actions(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["action"] for entry in entries]


def test_a_persons_timeline_is_what_they_did_and_what_was_done_about_them(day: Day) -> None:
    day.enclave.account("analyst")
    expected = [
        one["index"]
        for one in day.enclave.entries()
        if one["actor"] == "user:analyst" or one["object"] == "user:analyst"
    ]
    found = day.all_of("auditor", "person/analyst")
    assert [one["index"] for one in found] == expected[::-1]
    assert "control:account:create" in actions(found)
    own = day.all_of("analyst", "person/analyst")
    assert {one["actor"] for one in own if one["action"] != "control:account:create"} == {"user:analyst"}
    assert any(one.get("narrowed") for one in own)
    assert "777" not in json.dumps([one["detail"] for one in own])
    # a steward sees of a person what touches their datasets, an analyst nobody else
    stewards = day.all_of("steward", "person/analyst")
    assert "control:access-request:submit" in actions(stewards)
    assert all(DATASET in json.dumps([one["object"], one["sources"]]) for one in stewards)
    assert day.all_of("steward", "person/analyst2") == []
    for name in ("analyst2", "nobody"):
        assert refused(day.ask, "analyst", f"person/{name}").status == 403


def test_a_datasets_timeline_is_its_versions_requests_reads_and_exports(day: Day) -> None:
    day.enclave.dataset(DATASET)  # a second version
    found = day.all_of("steward", f"dataset/{DATASET}")
    assert {
        "control:dataset:publish",
        "control:access-request:submit",
        "control:access-request:approve",
        "control:grant:create",
        "control:read:allow",
        "control:export:submit",
        "control:export:vote",
    } <= set(actions(found))
    assert {one["object"] for one in found} == {DATASET, f"{DATASET}@1", f"{DATASET}@2", f"export:{day.export}"}
    indexes = [one["index"] for one in found]
    assert indexes == sorted(set(indexes), reverse=True)
    assert [one["index"] for one in day.all_of("auditor", f"dataset/{DATASET}")] == indexes
    assert not any(one["object"] == f"export:{day.export}" for one in day.all_of("auditor", f"dataset/{OTHER}"))
    for user in ("analyst", "stranger"):
        assert refused(day.ask, user, f"dataset/{DATASET}").status == 403


def test_a_notebooks_timeline_is_its_cells_as_they_were_run_with_what_came_between(day: Day) -> None:
    other = "kernel-elsewhere"
    day.server("POST", "kernels", {"kernel": other, "notebook": "other.ipynb", "tier": "bubblewrap"})
    day.cell("elsewhere", kernel=other, notebook="other.ipynb")
    day.enclave.read(day.server, other)
    last = day.enclave.read(day.server, day.kernel)["entry"]
    day.server("DELETE", f"kernels/{day.kernel}", {"reason": "shutdown"})
    own = {"notebook": "day.ipynb", "user": "analyst", "project": "cardio"}
    whole = day.ask("auditor", "notebook", limit=200, **own)["entries"]
    assert [one["index"] for one in whole if one["action"] == "server:cell:begin"] == day.begun[::-1]
    assert [one["text"]["payload"] for one in whole if one["action"] == "server:cell:begin"] == [
        "code 2",
        "code 1",
        "code 0",
    ]
    assert actions(whole)[0] == "server:kernel:stop"
    assert "server:kernel:start" in actions(whole)
    assert last in [one["index"] for one in whole]
    assert {one["kernel"] for one in whole} == {day.kernel}, "another notebook's kernel"
    assert [one["index"] for one in day.all_of("auditor", "notebook", **own)] == [one["index"] for one in whole]
    # their author sees it, too, without what code chose
    mine = day.ask("analyst", "notebook", limit=200, **own)["entries"]
    assert [one["index"] for one in mine if one["action"] == "server:cell:begin"] == day.begun[::-1]
    assert "withheld" not in json.dumps(mine)
    assert last not in [one["index"] for one in mine]
    in_lab = day.server("GET", "audit/timelines/notebook?notebook=day.ipynb&limit=200")["entries"]
    assert actions(in_lab) == actions(mine)
    # and nobody else
    assert refused(day.ask, "analyst2", "notebook", **own).status == 403
    assert refused(day.ask, "analyst", "notebook", notebook="day.ipynb").status == 403
    stewards = day.ask("steward", "notebook", limit=200, **own)["entries"]
    assert "server:cell:end" in actions(stewards)
    assert all(one["text"] is None for one in stewards), "code is for its author and for auditors"
    assert {one["actor"] for one in day.ask("auditor", "notebook", notebook="day.ipynb", limit=200)["entries"]} == {
        "user:analyst",
        "user:analyst2",
    }


def test_beside_too_much_a_page_ends_early_and_the_next_goes_on(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom_hub.audit.timelines.MOST_BESIDE", 4)
    for _ in range(7):
        day.enclave.read(day.server, day.kernel)
    day.cell("after the reads")
    reads = [one["index"] for one in day.enclave.entries("control:read:allow")]
    found = [one["index"] for one in day.all_of("auditor", "notebook", notebook="day.ipynb", user="analyst")]
    assert found == sorted(set(found), reverse=True)
    assert set(reads) <= set(found)
    assert set(day.begun) <= set(found)


def test_all_that_led_to_a_file_from_the_data_to_the_release(day: Day) -> None:
    day.server("POST", f"exports/{day.export}/download")
    day.server("POST", f"exports/{day.export}/download")
    chain = day.ask("auditor", f"export/{day.export}")
    entries = chain["entries"]
    indexes = [one["index"] for one in entries]
    assert indexes == sorted(set(indexes))
    assert chain["left_out"] is False
    as_the_log_has_it = day.ask("auditor", f"export/export:{day.export}")
    assert [one["index"] for one in as_the_log_has_it["entries"]] == indexes
    by_role = {
        role: actions([one for one in entries if one["role"] == role])
        for role in ("data", "access", "read", "cell", "export")
    }
    assert by_role["data"] == ["control:dataset:publish"] * 2
    assert by_role["access"] == [
        "control:access-request:submit",
        "control:grant:create",
        "control:access-request:approve",
    ]
    assert by_role["read"] == ["control:read:allow", "control:label:raise"]
    assert by_role["cell"] == ["server:cell:begin", "server:cell:end"] * 2
    assert by_role["export"][:4] == [
        "control:export:draft",
        "control:export:submit",
        "control:export:vote",
        "control:export:approve",
    ]
    assert by_role["export"][4:] == [
        "control:export:release",
        "control:export:download",
        "control:export:download",
    ]
    assert [one["index"] for one in entries if one["action"] == "server:cell:begin"] == day.begun[:2]
    released = next(one for one in entries if one["action"] == "control:export:release")
    drafted = next(one for one in entries if one["action"] == "control:export:draft")
    assert released["detail"]["files"] == drafted["detail"]["files"]
    log = {one["index"]: one for one in day.enclave.entries()}
    for one in entries:
        assert {name: one[name] for name in log[one["index"]]} == log[one["index"]]
    # what comes after the release did not lead to it
    day.enclave.person("steward")("GET", "grants")
    granted = day.enclave.person("steward")("GET", "grants")["grants"][0]["id"]
    day.enclave.person("steward")("POST", f"grants/{granted}/revoke", {"reason": "over"})
    assert "control:grant:revoke" not in actions(day.ask("auditor", f"export/{day.export}")["entries"])


def test_who_sees_how_much_of_an_exports_chain(day: Day) -> None:
    whole = day.ask("auditor", f"export/{day.export}")["entries"]
    # its reviewers see all, with the code that they review
    reviewed = day.ask("steward", f"export/{day.export}")
    assert [one["index"] for one in reviewed["entries"]] == [one["index"] for one in whole]
    begins = [one for one in reviewed["entries"] if one["action"] == "server:cell:begin"]
    assert [one["text"]["payload"] for one in begins] == ["code 0", "code 1"]
    # who asked for it sees their own side, narrowed
    for mine in (
        day.ask("analyst", f"export/{day.export}"),
        day.server("GET", f"audit/timelines/export/{day.export}"),
    ):
        assert mine["left_out"] is True
        assert not {"data"} & {one["role"] for one in mine["entries"]}
        assert "control:export:view" not in actions(mine["entries"])
        raw = json.dumps(mine)
        assert "12345" not in raw
        assert "withheld" not in raw
        assert "sha256" not in json.dumps([one["detail"] for one in mine["entries"]])
        assert (
            next(one for one in mine["entries"] if one["action"] == "control:export:vote")["text"]["payload"] == "seen"
        )
    for stranger in ("analyst2", "stranger"):
        assert refused(day.ask, stranger, f"export/{day.export}").status == 404
    assert refused(day.ask, "auditor", "export/0000").status == 404
    other = day.enclave.server("analyst2")
    assert refused(other, "GET", f"audit/timelines/export/{day.export}").status == 404


def test_looking_is_logged_also_where_it_was_refused(day: Day) -> None:
    for at, kind, of, query in (
        ("person/analyst2", "person", "analyst2", {}),
        (f"dataset/{DATASET}", "dataset", DATASET, {}),
        ("notebook", "notebook", "x.ipynb", {"notebook": "x.ipynb", "user": "analyst2"}),
        ("export/none", "export", "none", {}),
    ):
        refused(day.ask, "analyst", at, **query)
        last = day.enclave.entries("control:log:read")[-1]
        assert last["actor"] == "user:analyst"
        assert (last["detail"]["timeline"], last["detail"]["of"]) == (kind, of)


TAMPERED = {
    "another's cell": "UPDATE export SET cells = json_array(:colleague) WHERE id = :id",
    "fewer cells": "UPDATE export SET cells = '[]' WHERE id = :id",
    "other sources": "UPDATE export SET sources = '[]' WHERE id = :id",
    "another file": "UPDATE export_file SET sha256 = :sha WHERE export = :id",
    "another name": "UPDATE export_file SET name = 'other.csv' WHERE export = :id",
    "somebody else's": "UPDATE export SET user = 'analyst2' WHERE id = :id",
    "another end": "UPDATE cell SET end_entry = :draft WHERE entry = :begin",
    "the end of another cell": "UPDATE cell SET end_entry = :end WHERE entry = :begin",
    "another read": "UPDATE source SET entry = :draft",
}


@pytest.mark.parametrize("change", TAMPERED)
def test_tables_that_say_something_else_than_the_log_are_noticed(day: Day, change: str) -> None:
    theirs = next(one for one in day.enclave.entries("server:cell:begin") if one["actor"] == "user:analyst2")
    values = {
        "id": day.export,
        "colleague": theirs["index"],
        "sha": "0" * 64,
        "draft": day.enclave.entries("control:export:draft")[0]["index"],
        "begin": day.begun[0],
        "end": day.enclave.entries("server:cell:end")[1]["index"],
    }
    statement = TAMPERED[change]
    with writing(day.enclave.context.engine) as connection:
        connection.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
    problem = refused(day.ask, "auditor", f"export/{day.export}")
    assert (problem.status, problem.slug) == (500, "audit-altered")


def test_an_export_that_no_entry_knows_is_noticed(day: Day) -> None:
    with writing(day.enclave.context.engine) as connection:
        columns = [row[1] for row in connection.execute(text("PRAGMA table_info(export)"))]
        values = ", ".join("'forged'" if name == "id" else name for name in columns)
        connection.execute(text(f"INSERT INTO export ({', '.join(columns)}) SELECT {values} FROM export"))
    assert refused(day.ask, "auditor", "export/forged").slug == "audit-altered"


@pytest.fixture
def run(day: Day, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    class Line:
        def __init__(self, *_: Path) -> None:
            pass

        def call(self, method: str, path: str) -> object:
            return day.enclave.operator(method, path)

    instance = day.enclave.instance
    instance.save()
    monkeypatch.setenv("STRONGROOM_INSTANCE", str(instance.path))
    monkeypatch.setattr(dataset_words, "ControlClient", Line)
    monkeypatch.setattr(command, "_PAGE", 3)
    return lambda *words: CliRunner().invoke(app, ["audit", "timeline", *map(str, words)])


def test_the_command_line_lists_what_the_console_shows(day: Day, run: Callable[..., Result]) -> None:
    for kind, of, at, more in (
        ("person", "analyst", "person/analyst", {}),
        ("dataset", DATASET, f"dataset/{DATASET}", {}),
        ("notebook", "day.ipynb", "notebook", {"user": "analyst", "project": "cardio"}),
        ("export", day.export, f"export/{day.export}", {}),
    ):
        query = {"notebook": of, **more} if kind == "notebook" else {}
        shown = day.ask("auditor", at, **query, **({} if kind == "export" else {"limit": 200}))
        options = [word for name, value in more.items() for word in (f"--{name}", value)]
        done = run(kind, of, *options, "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert [one["index"] for one in told["entries"]] == [one["index"] for one in shown["entries"]], kind
        assert told["next"] is None
        lines = run(kind, of, *options).stdout.splitlines()
        heads = [int(line.split()[0]) for line in lines if line[:1] == " " and line.split()[0].isdecimal()]
        assert heads == [one["index"] for one in shown["entries"]]
    read = day.enclave.entries("control:log:read")[-1]
    assert (read["actor"], read["detail"]["timeline"], read["detail"]["of"]) == ("operator", "export", day.export)
    assert "         | code 1" in run("notebook", "day.ipynb").stdout.splitlines()
    assert f"--- export {day.export} of analyst in cardio: approved" in run("export", day.export).stdout


def test_the_command_line_goes_on_where_it_ended(day: Day, run: Callable[..., Result]) -> None:
    whole = [one["index"] for one in json.loads(run("person", "analyst", "--json").stdout)["entries"]]
    first = json.loads(run("person", "analyst", "--newest", "5", "--json").stdout)
    assert [one["index"] for one in first["entries"]] == whole[:5]
    assert f"there is more: --before {first['next']}" in run("person", "analyst", "--newest", "5").output
    rest = json.loads(run("person", "analyst", "--before", first["next"], "--json").stdout)
    assert [one["index"] for one in rest["entries"]] == whole[5:]
    assert "the log shows nothing of person 'nobody'" in run("person", "nobody").output
    wrong = run("person", "analyst", "--project", "cardio")
    assert (wrong.exit_code, "leave them out" in wrong.output) == (1, True)


def test_only_the_operator_asks_on_the_command_line_and_nothing_typed_steers_a_terminal(
    day: Day, run: Callable[..., Result]
) -> None:
    for caller in (day.server, day.enclave.hub_caller):
        assert refused(caller, "GET", "audit/timeline?kind=person&of=analyst").status == 401
    day.cell("print('\x1b]0;title\x07')")
    assert r"| print('\x1b]0;title\x07')" in run("notebook", "day.ipynb").stdout
    assert "\x1b" not in run("notebook", "day.ipynb", "--json").stdout
