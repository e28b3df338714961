"""One job, then the end: what a process becomes that is in its box (`boxed.py`); its stdin is a socket to the vault."""

from __future__ import annotations

import base64
import io
import os
import resource
import signal
import socket
from pathlib import Path
from typing import Any

import polars as pl

from strongroom_hub import frames
from strongroom_hub.problems import Problem
from strongroom_hub.vault import arrowfile, checks, memfd, views
from strongroom_hub.vault.jobs import ViewJob, encode_keys
from strongroom_hub.vault.parts import Mark
from strongroom_hub.vault.rehearsal import rehearse
from strongroom_hub.vault.sealing import seal_files
from strongroom_hub.vault.tickets import Plan
from strongroom_hub.vault.uploads import CHUNK, Reader, Upload
from strongroom_hub.vault.workers import MAX_JOB

_MAX_SECONDS = 900
"""For jobs that do not say how long they may take."""
_AHEAD = 2
"""Batches that a stream makes before they are asked for."""


def main(*, rehearses: bool) -> None:
    """Wait for the job, do it, answer. A vault that goes away ends this process too."""
    with socket.socket(fileno=os.dup(0)) as vault:
        if rehearses:
            rehearse()
        frames.send(vault, {"ready": True})
        try:
            job, fds = frames.receive(vault, max_fds=1, limit=MAX_JOB)
        except frames.FrameError:
            return  # the vault ended and never needed this spare
        signal.alarm(int(job.get("seconds", _MAX_SECONDS)))  # nobody may be left to kill this process
        try:
            frames.send(vault, _answer(vault, job, fds), limit=MAX_JOB)
            vault.recv(1)  # the vault ends this process when nobody waits any more for what it made
        except (OSError, frames.FrameError):
            return  # the vault let go of this job


def _answer(vault: socket.socket, job: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    memory = int(job["memory"])
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))  # what asks for more ends, before the machine does
    try:
        if job["kind"] in _TALKING:
            return {"ok": True, **_TALKING[job["kind"]](job, vault)}
        return {"ok": True, **_JOBS[job["kind"]](job, fds[0] if fds else -1)}
    except Problem as problem:
        return {"ok": False, "problem": problem.as_json()}
    except frames.FrameError:
        raise  # the vault let go of this job: there is nobody to tell
    except OSError as error:
        failure = Problem(
            507,
            "vault-full",
            "The vault's worker could not write",
            f"The {job.get('kind')} ended in: {error.strerror}.",
            next="Tell an operator that the vault's disk is full or broken; nothing was changed.",
        )
        return {"ok": False, "problem": failure.as_json()}
    except Exception as error:  # noqa: BLE001 - its words may quote data or keys: only its kind may leave
        failure = Problem(
            500,
            "worker-failed",
            "The vault's worker failed",
            f"The {job.get('kind')} ended in {type(error).__name__}.",
            next="Tell an operator; nothing was changed.",
        )
        return {"ok": False, "problem": failure.as_json()}


def _read(job: dict[str, Any], fd: int) -> dict[str, Any]:
    max_bytes = int(job["max_bytes"])
    written = views.write_view(ViewJob.from_json(job["view"]), fd, max_bytes, _wall)
    return {"rows": written.rows, "checked": written.checked}


def _identify(job: dict[str, Any], _: int) -> dict[str, Any]:
    return {"values": views.identify(ViewJob.from_json(job["view"]), job["tokens"])}


def _wall(max_bytes: int) -> None:
    """A hard wall for what the plan may write: the memory file can grow no further."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))


def _stream(job: dict[str, Any], vault: socket.socket) -> dict[str, Any]:
    """The view in batches: an empty one first, then, when the vault has said which rows and columns, all of them."""
    view_job, most = ViewJob.from_json(job["view"]), int(job["most"])
    checked: dict[str, Mark] = {}
    with views.open_view(view_job, checked) as view:
        about = {"checked": checked, "of": None if view_job.rows else view_job.table.rows}
        _hand_over(vault, view.head(0).collect(), about)
        wish = views.Wish.parse(_asked(vault, job).get("wish", {}))
        rows, free = 0, _AHEAD
        for batch in views.batches(view_job, view, wish, most):
            if not free:
                _asked(vault, job)
                free += 1
            _hand_over(vault, batch, {})
            free -= 1
            rows += batch.height
    return {"end": True, "rows": rows}


def _asked(vault: socket.socket, job: dict[str, Any]) -> dict[str, Any]:
    """What the vault says next, however long that takes: a vault that ends closes the socket."""
    signal.alarm(0)
    said, _ = frames.receive(vault, limit=MAX_JOB)
    signal.alarm(int(job["seconds"]))
    return said


def _hand_over(vault: socket.socket, batch: pl.DataFrame, about: dict[str, Any]) -> None:
    fd = memfd.create("strongroom-batch")
    try:
        with arrowfile.ArrowFile(fd, batch.schema) as file:
            file.add(batch)
        frames.send(vault, {"ok": True, "rows": batch.height, **about}, [fd], limit=MAX_JOB)
    finally:
        os.close(fd)


def _upload(job: dict[str, Any], vault: socket.socket) -> Reader:
    """The file that was sent: its pieces come from the vault, which alone can open them."""

    def piece(number: int) -> bytes:
        frames.send(vault, {"piece": number})
        _, fds = frames.receive(vault, max_fds=1)
        with os.fdopen(fds[0], "rb") as content:
            return content.read()

    upload = Upload(Path(job["upload"]), base64.b64decode(job["key"]), piece)
    return Reader(upload, job["sizes"])


def _ingest(job: dict[str, Any], vault: socket.socket) -> dict[str, Any]:
    # readers of many formats, that no other job should wait for
    from strongroom_hub.vault import ingest  # noqa: PLC0415

    target = ingest.Target(Path(job["folder"]), job["dataset"], job["version"], job["label"])
    plan = Plan.model_validate(job["plan"])
    with io.BufferedReader(_upload(job, vault), CHUNK) as stream:
        taken = ingest.take_in(stream, job["format"], plan, target, part_bytes=job["part_bytes"])
    return {
        "manifest": taken.manifest.model_dump(),
        "keys": encode_keys(taken.keys),
        "twin_keys": encode_keys(taken.twin_keys),
        "report": taken.report,
        "peak_bytes": _peak(),
    }


def _seal(job: dict[str, Any], vault: socket.socket) -> dict[str, Any]:
    with io.BufferedReader(_upload(job, vault), CHUNK) as archive:
        manifest, keys = seal_files(archive, Path(job["folder"]), job["dataset"], job["version"], job["label"])
    return {"manifest": manifest.model_dump(), "keys": encode_keys(keys), "report": None, "peak_bytes": _peak()}


def _peak() -> int:
    """Bytes that this process has had in memory at most; `ru_maxrss` would begin with what the vault had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _check(job: dict[str, Any], fd: int) -> dict[str, Any]:
    views_read = [ViewJob.from_json(raw) for raw in job["views"]]
    file_type, findings = checks.check_file(fd, job["name"], checks.Limits(**job["limits"]), views_read)
    return {"type": file_type, "findings": [finding.as_json() for finding in findings]}


_JOBS = {"read": _read, "identify": _identify, "check": _check}
_TALKING = {"stream": _stream, "ingest": _ingest, "seal": _seal}
"""Jobs in the course of which more is said."""
