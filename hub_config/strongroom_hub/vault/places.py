"""Where things lie below the vault's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from strongroom_hub.config import Instance


@dataclass(frozen=True, slots=True)
class Places:
    """`root` is `Instance.vault_dir`: owned by the vault alone, 0700."""

    root: Path

    @classmethod
    def of(cls, instance: Instance) -> Places:
        return cls(instance.vault_dir)

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def first_master_key(self) -> Path:
        """The first generation of the master key, where it lies in files (keyfiles.py)."""
        return self.keys / "master-1.key"

    @property
    def root_key(self) -> Path:
        """The wrapped root of the pseudonym keys."""
        return self.keys / "root.json"

    @property
    def receipt_key(self) -> Path:
        return self.keys / "receipt.pem"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def uploads(self) -> Path:
        """Files on their way in, encrypted."""
        return self.root / "uploads"

    @property
    def tokens(self) -> Path:
        """Which token stands for which value, by project."""
        return self.root / "tokens"

    @property
    def exports(self) -> Path:
        return self.root / "exports"
