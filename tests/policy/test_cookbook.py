"""Each recipe of docs/admins/cookbook.md is a policy, passes its own tests, and is what they pass by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from random_policies import sources_of
from strongroom_policy.engine import Policy, run_cases
from strongroom_policy.errors import PolicyError

PAGE = (Path(__file__).parents[2] / "docs" / "admins" / "cookbook.md").read_text()
RECIPES = re.findall(
    r"^### (\d+)\. .*?^```csv rules\n(.*?)^```\n```csv tests\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
(BASE,) = re.findall(r"^```csv base\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def outcomes(rules: str, tests: str) -> list[str]:
    sources = sources_of(BASE + rules, tests)
    return [one.problem for one in run_cases(sources)]


def test_there_are_twenty_one() -> None:
    assert [int(number) for number, _, _ in RECIPES] == list(range(1, 22))


@pytest.mark.parametrize(("number", "rules", "tests"), RECIPES)
def test_a_recipe_does_what_it_says(number: str, rules: str, tests: str, noon) -> None:
    assert outcomes(rules, tests) == [""] * tests.count("\n")
    notes = Policy.build(sources_of(BASE + rules), (), noon).warnings
    assert all(" ended at " in note.message for note in notes)  # guests and deputies of the past


@pytest.mark.parametrize(("number", "rules", "tests"), RECIPES)
def test_without_its_rows_its_tests_fail(number: str, rules: str, tests: str) -> None:
    try:
        assert any(outcomes("", tests))
    except PolicyError as error:  # a test may name a rule's tag or profile
        pytest.fail(str(error))
