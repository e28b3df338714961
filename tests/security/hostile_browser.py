"""A browser that works with the hostile kernel: several tabs in both protocols, every REST route, the event stream.

It keeps every byte that it gets. Frames are also read strictly: a field that no honest frame has is an error at once.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from jupyter_server.services.kernels.connection.base import deserialize_binary_message, deserialize_msg_from_ws_v1
from strongroom_hub.tour.person import Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

V1 = Subprotocol("v1.kernel.websocket.jupyter.org")
ID = re.compile(r"[0-9a-f]{32}\Z")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
MIMES = r"(?:text|image|application)/[a-z0-9.+-]+"
HEADER = {"msg_id", "msg_type", "session", "username", "date", "version"}
PATHS = (
    *("api/kernels", "api/kernels/{kernel}", "api/sessions", "api/sessions/{session}", "api/contents", "api/status"),
    *("api/contents/{notebook}", "api/contents/work", "api/me", "api/kernelspecs", "api/config/notebook"),
    *("api/kernelspecs/strongroom", "lab/api/settings", "lab/api/workspaces", "api", "lab"),
    *("strongroom/api/session", "strongroom/api/work", "strongroom/api/exports", "strongroom/api/datasets"),
    *("strongroom/api/access-requests", "strongroom/api/cells?notebook={notebook}", "strongroom/api/withheld"),
)
CLOSED = (
    *("metrics", "api/events", "api/terminals", "api/spec.yaml", "files/{notebook}", "nbconvert/html/{notebook}"),
    *("view/{notebook}", "lsp/status", "lab/api/extensions", "lab/api/build", "lab/api/news", "lab/api/listings"),
    *("api/resolvePath?kernel={kernel}&path=/etc/passwd", "api/nbconvert", "api/contents/../work", "static/../work"),
    *("kernelspecs/strongroom/logo-64x64.png", "api/kernels/{kernel}/execute", "lab/api/licenses", "tree", "nbclassic"),
)


@dataclass(slots=True)
class Frame:
    """One websocket message, read; `raw` is all of it."""

    raw: bytes
    channel: str
    header: dict[str, Any]
    parent: dict[str, Any]
    metadata: dict[str, Any]
    content: dict[str, Any]
    buffers: list[bytes]
    at: float

    @property
    def type(self) -> str:
        return str(self.header["msg_type"])

    @property
    def payload(self) -> bytes:
        """What is not header: content, metadata and buffers."""
        return _encode([self.content, self.metadata]) + b"".join(self.buffers)

    @property
    def pictures(self) -> list[str]:
        data = self.content.get("data")
        return [data[mime] for mime in ("image/png", "image/jpeg") if mime in data] if isinstance(data, dict) else []

    def canonical(self) -> str:
        """The frame without what the gate mints: numbers, ids, dates, and of MIME types only that there is one."""
        assert not self.buffers or self.channel == "iopub"
        return blank(_encode([self.channel, self.type, self.content, self.metadata, len(self.buffers)]).decode())

    def check_header(self, sent: dict[str, dict[str, Any]]) -> None:
        """Raises AssertionError where the kernel could have written anything into header or parent."""
        assert set(self.header) == HEADER, self.header
        assert ID.match(self.header["msg_id"]), self.header
        assert DATE.match(self.header["date"]), self.header
        assert (self.header["session"], self.header["username"], self.header["version"]) == ("strongroom", "", "5.3")
        if self.parent:
            mine = sent[self.parent["msg_id"]]
            assert self.parent == {**mine, "username": "", "version": "5.3"}, self.parent


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


CHECKPOINT = r"[\w./:-]+\\n\d+\\n[A-Za-z0-9+/=]{44}\\n\\n(?:\N{EM DASH}|\\u2014) [\w./:-]+ [A-Za-z0-9+/=]{92}\\n"


def blank(text: str) -> str:
    text = re.sub(f'("checkpoint": ?)"{CHECKPOINT}"', r'\1"NOTE"', text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r'"id":"[0-9a-f]{16}"', '"id":"ID"', text)
    text = re.sub(MIMES, "MIME", text)
    text = re.sub(r"MIME(, MIME)+", "MIME", text)
    return re.sub(r"\d[\d.,]*( (?:bytes|[KMGT]?i?B))?", "#", text)


def read_frame(raw: str | bytes, at: float, protocol: str | None) -> Frame:
    if protocol == V1:
        assert isinstance(raw, bytes)
        channel, parts = deserialize_msg_from_ws_v1(raw)
        header, parent, metadata, content = (json.loads(part) for part in parts[:4])
        return Frame(raw, channel, header, parent, metadata, content, [bytes(part) for part in parts[4:]], at)
    body = deserialize_binary_message(raw) if isinstance(raw, bytes) else json.loads(raw)
    known = {"channel", "header", "parent_header", "metadata", "content", "buffers", "msg_id", "msg_type"}
    assert set(body) <= known, set(body) - known
    assert (body["msg_id"], body["msg_type"]) == (body["header"]["msg_id"], body["header"]["msg_type"])
    return Frame(
        raw if isinstance(raw, bytes) else raw.encode(),
        body["channel"],
        body["header"],
        body["parent_header"],
        body["metadata"],
        body["content"],
        [bytes(buffer) for buffer in body.get("buffers", [])],
        at,
    )


class Tab:
    """One websocket that keeps all that comes."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        self.odd: list[str] = []
        """Why something that came is no frame."""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                raw = self.connection.recv()
                try:
                    self.frames.append(read_frame(raw, time.monotonic(), self.connection.subprotocol))
                except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                    self.odd.append(f"{error!r}: {raw[:500]!r}")

    def join(self) -> None:
        """Return when all that came before the end of the connection is read."""
        self._thread.join(10)


@dataclass
class Browser:
    """All tabs and eyes on one kernel. Use as a context manager."""

    server: Server
    notebook: str
    session: str = ""
    kernel: str = ""
    tabs: list[Tab] = field(default_factory=list)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: bytes = b""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _told: dict[str, set[bytes]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answered: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        body = {"path": self.notebook, "name": self.notebook, "type": "notebook", "kernel": {"name": "strongroom"}}
        made = self.server.jupyter("POST", "api/sessions", body)
        self.session, self.kernel = made["id"], made["kernel"]["id"]
        self.tabs = [self._open(protocol) for protocol in (None, V1, None)]
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._watch, self._listen)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self._stack.close()
        for tab in self.tabs:
            tab.join()
        self.server.request("DELETE", f"api/sessions/{self.session}")

    def _cookies(self) -> str:
        jar = self.server.person.http.cookies.jar
        return "; ".join(f"{c.name}={c.value}" for c in jar if self.server.prefix.startswith(c.path or "/"))

    def _open(self, protocol: Subprotocol | None) -> Tab:
        person = self.server.person
        address = person.base_url.replace("https://", "wss://") + self.server.prefix
        return Tab(
            self._stack.enter_context(
                connect(
                    f"{address}api/kernels/{self.kernel}/channels?session_id={uuid.uuid4().hex}",
                    ssl=person.tls_for_sockets,
                    additional_headers={"Cookie": self._cookies()},
                    origin=Origin(person.base_url),
                    subprotocols=[protocol] if protocol else None,
                    max_size=None,
                    open_timeout=60,
                )
            )
        )

    # --- saying ----------------------------------------------------------------------------------------------------

    def send(self, kind: str, content: dict[str, Any], channel: str = "shell") -> str:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self.session}
        self.sent[header["msg_id"]] = header
        whole = {**header, "username": "u", "date": "", "version": "5.3"}
        body = {"header": whole, "parent_header": {}, "metadata": {}, "content": content, "channel": channel}
        self.tabs[0].connection.send(json.dumps({**body, "buffers": []}))
        return header["msg_id"]

    def run(self, code: str, *, patience: float = 90.0, quiet: float = 1.0) -> list[Frame]:
        """One cell: all that the first tab gets until `quiet` seconds after its end; input is given at once."""
        began = len(self.tabs[0].frames)
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True, "stop_on_error": False}
        self._wait(self.send("execute_request", content), patience, began)
        self._settle(quiet)
        return self.tabs[0].frames[began:]

    def _wait(self, mine: str, patience: float, began: int) -> None:
        deadline = time.monotonic() + patience
        while True:
            frames = self.tabs[0].frames[began:]
            self._give_input(frames)
            kinds = [frame.type for frame in frames if frame.parent.get("msg_id") == mine]
            idle = any(
                frame.type == "status" and frame.content["execution_state"] == "idle"
                for frame in frames
                if frame.parent.get("msg_id") == mine
            )
            if idle and any(kind.endswith("_reply") for kind in kinds):
                return
            assert time.monotonic() < deadline, f"no end of the request: {kinds[-20:]} {self.tabs[0].odd[:3]}"
            assert self.tabs[0].odd == []
            time.sleep(0.02)

    def _give_input(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.type == "input_request" and frame.header["msg_id"] not in self._answered:
                self._answered.add(frame.header["msg_id"])
                self.send("input_reply", {"status": "ok", "value": ""}, "stdin")

    def _settle(self, quiet: float) -> None:
        """Until nothing has come for `quiet` seconds."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < quiet:
            if len(self.tabs[0].frames) != last:
                last, since = len(self.tabs[0].frames), time.monotonic()
            time.sleep(0.05)

    def ask_everything(self) -> list[Frame]:
        """Every other request that a page can make."""
        began = len(self.tabs[0].frames)
        code = {"code": "tried", "cursor_pos": 5}
        asked = []
        for channel in ("control", "shell"):
            self.send("kernel_info_request", {}, channel)
            asked = [
                self.send("complete_request", code, channel),
                self.send("inspect_request", {**code, "detail_level": 1}, channel),
            ]
            self.send("history_request", {"hist_access_type": "tail", "n": 100, "output": True, "raw": True}, channel)
            self.send("is_complete_request", {"code": "tried"}, channel)
            self.send("comm_info_request", {}, channel)
            self.send("debug_request", {"type": "request", "command": "evaluate", "seq": 1}, channel)
            self.send("usage_request", {}, channel)
            self.send("create_subshell_request", {}, channel)
        for mine in asked:
            self._wait(mine, 60, began)
        self._settle(1.0)
        return self.tabs[0].frames[began:]

    # --- looking ---------------------------------------------------------------------------------------------------

    def look(self, path: str, method: str = "GET", body: Any = None) -> None:
        """Ask a route and keep what it says."""
        filled = path.format(kernel=self.kernel, session=self.session, notebook=self.notebook)
        answer = self.server.person.http.request(
            method, self.server.prefix + filled, json=body, headers=self.server.headers()
        )
        told = [f"{name}: {value}" for name, value in answer.headers.items() if name not in {"date", "etag"}]
        raw = f"{answer.status_code}\n{'|'.join(told)}\n".encode() + answer.content
        with self._lock:
            self._told.setdefault(path, set()).add(raw)

    def answers(self) -> dict[str, set[bytes]]:
        """Route -> the different answers that it gave until now, status and headers included."""
        with self._lock:
            return {path: set(told) for path, told in self._told.items()}

    def look_everywhere(self) -> None:
        for path in (*PATHS, *CLOSED):
            with contextlib.suppress(httpx.TransportError):
                self.look(path)

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            for path in PATHS[:6]:
                with contextlib.suppress(httpx.TransportError):
                    self.look(path)

    def _listen(self) -> None:
        person = self.server.person
        with (
            contextlib.suppress(httpx.TransportError),
            httpx.Client(base_url=person.base_url, verify=person.tls, timeout=httpx.Timeout(10, read=1.0)) as client,
        ):
            while not self._stop.is_set():
                with contextlib.suppress(httpx.ReadTimeout):
                    address = f"{self.server.prefix}strongroom/api/stream"
                    with client.stream("GET", address, headers={"Cookie": self._cookies()}) as stream:
                        for piece in stream.iter_raw():
                            self.events += piece
                            if self._stop.is_set():
                                return

    def everything(self) -> Iterator[str]:
        """All that was received, as text; different answers and frames once each."""
        for tab in self.tabs:
            for raw in {frame.raw for frame in list(tab.frames)}:
                yield raw.decode("utf-8", "replace")
                yield raw.decode("latin-1")
        for told in self.answers().values():
            for raw in told:
                yield raw.decode("utf-8", "replace")
        yield self.events.decode("utf-8", "replace")
