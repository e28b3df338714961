"""What the vault asks of a worker, in one place for both ends: plain JSON, keys in base64."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom_hub.vault.keys import KeyService
from strongroom_hub.vault.manifest import FOOTER, Manifest
from strongroom_hub.vault.masks import Method, needs_value
from strongroom_hub.vault.store import Published
from strongroom_hub.vault.tickets import View


@dataclass(frozen=True, slots=True)
class ViewJob:
    """One view to read: where it lies, what of it, and the keys of exactly the columns that must be decrypted."""

    folder: Path
    manifest: Manifest
    columns: list[str]
    masks: dict[str, Method]
    keys: dict[str, bytes]
    project_key: str
    """Hex text; empty where no column is hashed."""

    @classmethod
    def prepare(cls, published: Published, view: View, keys: KeyService) -> ViewJob:
        """Unwrap what this view needs and nothing else."""
        masks: dict[str, Method] = {name: mask.method for name, mask in view.masks.items()}
        needed = [name for name in view.columns if needs_value(masks.get(name))]
        hashed = any(masks.get(name) == "hash" for name in view.columns)
        return cls(
            folder=published.folder,
            manifest=published.manifest,
            columns=list(view.columns),
            masks=masks,
            keys=published.unwrap(needed, keys),
            project_key=keys.project_key(view.project) if hashed else "",
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "manifest": self.manifest.model_dump(),
            "columns": self.columns,
            "masks": self.masks,
            "keys": encode_keys(self.keys),
            "project_key": self.project_key,
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ViewJob:
        return cls(
            folder=Path(raw["folder"]),
            manifest=Manifest.parse(raw["manifest"]),
            columns=raw["columns"],
            masks=raw["masks"],
            keys=decode_keys(raw["keys"]),
            project_key=raw["project_key"],
        )

    @property
    def footer_key(self) -> bytes:
        return self.keys[FOOTER]

    @property
    def column_keys(self) -> dict[str, bytes]:
        return {name: key for name, key in self.keys.items() if name != FOOTER}


def encode_keys(keys: dict[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(key).decode() for name, key in keys.items()}


def decode_keys(raw: dict[str, str]) -> dict[str, bytes]:
    return {name: base64.b64decode(key) for name, key in raw.items()}
