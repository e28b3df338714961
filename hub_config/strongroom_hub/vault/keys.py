"""The key hierarchy: a master key wraps a random data key per (dataset, version, column) and per staged file.

The master key lives in a key service and has numbered generations (`local:2`, `transit:strongroom:3`): the newest
wraps, older ones open what they wrapped until they are destroyed. Pseudonym keys derive from a root that is wrapped
too.

Wrapped keys carry what they are for as authenticated data, so a key that was moved to another column, version or
dataset does not open.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom_hub.problems import Problem
from strongroom_hub.vault.durable import replace_durably

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it lies on disk: `kek` names the key that wraps it, `wrapped` is base64."""

    kek: str
    wrapped: str

    def as_json(self) -> dict[str, str]:
        return {"kek": self.kek, "wrapped": self.wrapped}

    @classmethod
    def from_json(cls, raw: object) -> WrappedKey:
        """Raises ValueError."""
        if not isinstance(raw, dict) or not all(isinstance(raw.get(name), str) for name in ("kek", "wrapped")):
            raise ValueError("it is no wrapped key")
        return cls(raw["kek"], raw["wrapped"])


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a data key is for; bound into its wrapping."""

    words: tuple[str, ...]

    @classmethod
    def slot(cls, dataset: str, version: int, group: str, name: str) -> KeyUse:
        """A column's or a file's key; `group` as in `keys.json` (wrapped.py)."""
        return cls(("version", dataset, str(version), group, name))

    @classmethod
    def export(cls, export: str, sha256: str) -> KeyUse:
        return cls(("export", export, sha256))

    def as_bytes(self) -> bytes:
        return json.dumps(["strongroom-key/1", *self.words]).encode()


class KeyService(Protocol):
    """Whoever holds the master key: a local file, or a key management service."""

    @property
    def current(self) -> str:
        """The generation that wraps now."""
        ...

    def generations(self) -> list[str]:
        """Those that can still open something, oldest first. Raises Problem."""
        ...

    def wrap(self, key: bytes, use: KeyUse) -> WrappedKey:
        """Raises Problem."""
        ...

    def unwrap(self, wrapped: WrappedKey, use: KeyUse) -> bytes:
        """The data key. Raises Problem when it was not wrapped for this use by this service."""
        ...

    def rotate(self) -> str:
        """Make a new generation, which wraps from now on; its name. Raises Problem."""
        ...

    def destroy(self, generation: str) -> None:
        """End an older generation for good: nothing that it wrapped opens ever again. Raises Problem."""
        ...


class Keys:
    """A key service, and the pseudonym keys of projects below a root that it wraps."""

    def __init__(self, service: KeyService, root_file: Path, *, may_create: bool) -> None:
        """`may_create`: no data is there yet, so a missing root can be made. Raises Problem, OSError."""
        self.service = service
        self.root_file = root_file
        if not root_file.exists():
            if not may_create:
                raise Problem(
                    500,
                    "root-key",
                    "The root of the pseudonym keys is missing",
                    f"The vault holds encrypted data, but {root_file} is gone.",
                    why=("a new root would give every pseudonym another value",),
                    next="Restore the file from backup.",
                )
            self._store_root(new_key())
        self._root = self.service.unwrap(self._wrapped_root(), _ROOT)

    def wrap(self, key: bytes, use: KeyUse) -> WrappedKey:
        return self.service.wrap(key, use)

    def unwrap(self, wrapped: WrappedKey, use: KeyUse) -> bytes:
        return self.service.unwrap(wrapped, use)

    def project_key(self, project: str) -> str:
        """The project's pseudonym key as hex text: the same for ever, another for each project."""
        return derive(self._root, "project:" + project).hex()

    def root_generation(self) -> str:
        return self._wrapped_root().kek

    def rewrap_root(self) -> int:
        """Wrap the root under the current generation; how many keys that exchanged."""
        if self.root_generation() == self.service.current:
            return 0
        self._store_root(self._root)
        return 1

    def _store_root(self, root: bytes) -> None:
        replace_durably(self.root_file, json.dumps(self.service.wrap(root, _ROOT).as_json()).encode())

    def _wrapped_root(self) -> WrappedKey:
        try:
            return WrappedKey.from_json(json.loads(self.root_file.read_bytes()))
        except (OSError, ValueError) as error:
            raise Problem(
                500,
                "root-key",
                "The root of the pseudonym keys cannot be used",
                f"{self.root_file} is unreadable or holds no wrapped key.",
                next="Restore the file from backup.",
            ) from error


_ROOT = KeyUse(("root", "pseudonyms"))


def new_key() -> bytes:
    """A random 256-bit data key."""
    return os.urandom(KEY_BYTES)


def derive(secret: bytes, purpose: str) -> bytes:
    """A 256-bit key for one purpose (HKDF-SHA256)."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"strongroom/1 {purpose}".encode()).derive(secret)


def key_refused(wrapped: WrappedKey, use: KeyUse, held: str) -> Problem:
    """The refusal to open what this vault's master key did not wrap for this use."""
    return Problem(
        500,
        "key-refused",
        "A data key does not open",
        f"The stored key for {' '.join(use.words)!r} was not wrapped for it by this vault's master key.",
        why=(f"key {wrapped.kek!r}, this vault holds {held}",),
        next="Tell an operator: the master key or keys.json was changed, or belongs to another installation.",
    )
