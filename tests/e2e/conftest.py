"""One real instance for all end-to-end tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from strongroom_hub.supervisor import RunningInstance

from tests.real import People, fresh_instance

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def running() -> Iterator[RunningInstance]:
    with fresh_instance() as instance:
        yield instance


@pytest.fixture(scope="session")
def people(running: RunningInstance) -> Iterator[People]:
    everybody = People(running)
    yield everybody
    everybody.close()
