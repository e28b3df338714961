"""The list of protections: each patch still applies, each named test is there. `make soak` runs them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("mutations", ROOT / "tools" / "mutations.py")
mutations = importlib.util.module_from_spec(SPEC)
sys.modules["mutations"] = mutations
SPEC.loader.exec_module(mutations)
LIST = mutations.read_list()


@pytest.mark.parametrize("mutation", LIST, ids=[one.protection for one in LIST])
def test_the_patch_applies_and_its_tests_are_there(mutation) -> None:
    assert mutation.problem(ROOT) == ""


def test_protections_are_named_once() -> None:
    names = [one.protection for one in LIST]
    assert sorted(names) == sorted(set(names))


@pytest.fixture
def copy(tmp_path: Path):
    copy = mutations.Copy(tmp_path)
    (copy.root / "policy").mkdir(parents=True)
    (copy.root / "policy" / "a.py").write_text("x = 1\n")
    (copy.root / "test_a.py").write_text("def test_a():\n    pass\n")
    return copy


def mutation(**changes):
    whole = {"protection": "p", "file": "policy/a.py", "old": "1", "new": "2", "tests": ("test_a.py::test_a",)}
    return mutations.Mutation(**{**whole, **changes})


def test_a_patch_is_taken_back(copy) -> None:
    file = copy.root / "policy" / "a.py"
    with copy.changed(mutation()):
        assert file.read_text() == "x = 2\n"
    assert file.read_text() == "x = 1\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": "tests/a.py"}, "not among"),
        ({"file": "policy/../../a.py"}, "not among"),
        ({"file": "/etc/passwd"}, "not among"),
        ({"file": "policy/b.py"}, "not there"),
        ({"old": "3"}, "0 times"),
        ({"old": ""}, "times"),
        ({"new": "1"}, "changes nothing"),
        ({"tests": ("test_a.py::test_b",)}, "no such test"),
        ({"tests": ()}, "no such test"),
    ],
)
def test_other_patches_are_refused(copy, changes, words: str) -> None:
    with pytest.raises(ValueError, match=words), copy.changed(mutation(**changes)):
        pytest.fail("it was applied")


def test_a_link_does_not_lead_out_of_the_copy(copy, tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("x = 1\n")
    (copy.root / "policy" / "b.py").symlink_to(outside)
    with pytest.raises(ValueError, match="outside"), copy.changed(mutation(file="policy/b.py")):
        pytest.fail("it was applied")
    assert outside.read_text() == "x = 1\n"
