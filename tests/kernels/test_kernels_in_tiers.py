"""A real kernel in each tier: it answers, reads data by descriptor, is interrupted, is seen when it tries things."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from strongroom_kernels.box import TIERS, Places

from tests.kernels.test_battery import missing
from tests.kernels.test_provisioner import kernel
from tests.kernels.test_tiers import PROFILE

pytestmark = pytest.mark.usefixtures("environment")

_F_ADD_SEALS, _ALL_SEALS = 1033, 0xF

_READ = """
import mmap, os, socket
path = os.environ.get("STRONGROOM_DATA_SOCKET", "/run/strongroom/vault/data.sock")
with socket.socket(socket.AF_UNIX) as door:
    door.connect(path)
    said, found, _, _ = socket.recv_fds(door, 100, 4)
data = mmap.mmap(found[0], 0, prot=mmap.PROT_READ)
try:
    os.write(found[0], b"X")
    sealed = False
except OSError:
    sealed = True
print(said.decode(), len(data), data[:8].decode(), sealed)
"""
_FORK = """
import os, time
pid = os.fork()
if pid == 0:
    print("from a fork", flush=True)
    os._exit(0)
os.waitpid(pid, 0); time.sleep(0.5)
"""
_TRY = "import socket\ntry: socket.socket(40, socket.SOCK_STREAM)\nexcept OSError as error: print(error.errno)"
_SQL = """
import duckdb
try: print(duckdb.sql("select sum(i)::int from range(100) t(i)").fetchall()[0][0])
except duckdb.IOException as error: print(error)
"""


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest, places: Places, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tier that can be tried here, chosen by the profile; the run folder follows no link where there is root."""
    if missing(request.param):
        pytest.skip(missing(request.param))
    monkeypatch.setenv("STRONGROOM_PROFILE", json.dumps({**PROFILE, "sandbox": request.param, "processes": 512}))
    if os.geteuid() != 0:
        if request.param == "gvisor":
            pytest.skip("the tier gvisor needs a run folder mounted nosymfollow, which only root can mount")
        yield request.param
        return
    options = f"nosymfollow,nosuid,nodev,size=64m,mode=700,uid={places.run_dir.stat().st_uid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "test", places.run_dir], check=True)
    yield request.param
    subprocess.run(["umount", places.run_dir], check=True)


@pytest.fixture
def vault(places: Places) -> Iterator[None]:
    """Answers whoever connects with a sealed memory file."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(places.data_socket))
        Path(places.data_socket).chmod(0o666)
        server.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    data = os.memfd_create("data", os.MFD_ALLOW_SEALING)
                    os.write(data, b"the data" * 10_000)
                    fcntl.fcntl(data, _F_ADD_SEALS, _ALL_SEALS)
                    socket.send_fds(connection, [b"ok"], [data])
                    os.close(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_kernel_works(
    tier: str, vault: None, places: Places, unprivileged: Callable[[Callable[[], Any]], Any]
) -> None:
    async def scenario() -> Any:
        violations: list[dict[str, int]] = []
        async with kernel() as running:
            running.km.provisioner.on_violation = lambda kind, counts, text: violations.append(counts)
            told = [await running.run(code) for code in ("1 + 1", "!echo shell", _READ, _FORK, _TRY, _SQL)]
            for code in ("import time; time.sleep(60)", "while True: pass", "import os; os.system('sleep 60')"):
                cell = asyncio.create_task(running.run(code))
                await asyncio.sleep(1)
                await running.km.interrupt_kernel()
                told.append(await cell)
            told.append(await running.run("2 + 2"))
            await running.km.restart_kernel(now=True)
            await running.client.wait_for_ready(timeout=30)
            told.append(await running.run("3 + 3"))
        return told, violations, sorted(path.name for path in (places.run_dir / "k").iterdir())

    told, violations, left = unprivileged(lambda: asyncio.run(scenario()))
    answer, shell, read, forked, tried, sql, slept, looped, _called, after, restarted = told
    assert (answer, after, restarted) == (("ok", "2"), ("ok", "4"), ("ok", "6"))
    assert "shell" in shell[1]
    assert read == ("ok", "ok 80000 the data True\n")
    assert forked == ("ok", "from a fork\n")
    assert tried == ("ok", "97\n")
    # Without a cgroup namespace that file names the host's folders; DuckDB does not start where it may not read it.
    assert sql[0] == "ok"
    assert ("/proc/self/cgroup" in sql[1]) if tier == "launcher" else (sql[1] == "4950\n")
    assert (slept[0], looped[0]) == ("error", "error")
    assert violations == ([] if tier == "gvisor" else [{"socket AF_VSOCK": 1}])
    assert left == []
