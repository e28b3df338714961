"""What a box gets from the process that builds it: three streams, and no answer about the host's paths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from strongroom_kernels.box import Box
from strongroom_kernels.bubblewrap import Bubblewrap
from strongroom_kernels.log import OutputLog
from strongroom_kernels.provisioner import StrongroomProvisioner

from tests.kernels.conftest import run_unprivileged


def test_a_box_inherits_no_open_file(python_inside: Callable[..., str]) -> None:
    code = "import json, os\nlisted = os.listdir('/proc/self/fd')\nprint(json.dumps(sorted(map(int, listed))))"
    assert json.loads(python_inside(code, Bubblewrap())) == [0, 1, 2, 3]  # the fourth is the listing's own


CLOSE = """
import json, os, sys
from strongroom_kernels.launcher import close_inherited
kept = int(sys.argv[1])
close_inherited({kept})
print(json.dumps([[int(name) for name in os.listdir("/proc/self/fd")], os.get_inheritable(kept)]))
"""


def test_the_launcher_closes_what_it_was_left_and_hands_nothing_on() -> None:
    """Where no bubblewrap stands before it, this is the only wall."""
    left, kept, right = (os.open("/dev/null", os.O_RDONLY) for _ in range(3))
    try:
        command = [sys.executable, "-c", CLOSE, str(kept)]
        told = subprocess.run(command, pass_fds=(left, kept, right), capture_output=True, check=True).stdout
    finally:
        for descriptor in (left, kept, right):
            os.close(descriptor)
    still_open, inheritable = json.loads(told)
    assert kept in still_open
    assert len(still_open) == 5, "beside the three streams, the one kept and the listing's own"
    assert inheritable is False


def test_bubblewrap_itself_has_an_empty_environment(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The box's first process keeps it and would show it inside, whatever `--clearenv` does for the second."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "a-token-of-the-hub")

    def environments() -> list[bytes]:
        log = OutputLog(box.work.parent / "output")
        boxed = Bubblewrap().start(box, ["exec", "python", "-c", "import time; time.sleep(30)"], log)
        try:
            assert log.ready.wait(20)
            outer = boxed.pid
            inner = Path(f"/proc/{outer}/task/{outer}/children").read_text("ascii").split()
            return [Path(f"/proc/{pid}/environ").read_bytes() for pid in (outer, *inner)]
        finally:
            boxed.kill()
            boxed.close()
            log.close()

    found = run_unprivileged(environments)
    assert len(found) > 1
    assert set(found) == {b""}


@pytest.mark.parametrize("path", ["/etc/passwd", "/does/not/exist", "/", ".", "notebooks/a.ipynb"])
def test_the_provisioner_resolves_no_path(path: str) -> None:
    assert StrongroomProvisioner().resolve_path(path) is None
