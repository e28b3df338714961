from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.note import Checkpoint, VerifierKey


def test_keys_are_kept_private_and_load_again(tmp_path: Path) -> None:
    made = LogKeys.create(tmp_path / "keys", host="example.org")
    loaded = LogKeys.load(tmp_path / "keys")
    assert (loaded.vkey, loaded.payload, loaded.name) == (made.vkey, made.payload, made.name)
    assert made.name.startswith("example.org/log/")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for name in ("log.pem", "payload.key"):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600
    verifier = VerifierKey.parse((tmp_path / "keys" / "log.vkey").read_text())
    assert str(verifier) == made.vkey
    assert loaded.open(made.sign(3, bytes(32))) == Checkpoint(made.name, 3, bytes(32))


def test_existing_keys_are_never_overwritten(tmp_path: Path) -> None:
    made = LogKeys.create(tmp_path)
    with pytest.raises(FileExistsError):
        LogKeys.create(tmp_path)
    assert LogKeys.load(tmp_path).vkey == made.vkey


def test_a_repr_shows_no_secret(tmp_path: Path) -> None:
    keys = LogKeys.create(tmp_path)
    assert repr(keys.payload) not in repr(keys)
    assert keys.payload.hex() not in repr(keys)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    LogKeys.create(tmp_path / "a")
    other = LogKeys.create(tmp_path / "b")
    (tmp_path / "a" / "log.vkey").write_text(other.vkey)
    with pytest.raises(ValueError, match=r"log\.vkey is not the public half"):
        LogKeys.load(tmp_path / "a")
    (tmp_path / "a" / "log.vkey").write_text("rubbish")
    with pytest.raises(ValueError, match=r"log\.vkey"):
        LogKeys.load(tmp_path / "a")
    (tmp_path / "b" / "payload.key").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"payload\.key"):
        LogKeys.load(tmp_path / "b")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    LogKeys.create(tmp_path)
    rsa = generate_private_key(65537, 2048)
    (tmp_path / "log.pem").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ValueError, match="Ed25519"):
        LogKeys.load(tmp_path)
