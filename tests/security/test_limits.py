"""Exhaustion from inside real boxes of a real instance: each bomb stops at its limit and harms nobody else.

Every bomb is itself bounded, so that it can also run where its limit is far away: there it goes off in full, which
shows that the limit is what stopped it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from strongroom_hub import cgroups, work_images
from strongroom_hub.config import Instance
from strongroom_hub.internal import ControlClient
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.notebook import Notebook
from strongroom_hub.tour.person import Server, TourError

from tests.real import People, reload_policy

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0 or cgroups.find() is None, reason="control groups and images need root"),
]
PROFILES = """
[tiny]
title = "Tiny"
sandbox = "bubblewrap"
memory = "512MiB"
cpus = 0.5
processes = 64
open-files = 256
file = "16MiB"
work = "64MiB"
work-files = 1000
tmp = "16MiB"
shm = "16MiB"

[wide]
title = "Wide"
sandbox = "bubblewrap"
memory = "4GiB"
cpus = 2
processes = 2000
open-files = 4000
file = "1GiB"
work = "1GiB"
work-files = 50000
tmp = "1GiB"
shm = "1GiB"
"""
PROJECT = "limits"
"""Of its own: what other tests have read there decides what is shown."""
RULES = f"""
g, user:analyst2, project:{PROJECT}
p, T1, user:analyst2, use, profile:tiny, *, , , allow, "tests"
p, T2, user:analyst2, use, profile:wide, *, , , allow, "tests"
"""


@dataclass(frozen=True)
class Bomb:
    """Code that goes on until `refused` (how Python names it) or until it is through; `kills`: the limit ends it."""

    code: str
    refused: str = ""
    kills: bool = False


BOMBS = {
    "processes": Bomb(
        "import os, time\nfor n in range(150):\n    if os.fork() == 0:\n        time.sleep(600); os._exit(0)",
        "BlockingIOError",
    ),
    "threads": Bomb(
        "import threading, time\nfor n in range(150):\n"
        "    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
        "RuntimeError",
    ),
    "memory": Bomb("kept = [bytearray(os.urandom(1) * (32 << 20)) for n in range(32)]", kills=True),
    "memory of a file": Bomb("for n in range(128):\n    os.write(os.memfd_create('x'), b'x' * (8 << 20))", kills=True),
    "shared memory": Bomb("for n in range(8):\n    open(f'/dev/shm/{n}', 'wb').write(bytes(8 << 20))", "No space left"),
    "temporary files": Bomb("for n in range(8):\n    open(f'/tmp/{n}', 'wb').write(bytes(8 << 20))", "No space left"),
    "work folder": Bomb(
        "for n in range(16):\n    with open(f'big-{n}', 'wb') as file:\n        file.write(bytes(8 << 20))",
        "No space left",
    ),
    "files": Bomb("for n in range(3000):\n    open(f'small-{n}', 'w').close()", "No space left"),
    "one file": Bomb("open('long', 'wb').write(bytes(32 << 20))", "File too large"),
    "descriptors": Bomb("kept = [open('/dev/null') for n in range(1000)]", "Too many open files"),
}
FORKS = """
def bomb():
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""
CLEAN = "import glob\nfor name in glob.glob('*'):\n    if name != 'notebooks':\n        os.unlink(name)"


@pytest.fixture(scope="module", autouse=True)
def profiles(running: RunningInstance) -> Iterator[None]:
    operator = ControlClient(running.instance.control_socket, running.instance.operator_token_file)
    operator.call("POST", "projects", {"name": PROJECT, "title": "Limits", "purpose": "To be exhausted."})
    folder = running.instance.policy_dir
    before = {name: (folder / name).read_text(encoding="utf-8") for name in ("profiles.toml", "policy.csv")}
    (folder / "profiles.toml").write_text(before["profiles.toml"] + PROFILES, encoding="utf-8")
    (folder / "policy.csv").write_text(before["policy.csv"] + RULES, encoding="utf-8")
    reload_policy(running)
    yield
    for name, text in before.items():
        (folder / name).write_text(text, encoding="utf-8")
    reload_policy(running)


def stop(people: People, name: str, project: str) -> None:
    person = people[name]
    header = {"X-XSRFToken": person.cookie("_xsrf", "/hub/")}
    person.http.delete(f"/hub/api/users/{name}/servers/{project}", headers=header)
    people.servers.pop((name, project), None)


def opened(people: People, profile: str) -> Iterator[Server]:
    stop(people, "analyst2", PROJECT)
    yield people["analyst2"].open_project(PROJECT, profile)
    stop(people, "analyst2", PROJECT)


@pytest.fixture(scope="module")
def tiny(people: People) -> Iterator[Server]:
    yield from opened(people, "tiny")


@pytest.fixture(scope="module")
def bystander(people: People) -> Iterator[Notebook]:
    """Another user's kernel, which goes on working."""
    with Notebook(people.server("analyst", "elections"), "bystander.ipynb") as notebook:
        yield notebook


@contextlib.contextmanager
def notebook(server: Server, name: str) -> Iterator[Notebook]:
    with Notebook(server, f"{name.replace(' ', '-')}.ipynb") as opened:
        opened.run("import os")
        yield opened


def unharmed(server: Server, bystander: Notebook) -> None:
    """The server answers and starts kernels; another user's kernel runs cells."""
    assert bystander.run("1 + 1").text.strip() == "2"
    assert server.panel("GET", "session")["user"] == "analyst2"
    with Notebook(server, "after.ipynb") as fresh:
        assert fresh.run("1 + 1").text.strip() == "2"


def limits_reported(people: People) -> list[dict[str, Any]]:
    people["admin"].open_console()  # control may have been started anew since
    found = people["admin"].console("GET", "violations")["violations"]
    return [one for one in found if one["kind"] == "limit"]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_stops_at_its_limit_and_harms_nobody(tiny: Server, bystander: Notebook, name: str) -> None:
    bomb = BOMBS[name]
    with notebook(tiny, name) as attacker:
        cell = attacker.run(bomb.code)
        assert cell.status == "error", cell.text
        assert (bomb.refused or "Tiny") in cell.error
        if bomb.kills:
            assert (
                tiny.request("DELETE", f"api/kernels/{attacker.kernel}").status_code == 204
            )  # it starts again just now
            assert "512 MiB of memory" in cell.error
            assert '"Standard" has 4 GiB' in cell.error
        unharmed(tiny, bystander)
    with notebook(tiny, "clean") as cleaner:
        assert cleaner.run(CLEAN).status == "ok"


def test_what_cannot_be_seen_in_the_cell_is_told_and_reported(
    tiny: Server, people: People, bystander: Notebook
) -> None:
    """Refused processes make an exception that says little; the limit behind it is recorded in words."""
    with notebook(tiny, "told") as attacker:
        attacker.run(BOMBS["processes"].code)
        deadline = time.monotonic() + 60
        while not any(
            "processes" in one["counts"] and one["kernel"] == attacker.kernel for one in limits_reported(people)
        ):
            assert time.monotonic() < deadline, limits_reported(people)
            time.sleep(0.5)
    told = next(one for one in limits_reported(people) if one["kernel"] == attacker.kernel)
    assert "64 processes and threads" in told["text"]
    assert '"Standard" has 512' in told["text"]


def test_an_endless_fork_bomb_is_contained(tiny: Server, bystander: Notebook) -> None:
    with notebook(tiny, "forks") as attacker:
        attacker.run(FORKS)
        running = threading.Thread(target=lambda: attempt(attacker, "bomb()"), daemon=True)
        running.start()
        for _ in range(3):
            unharmed(tiny, bystander)
        assert tiny.request("DELETE", f"api/kernels/{attacker.kernel}").status_code == 204
        running.join(60)
    unharmed(tiny, bystander)


def attempt(notebook: Notebook, code: str) -> None:
    """Run a cell whose kernel is taken away."""
    try:
        notebook.run(code)
    except Exception:  # noqa: BLE001 - the socket may close in any way
        return


def test_ten_thousand_sockets_take_nothing_from_the_server(tiny: Server, bystander: Notebook) -> None:
    code = (
        "import socket\nmade = 0\ntry:\n    for n in range(10_000):\n        with socket.socket(socket.AF_UNIX) as s:\n"
        "            s.bind(f'/run/k/{n}')\n        made += 1\nexcept OSError as error:\n    print(made, error)"
    )
    with notebook(tiny, "sockets") as attacker:
        cell = attacker.run(code)
        assert "No space left" in cell.text
        assert int(cell.text.split()[0]) < 3000
        assert bystander.run("1 + 1").text.strip() == "2"
        assert tiny.panel("GET", "session")["user"] == "analyst2"
        assert attacker.run("1 + 1").text.strip() == "2"
    unharmed(tiny, bystander)


def test_a_busy_kernel_gets_its_share_of_the_processors(tiny: Server, bystander: Notebook) -> None:
    code = (
        "import time\nbegan, used = time.monotonic(), time.process_time()\nwhile time.monotonic() < began + 4: pass\n"
        "print((time.process_time() - used) / (time.monotonic() - began))"
    )
    with notebook(tiny, "busy") as attacker:
        done: list[str] = []
        running = threading.Thread(target=lambda: done.append(attacker.run(code).text))
        running.start()
        unharmed(tiny, bystander)
        running.join(60)
    assert float(done[0]) < 0.6


@pytest.mark.parametrize("kind", ["processes", "memory", "work folder"])
def test_all_kernels_of_a_workspace_share_twice_what_one_gets(
    tiny: Server, people: People, bystander: Notebook, kind: str
) -> None:
    if kind == "work folder":
        with notebook(tiny, "one") as one, notebook(tiny, "two") as two:
            half = "for n in range(5):\n    open(f'NAME-{n}', 'wb').write(bytes(8 << 20))"
            assert one.run(half.replace("NAME", "a")).status == "ok"
            assert "No space left" in two.run(half.replace("NAME", "b")).error
            one.run(CLEAN)
        return
    code = {
        "processes": "import subprocess\nkept = [subprocess.Popen(['sleep', '600']) for n in range(38)]",
        "memory": "kept = os.urandom(1) * (380 << 20)",
    }[kind]
    with contextlib.ExitStack() as stack:
        outcomes: list[str] = []
        while len(outcomes) < 4 and "ok" in ["ok", *outcomes][-1]:
            try:
                kernel = stack.enter_context(notebook(tiny, f"share-{len(outcomes)}"))
                outcomes.append(kernel.run(code).status)
            except TourError as error:  # no process is left for a new kernel
                outcomes.append(str(error))
        assert outcomes[0] == "ok"
        if kind == "processes":
            assert outcomes[-1] != "ok"
        else:  # the system ends the largest of them, whichever asked last
            words = "All kernels of this workspace together have 1 GiB"
            deadline = time.monotonic() + 60
            while not any(words in one["text"] for one in limits_reported(people)):
                assert time.monotonic() < deadline, limits_reported(people)
                time.sleep(0.5)
        assert bystander.run("1 + 1").text.strip() == "2"
    unharmed(tiny, bystander)


def test_nothing_is_left_over(people: People, running: RunningInstance, tiny: Server) -> None:
    place, uid = running.instance, owner(running.instance)
    image = work_images.folder(place) / PROJECT / "analyst2.ext4"
    hierarchy = cgroups.find()
    assert hierarchy is not None
    top = [root / cgroups._name(place) for root in hierarchy.folders.values()]
    with notebook(tiny, "left") as attacker:
        attacker.run(
            "import subprocess\nfor n in range(20):\n    subprocess.Popen(['sleep', '600'], start_new_session=True)"
        )
        before = {child for folder in top for child in folder.iterdir() if child.is_dir()}
        assert processes_of(uid)
        began = time.monotonic()
        stop(people, "analyst2", PROJECT)
        while processes_of(uid) or work_images.devices_of(image):
            assert time.monotonic() < began + 30, processes_of(uid)
            time.sleep(0.1)
    gone = {child for child in before if not child.exists()}
    assert len(gone) == len(top)
    assert not os.path.ismount(place.projects_dir / PROJECT / "work" / "analyst2")
    people["analyst2"].open_project(PROJECT, "tiny")


def owner(place: Instance) -> int:
    return (place.projects_dir / PROJECT / "notebooks" / "analyst2").stat().st_uid


def processes_of(uid: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            if path.stat().st_uid == uid and state not in {"Z", "X"}:
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.fixture(scope="module")
def wide(people: People) -> Iterator[Server]:
    yield from opened(people, "wide")


@pytest.mark.soak
@pytest.mark.parametrize("name", BOMBS)
def test_with_its_limit_far_away_the_same_bomb_goes_off(wide: Server, name: str) -> None:
    """Without this, the tests above could pass for another reason than the limit."""
    with notebook(wide, f"wide {name}") as attacker:
        cell = attacker.run(BOMBS[name].code)
        assert cell.status == "ok", cell.error
        attacker.run(CLEAN)
