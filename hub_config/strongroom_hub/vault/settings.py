"""`vault.toml` beside `instance.toml`: where the vault's master key and the encrypted parts are, what kernels may hold.
Never a secret.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem
from strongroom_hub.vault.holding import Holding, InFolder, InObjects
from strongroom_hub.vault.keyfiles import LocalKeyService, Passphrase, credentials_folder
from strongroom_hub.vault.keys import KeyService
from strongroom_hub.vault.objects import S3Settings, s3
from strongroom_hub.vault.places import Places
from strongroom_hub.vault.shelf import MIB, Limits
from strongroom_hub.vault.transit import TransitKeyService, TransitSettings

FILE = "vault.toml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeySettings(_Strict):
    """`service`: `local` (files below the vault's folder), `credential` (systemd's), `transit` (OpenBao, Vault)."""

    service: Literal["local", "credential", "transit"] = "local"
    passphrase: Annotated[str, Field(pattern=r"^(credential:[A-Za-z0-9._-]+|fd:[0-9]{1,4})$")] | None = None
    transit: TransitSettings | None = None


class StoreSettings(_Strict):
    """`kind`: where new versions' encrypted parts go: `folder` (below the vault's own), `s3` (an object store)."""

    kind: Literal["folder", "s3"] = "folder"
    s3: S3Settings | None = None


_Mib = Annotated[int, Field(ge=16, le=1 << 24, strict=True)]
_HALF = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 // MIB
"""Of this machine's memory, in MiB."""


class MemorySettings(_Strict):
    """Opened data that kernels may hold of the vault's memory, in MiB; `cache`: what is kept for the next kernel."""

    kernel: _Mib = 4096
    all: _Mib = max(16, _HALF)
    cache: _Mib = 1024

    @property
    def limits(self) -> Limits:
        return Limits(self.kernel * MIB, self.all * MIB, self.cache * MIB)


class StreamSettings(_Strict):
    """Streams at a time, of one person in one project and in all; seconds that a reader may take over one batch;
    MiB of one batch.
    """

    person: Annotated[int, Field(ge=1, le=64, strict=True)] = 3
    all: Annotated[int, Field(ge=1, le=256, strict=True)] = 12
    idle: Annotated[int, Field(ge=1, le=24 * 3600, strict=True)] = 900
    batch: Annotated[int, Field(ge=1, le=1024, strict=True)] = 128


_Hours = Annotated[int, Field(ge=1, le=100_000, strict=True)]


class IntakeSettings(_Strict):
    """Hours after which what nobody goes on with is removed: a draft that nobody made visible, an unfinished upload."""

    draft_hours: _Hours = 30 * 24
    upload_hours: _Hours = 7 * 24


_DEFAULT = KeySettings()
_STORE = StoreSettings()
_MEMORY = MemorySettings()
_STREAMS = StreamSettings()
_INTAKE = IntakeSettings()


class _Document(_Strict):
    keys: KeySettings = _DEFAULT
    store: StoreSettings = _STORE
    memory: MemorySettings = _MEMORY
    streams: StreamSettings = _STREAMS
    intake: IntakeSettings = _INTAKE


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """What `vault.toml` says; all of it has a default."""

    keys: KeySettings = _DEFAULT
    memory: MemorySettings = _MEMORY
    streams: StreamSettings = _STREAMS
    intake: IntakeSettings = _INTAKE
    store: StoreSettings = _STORE

    @classmethod
    def load(cls, instance: Instance) -> VaultSettings:
        """Raises Problem naming file and member."""
        file = instance.data / FILE
        try:
            document = _Document.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise _unusable(file, str(error)) from error
        except ValidationError as error:
            raise _unusable(file, "; ".join(sorted({_wrong(item["loc"], item) for item in error.errors()}))) from error
        if (document.keys.service == "transit") != (document.keys.transit is not None):
            raise _unusable(file, "keys.transit belongs to service = 'transit', and that needs it")
        if document.keys.passphrase is not None and document.keys.service != "local":
            raise _unusable(file, "keys.passphrase belongs to service = 'local'")
        if (document.store.kind == "s3") != (document.store.s3 is not None):
            raise _unusable(file, "store.s3 belongs to kind = 's3', and that needs it")
        return cls(document.keys, document.memory, document.streams, document.intake, document.store)

    def holding(self, places: Places) -> Holding:
        """What holds encrypted parts. Raises Problem where it cannot be used; whether it answers is seen later."""
        if (at := self.store.s3) is None:
            return InFolder()
        return InObjects(s3(at), places.store, cache_bytes=at.cache * MIB, patience=at.deadline)

    def key_service(self, places: Places) -> KeyService:
        """The service that holds the master key. Raises Problem where it cannot be used."""
        if self.keys.transit is not None:
            return TransitKeyService(self.keys.transit)
        if self.keys.service == "credential":
            return LocalKeyService(credentials_folder(), fixed=True)
        return LocalKeyService(places.keys, passphrase=self.passphrase())

    def passphrase(self) -> Passphrase | None:
        return None if self.keys.passphrase is None else Passphrase(self.keys.passphrase)


def _wrong(place: tuple[int | str, ...], item: Mapping[str, Any]) -> str:
    """What is wrong with one setting, without its value: somebody may have written a secret there."""
    name, context = ".".join(map(str, place)), item.get("ctx", {})
    if item["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    bounds = [f"{word} {context[key]}" for key, word in (("ge", "at least"), ("le", "at most")) if key in context]
    if bounds:
        return f"{name}: it must be {' and '.join(bounds)}"
    if item["type"] == "literal_error":
        return f"{name}: it must be {context['expected']}"
    kinds = {"int_type": "a whole number", "string_type": "a text", "model_type": "a section of its own"}
    return f"{name}: it must be {kinds.get(item['type'], 'written otherwise (docs/operators)')}"


def _unusable(file: Path, why: str) -> Problem:
    return Problem(
        500,
        "vault-settings",
        "The vault's settings cannot be used",
        f"{file}: {why}.",
        next="Correct the file (docs/operators: keys.md, object-store.md, limits.md).",
    )
