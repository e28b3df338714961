"""A vault that is killed while somebody reads: when it is back, the log says how that read ended."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from strongroom_hub import frames
from strongroom_hub.audit import reader
from strongroom_hub.config import Instance
from strongroom_hub.demo_data import intake
from strongroom_hub.internal import ControlClient

from tests.hub_config.demo_data.conftest import Inside, control_running
from tests.hub_config.demo_data.test_intake import BODY

ROWS = 1_000_000


def vault(instance: Instance) -> subprocess.Popen[bytes]:
    """The vault as a process, ready."""
    command = [sys.executable, "-m", "strongroom_hub.vault", "--instance", str(instance.path)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        assert process.poll() is None
        with socket.socket(socket.AF_UNIX) as probe:
            if not probe.connect_ex(str(instance.data_socket)):
                return process
        time.sleep(0.05)
    raise AssertionError("the vault did not start")


@pytest.fixture
def world() -> Iterator[Inside]:
    with control_running() as inside:
        inside.instance.data_socket.parent.mkdir(parents=True, exist_ok=True)
        yield inside


class Server:
    """A notebook server of somebody, as control knows it."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        ControlClient(instance.control_socket, instance.operator_token_file).call(
            "POST", "projects", {"name": "cardio", "title": "Cardio", "purpose": "To learn."}
        )
        hub = ControlClient(instance.control_socket, instance.hub_token_file)
        made = hub.call("POST", "servers", {"user": "analyst", "project": "cardio", "groups": []})
        self._credential = made["credential"]
        self.call("kernels", {"kernel": "k1", "notebook": "day.ipynb", "tier": "bubblewrap"})

    def call(self, path: str, body: dict[str, Any]) -> Any:
        transport = httpx.HTTPTransport(uds=str(self._instance.control_socket))
        headers = {"Authorization": f"Bearer {self._credential}"}
        with httpx.Client(transport=transport, base_url="http://control/internal/v1/", headers=headers) as client:
            answer = client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def stream(self) -> tuple[int, socket.socket]:
        """A stream of which one batch was read: its entry, and the line."""
        asked = {"kernel": "k1", "cell": 0, "dataset": "health/small", "stream": True}
        told = self.call("reads", asked)
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(60)
        line.connect(str(self._instance.data_socket))
        frames.send(line, {"v": 1, "ticket": told["ticket"], "stream": True})
        for wish in (None, {"v": 1}):
            if wish is not None:
                frames.send(line, wish)
            said, fds = frames.receive(line, max_fds=1)
            assert said["ok"], said
            for fd in fds:
                os.close(fd)
        return int(told["entry"]), line


def ends(inside: Inside) -> list[dict[str, Any]]:
    return [one["detail"] for one in reader.entries(inside.context.engine, action="control:read:end", limit=100)]


def test_a_stream_of_a_killed_vault_has_an_end_once_it_is_back(world: Inside) -> None:
    instance = world.instance
    (instance.data / "vault.toml").write_text("[streams]\nbatch = 1\n")
    process = vault(instance)
    try:
        table = "age,town\n" + "".join(f"{n % 90},town {n % 1000}\n" for n in range(ROWS))
        intake.add(instance, {**BODY, "label": "public"}, io.BytesIO(table.encode()), "csv")
        server = Server(instance)
        entry, line = server.stream()
        process.send_signal(signal.SIGKILL)
        process.wait()
        line.close()
        assert ends(world) == []
        process = vault(instance)
        deadline = time.monotonic() + 150
        while not ends(world) and time.monotonic() < deadline:
            time.sleep(0.1)
        (told,) = ends(world)
        assert (told["read"], told["state"], told["rows"]) == (entry, "interrupted", None)
        again, line = server.stream()
        line.close()
        deadline = time.monotonic() + 150
        while len(ends(world)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert {one["read"]: one["state"] for one in ends(world)} == {entry: "interrupted", again: "stopped"}
        starts = reader.entries(world.context.engine, action="control:vault:start", limit=10)
        assert [one["detail"]["interrupted"] for one in starts] == [1, 0]
    finally:
        process.terminate()
        process.wait(30)
