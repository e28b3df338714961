"""One real instance for all end-to-end tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from strongroom_hub.supervisor import RunningInstance

from tests.real import People, fresh_instance

sys.path.insert(0, str(Path(__file__).parent))

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def running() -> Iterator[RunningInstance]:
    with fresh_instance() as instance:
        yield instance


@pytest.fixture(scope="session")
def people(running: RunningInstance) -> Iterator[People]:
    everybody = People(running)
    yield everybody
    everybody.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # chromium's own sandbox cannot start as root; the page is ours and on loopback.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("STRONGROOM_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
