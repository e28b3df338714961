from __future__ import annotations

import os
from pathlib import Path

import pytest
from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem
from strongroom_hub.vault import setup
from strongroom_hub.vault.keys import KeyUse, LocalKeyService, WrappedKey, new_key


@pytest.fixture
def master(tmp_path: Path) -> Path:
    file = tmp_path / "master.key"
    file.write_bytes(os.urandom(32))
    file.chmod(0o600)
    return file


def test_a_key_opens_only_for_what_it_was_wrapped_for(master: Path) -> None:
    keys = LocalKeyService(master)
    key = new_key()
    wrapped = keys.wrap(key, KeyUse.slot("a/b", 1, "table", "x"))
    assert keys.unwrap(wrapped, KeyUse.slot("a/b", 1, "table", "x")) == key
    assert keys.wrap(key, KeyUse.slot("a/b", 1, "table", "x")) != wrapped
    others = [
        KeyUse.slot("a/b", 2, "table", "x"),
        KeyUse.slot("a/c", 1, "table", "x"),
        KeyUse.slot("a/b", 1, "table", "y"),
        KeyUse.slot("a/b", 1, "synthetic", "x"),
        KeyUse.export("a/b", "x"),
    ]
    for other in others:
        with pytest.raises(Problem, match="was not wrapped for it"):
            keys.unwrap(wrapped, other)
    for broken in (WrappedKey("local:2", wrapped.wrapped), WrappedKey("local:1", "AAAA"), WrappedKey("local:1", "?")):
        with pytest.raises(Problem) as refused:
            keys.unwrap(broken, KeyUse.slot("a/b", 1, "table", "x"))
        assert wrapped.wrapped not in str(refused.value.as_json())


def test_uses_cannot_be_confused_by_their_words() -> None:
    assert KeyUse.slot("a", 1, "table", "b").as_bytes() != KeyUse.slot("a", 11, "table", "b").as_bytes()
    assert KeyUse(("a", "bc")).as_bytes() != KeyUse(("ab", "c")).as_bytes()


def test_project_keys_are_stable_and_distinct(master: Path) -> None:
    one, again = LocalKeyService(master), LocalKeyService(master)
    assert one.project_key("cardio") == again.project_key("cardio") != one.project_key("elections")
    assert len(bytes.fromhex(one.project_key("cardio"))) == 32
    other = master.with_name("other.key")
    other.write_bytes(os.urandom(32))
    other.chmod(0o600)
    assert LocalKeyService(other).project_key("cardio") != one.project_key("cardio")


@pytest.mark.parametrize(
    ("mode", "size", "words"), [(0o640, 32, "read by others"), (0o600, 31, "32"), (0o600, 33, "32")]
)
def test_an_unsafe_key_file_is_not_used(master: Path, mode: int, size: int, words: str) -> None:
    master.write_bytes(b"k" * size)
    master.chmod(mode)
    with pytest.raises(Problem, match=words):
        LocalKeyService(master)
    master.unlink()
    with pytest.raises(Problem, match="cannot be read"):
        LocalKeyService(master)


def test_set_up_again_changes_nothing(instance: Instance) -> None:
    files = [
        *instance.vault_dir.rglob("*.key"),
        *instance.vault_dir.rglob("*.pem"),
        instance.public_dir / "vault.pub.pem",
    ]
    before = {file: file.read_bytes() for file in files}
    setup.create(instance)
    assert {file: file.read_bytes() for file in files} == before
    assert len(before) == 3
    assert {file.stat().st_mode & 0o777 for file in files[:2]} == {0o600}
    assert files[2].stat().st_mode & 0o777 == 0o644


def test_set_up_never_replaces_a_lost_master_key_over_data(instance: Instance) -> None:
    (instance.vault_dir / "keys" / "master.key").unlink()
    (instance.vault_dir / "store" / "health").mkdir()
    with pytest.raises(Problem, match="is gone"):
        setup.create(instance)


def test_set_up_restores_a_lost_public_key(instance: Instance) -> None:
    public = instance.public_dir / "vault.pub.pem"
    before = public.read_bytes()
    public.write_bytes(b"another")
    setup.create(instance)
    assert public.read_bytes() == before
    (instance.vault_dir / "keys" / "receipt.pem").write_bytes(b"rubbish")
    with pytest.raises(Problem, match="no Ed25519 private key"):
        setup.create(instance)
