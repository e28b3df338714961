"""Sealed files: AES-256-GCM in chunks of which none can be moved, dropped, doubled or cut off (STREAM, Hoang et al.).

    file  = "SRS1" || prefix (7 random bytes) || chunk*
    chunk = AES-256-GCM(key, nonce, AAD, clear text) || tag (16 bytes)
    nonce = prefix || number of the chunk (4 bytes, big-endian) || 1 on the last chunk, else 0
    AAD   = "strongroom-stream/1" || 0 || what the file is bound to, for example `dataset/version/file-00000.sealed`

Each chunk but the last holds exactly `CHUNK` bytes in clear; an empty file is one empty last chunk. One random key
seals one file. A chunk opens by itself, so a reader can start anywhere.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"SRS1"
CHUNK = 1 << 20
"""Bytes in clear of each chunk but the last."""
TAG = 16
_PREFIX = 7
HEAD = len(MAGIC) + _PREFIX
_NONCE = struct.Struct(f">{_PREFIX}sIB")
_AAD = b"strongroom-stream/1\x00"
MAX_CHUNKS = 1 << 32


class NotSealedError(ValueError):
    """These bytes are not what was sealed under this key for this place."""


def seal(source: BinaryIO, target: BinaryIO, key: bytes | bytearray, place: bytes, *, chunk: int = CHUNK) -> int:
    """Write `source` sealed into `target`; its length in clear. `source.read(n)` must give n bytes until the end.

    Raises OverflowError beyond 2^32 chunks, OSError.
    """
    cipher, aad, prefix = AESGCM(key), _AAD + place, os.urandom(_PREFIX)
    target.write(MAGIC + prefix)
    length, number = 0, 0
    piece = source.read(chunk)
    while True:
        following = source.read(chunk) if len(piece) == chunk else b""
        if number == MAX_CHUNKS:
            raise OverflowError("the file is too large to be sealed")
        target.write(cipher.encrypt(_NONCE.pack(prefix, number, not following), piece, aad))
        length += len(piece)
        if not following:
            return length
        piece, number = following, number + 1


def sealed_size(length: int, *, chunk: int = CHUNK) -> int:
    """Bytes on disk of a file of `length` bytes in clear."""
    return HEAD + length + TAG * max(1, -(-length // chunk))


class Sealed:
    """A sealed file behind a descriptor, opened chunk by chunk; every error of trust is `NotSealedError`."""

    def __init__(self, fd: int, key: bytes | bytearray, place: bytes, *, chunk: int = CHUNK) -> None:
        """The caller keeps `fd` open and unchanged meanwhile. Raises NotSealedError where it cannot be such a file."""
        self._fd, self._chunk = fd, chunk
        self._cipher, self._aad = AESGCM(key), _AAD + place
        head = os.pread(fd, HEAD, 0)
        body = os.fstat(fd).st_size - HEAD
        if len(head) != HEAD or not head.startswith(MAGIC) or body < TAG:
            raise NotSealedError("it is no sealed file")
        self._prefix = head[len(MAGIC) :]
        self.chunks = -(-body // (chunk + TAG))
        self.length = body - TAG * self.chunks
        """Bytes in clear, if the last chunk opens."""
        last = body - (self.chunks - 1) * (chunk + TAG)
        if self.chunks > MAX_CHUNKS or last < TAG or (last == TAG and self.chunks > 1):
            raise NotSealedError("it is cut off")

    def open_chunk(self, number: int) -> bytes:
        """The clear text of one chunk. Raises NotSealedError; IndexError beyond the end."""
        if not 0 <= number < self.chunks:
            raise IndexError(number)
        sealed = os.pread(self._fd, self._chunk + TAG, HEAD + number * (self._chunk + TAG))
        nonce = _NONCE.pack(self._prefix, number, number == self.chunks - 1)
        try:
            return self._cipher.decrypt(nonce, sealed, self._aad)
        except InvalidTag as error:
            raise NotSealedError(f"chunk {number} does not open") from error

    def read(self, offset: int, count: int) -> bytes:
        """Bytes [offset, offset + count) in clear, fewer at the end; only the chunks that hold them are opened."""
        end = min(offset + count, self.length)
        if offset >= end:
            return b""
        first, last = offset // self._chunk, (end - 1) // self._chunk
        pieces = b"".join(self.open_chunk(number) for number in range(first, last + 1))
        return pieces[offset - first * self._chunk : end - first * self._chunk]

    def __iter__(self) -> Iterator[bytes]:
        """All of it, chunk by chunk. What came before a chunk that does not open was still authentic."""
        return (self.open_chunk(number) for number in range(self.chunks))
