"""The vault killed, or its disk full, at random points of taking in, publishing and reading: nothing half-visible,
nothing lost, and what was refused works when it is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from strongroom_hub import frames
from strongroom_hub.config import Instance
from strongroom_hub.vault import memfd

from tests.hub_config.vault.conftest import Running

# httpx leaves the socket of a peer that was killed to the collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
log = logging.getLogger(__name__)

ROWS = 20_000
_REFUSED = {503, 507}
_SLOWEST = 2.5
"""Seconds into an operation at which the vault is killed at the latest."""


@pytest.fixture
def world(instance: Instance, signer: Any, tmp_path: Path) -> Iterator[World]:
    """A vault as a process, on a disk of its own that is small enough to be filled."""
    kept = tmp_path / "kept"
    shutil.copytree(instance.vault_dir, kept)
    mount = ["mount", "-t", "tmpfs", "-o", "size=192m,mode=700", "strongroom-test", str(instance.vault_dir)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs a disk of its own: only root can mount one")
    try:
        shutil.copytree(kept, instance.vault_dir, dirs_exist_ok=True)
        running = Running(instance, signer)
        yield World(running)
        running.end()
    finally:
        subprocess.run(["umount", "--lazy", str(instance.vault_dir)], check=True)


class World:
    """What was acknowledged, against what the vault shows."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.trouble_was = ""
        self.disk = running.instance.vault_dir
        self.published: dict[str, int] = {}
        """Dataset -> the sum of its column."""
        self.met: Counter[str] = Counter()
        """How often each operation met each trouble, and how often it was not done."""

    # -- operations: each answers whether it was done, or False where the vault refused or was gone -----------------

    def take_in(self, name: str, table: bytes) -> dict[str, Any] | None:
        about = {"dataset": name, "version": 1, "format": "csv", "label": "confidential"}
        try:
            answer = self.running.call("PUT", f"/v1/datasets/{name}/1", "ingest", table, **about)
        except httpx.HTTPError:
            return None
        assert answer.status_code in {201, *_REFUSED}, answer.text
        return answer.json()["manifest"] if answer.status_code == 201 else None

    def publish(self, name: str, jws: str) -> bool:
        try:
            answer = self.running.call("POST", f"/v1/datasets/{name}/1/publish", content=jws.encode())
        except httpx.HTTPError:
            return False
        assert answer.status_code in {204, 500, *_REFUSED}, answer.text
        return answer.status_code == 204

    def read(self, room: Any, name: str) -> int | None:
        """The sum of the column; None where it was refused or the vault was gone."""
        try:
            answer, fds = self.running.read(room.read_claims(name, ["a"]))
        except (OSError, frames.FrameError):
            return None
        if not answer["ok"]:
            assert answer["problem"]["status"] in {404, *_REFUSED}, answer
            return None
        try:
            frame = pl.read_ipc(memfd.path(fds[0]))
            assert frame.height == answer["rows"] == ROWS  # whole, or not at all
            return int(frame["a"].sum())
        finally:
            os.close(fds[0])

    # -- trouble ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def killed(self, after: float) -> Iterator[None]:
        """The vault dies so many seconds into what is done meanwhile, and is started again behind it."""
        killer = threading.Timer(after, self.running.process.send_signal, [signal.SIGKILL])
        killer.start()
        try:
            yield
        finally:
            killer.cancel()
            self.running.process.kill()
            self.running.process.wait()
            self.running.process = self.running.start()

    @contextlib.contextmanager
    def full(self, left: int) -> Iterator[None]:
        """So many bytes are left on the disk meanwhile."""
        filler = self.disk / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(self.disk).free - left))
        try:
            yield
        finally:
            filler.unlink()

    def trouble(self, made: random.Random) -> contextlib.AbstractContextManager[None]:
        self.trouble_was = made.choice(("killed", "full"))
        if self.trouble_was == "killed":
            return self.killed(made.random() * _SLOWEST)
        return self.full(int(made.random() * (1 << 20)))

    def leftovers(self) -> list[str]:
        """What a vault that is at rest has no use for; desks of spare workers are empty."""
        store = self.disk / "store"
        desks = [desk for desk in store.glob(".desk-*") if any(desk.iterdir())]
        folders = [folder for kind in ("ingest", "taking", "gone") for folder in store.glob(f"*/*/.{kind}-*")]
        return sorted(map(str, [*folders, *self.disk.rglob("*.fresh"), *desks]))


def at(world: World, room: Any, seed: int) -> None:
    """One point: something is under way when the trouble begins; then all is tried again without."""
    made = random.Random(seed)
    name = f"soak/d{seed}"
    numbers = [made.randrange(1_000_000) for _ in range(ROWS)]
    table = pl.DataFrame({"a": numbers}).write_csv().encode()
    what = made.choice(("take in", "publish", "read"))
    manifest = jws = None
    if what != "take in" or not world.published:
        manifest = world.take_in(name, table)
        assert manifest is not None
    with world.trouble(made):
        if what == "take in":
            manifest = world.take_in(name, table)
        elif what == "publish" and manifest is not None:
            jws = room.signer.activate(manifest)
            if world.publish(name, jws):
                world.published[name] = sum(numbers)
        else:
            for known, total in made.sample(sorted(world.published.items()), min(3, len(world.published))):
                assert world.read(room, known) in {None, total}
    assert world.leftovers() == []
    done = name in world.published if what == "publish" else manifest is not None
    world.met[f"{what}: {world.trouble_was}{'' if done else ', not done'}"] += 1
    if name not in world.published:
        if jws is None:
            assert world.read(room, name) is None  # nobody has signed for it
        manifest = manifest or world.take_in(name, table)
        assert manifest is not None, "it works when it is tried again"
        assert world.publish(name, jws or room.signer.activate(manifest))
        world.published[name] = sum(numbers)
    for known in {name, made.choice(sorted(world.published))}:
        assert world.read(room, known) == world.published[known]


def many(world: World, room: Any, points: int) -> None:
    for seed in range(points):
        at(world, room, seed)
    for name, total in world.published.items():
        assert world.read(room, name) == total
    assert len(world.published) == points
    log.info("%d points: %s", points, dict(sorted(world.met.items())))


@pytest.mark.timeout(600)
def test_nothing_is_half_visible_or_lost(world: World, room: Any) -> None:
    many(world, room, 6)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_nothing_is_half_visible_or_lost_two_hundred_times(world: World, room: Any) -> None:
    many(world, room, 200)
