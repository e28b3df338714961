"""The whole road against a stock server, in one run: kernel start and restart, round trips, a long print, idle memory.

Both stand behind configurable-http-proxy with TLS and are driven by the same client. Ours adds the hub's cookies, the
gate, a durable audit entry for each cell and the sandbox. Stock: `jupyter server` with JupyterLab and a plain
ipykernel of the same environment, without Nagle's delay and without a limit on its output rate, either of which would
count in our favour. Measured in turn, the order changing from pair to pair; medians, and medians of paired ratios.
"""

from __future__ import annotations

import argparse
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from strongroom_hub.config import Instance
from strongroom_hub.spawner import SERVER_PROGRAM
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.person import Person
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

STOCK_UID = 64999
STOCK_TRIES = 3
V1 = "v1.kernel.websocket.jupyter.org"
"""The framing that JupyterLab uses."""
OPENS = """
import time, strongroom
took = []
for _ in range(40):
    began = time.perf_counter()
    strongroom.open("public/penguins").to_polars()
    took.append((time.perf_counter() - began) * 1000)
print(sorted(took)[20], sorted(took)[38])
"""
"""A small table over and over: no more often than a workspace may ask at once."""
LONG_PRINT = "print(('x' * 99 + '\\n') * 500_000)"
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
"""The stock server but for Nagle's algorithm, which costs it 40 ms a cell."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two servers, as its page sees it; `pid` is its process."""

    http: httpx.Client
    base: str
    headers: dict[str, str]
    tls: ssl.SSLContext
    kernel_name: str
    pid: int

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"{self.base}{path}", json=body, headers=self.headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None


class Notebook:
    """A session with its kernel and websocket. Use as a context manager: leaving it ends the kernel."""

    def __init__(self, side: Side) -> None:
        self.side = side
        path = f"bench-{uuid.uuid4().hex}.ipynb"
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": side.kernel_name}}
        session = side.call("POST", "api/sessions", body)
        self.session, self.kernel = session["id"], session["kernel"]["id"]
        self._stack = ExitStack()
        self._connect()

    def _connect(self) -> None:
        side = self.side
        page = httpx.URL(side.base)
        url = f"{side.base.replace('https://', 'wss://')}api/kernels/{self.kernel}/channels"
        self.socket = self._stack.enter_context(
            connect(
                f"{url}?session_id={uuid.uuid4().hex}",
                ssl=side.tls,
                additional_headers=side.headers,
                origin=Origin(f"https://{page.host}:{page.port}"),
                subprotocols=[Subprotocol(V1)],
                max_size=2**28,
                open_timeout=20,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.side.call("DELETE", f"api/sessions/{self.session}")

    def restart(self) -> None:
        """Restart the kernel as JupyterLab does: its page reconnects."""
        self.side.call("POST", f"api/kernels/{self.kernel}/restart")
        self._stack.close()
        self._connect()

    def run(self, code: str) -> str:
        """Run a cell; what it printed, when both its reply and *idle* have come. Exits where it did not run well."""
        mine = uuid.uuid4().hex
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        header = {"msg_id": mine, "msg_type": "execute_request", "session": "s", "username": "u", "date": date,
                  "version": "5.3"}  # fmt: skip
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True,
                   "stop_on_error": True}  # fmt: skip
        metadata = {"cellId": uuid.uuid4().hex}
        parts = [json.dumps(part).encode() for part in (header, {}, metadata, content)]
        self.socket.send(serialize_msg_to_ws_v1(parts, "shell"))  # type: ignore[no-untyped-call]
        idle = replied = False
        printed = ""
        while not (idle and replied):
            raw = self.socket.recv(timeout=120)
            _channel, parts = deserialize_msg_from_ws_v1(raw)  # type: ignore[no-untyped-call]
            head, parent, _metadata, body = parts[:4]
            if json.loads(parent).get("msg_id") == mine:
                kind = json.loads(head)["msg_type"]
                if kind == "execute_reply":
                    replied = True
                    if json.loads(body)["status"] != "ok":
                        sys.exit(f"the cell {code!r} was refused or failed")
                if kind == "stream":
                    printed += json.loads(body)["text"]
                idle = idle or (kind == "status" and json.loads(body)["execution_state"] == "idle")
        return printed


# ------------------------------------------------------------------------------------------------------ the stock side


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def child(command: list[str], environment: dict[str, str], uid: int | None = None) -> Iterator[int]:
    process = subprocess.Popen(
        command, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"} | environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        user=uid, group=uid, extra_groups=None if uid is None else [],
    )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def stock_server(instance: Instance) -> Iterator[Side]:
    """A plain `jupyter server` (as an unprivileged uid where we are root) behind a TLS proxy."""
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
            "--ZMQChannelsWebsocketConnection.limit_rate=False",
        ]  # fmt: skip
        places = {
            "HOME": str(home), "JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_TOKEN": token,
        }  # fmt: skip
        pid = stack.enter_context(child(server, places, uid))
        proxy = [
            instance.node, instance.proxy_script, "--ip=127.0.0.1", f"--port={port}", "--api-ip=127.0.0.1",
            f"--api-port={api}", f"--default-target=http://127.0.0.1:{inner}", "--log-level=error",
            f"--ssl-key={instance.tls_dir / 'server.key'}", f"--ssl-cert={instance.tls_dir / 'server.pem'}",
        ]  # fmt: skip
        stack.enter_context(child(proxy, {"CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16)}))
        tls = ssl.create_default_context(cafile=str(instance.tls_dir / "ca.pem"))
        tls.maximum_version = ssl.TLSVersion.TLSv1_2  # as in `strongroom_hub.tour.person`
        http = stack.enter_context(httpx.Client(verify=tls, timeout=60))
        side = Side(http, f"https://127.0.0.1:{port}/", {"Authorization": f"token {token}"}, tls, "plain", pid)
        wait_for(side)
        yield side


def wait_for(side: Side) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            side.call("GET", "api")
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                sys.exit("the stock server does not answer")
            time.sleep(0.2)
        else:
            return


# ------------------------------------------------------------------------------------------------------------ our side


@contextmanager
def our_server(running: RunningInstance) -> Iterator[Side]:
    """The analyst's server of a demo project that has read nothing: its label is public."""
    account = running.accounts["analyst"]
    ca = str(running.instance.tls_dir / "ca.pem")
    with Person(running.instance.public_url, ca, "analyst", account.password, account.otp_secret) as analyst:
        analyst.login()
        server = analyst.open_project("cardio")
        cookies = "; ".join(
            f"{c.name}={c.value}" for c in analyst.http.cookies.jar if server.prefix.startswith(c.path or "/")
        )
        # The cookies by hand, as the websocket needs them; the jar would send its own beside them.
        http = httpx.Client(verify=analyst.tls, timeout=60)
        headers = server.headers() | {"Cookie": cookies}
        (pid,) = (one for one in family(running.hub_pid) if is_server(one))
        with http:
            base = f"{analyst.base_url}{server.prefix}"
            yield Side(http, base, headers, analyst.tls, "strongroom", pid)


def is_server(pid: int) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return words[1:3] == [b"-c", SERVER_PROGRAM.encode()]


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found += [int(number) for number in (task / "children").read_text("ascii").split()]
    return found


def idle_memory(side: Side) -> float:
    """MiB that server, kernel and box take together, each shared page counted in parts (PSS)."""
    total = 0
    for pid in family(side.pid):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


# ------------------------------------------------------------------------------------------------------------ measures

Pair = tuple[Side, Side]
Measured = list[tuple[float, float]]


def milliseconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def in_turn(count: int, ours: Callable[[], float], stock: Callable[[], float]) -> Measured:
    """`count` pairs of (ours, stock); who goes first changes from pair to pair."""

    def patient_stock() -> float:
        # Now and then a plain kernel finds one of its TCP ports taken, and its page waits for ever.
        for _ in range(STOCK_TRIES - 1):
            with suppress(TimeoutError):
                return stock()
            print("the stock server did not answer; its turn is taken again", file=sys.stderr)
        return stock()

    pairs = []
    for number in range(count):
        if number % 2:
            second = patient_stock()
            pairs.append((ours(), second))
        else:
            first = ours()
            pairs.append((first, patient_stock()))
    return pairs


def of_kernels(count: int, sides: Pair, action: Callable[[Notebook], object]) -> Measured:
    """Milliseconds of `action` on one kernel for each side, in turn, after a cell that warms it up."""
    with Notebook(sides[0]) as ours, Notebook(sides[1]) as stock:
        for notebook in (ours, stock):
            notebook.run("1")
        return in_turn(count, lambda: milliseconds(lambda: action(ours)), lambda: milliseconds(lambda: action(stock)))


def opens(side: Side) -> str:
    """A line: from `open()` to a DataFrame, through all decisions. A stock server has nothing to compare that with."""
    with Notebook(side) as notebook:
        notebook.run("import strongroom; strongroom.open('public/penguins').to_polars()")
        half, most = map(float, notebook.run(OPENS).split())
    return f"{'344 rows from open() to DataFrame, ms':<38}{half:>8.1f}   p50; p95 {most:.1f}"


def start(count: int, sides: Pair) -> Measured:
    """From the page's request for a session to the end of its first cell."""

    def one(side: Side) -> float:
        began = time.perf_counter()
        with Notebook(side) as notebook:
            notebook.run("1")
            return (time.perf_counter() - began) * 1000

    for side in sides:
        one(side)
    return in_turn(count, lambda: one(sides[0]), lambda: one(sides[1]))


def restart(count: int, sides: Pair) -> Measured:
    def one(notebook: Notebook) -> None:
        notebook.restart()
        notebook.run("1")

    return of_kernels(count, sides, one)


def cells(code: str) -> Callable[[int, Pair], Measured]:
    return lambda count, sides: of_kernels(count, sides, lambda notebook: notebook.run(code))


def memory(count: int, sides: Pair) -> Measured:
    """Fresh kernels, one on each side, left alone for a moment after their first cell."""

    def one() -> tuple[float, float]:
        with Notebook(sides[0]) as ours, Notebook(sides[1]) as stock:
            for notebook in (ours, stock):
                notebook.run("1")
            time.sleep(2)
            return idle_memory(sides[0]), idle_memory(sides[1])

    return [one() for _ in range(count)]


MEASURES: dict[str, tuple[str, int, Callable[[int, Pair], Measured]]] = {
    "memory": ("idle server + kernel, MiB PSS", 3, memory),
    "start": ("kernel start to first answer, ms", 15, start),
    "restart": ("kernel restart to first answer, ms", 9, restart),
    "trip": ("round trip of `1`, ms", 200, cells("1")),
    "print": ("round trip of a 1 kB print, ms", 200, cells("print('x' * 1000)")),
    "flood": ("50 MB print, ms", 9, cells(LONG_PRINT)),
}
"""Name -> title, pairs, measure. In this order: memory before the servers have worked."""


def row(title: str, pairs: Measured) -> str:
    ours, stock = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return f"{title:<36}{ours:>10.1f}{stock:>10.1f}{ratio:>9.2f}   n={len(pairs)}"


def main() -> None:
    parser = argparse.ArgumentParser(description="ratios to a stock Jupyter server, measured in the same run")
    known = [*MEASURES, "open"]
    parser.add_argument("--only", help=f"some of: {','.join(known)}", default=",".join(known))
    parser.add_argument("--pairs", type=int, help="pairs for each measure, instead of its own number")
    chosen = parser.parse_args()
    names = chosen.only.split(",")
    if unknown := set(names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    home = os.environ.get("STRONGROOM_TEST_HOME", "")
    if not home:
        sys.exit("STRONGROOM_TEST_HOME is not set: run this with `make bench`")
    print(f"{'medians':<36}{'ours':>10}{'stock':>10}{'ratio':>9}")
    with (
        RunningInstance.fresh(Path(home)) as running,
        our_server(running) as ours,
        stock_server(running.instance) as stock,
    ):
        for name, (title, count, measure) in MEASURES.items():
            if name in names:
                print(row(title, measure(chosen.pairs or count, (ours, stock))), flush=True)
        if "open" in names:
            print(opens(ours))


if __name__ == "__main__":
    main()
