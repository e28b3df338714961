"""The examples of docs/admins are executed: the pages cannot drift from the product."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from strongroom_hub.cli.policy import app
from strongroom_policy.guards import FIELDS
from strongroom_policy.vocabulary import ACTIONS, KINDS
from typer.main import get_command
from typer.testing import CliRunner

ADMINS = Path(__file__).parents[2] / "docs" / "admins"
PAGE = (ADMINS / "policy-language.md").read_text()
CHANGE = (ADMINS / "change.md").read_text()
COMMANDS = (ADMINS / "commands.md").read_text()
PROMISES = (ADMINS / "tests-and-guards.md").read_text()
WHY = (ADMINS / "why.md").read_text()
WORDS_ON_A_PAGE = 600
LINES_ON_A_PAGE = 55


def blocks(info: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"^```{info}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def documented(folder):
    (folder / "policy.csv").write_text(blocks("csv policy")[0])
    (folder / "tests.csv").write_text(blocks("csv tests", PROMISES)[0])
    return folder


def test_the_example_is_a_policy_and_passes_its_tests(documented) -> None:
    done = CliRunner().invoke(app, ["test", str(documented)])
    assert done.exit_code == 0, done.output
    assert "7 of 7 tests pass" in done.output


@pytest.mark.parametrize("session", blocks("console", WHY))
def test_explanations_are_as_printed(documented, session: str) -> None:
    command, *expected = session.splitlines()
    words = shlex.split(command.removeprefix("$ strongroom policy "))
    done = CliRunner().invoke(app, [*words, "--dir", str(documented)])
    printed = re.sub(r"policy [0-9a-f]{12}$", "policy VERSION", done.output, flags=re.MULTILINE).splitlines()
    assert printed[: len(expected)] == expected


def test_further_rows_are_rows(documented, make, noon) -> None:
    for rows in blocks("csv more"):
        make(blocks("csv policy")[0] + rows)


def test_refused_rows_are_refused_in_these_words(documented, problems) -> None:
    good = blocks("csv policy")[0]
    pairs = blocks("csv refused", WHY)[0].splitlines()
    assert len(pairs) >= 14
    for row, comment in zip(pairs[::2], pairs[1::2], strict=True):
        found = problems(good + row)
        line = good.count("\n") + 1
        assert [f"# {str(one).removeprefix(f'policy.csv:{line}: ')}" for one in found] == [comment]


def test_the_language_is_on_two_pages() -> None:
    assert len(PAGE.split()) <= 2 * WORDS_ON_A_PAGE
    assert len(PAGE.splitlines()) <= 2 * LINES_ON_A_PAGE


def test_every_action_and_obligation_is_documented() -> None:
    for word in (*ACTIONS, *KINDS):
        assert f"`{word}`" in PAGE


def test_every_kind_and_key_of_guard_is_documented() -> None:
    for word in (*FIELDS, *(key for keys in FIELDS.values() for some in keys for key in some)):
        assert f"`{word}`" in PROMISES


def test_the_guards_hold_and_each_stops_what_it_says(documented) -> None:
    (documented / "guards.toml").write_text(blocks("toml guards", PROMISES)[0])
    run = CliRunner().invoke
    assert run(app, ["check", str(documented)]).exit_code == 0
    rules = (documented / "policy.csv").read_text()
    for row, guard in (
        ("p, X, role:analyst, approve-access, registry/patients, *, , , allow,", "approvers-do-not-read"),
        ("p, X, user:ann, read, registry/patients, *, , , allow,", "patients-stay"),
        ("p2, X, *, read, registry/patients#ssn, *, mask, redact, , why\ng, user:bob, role:dpo", "dpo-apart"),
    ):
        (documented / "policy.csv").write_text(rules + row + "\n")
        assert f"the guard {guard} is broken" in run(app, ["check", str(documented)]).output
    (documented / "policy.csv").write_text(rules.replace("*      , mask   , hash ", "project:stroke, mask, hash"))
    assert "the guard no-names is broken" in run(app, ["check", str(documented)]).output


@pytest.mark.parametrize("session", blocks("console", CHANGE)[1:])
def test_a_change_is_told_as_printed(documented, tmp_path_factory, monkeypatch, session: str) -> None:
    place = tmp_path_factory.mktemp("change")
    shutil.copytree(documented, place / "policy")
    shutil.copytree(documented, place / "draft")
    with (place / "draft" / "policy.csv").open("a") as file:
        file.write(blocks("csv change", CHANGE)[0])
    monkeypatch.chdir(place)
    monkeypatch.delenv("STRONGROOM_INSTANCE", raising=False)
    command, *expected = session.splitlines()
    done = CliRunner().invoke(app, shlex.split(command.removeprefix("$ strongroom policy ")))
    printed = re.sub(r"policy [0-9a-f]{12} ", "policy VERSION ", done.output).splitlines()
    assert printed[: len(expected)] == expected


def test_every_command_is_listed_and_speaks_json() -> None:
    listed = set(re.findall(r"`([a-z-]+)(?: [^`]*)?`", "".join(re.findall(r"^\| (`.*?) \|", COMMANDS, re.MULTILINE))))
    commands = get_command(app).commands
    assert listed == set(commands)
    for name, command in commands.items():
        assert "--json" in {option for parameter in command.params for option in parameter.opts}, name
