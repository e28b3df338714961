"""Where the encrypted parts of versions are: in the version's folder, or in an object store with local copies there.

Whatever holds them is believed by nobody: each part is checked against the signed manifest when it is opened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from strongroom_hub.problems import Problem
from strongroom_hub.vault.durable import FRESH, sync_folder, write_durably
from strongroom_hub.vault.manifest import File, Manifest, Part
from strongroom_hub.vault.objects import MissingError, Objects, away
from strongroom_hub.vault.parts import DAMAGED, damaged, open_part, open_sealed

log = logging.getLogger(__name__)

OBJECTS_FILE = "objects.json"
"""In a version's folder: which object each of its parts is. Without it they lie in the folder."""
_FORMAT = "strongroom-objects/1"
_NAME = re.compile(r"[0-9a-f]{32}")
_AT_A_TIME = 4
"""Objects on their way."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Parts or files of one version that are about to be opened in its folder."""

    folder: Path
    manifest: Manifest
    signed: Sequence[Part | File]


class Holding(Protocol):
    """What holds the parts. All raise Problem, and OSError of the vault's own disk."""

    def take(self, folder: Path, manifest: Manifest) -> None:
        """Have every part of a filled folder where it stays, before its version can become visible."""

    def at_hand(self, needed: Sequence[Needed]) -> AbstractContextManager[None]:
        """Inside the block all of these can be opened in their folders."""

    def check(self, needed: Needed) -> None:
        """Read all of these from where they stay; what is not as signed is named."""

    def forget(self, folder: Path) -> None:
        """Remove what is held elsewhere for a folder that goes."""

    def close(self) -> None: ...


class InFolder:
    """They lie in the folder of their version: there is nothing to do."""

    def take(self, folder: Path, manifest: Manifest) -> None: ...

    def at_hand(self, needed: Sequence[Needed]) -> AbstractContextManager[None]:
        for one in needed:
            self.forget(one.folder)
        return nullcontext()

    def check(self, needed: Needed) -> None:
        self.forget(needed.folder)
        for signed in needed.signed:
            os.close(_open(needed.folder, needed.manifest, signed))

    def forget(self, folder: Path) -> None:
        """Nothing is held elsewhere. Raises Problem where something is, and nobody said where."""
        if (folder / OBJECTS_FILE).exists():
            raise Problem(
                500,
                "object-store",
                "The object store cannot be used",
                f"The parts of {folder.parent.parent.name}/{folder.parent.name} {folder.name} lie in an object store, "
                "and vault.toml names none.",
                next="Tell an operator: put [store.s3] back (docs/operators/object-store.md).",
            )

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Copy:
    file: Path
    object: str
    manifest: Manifest
    signed: Part | File

    def wrong(self, what: str) -> Problem:
        return damaged(self.manifest.dataset, self.manifest.version, self.file.name, what)

    def is_there(self) -> bool:
        return self.file.is_file() and self.file.stat().st_size == self.signed.bytes


class InObjects:
    """They lie in an object store; copies of those that were read last lie in the folders of their versions."""

    def __init__(self, objects: Objects, root: Path, *, cache_bytes: int, patience: float) -> None:
        """`root`: the store's folder. `cache_bytes`: of all copies. `patience`: seconds for one of them to come, and
        to wait for room for it.
        """
        self._objects = objects
        self._room = cache_bytes
        self._patience = patience
        self._changed = threading.Condition()
        self._copies: OrderedDict[Path, int] = OrderedDict()  # bytes; the one unused for longest first
        self._used: Counter[Path] = Counter()
        self._coming: dict[Path, threading.Lock] = {}
        self._pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="objects")
        folders = [about.parent for about in root.glob(f"*/*/*/{OBJECTS_FILE}") if about.parent.name.isdecimal()]
        found = [file for folder in folders for name in _read_names(folder) if (file := folder / name).is_file()]
        for file in sorted(found, key=lambda one: one.stat().st_atime):
            self._copies[file] = file.stat().st_size

    def take(self, folder: Path, manifest: Manifest) -> None:
        signed = _all_of(manifest)
        names = {name: secrets.token_hex(16) for name in signed}
        # first of all, so that whatever interrupts this knows what there is to remove
        write_durably(folder / OBJECTS_FILE, json.dumps({"format": _FORMAT, "objects": names}).encode())
        sync_folder(folder)
        self._side_by_side([lambda name=name: self._put(folder, manifest, signed[name], names[name]) for name in names])
        for name in names:  # what is read is what the object store has, from the first time on
            (folder / name).unlink()
        sync_folder(folder)

    def _put(self, folder: Path, manifest: Manifest, signed: Part | File, name: str) -> None:
        """Nothing leaves this machine but what was described, and of parts only what is encrypted."""
        with os.fdopen(_open(folder, manifest, signed), "rb") as source:
            source.seek(0)  # it was read to its end for its hash
            self._objects.put(name, source)

    @contextmanager
    def at_hand(self, needed: Sequence[Needed]) -> Iterator[None]:
        copies = {copy.file: copy for one in needed for copy in _copies_of(one)}
        self._claim(copies)
        try:
            coming = [copy for copy in copies.values() if not copy.is_there()]
            self._side_by_side([lambda copy=copy: self._bring(copy) for copy in coming])
            yield
        except Problem as problem:
            if problem.slug == DAMAGED:  # it may be the copy alone: the next one who reads fetches it anew
                for file in copies:
                    file.unlink(missing_ok=True)
            raise
        finally:
            self._release(copies)

    def check(self, needed: Needed) -> None:
        """The objects, whatever copies there are."""
        copies = list(_copies_of(needed))
        if not copies:
            InFolder().check(needed)
        for copy in copies:
            deque(self._checked(copy), maxlen=0)

    def forget(self, folder: Path) -> None:
        for name in _read_names(folder).values():
            self._objects.remove(name)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _claim(self, copies: dict[Path, _Copy]) -> None:
        """Keep these, or room for them, from others; copies that nobody uses make way."""
        wanted = sum(copy.signed.bytes for copy in copies.values())
        if wanted > self._room:
            raise _cache_too_small(wanted, self._room)
        with self._changed:
            if not self._changed.wait_for(lambda: self._used_beside(copies) + wanted <= self._room, self._patience):
                raise _cache_busy(self._room)
            for file, copy in copies.items():
                self._used[file] += 1
                self._copies[file] = copy.signed.bytes
                self._copies.move_to_end(file)
            over = sum(self._copies.values()) - self._room
            for file in [one for one in self._copies if not self._used[one]]:
                if over <= 0:
                    break
                file.unlink(missing_ok=True)
                over -= self._copies.pop(file)

    def _used_beside(self, copies: dict[Path, _Copy]) -> int:
        return sum(self._copies[file] for file in +self._used if file not in copies)

    def _release(self, copies: dict[Path, _Copy]) -> None:
        with self._changed:
            for file in copies:
                self._used[file] -= 1
                if not self._used[file]:
                    del self._used[file]
                    self._coming.pop(file, None)
                    if not file.exists():
                        del self._copies[file]
            self._changed.notify_all()

    def _bring(self, copy: _Copy) -> None:
        """Once, however many wait for it: all of them have claimed it."""
        with self._changed:
            turn = self._coming.setdefault(copy.file, threading.Lock())
        with turn:
            if not copy.is_there():
                self._fetch(copy)

    def _fetch(self, copy: _Copy) -> None:
        fresh = copy.file.with_name(copy.file.name + FRESH)
        try:
            with fresh.open("wb") as target:
                for piece in self._checked(copy):
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            fresh.rename(copy.file)
        except OSError as error:
            raise Problem(
                507,
                "vault-full",
                "The part could not be fetched",
                f"The vault could not write its copy ({error.strerror}).",
                next="Tell an operator: the vault's disk is full or broken (vault.toml, store.s3.cache).",
            ) from error
        finally:
            fresh.unlink(missing_ok=True)

    def _checked(self, copy: _Copy) -> Iterator[memoryview]:
        """The object's bytes; that they are the signed ones is known at the end, that they are too many before."""
        digest, size = hashlib.sha256(), 0
        last = time.monotonic() + self._patience
        try:
            for piece in self._objects.pieces(copy.object):
                size += len(piece)
                if size > copy.signed.bytes:
                    raise copy.wrong(f"its object is larger than the {copy.signed.bytes} bytes of the manifest")
                if time.monotonic() > last:
                    raise away(copy.file.name, f"it did not send the part within {self._patience:.0f} seconds")
                digest.update(piece)
                yield piece
        except MissingError:
            raise copy.wrong("its object is missing from the object store") from None
        if size != copy.signed.bytes:
            raise copy.wrong(f"its object has {size} bytes, the manifest says {copy.signed.bytes}")
        if digest.hexdigest() != copy.signed.sha256:
            raise copy.wrong("its object has another SHA-256 than the manifest says")

    def _side_by_side(self, calls: Sequence[_Call]) -> None:
        """All of them; the first error, when none of them does anything any more."""
        under_way = [self._pool.submit(call) for call in calls]
        wait(under_way)
        for one in under_way:
            one.result()


class _Call(Protocol):
    def __call__(self) -> None: ...


def strays(objects: Objects, root: Path) -> list[str]:
    """Names of objects that no version, draft or folder on its way out below `root` has. Raises Problem."""
    there = list(objects.names())  # before the folders are looked at: a name is written down before its object is put
    known = {name for about in root.glob(f"*/*/*/{OBJECTS_FILE}") for name in _read_names(about.parent).values()}
    return sorted(set(there) - known)


def _open(folder: Path, manifest: Manifest, signed: Part | File) -> int:
    """A descriptor of what lies in the folder and is what the manifest says. Raises Problem."""
    place = (folder, manifest.dataset, manifest.version)
    return open_part(*place, signed) if isinstance(signed, Part) else open_sealed(*place, signed)


def _all_of(manifest: Manifest) -> dict[str, Part | File]:
    parts: list[Part] = [part for table in manifest.tables().values() for part in table.parts]
    return {part.name: part for part in parts} | {file.stored: file for file in manifest.files}


def _copies_of(needed: Needed) -> Iterator[_Copy]:
    """Of what is held elsewhere: a version of before there was an object store lies whole in its folder."""
    about = needed.manifest
    if not (needed.folder / OBJECTS_FILE).exists():
        return
    names = _read_names(needed.folder)
    for one in needed.signed:
        stored = one.name if isinstance(one, Part) else one.stored
        if stored not in names:
            raise damaged(about.dataset, about.version, OBJECTS_FILE, f"it does not name the object of {stored}")
        yield _Copy(needed.folder / stored, names[stored], about, one)


def _read_names(folder: Path) -> dict[str, str]:
    """Part -> object; empty where the file is missing or is no such list."""
    try:
        raw = json.loads((folder / OBJECTS_FILE).read_bytes())
        names = raw["objects"] if raw["format"] == _FORMAT else {}
        return {str(part): name for part, name in names.items() if _NAME.fullmatch(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _cache_too_small(wanted: int, room: int) -> Problem:
    return Problem(
        507,
        "object-cache-small",
        "The vault's cache is too small for this",
        f"The parts that have to be read have {wanted >> 20:,} MiB together, the cache has room for {room >> 20:,}.",
        why=("encrypted parts are fetched whole from the object store (vault.toml, store.s3.cache)",),
        next="Tell an operator to give the cache more room than the largest version has.",
    )


def _cache_busy(room: int) -> Problem:
    return Problem(
        503,
        "object-cache-busy",
        "The vault's cache is in use",
        f"Other reads use so much of the {room >> 20:,} MiB of local copies that there is no room for this one.",
        why=("encrypted parts are fetched whole from the object store (vault.toml, store.s3.cache)",),
        next="Try again in a minute; if it stays so, tell an operator.",
    )
