"""Kernel start and cell round trip of the whole road, as ratios to a stock server with a plain ipykernel in one run.

Both stand behind configurable-http-proxy with TLS. Ours adds the hub's cookies, the gate, a durable audit entry and
the sandbox. Stock: `jupyter server` with the same kernel environment and no sandbox. Measured in turn, A B A B ...;
medians, and medians of paired ratios.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from strongroom_hub.config import Instance
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.notebook import Notebook
from strongroom_hub.tour.person import Person, Server
from websockets.sync.client import connect

STARTS = int(os.environ.get("BENCH_STARTS", "9"))
TRIPS = int(os.environ.get("BENCH_TRIPS", "100"))
STOCK_UID = 64999


STOCK = """
from jupyter_server.serverapp import main
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
stock_open = KernelWebsocketHandler.open
async def open_without_delay(self, **place):
    self.set_nodelay(True)
    await stock_open(self, **place)
KernelWebsocketHandler.open = open_without_delay
main()
"""
"""The stock server but for Nagle's algorithm, which costs it 40 ms a cell that must not count in our favour."""


class StockNotebook:
    """A kernel of the stock server with the same `run` as ours."""

    def __init__(self, base: str, token: str, tls: ssl.SSLContext) -> None:
        self.http = httpx.Client(base_url=base, verify=tls, headers={"Authorization": f"token {token}"}, timeout=60)
        self.kernel = self.http.post("/api/kernels", json={"name": "plain"}).raise_for_status().json()["id"]
        url = f"{base.replace('https://', 'wss://')}/api/kernels/{self.kernel}/channels?token={token}"
        self._stack = ExitStack()
        self.socket = self._stack.enter_context(connect(url, ssl=tls, max_size=2**28, open_timeout=60))

    def close(self) -> None:
        self._stack.close()
        self.http.delete(f"/api/kernels/{self.kernel}")
        self.http.close()

    def run(self, code: str) -> None:
        mine = uuid.uuid4().hex
        header = {
            "msg_id": mine,
            "msg_type": "execute_request",
            "session": "s",
            "username": "u",
            "date": "",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        self.socket.send(
            json.dumps(
                {
                    "header": header,
                    "parent_header": {},
                    "metadata": {},
                    "content": content,
                    "channel": "shell",
                    "buffers": [],
                }
            )
        )
        idle = replied = False
        while not (idle and replied):
            message = json.loads(self.socket.recv(timeout=60))
            if message["parent_header"].get("msg_id") == mine:
                kind = message["header"]["msg_type"]
                replied = replied or kind == "execute_reply"
                idle = idle or (kind == "status" and message["content"]["execution_state"] == "idle")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def child(command: list[str], environment: dict[str, str], uid: int | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"} | environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        user=uid, group=uid, extra_groups=None if uid is None else [],
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def stock_server(instance: Instance) -> Iterator[tuple[str, str]]:
    """A plain `jupyter server` (as an unprivileged uid where we are root) behind a TLS proxy: its address and token."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        home.chmod(0o755)
        spec = home / "data" / "kernels" / "plain"
        spec.mkdir(parents=True)
        argv = [f"{instance.kernel_prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Plain", "language": "python"}))
        runtime = home / "run"
        runtime.mkdir()
        uid = STOCK_UID if os.geteuid() == 0 else None
        if uid is not None:
            for path in (home, runtime, home / "data"):
                os.chown(path, uid, uid)
        token, port, inner, api = secrets.token_hex(16), free_port(), free_port(), free_port()
        server = [
            instance.server_python, "-c", STOCK, "--no-browser", f"--port={inner}",
            f"--ServerApp.root_dir={runtime}", "--ServerApp.allow_remote_access=True",
        ]  # fmt: skip
        places = {
            "HOME": str(home), "JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_TOKEN": token,
        }  # fmt: skip
        stack.enter_context(child(server, places, uid))
        proxy = [
            instance.node, instance.proxy_script, "--ip=127.0.0.1", f"--port={port}", "--api-ip=127.0.0.1",
            f"--api-port={api}", f"--default-target=http://127.0.0.1:{inner}", "--log-level=error",
            f"--ssl-key={instance.tls_dir / 'server.key'}", f"--ssl-cert={instance.tls_dir / 'server.pem'}",
        ]  # fmt: skip
        stack.enter_context(child(proxy, {"CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16)}))
        base = f"https://127.0.0.1:{port}"
        wait_for(f"{base}/api", ssl.create_default_context(cafile=str(instance.tls_dir / "ca.pem")))
        yield base, token


def wait_for(url: str, tls: ssl.SSLContext) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(url, verify=tls, timeout=2).status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            sys.exit(f"{url} does not answer")
        time.sleep(0.2)


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def row(name: str, ours: list[float], stock: list[float]) -> str:
    ratio = statistics.median(a / b for a, b in zip(ours, stock, strict=True))
    medians = [statistics.median(times) * 1000 for times in (ours, stock)]
    return f"{name:<34}{medians[0]:>10.1f}{medians[1]:>10.1f}{ratio:>9.2f}   n={len(ours)}"


def start_of(server: Server, number: int) -> float:
    notebook: list[Notebook] = []

    def first_cell() -> None:
        notebook.append(Notebook(server, f"bench{number}.ipynb"))
        notebook[0].run("1")

    took = timed(first_cell)
    notebook[0].__exit__(None, None, None)
    return took


def start_of_stock(base: str, token: str, tls: ssl.SSLContext) -> float:
    notebook: list[StockNotebook] = []

    def first_cell() -> None:
        notebook.append(StockNotebook(base, token, tls))
        notebook[0].run("1")

    took = timed(first_cell)
    notebook[0].close()
    return took


def main() -> None:
    home = os.environ.get("STRONGROOM_TEST_HOME", "")
    if not home:
        sys.exit("STRONGROOM_TEST_HOME is not set: run this with `make bench`")
    with RunningInstance.fresh(Path(home)) as running, stock_server(running.instance) as (base, token):
        account = running.accounts["analyst"]
        ca = str(running.instance.tls_dir / "ca.pem")
        with Person(running.instance.public_url, ca, "analyst", account.password, account.otp_secret) as analyst:
            analyst.login()
            server = analyst.open_project("cardio")
            start_of(server, 0)
            start_of_stock(base, token, analyst.tls)
            pairs = [(start_of(server, n), start_of_stock(base, token, analyst.tls)) for n in range(1, STARTS + 1)]
            rows = [row("kernel start to first answer", [a for a, _ in pairs], [b for _, b in pairs])]
            plain = StockNotebook(base, token, analyst.tls)
            with Notebook(server, "trips.ipynb") as notebook:
                for code, name in (("1", "round trip of `1`"), ("print('x' * 1000)", "round trip of a 1 kB print")):
                    notebook.run(code)
                    plain.run(code)
                    pairs = [(timed(lambda: notebook.run(code)), timed(lambda: plain.run(code))) for _ in range(TRIPS)]  # noqa: B023
                    rows.append(row(name, [a for a, _ in pairs], [b for _, b in pairs]))
            plain.close()
    print(f"{'median, ms':<34}{'ours':>10}{'stock':>10}{'ratio':>9}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
