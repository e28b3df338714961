from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_policy.labels import Label, highest


def test_order_is_total_and_by_rank() -> None:
    assert sorted(["secret", "public", "confidential", "internal"], key=Label) == list(Label)
    for low, high in combinations(Label, 2):
        assert low < high
        assert high > low
        assert low <= high
        assert not high <= low
        assert high >= low
        assert max(low, high) is high


@pytest.mark.parametrize("text", [None, "", "Secret", "PUBLIC", " public", "public\n", "unknown", 0, b"public", []])
def test_whatever_is_no_label_is_secret(text: object) -> None:
    assert Label.parse(text) is Label.SECRET


@given(st.text())
def test_parse_never_lowers(text: str) -> None:
    assert Label.parse(text) == (text if text in list(Label) else "secret")


def test_comparing_with_plain_text_is_refused_on_both_sides() -> None:
    with pytest.raises(TypeError, match=r"Label\.parse"):
        assert Label.PUBLIC < "secret"
    with pytest.raises(TypeError):
        assert "confidential" < Label.INTERNAL  # noqa: SIM300 - the other side is what is tested


def test_highest() -> None:
    assert highest([]) is Label.PUBLIC
    assert highest(["public", Label.CONFIDENTIAL, "internal"]) is Label.CONFIDENTIAL
    assert highest(["public", None]) is Label.SECRET
    assert highest(["publik"]) is Label.SECRET


def test_json_carries_the_name() -> None:
    assert json.dumps([Label.CONFIDENTIAL]) == '["confidential"]'
    assert str(Label.INTERNAL) == f"{Label.INTERNAL}" == "internal"


def test_importing_it_needs_no_casbin() -> None:
    code = "import sys; sys.modules['casbin'] = None; import strongroom_policy.labels; print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "fine\n"
