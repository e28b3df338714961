"""An instance's folders, owners and secrets; running set-up again loses nothing."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from strongroom_hub import setup
from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem

RUNTIME = setup.Runtime(node="/n", proxy_script="/p", server_python="/s", kernel_prefix="/k")
AS_ROOT = os.geteuid() == 0


@pytest.fixture
def place(tmp_path):
    tmp_path.chmod(0o755)
    instance = setup.new_instance(tmp_path / "data", RUNTIME, port=8443)
    setup.create(instance)
    return instance


def test_the_instance_file_reads_back(place):
    assert Instance.load(place.path) == place


@pytest.mark.skipif(not AS_ROOT, reason="owners differ only with root")
def test_owners(place):
    owners = {
        place.control_dir: place.uids.control,
        place.vault_dir: place.uids.vault,
        place.hub_dir: 0,
        place.policy_dir: 0,
        place.tls_dir / "server.key": place.uids.proxy,
        place.tls_dir / "ca.key": 0,
    }
    assert {path: path.stat().st_uid for path in owners} == owners
    inside = [path for path in place.control_dir.rglob("*") if path.stat().st_uid != place.uids.control]
    assert inside == []


def test_modes(place):
    closed = [place.control_dir, place.vault_dir, place.hub_dir, place.logs_dir]
    assert [stat.S_IMODE(path.stat().st_mode) for path in closed] == [0o700] * len(closed)
    secrets = [place.hub_token_file, place.operator_token_file, place.tls_dir / "ca.key", place.tls_dir / "server.key"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in secrets] == [0o600] * len(secrets)


def test_no_secret_is_readable_by_others(place):
    allowed = {"policy", "public", "tls", "instance.toml"}
    for path in place.data.rglob("*"):
        closed_above = any(
            not parent.stat().st_mode & 0o001 for parent in path.parents if parent.is_relative_to(place.data)
        )
        if path.is_file() and path.stat().st_mode & 0o004 and not closed_above:
            assert path.relative_to(place.data).parts[0] in allowed, path


def test_control_keeps_digests_only(place):
    kept = (place.control_dir / "principals.json").read_text(encoding="utf-8")
    files = (place.hub_token_file, place.operator_token_file, place.metrics_token_file)
    tokens = [file.read_text(encoding="ascii").strip() for file in files]
    assert set(json.loads(kept)) == {"hub", "operator", "metrics"}
    assert len(set(tokens)) == len(tokens)
    assert not any(token in kept for token in tokens)
    assert all(len(token) >= 43 for token in tokens)


def test_again_replaces_nothing(place):
    (place.policy_dir / "policy.csv").write_text("# my rules\n", encoding="utf-8")
    kept = (place.hub_dir, place.tls_dir, place.public_dir, place.policy_dir, place.control_dir / "keys")
    before = {path: path.read_bytes() for folder in kept for path in folder.iterdir() if path.is_file()}
    setup.create(place)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.skipif(not AS_ROOT, reason="only other uids need passage")
def test_a_closed_folder_on_the_way_is_said_in_words(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    with pytest.raises(Problem, match="cannot be entered by other users") as refused:
        setup.create(setup.new_instance(tmp_path / "closed" / "data", RUNTIME, port=8443))
    assert "chmod o+x" in refused.value.next


def test_two_instances_share_no_uid():
    if not AS_ROOT:
        assert setup.uids_for(Path("/srv/a")) is None
        return
    one, two = setup.uids_for(Path("/srv/a")), setup.uids_for(Path("/srv/b"))
    assert abs(one.control - two.control) >= setup.UIDS_PER_INSTANCE
    assert one == setup.uids_for(Path("/srv/a"))


def test_run_folders_leave_room_for_socket_names():
    assert len(str(setup.run_folder_for(Path("/very/long" * 20)))) <= setup.LONGEST_RUN_FOLDER


def test_without_a_runtime_the_next_step_is_named(tmp_path):
    with pytest.raises(Problem) as refused:
        setup.Runtime.load(tmp_path)
    assert "make setup" in refused.value.next


def test_free_ports_differ():
    assert len(set(setup.free_ports(20))) == 20


def test_one_uid_mode_is_stated(place):
    assert bool(setup.separation(place)) is not AS_ROOT
