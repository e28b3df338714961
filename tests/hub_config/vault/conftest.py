from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from strongroom_hub import frames
from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem
from strongroom_hub.vault import checks, memfd, setup
from strongroom_hub.vault.controldoor import Abandoned
from strongroom_hub.vault.manifest import digest
from strongroom_hub.vault.reader import Answer
from strongroom_hub.vault.service import Draft, Vault
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.tickets import IngestTicket, ReadTicket, StageTicket
from strongroom_hub.viewname import view_name

_NUMBERS = itertools.count()


@dataclass
class Signer:
    """Signs as control does."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    active: dict[tuple[str, int], str] = field(default_factory=dict)

    def token(self, act: str, *, life: float = 30, **claims: Any) -> str:
        now = time.time()
        base = {"iss": "strongroom:control", "aud": "strongroom:vault", "jti": f"t{next(_NUMBERS)}"}
        return jwt.encode({**base, "iat": now, "exp": now + life, "act": act, **claims}, self.key, algorithm="EdDSA")

    def manifest(self, manifest: dict[str, Any]) -> str:
        claims = {"iss": "strongroom:control", "aud": "strongroom:vault", "act": "manifest", "manifest": manifest}
        claims["iat"] = time.time()
        return jwt.encode(claims, self.key, algorithm="EdDSA")

    def activate(self, manifest: dict[str, Any]) -> str:
        """Sign, and from here on name this one in tickets, as control does with the version that it made active."""
        jws = self.manifest(manifest)
        self.active[manifest["dataset"], manifest["version"]] = digest(jws)
        return jws

    def digest(self, dataset: str, version: int = 1) -> str:
        return self.active.get((dataset, version), "0" * 64)


class Standing:
    """Control, as the vault asks it: which reads do not stand any more, and what it was told of their ends."""

    def __init__(self) -> None:
        self.over: dict[int, Problem] = {}
        self.ends: list[dict[str, Any]] = []
        self.asked: list[int] = []
        self.starts: list[float] = []
        self.found: list[Abandoned] = []
        self.kept: set[tuple[str, str]] = set()
        """Drafts and uploads that somebody still goes on with."""
        self.down = False

    def ended(self, entries: Collection[int]) -> dict[int, Problem]:
        self._answer()
        self.asked += entries
        return {entry: self.over[entry] for entry in entries if entry in self.over}

    def report(self, entry: int, state: str, **told: Any) -> None:
        self._answer()
        self.ends.append({"entry": entry, "state": state, **told})

    def started(self, at: float) -> None:
        self._answer()
        self.starts.append(at)

    def abandoned(self, found: Sequence[Abandoned]) -> list[Abandoned]:
        self._answer()
        self.found += found
        return [one for one in found if (one.dataset, one.what) not in self.kept]

    def revoke(self, entry: int) -> None:
        self.over[entry] = Problem(403, "revoked", "Your grant was revoked", "It was revoked.", next="Ask.")

    def _answer(self) -> None:
        if self.down:
            raise Problem(503, "control-unreachable", "It does not answer", "Nobody is there.", next="Wait.")


class Room:
    """A vault in this process, with somebody who signs as control does."""

    def __init__(self, instance: Instance, signer: Signer) -> None:
        self.instance = instance
        self.signer = signer
        self.vault = Vault(instance, started=time.time() - 5)
        self.standing = Standing()
        self.vault.recall.control = self.vault.attic.control = self.standing  # type: ignore[assignment]
        self.vault.reader._for_good = False  # as where kernels have uids of their own

    def ingest(self, name: str, data: pl.DataFrame | bytes, *, label: str = "confidential", fmt: str = "csv") -> Any:
        return self.draft(name, data, label=label, fmt=fmt).manifest

    def draft(
        self, name: str, data: pl.DataFrame | bytes, *, label: str = "confidential", fmt: str = "csv", **plan: Any
    ) -> Draft:
        """A version taken in, with what was found."""
        claims = {"act": "ingest", "dataset": name, "version": 1, "format": fmt, "label": label, "plan": plan}
        with self.vault.uploads.of(name, 1) as upload:
            writer = upload.writer()
            writer.write(data.write_csv().encode() if isinstance(data, pl.DataFrame) else data)
            writer.finish()
            return self.vault.ingest(IngestTicket.model_validate(claims), upload)

    def publish(self, name: str, data: pl.DataFrame | bytes, **how: str) -> dict[str, Any]:
        manifest: dict[str, Any] = self.ingest(name, data, **how)
        self.vault.store.publish(name, 1, self.signer.activate(manifest))
        return manifest

    def folder(self, name: str) -> Path:
        return self.instance.vault_dir / "store" / name / "1"

    def part(self, name: str) -> Path:
        return self.folder(name) / "part-00000.parquet"

    def read_claims(self, dataset: str, columns: list[str], **changed: Any) -> dict[str, Any]:
        claims = {
            "user": "ada",
            "project": "cardio",
            "kernel": "k1",
            "uid": None,
            "dataset": dataset,
            "version": 1,
            "manifest": self.signer.digest(dataset),
            "label": "secret",
            "columns": columns,
            "masks": {},
            "rows": None,
            "max_bytes": 1 << 26,
            "entry": 1,
            "group": "table",
            **changed,
        }
        names = ("dataset", "version", "manifest", "columns", "masks", "rows", "project", "group")
        return {"view": view_name(**{name: claims[name] for name in names}), **claims}

    def read(self, dataset: str, columns: list[str], **changed: Any) -> Answer:
        claims = self.read_claims(dataset, columns, **changed)
        return self.vault.reader.read(ReadTicket.model_validate({"act": "read", **claims}))

    def frame(self, dataset: str, columns: list[str], **changed: Any) -> pl.DataFrame:
        answer = self.read(dataset, columns, **changed)
        try:
            return pl.read_ipc(memfd.path(answer.fd)).clone()
        finally:
            os.close(answer.fd)

    def view(self, dataset: str, columns: list[str], **changed: Any) -> dict[str, Any]:
        given = {
            "dataset": dataset,
            "version": 1,
            "manifest": self.signer.digest(dataset),
            "label": "secret",
            "columns": columns,
        }
        return {**given, "masks": {}, "rows": None, "project": "cardio", **changed}

    @staticmethod
    def stage_claims(name: str = "table.csv", rules: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
        types = ["csv", "tsv", "parquet", "png", "txt", "json"]
        usual = {"types": types, "max_bytes": 1 << 24, "min_count": 10, "max_overlap": 0.05}
        return {"export": "e1", "index": 0, "name": name, "sources": [], "rules": usual | (rules or {}), **changed}

    def stage(self, data: bytes, name: str = "table.csv", **changed: Any) -> dict[str, Any]:
        """The receipt's claims, its signature verified as control does."""
        ticket = StageTicket.model_validate({"act": "stage", **self.stage_claims(name, **changed)})
        with self.spool(data) as fd:
            receipt = self.vault.exports.stage(ticket, fd)
        public = load_pem_public_key((self.instance.public_dir / "vault.pub.pem").read_bytes())
        claims: dict[str, Any] = jwt.decode(
            receipt, public, algorithms=["EdDSA"], issuer="strongroom:vault", audience="strongroom:control"
        )
        return claims

    def check(self, data: bytes, name: str = "table.csv", **changed: Any) -> dict[str, Any]:
        """Type and findings as a receipt would have them, found in this process."""
        ticket = StageTicket.model_validate({"act": "stage", **self.stage_claims(name, **changed)})
        sources, _ = self.vault.exports._views(ticket)
        with self.spool(data) as fd:
            file_type, found = checks.check_file(fd, name, checks.Limits(**ticket.rules.model_dump()), sources)
        return {"type": file_type, "findings": [finding.as_json() for finding in found]}

    @staticmethod
    @contextlib.contextmanager
    def spool(data: bytes) -> Iterator[int]:
        fd = memfd.create("test")
        try:
            os.write(fd, data)
            yield fd
        finally:
            os.close(fd)


class Running:
    """`python -m strongroom_hub.vault` over an instance."""

    def __init__(self, instance: Instance, signer: Any) -> None:
        self.instance = instance
        self.signer = signer
        self.log = instance.data / "vault.log"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "strongroom_hub.vault", "--instance", str(self.instance.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/bin:/bin"},
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None, self.log.read_text()
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.instance.vault_socket)):
                    time.sleep(0.05)
                    continue
            assert self.call("GET", "/v1/health").json() == {"ok": True}
            return process
        raise AssertionError(self.log.read_text())

    def end(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)

    def http(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.instance.vault_socket))
        return httpx.Client(transport=transport, base_url="http://vault", timeout=60)

    def call(self, method: str, path: str, act: str = "", content: Any = None, **claims: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.signer.token(act, **claims)}"} if act else {}
        with self.http() as http:
            return http.request(method, path, content=content, headers=headers)

    def publish(self, name: str, frame: pl.DataFrame) -> None:
        about = {"dataset": name, "version": 1, "format": "csv", "label": "confidential"}
        taken = self.call("PUT", f"/v1/datasets/{name}/1", "ingest", frame.write_csv().encode(), **about)
        assert taken.status_code == 201, taken.text
        jws = self.signer.activate(taken.json()["manifest"])
        assert self.call("POST", f"/v1/datasets/{name}/1/publish", content=jws.encode()).status_code == 204

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(60)
        sock.connect(str(self.instance.data_socket))
        return sock

    def read(self, claims: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        with self.connect() as sock:
            frames.send(sock, {"v": 1, "ticket": self.signer.token("read", **claims)})
            return frames.receive(sock, max_fds=4)


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def instance(signer: Signer) -> Iterator[Instance]:
    with made_instance(signer) as made:
        yield made


@contextlib.contextmanager
def made_instance(signer: Signer) -> Iterator[Instance]:
    # not below pytest's folder: its path is too long for sockets, and closed to the other uid of one test
    home = Path(tempfile.mkdtemp(prefix="sr-"))
    data, run = home / "data", home / "run"
    for folder in (data / "public", run / "vault", run / "data"):
        folder.mkdir(parents=True)
    public = signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (data / "public" / "control.pub.pem").write_bytes(public)
    made = Instance(data, run, "https://127.0.0.1:1/", 1, 2, 3, "node", "proxy", "python", "kernel")
    made.save()
    setup.create(made)
    yield made
    shutil.rmtree(home)


@pytest.fixture
def room(instance: Instance, signer: Signer) -> Iterator[Room]:
    with made_room(instance, signer) as one:
        yield one


@contextlib.contextmanager
def made_room(instance: Instance, signer: Signer) -> Iterator[Room]:
    one = Room(instance, signer)
    one.vault.workers.close()  # no spare is started ahead: most tests need one worker or none
    yield one
    one.vault.close()


def begun(store: Store, dataset: str, version: int) -> Path:
    """The folder of a draft that is being filled."""
    folder = store.place(dataset, version)
    store.begin(store.new_desk(), folder)
    return folder


@pytest.fixture
def people() -> pl.DataFrame:
    """Sixty people with values that occur nowhere else on a disk."""
    rows = range(60)
    return pl.DataFrame(
        {
            "person": [f"Zephyrine-{n:04d}-Quux" for n in rows],
            "age": [20 + n for n in rows],
            "income": [31415.25 + 17 * n for n in rows],
            "visits": [n % 7 if n % 5 else None for n in rows],
        }
    )


@pytest.fixture
def microdata() -> pl.DataFrame:
    """Rows that no aggregate could look like."""
    made = random.Random(7)
    return pl.DataFrame(
        {
            "person": [f"P-{made.randrange(10**9):09d}" for _ in range(400)],
            "age": [made.randrange(18, 90) for _ in range(400)],
            "income": [round(made.lognormvariate(10, 0.6), 2) for _ in range(400)],
            "weight": [round(made.gauss(75, 14), 3) for _ in range(400)],
            "town": [made.choice("abcdefgh") for _ in range(400)],
        }
    )


@pytest.fixture
def running(instance: Instance, signer: Any) -> Iterator[Running]:
    one = Running(instance, signer)
    yield one
    if one.process.poll() is None:
        assert one.end() == 0
    assert not instance.data_socket.exists()
