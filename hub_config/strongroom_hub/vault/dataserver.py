"""The vault's door for kernels: one ticket in, one sealed memory file out, or a stream of them, one for each question.

Its callers are assumed hostile.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from strongroom_hub import frames
from strongroom_hub.problems import Problem
from strongroom_hub.vault.reader import Answer
from strongroom_hub.vault.service import Vault
from strongroom_hub.vault.streams import Batch, Stream
from strongroom_hub.vault.tickets import ReadTicket

log = logging.getLogger(__name__)

_PEER = struct.Struct("3i")


class DataServer:
    """Serves `listener` until cancelled. A caller that is slow, silent or greedy costs a slot, for a bounded time."""

    def __init__(
        self,
        vault: Vault,
        listener: socket.socket,
        *,
        seconds: float = 30.0,
        connections: int = 512,
        connections_per_uid: int = 64,
        readers: int = 8,
    ) -> None:
        """`seconds`: how long a caller may take to send a request or to take an answer."""
        self._vault = vault
        self._listener = listener
        self._seconds = seconds
        self._limits = (connections, connections_per_uid)
        self._open: Counter[int] = Counter()
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="vault-read")
        # apart, so that streams, which take long, keep no thread from the others
        self._streaming = ThreadPoolExecutor(vault.streams.limit, thread_name_prefix="vault-stream")
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept for ever; cancelling ends all connections."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except OSError as error:  # out of descriptors: the next one may close soon
                    log.warning("data socket: accept failed (%s)", error.strerror)
                    await asyncio.sleep(0.2)
                    continue
                task = asyncio.create_task(self._attend(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for pool in (self._pool, self._streaming):
                pool.shutdown(wait=False, cancel_futures=True)

    async def _attend(self, connection: socket.socket) -> None:
        with connection:
            connection.setblocking(False)
            uid = peer_uid(connection)
            in_all, for_uid = self._limits
            self._open[uid] += 1
            try:
                if self._open.total() > in_all or (self._open[uid] > for_uid and uid != os.geteuid()):
                    await self._send(connection, _refusal(_too_many()))
                    return
                while await self._one(connection, uid):
                    pass
            except (OSError, TimeoutError):
                return  # the caller went away or was too slow; there is nobody to tell
            finally:
                self._open[uid] -= 1
                if not self._open[uid]:
                    del self._open[uid]

    async def _one(self, connection: socket.socket, uid: int) -> bool:
        """One request and its answer; whether the connection goes on."""
        try:
            request = await asyncio.wait_for(_receive(connection), self._seconds)
        except frames.FrameError as error:
            await self._send(connection, _refusal(_bad_request(str(error))))
            return False
        if request is None:
            return False
        if request.get("stream") is True:
            await self._stream(connection, request, uid)
            return False
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, self._read, request, uid)
        except Problem as problem:
            log.info("read refused: %s", problem.slug)
            await self._send(connection, _refusal(problem))
            return True
        except Exception as error:  # noqa: BLE001 - a kernel's request must not end the server; the kind is logged
            log.error("read failed: %s", type(error).__name__)  # noqa: TRY400 - a trace may quote data
            await self._send(connection, _refusal(_internal()))
            return False
        try:
            await self._send(connection, _answer(answer), answer.fd)
        finally:
            os.close(answer.fd)
        return True

    async def _stream(self, connection: socket.socket, request: dict[str, Any], uid: int) -> None:
        """A connection that is a stream from here on: an empty batch, then one for each question, until it ends."""
        loop = asyncio.get_running_loop()
        try:
            stream = await loop.run_in_executor(self._streaming, self._open_stream, request, uid)
        except Problem as problem:
            log.info("stream refused: %s", problem.slug)
            await self._send(connection, _refusal(problem))
            return
        except Exception as error:  # noqa: BLE001 - as for a read
            log.error("stream failed: %s", type(error).__name__)  # noqa: TRY400
            await self._send(connection, _refusal(_internal()))
            return
        why = "reader-gone"
        try:
            await self._hand_over(connection, stream.first())
            why = await self._batches(connection, stream)
        except Problem as problem:
            why = problem.slug
            await self._send(connection, _refusal(problem))
        except TimeoutError:
            why = "reader-stopped"
        finally:
            # also where this task is cancelled: the end is recorded by a thread that goes on
            self._streaming.submit(self._vault.streams.end, stream, "stopped", why)

    async def _batches(self, connection: socket.socket, stream: Stream) -> str:
        """Why it came to its end. Raises OSError, TimeoutError where the reader went away or stopped reading."""
        loop = asyncio.get_running_loop()
        asked = asyncio.create_task(_receive(connection))
        try:
            while True:
                wish = await asyncio.wait_for(asked, self._vault.streams.idle)
                if wish is None:
                    return "reader-stopped"
                # the next question comes after the answer: what comes earlier is the reader's going away, or as bad
                asked = asyncio.create_task(_receive(connection))
                work = asyncio.ensure_future(loop.run_in_executor(self._streaming, stream.next, wish))
                either: set[asyncio.Future[Any]] = {work, asked}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    stream.abort("reader-gone")
                try:
                    batch = await work
                except Problem as problem:
                    await self._send(connection, _refusal(problem))
                    if stream.over:
                        return problem.slug
                    continue
                if batch is None:
                    await self._send(connection, {"ok": True, "end": True, **stream.told})
                    return ""
                await self._hand_over(connection, batch)
        except frames.FrameError:
            return "reader-gone"
        finally:
            asked.cancel()

    async def _hand_over(self, connection: socket.socket, batch: Batch) -> None:
        said = {"ok": True, "rows": batch.rows, "bytes": batch.bytes, "of": batch.of}
        try:
            await self._send(connection, said, batch.fd)
        finally:
            os.close(batch.fd)

    def _open_stream(self, request: dict[str, Any], uid: int) -> Stream:
        ticket = self._ticket(request, uid)
        if not ticket.stream:
            raise _other_ticket("The ticket opens a whole view, not a stream.")
        stream = self._vault.streams.open(ticket)
        log.info("stream of %s version %d for entry %d", ticket.dataset, ticket.version, ticket.entry)
        return stream

    def _ticket(self, request: dict[str, Any], uid: int) -> ReadTicket:
        token = request.get("ticket")
        if request.get("v") != 1 or not isinstance(token, str):
            raise _bad_request('it must be {"v": 1, "ticket": "..."}')
        return self._vault.tickets.verify(token, ReadTicket, peer_uid=uid)

    def _read(self, request: dict[str, Any], uid: int) -> Answer:
        ticket = self._ticket(request, uid)
        if ticket.stream:
            raise _other_ticket("The ticket opens a stream, not a whole view.")
        answer = self._vault.reader.read(ticket)
        log.info("read %s version %d for entry %d", ticket.dataset, ticket.version, ticket.entry)
        return answer

    async def _send(self, connection: socket.socket, message: dict[str, Any], fd: int | None = None) -> None:
        data = frames.encode(message)
        fds = [] if fd is None else [fd]
        loop = asyncio.get_running_loop()
        # the socket's buffer is empty at the start of an answer, so this never blocks for a caller that reads
        sent = socket.send_fds(connection, [data], fds) if fds else 0
        await asyncio.wait_for(loop.sock_sendall(connection, data[sent:]), self._seconds)


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process at the other end, as the kernel saw it when it connected."""
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


async def _receive(connection: socket.socket) -> dict[str, Any] | None:
    """One request; None at the end of the connection. Descriptors that a caller sends are dropped by the system."""
    header = await _exactly(connection, frames.HEADER.size)
    if header is None:
        return None
    body = await _exactly(connection, frames.length(header))
    if body is None:
        return None
    return frames.decode(body)


async def _exactly(connection: socket.socket, count: int) -> bytes | None:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        piece = await loop.sock_recv(connection, min(count - len(data), 1 << 16))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "ok": True,
        "rows": answer.rows,
        "bytes": answer.bytes,
        "dataset": answer.dataset,
        "version": answer.version,
        "label": answer.label,
        "kind": answer.kind,
    }


def _refusal(problem: Problem) -> dict[str, Any]:
    return {"ok": False, "problem": problem.as_json()}


def _bad_request(detail: str) -> Problem:
    return Problem(400, "bad-request", "The request cannot be read", detail, next="Use strongroom.open().")


def _other_ticket(detail: str) -> Problem:
    return Problem(
        403,
        "ticket-refused",
        "The ticket was refused",
        detail,
        why=("the log says of each ticket which of the two it was for",),
        next="Ask for the other kind.",
    )


def _too_many() -> Problem:
    return Problem(
        429,
        "too-many-connections",
        "Too many connections",
        "Too many reads are open.",
        next="Close some and try again.",
    )


def _internal() -> Problem:
    return Problem(
        500, "vault-failed", "The vault failed", "The read could not be done.", next="Try again, or tell an operator."
    )
