"""docs/developers/attacks.md says what is: every test and protection on it exists, every route of ours is on it."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from strongroom_lab import canon, frames, handlers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "developers" / "attacks.md").read_text(encoding="utf-8")
SPEC = spec_from_file_location("mutations_for_page", ROOT / "tools" / "mutations.py")
mutations = module_from_spec(SPEC)
sys.modules[SPEC.name] = mutations
SPEC.loader.exec_module(mutations)
PROTECTIONS = {one["protection"] for one in tomllib.loads(mutations.LIST.read_text(encoding="utf-8"))["mutation"]}
TESTS = sorted(set(re.findall(r"`(tests/[^`]+::[^`]+)`", PAGE)))
ROWS = [
    [cell.strip() for cell in line.strip("| \n").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and "::" in line
]


@pytest.mark.parametrize("test", TESTS)
def test_a_named_test_is_there(test: str) -> None:
    assert mutations._is_there(ROOT, test)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_an_attack_has_a_test_and_rests_on_known_protections(row: list[str]) -> None:
    assert re.findall(r"`tests/[^`]+::test_[^`]+`", row[1])
    for protection in filter(None, (row[2] if len(row) > 2 else "").strip("| ").split("; ")):
        assert protection in PROTECTIONS


def test_the_page_has_its_attacks() -> None:
    assert len(ROWS) > 60
    assert not [
        line for line in PAGE.splitlines() if line.startswith("| ") and "::" not in line and "tests" not in line
    ]


@pytest.mark.parametrize("kind", sorted({kind for _, kind in (*canon.OUTGOING, *canon.INCOMING)}))
def test_every_message_type_is_on_it(kind: str) -> None:
    assert f"`{kind}`" in PAGE


@pytest.mark.parametrize("pattern", [pattern for pattern, _, _ in handlers.routes(None, None, None)])
def test_every_route_of_our_own_is_on_it(pattern: str) -> None:
    named = pattern.removeprefix("/strongroom/api/").replace(r"(?P<identifier>[A-Za-z0-9_-]{1,64})", "ID")
    named = named.replace(f"(?P<kind>{'|'.join(frames.LIBRARIES)})", "KIND")
    assert named in PAGE or named.replace("/ID/", "/") in PAGE
