"""Makes what the control service needs before its first start; running it again changes nothing that exists."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from strongroom_hub.audit.keys import SIGNING_KEY, LogKeys
from strongroom_hub.config import Instance
from strongroom_hub.control.tickets import load_private_key
from strongroom_hub.database import migrate, open_for

CONTROL_KEY = "control.pem"


def keys_dir(instance: Instance) -> Path:
    return instance.control_dir / "keys"


def principals_file(instance: Instance) -> Path:
    """SHA-256 of the hub's, the operator's and the scraper's tokens: control never holds the tokens themselves."""
    return instance.control_dir / "principals.json"


def create(instance: Instance) -> None:
    """Keys, public halves, principals and the database schema, owned by control's uid where there is one.

    The folders `control_dir`, `public_dir` and the three token files must exist. Raises OSError, or ValueError for a
    damaged key: an existing key is never replaced, because everything signed so far hangs on it.
    """
    keys = keys_dir(instance)
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (keys / CONTROL_KEY).exists():
        _replace(keys / CONTROL_KEY, _new_signing_key(), mode=0o600)
    log_keys = LogKeys.load(keys) if (keys / SIGNING_KEY).exists() else LogKeys.create(keys)
    public = (
        load_private_key(keys / CONTROL_KEY).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    _replace(instance.public_dir / "control.pub.pem", public, mode=0o644)
    _replace(instance.public_dir / "log.vkey", f"{log_keys.vkey}\n".encode(), mode=0o644)
    _replace(principals_file(instance), _principals(instance), mode=0o600)
    engine = open_for(instance)
    try:
        migrate(engine)
    finally:
        engine.dispose()
    if instance.uids is not None:
        _hand_over(instance.control_dir, instance.uids.control)


def _new_signing_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    """Write beside and rename: a crash leaves the old file or the new one, never half a key."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.chmod(mode)
    beside.rename(path)


def _principals(instance: Instance) -> bytes:
    tokens = {
        "hub": instance.hub_token_file,
        "operator": instance.operator_token_file,
        "metrics": instance.metrics_token_file,
    }
    digests = {
        kind: hashlib.sha256(file.read_text(encoding="ascii").strip().encode()).hexdigest()
        for kind, file in tokens.items()
    }
    return json.dumps(digests, indent=2).encode() + b"\n"


def _hand_over(folder: Path, uid: int) -> None:
    """Give the folder and all in it to control (set-up runs as root there; nobody else can write in it)."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)
