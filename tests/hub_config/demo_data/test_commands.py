"""Commands of the operator against real control and vault: keys, files, courses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strongroom_hub.cli import app
from strongroom_hub.config import Instance
from strongroom_hub.demo_data import intake
from strongroom_hub.keys import service as keys
from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict
from strongroom_hub.vault.places import Places
from strongroom_hub.vault.wrapped import decode
from typer.testing import CliRunner

from tests.hub_config.demo_data.conftest import Inside
from tests.hub_config.demo_data.test_intake import BODY

Run = Callable[..., Any]


@pytest.fixture
def run(instance: Instance) -> Run:
    """`strongroom ARGUMENTS --instance ...`."""
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--instance", str(instance.path)])


def keks(instance: Instance, name: str, version: int) -> set[str]:
    folder = Places.of(instance).store / name / str(version)
    return {key.kek for key in decode((folder / "keys.json").read_bytes()).values()}


def filled(instance: Instance) -> None:
    for _ in range(2):
        intake.add(instance, BODY, io.BytesIO(b"age,town\n40,a\n50,b\n"), "csv")


def test_rekey_exchanges_one_version_or_all(instance: Instance, run: Run) -> None:
    filled(instance)
    assert "local:2 wraps from now on" in run("keys", "rotate").stdout
    assert keks(instance, "health/small", 1) == {"local:1"}
    one = run("dataset", "rekey", "health/small@1")
    assert one.stdout.startswith("3 key(s) are now wrapped under local:2; 4 under older ones"), one.output
    assert (keks(instance, "health/small", 1), keks(instance, "health/small", 2)) == ({"local:2"}, {"local:1"})
    everything = run("dataset", "rekey", "--all")
    assert everything.stdout.endswith("under local:2; 0 under older ones\n"), everything.output
    assert keks(instance, "health/small", 2) == {"local:2"}
    status = run("keys", "status").stdout.splitlines()
    assert [line.split()[:2] for line in status] == [["local:1", "0"], ["local:2", "7"]]
    assert "(wraps now)" in status[1]
    assert run("keys", "destroy", "local:1").stdout == "local:1 is gone; there are: local:2\n"
    assert run("dataset", "verify").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dataset", "rekey"), "name one version"),
        (("dataset", "rekey", "health/small@1", "--all"), "name one version"),
        (("dataset", "rekey", "health/small"), "names no version"),
        (("dataset", "rekey", "health/small@x"), "names no version"),
        (("dataset", "shred", "health/small"), "names no version"),
        (("dataset", "shred", "health/small@1", "--confirm", "1"), "one thing at a time"),
        (("dataset", "shred", "--reject", "1", "--withdraw", "1"), "one thing at a time"),
        (("dataset", "add-files", "/nonexistent", "--name", "a/b", "--label", "secret"), "needs a steward"),
    ],
)
def test_what_names_nothing_is_refused_in_words(run: Run, arguments: tuple[str, ...], words: str) -> None:
    answer = run(*arguments)
    assert answer.exit_code == 1
    assert words in answer.output


def test_shredding_takes_a_second_person_and_ends_reading(inside: Inside, run: Run) -> None:
    instance = inside.instance
    filled(instance)
    assert run("dataset", "shred").stdout == ""
    asked = run("dataset", "shred", "health/small@1", "--column", "age", "--reason", "The consent was withdrawn.")
    shred, state, what = asked.stdout.split(maxsplit=2)
    assert (state, what) == ("open", "health/small@1: age (asked by operator)\n")
    assert run("dataset", "shred").stdout == asked.stdout
    own = run("dataset", "shred", "--confirm", shred).exception
    assert isinstance(own, Problem)
    assert own.slug == "two-people"
    done = keys.decide(
        inside.writer, inside.context, actor="user:steward", shred_id=shred, verdict=Verdict.APPROVE, comment=""
    )
    assert done["state"] == "done"
    assert "  done " in run("dataset", "shred").stdout
    left = {name for _, name in decode((Places.of(instance).store / "health/small/1/keys.json").read_bytes())}
    assert left == {"", "town"}
    assert run("dataset", "verify").exit_code == 0
    again = run("dataset", "shred", "health/small@2", "--reason", "All of it.")
    assert "health/small@2: everything" in again.stdout
    gone = run("dataset", "shred", "--withdraw", again.stdout.split()[0], "--reason", "Not that one.")
    assert gone.stdout.split()[1] == "withdrawn"
    assert (Places.of(instance).store / "health/small/2/keys.json").exists()


def test_files_are_taken_in_under_their_names(instance: Instance, run: Run, tmp_path: Path) -> None:
    about, model, text = tmp_path / "about.toml", tmp_path / "net.skops", tmp_path / "notes.txt"
    about.write_text('stewards = ["steward"]\n[columns."net.skops"]\ndescription = "A net"\ntags = []\n')
    model.write_bytes(b"weights" * 1000)
    text.write_text("how it was trained")
    options = ["--name", "models/net", "--label", "confidential", "--metadata", str(about)]
    added = run("dataset", "add-files", str(model), str(text), *options)
    assert added.stdout == "models/net version 1 is there with 2 file(s), labelled confidential\n", added.output
    shown = json.loads(run("dataset", "show", "models/net", "--json").stdout)
    assert [(one["name"], one["type"], one["description"]) for one in shown["columns"]] == [
        ("net.skops", "File", "A net"),
        ("notes.txt", "File", ""),
    ]
    assert run("dataset", "verify", "models/net").exit_code == 0
    stored = [file for file in (Places.of(instance).store / "models/net/1").iterdir() if file.suffix == ".sealed"]
    assert len(stored) == 2
    assert not any(b"weights" in file.read_bytes() or b"trained" in file.read_bytes() for file in stored)


def test_files_that_cannot_be_taken_in_are_refused_and_leave_nothing(
    instance: Instance, run: Run, tmp_path: Path
) -> None:
    about, one, other = tmp_path / "about.toml", tmp_path / "a.txt", tmp_path / "b" / "a.txt"
    about.write_text('stewards = ["steward"]\n')
    other.parent.mkdir()
    for file in (one, other):
        file.write_text("x")
    options = ["--name", "models/net", "--label", "secret", "--metadata", str(about)]
    twice = run("dataset", "add-files", str(one), str(other), *options)
    assert (twice.exit_code, "the same name" in twice.output) == (1, True)
    missing = run("dataset", "add-files", str(tmp_path / "gone"), *options)
    assert (missing.exit_code, "cannot be read" in missing.output) == (1, True)
    odd = tmp_path / "tab\tname"
    odd.write_text("x")
    problem = run("dataset", "add-files", str(odd), *options).exception
    assert isinstance(problem, Problem)
    assert "name is not made of letters" in problem.detail
    assert intake.active_datasets(instance) == set()
    assert not list(Places.of(instance).store.glob("models/net/*"))


def test_courses_are_recorded_and_listed(run: Run) -> None:
    recorded = run("training", "record", "analyst", "gdpr", "--on", "2026-01-31")
    assert recorded.stdout == "analyst passed gdpr on 2026-01-31.\n", recorded.output
    assert run("training", "record", "steward", "statistics").exit_code == 0
    listed = [line.split()[:2] for line in run("training", "list").stdout.splitlines()]
    assert sorted(listed) == [["analyst", "gdpr"], ["steward", "statistics"]]
    assert run("training", "list", "analyst").stdout.split() == ["analyst", "gdpr", "2026-01-31"]
    assert run("training", "list", "nobody").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("analyst", "gdpr", "--on", "31.1.2026"), 2),
        (("analyst", "gdpr", "--on", "2999-01-01"), 1),
        (("analyst", "no course"), 1),
    ],
)
def test_a_course_that_cannot_be_noted_is_refused_in_words(run: Run, arguments: tuple[str, ...], status: int) -> None:
    answer = run("training", "record", *arguments)
    assert (answer.exit_code, bool(answer.output.strip())) == (status, True)
    assert not isinstance(answer.exception, Problem)
    assert run("training", "list").stdout == ""
