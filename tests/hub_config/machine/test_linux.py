from __future__ import annotations

import os
from pathlib import Path

import pytest
from strongroom_hub import cgroups
from strongroom_hub.machine import linux
from strongroom_hub.machine.check import State
from strongroom_kernels import launcher


def made(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("actions", "state"),
    [
        ("kill_process errno user_notif allow", State.FINE),
        ("kill_process errno allow", State.WEAKER),
        ("kill_thread allow", State.BROKEN),
        (None, State.BROKEN),
    ],
)
def test_seccomp(tmp_path: Path, actions: str | None, state: State) -> None:
    if actions is not None:
        made(tmp_path, sys__kernel__seccomp__actions_avail=actions)
    found = linux.seccomp(tmp_path)
    assert found.state is state
    assert bool(found.next) is (state is not State.FINE)


def test_what_the_box_of_the_vault_s_workers_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "landlock_abi", lambda: 7)
    assert linux.vault_workers().state is State.FINE
    monkeypatch.setattr(launcher, "landlock_abi", lambda: 0)
    lacking = linux.vault_workers()
    assert (lacking.state, "Landlock does not run" in lacking.text) == (State.WEAKER, True)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "6.1", "v", "riscv64")))
    assert "System calls" in linux.vault_workers().text


def block(sys_: Path, name: str, *, uuid: str = "", slaves: tuple[str, ...] = ()) -> None:
    folder = sys_ / "class" / "block" / name
    (folder / "slaves").mkdir(parents=True)
    if uuid:
        (folder / "dm").mkdir()
        (folder / "dm" / "uuid").write_text(uuid + "\n")
    for slave in slaves:
        (folder / "slaves" / slave).symlink_to(sys_ / "class" / "block" / slave)


SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"


@pytest.mark.parametrize(
    ("swaps", "state"),
    [
        ("", State.FINE),
        ("/dev/zram0 partition 1 0 -2\n", State.FINE),
        ("/dev/dm-0 partition 1 0 -2\n", State.FINE),
        ("/dev/dm-1 partition 1 0 -2\n", State.FINE),
        ("/dev/dm-2 partition 1 0 -2\n", State.WEAKER),
        ("/dev/sda2 partition 1 0 -2\n", State.WEAKER),
        ("/dev/zram0 partition 1 0 -2\n/swapfile file 1 0 -2\n", State.WEAKER),
    ],
)
def test_swap_is_harmless_where_it_is_encrypted_or_in_memory(tmp_path: Path, swaps: str, state: State) -> None:
    sys_ = tmp_path / "sys"
    block(sys_, "sda2")
    block(sys_, "sda3")
    block(sys_, "dm-0", uuid="CRYPT-LUKS2-abc-swap", slaves=("sda3",))
    block(sys_, "dm-1", uuid="LVM-xyz", slaves=("dm-0",))
    block(sys_, "dm-2", uuid="LVM-xyz", slaves=("dm-0", "sda2"))
    proc = made(tmp_path / "proc", swaps=SWAPS + swaps)
    found = linux.swap(proc, sys_)
    assert found.state is state
    if state is State.WEAKER:
        assert swaps.split()[-5] in found.text


@pytest.mark.parametrize(
    ("pattern", "state"), [("core", State.FINE), ("|/usr/lib/systemd/systemd-coredump %P", State.WEAKER)]
)
def test_core_dumps(tmp_path: Path, pattern: str, state: State) -> None:
    made(tmp_path, sys__kernel__core_pattern=pattern + "\n")
    assert linux.core_dumps(tmp_path).state is state


@pytest.mark.parametrize(("answer", "state"), [((0, 0x2001), State.FINE), ((5, 0x40), State.WEAKER)])
def test_clock(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, int], state: State) -> None:
    monkeypatch.setattr(linux, "_adjtimex", lambda: answer)
    assert linux.clock().state is state


def test_the_clock_is_asked_of_linux_itself() -> None:
    state, status = linux._adjtimex()
    assert 0 <= state <= 5
    assert 0 <= status < 1 << 16


@pytest.mark.parametrize(
    ("says", "state"), [("v22.1.0", State.FINE), ("v18.19.1", State.BROKEN), ("rubbish", State.BROKEN)]
)
def test_node(tmp_path: Path, says: str, state: State) -> None:
    program = tmp_path / "node"
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    assert linux.node(str(program)).state is state
    assert linux.node(str(tmp_path / "none")).state is State.BROKEN


def test_control_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "find", lambda: None)
    assert linux.control_groups().state is State.WEAKER
    whole = dict.fromkeys(cgroups.WANTED, tmp_path)
    monkeypatch.setattr(cgroups, "find", lambda: cgroups.Hierarchy(1, whole))
    assert linux.control_groups().state is State.FINE
    monkeypatch.setattr(cgroups, "find", lambda: cgroups.Hierarchy(1, {"cpu": tmp_path}))
    assert "memory" in linux.control_groups().text
    made(tmp_path, **{"cgroup.controllers": "cpu memory pids\n"})
    monkeypatch.setattr(cgroups, "find", lambda: cgroups.Hierarchy(2, {"": tmp_path}))
    assert linux.control_groups().state is State.FINE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_mounts_are_tried_and_nothing_is_left() -> None:
    before = Path("/proc/self/mountinfo").read_text()
    found = {check.name: check for check in linux.mounting()}
    assert set(found) == {"nosymfollow", "overlay", "loop"}
    assert found["nosymfollow"].state is State.FINE
    mine = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if line not in before.splitlines()]
    assert not [line for line in mine if "doctor" in line]
    assert not list(Path("/tmp").glob("strongroom-doctor-*"))


def test_what_cannot_be_mounted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = linux._mount("loop", {"loop": "Operation not permitted"}, "good", "bad.", "mend")
    assert (found.state, found.next) == (State.WEAKER, "mend")
    assert "Operation not permitted" in found.text
    assert linux._mount("loop", {}, "good", "bad.", "mend").state is State.WEAKER
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert {check.state for check in linux.mounting()} == {State.WEAKER}
