"""What the vault needs before its first start: folders, the master key, the key that signs its receipts."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem
from strongroom_hub.vault.keyfiles import master_files
from strongroom_hub.vault.keys import new_key
from strongroom_hub.vault.places import Places
from strongroom_hub.vault.settings import VaultSettings


def create(instance: Instance) -> None:
    """Make what is missing and keep what is there; safe to call at every start.

    Raises Problem when data is there but its master key is not: a new key would make the loss final.
    """
    places = Places.of(instance)
    for folder in (places.root, places.keys, places.store, places.exports, places.uploads, places.tokens):
        _folder(folder, instance)
    if VaultSettings.load(instance).keys.service == "local" and not master_files(places.keys):
        if any(places.store.iterdir()):
            raise Problem(
                500,
                "master-key",
                "The vault's master key is missing",
                f"{places.store} holds encrypted data, but {places.keys} holds no master key.",
                why=("a new master key could never open the data that is there",),
                next="Restore the key files from backup; to start over, remove the vault folder.",
            )
        _write_once(places.first_master_key, new_key(), 0o600, instance)
    if not places.receipt_key.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_once(places.receipt_key, pem, 0o600, instance)
    private = load_receipt_key(places.receipt_key)
    instance.public_dir.mkdir(parents=True, exist_ok=True)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    target = instance.public_dir / "vault.pub.pem"
    if not target.exists() or target.read_bytes() != public:
        _write(target, public, 0o644)


def load_receipt_key(file: Path) -> Ed25519PrivateKey:
    """The key that signs receipts. Raises Problem when the file does not hold one."""
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _bad_receipt_key(file) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad_receipt_key(file)
    return key


def _bad_receipt_key(file: Path) -> Problem:
    return Problem(
        500,
        "receipt-key",
        "The vault's receipt key cannot be used",
        f"{file} is missing or holds no Ed25519 private key.",
        next="Restore it from backup, or remove the file and run the set-up again.",
    )


def _folder(folder: Path, instance: Instance) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    _own(folder, instance)


def _write_once(file: Path, content: bytes, mode: int, instance: Instance) -> None:
    draft = _write_draft(file, content, mode)
    _own(draft, instance)
    draft.rename(file)


def _write(file: Path, content: bytes, mode: int) -> None:
    _write_draft(file, content, mode).rename(file)


def _write_draft(file: Path, content: bytes, mode: int) -> Path:
    draft = file.with_name(f".{file.name}.draft")
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as stream:
        os.fchmod(fd, mode)
        stream.write(content)
        stream.flush()
        os.fsync(fd)
    return draft


def _own(path: Path, instance: Instance) -> None:
    if instance.uids is not None and os.geteuid() == 0:
        os.chown(path, instance.uids.vault, instance.uids.vault)
