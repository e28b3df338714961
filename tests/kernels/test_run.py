"""Any command in a kernel's box: everything passes through, and nothing else is in it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from strongroom_kernels import run as module
from strongroom_kernels.box import TIERS, BoxError

from tests.kernels.conftest import UID
from tests.kernels.test_battery import missing
from tests.kernels.test_tiers import PROFILE

_ADMINS = Path(__file__).parents[2] / "docs" / "admins" / "README.md"


@pytest.fixture
def folders(root_folder: Path) -> dict[str, Path]:
    made = {name: root_folder / name for name in ("work", "data")}
    for path in made.values():
        path.mkdir()
    (made["data"] / "table.csv").write_text("a,b\n1,2\n")
    made["data"].chmod(0o755)
    if os.geteuid() == 0:
        os.chown(made["work"], UID, UID)
    return made


@pytest.fixture
def home(root_folder: Path, kernel_prefix: Path) -> Path:
    runtime = {"node": "", "proxy_script": "", "server_python": sys.executable, "kernel_prefix": str(kernel_prefix)}
    (root_folder / "runtime.json").write_text(json.dumps(runtime))
    return root_folder


@pytest.fixture
def strongroom(home: Path, folders: dict[str, Path]) -> list[str]:
    """`strongroom sandbox run`, up to the command."""
    call = [str(Path(sys.executable).with_name("strongroom")), "sandbox", "run", "--home", str(home)]
    return [*call, "--work", str(folders["work"]), "--data", str(folders["data"]), "--"]


def _run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_streams_and_status_pass_through(strongroom: list[str], folders: dict[str, Path]) -> None:
    script = "cat; echo err >&2; cat ~/data/table.csv; pwd; echo made > made; exit 9"
    done = _run([*strongroom, "sh", "-c", script], input="typed\n")
    assert (done.returncode, done.stdout, done.stderr) == (9, "typed\na,b\n1,2\n/box/work\n", "err\n")
    assert (folders["work"] / "made").read_text() == "made\n"


def test_large_input_and_output_pass_whole(strongroom: list[str]) -> None:
    sent = os.urandom(3_000_000)
    done = subprocess.run([*strongroom, "cat"], input=sent, capture_output=True, timeout=120, check=True)
    assert done.stdout == sent


def test_it_is_the_box_of_a_kernel(strongroom: list[str]) -> None:
    code = """
import json, os, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
def attempt(action):
    try: action(); return "done"
    except OSError as error: return error.errno
print(json.dumps([int(status["Seccomp_filters"]), int(status["NoNewPrivs"]), os.getuid(), sorted(os.environ),
  attempt(lambda: socket.socket()), attempt(lambda: open("/box/data/x", "w")), attempt(lambda: open("/x", "w")),
  attempt(lambda: os.symlink("/", "/run/k/c-1")), sorted(n for n in os.listdir("/proc") if n.isdigit())]))
"""
    done = _run([*strongroom, "python", "-c", code], env={**os.environ, "HUB_TOKEN": "secret"})
    filters, no_new, uid, environment, inet, data, root, link, processes = json.loads(done.stdout)
    assert (no_new, uid, inet, processes) == (1, 1000, 97, ["1", "2"])
    assert filters >= 2
    assert "HUB_TOKEN" not in environment
    assert {data, root} <= {13, 30}
    assert link == 13


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 128 + 15), (signal.SIGINT, 7)])
def test_signals_are_forwarded(strongroom: list[str], folders: dict[str, Path], number: int, status: int) -> None:
    code = "import time\nopen('up', 'w')\ntry: time.sleep(60)\nexcept KeyboardInterrupt: raise SystemExit(7)"
    with subprocess.Popen([*strongroom, "python", "-c", code]) as process:
        _until((folders["work"] / "up").exists)
        process.send_signal(number)
        assert process.wait(30) == status


def test_nothing_stays_when_it_is_killed(strongroom: list[str], folders: dict[str, Path]) -> None:
    code = "import time\nwhile True: open('beat', 'a').write('.'); time.sleep(0.02)"
    beat = folders["work"] / "beat"
    with subprocess.Popen([*strongroom, "python", "-c", code]) as process:
        _until(beat.exists)
        process.kill()
    _until(lambda: _still(beat))


def _still(path: Path) -> bool:
    before = path.stat().st_size
    time.sleep(0.3)
    return path.stat().st_size == before


class Terminal:
    """A person at a terminal."""

    def __init__(self, command: Sequence[str]) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (33, 99))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True
        )
        os.close(slave)
        self.said = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, pattern: str) -> str:
        """What was said up to and with this; it is not looked at again."""
        deadline = time.monotonic() + 30
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < deadline, self.said
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self.master, 1 << 16).decode("utf-8", "replace")
                except OSError:
                    pytest.fail(f"the terminal closed: {self.said}")
        before, self.said = self.said[: found.end()], self.said[found.end() :]
        return before


@pytest.fixture
def terminal(strongroom: list[str]) -> Iterator[Any]:
    opened: list[Terminal] = []

    def start(*command: str) -> Terminal:
        opened.append(Terminal([*strongroom, *command]))
        return opened[-1]

    yield start
    for one in opened:
        one.process.kill()
        one.process.wait()
        os.close(one.master)


def test_an_interactive_python(terminal: Any) -> None:
    person = terminal("python", "-q")
    person.expect(r">>> ")
    person.type("import os; 6 * 7, os.get_terminal_size()\r")
    said = person.expect(r">>> $")
    assert "(42, os.terminal_size(columns=99, lines=33))" in said
    person.type("import time; time.sleep(60)\r")
    person.expect("sleep")
    time.sleep(0.5)
    person.type("\x03")
    person.expect("KeyboardInterrupt")
    person.type("exit(5)\r")
    assert person.process.wait(30) == 5


def test_an_interactive_shell_has_job_control(terminal: Any) -> None:
    person = terminal("sh", "-i")
    person.expect(r"\$ ")
    person.type("sleep 60\r")
    person.expect("sleep 60")
    time.sleep(0.5)
    person.type("\x1a")
    person.expect(r"Stopped[^$]*\$ $")
    person.type("fg\r")
    person.expect("fg[^$]*sleep 60")
    time.sleep(0.5)
    person.type("\x03")
    person.expect(r"\$ $")
    person.type("echo d''one\r")
    assert "job control turned off" not in person.expect("\ndone")
    person.type("exit 3\r")
    assert person.process.wait(30) == 3


def test_nothing_stays_when_the_terminal_is_gone(terminal: Any) -> None:
    person = terminal("sh", "-i")
    person.expect(r"\$ ")
    os.close(person.master)
    person.master = os.open("/dev/null", os.O_RDONLY)
    assert person.process.wait(30) != 0


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier(tier: str, home: Path, folders: dict[str, Path], strongroom: list[str]) -> None:
    if missing(tier):
        pytest.skip(missing(tier))
    plan = {
        "work": str(folders["work"]),
        "data": str(folders["data"]),
        "prefix": json.loads((home / "runtime.json").read_text())["kernel_prefix"],
        "profile": {**PROFILE, "sandbox": tier, "tmp_bytes": 64 << 20},
    }
    plain = [sys.executable, "-P", "-m", module.__name__, json.dumps(plan)]
    drop = {"user": UID, "group": UID, "extra_groups": []} if os.geteuid() == 0 else {}
    path = str(folders["data"]) if tier == "launcher" else "/box/data"
    done = _run([*plain, "sh", "-c", f"cat {path}/table.csv; ulimit -n; exit 4"], cwd="/", **drop)
    assert (done.returncode, done.stdout) == (4, "a,b\n1,2\n1000\n"), done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--work", "/nowhere"], "--work /nowhere is no folder"),
        (["--data", "/nowhere"], "--data /nowhere is no folder"),
        (["--profile", "large"], "--profile needs the instance"),
    ],
)
def test_mistakes_are_said_in_words(strongroom: list[str], change: list[str], words: str) -> None:
    done = _run([*strongroom[:-1], *change, "--", "true"])
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_that_is_not_there_is_said(strongroom: list[str]) -> None:
    done = _run([*strongroom, "no-such-program"])
    assert (done.returncode, done.stderr) == (
        127,
        "strongroom: no-such-program cannot be run in the box: No such file or directory\n",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up root")
def test_roots_own_folder_is_refused(strongroom: list[str], folders: dict[str, Path]) -> None:
    os.chown(folders["work"], 0, 0)
    done = _run([*strongroom, "true"])
    assert (done.returncode, "chown" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_a_data_folder_that_this_user_may_not_read_is_said(strongroom: list[str], folders: dict[str, Path]) -> None:
    folders["data"].chmod(0)
    done = _run([*strongroom, "true"])
    folders["data"].chmod(0o755)
    assert done.returncode == module.NO_BOX
    assert "seen by kernels as /box/data" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_shown_below_what_can_be_written(
    folders: dict[str, Path], kernel_prefix: Path, tmp_path: Path
) -> None:
    plan = {"work": str(folders["work"]), "data": str(folders["data"]), "prefix": str(kernel_prefix), "profile": None}
    box = module.box_of(plan, tmp_path)
    assert [mount.target for mount in box.extra] == ["/box/data"]
    below = replace(box, extra=(replace(box.extra[0], target="/box/work/data"),))
    with pytest.raises(BoxError, match="below /box/work, which kernels can write"):
        below.mounts()


def test_the_documented_example_works(strongroom: list[str], folders: dict[str, Path]) -> None:
    example = re.search(r"strongroom sandbox run .*-- (python -c \"(.*)\")\n", _ADMINS.read_text("utf-8"))
    assert example is not None
    done = _run([*strongroom, "python", "-c", example[2]])
    assert done.returncode == 0, done.stderr
    shown = re.search(re.escape(example[0]) + r"\s+(.*)\n", _ADMINS.read_text("utf-8"))
    assert shown is not None
    assert done.stdout.strip() == shown[1].strip()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
