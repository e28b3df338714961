"""Control groups: the real ones of this machine, and version 2 by its files where it has no controllers here."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from strongroom_hub import cgroups, run_as
from strongroom_hub.cgroups import V1, V2, Hierarchy
from strongroom_hub.config import Instance
from strongroom_kernels.cgroups import Delegation, KernelCgroup
from strongroom_kernels.profiles import Profile

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root")
UID = 296_000_000 + os.getpid()
PROFILE: dict[str, Any] = {
    "name": "small", "title": "Small", "sandbox": "bubblewrap", "memory_bytes": 64 << 20, "cpus": 1.5,
    "processes": 20, "open_files": 256, "file_bytes": 1 << 20, "work_bytes": 64 << 20, "work_files": 1000,
    "tmp_bytes": 1 << 20, "shm_bytes": 1 << 20,
}  # fmt: skip


def instance(folder: Path) -> Instance:
    return Instance(
        data=folder,
        run=folder / "run",
        public_url="https://127.0.0.1:1/",
        proxy_api_port=1,
        hub_port=1,
        control_port=1,
        node="",
        proxy_script="",
        server_python="",
        kernel_prefix="",
    )


@pytest.fixture(params=["this machine's", "version 2 without limits"])
def hierarchy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hierarchy:
    """What the hub finds; and the unified tree beside version 1, which has only other controllers (if any)."""
    if os.geteuid() != 0:
        pytest.skip("control groups need root")
    if request.param == "this machine's":
        found = cgroups.find()
        if found is None:
            pytest.skip("no control groups here")
        return found
    root = next((Path(line.split()[1]) for line in mounts() if line.split()[2] == "cgroup2"), None)
    if root is None:
        pytest.skip("no version 2 here")
    offered = (root / "cgroup.controllers").read_text(encoding="ascii").split()
    monkeypatch.setattr(cgroups, "WANTED", tuple(offered[:1]))  # the rules of delegation are the same for each
    return Hierarchy(V2, {"": root})


def mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def place(tmp_path: Path, hierarchy: Hierarchy) -> Iterator[Instance]:
    made = instance(tmp_path)
    yield made
    cgroups.sweep(hierarchy, made)
    assert not any((root / cgroups._name(made)).exists() for root in hierarchy.folders.values())


SERVER = """
import json, subprocess, sys, time
from strongroom_kernels.cgroups import Delegation, KernelCgroup
from strongroom_kernels.profiles import Profile
delegation = Delegation.from_environment()
group = KernelCgroup(delegation, "k1", Profile.of(json.loads(sys.argv[1])))
group.create()
child = subprocess.Popen(["sleep", "600"])
group.add(child.pid)
refused = []
for folder in delegation.folders.values():
    for file in (
        "memory.limit_in_bytes", "memory.max", "pids.max", "../pids.max", "../../cgroup.procs", "../server/cgroup.procs"
    ):
        try:
            with open(folder / file, "r+") as limit:
                limit.write("1")
        except OSError as error:
            refused.append(error.errno)
        else:
            print("could write", folder / file)
    try:
        (folder.parent / "mine").mkdir()
    except OSError as error:
        refused.append(error.errno)
print(json.dumps([child.pid, refused]), flush=True)
time.sleep(600)
"""


def start_server(hierarchy: Hierarchy, place: Instance, told: dict[str, Any]) -> subprocess.Popen[str]:
    command = run_as.wrap(sys.executable, UID, [sys.executable, "-c", SERVER, json.dumps(PROFILE)])
    environment = {"PATH": "/usr/bin:/bin", "STRONGROOM_CGROUP": json.dumps(told)}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    cgroups.add_server(hierarchy, place, "a1", server.pid)
    return server


def test_an_unprivileged_server_places_its_kernels_and_changes_nothing_else(
    hierarchy: Hierarchy, place: Instance
) -> None:
    told = cgroups.make(hierarchy, place, "a1", UID, PROFILE)
    server = start_server(hierarchy, place, told)
    try:
        line = server.stdout.readline()
        assert not line.startswith("could write"), line
        child, refused = json.loads(line)
        assert set(refused) <= {errno.EACCES, errno.EPERM, errno.ENOENT}
        assert len(refused) == 7 * len(told["folders"])
        for folder in map(Path, told["folders"].values()):
            assert str(child) in (folder / "k1" / "cgroup.procs").read_text(encoding="ascii").split()
            assert str(server.pid) in (folder.parent / "server" / "cgroup.procs").read_text(encoding="ascii").split()
    finally:
        cgroups.remove(hierarchy, place, "a1")
        assert server.wait(10) < 0
        server.stdout.close()
    assert not any(Path(folder).parent.exists() for folder in told["folders"].values())


FORKS = """
import os, time
time.sleep(1)
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
COUNT = """
import os, time
time.sleep(0.5)
n = 0
try:
    for n in range(60):
        if os.fork() == 0:
            time.sleep(60)
except OSError:
    pass
print(n, flush=True)
os._exit(0)
"""


def test_remove_ends_what_forks_as_fast_as_it_can(hierarchy: Hierarchy, place: Instance) -> None:
    told = cgroups.make(hierarchy, place, "a1", UID, PROFILE)
    bomb = subprocess.Popen([sys.executable, "-c", FORKS])
    for folder in map(Path, told["folders"].values()):
        (folder / "k1").mkdir()
        if (folder / "pids.max").exists():
            (folder / "pids.max").write_text("40", encoding="ascii")
        elif hierarchy.version == V2:
            bomb.kill()  # nothing would hold it
        (folder / "k1" / "cgroup.procs").write_text(str(bomb.pid), encoding="ascii") if bomb.poll() is None else None
    time.sleep(1.5)
    cgroups.remove(hierarchy, place, "a1")
    assert bomb.wait(10) < 0
    assert not any(Path(folder).exists() for folder in told["folders"].values())


def test_two_instances_and_two_servers_do_not_meet(hierarchy: Hierarchy, place: Instance, tmp_path: Path) -> None:
    other = instance(tmp_path / "other")
    first, second = (cgroups.make(hierarchy, place, name, UID, PROFILE) for name in ("a1", "a2"))
    foreign = cgroups.make(hierarchy, other, "a1", UID, PROFILE)
    cgroups.remove(hierarchy, place, "a1")
    assert not any(Path(folder).exists() for folder in first["folders"].values())
    assert all(Path(folder).exists() for folder in second["folders"].values())
    cgroups.sweep(hierarchy, place)
    assert not any(Path(folder).exists() for folder in second["folders"].values())
    assert all(Path(folder).exists() for folder in foreign["folders"].values())
    cgroups.sweep(hierarchy, other)


@needs_root
def test_limits_of_version_1_are_set_and_bite(tmp_path: Path) -> None:
    found = cgroups.find()
    if found is None or found.version != V1 or "pids" not in found.folders:
        pytest.skip("version 1 with pids is not here")
    place = instance(tmp_path)
    told = cgroups.make(found, place, "a1", UID, PROFILE)
    try:
        group = KernelCgroup(
            Delegation.from_environment({"STRONGROOM_CGROUP": json.dumps(told)}), "k1", Profile.of(PROFILE)
        )
        group.create()
        bomb = subprocess.Popen([sys.executable, "-c", COUNT], stdout=subprocess.PIPE, text=True)
        group.add(bomb.pid)
        assert int(bomb.stdout.readline()) < 20
        bomb.wait()
        bomb.stdout.close()
        assert group.counters().forks_refused >= 1
        hog = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5); x = b'x' * (200 << 20)"])
        cgroups._remove(Path(told["folders"]["pids"]) / "k1")
        group.create()
        group.add(hog.pid)
        assert hog.wait(20) == -9
        assert group.counters().oom_kills == 1
        assert group.peak_bytes() > 50 << 20
    finally:
        cgroups.sweep(found, place)


class FakeV2:
    """The files of a version 2 tree with memory, pids and cpu, as documented, where there is none."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.fill(root, {"memory", "pids", "cpu"}, top=True)

    def fill(self, folder: Path, controllers: set[str], *, top: bool = False) -> None:
        made = {"cgroup.controllers": " ".join(sorted(controllers)), "cgroup.subtree_control": "", "cgroup.procs": ""}
        files = {
            "memory": {
                "memory.max": "max", "memory.swap.max": "max", "memory.peak": "0",
                "memory.events": "oom 0\noom_kill 0\n",
            },
            "pids": {"pids.max": "max", "pids.events": "max 0\n"},
            "cpu": {"cpu.max": "max 100000", "cpu.weight": "100"},
        }  # fmt: skip
        for controller in () if top else controllers:
            made |= files[controller]
        for name, text in made.items():
            with (folder / name).open("w", encoding="ascii") as file:
                file.write(text)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeV2:  # noqa: C901 - three rules of a tree
    tree = FakeV2(tmp_path / "cgroup")
    real_mkdir, real_write, real_rmdir = Path.mkdir, Path.write_text, Path.rmdir

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if parents and not self.parent.exists():
            mkdir(self.parent, mode, parents=True)
        real_mkdir(self, mode, exist_ok=exist_ok)
        if self.is_relative_to(tree.root):
            enabled = (self.parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
            tree.fill(self, set(enabled))

    def write_text(self: Path, data: str, encoding: str | None = None, **more: Any) -> int:
        if self.is_relative_to(tree.root):
            assert self.exists(), f"{self} is not there on version 2"
            if self.name == "cgroup.subtree_control":
                assert not (self.parent / "cgroup.procs").read_text(encoding="ascii"), "no inner processes"
                words = {word.removeprefix("+") for word in data.split()}
                if not words <= set((self.parent / "cgroup.controllers").read_text(encoding="ascii").split()):
                    raise OSError(errno.ENOENT, "not delegated", str(self))
                for child in self.parent.iterdir():
                    if child.is_dir():
                        tree.fill(child, words)
                data = " ".join(sorted(words))
            if self.name == "cgroup.procs":
                assert not (self.parent / "cgroup.subtree_control").read_text(encoding="ascii"), "no inner processes"
        return real_write(self, data, encoding=encoding, **more)

    def rmdir(self: Path) -> None:
        if self.is_relative_to(tree.root):
            if any(child.is_dir() for child in self.iterdir()):
                raise OSError(errno.EBUSY, "has children", str(self))
            for file in self.iterdir():
                file.unlink()
        real_rmdir(self)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "write_text", write_text)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    return tree


def test_version_2_by_its_files(fake: FakeV2, tmp_path: Path) -> None:
    found, place = Hierarchy(V2, {"": fake.root}), instance(tmp_path)
    told = cgroups.make(found, place, "a1", UID, PROFILE)
    kernels = Path(told["folders"][""])
    assert told["version"] == V2
    assert (kernels / "memory.max").read_text(encoding="ascii") == str(128 << 20)
    assert (kernels / "pids.max").read_text(encoding="ascii") == "40"
    assert (kernels / "cpu.max").read_text(encoding="ascii") == "300000 100000"
    assert (kernels.parent / "server" / "cpu.weight").read_text(encoding="ascii") == "1000"
    cgroups.add_server(found, place, "a1", 4711)
    delegation = Delegation.from_environment({"STRONGROOM_CGROUP": json.dumps(told)})
    group = KernelCgroup(delegation, "k1", Profile.of(PROFILE))
    group.create()
    group.add(4712)
    kernel = kernels / "k1"
    assert (kernel / "memory.max").read_text(encoding="ascii") == str(64 << 20)
    assert (kernel / "memory.swap.max").read_text(encoding="ascii") == "0"
    assert (kernel / "pids.max").read_text(encoding="ascii") == "20"
    assert (kernel / "cpu.max").read_text(encoding="ascii") == "150000 100000"
    assert (kernel / "cgroup.procs").read_text(encoding="ascii") == "4712"
    (kernel / "memory.events").write_text("oom 3\noom_kill 2\n", encoding="ascii")
    (kernel / "pids.events").write_text("max 7\n", encoding="ascii")
    assert (group.counters().oom_kills, group.counters().forks_refused) == (2, 7)


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 3, "folders": {"": "/x"}}', '{"version": 2, "folders": {}}'])
def test_what_the_hub_cannot_have_written_starts_no_kernel(text: str) -> None:
    with pytest.raises(Exception, match="No kernel can start"):
        Delegation.from_environment({"STRONGROOM_CGROUP": text})
