from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from strongroom_hub.vault import memfd, stream
from strongroom_hub.vault.stream import HEAD, TAG, NotSealedError, Sealed, seal

KEY = bytes(range(32))
PLACE = b"a/b/1/file-00000.sealed"
CHUNK = 16
WHOLE = CHUNK + TAG
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "stream-v1.json").read_text())


def sealed_bytes(clear: bytes, *, key: bytes = KEY, place: bytes = PLACE) -> bytes:
    out = io.BytesIO()
    assert seal(io.BytesIO(clear), out, key, place, chunk=CHUNK) == len(clear)
    assert len(out.getvalue()) == stream.sealed_size(len(clear), chunk=CHUNK)
    return out.getvalue()


def opened(data: bytes, *, key: bytes = KEY, place: bytes = PLACE, chunk: int = CHUNK) -> bytes:
    fd = memfd.create("test")
    try:
        os.write(fd, data)
        sealed = Sealed(fd, key, place, chunk=chunk)
        whole = b"".join(sealed)
        assert sealed.length == len(whole)
        return whole
    finally:
        os.close(fd)


def is_refused(data: bytes, **how: Any) -> None:
    with pytest.raises(NotSealedError):
        opened(data, **how)


def gcm_by_hand(key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes:
    """AES-GCM decryption from single AES blocks and GHASH (NIST SP 800-38D), with no mode of any library."""
    block = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()  # noqa: S305 - single blocks
    h = int.from_bytes(block.update(bytes(16)), "big")
    body, tag = data[:-16], data[-16:]

    def times_h(x: int) -> int:
        z, v = 0, h
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        return z

    def padded(raw: bytes) -> bytes:
        return raw + bytes(-len(raw) % 16)

    y = 0
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * len(body)).to_bytes(8, "big")
    hashed = padded(aad) + padded(body) + lengths
    for at in range(0, len(hashed), 16):
        y = times_h(y ^ int.from_bytes(hashed[at : at + 16], "big"))
    mask = int.from_bytes(block.update(nonce + b"\x00\x00\x00\x01"), "big")
    assert (y ^ mask).to_bytes(16, "big") == tag
    clear = b""
    for count, at in enumerate(range(0, len(body), 16), start=2):
        pad = block.update(nonce + count.to_bytes(4, "big"))
        clear += bytes(a ^ b for a, b in zip(body[at : at + 16], pad, strict=False))
    return clear


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{len(vector['clear']) // 2}-of-{vector['chunk']}")
def test_the_vectors_open_here_and_by_hand(vector: dict[str, Any]) -> None:
    key, clear, data = (bytes.fromhex(vector[name]) for name in ("key", "clear", "sealed"))
    chunk, place = vector["chunk"], vector["place"].encode()
    assert opened(data, key=key, place=place, chunk=chunk) == clear
    prefix, body, by_hand, number = data[4:11], data[11:], b"", 0
    while body:
        piece, body = body[: chunk + 16], body[chunk + 16 :]
        nonce = prefix + number.to_bytes(4, "big") + (b"\x00" if body else b"\x01")
        by_hand += gcm_by_hand(key, nonce, piece, b"strongroom-stream/1\x00" + place)
        number += 1
    assert by_hand == clear
    assert prefix.hex() == vector["prefix"]


@given(st.binary(max_size=6 * CHUNK))
def test_what_is_sealed_comes_back(clear: bytes) -> None:
    assert opened(sealed_bytes(clear)) == clear


@given(st.binary(max_size=6 * CHUNK), st.integers(0, 7 * CHUNK), st.integers(0, 7 * CHUNK))
def test_any_piece_is_the_piece_of_the_whole(clear: bytes, offset: int, count: int) -> None:
    fd = memfd.create("test")
    try:
        os.write(fd, sealed_bytes(clear))
        sealed = Sealed(fd, KEY, PLACE, chunk=CHUNK)
        assert sealed.read(offset, count) == clear[offset : offset + count]
    finally:
        os.close(fd)


@given(st.binary(max_size=5 * CHUNK), st.data())
def test_a_flipped_bit_is_refused(clear: bytes, data: st.DataObject) -> None:
    whole = bytearray(sealed_bytes(clear))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    is_refused(bytes(whole))


@given(st.binary(max_size=5 * CHUNK), st.data())
def test_a_cut_off_end_is_refused(clear: bytes, data: st.DataObject) -> None:
    whole = sealed_bytes(clear)
    is_refused(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=5 * CHUNK), st.binary(min_size=1, max_size=2 * WHOLE))
def test_more_at_the_end_is_refused(clear: bytes, more: bytes) -> None:
    is_refused(sealed_bytes(clear) + more)


def _chunks(data: bytes) -> list[bytes]:
    return [data[at : at + WHOLE] for at in range(HEAD, len(data), WHOLE)]


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "two swapped": lambda chunks: [chunks[1], chunks[0], *chunks[2:]],
    "first dropped": lambda chunks: chunks[1:],
    "middle dropped": lambda chunks: [chunks[0], *chunks[2:]],
    "last dropped": lambda chunks: chunks[:-1],
    "first doubled": lambda chunks: [chunks[0], *chunks],
    "last doubled": lambda chunks: [*chunks, chunks[-1]],
    "last moved first": lambda chunks: [chunks[-1], *chunks[:-1]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_chunks_stay_in_their_places(change: str) -> None:
    whole = sealed_bytes(os.urandom(4 * CHUNK))
    is_refused(whole[:HEAD] + b"".join(CHANGES[change](_chunks(whole))))


def test_chunks_of_another_file_under_the_same_key_are_refused() -> None:
    one, two = sealed_bytes(bytes(3 * CHUNK)), sealed_bytes(bytes(3 * CHUNK))
    assert _chunks(one)[1] != _chunks(two)[1]
    is_refused(one[:HEAD] + _chunks(one)[0] + _chunks(two)[1] + _chunks(one)[2])


def test_another_key_another_place_and_no_sealed_file_are_refused() -> None:
    whole = sealed_bytes(b"text")
    is_refused(whole, key=bytes(32))
    is_refused(whole, place=b"a/b/2/file-00000.sealed")
    for other in (b"", b"SRS1", b"PK\x03\x04" + bytes(99), whole[:HEAD]):
        is_refused(other)


def test_a_chunk_opens_alone_and_only_within_the_file() -> None:
    clear = os.urandom(3 * CHUNK - 1)
    whole = bytearray(sealed_bytes(clear))
    whole[HEAD] ^= 1  # the first chunk is spoilt, the others open
    fd = memfd.create("test")
    try:
        os.write(fd, whole)
        sealed = Sealed(fd, KEY, PLACE, chunk=CHUNK)
        assert sealed.open_chunk(2) == clear[2 * CHUNK :]
        with pytest.raises(NotSealedError, match="chunk 0"):
            sealed.read(0, 1)
        with pytest.raises(IndexError):
            sealed.open_chunk(3)
    finally:
        os.close(fd)
