"""What happens when a part dies, and what no process of the instance ever shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from processes import below, command_of, descendants, environment_of, wait_until
from strongroom_hub.problems import Problem
from strongroom_hub.tour.notebook import Notebook
from strongroom_hub.tour.person import TourError

pytestmark = pytest.mark.e2e

PATIENCE = 60


def service(running, word: str) -> int:
    """The one process of a service: not the wrapper that drops privileges, not a worker."""
    found = [pid for pid in below(running.hub_pid, word) if command_of(pid).endswith(f"python -m {word}")]
    assert len(found) == 1, [command_of(pid) for pid in descendants(running.hub_pid)]
    return found[0]


def verify(running) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("strongroom")), "audit", "verify"],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "STRONGROOM_INSTANCE": str(running.instance.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_until_it_works(notebook: Notebook, code: str, patience: float = PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        cell = notebook.run(code)
        if cell.status == "ok" or time.monotonic() > deadline:
            return cell
        time.sleep(1)


def test_control_killed_during_a_cell(running, people):
    with Notebook(people.server("analyst2", "cardio"), "control.ipynb") as notebook:
        before = notebook.run("import time; x = 1; print('alive')")
        assert "alive" in before.text
        running_cell: list = []
        thread = threading.Thread(
            target=lambda: running_cell.append(notebook.run("time.sleep(4); x = 2; print('done')"))
        )
        thread.start()
        time.sleep(1.5)
        victim = service(running, "strongroom_hub.control")
        os.kill(victim, signal.SIGKILL)
        thread.join(PATIENCE)
        assert running_cell, "the cell that was running never ended"
        during = notebook.run("x = 3")
        if during.status == "error":
            assert "not run" in during.error, during.error
        after = run_until_it_works(notebook, "print('x is', x)")
        assert after.status == "ok", after.error
        expected = 2 if during.status == "error" else 3
        assert f"x is {expected}" in after.text, "a refused cell ran, or a running one was lost"
        assert after.seal["entry"] > before.seal["entry"]
    verified = verify(running)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_vault_killed_during_a_read(running, people):
    with Notebook(people.server("analyst2", "cardio"), "vault.ipynb") as notebook:
        ready = notebook.run("import strongroom\nprint(strongroom.open('transport/flights').to_pandas().shape)")
        assert "336776" in ready.text, ready.error
        reading = "strongroom.open('transport/flights', columns=['year', 'month'])"
        code = f"import time\nfor _ in range(60):\n    {reading}\n    time.sleep(0.1)"
        ended: list = []
        thread = threading.Thread(target=lambda: ended.append(notebook.run(code)))
        thread.start()
        time.sleep(1.5)
        os.kill(service(running, "strongroom_hub.vault"), signal.SIGKILL)
        thread.join(PATIENCE)
        assert ended
        assert ended[0].status == "error"
        assert "vault" in ended[0].error.lower()
        assert "Traceback" not in ended[0].error
        again = run_until_it_works(notebook, "print(strongroom.open('transport/flights').to_pandas().shape)")
        assert "336776" in again.text, again.error


def test_server_killed_leaves_no_kernel(running, people):
    server = people["analyst2"].open_project("cardio")
    with Notebook(server, "orphan.ipynb") as notebook:
        notebook.run("import subprocess\np = subprocess.Popen(['sleep', '3600'], start_new_session=True)")
        servers = below(running.hub_pid, "strongroom_lab.main")
        victim = next(pid for pid in servers if server_of(pid) == "analyst2/cardio")
        family = [victim, *descendants(victim)]
        assert len(family) >= 3, "no sandboxed kernel below the server"
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in family), 20, "all processes of the killed server gone")
    wait_until(lambda: people["analyst2"].follow("/hub/home").status_code == 200, PATIENCE, "the hub still answers")
    reopened = open_when_possible(people["analyst2"], "cardio")
    with Notebook(reopened, "orphan2.ipynb") as notebook:
        assert "2" in notebook.run("1 + 1").text


def open_when_possible(person, project: str):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            server = person.open_project(project)
            server.panel("GET", "session")
        except (TourError, Problem):
            assert time.monotonic() < deadline, "the project does not open again"
            time.sleep(1)
        else:
            return server


def server_of(pid: int) -> str:
    environment = dict(part.partition("=")[::2] for part in environment_of(pid).split("\0") if "=" in part)
    return f"{environment.get('JUPYTERHUB_USER', '')}/{environment.get('STRONGROOM_PROJECT', '')}"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def secrets_of(running) -> dict[str, str]:
    instance = running.instance
    known = {f"password of {n}": a.password for n, a in running.accounts.items()}
    known |= {f"code secret of {n}": a.otp_secret for n, a in running.accounts.items()}
    for file in (instance.hub_token_file, instance.operator_token_file):
        known[file.name] = file.read_text(encoding="utf-8").strip()
    for pid in descendants(running.hub_pid):
        for part in environment_of(pid).split("\0"):
            name, _, value = part.partition("=")
            if value and any(word in name for word in ("TOKEN", "SECRET", "CREDENTIAL")) and not value.startswith("/"):
                known[f"{name} of {pid}"] = value
    return known


def test_no_secret_in_arguments_kernels_or_logs(running, people):
    with Notebook(people.server("analyst", "cardio"), "secrets.ipynb") as notebook:
        notebook.run("1")
        known = secrets_of(running)
        assert len(known) > 12
        processes = [running.hub_pid, *descendants(running.hub_pid)]
        for pid in processes:
            command = command_of(pid)
            assert not [n for n, secret in known.items() if secret in command], command.split(" ")[:4]
        boxes = [pid for pid in processes if "ipykernel" in command_of(pid) or "bwrap" in command_of(pid)]
        assert boxes, "no sandboxed kernel found"
        for pid in boxes:
            environment = environment_of(pid)
            assert not [n for n, secret in known.items() if secret in environment]
            assert "JUPYTERHUB" not in environment
    for log in running.instance.logs_dir.rglob("*"):
        if log.is_file():
            text = log.read_text(encoding="utf-8", errors="replace")
            assert not [n for n, secret in known.items() if secret in text], log.name
