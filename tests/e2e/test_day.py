"""`make tour` as a test: one analyst's day on a real instance, step by step."""

from __future__ import annotations

import pytest
from strongroom_hub.tour.day import STEPS, walk

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(600)
def test_the_whole_day(running):
    told: list[str] = []
    walk(running.instance, running.accounts, told.append)
    assert len(told) == len(STEPS)
