from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from strongroom_hub import setup
from strongroom_hub.config import Instance
from strongroom_hub.machine import instance
from strongroom_hub.machine.check import Check, State
from strongroom_hub.setup import Runtime

from tests.hub_config.standins.s3 import BUCKET, S3, credentials


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(setup, "_check_searchable", lambda _: None)
    runtime = Runtime(node="node", proxy_script="p", server_python="s", kernel_prefix="k")
    made = setup.new_instance(tmp_path / "data", runtime, port=8443)
    setup.create(made)
    return made


def owners(place: Instance) -> Check:
    (found,) = instance.ownership(place)
    return found


def test_what_set_up_makes_is_in_order(place: Instance) -> None:
    assert owners(place).state is State.FINE, owners(place)


@pytest.mark.parametrize(
    "name",
    [
        "hub/operator.token",
        "hub/metrics.token",
        "control",
        "control/keys",
        "vault",
        "control/strongroom.sqlite",
        "tls/server.key",
        "logs",
    ],
)
def test_what_others_may_read_is_named_and_how_to_close_it(place: Instance, name: str) -> None:
    path = place.data / name
    mode = path.stat().st_mode & 0o777
    path.chmod(mode | 0o044)
    found = owners(place)
    assert found.state is State.BROKEN
    assert f"{path} has mode" in found.text
    assert f"chmod {mode:04o}" in found.text


@pytest.mark.parametrize("name", ["policy", "policy/policy.csv", "public", "."])
def test_what_others_may_change_is_broken(place: Instance, name: str) -> None:
    (place.data / name).chmod(0o777)
    assert owners(place).state is State.BROKEN


def test_a_link_in_place_of_a_folder_is_broken(place: Instance, tmp_path: Path) -> None:
    place.logs_dir.rename(tmp_path / "elsewhere")
    place.logs_dir.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in owners(place).text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_wrong_owner_is_broken(place: Instance) -> None:
    os.chown(place.vault_dir, 12345, 12345)
    found = owners(place)
    assert found.state is State.BROKEN
    assert "uid 12345" in found.text


def test_what_is_missing_is_named(place: Instance) -> None:
    place.metrics_token_file.unlink()
    found = owners(place)
    assert (found.state, str(place.metrics_token_file) in found.text) == (State.BROKEN, True)


def test_one_uid_is_weaker(place: Instance) -> None:
    assert instance.uids(replace(place, uids=None)).state is State.WEAKER


@pytest.mark.parametrize(
    ("free_gib", "of_gib", "state"), [(100, 200, State.FINE), (3, 200, State.WEAKER), (0.1, 200, State.BROKEN)]
)
def test_free_disk(monkeypatch: pytest.MonkeyPatch, free_gib: float, of_gib: float, state: State) -> None:
    blocks = SimpleNamespace(f_bavail=int(free_gib * (1 << 18)), f_blocks=int(of_gib * (1 << 18)), f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: blocks)
    assert instance.space(Path("/x")).state is state


@pytest.mark.parametrize(("free", "of", "state"), [(90, 100, State.FINE), (1, 100, State.WEAKER), (0, 0, State.FINE)])
def test_free_inodes(monkeypatch: pytest.MonkeyPatch, free: int, of: int, state: State) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_favail=free, f_files=of))
    assert instance.inodes(Path("/x")).state is state


MOUNTINFO = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:50 / /srv rw shared:1 - nfs4 host:/x rw
31 30 8:2 / /srv/my\\040data rw - xfs /dev/sdb1 rw
32 22 0:51 / /srvother rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"), [("/", "ext4"), ("/srv/a/b", "nfs4"), ("/srv/my data/x", "xfs"), ("/srvoth", "ext4")]
)
def test_the_kind_of_file_system_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert instance.kind_of(Path(folder), MOUNTINFO) == kind


@pytest.mark.parametrize(
    ("kind", "state"), [("nfs4", State.BROKEN), ("fuse.sshfs", State.BROKEN), ("ext4", State.FINE)]
)
def test_a_network_file_system_is_broken(
    place: Instance, monkeypatch: pytest.MonkeyPatch, kind: str, state: State
) -> None:
    monkeypatch.setattr(instance, "kind_of", lambda *_: kind)
    assert instance.file_system(place).state is state


@pytest.mark.parametrize(
    ("before", "state"),
    [(timedelta(days=400), State.FINE), (timedelta(days=10), State.WEAKER), (timedelta(days=-1), State.BROKEN)],
)
def test_certificate(place: Instance, monkeypatch: pytest.MonkeyPatch, before: timedelta, state: State) -> None:
    expires = instance.x509.load_pem_x509_certificate((place.tls_dir / "server.pem").read_bytes()).not_valid_after_utc

    class Now(instance.datetime):
        @classmethod
        def now(cls, _):
            return expires - before

    monkeypatch.setattr(instance, "datetime", Now)
    assert instance.certificate(place).state is state


def test_a_certificate_that_is_none_is_broken(place: Instance) -> None:
    (place.tls_dir / "server.pem").write_text("rubbish")
    assert instance.certificate(place).state is State.BROKEN


def test_encryption_is_seen_below_partitions_and_volumes(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    block = tmp_path / "sys" / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    (block / "slaves").mkdir(parents=True)
    assert instance.encryption(tmp_path, tmp_path / "sys").state is State.WEAKER
    (block / "dm").mkdir()
    (block / "dm" / "uuid").write_text("CRYPT-LUKS2-1-data\n")
    assert instance.encryption(tmp_path, tmp_path / "sys").state is State.FINE


def test_packages_against_what_the_release_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "_constraints", dict)
    assert [check.state for check in instance.packages()] == [State.FINE, State.FINE]
    monkeypatch.setattr(instance.metadata, "requires", lambda _: ['polars==99.*; extra == "hub"', "absent-package"])
    _, found = instance.packages()
    assert found.state is State.BROKEN
    assert "polars" in found.text
    assert "absent-package" not in found.text  # no extra of the hub
    monkeypatch.setattr(instance.metadata, "requires", lambda _: [])
    monkeypatch.setattr(instance, "_constraints", lambda: {"polars": "0.1"})
    assert instance.packages()[1].state is State.WEAKER


def test_an_object_store_is_asked(place: Instance, tmp_path: Path) -> None:
    assert instance.object_store(place) == []
    server = S3()
    settings = {"bucket": BUCKET, "endpoint": server.address, "credentials": str(credentials(tmp_path)), "timeout": 1}
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (place.data / "vault.toml").write_text("\n".join(['[store]\nkind = "s3"\n[store.s3]', *lines]))
    states = []
    for change in (
        lambda: None,
        lambda: server.objects.update({"strongroom/left-over": b"x"}),
        lambda: credentials(tmp_path, "another-key"),
        server.close,
    ):
        change()
        (found,) = instance.object_store(place)
        states.append((found.state, found.text))
        assert "another-key" not in found.text
    assert [state for state, _ in states] == [State.FINE, State.WEAKER, State.BROKEN, State.BROKEN]
    assert "1 objects" in states[1][1]
    assert "left-over" in states[1][1]
    assert "refuses the credentials" in states[2][1]
    assert "does not answer" in states[3][1]
