"""Kernel messages on the browser's websocket: both framings that Jupyter clients speak."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from strongroom_lab.canon import Message
from strongroom_lab.values import Unfit, decode, encode

DELIMITER = b"<IDS|MSG>"
V1 = "v1.kernel.websocket.jupyter.org"
PARTS_LIMIT = 1024
V1_FIXED_PARTS = 4


@dataclass(frozen=True)
class Frame:
    """One message for browsers; each framing is made at most once, however many pages listen."""

    message: Message
    header: dict[str, Any]
    parent: dict[str, Any]
    metadata: dict[str, Any]

    @cached_property
    def v1(self) -> bytes:
        parts = [encode(self.header), encode(self.parent), encode(self.metadata), self.message.body]
        framed: bytes = serialize_msg_to_ws_v1([*parts, *self.message.buffers], self.message.channel)
        return framed

    @cached_property
    def legacy(self) -> str | bytes:
        body = {
            "channel": self.message.channel,
            "header": self.header,
            "parent_header": self.parent,
            "metadata": self.metadata,
            "content": self.message.content,
            "buffers": [],
            "msg_id": self.header["msg_id"],
            "msg_type": self.header["msg_type"],
        }
        if self.message.buffers:
            framed: bytes = serialize_binary_message({**body, "buffers": list(self.message.buffers)})
            return framed
        return encode(body).decode("utf-8")


def parse(raw: str | bytes, subprotocol: str | None) -> tuple[str, dict[str, Any]]:
    """Channel and raw message (header, metadata, content, buffers) of what a browser sent. Raises Unfit."""
    try:
        channel, body = _parse_v1(raw) if subprotocol == V1 else _parse_legacy(raw)
    except Exception as error:  # a browser's bytes can break a parser in any way
        raise Unfit("not a kernel message") from error
    if not isinstance(channel, str):
        raise Unfit("no channel")
    return channel, body


def _parse_v1(raw: str | bytes) -> tuple[Any, dict[str, Any]]:
    if not isinstance(raw, bytes) or int.from_bytes(raw[:8], "little") > PARTS_LIMIT:
        raise Unfit("not a kernel message")
    channel, parts = deserialize_msg_from_ws_v1(raw)
    header, metadata, content = decode(parts[0]), decode(parts[2]), decode(parts[3])
    return channel, {
        "header": header,
        "metadata": metadata,
        "content": content,
        "buffers": parts[V1_FIXED_PARTS:],
    }


def _parse_legacy(raw: str | bytes) -> tuple[Any, dict[str, Any]]:
    if isinstance(raw, bytes):
        if int.from_bytes(raw[:4], "big") > PARTS_LIMIT:
            raise Unfit("not a kernel message")
        body = deserialize_binary_message(raw)
    else:
        body = decode(raw)
    return body.get("channel"), body


def unpack(session: Any, parts: list[bytes]) -> dict[str, Any]:
    """A kernel's message (header, parent_header, metadata, content, buffers), signed with the key of `session`.

    jupyter_client's own `deserialize` would take longest over dates, which the gate does not pass on. Raises Unfit.
    """
    try:
        at = parts.index(DELIMITER) + 1
        signature, *signed = parts[at : at + 1 + V1_FIXED_PARTS]
        if len(signed) != V1_FIXED_PARTS or not hmac.compare_digest(signature, session.sign(signed)):
            raise Unfit("not a signed message")
        header, parent, metadata, content = map(decode, signed)
    except ValueError as error:
        raise Unfit("not a signed message") from error
    buffers = parts[at + 1 + V1_FIXED_PARTS :]
    return {"header": header, "parent_header": parent, "metadata": metadata, "content": content, "buffers": buffers}
