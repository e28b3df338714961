"""What a kernel has sent and the gate has not worked off yet: bounded, and what finds no place is counted.

A kernel's broadcasts do not wait for who hears them, so not reading on would lose messages without anybody knowing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import zmq

MOST_BYTES = 128 << 20
MOST_FRAMES = 50_000
SMALL = 4096
"""Bytes of a frame that finds a place as long as the number allows it: replies and states are small."""
READ_AT_ONCE, DONE_AT_ONCE = 500, 50
"""Frames read, and steps worked off, before others have their turn: reading must not wait for working."""
BYTES_AT_ONCE = 16 << 20
"""After which no more steps are taken: what waits for a slow page is counted here, not held beside."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A message as it came in, on one of the kernel's channels."""

    channel: str
    parts: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))


Step = Frame | Callable[[], Awaitable[None]]


class Outbox:
    """A queue of steps, filled from the kernel's sockets."""

    def __init__(self, streams: dict[str, Any]) -> None:
        self._steps: deque[Step] = deque()
        self._filled = asyncio.Event()
        self._bytes = 0
        self._lost = 0
        for channel, stream in streams.items():
            stream.on_recv(partial(self._receive, channel, stream.socket))

    def put(self, step: Step) -> None:
        self._steps.append(step)
        self._filled.set()

    def _receive(self, channel: str, socket: Any, parts: list[bytes]) -> None:
        """Take all that there is: a kernel whose messages are not fetched soon loses some."""
        self._take(Frame(channel, parts))
        with contextlib.suppress(zmq.Again):
            for _ in range(READ_AT_ONCE):
                self._take(Frame(channel, socket.recv_multipart(zmq.NOBLOCK)))

    def _take(self, frame: Frame) -> None:
        full = self._bytes > MOST_BYTES and frame.size > SMALL
        if full or len(self._steps) > MOST_FRAMES:
            self._lost += frame.size
            return
        self._bytes += frame.size
        self.put(frame)

    def lost(self) -> int:
        """Bytes that found no place since this was asked last."""
        lost, self._lost = self._lost, 0
        return lost

    async def batch(self) -> list[Step]:
        """The next steps, oldest first; waits for one, and lets others have their turn."""
        if self._steps:
            await asyncio.sleep(0)
        while not self._steps:
            self._filled.clear()
            await self._filled.wait()
        taken: list[Step] = []
        size = 0
        while self._steps and len(taken) < DONE_AT_ONCE and size < BYTES_AT_ONCE:
            taken.append(step := self._steps.popleft())
            size += step.size if isinstance(step, Frame) else 0
        self._bytes -= size
        return taken
