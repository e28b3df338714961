"""Tries the boxes of this machine: `python -m strongroom_kernels.trial FOLDER KERNEL_PREFIX`, unprivileged.

Prints one JSON object: `{"checks": [CHECK, ...], "tiers": {TIER: [FINDING, ...]}, "families": [NUMBER, ...]}`. FINDING
is `{"check","severity","text"}`; `families` are the socket families, of all that Linux has, that open inside a box of
tier bubblewrap (null where no such box holds). FOLDER is this user's own and empty, with a short name: sockets are made
below it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from strongroom_kernels.box import Box, BoxError, Places
from strongroom_kernels.folders import KernelFolder
from strongroom_kernels.log import OutputLog
from strongroom_kernels.probe import Finding, Severity, checks, probe
from strongroom_kernels.sandbox import TIERS, sandbox_of
from strongroom_kernels.starting import start_failure

DEFAULT = "bubblewrap"
_SECONDS = 20.0
_FAMILIES = r"""
import json, socket
opened = []
for family in range(64):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind).close()
        except OSError:
            continue
        opened.append(family)
        break
print(json.dumps(opened))
"""


def places(folder: Path, prefix: Path) -> Places:
    """Folders like those of a server, below `folder`."""
    for name in ("r", "work", "notebooks", "data"):
        (folder / name).mkdir(mode=0o700)
    return Places(
        run_dir=folder / "r",
        work=folder / "work",
        notebooks=folder / "notebooks",
        prefix=prefix,
        data_socket=folder / "data" / "data.sock",
    )


def families(place: Places) -> list[int]:
    """The numbers of the socket families that open inside a box. Raises BoxError, ValueError."""
    folder = KernelFolder.of(place.run_dir, "families")
    folder.create()
    log = OutputLog(folder.log)
    try:
        box = Box(
            work=place.work,
            notebooks=place.notebooks,
            prefix=place.prefix,
            ask=folder.ask,
            data=place.data_socket.parent,
            sockets=folder.sockets,
        )
        boxed = sandbox_of(DEFAULT).start(box, ["exec", "python", "-c", _FAMILIES], log)
        deadline = time.monotonic() + _SECONDS
        while boxed.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        boxed.kill()
        boxed.close()
    finally:
        log.close()
    if not log.ready.is_set():
        raise BoxError(start_failure(log))
    found: list[int] = json.loads(log.head().splitlines()[-1])
    folder.remove()
    return found


def _tried(tier: str, place: Places) -> list[Finding]:
    try:
        return probe(sandbox_of(tier), place)
    except BoxError as error:
        return [Finding("start", Severity.FAILURE, str(error))]


def main(arguments: list[str]) -> None:
    """Try, and print what was found."""
    folder, prefix = map(Path, arguments)
    place = places(folder, prefix)
    tiers = {tier: [asdict(finding) for finding in _tried(tier, place)] for tier in TIERS}
    sound = not any(finding["severity"] == Severity.FAILURE for finding in tiers[DEFAULT])
    opened = families(place) if sound else None
    print(json.dumps({"checks": [asdict(check) for check in checks()], "tiers": tiers, "families": opened}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
