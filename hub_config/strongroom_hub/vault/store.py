"""The encrypted store: immutable versions in `store/NS/NAME/VERSION/`, each trusted only as far as its signed manifest.

A version is built aside by a worker (`.ingest-...`), completed by the vault (`.taking-...`, then `.draft-VERSION`) and
published by one rename. What a killed vault left half-built is swept at the next start; a completed draft waits for its
signed manifest. What goes is put aside first (`.gone-...`). The encrypted parts may be held elsewhere (holding.py).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom_hub.problems import Problem
from strongroom_hub.vault import wrapped as wrapped_keys
from strongroom_hub.vault.durable import FRESH, replace_durably, sync_folder, write_durably
from strongroom_hub.vault.holding import OBJECTS_FILE, Holding, InFolder, Needed
from strongroom_hub.vault.keys import Keys, KeyUse, WrappedKey
from strongroom_hub.vault.manifest import FILES, FOOTER, TABLE, Manifest, digest
from strongroom_hub.vault.parts import damaged
from strongroom_hub.vault.shredding import (
    SHREDDED_FILE,
    left_over,
    ordered,
    replace_and_wipe,
    shredded,
    slots_of,
    write_order,
)
from strongroom_hub.vault.tickets import DATASET_NAME, KeyTicket, verify_manifest
from strongroom_hub.vault.wrapped import Slot

log = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.jws"
DRAFT_MANIFEST_FILE = "manifest.json"
KEYS_FILE = "keys.json"
_INGEST = ".ingest-"
_TAKING = ".taking-"
_DRAFT = ".draft-"
_DESK = ".desk-"
_GONE = ".gone-"


@dataclass(frozen=True, slots=True)
class Published:
    """A version whose manifest was signed for it, with its wrapped keys."""

    folder: Path
    manifest: Manifest
    wrapped: dict[Slot, WrappedKey]
    gone: dict[Slot, KeyTicket]
    """What was shredded, and by which order."""
    signed_at: float
    """Unix time of control's signature."""

    def unwrap(self, columns: list[str], keys: Keys, group: str = TABLE) -> dict[str, bytes]:
        """The footer key (under `FOOTER`) and the keys of these columns; no others are even unwrapped."""
        return {name: self._unwrap(keys, (group, name)) for name in [FOOTER, *columns]}

    def unwrap_file(self, name: str, keys: Keys) -> bytes:
        """The key of one file that is no table."""
        return self._unwrap(keys, (FILES, name))

    def _unwrap(self, keys: Keys, slot: Slot) -> bytes:
        about = self.manifest
        if slot in self.gone:
            raise shredded(self.gone[slot], slot[1])
        if slot not in self.wrapped:
            raise damaged(about.dataset, about.version, KEYS_FILE, f"no key for {slot[1]!r}")
        return keys.unwrap(self.wrapped[slot], KeyUse.slot(about.dataset, about.version, *slot))


class Store:
    """Versions on a local folder that only the vault can enter."""

    def __init__(self, root: Path, control_key: Ed25519PublicKey, holding: Holding | None = None) -> None:
        """`holding`: what holds the encrypted parts; by default the folders themselves."""
        self.root = root
        self.holding = holding or InFolder()
        self._control_key = control_key
        self._lock = threading.Lock()  # ingest, publish and retire of the same version exclude each other

    def sweep(self) -> list[Path]:
        """Remove what an interrupted ingest left behind; to be called before the first request."""
        unfinished = sorted([*self.root.glob(f"*/*/{_INGEST}*"), *self.root.glob(f"*/*/{_TAKING}*")])
        desks = sorted(self.root.glob(f"{_DESK}*"))
        for folder in unfinished:
            self._put_aside(folder)
        for folder in desks:
            shutil.rmtree(folder)
        half_written = sorted(self.root.glob(f"*/*/*/*{FRESH}"))
        for file in half_written:
            file.unlink()
        self.clear()
        return unfinished + desks + half_written

    def clear(self) -> None:
        """Remove what was put aside to go; where the object store does not answer, it waits for another time."""
        for folder in self.root.glob(f"*/*/{_GONE}*"):
            if not self._discard(folder):
                return

    def datasets(self) -> list[tuple[str, int]]:
        """All published (dataset, version), sorted."""
        return sorted(
            (f"{folder.parent.parent.name}/{folder.parent.name}", int(folder.name))
            for folder in self.root.glob("*/*/*")
            if folder.name.isdecimal() and folder.is_dir()
        )

    def new_desk(self) -> Path:
        """An empty folder in which a worker will write the parts of a draft, when it is known of which."""
        desk = self.root / f"{_DESK}{secrets.token_hex(8)}"
        desk.mkdir(mode=0o700)
        return desk

    def place(self, dataset: str, version: int) -> Path:
        """Where the parts of a draft are to be written. Raises Problem where the version is published already."""
        self._refuse_published(dataset, version)
        return self._parent(dataset) / f"{_INGEST}{version}-{secrets.token_hex(8)}"

    def begin(self, desk: Path, folder: Path) -> None:
        """Take a desk to the place of a draft."""
        _make_durable_folder(folder.parent, self.root)
        desk.rename(folder)

    def abandon(self, folder: Path) -> None:
        """Remove an unfinished ingest."""
        with contextlib.suppress(FileNotFoundError):  # it never came so far
            self._discard(self._put_aside(folder))

    @staticmethod
    def _put_aside(folder: Path) -> Path:
        """In one step, so that nothing is ever half there."""
        if folder.name.startswith(_INGEST):  # a worker could write there: the objects that it names are others'
            with contextlib.suppress(IsADirectoryError):
                (folder / OBJECTS_FILE).unlink(missing_ok=True)
        aside = folder.with_name(f"{_GONE}{secrets.token_hex(8)}")
        folder.rename(aside)
        sync_folder(aside.parent)
        return aside

    def _discard(self, folder: Path) -> bool:
        try:
            self.holding.forget(folder)
        except Problem as problem:
            log.warning("%s is removed later: %s", folder, problem.slug)
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True

    def complete(self, folder: Path, manifest: Manifest, wrapped: Mapping[Slot, WrappedKey]) -> None:
        """Make a filled folder the draft of its version; an earlier draft gives way. Raises Problem."""
        if set(wrapped) != manifest.slots():
            raise Problem(500, "keys-incomplete", "The ingest was abandoned", "Not every column has a key of its own.")
        _refuse_strangers(folder, manifest)
        folder = folder.rename(folder.with_name(folder.name.replace(_INGEST, _TAKING, 1)))
        try:
            self._complete(folder, manifest, wrapped)
        except Exception:
            self.abandon(folder)
            raise

    def _complete(self, folder: Path, manifest: Manifest, wrapped: Mapping[Slot, WrappedKey]) -> None:
        self.holding.take(folder, manifest)
        write_durably(folder / KEYS_FILE, wrapped_keys.encode(wrapped))
        write_durably(folder / DRAFT_MANIFEST_FILE, manifest.model_dump_json().encode())
        sync_folder(folder)
        draft = self._draft(manifest.dataset, manifest.version)
        with self._lock:
            self._refuse_published(manifest.dataset, manifest.version)
            earlier = self._put_aside(draft) if draft.exists() else None
            folder.rename(draft)
            sync_folder(draft.parent)
        if earlier is not None:
            self._discard(earlier)

    def publish(self, dataset: str, version: int, jws: str) -> None:
        """Make a draft readable, if control signed what the vault said of it; again is harmless. Raises Problem.

        Label, tags and sources are control's to decide; everything else must be as the vault wrote it down. A later
        signature over the same data takes the place of the published one (a new label); an earlier one does not.
        """
        manifest, signed_at = self._signed(dataset, version, jws)
        final = self._final(dataset, version)
        draft = self._draft(dataset, version)
        with self._lock:
            if final.exists():
                self._sign_anew(final, manifest, signed_at, jws)
                return
            if not draft.is_dir():
                raise _unknown(dataset, version, "there is no draft of it")
            drafted = Manifest.parse(_read_json(draft / DRAFT_MANIFEST_FILE, dataset, version))
            if drafted.as_stored() != manifest.as_stored():
                raise Problem(
                    409,
                    "manifest-differs",
                    "Not published",
                    "The signed manifest is not that of the draft.",
                    why=("the draft was replaced after its manifest was signed, or the manifest was changed",),
                    next="Take the file in again and sign the manifest that comes back.",
                )
            write_durably(draft / MANIFEST_FILE, jws.encode())
            sync_folder(draft)
            draft.rename(final)
            sync_folder(final.parent)
            (final / DRAFT_MANIFEST_FILE).unlink(missing_ok=True)

    def _sign_anew(self, final: Path, manifest: Manifest, signed_at: float, jws: str) -> None:
        there = self.open(manifest.dataset, manifest.version)
        if there.manifest.as_stored() != manifest.as_stored():
            raise self._published_already(manifest.dataset, manifest.version)
        if signed_at < there.signed_at:
            raise Problem(
                409,
                "older-manifest",
                "Not published",
                f"{manifest.dataset} version {manifest.version} stands under a signature that is newer than this one.",
                next="Publish the manifest that control signed last.",
            )
        replace_durably(final / MANIFEST_FILE, jws.encode())

    def retire(self, dataset: str, version: int) -> None:
        """Remove an unpublished draft. Raises Problem where it is published, or where there is none."""
        with self._lock:
            self._refuse_published(dataset, version)
            draft = self._draft(dataset, version)
            if not draft.is_dir():
                raise _unknown(dataset, version, "there is no draft of it")
            aside = self._put_aside(draft)
        self._discard(aside)

    def drafts(self) -> list[tuple[str, int, float]]:
        """Every draft: dataset, version, and since when it is whole (Unix time)."""
        found = []
        for file in self.root.glob(f"*/*/{_DRAFT}*/{DRAFT_MANIFEST_FILE}"):
            number = file.parent.name.removeprefix(_DRAFT)
            with contextlib.suppress(FileNotFoundError):  # published or removed meanwhile
                place = file.parent.parent
                found.append((f"{place.parent.name}/{place.name}", int(number), file.stat().st_mtime))
        return sorted(found)

    def keks(self) -> Counter[str]:
        """How many keys of published versions and drafts each generation of the master key wraps. Raises Problem."""
        found: Counter[str] = Counter()
        for folder, _, _ in self._kept():
            found.update(key.kek for key in _read_keys(folder, folder.parent.name, 0).values())
        return found

    def unfinished(self) -> bool:
        """Whether a file is being taken in, whose keys are not written down yet."""
        return any(any(self.root.glob(f"*/*/{one}*")) for one in (_INGEST, _TAKING))

    def rewrap(self, keys: Keys, current: str, only: tuple[str, int] | None = None) -> int:
        """Exchange the wrapping of all keys, or of one version's; how many. Data is not touched. Raises Problem."""
        exchanged = 0
        for folder, dataset, version in self._kept():
            if only in (None, (dataset, version)):
                exchanged += self._rewrap(folder, dataset, version, keys, current)
        return exchanged

    def _rewrap(self, folder: Path, dataset: str, version: int, keys: Keys, current: str) -> int:
        with self._lock:
            if not folder.is_dir():  # a draft that was published or retired meanwhile
                return 0
            before = _read_keys(folder, dataset, version)
            after = wrapped_keys.rewrap_all(keys, current, dataset, version, before)
            if after != before:
                replace_durably(folder / KEYS_FILE, wrapped_keys.encode(after))
            return sum(after[slot] != before[slot] for slot in before)

    def shred(self, order: KeyTicket, token: str) -> list[str]:
        """Remove the keys that a signed order names; again is harmless. Their names, group first. Raises Problem."""
        if order.dataset is None or order.version is None:
            raise Problem(422, "bad-order", "Nothing was shredded", "The order names no version.")
        with self._lock:
            published = self.open(order.dataset, order.version)
            slots = slots_of(order, published.manifest)
            write_order(published.folder, token)
            kept = {slot: key for slot, key in published.wrapped.items() if slot not in slots}
            replace_and_wipe(published.folder / KEYS_FILE, wrapped_keys.encode(kept))
        return sorted(f"{group}:{name}" for group, name in slots)

    def _kept(self) -> list[tuple[Path, str, int]]:
        """Folder, dataset and version of every draft and published version. Drafts first: they move on to published."""
        found = []
        for pattern, start in ((f"*/*/{_DRAFT}*", len(_DRAFT)), ("*/*/*", 0)):
            for folder in sorted(self.root.glob(pattern)):
                if folder.name[start:].isdecimal() and (folder / KEYS_FILE).exists():
                    dataset = f"{folder.parent.parent.name}/{folder.parent.name}"
                    found.append((folder, dataset, int(folder.name[start:])))
        return found

    def open(self, dataset: str, version: int, *, active: str | None = None) -> Published:
        """A published version, its manifest verified against control's signature and its place. Raises Problem.

        `active`: the digest of the manifest that control made active; another one, however well signed, is refused.
        """
        folder = self._final(dataset, version)
        if not folder.is_dir():
            raise _unknown(dataset, version, "the vault holds no published version of this number")
        try:
            jws = (folder / MANIFEST_FILE).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise damaged(dataset, version, MANIFEST_FILE, "it is missing or unreadable") from error
        try:
            manifest, signed_at = self._signed(dataset, version, jws)
        except Problem as problem:
            raise damaged(dataset, version, MANIFEST_FILE, problem.detail) from problem
        if active is not None and digest(jws) != active:
            raise damaged(dataset, version, MANIFEST_FILE, "it is signed, but not the one that control made active")
        _refuse_strangers(folder, manifest, OBJECTS_FILE)
        gone = ordered(folder, manifest, self._control_key)
        return Published(folder, manifest, _read_keys(folder, dataset, version), gone, signed_at)

    def verify(self, dataset: str, version: int, *, active: str | None = None) -> Manifest:
        """Check signature, hashes, sizes and encryption of every part, without any key. Raises Problem."""
        published = self.open(dataset, version, active=active)
        manifest = published.manifest
        parts = [part for table in manifest.tables().values() for part in table.parts]
        self.holding.check(Needed(published.folder, manifest, [*parts, *manifest.files]))
        if missing := manifest.slots() - set(published.wrapped) - set(published.gone):
            raise damaged(dataset, version, KEYS_FILE, f"no key for {min(missing)[1]!r}")
        if left := left_over(published.wrapped, published.gone):
            raise damaged(dataset, version, KEYS_FILE, f"the key for {left[0][1]!r} lies here, but it was shredded")
        return manifest

    def _signed(self, dataset: str, version: int, jws: str) -> tuple[Manifest, float]:
        raw, signed_at = verify_manifest(jws, self._control_key)
        manifest = Manifest.parse(raw)
        if (manifest.dataset, manifest.version) != (dataset, version):
            raise Problem(
                409,
                "manifest-differs",
                "The manifest belongs elsewhere",
                f"It was signed for {manifest.dataset} version {manifest.version}, not for {dataset} {version}.",
                next="Use the manifest of this version.",
            )
        return manifest, signed_at

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


def _refuse_strangers(folder: Path, manifest: Manifest, *also: str) -> None:
    """Raises Problem naming a file that nobody signed for: what lies here is read by nobody's mistake."""
    known = {*manifest.stored_names, MANIFEST_FILE, KEYS_FILE, SHREDDED_FILE}
    known |= {name + FRESH for name in known} | {DRAFT_MANIFEST_FILE, *also}
    if strangers := {entry.name for entry in os.scandir(folder)} - known:
        raise damaged(manifest.dataset, manifest.version, min(strangers), "the signed manifest does not name this file")


def _unknown(dataset: str, version: int, what: str) -> Problem:
    name = dataset if DATASET_NAME.fullmatch(dataset) else "this dataset"
    return Problem(
        404,
        "no-such-version",
        "No such dataset version",
        f"{name} version {version}: {what}.",
        next="See the catalogue.",
    )


def _read_keys(folder: Path, dataset: str, version: int) -> dict[Slot, WrappedKey]:
    try:
        return wrapped_keys.decode((folder / KEYS_FILE).read_bytes())
    except OSError as error:
        raise damaged(dataset, version, KEYS_FILE, "it is missing or unreadable") from error
    except ValueError as error:
        raise damaged(dataset, version, KEYS_FILE, "it does not list wrapped keys") from error


def _read_json(file: Path, dataset: str, version: int) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise damaged(dataset, version, file.name, "it is missing or unreadable") from error
    if not isinstance(raw, dict):
        raise damaged(dataset, version, file.name, "it is not a JSON object")
    return raw


def _make_durable_folder(folder: Path, root: Path) -> None:
    for level in (folder.parent, folder):
        level.mkdir(mode=0o700, exist_ok=True)
    for level in (folder, folder.parent, root):
        sync_folder(level)
