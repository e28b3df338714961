"""The encrypted store: immutable versions in `store/NS/NAME/VERSION/`, each trusted only as far as its signed manifest.

A version is built aside (`.ingest-...`), completed (`.draft-VERSION`) and published by one rename. What a killed vault
left half-built is swept at the next start; a completed draft waits for its signed manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom_hub.problems import Problem
from strongroom_hub.vault.keys import FOOTER, KeyService, KeyUse, WrappedKey
from strongroom_hub.vault.manifest import Manifest, Part
from strongroom_hub.vault.tickets import DATASET_NAME, verify_manifest

MAGIC = b"PARE"
"""Head and tail of an encrypted Parquet file; a plaintext one says `PAR1`, and polars would read it without a word."""
MANIFEST_FILE = "manifest.jws"
DRAFT_MANIFEST_FILE = "manifest.json"
KEYS_FILE = "keys.json"
_INGEST = ".ingest-"
_DRAFT = ".draft-"


@dataclass(frozen=True, slots=True)
class Published:
    """A version whose manifest was signed for it, with its wrapped keys."""

    folder: Path
    manifest: Manifest
    wrapped: dict[str, WrappedKey]

    def unwrap(self, columns: list[str], keys: KeyService) -> dict[str, bytes]:
        """The footer key (under `FOOTER`) and the keys of these columns; no others are even unwrapped."""
        opened = {}
        for column in [FOOTER, *columns]:
            if column not in self.wrapped:
                raise damaged(self.manifest.dataset, self.manifest.version, KEYS_FILE, f"no key for {column!r}")
            use = KeyUse.column(self.manifest.dataset, self.manifest.version, column)
            opened[column] = keys.unwrap(self.wrapped[column], use)
        return opened


class Store:
    """Versions on a local folder that only the vault can enter."""

    def __init__(self, root: Path, control_key: Ed25519PublicKey) -> None:
        self.root = root
        self._control_key = control_key
        self._lock = threading.Lock()  # ingest, publish and retire of the same version exclude each other

    def sweep(self) -> list[Path]:
        """Remove what an interrupted ingest left behind; to be called before the first request."""
        unfinished = sorted(self.root.glob(f"*/*/{_INGEST}*"))
        for folder in unfinished:
            shutil.rmtree(folder)
        return unfinished

    def datasets(self) -> list[tuple[str, int]]:
        """All published (dataset, version), sorted."""
        return sorted(
            (f"{folder.parent.parent.name}/{folder.parent.name}", int(folder.name))
            for folder in self.root.glob("*/*/*")
            if folder.name.isdecimal() and folder.is_dir()
        )

    def begin(self, dataset: str, version: int) -> Path:
        """A fresh folder for the parts of a draft. Raises Problem where the version is published already."""
        self._refuse_published(dataset, version)
        parent = self._parent(dataset)
        _make_durable_folder(parent, self.root)
        folder = parent / f"{_INGEST}{version}-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        return folder

    def abandon(self, folder: Path) -> None:
        """Remove an unfinished ingest."""
        shutil.rmtree(folder, ignore_errors=True)

    def complete(self, folder: Path, manifest: Manifest, wrapped: dict[str, WrappedKey]) -> None:
        """Make a filled folder the draft of its version; an earlier draft gives way. Raises Problem."""
        if set(wrapped) != {FOOTER, *manifest.column_names}:
            raise Problem(500, "keys-incomplete", "The ingest was abandoned", "Not every column has a key of its own.")
        _write_durably(folder / KEYS_FILE, json.dumps({name: key.as_json() for name, key in wrapped.items()}).encode())
        _write_durably(folder / DRAFT_MANIFEST_FILE, manifest.model_dump_json().encode())
        _sync_folder(folder)
        draft = self._draft(manifest.dataset, manifest.version)
        with self._lock:
            self._refuse_published(manifest.dataset, manifest.version)
            if draft.exists():
                shutil.rmtree(draft)
            folder.rename(draft)
            _sync_folder(draft.parent)

    def publish(self, dataset: str, version: int, jws: str) -> None:
        """Make a draft readable, if control signed exactly its manifest; again is harmless. Raises Problem."""
        manifest = self._signed(dataset, version, jws)
        final = self._final(dataset, version)
        draft = self._draft(dataset, version)
        with self._lock:
            if final.exists():
                if self.open(dataset, version).manifest == manifest:
                    return
                raise self._published_already(dataset, version)
            if not draft.is_dir():
                raise _unknown(dataset, version, "there is no draft of it")
            if Manifest.parse(_read_json(draft / DRAFT_MANIFEST_FILE, dataset, version)) != manifest:
                raise Problem(
                    409,
                    "manifest-differs",
                    "Not published",
                    "The signed manifest is not that of the draft.",
                    why=("the draft was replaced after its manifest was signed, or the manifest was changed",),
                    next="Take the file in again and sign the manifest that comes back.",
                )
            _write_durably(draft / MANIFEST_FILE, jws.encode())
            _sync_folder(draft)
            draft.rename(final)
            _sync_folder(final.parent)

    def retire(self, dataset: str, version: int) -> None:
        """Remove an unpublished draft. Raises Problem where it is published, or where there is none."""
        with self._lock:
            self._refuse_published(dataset, version)
            draft = self._draft(dataset, version)
            if not draft.is_dir():
                raise _unknown(dataset, version, "there is no draft of it")
            shutil.rmtree(draft)
            _sync_folder(draft.parent)

    def open(self, dataset: str, version: int) -> Published:
        """A published version, its manifest verified against control's signature and its place. Raises Problem."""
        folder = self._final(dataset, version)
        if not folder.is_dir():
            raise _unknown(dataset, version, "the vault holds no published version of this number")
        try:
            jws = (folder / MANIFEST_FILE).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise damaged(dataset, version, MANIFEST_FILE, "it is missing or unreadable") from error
        try:
            manifest = self._signed(dataset, version, jws)
        except Problem as problem:
            raise damaged(dataset, version, MANIFEST_FILE, problem.detail) from problem
        raw = _read_json(folder / KEYS_FILE, dataset, version)
        try:
            wrapped = {name: WrappedKey(str(key["kek"]), str(key["wrapped"])) for name, key in raw.items()}
        except (TypeError, KeyError) as error:
            raise damaged(dataset, version, KEYS_FILE, "it does not list wrapped keys") from error
        return Published(folder, manifest, wrapped)

    def verify(self, dataset: str, version: int) -> Manifest:
        """Check signature, hashes, sizes and encryption of every part, without any key. Raises Problem."""
        published = self.open(dataset, version)
        for part in published.manifest.parts:
            os.close(open_part(published.folder, published.manifest.dataset, version, part))
        if missing := {FOOTER, *published.manifest.column_names} - set(published.wrapped):
            raise damaged(dataset, version, KEYS_FILE, f"no key for {min(missing)!r}")
        return published.manifest

    def _signed(self, dataset: str, version: int, jws: str) -> Manifest:
        manifest = Manifest.parse(verify_manifest(jws, self._control_key))
        if (manifest.dataset, manifest.version) != (dataset, version):
            raise Problem(
                409,
                "manifest-differs",
                "The manifest belongs elsewhere",
                f"It was signed for {manifest.dataset} version {manifest.version}, not for {dataset} {version}.",
                next="Use the manifest of this version.",
            )
        return manifest

    def _parent(self, dataset: str) -> Path:
        if not DATASET_NAME.fullmatch(dataset):
            raise _unknown(dataset, 0, "a dataset is named namespace/name, in lower-case letters, digits, - and _")
        return self.root / dataset

    def _final(self, dataset: str, version: int) -> Path:
        return self._parent(dataset) / str(version)

    def _draft(self, dataset: str, version: int) -> Path:
        return self._parent(dataset) / f"{_DRAFT}{version}"

    def _refuse_published(self, dataset: str, version: int) -> None:
        if self._final(dataset, version).exists():
            raise self._published_already(dataset, version)

    @staticmethod
    def _published_already(dataset: str, version: int) -> Problem:
        return Problem(
            409,
            "version-published",
            "Versions never change",
            f"{dataset} version {version} is published.",
            next="Add the data as a new version.",
        )


def open_part(folder: Path, dataset: str, version: int, part: Part) -> int:
    """A descriptor of a part that was hashed through this very descriptor; the caller closes it.

    Raises Problem naming the part when it is missing, plain, of another size or of another content.
    """
    try:
        fd = os.open(folder / part.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise damaged(dataset, version, part.name, "the file is missing or cannot be opened") from error
    try:
        _check_part(fd, dataset, version, part)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_part(fd: int, dataset: str, version: int, part: Part) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise damaged(dataset, version, part.name, "it is not a regular file")
    if status.st_size < 2 * len(MAGIC) or (
        os.pread(fd, len(MAGIC), 0) != MAGIC or os.pread(fd, len(MAGIC), status.st_size - len(MAGIC)) != MAGIC
    ):
        raise damaged(dataset, version, part.name, "it is not an encrypted Parquet file")
    if status.st_size != part.bytes:
        raise damaged(dataset, version, part.name, f"it has {status.st_size} bytes, the manifest says {part.bytes}")
    with os.fdopen(os.dup(fd), "rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != part.sha256:
            raise damaged(dataset, version, part.name, "its SHA-256 is not the one in the manifest")


def damaged(dataset: str, version: int, file: str, what: str) -> Problem:
    """The refusal to serve a version of which one file is not what control signed."""
    return Problem(
        500,
        "dataset-damaged",
        "The stored dataset cannot be trusted",
        f"{dataset} version {version}, {file}: {what}.",
        why=("every file of a version must be exactly what its signed manifest says",),
        next="Tell an operator: `strongroom dataset verify` names what is wrong; restore the version from backup.",
    )


def _unknown(dataset: str, version: int, what: str) -> Problem:
    name = dataset if DATASET_NAME.fullmatch(dataset) else "this dataset"
    return Problem(
        404,
        "no-such-version",
        "No such dataset version",
        f"{name} version {version}: {what}.",
        next="See the catalogue.",
    )


def _read_json(file: Path, dataset: str, version: int) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise damaged(dataset, version, file.name, "it is missing or unreadable") from error
    if not isinstance(raw, dict):
        raise damaged(dataset, version, file.name, "it is not a JSON object")
    return raw


def _write_durably(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _make_durable_folder(folder: Path, root: Path) -> None:
    for level in (folder.parent, folder):
        level.mkdir(mode=0o700, exist_ok=True)
    for level in (folder, folder.parent, root):
        _sync_folder(level)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
