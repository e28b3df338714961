from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from strongroom_hub.internal import listens
from strongroom_hub.problems import Problem
from strongroom_hub.vault import uploads
from strongroom_hub.vault.uploads import Reader, Upload, Uploads

NEEDLE = b"Zephyrine-0042-Quux"
PIECE = 1 << 16


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(uploads, "CHUNK", 1000)
    return 1000


def send(upload: Upload, data: bytes, *, finish: bool = True) -> None:
    writer = upload.writer()
    for start in range(0, len(data), 333):
        writer.write(data[start : start + 333])
    if finish:
        writer.finish()


def test_a_broken_upload_goes_on_where_it_stopped(room: Any, small: int) -> None:
    data = random.Random(1).randbytes(4321)
    with room.vault.uploads.of("a/b", 1) as upload:
        send(upload, data[:2500], finish=False)
    with room.vault.uploads.of("a/b", 1) as upload:
        assert upload.offset == 2 * small
        assert upload.sha256() == hashlib.sha256(data[: 2 * small]).hexdigest()
        with pytest.raises(Problem, match="cannot go on at byte 2500"):
            upload.cut(2500)
        with pytest.raises(Problem, match="cannot go on at byte 3000"):
            upload.cut(3000)
        upload.cut(1000)
        send(upload, data[1000:])
        reader = Reader(upload)
        assert reader.read() == data
        reader.seek(-5, os.SEEK_END)
        assert reader.read(10) == data[-5:]
        reader.seek(999)
        assert reader.read(2) == data[999:1001][:1]  # a raw read ends with its chunk
        upload.cut(0)
        assert upload.sizes() == []


def test_nothing_of_a_file_lies_on_the_disk_in_clear(room: Any, small: int) -> None:
    with room.vault.uploads.of("a/b", 1) as upload:
        send(upload, NEEDLE * 200)
        for file in upload.folder.iterdir():
            content = file.read_bytes()
            assert NEEDLE[:8] not in content
            assert upload.key not in content


@pytest.mark.parametrize("harm", ["flip", "swap", "short", "other"])
def test_a_chunk_that_is_not_the_one_that_came_is_refused(room: Any, small: int, harm: str) -> None:
    with room.vault.uploads.of("a/b", 1) as upload:
        send(upload, random.Random(2).randbytes(3500))
        one, two = upload.folder / "chunk-0", upload.folder / "chunk-1"
        content = one.read_bytes()
        if harm == "flip":
            one.write_bytes(content[:30] + bytes([content[30] ^ 1]) + content[31:])
        elif harm == "swap":
            one.write_bytes(two.read_bytes())
        elif harm == "short":
            one.write_bytes(content[:-1])
        else:
            with room.vault.uploads.of("a/c", 1) as other:
                send(other, random.Random(2).randbytes(3500))
                one.write_bytes((other.folder / "chunk-0").read_bytes())
        with pytest.raises(Problem, match="cannot be trusted"):
            Reader(upload).read()


def test_one_sender_at_a_time_and_what_is_no_upload_is_swept(room: Any, small: int) -> None:
    there: Uploads = room.vault.uploads
    with there.of("a/b", 1) as upload, pytest.raises(Problem, match="being sent already"), there.of("a/b", 1):
        pass
    (there.root / "a+c+1").mkdir()
    there.sweep()
    assert [folder.name for folder in there.root.iterdir()] == [upload.folder.name]


def test_an_upload_under_a_lost_key_begins_anew(room: Any, small: int) -> None:
    with room.vault.uploads.of("a/b", 1) as upload:
        send(upload, b"x" * 2500)
        (upload.folder / "upload.json").write_text('{"kek": "local:1", "wrapped": "AAAA"}')
    with room.vault.uploads.of("a/b", 1) as upload:
        assert upload.sizes() == []


def test_memory_does_not_grow_with_the_file(room: Any) -> None:
    """Of ninety-six megabytes more of a file less than a quarter is more memory."""
    room.vault.part_bytes = 4 << 20
    rows = 60_000
    block = pl.DataFrame({"n": range(rows), "x": [n / 7 for n in range(rows)], "t": ["some words"] * rows})
    body = block.write_csv(include_header=False).encode()
    small = room.draft("a/small", b"n,x,t\n" + body * 8)
    large = room.draft("a/large", b"n,x,t\n" + body * 56)
    assert (len(large.manifest["parts"]), large.manifest["rows"]) == (14, 56 * rows)
    grown, more = large.peak_bytes - small.peak_bytes, 48 * len(body)
    assert grown < more / 4, (small.peak_bytes, large.peak_bytes, more)


class Vault:
    """A vault process that is killed and comes back."""

    def __init__(self, room: Any) -> None:
        self.room = room
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "strongroom_hub.vault", "--instance", str(self.room.instance.path)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if listens(self.room.instance.vault_socket) and self.call("GET", "/v1/health").is_success:
                return
            time.sleep(0.02)
        raise AssertionError("the vault did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def call(self, method: str, path: str, content: Any = None, **claims: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.room.signer.token('ingest', life=600, **claims)}"} if claims else {}
        transport = httpx.HTTPTransport(uds=str(self.room.instance.vault_socket))
        with httpx.Client(transport=transport, base_url="http://vault", timeout=60) as client:
            return client.request(method, path, content=content, headers=headers)


def killed_at(vault: Vault, data: bytes, at: int, wait: float) -> None:
    """Send, and kill the vault after so many bytes, or so many seconds after the last of them."""
    about = {"dataset": "a/b", "version": 1, "format": "csv", "label": "secret"}

    def body() -> Any:
        for start in range(0, len(data), PIECE):
            if start + PIECE > at:
                vault.kill()
                return
            yield data[start : start + PIECE]

    if at < len(data):
        with pytest.raises(httpx.HTTPError):
            vault.call("PUT", "/v1/datasets/a/b/1", body(), **about)
    else:
        script = f"import time, os, signal; time.sleep({wait}); os.kill({vault.process.pid}, signal.SIGKILL)"
        with subprocess.Popen([sys.executable, "-c", script]), contextlib.suppress(httpx.HTTPError):
            vault.call("PUT", "/v1/datasets/a/b/1", data, **about)
        vault.process.wait()


def resumed(vault: Vault, data: bytes) -> dict[str, Any]:
    about = {"dataset": "a/b", "version": 1, "format": "csv", "label": "secret"}
    there = vault.call("GET", "/v1/datasets/a/b/1/upload", **about).json()
    assert hashlib.sha256(data[: there["offset"]]).hexdigest() == there["sha256"]
    path = f"/v1/datasets/a/b/1?offset={there['offset']}"
    taken = vault.call("PUT", path, data[there["offset"] :], **about)
    assert taken.status_code == 201, taken.text
    manifest: dict[str, Any] = taken.json()["manifest"]
    return manifest


def run_points(room: Any, points: int, seed: int) -> None:
    made = random.Random(seed)
    rows = 400_000
    data = b"n,t\n" + b"".join(b"%d,%s-%d\n" % (n, NEEDLE, n % 97) for n in range(rows))
    store = room.instance.vault_dir / "store"
    vault = Vault(room)
    try:
        for _ in range(points):
            while_sending = made.random() < 0.5
            killed_at(vault, data, made.randrange(len(data)) if while_sending else len(data), made.uniform(0, 4))
            # nothing can be read, and nothing lies there that could be taken for a version
            assert [path for path in store.rglob("*") if path.is_dir() and path.name.isdecimal()] == []
            vault.start()
            assert not list(store.rglob(".ingest-*"))
            assert resumed(vault, data)["rows"] == rows
            files = [file for file in room.instance.vault_dir.rglob("*") if file.is_file()]
            assert not any(NEEDLE[:8] in file.read_bytes() for file in files)
    finally:
        vault.kill()


# httpcore leaks the socket that a vault which was just killed refuses
A_REFUSED_SOCKET = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@A_REFUSED_SOCKET
def test_a_vault_killed_during_ingest_shows_nothing_and_loses_nothing(room: Any) -> None:
    run_points(room, 2, seed=3)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@A_REFUSED_SOCKET
def test_a_vault_killed_during_ingest_at_200_points(room: Any) -> None:
    run_points(room, 200, seed=4)


def test_a_disk_that_fills_up_in_mid_file_keeps_what_came(
    room: Any, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = random.Random(5).randbytes(5000)
    whole = Path.rename
    count = 0

    def full(self: Path, target: Path) -> Path:
        nonlocal count
        count += self.name.startswith(".chunk")
        if count == 4:
            raise OSError(28, "No space left on device")
        return whole(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with room.vault.uploads.of("a/b", 1) as upload, pytest.raises(OSError, match="No space"):
        send(upload, data)
    monkeypatch.undo()
    monkeypatch.setattr(uploads, "CHUNK", small)
    with room.vault.uploads.of("a/b", 1) as upload:
        assert upload.offset == 3 * small
        assert not list(upload.folder.glob(".chunk*"))
        send(upload, data[3 * small :])
        assert Reader(upload).readall() == data
