"""The reaper: all that a killed hub leaves goes, and nothing of another instance."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from strongroom_hub import cgroups, ground, mounts, reaper, run_folders, work_images
from strongroom_hub.config import Instance, Uids
from strongroom_hub.ground import Ground

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not work_images.usable() or cgroups.find() is None, reason="mounts and groups need root"
)
BASE = 295_000_000 + os.getpid() * 10
PROFILE: dict[str, Any] = {
    "memory_bytes": 256 << 20,
    "cpus": 1,
    "processes": 64,
    "work_bytes": 64 << 20,
    "work_files": 500,
}


class Left:
    """An instance whose hub was killed while a server ran."""

    def __init__(self, home: Path, number: int, prefix: Path) -> None:
        self.place = Instance(
            data=home / "data",
            run=home / "run",
            public_url="https://127.0.0.1:1/",
            proxy_api_port=1,
            hub_port=1,
            control_port=1,
            node="",
            proxy_script="",
            server_python="",
            kernel_prefix=str(prefix),
            uids=Uids(BASE + number, BASE + number, BASE + number, BASE + number + 1),
        )
        self.place.projects_dir.mkdir(parents=True)
        run_folders.prepare(self.place)
        self.ground = Ground(self.place, "cardio", "analyst", "a1", BASE + number + 1, PROFILE)
        self.ground.lay()
        (self.ground.folders["work"] / "kept").touch()
        self.server = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
        self.ground.admit(self.server.pid)
        self.kernel = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
        self.groups = [Path(folder) for folder in self.ground.groups["folders"].values()]
        for folder in self.groups:
            (folder / "k1").mkdir()
            (folder / "k1" / "cgroup.procs").write_text(str(self.kernel.pid), encoding="ascii")
        self.image = work_images.folder(self.place) / "cardio" / "analyst.ext4"

    def whole(self) -> bool:
        return (
            self.server.poll() is None
            and self.kernel.poll() is None
            and (self.ground.folders["work"] / "kept").exists()
            and all(folder.exists() for folder in self.groups)
            and (self.ground.run / "system/usr/lib").exists()
        )

    def gone(self) -> bool:
        return (
            self.server.wait(10) < 0
            and self.kernel.wait(10) < 0
            and not any(folder.exists() for folder in self.groups)
            and mounts.below(self.place.data) + mounts.below(self.place.run) == []
            and work_images.devices_of(self.image) == []
        )

    def end(self) -> None:
        reaper.reap(self.place)
        for process in (self.server, self.kernel):
            process.kill()
            process.wait()


@pytest.fixture
def left(tmp_path: Path) -> Iterator[tuple[Left, Left]]:
    prefix = tmp_path / "kernel"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").symlink_to("/usr/bin/python3")
    made = [Left(tmp_path / name, number, prefix) for number, name in enumerate(("one", "two"))]
    yield made[0], made[1]
    for one in made:
        one.end()


def test_all_of_ours_goes_and_nothing_of_anothers(left: tuple[Left, Left]) -> None:
    ours, other = left
    assert ours.whole()
    assert other.whole()
    reaper.reap(ours.place)
    assert ours.gone()
    assert other.whole()
    reaper.reap(ours.place)
    assert work_images.WorkImage.of(ours.place, "cardio", "analyst", BASE + 1).prepare(PROFILE)


def test_a_folder_whose_name_begins_alike_is_anothers(left: tuple[Left, Left], tmp_path: Path) -> None:
    _, other = left
    alike = dataclasses.replace(other.place, data=tmp_path / "tw", run=tmp_path / "two" / "ru")
    reaper.reap(alike)
    assert other.whole()


def test_clear_takes_it_all_away_too_and_may_be_repeated(left: tuple[Left, Left]) -> None:
    ours, other = left
    ours.ground.clear()
    assert ours.gone()
    ours.ground.clear()
    assert other.whole()


def test_a_start_that_was_given_up_mounts_nothing_any_more(tmp_path: Path, left: tuple[Left, Left]) -> None:
    """The hub gives up on a start that takes too long; what it still does in a thread must not outlive that."""
    ours, _ = left
    late = Ground(ours.place, "cardio", "late", "b2", BASE + 2, PROFILE)
    late.clear()
    late.lay()
    assert not (ours.place.servers_run / "b2").exists()
    assert not os.path.ismount(late.folders["work"])


def test_what_the_machine_lacks_is_said(left: tuple[Left, Left], monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = left
    assert ours.ground.weaker == []
    monkeypatch.setattr(cgroups, "find", lambda: None)
    monkeypatch.setattr(work_images, "usable", lambda: False)
    monkeypatch.setattr("strongroom_hub.overlays.FOLDERS", ("/proc",))
    bare = Ground(ours.place, "cardio", "bare", "b3", BASE + 2, PROFILE)
    bare.lay()
    assert bare.weaker == [work_images.NO_LOOP, *ground.WITHOUT_GROUPS.values(), ground.WITHOUT_OVERLAYS]
    assert "STRONGROOM_CGROUP" not in bare.environment()
    assert "STRONGROOM_SYSTEM" not in bare.environment()
    bare.clear()
