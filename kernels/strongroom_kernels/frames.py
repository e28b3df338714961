"""Framed JSON for asyncio: 4 bytes big-endian length, then one JSON object of at most 1 MiB (wire-formats.md 3)."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

MAX_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """What came is not a frame of this protocol; the connection cannot go on."""


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """One object; None when the peer closed between frames. Raises FrameError for anything else."""
    try:
        header = await reader.readexactly(_LENGTH.size)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise FrameError("the connection ended inside a frame") from error
    (length,) = _LENGTH.unpack(header)
    if length > MAX_BYTES:
        raise FrameError(f"a frame of {length} bytes is larger than the {MAX_BYTES} allowed")
    try:
        return decode(await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        raise FrameError("the connection ended inside a frame") from error


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object in a frame's body. Raises FrameError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError("a frame is not JSON") from error
    if not isinstance(found, dict):
        raise FrameError("a frame is not a JSON object")
    return found


def encode(message: dict[str, Any]) -> bytes:
    """The frame of one object. Raises FrameError when it is larger than a frame may be."""
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes is larger than the {MAX_BYTES} allowed")
    return _LENGTH.pack(len(body)) + body
