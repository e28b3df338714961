"""Files on their way in: encrypted in chunks as they arrive, so that no plaintext ever reaches a disk and a broken
upload goes on where it stopped.

`uploads/NS+NAME+VERSION/`: `upload.json` (the wrapped key) and `chunk-N`, each a random nonce and AES-256-GCM over at
most `CHUNK` bytes, bound to dataset, version and N. Only the last chunk may be shorter.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom_hub.problems import Problem
from strongroom_hub.vault.keys import Keys, KeyUse, new_key
from strongroom_hub.vault.wrapped import read_one, rewrap_one

CHUNK = 4 << 20
"""Bytes of plaintext in a chunk: what a broken connection loses at most."""
_STATE_FILE = "upload.json"
_NONCE_BYTES = 12
_OPEN_CHUNKS = 3


class Upload:
    """The file of one draft version, as far as it has arrived."""

    def __init__(self, folder: Path, key: bytes, sealed: Callable[[int], bytes] | None = None) -> None:
        """`sealed`: brings the chunk of a number as it lies in the folder, where that cannot be opened from here."""
        self.folder = folder
        self.key = key
        self._cipher = AESGCM(key)
        self._sealed = sealed or self._stored

    @property
    def offset(self) -> int:
        """Bytes that are safe: where the sender goes on."""
        return CHUNK * self._full_chunks()

    def _full_chunks(self) -> int:
        count = 0
        while (self._chunk(count)).exists() and _length(self._chunk(count)) == CHUNK:
            count += 1
        return count

    def sha256(self) -> str:
        """Of the bytes that are safe, hex: by this a sender knows that it is the same file."""
        digest = hashlib.sha256()
        for number in range(self._full_chunks()):
            digest.update(self.read_chunk(number))
        return digest.hexdigest()

    def cut(self, offset: int) -> None:
        """Forget what lies behind `offset`, which is a multiple of CHUNK. Raises Problem (409) for any other."""
        if offset % CHUNK or offset > self.offset:
            raise Problem(
                409,
                "upload-offset",
                "The upload does not go on there",
                f"{self.offset} bytes of the file are here; it cannot go on at byte {offset}.",
                next="Ask where the upload stands, and send the rest from there.",
            )
        number = offset // CHUNK
        while (chunk := self._chunk(number)).exists():
            chunk.unlink()
            number += 1

    def writer(self) -> Writer:
        return Writer(self)

    def write_chunk(self, number: int, data: bytes) -> None:
        """Durably, or not at all. Raises OSError."""
        nonce = os.urandom(_NONCE_BYTES)
        draft = self.folder / f".chunk-{number}"
        try:
            with draft.open("wb") as stream:
                stream.write(nonce + self._cipher.encrypt(nonce, data, self._place(number)))
                stream.flush()
                os.fsync(stream.fileno())
            draft.rename(self._chunk(number))
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def read_chunk(self, number: int) -> bytes:
        """Raises Problem where the chunk is not the one that was written."""
        try:
            sealed = self._sealed(number)
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._place(number))
        except (OSError, InvalidTag, ValueError) as error:
            raise Problem(
                500,
                "upload-damaged",
                "The upload cannot be trusted",
                f"Chunk {number} of the file is not what was received.",
                next="Send the file again from the beginning; tell an operator if it happens again.",
            ) from error

    def sizes(self) -> list[int]:
        """Bytes of each chunk, in order."""
        found: list[int] = []
        while (chunk := self._chunk(len(found))).exists():
            found.append(_length(chunk))
        return found

    def open_chunk(self, number: int) -> int:
        """A descriptor of a chunk as it lies in the folder; the caller closes it. Raises OSError."""
        return os.open(self._chunk(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def _stored(self, number: int) -> bytes:
        return self._chunk(number).read_bytes()

    def _chunk(self, number: int) -> Path:
        return self.folder / f"chunk-{number}"

    def _place(self, number: int) -> bytes:
        return json.dumps(["strongroom-upload/1", self.folder.name, number]).encode()


def _length(chunk: Path) -> int:
    return chunk.stat().st_size - _NONCE_BYTES - 16


class Writer:
    """Takes pieces of any size; what is not a whole chunk yet is only kept by `finish`."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._number = upload.offset // CHUNK
        self._rest = bytearray()

    def write(self, piece: bytes) -> None:
        """Raises OSError; what was written before stays."""
        self._rest += piece
        while len(self._rest) >= CHUNK:
            self._upload.write_chunk(self._number, bytes(self._rest[:CHUNK]))
            del self._rest[:CHUNK]
            self._number += 1

    def finish(self) -> None:
        """The file is complete: keep its last, shorter chunk."""
        if self._rest:
            self._upload.write_chunk(self._number, bytes(self._rest))
            self._rest.clear()


class Reader(io.RawIOBase):
    """The file again, seekable, with at most three chunks in memory."""

    def __init__(self, upload: Upload, sizes: list[int] | None = None) -> None:
        """`sizes`: as `upload.sizes()`, where its folder cannot be seen."""
        self._upload = upload
        self._sizes = upload.sizes() if sizes is None else sizes
        if any(size != CHUNK for size in self._sizes[:-1]):
            raise Problem(500, "upload-damaged", "The upload cannot be trusted", "A chunk within the file is short.")
        self.size = sum(self._sizes)
        self._at = 0
        self._open: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._at >= self.size:
            return 0
        number, within = divmod(self._at, CHUNK)
        piece = memoryview(self._chunk(number))[within : within + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _chunk(self, number: int) -> bytes:
        if number not in self._open:
            while len(self._open) >= _OPEN_CHUNKS:
                del self._open[next(iter(self._open))]
            self._open[number] = self._upload.read_chunk(number)
        return self._open[number]


class Uploads:
    """All uploads of a vault; one sender at a time for each."""

    def __init__(self, root: Path, keys: Keys) -> None:
        self.root = root
        self._keys = keys
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    @contextmanager
    def of(self, dataset: str, version: int) -> Iterator[Upload]:
        """The upload for a draft version, new or as it was left, for this caller alone. Raises Problem."""
        name = f"{dataset.replace('/', '+')}+{version}"
        with self._lock:
            if name in self._busy:
                raise Problem(
                    409,
                    "upload-busy",
                    "This version is being sent already",
                    f"Another sender is at {dataset} version {version}.",
                    next="Wait until it has ended, or make another draft.",
                )
            self._busy.add(name)
        try:
            yield self._opened(self.root / name, dataset, version)
        finally:
            with self._lock:
                self._busy.discard(name)

    def remove(self, upload: Upload) -> None:
        shutil.rmtree(upload.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what is no upload: it was killed at its very beginning."""
        for folder in self.root.iterdir():
            if not (folder / _STATE_FILE).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def waiting(self) -> list[tuple[str, int, float]]:
        """Every upload that nobody is at: dataset, version, and when somebody last was (Unix time)."""
        found = []
        with self._lock:
            for state in self.root.glob(f"*/{_STATE_FILE}"):
                if state.parent.name not in self._busy:
                    namespace, name, version = state.parent.name.split("+")
                    newest = max(file.stat().st_mtime for file in state.parent.iterdir())
                    found.append((f"{namespace}/{name}", int(version), newest))
        return sorted(found)

    def keks(self) -> Counter[str]:
        """How many keys of uploads each generation of the master key wraps."""
        found: Counter[str] = Counter()
        for file in self.root.glob(f"*/{_STATE_FILE}"):
            with contextlib.suppress(OSError, ValueError):  # it is going, or is no upload: nothing of it opens
                found[read_one(file).kek] += 1
        return found

    def rewrap(self, keys: Keys, current: str, only: tuple[str, int] | None = None) -> int:
        """Exchange the wrapping of all keys of uploads; how many. Raises Problem."""
        exchanged = 0
        for file in sorted(self.root.glob(f"*/{_STATE_FILE}")) if only is None else []:
            namespace, name, version = file.parent.name.split("+")
            with contextlib.suppress(OSError, ValueError):
                exchanged += rewrap_one(keys, current, _use(f"{namespace}/{name}", int(version)), file)
        return exchanged

    def _opened(self, folder: Path, dataset: str, version: int) -> Upload:
        use = _use(dataset, version)
        state = folder / _STATE_FILE
        try:
            return Upload(folder, self._keys.unwrap(read_one(state), use))
        except (OSError, ValueError, Problem):
            # there is none, or it cannot be opened any more: then nothing of it can be used
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        key = new_key()
        draft = folder / f".{_STATE_FILE}"
        draft.write_text(json.dumps(self._keys.wrap(key, use).as_json()))
        draft.rename(state)
        return Upload(folder, key)


def _use(dataset: str, version: int) -> KeyUse:
    return KeyUse(("upload", dataset, str(version)))
