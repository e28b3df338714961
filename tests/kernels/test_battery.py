"""The battery of attacks, run from inside a box of each tier, with decoys under the same host uid beside it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from strongroom_kernels.box import TIERS, Box, BoxError
from strongroom_kernels.folders import remove_tree
from strongroom_kernels.gvisor import find_runsc
from strongroom_kernels.launcher import SCOPE_ABI, landlock_abi
from strongroom_kernels.sandbox import Sandbox, sandbox_of

from tests.kernels import attacks
from tests.kernels.attacks import TABLE, Attack
from tests.kernels.conftest import UID, run_in_box, run_unprivileged
from tests.kernels.decoys import decoys
from tests.kernels.removals import REMOVALS, Removal, Without

_SCRIPT, _DECOYS = "/opt/strongroom/attacks.py", "/opt/strongroom/decoys.json"
_GROUP = Path("/sys/fs/cgroup/pids") / f"strongroom-battery-{os.getpid()}"


@pytest.fixture(scope="module")
def beside() -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder with the decoys, and what they say of themselves."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="sr-decoys-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        if root:
            os.chown(folder, UID, UID)
        with decoys(folder, UID if root else None) as told:
            yield folder, told


@pytest.fixture(scope="module")
def group() -> Iterator[str]:
    """The name of a control group that those who start boxes are in; of none where there are none to be made."""
    try:
        _GROUP.mkdir()
    except OSError:
        yield _GROUP.name
        return
    yield _GROUP.name
    for _ in range(100):
        with contextlib.suppress(OSError):  # while a process in it still ends
            _GROUP.rmdir()
            break
        time.sleep(0.05)


Battery = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def battery(beside: tuple[Path, dict[str, Any]], group: str, kernel_prefix: Path) -> Battery:
    """`battery(sandbox, *only)`: attack -> outcome, of all or of these, in a box made for it."""

    def run(sandbox: Sandbox, *only: str) -> dict[str, str]:
        folder = Path(tempfile.mkdtemp(prefix="sr-user-", dir="/tmp"))
        folder.chmod(0o755)
        paths = {name: folder / name for name in ("work", "notebooks", "ask", "data", "sockets")}
        for path in paths.values():
            path.mkdir()
        (paths["notebooks"] / "seen.ipynb").write_text("{}")
        if os.geteuid() == 0:
            for path in (folder, *paths.values(), paths["notebooks"] / "seen.ipynb"):
                os.chown(path, UID, UID)
        box = Box(prefix=kernel_prefix, tier=sandbox.name, **paths)
        mounted = sandbox.name != "launcher"
        told = {
            **beside[1],
            "only": only,
            "tier": sandbox.name,
            "cgroup": group,
            "user-folder": folder.name,
            "ask": "/run/strongroom/server" if mounted else str(box.ask),
            "data": "/run/strongroom/vault" if mounted else str(box.data),
            "sockets": sandbox.sockets(box),
            "tmp-bytes": box.limits.tmp_bytes,
            "shm-bytes": box.limits.shm_bytes,
        }
        files = {_SCRIPT: Path(attacks.__file__).read_bytes(), _DECOYS: json.dumps(told).encode()}
        try:
            start = functools.partial(run_in_box, sandbox, box, "python", _SCRIPT, _DECOYS, files=files)
            said = run_unprivileged(start, join=_GROUP)[1]
            return dict(json.loads(said.splitlines()[-1]))
        finally:
            remove_tree(folder)

    return run


@functools.cache
def missing(tier: str) -> str:
    """Why this tier cannot be tried on this machine; empty where it can."""
    if tier == "gvisor":
        try:
            find_runsc()
        except BoxError as error:
            return str(error)
    if tier == "launcher" and landlock_abi() < SCOPE_ABI:
        return f"the tier launcher needs Landlock ABI {SCOPE_ABI}, and this Linux has {landlock_abi()}"
    return ""


@pytest.fixture(scope="module")
def outcomes(battery: Battery) -> Callable[[str], dict[str, str]]:
    return functools.cache(lambda tier: battery(sandbox_of(tier), *held_in(tier)))


def held_in(tier: str) -> list[str]:
    return [attack.name for attack in TABLE.values() if tier in attack.held_by]


@pytest.mark.parametrize("tier", TIERS)
def test_the_battery_runs_in_every_tier(tier: str, outcomes: Callable[[str], dict[str, str]]) -> None:
    if missing(tier):
        pytest.skip(missing(tier))
    assert list(outcomes(tier)) == held_in(tier)


@pytest.mark.parametrize(
    ("tier", "attack"),
    [pytest.param(tier, attack, id=f"{tier}: {attack.name}") for attack in TABLE.values() for tier in attack.held_by],
)
def test_attack_is_held(tier: str, attack: Attack, outcomes: Callable[[str], dict[str, str]]) -> None:
    if missing(tier):
        pytest.skip(missing(tier))
    outcome = outcomes(tier)[attack.name]
    assert outcome != "through"
    assert outcome == "no" or outcome.isupper(), f"not refused, but failed in its own way: {outcome}"


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.name)
def test_the_battery_notices_what_is_removed(removal: Removal, battery: Battery) -> None:
    said = battery(Without(removal), *removal.noticed_by, *removal.still_held)
    assert {name for name, outcome in said.items() if outcome == "through"} == set(removal.noticed_by)


def test_every_attack_that_a_removal_names_is_held_by_the_whole_box() -> None:
    for removal in REMOVALS:
        for name in (*removal.noticed_by, *removal.still_held):
            assert "bubblewrap" in TABLE[name].held_by, (removal.name, name)
