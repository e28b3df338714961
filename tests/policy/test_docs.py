"""The examples of docs/admins/policy-language.md are executed: the page cannot drift from the product."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from strongroom_hub.cli.policy import app
from strongroom_policy.vocabulary import ACTIONS, KINDS
from typer.testing import CliRunner

PAGE = (Path(__file__).parents[2] / "docs" / "admins" / "policy-language.md").read_text()


def blocks(info: str) -> list[str]:
    return re.findall(rf"^```{info}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def documented(folder):
    (folder / "policy.csv").write_text(blocks("csv policy")[0])
    (folder / "tests.csv").write_text(blocks("csv tests")[0])
    return folder


def test_the_example_is_a_policy_and_passes_its_tests(documented) -> None:
    done = CliRunner().invoke(app, ["test", str(documented)])
    assert done.exit_code == 0, done.output
    assert "7 of 7 tests pass" in done.output


@pytest.mark.parametrize("session", blocks("console"))
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
    pairs = blocks("csv refused")[0].splitlines()
    assert len(pairs) >= 14
    for row, comment in zip(pairs[::2], pairs[1::2], strict=True):
        found = problems(good + row)
        line = good.count("\n") + 1
        assert [f"# {str(one).removeprefix(f'policy.csv:{line}: ')}" for one in found] == [comment]


def test_every_action_and_obligation_is_documented() -> None:
    for word in (*ACTIONS, *KINDS):
        assert f"`{word}`" in PAGE
