"""Framed JSON and the ask door: answers for a kernel that behaves, and for one that does not."""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import socket
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_kernels.doors import MAX_CONNECTIONS, AskDoor
from strongroom_kernels.frames import MAX_BYTES, FrameError, encode, read_frame

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def _read(data: bytes) -> dict[str, Any] | None:
    async def read() -> dict[str, Any] | None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_frame(reader)

    return asyncio.run(read())


@given(message=st.dictionaries(st.text(), _json, max_size=4))
def test_frames_round_trip(message: dict[str, Any]) -> None:
    assert _read(encode(message)) == message


@given(data=st.binary(min_size=1, max_size=40))
def test_rubbish_is_a_frame_error_or_an_object(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        assert isinstance(_read(data), dict)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"\xff\xfe", b"[" * 100_000, b"{", b'{"a":' + b"[" * 50_000], ids=range(7)
)
def test_bodies_that_are_no_objects(body: bytes) -> None:
    with pytest.raises(FrameError):
        _read(struct.pack(">I", len(body)) + body)


def test_size_is_checked_before_anything_is_read() -> None:
    with pytest.raises(FrameError, match="larger"):
        _read(struct.pack(">I", MAX_BYTES + 1))
    with pytest.raises(FrameError, match="larger"):
        encode({"a": "x" * MAX_BYTES})


async def _ask(path: Path, data: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    answer = await read_frame(reader)
    writer.close()
    await writer.wait_closed()
    assert answer is not None
    return answer


async def _echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "echo": request}


def _mode(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def path(root_folder: Path) -> Path:
    return root_folder / "ask.sock"


async def test_answers_in_order_on_one_connection(path: Path) -> None:
    door = AskDoor(path, _echo)
    await door.start()
    assert _mode(path) == 0o600
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"".join(encode({"n": n}) for n in range(20)))
    answers = [await read_frame(reader) for _ in range(20)]
    assert answers == [{"ok": True, "echo": {"n": n}} for n in range(20)]
    writer.close()
    await writer.wait_closed()
    await door.stop()
    await door.stop()
    assert _mode(path) is None


async def test_a_handler_that_fails_tells_no_details(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("password=hunter2")

    door = AskDoor(path, fail)
    await door.start()
    answer = await _ask(path, encode({"op": "open"}))
    await door.stop()
    assert answer["ok"] is False
    assert answer["problem"]["status"] == 500
    assert "hunter2" not in json.dumps(answer)
    assert "could not be answered" in caplog.text


async def test_an_answer_that_does_not_fit_is_a_problem(path: Path) -> None:
    async def large(request: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "data": "x" * MAX_BYTES if request["n"] else object()}

    door = AskDoor(path, large)
    await door.start()
    for n in (0, 1):
        assert (await _ask(path, encode({"n": n})))["problem"]["status"] == 500
    await door.stop()


async def test_rubbish_ends_one_connection_and_not_the_door(path: Path) -> None:
    door = AskDoor(path, _echo)
    await door.start()
    for rubbish in (struct.pack(">I", MAX_BYTES + 1), struct.pack(">I", 2) + b"[]"):
        assert (await _ask(path, rubbish))["problem"]["status"] == 400
    assert (await _ask(path, encode({})))["ok"] is True
    await door.stop()


async def test_one_kernel_cannot_hold_more_than_its_connections(path: Path) -> None:
    door = AskDoor(path, _echo)
    await door.start()
    held = [await asyncio.open_unix_connection(path) for _ in range(MAX_CONNECTIONS)]
    for reader, writer in held:
        writer.write(encode({}))
        await read_frame(reader)
    assert (await _ask(path, encode({})))["problem"]["status"] == 429
    held[0][1].close()
    await held[0][1].wait_closed()
    await asyncio.sleep(0.05)
    assert (await _ask(path, encode({})))["ok"] is True
    await door.stop()
    for _, writer in held[1:]:
        writer.close()
        await writer.wait_closed()


async def test_descriptors_are_not_received(path: Path) -> None:
    door = AskDoor(path, _echo)
    await door.start()
    before = _open_files()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, str(path))
        gift = array.array("i", [0] * 5)
        connection.sendmsg([encode({"op": "label"})], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, gift)])
        assert json.loads((await asyncio.get_running_loop().sock_recv(connection, 4096))[4:])["ok"] is True
        assert _open_files() <= before + 2  # the two ends of this connection
    await door.stop()


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    door = AskDoor(path, _echo)
    await door.start()
    assert (await _ask(path, encode({})))["ok"] is True
    await door.stop()
