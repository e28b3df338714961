"""Giving up root: what the program gets, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from strongroom_hub import run_as

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing the uid needs root")
# Far from the uids of instances, so that --end-all meets nobody else's process.
UID = 299_000_000 + os.getpid()
PYTHON = "/usr/bin/python3"
LOOK = (
    "import json, os; s = dict(l.split(':', 1) for l in open('/proc/self/status'));"
    "print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(), s['NoNewPrivs'].strip(), s['Umask'].strip(),"
    "s['CapEff'].strip(), sorted(map(int, os.listdir('/proc/self/fd')))]))"
)


def run(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, **options)


@needs_root
def test_everything_is_given_up():
    with Path("/etc/passwd").open() as inherited:
        os.set_inheritable(inherited.fileno(), True)
        done = run(run_as.wrap(sys.executable, UID, [PYTHON, "-c", LOOK]), pass_fds=[inherited.fileno()])
    uids, gids, groups, no_new_privs, umask, capabilities, descriptors = json.loads(done.stdout)
    assert uids == gids == [UID] * 3
    assert groups == []
    assert no_new_privs == "1"
    assert umask == "0077"
    assert int(capabilities, 16) == 0
    assert descriptors in ([0, 1, 2], [0, 1, 2, 3])  # 3: the listing itself


@needs_root
def test_there_is_no_way_back():
    back = "import os\ntry:\n    os.setresuid(0, 0, 0)\nexcept PermissionError:\n    print('refused')"
    assert run(run_as.wrap(sys.executable, UID, [PYTHON, "-c", back])).stdout == "refused\n"


def test_one_uid_mode_keeps_the_uid_and_does_the_rest():
    done = run(run_as.wrap(sys.executable, None, [PYTHON, "-c", LOOK]))
    uids, _, _, no_new_privs, umask, *_ = json.loads(done.stdout)
    assert uids == [os.geteuid()] * 3
    assert (no_new_privs, umask) == ("1", "0077")


@pytest.mark.parametrize("uid", ["0", "00", "root", "-1", "+5", "1.5", "", " 7", "٣", str(2**32 - 1), str(2**32)])
def test_no_uid_and_root_are_refused(uid):
    with pytest.raises(run_as.RunAsError):
        run_as.parse_uid(uid)
    done = run([sys.executable, "-I", "-S", run_as.__file__, uid, "--", "/bin/echo", "ran"])
    assert done.returncode == run_as.SAME_AS_PARENT
    assert "ran" not in done.stdout


@pytest.mark.parametrize("arguments", [[], ["5"], ["5", "--"], ["5", "--odd", "--", "true"], ["-", "--end-all", "x"]])
def test_wrong_calls_are_refused(arguments):
    assert run([sys.executable, "-I", "-S", run_as.__file__, *arguments]).returncode == run_as.USAGE


def test_the_environment_reaches_only_the_program(tmp_path):
    trap = tmp_path / "sitecustomize.py"
    trap.write_text("print('imported')", encoding="utf-8")
    command = run_as.wrap(sys.executable, None, ["/usr/bin/env"])
    done = run(command, env={"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(trap)}, cwd=tmp_path)
    assert "imported" not in done.stdout
    assert f"PYTHONPATH={tmp_path}" in done.stdout


@pytest.mark.parametrize("kill", [True, False])
def test_the_program_dies_with_its_parent(kill):
    """An outer process starts the wrapped one, prints its pid, and is killed."""
    inner = run_as.wrap(
        sys.executable, UID if os.geteuid() == 0 else None, ["/bin/sleep", "600"], kill_with_parent=kill
    )
    outer = f"import subprocess, time; p = subprocess.Popen({inner!r}); print(p.pid, flush=True); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    comm = Path(f"/proc/{child}/comm")
    deadline = time.monotonic() + 10
    while comm.read_text(encoding="ascii").strip() != "sleep":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    while Path(f"/proc/{child}").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text(encoding="ascii"):
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.05)


@needs_root
def test_end_all_kills_that_uid_and_nobody_else():
    others = subprocess.Popen(["/bin/sleep", "600"])
    mine = subprocess.Popen(run_as.wrap(sys.executable, UID, ["/bin/sleep", "600"]), start_new_session=True)
    try:
        comm = Path(f"/proc/{mine.pid}/comm")
        deadline = time.monotonic() + 10
        while comm.read_text(encoding="ascii").strip() != "sleep":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert run(run_as.wrap_end_all(sys.executable, UID)).returncode == 0
        assert mine.wait(10) == -signal.SIGKILL
        assert others.poll() is None
        assert run(run_as.wrap_end_all(sys.executable, UID)).returncode == 0
    finally:
        others.kill()
        others.wait()
        mine.kill()
        mine.wait()
