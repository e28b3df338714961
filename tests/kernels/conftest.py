"""Real boxes for tests. Boxes refuse root, so where the tests run as root each trial forks and drops to a plain uid."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from strongroom_kernels.box import Box, Places
from strongroom_kernels.folders import remove_tree
from strongroom_kernels.log import OutputLog
from strongroom_kernels.sandbox import Sandbox

UID = 61_061
PREFIX_VARIABLE = "STRONGROOM_TEST_KERNEL_PREFIX"


def drop_root() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(UID)
        os.setuid(UID)


def fork_unprivileged(action: Callable[[Callable[[Any], None]], None], join: Path | None = None) -> tuple[int, int]:
    """Run `action(send)` in a fork without root; returns its pid and the descriptor of what it sends (pickles)."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        os.close(reader)
        with os.fdopen(writer, "wb") as pipe:

            def send(value: Any, kind: str = "value") -> None:
                pickle.dump((kind, value), pipe)
                pipe.flush()

            try:
                if join is not None and join.exists():
                    (join / "cgroup.procs").write_text("0")
                drop_root()
                action(send)
            except BaseException:  # noqa: BLE001 - all of it is for the parent
                send(traceback.format_exc(), "failure")
    finally:
        os._exit(0)  # whatever happens, the fork must not go on with the parent's tests


def received(reader: int) -> Any:
    """The next value a fork sent; its failure fails the test."""
    with os.fdopen(reader, "rb") as pipe:
        kind, value = pickle.load(pipe)  # noqa: S301 - our own fork
    if kind == "failure":
        pytest.fail(value, pytrace=False)
    return value


def run_unprivileged(function: Callable[[], Any], join: Path | None = None) -> Any:
    """What the function returns in a fork without root; `join`: a control group for that fork, where it exists."""
    pid, reader = fork_unprivileged(lambda send: send(function()), join)
    try:
        return received(reader)
    finally:
        os.waitpid(pid, 0)


@pytest.fixture
def unprivileged() -> Callable[[Callable[[], Any]], Any]:
    return run_unprivileged


@pytest.fixture(scope="session")
def kernel_prefix() -> Path:
    named = os.environ.get(PREFIX_VARIABLE)
    if not named or not (Path(named) / "bin" / "python").exists():
        pytest.fail(
            f"{PREFIX_VARIABLE} does not name a kernel environment: `make test` sets it; by hand, make a virtual "
            "environment with ipykernel, pandas, polars, pyarrow, matplotlib, ipywidgets and name its folder.",
            pytrace=False,
        )
    return Path(named)


@pytest.fixture
def root_folder() -> Iterator[Path]:
    """A short folder that every uid may enter (pytest's own is closed to others), owned by the boxes' uid."""
    with tempfile.TemporaryDirectory(prefix="sr-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, UID, UID)
        yield folder
        for child in folder.iterdir():
            if child.is_dir():
                remove_tree(child)


@pytest.fixture
def places(root_folder: Path, kernel_prefix: Path) -> Places:
    for name in ("r", "work", "notebooks", "data"):
        (root_folder / name).mkdir()
        if os.geteuid() == 0:
            os.chown(root_folder / name, UID, UID)
    return Places(
        run_dir=root_folder / "r",
        work=root_folder / "work",
        notebooks=root_folder / "notebooks",
        prefix=kernel_prefix,
        data_socket=root_folder / "data" / "data.sock",
    )


@pytest.fixture
def box(places: Places, root_folder: Path) -> Box:
    for name in ("ask", "sock"):
        (root_folder / name).mkdir()
        if os.geteuid() == 0:
            os.chown(root_folder / name, UID, UID)
    return Box(
        work=places.work,
        notebooks=places.notebooks,
        prefix=places.prefix,
        ask=root_folder / "ask",
        data=root_folder / "data",
        sockets=root_folder / "sock",
    )


def run_in_box(sandbox: Sandbox, box: Box, *command: str, files: Mapping[str, bytes] | None = None) -> tuple[int, str]:
    """Exit status and output of a program in a box. Must run unprivileged."""
    log = OutputLog(box.work.parent / "output")
    boxed = sandbox.start(box, ["exec", *command], log, files)
    deadline = time.monotonic() + 60
    while boxed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    boxed.kill()
    boxed.close()
    log.close()
    text = (box.work.parent / "output").read_text("utf-8", "replace")
    return boxed.poll() or 0, text.removeprefix("strongroom: the box is closed\n")


Inside = Callable[..., str]


@pytest.fixture
def python_inside(box: Box) -> Inside:
    """`python_inside(code, sandbox)`: what Python code prints in a box."""

    def run(code: str, sandbox: Sandbox) -> str:
        return run_unprivileged(lambda: run_in_box(sandbox, box, "python", "-c", code)[1]).strip()

    return run


@pytest.fixture
def program_inside(box: Box) -> Callable[..., tuple[int, str]]:
    def run(sandbox: Sandbox, *command: str) -> tuple[int, str]:
        return run_unprivileged(lambda: run_in_box(sandbox, box, *command))

    return run


@pytest.fixture
def environment(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's environment, with a secret in it that no kernel may see."""
    for name, value in {
        "RUN_DIR": places.run_dir,
        "WORK": places.work,
        "NOTEBOOKS": places.notebooks,
        "KERNEL_PREFIX": places.prefix,
        "DATA_SOCKET": places.data_socket,
    }.items():
        monkeypatch.setenv(f"STRONGROOM_{name}", str(value))
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "a-token-of-the-hub")


@pytest.fixture
def fork() -> Callable[..., tuple[int, int]]:
    return fork_unprivileged


@pytest.fixture
def receive() -> Callable[[int], Any]:
    return received
