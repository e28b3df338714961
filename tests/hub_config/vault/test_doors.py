"""Both doors of a vault that runs as a process of its own, attacked from outside."""

from __future__ import annotations

import array
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from strongroom_hub import frames
from strongroom_hub.config import Instance
from strongroom_hub.control.vaultdoor import VaultDoor
from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd, sockets

from tests.hub_config.vault.conftest import Running


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    return body


def test_the_whole_road_of_a_dataset_and_an_export(running: Running, room: Any, people: pl.DataFrame) -> None:
    running.publish("health/people", people)
    answer, fds = running.read(room.read_claims("health/people", ["age"]))
    (fd,) = fds
    assert {**answer, "bytes": 0} == {
        "ok": True,
        "rows": 60,
        "bytes": 0,
        "dataset": "health/people",
        "version": 1,
        "label": "secret",
        "kind": "table",
    }
    assert answer["bytes"] == memfd.size(fd)
    assert pl.read_ipc(memfd.path(fd))["age"].to_list() == people["age"].to_list()
    os.close(fd)

    table = b"town,n\na,20\n"
    staged = running.call("PUT", "/v1/exports/e1/0", "stage", table, **room.stage_claims())
    assert (staged.status_code, list(staged.json())) == (201, ["receipt"])
    sha256 = hashlib.sha256(table).hexdigest()
    fetched = running.call("GET", f"/v1/exports/e1/{sha256}", "fetch", export="e1", sha256=sha256)
    assert (fetched.content, fetched.headers["content-type"]) == (table, "application/octet-stream")

    about = {"dataset": "health/draft", "version": 2}
    more = {"format": "csv", "label": "secret"}
    assert running.call("PUT", "/v1/datasets/health/draft/2", "ingest", table, **about, **more).status_code == 201
    assert running.call("DELETE", "/v1/datasets/health/draft/2", "retire", **about).status_code == 204
    log = running.log.read_text()
    assert "Zephyrine" not in log
    assert "eyJ" not in log


def test_no_call_without_its_own_ticket(running: Running, room: Any) -> None:
    fetch = {"export": "e1", "sha256": "0" * 64}
    calls = [
        ("PUT", "/v1/datasets/a/b/1"),
        ("DELETE", "/v1/datasets/a/b/1"),
        ("PUT", "/v1/exports/e1/0"),
        ("GET", f"/v1/exports/e1/{'0' * 64}"),
    ]
    for method, path in calls:
        assert problem(running.call(method, path), 401)["type"].endswith("ticket-missing")
        assert problem(running.call(method, path, "read", **room.read_claims("a/b", ["x"])), 401)
    assert problem(running.call("GET", f"/v1/exports/e2/{'0' * 64}", "fetch", **fetch), 403)
    assert problem(running.call("PUT", "/v1/exports/e1/1", "stage", b"", **room.stage_claims()), 403)
    assert problem(running.call("GET", f"/v1/exports/e1/{'0' * 64}", "fetch", **fetch), 404)
    assert problem(running.call("POST", "/v1/datasets/a/b/1/publish", content=b"rubbish"), 401)
    assert problem(running.call("POST", "/v1/datasets/a/b/x/publish", content=b""), 422)
    assert problem(running.call("GET", "/v1/keys"), 405)
    assert problem(running.call("POST", "/v1/keys"), 401)
    assert problem(running.call("POST", "/v1/tokens"), 401)
    assert problem(running.call("POST", "/v1/tokens", "read", **room.read_claims("a/b", ["x"])), 401)
    assert problem(running.call("GET", "/openapi.json"), 404)
    assert problem(running.call("POST", "/v1/health"), 405)


def test_tokens_are_turned_back_for_control_once_and_leave_no_trace(
    running: Running, room: Any, people: pl.DataFrame
) -> None:
    running.publish("health/people", people)
    masked = room.read_claims("health/people", ["person"], masks={"person": {"method": "token"}})
    _, (fd,) = running.read(masked)
    tokens = pl.read_ipc(memfd.path(fd))["person"].to_list()
    os.close(fd)
    claims = room.view("health/people", ["person"], tokens=[tokens[3], "other"])
    ticket = room.signer.token("identify", asked_by="user:ada", agreed_by="user:bob", entry=5, **claims)
    door = VaultDoor(running.instance.vault_socket)
    assert door.identify(ticket) == {tokens[3]: "Zephyrine-0003-Quux"}
    with pytest.raises(Problem, match="presented before"):
        door.identify(ticket)
    assert running.end(signal.SIGKILL) == -signal.SIGKILL  # what was told lasts
    running.process = running.start()
    _, (fd,) = running.read(masked)
    assert pl.read_ipc(memfd.path(fd))["person"].to_list() == tokens
    os.close(fd)
    log = running.log.read_text()
    assert "turned back 1 tokens for entry 5" in log
    assert not [word for word in ("Zephyrine", tokens[3], "eyJ") if word in log]


def test_three_gigabytes_are_refused_early_and_nothing_is_kept(running: Running, room: Any) -> None:
    claims = room.stage_claims(rules={"max_bytes": 3 << 20})
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 3 << 30:
            sent += 1 << 18
            yield b"x" * (1 << 18)

    body = problem(running.call("PUT", "/v1/exports/e1/0", "stage", endless(), **claims), 413)
    assert "limit is 3145728" in body["detail"]
    assert sent < 64 << 20
    with running.http() as http:
        headers = {"Authorization": f"Bearer {running.signer.token('stage', **claims)}", "Content-Length": str(3 << 30)}
        request = http.build_request("PUT", "/v1/exports/e1/0", headers=headers, content=b"")
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(running.instance.vault_socket))
            lines = [b"PUT /v1/exports/e1/0 HTTP/1.1", b"Host: vault"]
            lines += [name + b": " + value for name, value in request.headers.raw if name.lower() != b"host"]
            raw.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
            assert raw.recv(64).startswith(b"HTTP/1.1 413")
    assert list((running.instance.vault_dir / "exports").rglob("*")) == []


def test_a_hostile_kernel_gets_problems_and_the_vault_lives(running: Running, room: Any, people: pl.DataFrame) -> None:
    running.publish("health/people", people)
    for rubbish in (
        struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">I", 4) + b"nope",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 200_000) + b"[" * 200_000,
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        with running.connect() as sock:
            sock.sendall(rubbish)
            answer, fds = frames.receive(sock, max_fds=4)
            assert (answer["ok"], answer["problem"]["status"], fds) == (False, 400, [])
    for request in ({}, {"v": 2, "ticket": "x"}, {"v": 1}, {"v": 1, "ticket": 5}, {"v": 1, "ticket": "x"}):
        with running.connect() as sock:
            frames.send(sock, request)
            frames.send(sock, request)  # the connection goes on after a refusal
            assert [frames.receive(sock)[0]["ok"] for _ in range(2)] == [False, False]
    idle = [running.connect() for _ in range(100)]
    gone = running.connect()
    frames.send(gone, {"v": 1, "ticket": running.signer.token("read", **room.read_claims("health/people", ["age"]))})
    gone.close()
    with running.connect() as sock:
        # descriptors that a kernel sends are not kept
        socket.send_fds(sock, [b"\0"], [sock.fileno()] * 20)
    answer, (fd,) = running.read(room.read_claims("health/people", ["income"]))
    assert answer["ok"]
    os.close(fd)
    for sock in idle:
        sock.close()
    descriptors = Path(f"/proc/{running.process.pid}/fd")
    deadline = time.monotonic() + 10
    while len(list(descriptors.iterdir())) > 40 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(descriptors.iterdir())) <= 40


def test_a_ticket_is_honoured_once_and_by_its_uid(running: Running, room: Any, people: pl.DataFrame) -> None:
    running.publish("health/people", people)
    token = running.signer.token("read", **room.read_claims("health/people", ["age"], uid=os.getuid()))
    with running.connect() as sock:
        for expected in (True, False):
            frames.send(sock, {"v": 1, "ticket": token})
            answer, fds = frames.receive(sock, max_fds=1)
            assert (answer["ok"], len(fds)) == (expected, int(expected))
            for fd in fds:
                os.close(fd)
    answer, fds = running.read(room.read_claims("health/people", ["age"], uid=os.getuid() + 1))
    assert (answer["problem"]["status"], fds) == (403, [])


def test_a_killed_vault_is_back_on_the_same_sockets_and_takes_no_old_ticket(
    running: Running, room: Any, people: pl.DataFrame
) -> None:
    running.publish("health/people", people)
    claims = room.read_claims("health/people", ["age"])
    old = running.signer.token("read", life=300, **claims)
    waiting = running.connect()
    workers = _workers_of(running.process.pid)
    assert workers
    running.end(signal.SIGKILL)
    assert waiting.recv(1) == b""
    waiting.close()
    assert running.instance.data_socket.exists()
    running.process = running.start()
    with running.connect() as sock:
        frames.send(sock, {"v": 1, "ticket": old})
        assert "before this vault started" in frames.receive(sock)[0]["problem"]["detail"]
    answer, (fd,) = running.read(claims)
    assert answer["rows"] == 60
    os.close(fd)
    deadline = time.monotonic() + 10
    while (left := {pid for pid in workers if Path(f"/proc/{pid}/fd/0").exists()}) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def test_nobody_can_look_into_the_vault_s_memory(running: Running) -> None:
    if os.getuid() == 0:
        assert Path(f"/proc/{running.process.pid}/mem").stat().st_uid == 0
    status = Path(f"/proc/{running.process.pid}/limits").read_text()
    assert [line.split()[4] for line in status.splitlines() if line.startswith("Max core")] == ["0"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs another uid")
def test_it_works_without_root(instance: Instance, signer: Any, people: pl.DataFrame, room: Any) -> None:
    """As the hub starts it: an own uid, not dumpable, and still able to use its own memory files."""
    code = (
        "import os, sys; os.umask(0o077); os.setgroups([]); os.setresgid(*[64123] * 3); os.setresuid(*[64123] * 3);"
        "os.execv(sys.executable, [sys.executable, '-m', 'strongroom_hub.vault', '--instance', sys.argv[1]])"
    )
    for path in (instance.data.parent, instance.data, instance.run):
        path.chmod(0o755)
    for path in [instance.vault_dir, *instance.vault_dir.rglob("*"), *instance.run.iterdir()]:
        os.chown(path, 64123, 64123)
    with (instance.data / "vault.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", code, str(instance.path)], stdout=log, stderr=log)
    one = Running.__new__(Running)
    one.instance, one.signer, one.log, one.process = instance, signer, instance.data / "vault.log", process
    try:
        deadline = time.monotonic() + 60
        while not instance.vault_socket.exists() and time.monotonic() < deadline:
            assert process.poll() is None, one.log.read_text()
            time.sleep(0.05)
        time.sleep(1.2)
        one.publish("health/people", people)
        answer, fds = one.read(room.read_claims("health/people", ["age"]))
        assert answer["ok"], answer
        assert os.fstat(fds[0]).st_uid == 64123
        os.close(fds[0])
        assert instance.vault_socket.stat().st_mode & 0o777 == 0o666
        claims = room.stage_claims(sources=[room.view("health/people", ["age"])])
        assert one.call("PUT", "/v1/exports/e1/0", "stage", b"town,n\na,20\n", **claims).status_code == 201
    finally:
        one.end()


def test_a_live_socket_and_a_file_in_its_place_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with sockets.listen(path), pytest.raises(FileExistsError, match="another vault"):
        sockets.listen(path)
    sockets.listen(path).close()  # stale by now
    path.unlink()
    path.write_text("x")
    with pytest.raises(FileExistsError, match="no socket"):
        sockets.listen(path)


def test_descriptors_ride_with_the_first_byte(running: Running, room: Any, people: pl.DataFrame) -> None:
    running.publish("health/people", people)
    with running.connect() as sock:
        frames.send(
            sock, {"v": 1, "ticket": running.signer.token("read", **room.read_claims("health/people", ["age"]))}
        )
        first, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(4))
        (fd,) = array.array("i", ancillary[0][2])
        rest = first + sock.recv(3)
        assert json.loads(sock.recv(struct.unpack(">I", rest)[0]))["ok"]
        os.close(fd)


def _workers_of(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == pid:
                found.add(int(entry.name))
    return found
