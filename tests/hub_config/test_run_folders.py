"""Run folders: private, small, without symbolic links where there is root, and gone afterwards."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from strongroom_hub import run_as, run_folders
from strongroom_hub.config import Instance, Uids

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and other uids need root")
BASE = 298_000_000 + os.getpid() * 10
UIDS = Uids(control=BASE + 1, vault=BASE + 2, proxy=BASE + 3, first_server=BASE + 4)


def mounted(path: Path) -> bool:
    return f" {path} " in Path("/proc/self/mounts").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path):
    run = tmp_path / "run"
    uids = UIDS if os.geteuid() == 0 else None
    if uids:
        tmp_path.chmod(0o755)
    instance = Instance(
        data=tmp_path / "data",
        run=run,
        public_url="https://127.0.0.1:1/",
        proxy_api_port=1,
        hub_port=1,
        control_port=1,
        node="",
        proxy_script="",
        server_python="",
        kernel_prefix="",
        uids=uids,
    )
    run_folders.prepare(instance)
    yield instance
    for path in instance.servers_run.iterdir():
        run_folders.remove(instance, path.name)


def server_uid(place: Instance) -> int | None:
    return place.uids.first_server if place.uids else None


def test_layout(place):
    for folder in (place.control_socket.parent, place.vault_socket.parent, place.data_socket.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    if place.uids:
        assert place.control_socket.parent.stat().st_uid == place.uids.control
        assert place.data_socket.parent.stat().st_uid == place.uids.vault
        assert stat.S_IMODE(place.servers_run.stat().st_mode) == 0o711


@needs_root
def test_a_link_swapped_in_for_a_socket_leads_nowhere(place, tmp_path):
    """The attack that a plain folder permits: trusted code connects where a kernel's link points."""
    folder = run_folders.make(place, "a1", server_uid(place))
    with socket.socket(socket.AF_UNIX) as listener:
        target = tmp_path / "host.sock"
        listener.bind(str(target))
        listener.listen()
        target.chmod(0o777)
        (folder / "k.sock").symlink_to(target)
        with socket.socket(socket.AF_UNIX) as trusted, pytest.raises(OSError, match="symbolic links"):
            trusted.connect(str(folder / "k.sock"))
        plain = tmp_path / "plain.sock"
        plain.symlink_to(target)
        with socket.socket(socket.AF_UNIX) as trusted:
            trusted.connect(str(plain))


@needs_root
def test_what_can_be_filled_is_bounded(place):
    folder = run_folders.make(place, "a1", server_uid(place))
    with pytest.raises(OSError, match="No space left"):
        (folder / "big").write_bytes(bytes(run_folders.SIZE_BYTES + 1))
    (folder / "big").unlink()
    with pytest.raises(OSError, match="No space left"):
        [(folder / str(number)).touch() for number in range(run_folders.INODES + 1)]


@needs_root
def test_only_its_server_may_enter(place):
    folder = run_folders.make(place, "a1", server_uid(place))
    credential = run_folders.write_once(folder, "credential", "secret", server_uid(place))
    for uid, allowed in ((server_uid(place), True), (server_uid(place) + 1, False), (place.uids.vault, False)):
        done = subprocess.run(
            run_as.wrap(sys.executable, uid, ["/bin/cat", str(credential)]), capture_output=True, text=True, check=False
        )
        assert (done.stdout == "secret") is allowed


def test_a_credential_is_written_once_and_readable_by_its_owner_only(place):
    folder = run_folders.make(place, "a1", server_uid(place))
    file = run_folders.write_once(folder, "credential", "secret", server_uid(place))
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    with pytest.raises(FileExistsError):
        run_folders.write_once(folder, "credential", "other", server_uid(place))


def test_remove_leaves_nothing_and_may_be_repeated(place):
    folder = run_folders.make(place, "a1", server_uid(place))
    (folder / "file").touch()
    run_folders.remove(place, "a1")
    assert not folder.exists()
    assert not mounted(folder)
    run_folders.remove(place, "a1")


def test_prepare_sweeps_what_an_earlier_hub_left(place):
    left = [run_folders.make(place, name, server_uid(place)) for name in ("a1", "b2")]
    (place.run / "stale").write_text("x", encoding="utf-8")
    assert run_folders.prepare(place) == ["a1", "b2"]
    assert not any(folder.exists() or mounted(folder) for folder in left)
    assert not (place.run / "stale").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x" * 33, ".", "a\n"])
def test_names_that_are_no_ids_are_refused(place, name):
    for action in (lambda: run_folders.make(place, name, None), lambda: run_folders.remove(place, name)):
        with pytest.raises(ValueError, match="not a server id"):
            action()


@needs_root
def test_a_run_folder_of_somebody_else_is_refused(place):
    os.chown(place.run, UIDS.vault, UIDS.vault)
    with pytest.raises(PermissionError):
        run_folders.prepare(place)
    os.chown(place.run, 0, 0)


def test_a_run_folder_that_is_a_link_is_refused(place, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        run_folders.prepare(dataclasses.replace(place, run=tmp_path / "link"))
