from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from strongroom_policy.engine import Policy, load
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.rows import Row

sys.path.insert(0, str(Path(__file__).parent))  # `import filter_texts`: shared by several tests

DEFAULT = Path(__file__).parents[2] / "policy"
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)

Make = Callable[..., Policy]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy folder with the default model, labels and profiles, an empty policy.csv and no tests."""
    for name in ("model.conf", "labels.toml", "profiles.toml"):
        shutil.copy(DEFAULT / name, tmp_path)
    (tmp_path / "policy.csv").write_text("")
    (tmp_path / "tests.csv").write_text("")
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Make:
    """`make(csv, tests="", extra=(), now=NOON)`: load a folder with these rows."""

    def build(csv: str | bytes, tests: str = "", extra: Iterable[Row] = (), now: datetime = NOON) -> Policy:
        (folder / "policy.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
        (folder / "tests.csv").write_text(tests)
        return load(folder, extra, now=now)

    return build


@pytest.fixture
def problems(make: Make) -> Callable[..., tuple[Finding, ...]]:
    """`problems(csv)`: what a folder with these rows is refused for."""

    def refused(csv: str | bytes, **given: object) -> tuple[Finding, ...]:
        with pytest.raises(PolicyError) as caught:
            make(csv, **given)
        assert caught.value.problems
        return caught.value.problems

    return refused


@pytest.fixture
def noon() -> datetime:
    return NOON


@pytest.fixture
def default_folder() -> Path:
    return DEFAULT
