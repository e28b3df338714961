"""Checked values as pure functions."""

from __future__ import annotations

import pytest
from strongroom_lab import values
from strongroom_lab.values import Unfit


def test_json_is_compact_unicode_whatever_its_values_are() -> None:
    assert values.encode({"a": [1, 2.5, None, True, "é\n"]}) == '{"a":[1,2.5,null,true,"é\\n"]}'.encode()
    assert values.encode({"a": "\ud800"}) == b'{"a":"?"}'
    assert values.encode({"a": 1 << 70}) == b'{"a":%d}' % (1 << 70)
    assert values.encode({"a": float("nan")}) == b'{"a":null}'
    with pytest.raises(Unfit):
        values.encode({"a": object()})
