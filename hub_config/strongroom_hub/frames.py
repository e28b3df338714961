"""Framed JSON: 4 bytes big-endian length, then a JSON object of that many bytes; descriptors ride on the first byte."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

HEADER = struct.Struct(">I")
MAX_FRAME = 1 << 20


class FrameError(Exception):
    """The peer closed the connection in mid-frame, or sent what is not a frame within the limit."""


def encode(message: dict[str, Any], *, limit: int = MAX_FRAME) -> bytes:
    """One frame as bytes. Raises FrameError above `limit`."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > limit:
        raise FrameError(f"a message of {len(body)} bytes is larger than the limit of {limit}")
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> dict[str, Any]:
    """The object in a frame's body. Raises FrameError when it is not a JSON object."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError("the message is not JSON") from error
    if not isinstance(message, dict):
        raise FrameError("the message is not a JSON object")
    return message


def length(header: bytes, *, limit: int = MAX_FRAME) -> int:
    """The body's length in bytes. Raises FrameError above `limit`."""
    size: int = HEADER.unpack(header)[0]
    if size > limit:
        raise FrameError(f"a message of {size} bytes is larger than the limit of {limit}")
    return size


def send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = (), *, limit: int = MAX_FRAME) -> None:
    """Send one frame over a blocking socket, `fds` with its first byte."""
    data = encode(message, limit=limit)
    sent = socket.send_fds(sock, [data], list(fds)) if fds else sock.send(data)
    if sent < len(data):  # a peer that has answered and closed meanwhile got all of it
        sock.sendall(data[sent:])


def receive(sock: socket.socket, *, max_fds: int = 0, limit: int = MAX_FRAME) -> tuple[dict[str, Any], list[int]]:
    """One frame from a blocking socket and the descriptors that came with it.

    Raises FrameError on a closed connection, TimeoutError where the socket has a timeout.
    """
    fds: list[int] = []
    if max_fds:
        first, fds, _, _ = socket.recv_fds(sock, HEADER.size, max_fds)
    else:
        first = sock.recv(HEADER.size)
    header = first + _exactly(sock, HEADER.size - len(first)) if first else b""
    if len(header) < HEADER.size:
        raise FrameError("the connection was closed")
    return decode(_exactly(sock, length(header, limit=limit))), fds


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(min(count - len(data), 1 << 16))
        if not piece:
            raise FrameError("the connection was closed in mid-message")
        data += piece
    return bytes(data)


class Reader:
    """Frames from a blocking socket, one after the other, with as few calls of the system as there can be."""

    def __init__(self, sock: socket.socket, *, limit: int = MAX_FRAME) -> None:
        self._sock = sock
        self._limit = limit
        self._data = bytearray()

    def body(self) -> bytes | None:
        """The next frame's body; None where the connection ended before it began. Raises as `receive`."""
        if not self._fill(HEADER.size):
            return None
        end = HEADER.size + length(bytes(self._data[: HEADER.size]), limit=self._limit)
        self._fill(end)
        body = bytes(self._data[HEADER.size : end])
        del self._data[:end]
        return body

    def _fill(self, count: int) -> bool:
        """Have at least `count` bytes; False where the connection ended before the first."""
        while len(self._data) < count:
            piece = self._sock.recv(1 << 16)
            if not piece:
                if not self._data:
                    return False
                raise FrameError("the connection was closed in mid-message")
            self._data += piece
        return True
