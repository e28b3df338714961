"""A control service on a real database with the default policy, spoken to as its neighbours speak to it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import socket
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from jsonschema import Draft202012Validator
from sqlalchemy import select
from strongroom_hub import frames
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import DETAIL_SCHEMA_FILE, SCHEMA_FILE, Action
from strongroom_hub.audit.models import LogEntry
from strongroom_hub.audit.witnessing import Witnessing
from strongroom_hub.audit.writer import AuditWriter, open_writer
from strongroom_hub.boxes.rates import Bounds
from strongroom_hub.config import Instance
from strongroom_hub.control import setup
from strongroom_hub.control.__main__ import Housekeeper, listen_unix, open_context, policy_keeper
from strongroom_hub.control.app import create_internal, create_public
from strongroom_hub.control.callers import Principals
from strongroom_hub.control.context import Context
from strongroom_hub.control.oauth import HubUser
from strongroom_hub.control.tickets import TicketSigner, load_private_key
from strongroom_hub.problems import MEDIA_TYPE, Problem
from strongroom_hub.projects import cell_door

with warnings.catch_warnings():
    # Starlette wants its test client to stand on httpx's successor; the product itself speaks httpx.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

POLICY = Path(__file__).parents[2] / "policy"
HUB_TOKEN, OPERATOR_TOKEN = "hub-token-for-tests", "operator-token-for-tests"
METRICS_TOKEN = "metrics-token-for-tests"
OTP_SECRET = base64.b32encode(b"twenty bytes of seed").decode()
PASSWORD = "correct horse battery"
FILES = ("model.conf", "policy.csv", "labels.toml", "profiles.toml", "tests.csv")


_ENTRY = Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
_DETAILS = {
    action: Draft202012Validator(schema)
    for action, schema in json.loads(DETAIL_SCHEMA_FILE.read_text(encoding="utf-8"))["properties"].items()
}
_seen: set[object] = set()


def check_entry(fields: dict[str, Any]) -> None:
    """Hold an entry against the schemas, once for each action and set of fields: validating takes long."""
    shape = (fields["action"], frozenset(fields["detail"]), *(type(value) for value in fields["detail"].values()))
    if shape not in _seen:
        _seen.add(shape)
        _ENTRY.validate(fields)
        assert fields["action"] in _DETAILS, f"describe {fields['action']} in {DETAIL_SCHEMA_FILE.name}"
        _DETAILS[fields["action"]].validate(fields["detail"])
        unknown = set(fields["detail"]) - set(_DETAILS[fields["action"]].schema["properties"])
        free = fields["action"] == Action.LOG_READ
        assert free or not unknown, f"{fields['action']}: describe {unknown} in {DETAIL_SCHEMA_FILE.name}"


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class Vault:
    """The vault as control sees it: it signs receipts and gives back what was staged."""

    def __init__(self, public_key_file: Path) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.staged: dict[tuple[str, str], bytes] = {}
        self.fetched: list[str] = []
        self.published: dict[tuple[str, int], str] = {}
        self.orders: list[dict[str, Any]] = []
        self.identified: list[dict[str, Any]] = []
        self.down = False
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        public_key_file.write_bytes(public)

    def stage(self, ticket: str, content: bytes, *, findings: list[dict[str, Any]] | None = None, **other: Any) -> str:
        claims = jwt.decode(ticket, options={"verify_signature": False})
        sha256 = hashlib.sha256(content).hexdigest()
        self.staged[claims["export"], sha256] = content
        body = {
            "iss": "strongroom:vault",
            "aud": "strongroom:control",
            "export": claims["export"],
            "index": claims["index"],
            "name": claims["name"],
            "sha256": sha256,
            "bytes": len(content),
            "type": claims["name"].rpartition(".")[2],
            "findings": findings or [{"check": "type", "severity": "pass", "text": "fine", "evidence": {}}],
        }
        return jwt.encode(body | other, self.key, algorithm="EdDSA")

    def taken_in(self, dataset: str, version: int, manifest: dict[str, Any], report: dict[str, Any] | None) -> str:
        claims = {"dataset": dataset, "version": version, "manifest": manifest, "report": report, "act": "taken-in"}
        parties = {"iss": "strongroom:vault", "aud": "strongroom:control"}
        return jwt.encode({**parties, **claims}, self.key, algorithm="EdDSA")

    def publish(self, *, dataset: str, version: int, jws: str) -> None:
        if self.down:
            raise Problem(503, "vault-unavailable", "The vault cannot be asked now", "It is down.", next="Wait.")
        self.published[dataset, version] = jws

    def key_operation(self, ticket: str) -> dict[str, Any]:
        if self.down:
            raise Problem(503, "vault-unavailable", "The vault cannot be asked now", "It is down.", next="Wait.")
        claims = jwt.decode(ticket, options={"verify_signature": False})
        self.orders.append(claims)
        if claims["operation"] == "shred":
            return {"removed": [f"table:{name}" for name in claims["columns"] or ["age"]]}
        return {
            "status": {"current": "local:1", "generations": ["local:1"], "wrapped": {"local:1": 3}},
            "rotate": {"before": "local:1", "current": "local:2"},
            "rekey": {"current": "local:2", "exchanged": 3, "left": 0},
            "destroy": {"destroyed": claims.get("generation"), "generations": ["local:2"]},
        }[claims["operation"]]

    def identify(self, ticket: str) -> dict[str, str]:
        """Of the tokens `T-N` it knows all but `T-0`."""
        if self.down:
            raise Problem(503, "vault-unavailable", "The vault cannot be asked now", "It is down.", next="Wait.")
        claims = jwt.decode(ticket, options={"verify_signature": False})
        self.identified.append(claims)
        return {token: f"value of {token}" for token in claims["tokens"] if token != "T-0"}

    def fetch(self, *, export: str, sha256: str, ticket: str) -> bytes:
        self.fetched.append(ticket)
        return self.staged[export, sha256]


class Hub:
    """The hub's half of the OAuth round trip: codes are `code-NAME`, tokens `token-NAME`."""

    def __init__(self) -> None:
        self.logged_out: set[str] = set()
        self.verifiers: list[str] = []
        self.groups: dict[str, tuple[str, ...]] = {}

    def new_verifier(self) -> tuple[str, str]:
        return "a-verifier", "its-challenge"

    def authorize_url(self, state: str, challenge: str) -> str:
        return f"/hub/api/oauth2/authorize?client_id=service-control&state={state}&code_challenge={challenge}"

    def token_for(self, code: str, verifier: str) -> str:
        self.verifiers.append(verifier)
        return "token-" + code.removeprefix("code-")

    def user_of(self, token: str) -> HubUser | None:
        user = token.removeprefix("token-")
        return None if user in self.logged_out else HubUser(user, self.groups.get(user, ()))


class Line:
    """A connection to the door of cells, as a notebook server keeps it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))

    def __del__(self) -> None:
        self.socket.close()

    def ask(self, message: Mapping[str, Any]) -> Any:
        """The answer; a refusal comes back as Problem."""
        return self.ask_raw(json.dumps(message).encode())

    def ask_raw(self, body: bytes) -> Any:
        with suppress(BrokenPipeError):  # refused by its length alone
            self.socket.sendall(frames.HEADER.pack(len(body)) + body)
        answer, _ = frames.receive(self.socket, limit=cell_door.MAX_BYTES)
        if not answer.pop("ok"):
            problem = Problem.from_json(answer["problem"])
            assert problem.detail, answer
            assert problem.next, answer
            raise problem
        return answer


class Client(TestClient):
    """Control's two doors for notebook servers: HTTP, and the one of cells."""

    door: Path


class Caller:
    """One bearer of a token at the internal API and the door of cells; refusals come back as Problem."""

    def __init__(self, client: Client, token: str) -> None:
        self.client = client
        self.token = token
        self._line: Line | None = None

    def line(self) -> Line:
        """A connection of its own at the door of cells. Raises Problem where this token opens nothing."""
        line = Line(self.client.door)
        line.ask({"v": 1, "credential": self.token})
        return line

    def _ask(self, message: Mapping[str, Any]) -> Any:
        self._line = self._line or self.line()
        return self._line.ask(message)

    def begin(self, **cell: Any) -> Any:
        """Begin a cell."""
        return self._ask({"op": "begin", **cell})

    def end(self, entry: int, **end: Any) -> int:
        """End a cell; the answer is the entry's index."""
        fields = {"status": "ok", "shown": 0, "withheld": 0, "charged": 0, "outputs": [], "duration_ms": 1}
        (told,) = self._ask({"op": "end", "ends": [{"entry": entry, **fields, **end}]})["ends"]
        if not told["ok"]:
            raise Problem.from_json(told["problem"])
        return int(told["entry"])

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = self.client.request(
            method, f"/internal/v1/{path}", json=body, headers={"Authorization": f"Bearer {self.token}"}
        )
        return unwrap(answer)


class Person:
    """A browser of somebody logged in at the console."""

    def __init__(self, enclave: Enclave, user: str) -> None:
        self.client = TestClient(enclave.public, base_url="https://strongroom.test", follow_redirects=False)
        began = self.client.get("/services/control/")
        state = began.headers["location"].partition("state=")[2].partition("&")[0]
        done = self.client.get("/services/control/oauth_callback", params={"code": f"code-{user}", "state": state})
        assert done.status_code == 302, done.text

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        return unwrap(self.raw(method, path, body, **query))

    def raw(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        headers = {"X-XSRFToken": self.client.cookies["_strongroom_xsrf"]}
        return self.client.request(method, f"/services/control/api/v1/{path}", json=body, params=query, headers=headers)


def unwrap(answer: Any) -> Any:
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
        body = answer.json()
        assert body["detail"], body
        assert body["next"], body
        raise Problem.from_json(body)
    if not answer.content:
        return None
    return answer.json() if answer.headers["content-type"] == "application/json" else answer.content


@dataclass
class Enclave:
    instance: Instance
    clock: Clock
    context: Context
    writer: AuditWriter
    vault: Vault
    hub: Hub = field(default_factory=Hub)

    def __post_init__(self) -> None:
        principals = Principals.load(setup.principals_file(self.instance))
        self.internal = create_internal(self.context, self.writer, principals)
        self.public = create_public(self.context, self.writer, self.hub)
        client = Client(self.internal, raise_server_exceptions=False)
        client.door = Path(tempfile.mkdtemp(prefix="sr")) / "cells.sock"
        self.door_of_cells = cell_door.CellDoor(self.context, self.writer, listen_unix(client.door))
        self.door_of_cells.start()
        self.client = client
        self.hub_caller = Caller(client, HUB_TOKEN)
        self.operator = Caller(client, OPERATOR_TOKEN)
        self.housekeeper = Housekeeper(self.context, self.writer)

    def person(self, user: str) -> Person:
        return Person(self, user)

    def project(self, name: str = "cardio", **window: str) -> None:
        self.operator("POST", "projects", {"name": name, "title": name.title(), "purpose": "To learn.", **window})

    def account(self, user: str) -> None:
        self.operator(
            "POST",
            "accounts",
            {"user": user, "full_name": user.title(), "password": PASSWORD, "otp_secret": OTP_SECRET},
        )

    def otp(self, *, steps: int = 0) -> str:
        totp = TOTP(base64.b32decode(OTP_SECRET), 6, SHA1(), 30)  # noqa: S303 - what authenticators speak
        return totp.generate(self.clock().timestamp() + 30 * steps).decode()

    def login(self, user: str = "analyst", password: str = PASSWORD, otp: str | None = None) -> Any:
        body = {"user": user, "password": password, "otp": otp or self.otp(), "address": "127.0.0.1"}
        return self.hub_caller("POST", "logins", body)

    def server(self, user: str = "analyst", project: str = "cardio", groups: tuple[str, ...] = ()) -> Caller:
        made = self.hub_caller("POST", "servers", {"user": user, "project": project, "groups": groups})
        caller = Caller(self.client, made["credential"])
        caller.made = made  # type: ignore[attr-defined]
        return caller

    def kernel(self, server: Caller, tier: str = "bubblewrap") -> str:
        kernel = f"kernel-{secrets.token_hex(4)}"
        server("POST", "kernels", {"kernel": kernel, "notebook": "day.ipynb", "tier": tier})
        return kernel

    def dataset(
        self,
        name: str = "health/randhie",
        label: str = "confidential",
        columns: tuple[str, ...] = ("person_id", "age", "visits"),
        tags: Mapping[str, list[str]] | None = None,
        rows: int = 100,
        types: Mapping[str, str] | None = None,
        companions: Mapping[str, Any] | None = None,
    ) -> int:
        described = [{"name": c, "description": f"the {c}", "tags": (tags or {}).get(c, [])} for c in columns]
        body = {
            "name": name,
            "title": name.title(),
            "description": "A dataset.",
            "label": label,
            "owner": "steward",
            "stewards": ["steward"],
            "source": "a package",
            "licence": "CC0",
            "columns": described,
        }
        version = self.operator("POST", "datasets", body)["version"]
        manifest = {
            "format": "strongroom-manifest/2",
            "dataset": name,
            "version": version,
            "kind": "table",
            "label": label,
            "rows": rows,
            "columns": [{"name": c, "type": (types or {}).get(c, "Int64")} for c in columns],
            "parts": [],
            "companions": companions or {},
        }
        self.fill(manifest)
        return int(version)

    def fill(self, manifest: dict[str, Any]) -> None:
        """Have a draft taken in by the vault, without anything to decide, and made visible."""
        dataset, version = manifest["dataset"], manifest["version"]
        path, receipt = f"datasets/{dataset}/{version}", self.vault.taken_in(dataset, version, manifest, None)
        self.operator("POST", f"{path}/loaded", {"receipt": receipt})
        self.operator("POST", f"{path}/decision", {"decision": None})

    def grant(self, server: Caller, dataset: str = "health/randhie", **decision: Any) -> Any:
        asked = server(
            "POST", "access-requests", {"dataset": dataset, "columns": None, "purpose": "To learn.", "days": 30}
        )
        return self.person("steward")(
            "POST", f"access-requests/{asked['id']}/decision", {"verdict": "approve", **decision}
        )

    def read(self, server: Caller, kernel: str, dataset: str = "health/randhie", **more: Any) -> Any:
        return server("POST", "reads", {"kernel": kernel, "cell": 0, "dataset": dataset, **more})

    def claims(self, ticket: str) -> dict[str, Any]:
        key = load_pem_public_key((self.instance.public_dir / "control.pub.pem").read_bytes())
        return jwt.decode(
            ticket,
            key,  # type: ignore[arg-type]
            algorithms=["EdDSA"],
            audience="strongroom:vault",
            issuer="strongroom:control",
            options={"verify_exp": False, "verify_iat": False},
        )

    def entries(self, action: str | None = None) -> list[dict[str, Any]]:
        """Oldest first."""
        return reader.entries(self.context.engine, action=action, limit=1000)[::-1]

    def edit_policy(self, old: str, new: str) -> None:
        file = self.instance.policy_dir / "policy.csv"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
        self.context.policy.poll(self.writer)

    def add_policy(self, rows: str) -> None:
        with (self.instance.policy_dir / "policy.csv").open("a", encoding="utf-8") as file:
            file.write(rows)
        self.context.policy.poll(self.writer)

    def restarted(self) -> Enclave:
        """A second life on the same data."""
        self.close()
        return open_enclave(self.instance, self.clock, self.vault)

    def close(self) -> None:
        """Every entry that a test made must be what the published schemas say."""
        self.door_of_cells.close()
        shutil.rmtree(self.client.door.parent, ignore_errors=True)
        self.writer.close()
        with self.context.engine.connect() as connection:
            for (leaf,) in connection.execute(select(LogEntry.leaf)):
                check_entry(json.loads(leaf))
        self.context.engine.dispose()


def word(enclave: Enclave, key: Ed25519PrivateKey | None = None, **claims: Any) -> dict[str, str]:
    """What the vault says, signed as it does, or with another key."""
    parties = {"iss": "strongroom:vault", "aud": "strongroom:control"}
    return {"receipt": jwt.encode({**parties, **claims}, key or enclave.vault.key, algorithm="EdDSA")}


def make_instance(folder: Path, **changes: Any) -> Instance:
    instance = Instance(
        data=folder / "data",
        run=folder / "run",
        public_url="https://127.0.0.1:8443/",
        proxy_api_port=1,
        hub_port=2,
        control_port=3,
        node="node",
        proxy_script="proxy",
        server_python="python",
        kernel_prefix="kernel",
        **changes,
    )
    for made in (instance.control_dir, instance.hub_dir, instance.public_dir, instance.policy_dir):
        made.mkdir(parents=True)
    instance.hub_token_file.write_text(HUB_TOKEN + "\n")
    instance.operator_token_file.write_text(OPERATOR_TOKEN + "\n")
    instance.metrics_token_file.write_text(METRICS_TOKEN + "\n")
    for name in FILES:
        shutil.copy(POLICY / name, instance.policy_dir / name)
    # tests here change the rules, and the default rules' own tests would refuse that
    (instance.policy_dir / "tests.csv").write_text("# none\n")
    return instance


def open_enclave(instance: Instance, clock: Clock, vault: Vault) -> Enclave:
    context = open_context(instance)
    keys = setup.keys_dir(instance)
    context = replace(
        context,
        clock=clock,
        bounds=Bounds.of(clock),
        policy=policy_keeper(instance, context.engine, clock),
        tickets=TicketSigner(load_private_key(keys / setup.CONTROL_KEY), clock),
        vault=vault,
        witnessing=Witnessing(
            instance.audit, context.engine, context.log_keys, folder=instance.control_dir, clock=clock
        ),
    )
    writer = open_writer(context.engine, context.log_keys)
    context.policy.start(writer)
    return Enclave(instance, clock, context, writer, vault)
