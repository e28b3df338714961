"""Overlays: the same content, other inodes, and so no locks in common."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from strongroom_hub import mounts, overlays

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
PREFIX = Path(sys.prefix)
SHARED = "lib/os-release"


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    folders = (tmp_path / "one", tmp_path / "two")
    for run in folders:
        run.mkdir()
        overlays.make(run, PREFIX)
    yield folders
    mounts.unmount_below(tmp_path)


def locks_meet(first: Path, second: Path) -> bool:
    """Whether a lock on one of two paths keeps the other from being locked."""
    with first.open("rb") as one, second.open("rb") as two:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno == errno.EWOULDBLOCK
        return False


def test_locks_of_two_runs_do_not_meet(runs: tuple[Path, Path]) -> None:
    one, two = (run / "system/usr" / SHARED for run in runs)
    assert one.read_bytes() == two.read_bytes() == (Path("/usr") / SHARED).read_bytes()
    assert not locks_meet(one, two)
    assert not locks_meet(one, Path("/usr") / SHARED)
    assert locks_meet(one, one)
    assert locks_meet(Path("/usr") / SHARED, Path("/usr") / SHARED)  # what the overlays are for


def test_all_that_boxes_share_is_there_and_read_only(runs: tuple[Path, Path]) -> None:
    system = runs[0] / "system"
    assert (system / "prefix/bin/python").exists()
    assert (system / "etc/ld.so.cache").read_bytes() == Path("/etc/ld.so.cache").read_bytes()
    with pytest.raises(OSError, match="Read-only"):
        (system / "usr/x").touch()
    with pytest.raises(OSError, match="Read-only"):
        (system / "prefix/x").touch()
    assert os.statvfs(system / "usr").f_flag & os.ST_NOSUID


def test_remove_leaves_nothing(runs: tuple[Path, Path]) -> None:
    overlays.remove(runs[0])
    assert mounts.below(runs[0]) == []
    assert list(runs[0].iterdir()) == []


def test_mounts_below_a_shared_folder_are_not_hidden_in_silence(tmp_path: Path) -> None:
    prefix = tmp_path / "kernel"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").symlink_to("/usr/bin/python3")
    (prefix / "apart").mkdir()
    mounts.mount("strongroom", prefix / "apart", "tmpfs", 0, "size=64k")
    (tmp_path / "run").mkdir()
    try:
        with pytest.raises(OSError, match="other file systems"):
            overlays.make(tmp_path / "run", prefix)
        assert mounts.below(tmp_path / "run") == []
    finally:
        mounts.unmount_below(tmp_path)


def test_a_name_with_separators_is_one_layer(tmp_path: Path) -> None:
    prefix = tmp_path / "a:b,c\\d"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").symlink_to("/usr/bin/python3")
    (tmp_path / "run").mkdir()
    try:
        system = overlays.make(tmp_path / "run", prefix)
        assert (system / "prefix/bin/python").is_symlink()
    finally:
        mounts.unmount_below(tmp_path)
