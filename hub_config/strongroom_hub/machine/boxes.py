"""The boxes of this machine, tried for real: the server's own Python builds one of each tier under a uid of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strongroom_hub import mounts, run_as, run_folders
from strongroom_hub.machine.check import Check, State, broken, fine, weaker

TRIAL = "strongroom_kernels.trial"
PATIENCE = 120
TIERS = ("launcher", "bubblewrap", "gvisor")
NEEDED = "bubblewrap"
"""The tier without which a machine is no Strongroom; the others matter where a profile asks for them."""
AF_UNIX = 1
PREFIX = "box: "
"""Before the tier, in the name of its check."""
_MEND = {
    "launcher": "Profiles of this tier are for boxes inside hardened pods; take sandbox = bubblewrap on one machine.",
    "bubblewrap": "Mend what is named and run `strongroom doctor` again; no kernel starts until then.",
    "gvisor": "Install runsc (Debian: apt install runsc, newer in backports), or leave no profile of tier gvisor.",
}
_TRIAL_BYTES = 16 << 20


def checks(server_python: str, kernel_prefix: str, uid: int | None) -> list[Check]:
    """Build boxes as `uid` (None: as this user) with the programs of an instance, and look from inside."""
    try:
        with _folder(uid) as folder:
            said = _tried(folder, server_python, kernel_prefix, uid)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return [_not_tried(str(error))]
    found = [Check(one["name"], State(one["state"]), one["text"], one["next"]) for one in said["checks"]]
    return [*found, *(_tier(tier, said["tiers"][tier]) for tier in TIERS), *_families(said["families"])]


def failed(tier: str, checks: list[Check]) -> Check | None:
    """Why no box of that tier may be built here; None where its trial held."""
    for check in checks:
        if check.name == PREFIX + tier:
            # A tier that is not needed counts as weaker, but nobody may start in it either.
            return None if check.state is State.FINE else check
    return _not_tried(f"it was not tried in tier {tier}")


def _not_tried(why: str) -> Check:
    return broken(
        PREFIX + NEEDED,
        f"The box could not be tried: {why}.",
        "Run `make setup` (or install the servers' and the kernels' environments), then `strongroom doctor` again.",
    )


def _tried(folder: Path, server_python: str, kernel_prefix: str, uid: int | None) -> dict[str, Any]:
    command = run_as.wrap(sys.executable, uid, [server_python, "-m", TRIAL, str(folder), kernel_prefix])
    done = subprocess.run(
        command,
        cwd="/",
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300])
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@contextlib.contextmanager
def _folder(uid: int | None) -> Iterator[Path]:
    """A short folder like a server's run folder: as root a tmpfs that follows no link."""
    with tempfile.TemporaryDirectory(prefix="sr-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if uid is None:
            yield folder
            return
        with contextlib.suppress(OSError):  # the trial itself tells what that weakens
            options = f"size={_TRIAL_BYTES},mode=0700"
            mounts.mount("strongroom", folder, "tmpfs", run_folders.KERNELS_FLAGS, options)
        try:
            os.chown(folder, uid, uid)
            yield folder
        finally:
            mounts.unmount(folder)


def _tier(tier: str, findings: list[dict[str, str]]) -> Check:
    name = PREFIX + tier
    failures = [f"{one['check']}: {one['text']}" for one in findings if one["severity"] == "failure"]
    if failures:
        make = broken if tier == NEEDED else weaker
        return make(
            name, f"A box of this tier does not hold here, so none starts. {' '.join(failures)}"[:900], _MEND[tier]
        )
    told = " ".join(one["text"] for one in findings)
    return fine(name, f"A box was built and looked at from inside: it holds.{' But: ' + told if told else ''}")


def _families(opened: list[int] | None) -> list[Check]:
    if opened is None:
        return []
    name = "socket families"
    beyond = [number for number in opened if number != AF_UNIX]
    if beyond:
        told = ", ".join(map(str, beyond))
        return [
            broken(name, f"Inside a box sockets of families {told} open.", "Report this as a defect of Strongroom.")
        ]
    return [fine(name, "Inside a box no socket opens but unix ones: no network, no vsock, no netlink.")]
