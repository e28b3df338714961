"""Framed JSON to the server's ask socket and the vault's data socket (4 bytes big-endian length, then an object)."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from strongroom._errors import Unavailable, from_problem

# Boxes without mounts of their own (tier `launcher`) name the doors in the environment.
ASK_SOCKET = os.environ.get("STRONGROOM_ASK_SOCKET", "/run/strongroom/server/ask.sock")
DATA_SOCKET = os.environ.get("STRONGROOM_DATA_SOCKET", "/run/strongroom/vault/data.sock")

_LENGTH = struct.Struct(">I")
_MAX_BYTES = 1 << 20
ASK_SECONDS = 60.0
_DATA_SECONDS = 900.0


def ask(operation: str, *, seconds: float = ASK_SECONDS, **fields: Any) -> dict[str, Any]:
    """One question to the notebook server. Raises Unavailable when it does not answer in time."""
    request = {"v": 1, "op": operation, **fields}
    answer, descriptors = _exchange(ASK_SOCKET, request, seconds, "The notebook server")
    _close(descriptors)
    return answer


def asked(operation: str, *, seconds: float = ASK_SECONDS, **fields: Any) -> dict[str, Any]:
    """As `ask`, but a refusal is raised as StrongroomError."""
    answer = ask(operation, seconds=seconds, **fields)
    if answer.get("ok") is not True:
        raise from_problem(answer.get("problem"))
    return answer


def fetch(ticket: str) -> tuple[dict[str, Any], int | None]:
    """Hand a ticket to the vault: its answer and the descriptor of the data, which the caller closes."""
    answer, descriptors = _exchange(DATA_SOCKET, {"v": 1, "ticket": ticket}, _DATA_SECONDS, "The vault")
    _close(descriptors[1:])
    return answer, descriptors[0] if descriptors else None


class Line:
    """A connection to the vault that is kept: one stream. Its errors are Unavailable, as for any other question."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connection.settimeout(_DATA_SECONDS)
            with _told("The vault"):
                self._connection.connect(DATA_SOCKET)
            self.send(request)
        except BaseException:
            self.close()
            raise

    def send(self, request: dict[str, Any]) -> None:
        body = json.dumps(request).encode()
        with _told("The vault"):
            self._connection.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self) -> tuple[dict[str, Any], int | None]:
        """An answer and the descriptor of its data, which the caller closes."""
        descriptors: list[int] = []
        try:
            with _told("The vault"):
                answer = _answer(self._connection, descriptors)
        except BaseException:
            _close(descriptors)
            raise
        _close(descriptors[1:])
        return answer, descriptors[0] if descriptors else None

    def is_open(self) -> bool:
        """Whether the vault waits for the next question."""
        if self._connection.fileno() < 0:
            return False
        try:
            # nothing was asked: what can be read is its farewell
            return not select.select([self._connection], [], [], 0)[0]
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        self._connection.close()

    def __del__(self) -> None:
        self.close()


@contextmanager
def _told(who: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        raise Unavailable(
            f"{who} does not answer",
            f"Nothing was read ({error}).",
            next_step="Run the cell again in a moment. If it stays so, tell whoever runs this Strongroom.",
            slug="unavailable",
        ) from error


def _exchange(path: str, request: dict[str, Any], seconds: float, who: str) -> tuple[dict[str, Any], list[int]]:
    body = json.dumps(request).encode()
    descriptors: list[int] = []
    try:
        with _told(who), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(path)
            connection.sendall(_LENGTH.pack(len(body)) + body)
            return _answer(connection, descriptors), descriptors
    except BaseException:  # an interrupt must not leave data open
        _close(descriptors)
        raise


def _answer(connection: socket.socket, descriptors: list[int]) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size, descriptors))
    if length > _MAX_BYTES:
        raise ValueError(f"an answer of {length} bytes")
    answer = json.loads(_receive(connection, length, descriptors))
    if not isinstance(answer, dict):
        raise TypeError("an answer that is no object")
    return answer


def _receive(connection: socket.socket, size: int, descriptors: list[int]) -> bytes:
    """Exactly `size` bytes; descriptors that come along are added to the list."""
    received = b""
    while len(received) < size:
        piece, found, _flags, _address = socket.recv_fds(connection, size - len(received), 4)
        descriptors += found
        if not piece:
            raise ConnectionError("the connection was closed early")
        received += piece
    return received


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
