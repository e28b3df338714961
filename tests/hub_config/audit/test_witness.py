"""The witness as the protocol has it (C2SP tlog-witness), and what it notices of a log that lies."""

from __future__ import annotations

import base64
import hashlib
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from strongroom_hub.audit import standalone, tree
from strongroom_hub.audit.cosignature import WitnessKey, cosign
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.note import NoteError
from strongroom_hub.audit.witness import Witness, application
from strongroom_hub.cli.witness import app
from typer.testing import CliRunner

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

LEAVES = [tree.leaf_hash(str(number).encode()) for number in range(40)]
OTHER = [tree.leaf_hash(b"other"), *LEAVES[1:]]
NOW = 1_800_000_000


def body(keys: LogKeys, old: int, size: int, leaves: list[bytes] = LEAVES) -> bytes:
    nodes: tree.NodeAt = lambda height, number: tree.full_root(leaves[number << height : (number + 1) << height])  # noqa: E731
    proof = tree.consistency_proof(old, size, nodes) if old <= size else []
    lines = [f"old {old}", *(base64.b64encode(value).decode() for value in proof)]
    return ("\n".join(lines) + "\n\n" + keys.sign(size, tree.root_of(leaves[:size]))).encode()


@pytest.fixture
def folder(tmp_path: Path, keys: LogKeys) -> Path:
    Witness.create(tmp_path / "witness", "witness.example/w1")
    Witness.add_log(tmp_path / "witness", keys.vkey)
    return tmp_path / "witness"


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(application(Witness.load(folder, lambda: NOW))) as client:
        yield client


def post(client: TestClient, content: bytes) -> tuple[int, str]:
    answer = client.post("/add-checkpoint", content=content)
    return answer.status_code, answer.text


def test_what_extends_is_co_signed_and_remembered_first(client: TestClient, keys: LogKeys, folder: Path) -> None:
    key = Witness.load(folder).vkey
    for old, size in ((0, 0), (0, 3), (3, 3), (3, 8), (8, 40)):
        asked = body(keys, old, size)
        code, line = post(client, asked)
        assert code == 200, line
        note = asked.decode().partition("\n\n")[2]
        assert key.time_of(line, note) == NOW
        seen = client.get(f"/{hashlib.sha256(keys.name.encode()).hexdigest()}/checkpoint")
        assert seen.text == note + line
        assert keys.open(seen.text).size == size
        # and the verifier for strangers reads the same signature
        stranger = standalone.read_key(str(key), standalone.COSIGNATURE)
        log = standalone.read_key(keys.vkey, standalone.ED25519)
        assert standalone.open_note(note + line, log, [stranger], 1).witnesses == [key.name]
        with pytest.raises(standalone.AlteredError, match="0 of the given witnesses"):
            standalone.open_note(note, log, [stranger], 1)


def test_another_history_is_not_co_signed(client: TestClient, keys: LogKeys, folder: Path) -> None:
    assert post(client, body(keys, 0, 20))[0] == 200
    for asked, code in (
        (body(keys, 20, 30, OTHER), 422),
        (body(keys, 20, 20, OTHER), 422),
        (body(keys, 0, 10), 409),
        (body(keys, 0, 30), 409),
        (body(keys, 30, 20), 400),
    ):
        assert post(client, asked)[0] == code
    answer = client.post("/add-checkpoint", content=body(keys, 0, 10))
    assert (answer.text, answer.headers["content-type"].partition(";")[0]) == ("20\n", "text/x.tlog.size")
    # what a log signed twice is kept as evidence against it
    kept = [keys.open(file.read_text()) for file in (folder / "evidence").iterdir()]
    assert {(one.size, one.root == tree.root_of(LEAVES[: one.size])) for one in kept} == {
        (30, False),
        (20, False),
        (10, True),
    }
    assert post(client, body(keys, 20, 30))[0] == 200


def test_a_restarted_witness_remembers(client: TestClient, keys: LogKeys, folder: Path) -> None:
    assert post(client, body(keys, 0, 20))[0] == 200
    again = TestClient(application(Witness.load(folder)))
    assert post(again, body(keys, 0, 20)) == (409, "20\n")
    assert post(again, body(keys, 20, 21, OTHER))[0] == 422


def test_strangers_and_broken_requests_are_refused(client: TestClient, keys: LogKeys, tmp_path: Path) -> None:
    good = body(keys, 0, 3).decode()
    stranger = LogKeys.create(tmp_path / "stranger")
    forged = LogKeys(keys.name, Ed25519PrivateKey.generate(), b"")
    for content, code in (
        (body(stranger, 0, 3), 404),
        (body(forged, 0, 3), 403),
        (good.replace("\n3\n", "\n4\n").encode(), 403),
        (good.replace("old 0", "old 00").encode(), 400),
        (good.replace("old 0", "old -1").encode(), 400),
        (good.replace("old 0", "0").encode(), 400),
        (good.replace("old 0", "old 0\n*").encode(), 400),
        (good.replace("old 0", "old 0\nAAAA").encode(), 400),
        (good.replace("old 0", "old 0\n" + base64.b64encode(bytes(32)).decode()).encode(), 422),
        (("old 0\n" + (base64.b64encode(bytes(32)).decode() + "\n") * 64 + "\n").encode(), 400),
        (b"\xff", 400),
        (b"", 400),
        (b"x" * 70_000, 413),
    ):
        assert post(client, content)[0] == code, content[:80]
    assert client.get(f"/{hashlib.sha256(keys.name.encode()).hexdigest()}/checkpoint").status_code == 404
    assert client.get(f"/{'0' * 64}/checkpoint").status_code == 404
    assert client.get("/add-checkpoint").status_code == 405


def test_a_key_that_does_not_fit_is_none(tmp_path: Path, keys: LogKeys) -> None:
    made = str(Witness.create(tmp_path / "w", "w"))
    assert str(WitnessKey.parse(made)) == made
    for text in (keys.vkey, made.replace("w+", "v+"), "w+00", "", made[:-8]):
        with pytest.raises(NoteError):
            WitnessKey.parse(text)
    with pytest.raises(FileExistsError):
        Witness.create(tmp_path / "w", "w")
    with pytest.raises(NoteError):
        Witness.create(tmp_path / "v", "a name")
    shutil.copy(tmp_path / "w" / "witness.vkey", tmp_path / "kept")
    Witness.create(tmp_path / "x", "w")
    shutil.copy(tmp_path / "kept", tmp_path / "x" / "witness.vkey")
    with pytest.raises(ValueError, match="public half"):
        Witness.load(tmp_path / "x")


def test_a_cosignature_of_another_text_or_time_is_refused(keys: LogKeys) -> None:
    private = Ed25519PrivateKey.generate()
    key = WitnessKey("w", private.public_key())
    note, other = keys.sign(3, bytes(32)), keys.sign(4, bytes(32))
    line = cosign(note, "w", private, NOW)
    blob = base64.b64decode(line.split(" ")[2])
    later = blob[:4] + (NOW + 1).to_bytes(8, "big") + blob[12:]
    for changed, text in (
        (line, other),
        (f"\N{EM DASH} w {base64.b64encode(later).decode()}", note),
        (f"\N{EM DASH} w {base64.b64encode(blob[:-1]).decode()}", note),
        ("\N{EM DASH} w *", note),
    ):
        with pytest.raises(NoteError):
            key.time_of(changed, text)
    assert key.time_of(cosign(note, "v", private, NOW), note) is None


def test_it_runs_as_a_program_of_its_own(tmp_path: Path, keys: LogKeys, wait: Callable[..., None]) -> None:
    runner, folder = CliRunner(), tmp_path / "w"
    made = runner.invoke(app, ["init", str(folder), "--name", "w.example"])
    assert made.exit_code == 0, made.output
    vkey = tmp_path / "log.vkey"
    vkey.write_text(keys.vkey)
    assert runner.invoke(app, ["add-log", str(folder), str(vkey)]).exit_code == 0
    assert runner.invoke(app, ["add-log", str(folder), str(tmp_path / "nowhere")]).exit_code == 1
    assert runner.invoke(app, ["serve", str(tmp_path)]).exit_code == 1
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = "from strongroom_hub.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", start, "witness", "serve", str(folder), "--port", str(port)])
    try:
        wait(port)
        answer = httpx.post(f"http://127.0.0.1:{port}/add-checkpoint", content=body(keys, 0, 3))
        assert answer.status_code == 200
        assert WitnessKey.parse(made.output).time_of(answer.text, keys.sign(3, tree.root_of(LEAVES[:3])))
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def wait() -> Callable[[int], None]:
    def until_open(port: int) -> None:
        ends = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                assert time.monotonic() < ends
                time.sleep(0.05)
            else:
                return

    return until_open
