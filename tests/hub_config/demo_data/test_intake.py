from __future__ import annotations

import io
import json
import socket
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from strongroom_hub.cli import dataset as command
from strongroom_hub.cli.metadata import describe
from strongroom_hub.config import Instance
from strongroom_hub.demo_data import DemoDataset, ingest, intake
from strongroom_hub.problems import Problem
from strongroom_hub.vault import sockets
from strongroom_hub.vault.places import Places
from typer.testing import CliRunner

BODY = {
    "name": "health/small",
    "label": "confidential",
    "title": "Small",
    "description": "",
    "owner": "steward",
    "stewards": ["steward"],
    "source": "",
    "licence": "",
    "columns": [{"name": "age", "description": "Age in years", "tags": ["quasi-identifier"]}],
}


def run(instance: Instance, *arguments: str) -> Any:
    return CliRunner().invoke(command.app, [*arguments, "--instance", str(instance.path)])


def test_a_file_becomes_a_visible_version_and_the_next_one_another(instance: Instance) -> None:
    for version in (1, 2):
        added = intake.add(instance, BODY, io.BytesIO(b"age,town\n40,a\n50,b\n"), "csv")
        assert added == ("health/small", version)
    listed = intake.versions(instance)
    assert [(one["version"], one["state"], one["rows"]) for one in listed] == [(2, "active", 2), (1, "active", 2)]


def test_a_file_that_is_refused_is_not_visible(instance: Instance) -> None:
    with pytest.raises(Problem, match="Row 3"):
        intake.add(instance, BODY, io.BytesIO(b"age,town\n40,a\n50\n"), "csv")
    assert intake.active_datasets(instance) == set()
    with pytest.raises(Problem, match="Nothing was changed"):
        intake.add(instance, BODY, io.BytesIO(b"years\n40\n"), "csv")
    assert intake.active_datasets(instance) == set()


def test_a_vault_that_is_not_there_is_told_in_words(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_ATTEMPTS", 1)
    instance.vault_socket.unlink()
    with sockets.listen(instance.vault_socket) as deaf:
        hang_up = threading.Thread(target=_accept_and_close, args=[deaf])
        hang_up.start()
        with pytest.raises(Problem) as refused:
            intake.add(instance, BODY, io.BytesIO(b"age\n40\n"), "csv")
        hang_up.join()
    assert refused.value.slug == "vault-unreachable"


def _accept_and_close(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_demo_data_is_brought_in_once_and_what_is_missing_is_added(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.DataFrame({"age": [40, 50]})
    demo = [DemoDataset(f"demo/d{n}", "secret", {**BODY, "columns": None}, frame) for n in range(3)]
    for one in demo:
        one.metadata.pop("name")
        one.metadata.pop("label")
    monkeypatch.setattr(intake, "SOURCES", demo)
    monkeypatch.setattr(intake, "prepare", lambda _: demo)
    intake.add(instance, {**BODY, "name": "demo/d1", "columns": None}, io.BytesIO(b"age\n1\n"), "csv")
    said: list[str] = []
    ingest(instance, said.append)
    assert intake.active_datasets(instance) == {"demo/d0", "demo/d1", "demo/d2"}
    assert [line for line in said if "demo/" in line] == [
        "encrypting demo/d0 (2 rows, secret)",
        "encrypting demo/d2 (2 rows, secret)",
    ]
    said.clear()
    ingest(instance, said.append)
    assert said == []


def test_the_commands_add_list_and_verify(instance: Instance, tmp_path: Path) -> None:
    table, about = tmp_path / "table.csv", tmp_path / "about.toml"
    table.write_text("age,town\n40,Zephyrville\n50,b\n")
    about.write_text(
        'title = "T"\nstewards = ["steward"]\n[columns.age]\ndescription = "Age"\ntags = ["quasi-identifier"]\n'
    )
    options = ["--name", "health/small", "--label", "confidential"]
    added = run(instance, "add", str(table), *options, "--metadata", str(about), "--as-told")
    assert added.stdout == "health/small version 1 is there, labelled confidential\n"
    assert run(instance, "list").output.split() == ["health/small", "1", "active", "confidential", "2"]
    good = run(instance, "verify")
    assert (good.exit_code, good.output) == (0, "good health/small version 1: 1 part(s), 2 rows\n")
    part = Places.of(instance).store / "health" / "small" / "1" / "part-00000.parquet"
    content = part.read_bytes()
    part.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    bad = run(instance, "verify", "health/small")
    assert bad.exit_code == 1
    assert "BAD  health/small version 1, part-00000.parquet: its SHA-256 is not the one in the manifest" in bad.output
    assert run(instance, "verify", "health/none").exit_code == 1


def test_a_draft_waits_until_somebody_decides_and_each_command_speaks_json(instance: Instance, tmp_path: Path) -> None:
    table, about = tmp_path / "people.csv", tmp_path / "about.toml"
    table.write_text("email,town\n" + "".join(f"u{n}@example.org,T{n}\n" for n in range(12)))
    about.write_text('stewards = ["steward"]\n')
    options = ["--name", "health/small", "--label", "internal", "--metadata", str(about)]
    waits = run(instance, "add", str(table), *options)
    assert waits.exit_code == command.WAITS
    assert "proposed: email: direct-identifier" in waits.output
    assert "all of its values have the form of e-mail addresses" in waits.output
    assert "u1@example.org" not in waits.output
    assert "waits for its steward" in waits.output
    assert run(instance, "publish", "health/small@1").exit_code == command.WAITS
    done = json.loads(run(instance, "publish", "health/small@1", "--accept", "--json").stdout)
    assert done == {"dataset": "health/small", "version": 1, "state": "active", "label": "confidential"}
    table.write_text("email,town,n\nx@example.org,T,1\n")
    again = run(instance, "new-version", str(table), "--name", "health/small", "--as-told")
    assert again.stdout == "health/small version 2 is there, labelled confidential\n"
    difference = json.loads(run(instance, "diff", "health/small", "1", "--json").stdout)
    assert (difference["added"], difference["after"]["rows"]) == (["n"], 1)
    assert "added: n" in run(instance, "diff", "health/small", "1", "2").stdout
    shown = json.loads(run(instance, "show", "health/small@1", "--json").stdout)
    assert shown["columns"][0]["tags"] == ["direct-identifier"]
    assert "email: String  (direct-identifier)" in run(instance, "show", "health/small@1").stdout
    assert "missing 0.0%" in run(instance, "profile", "health/small@1").stdout
    before_relabel = (Places.of(instance).store / "health" / "small" / "1" / "manifest.jws").read_text()
    relabelled = run(instance, "relabel", "health/small@1", "--label", "secret", "--why", "It names people.")
    assert relabelled.exit_code == 0, relabelled.output
    assert run(instance, "verify", "health/small").exit_code == 0
    manifest = Places.of(instance).store / "health" / "small" / "1" / "manifest.jws"
    manifest_now, _ = manifest.read_text(), manifest.write_text(before_relabel)
    assert "not the one that control made active" in run(instance, "verify", "health/small").output
    manifest.write_text(manifest_now)
    assert run(instance, "retire", "health/small@1", "--why", "Replaced.").exit_code == 0
    listed = json.loads(run(instance, "list", "--json", "--state", "retired").stdout)["datasets"]
    assert [(one["version"], one["label"]) for one in listed] == [(1, "secret")]
    assert isinstance(run(instance, "show", "health/none").exception, Problem)
    assert run(instance, "retire", "health/small", "--why", "x").exit_code == 1


def test_a_twin_is_shown_withheld_and_opened(instance: Instance, tmp_path: Path) -> None:
    table, about = tmp_path / "table.csv", tmp_path / "about.toml"
    table.write_text("n,word\n" + "".join(f"{n % 9},{'abc'[n % 3]}\n" for n in range(60)))
    about.write_text('stewards = ["steward"]\n')
    options = ["--name", "health/small", "--label", "secret", "--metadata", str(about), "--as-told"]
    assert run(instance, "add", str(table), *options).exit_code == 0
    told = run(instance, "twin", "health/small")
    assert told.stdout.splitlines()[0].endswith(" made-up rows"), told.output
    assert "withheld: nobody reads it (as its label says; nobody has decided)" in told.stdout
    opened = json.loads(run(instance, "twin", "health/small", "--open", "--json").stdout)["twin"]
    assert (opened["allowed"], opened["decided"], opened["version"]) == (True, True, 1)
    assert "withheld: nobody reads it (as decided)" in run(instance, "twin", "health/small", "--withhold").stdout
    refused = run(instance, "twin", "health/none", "--open").exception
    assert isinstance(refused, Problem)
    assert refused.slug == "unknown-dataset"


def test_the_example_of_the_stewards_page_is_taken_in(instance: Instance, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "stewards" / "datasets.md").read_text(encoding="utf-8")
    about, table = tmp_path / "visits.toml", tmp_path / "visits.csv"
    about.write_text(page.split("```toml\n")[1].split("```")[0])
    table.write_text(page.split("```csv\n")[1].split("```")[0])
    added = run(
        instance, "add", str(table), "--name", "health/visits", "--label", "confidential", "--metadata", str(about)
    )
    assert (added.exit_code, added.stdout) == (0, "health/visits version 1 is there, labelled confidential\n")
    shown = json.loads(run(instance, "show", "health/visits", "--json").stdout)
    assert [column["type"] for column in shown["columns"]] == ["String", "Int64", "Float64", "Date", "Boolean"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "needs a steward"),
        ("stewards = [", "is not TOML"),
        ('stewards = ["x"]\nsteward = "x"', "steward: no such field"),
        ('stewards = "x"', "stewards: must be a list"),
        ('stewards = ["x"]\ntitle = 5', "title: must be text"),
        ('stewards = ["x"]\n[columns.age]\nunits = "y"', "columns.age.units: no such field"),
        ('stewards = ["x"]\n[columns.age]\ntags = ["No Tag"]', "columns.age.tags.0:"),
        ('stewards = ["x"]\n[retention]\nthen = "shred"', "retention: give either `until` (a date) or `days`"),
        ('stewards = ["x"]\n[[checks]]\nkind = "pattern"\ncolumns = ["a"]\npattern = "("', "no regular expression"),
        ('stewards = ["x"]\n[[checks]]\nkind = "unique"', "checks.0: a check of kind 'unique' names its columns"),
        ('stewards = ["x"]\nsources = ["health/randhie"]', "sources.0:"),
    ],
)
def test_a_bad_description_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    file = None if text is None else tmp_path / "about.toml"
    if file is not None and text is not None:
        file.write_text(text)
    with pytest.raises(typer.Exit):
        describe("a/b", file)
    assert words in capsys.readouterr().err


def test_the_example_of_the_stewards_page_is_taken_as_it_stands(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "stewards" / "datasets.md").read_text(encoding="utf-8")
    about = tmp_path / "visits.toml"
    about.write_text(page.split("```toml\n")[1].split("```")[0])
    told = describe("health/visits", about)
    assert told["retention"] == {"until": "2031-12-31", "days": None, "then": "shred"}
    assert told["columns"]["sex"]["codes"] == {"1": "female", "2": "male", "9": "not stated"}


def test_an_unknown_format_or_file_is_refused_in_words(instance: Instance, tmp_path: Path) -> None:
    about = tmp_path / "about.toml"
    about.write_text('stewards = ["steward"]\n')
    options = ["--name", "a/b", "--label", "secret", "--metadata", str(about)]
    for name, words in (("model.pkl", "not known by its name"), ("gone.csv", "cannot be read")):
        answer = run(instance, "add", str(tmp_path / name), *options)
        assert answer.exit_code == 1
        assert words in answer.output
