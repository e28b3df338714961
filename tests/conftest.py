"""What all tests share: properties are judged by what they find, not by how fast a busy or fresh machine draws."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The first draw of text in a fresh checkout builds tables of all of Unicode, which takes a second or more.
settings.register_profile("strongroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("strongroom")

# A shell starts what runs in the background with Ctrl-C ignored, and what tests start would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
LONGEST_FIRST = (HERE / "e2e", HERE / "security", HERE / "extension")
"""Where few tests take long: at the end of a run side by side the other processes would wait for them."""
MEASURING = {"test_covert.py"}
"""What listens for small signs between processes, and hears little while many instances start."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        if item.path.name in MEASURING:
            return len(LONGEST_FIRST)
        return next((n for n, folder in enumerate(LONGEST_FIRST) if folder in item.path.parents), len(LONGEST_FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _folders_open_to_other_uids(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The folders above every `tmp_path`, which pytest closes: parts of an instance run under uids of their own."""
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents):
        if not folder.name.startswith(("pytest-", "popen-")):
            return
        folder.chmod(0o755)
