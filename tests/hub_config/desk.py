"""Making exports in tests: what a server does between a person's request and the review."""

from __future__ import annotations

import hashlib
from typing import Any

from enclave import Caller, Enclave

TABLE = b"year,mean,n\n1,2.5,100\n2,2.75,120\n"


def draft(server: Caller, files: dict[str, bytes] | None = None, cells: list[int] | None = None) -> dict[str, Any]:
    wanted = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in (files or {"table.csv": TABLE}).items()
    ]
    body = {"justification": "For the report.", "files": wanted, "cells": cells or []}
    return server("POST", "exports", body)


def export(
    enclave: Enclave,
    server: Caller,
    files: dict[str, bytes] | None = None,
    findings: list[dict[str, Any]] | None = None,
    cells: list[int] | None = None,
) -> dict[str, Any]:
    contents = files or {"table.csv": TABLE}
    made = draft(server, contents, cells)
    receipts = [
        enclave.vault.stage(ticket, content, findings=findings)
        for ticket, content in zip(made["tickets"], contents.values(), strict=True)
    ]
    return server("POST", f"exports/{made['id']}/submit", {"receipts": receipts})


def reading(enclave: Enclave, dataset: str = "health/randhie", user: str = "analyst") -> tuple[Caller, str]:
    """A server whose workspace has read the dataset, and its kernel."""
    server = enclave.server(user)
    kernel = enclave.kernel(server)
    enclave.grant(server, dataset)
    enclave.read(server, kernel, dataset)
    return server, kernel


def vote(enclave: Enclave, user: str, export_id: str, verdict: str = "approve") -> dict[str, Any]:
    return enclave.person(user)("POST", f"exports/{export_id}/votes", {"verdict": verdict, "comment": "seen"})
