"""Real kernels in real boxes through jupyter_client, as the notebook server starts them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from strongroom_kernels import provisioner as module
from strongroom_kernels.box import BoxError, Places
from strongroom_kernels.kernelspec import NAME, kernel_dirs
from strongroom_kernels.limits import words_for
from strongroom_kernels.provisioner import StrongroomProvisioner, kernel_folder
from strongroom_kernels.sandbox import Bubblewrap

pytestmark = pytest.mark.usefixtures("environment")


def manager() -> AsyncKernelManager:
    return AsyncKernelManager(kernel_name=NAME, kernel_spec_manager=KernelSpecManager(kernel_dirs=kernel_dirs()))


class Running:
    """A started kernel and a client of it."""

    def __init__(self, km: AsyncKernelManager, client: Any) -> None:
        self.km = km
        self.client = client

    async def run(self, code: str) -> tuple[str, str]:
        """Status of the reply, and all text that came out."""
        out: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                out.append(content["text"])
            elif message["msg_type"] == "execute_result":
                out.append(content["data"]["text/plain"])

        reply = await self.client.execute_interactive(code, timeout=30, output_hook=hook, allow_stdin=False)
        return reply["content"]["status"], "".join(out)


@contextlib.asynccontextmanager
async def kernel(**start: Any) -> AsyncIterator[Running]:
    km = manager()
    await km.start_kernel(**start)
    client = km.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=30)
        yield Running(km, client)
    finally:
        client.stop_channels()
        await km.shutdown_kernel(now=True)


Trial = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture
def trial(unprivileged: Callable[[Callable[[], Any]], Any]) -> Trial:
    return lambda scenario: unprivileged(lambda: asyncio.run(scenario()))


def test_kernel_runs_and_prints_also_from_forks(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            return [
                await running.run("1 + 1"),
                await running.run("!echo shell"),
                await running.run(
                    "import os, time\npid = os.fork()\nif pid == 0:\n    print('from a fork', flush=True)\n"
                    "    os._exit(0)\nos.waitpid(pid, 0); time.sleep(0.5)"
                ),
                await running.run("import ipywidgets; ipywidgets.IntSlider()"),
                await running.run(
                    "open('mine.py', 'w').write('x = 7')\nimport mine, sys; mine.x, '/opt/strongroom' in sys.path"
                ),
            ]

    ran, shell, forked, widget, module = trial(scenario)
    assert ran == ("ok", "2")
    assert shell == ("ok", "shell\n")
    assert forked == ("ok", "from a fork\n")
    assert module == ("ok", "(7, False)")
    assert widget == ("ok", "IntSlider(value=0)")


def test_a_kernel_is_whole_though_it_starts_without_debugger_and_history_file(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            return [
                await running.run("import sys; [m for m in sys.modules if m.startswith(('debugpy', '_pydev'))]"),
                await running.run("import debugpy; debugpy.__name__"),
                await running.run("%history -n 1"),
                await running.run("import os; os.path.exists(get_ipython().profile_dir.location + '/history.sqlite')"),
            ]

    loaded, debugger, history, file = trial(scenario)
    assert loaded == ("ok", "[]")
    assert debugger == ("ok", "'debugpy'")
    assert history[0] == "ok"
    assert "import sys" in history[1]
    assert file == ("ok", "False")


BUSY = (
    "import time; time.sleep(60)",
    "while True: pass",
    "import subprocess; subprocess.run(['sleep', '60'])",
    "import os; os.system('sleep 60')",
    "!sleep 60",
)


def test_interrupt(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            told = {}
            for code in BUSY:
                cell = asyncio.create_task(running.run(code))
                await asyncio.sleep(0.7)
                started = time.monotonic()
                await running.km.interrupt_kernel()
                await cell
                told[code] = (time.monotonic() - started < 5, await running.run("'still here'"))
            return told, await running.km.is_alive()

    assert trial(scenario) == (dict.fromkeys(BUSY, (True, ("ok", "'still here'"))), True)


def test_restart_keeps_the_sockets_and_forgets_the_state(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            await running.run("x = 1; open('kept', 'w').close()")
            before = running.km.get_connection_info()
            await running.km.restart_kernel()
            await running.client.wait_for_ready(timeout=30)
            return before == running.km.get_connection_info(), await running.run(
                "'x' in dir(), __import__('os').listdir()"
            )

    same, found = trial(scenario)
    assert same
    assert found == ("ok", "(False, ['kept'])")


def test_shutdown_leaves_nothing(trial: Trial, places: Places) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            pid = running.km.provisioner._boxed.pid
            during = sorted(path.name for path in (places.run_dir / "k").glob("*/*"))
            running.client.stop_channels()
            await running.km.shutdown_kernel()
            return pid, during, running.km.provisioner.death_words

    pid, during, words = trial(scenario)
    assert during == ["ask", "connection.json", "kernel.log", "lock", "sock"]
    assert list((places.run_dir / "k").iterdir()) == []
    assert not Path(f"/proc/{pid}").exists()
    assert words is None


def test_what_a_client_sends_counts_for_nothing(trial: Trial, root_folder: Path) -> None:
    async def scenario() -> Any:
        env = {"PATH": "/evil", "JPY_SESSION_NAME": "path-of-a-notebook", "LD_PRELOAD": "/evil.so"}
        async with kernel(cwd=str(root_folder), env=env, extra_arguments=["--evil"]) as running:
            return await running.run("import os; print(os.getcwd(), dict(os.environ))"), running.km.resolve_path(
                "/etc/passwd"
            )

    (status, said), resolved = trial(scenario)
    assert status == "ok"
    assert said.startswith("/box/work ")
    for hidden in ("evil", "path-of-a-notebook", "a-token-of-the-hub", "STRONGROOM"):
        assert hidden not in said
    assert resolved is None


def test_the_key_is_inside_but_not_on_a_shared_path(trial: Trial) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            code = (
                "import json, os; view = json.load(open('/run/strongroom/connection.json'))\n"
                "print(view['transport'], view['ip'], len(view['key']) > 20, sorted(os.listdir('/run/k')))"
            )
            host = kernel_folder(running.km.kernel_id)
            return await running.run(code), oct(host.connection_file.stat().st_mode), oct(host.path.stat().st_mode)

    (_, said), file_mode, folder_mode = trial(scenario)
    assert said == "ipc /run/k/c True ['c-1', 'c-2', 'c-3', 'c-4', 'c-5']\n"
    assert file_mode.endswith("600")
    assert folder_mode.endswith("700")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed inside a compiled package"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "more memory"),
        ("import os; os._exit(3)", "exit status 3"),
    ],
)
def test_death_is_told_in_words(trial: Trial, code: str, words: str) -> None:
    async def scenario() -> Any:
        async with kernel() as running:
            alive_words = running.km.provisioner.death_words
            running.client.execute(code)
            while await running.km.is_alive():  # noqa: ASYNC110 - as the restarter does it
                await asyncio.sleep(0.02)
            return alive_words, running.km.provisioner.death_words

    while_alive, after = trial(scenario)
    assert while_alive is None
    assert words in after


def test_words_for_every_status() -> None:
    for status in range(256):
        assert words_for(status).startswith("The kernel")


def _processes_with(token: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if token.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def test_a_killed_server_leaves_no_process_and_the_next_sweeps(
    fork: Callable[..., tuple[int, int]], receive: Callable[[int], Any], trial: Trial, places: Places
) -> None:
    token = f"strongroom-survivor-{os.getpid()}"

    def serve(send: Callable[[Any], None]) -> None:
        async def scenario() -> None:
            async with kernel() as running:
                detached = f"subprocess.Popen(['sh', '-c', 'sleep 600 # {token}'], start_new_session=True)"
                await running.run(f"import subprocess\nfor n in range(3): {detached}")
                send("started")
                await asyncio.sleep(60)

        asyncio.run(scenario())

    pid, reader = fork(serve)
    try:
        assert receive(reader) == "started"
        assert len(_processes_with(token)) >= 3
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    deadline = time.monotonic() + 5
    while _processes_with(token) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _processes_with(token) == []
    assert len(list((places.run_dir / "k").iterdir())) == 1

    async def next_server() -> list[str]:
        async with kernel():
            return sorted(path.name for path in (places.run_dir / "k").iterdir())

    assert len(trial(next_server)) == 1
    assert list((places.run_dir / "k").iterdir()) == []


def test_a_box_that_does_not_hold_starts_no_kernel(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoNetworkWall(Bubblewrap):
        def filters(self) -> tuple[bytes, ...]:
            return ()

    monkeypatch.setattr(StrongroomProvisioner, "sandboxes", staticmethod(lambda _tier: NoNetworkWall()))

    async def scenario() -> str:
        km = manager()
        with pytest.raises(BoxError) as caught:
            await km.start_kernel()
        return str(caught.value)

    words = trial(scenario)
    assert "No kernel can start" in words
    assert "vsock" in words
    assert "Ask whoever runs this Strongroom" in words


def test_a_start_that_fails_says_why_and_leaves_nothing(trial: Trial, places: Places) -> None:
    async def scenario() -> tuple[str, list[Path]]:
        km = manager()
        places.work.rmdir()
        with pytest.raises(BoxError) as caught:
            await km.start_kernel()
        return str(caught.value), list((places.run_dir / "k").iterdir())

    words, left = trial(scenario)
    assert "does not exist" in words
    assert left == []


def test_without_its_environment_the_server_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRONGROOM_WORK")
    with pytest.raises(BoxError, match="STRONGROOM_WORK not set"):
        kernel_folder("some-kernel")


def test_kernelspec_is_ours_alone() -> None:
    spec = KernelSpecManager(kernel_dirs=kernel_dirs(), ensure_native_kernel=False).get_all_specs()
    assert list(spec) == [NAME]
    metadata = spec[NAME]["spec"]["metadata"]
    assert metadata["kernel_provisioner"]["provisioner_name"] == "strongroom"
    assert spec[NAME]["spec"]["display_name"] == "Python 3 (Strongroom)"
    assert (
        json.loads((Path(module.__file__).parent / "kernelspecs/strongroom/kernel.json").read_text())["language"]
        == "python"
    )


def test_what_a_kernel_tries_is_told(trial: Trial) -> None:
    async def scenario() -> Any:
        told: list[tuple[str, dict[str, int]]] = []
        async with kernel() as running:
            running.km.provisioner.on_violation = lambda kind, counts, _text: told.append((kind, counts))
            code = "import ctypes, os\nfor n in range(3):\n    print(ctypes.CDLL(None).ptrace(0, 0, 0, 0))"
            said = await running.run(code)
            return said, told

    (status, said), told = trial(scenario)
    assert (status, said) == ("ok", "-1\n-1\n-1\n")
    assert {kind for kind, _ in told} == {"syscall"}
    assert sum(counts.get("ptrace", 0) for _, counts in told) == 3


PROFILE: dict[str, Any] = {
    "name": "small", "title": "Small", "sandbox": "bubblewrap", "memory_bytes": 512 << 20, "cpus": 1, "processes": 64,
    "open_files": 256, "file_bytes": 8 << 20, "work_bytes": 1 << 30, "work_files": 1000, "tmp_bytes": 8 << 20,
    "shm_bytes": 8 << 20,
}  # fmt: skip


BEYOND = {
    "kept = bytearray(2 << 30)": "MemoryError",
    "open('x', 'wb').write(bytes(16 << 20))": "File too large",
    "for n in range(2):\n    with open(f'/tmp/{n}', 'wb') as file: file.write(bytes(5 << 20))": "No space left",
    "kept = [open('/dev/null') for n in range(300)]": "Too many open files",
    "kept = None\nimport threading, time\n"
    "for n in range(100): threading.Thread(target=time.sleep, args=(9,)).start()": "Runtime",
}


def test_without_control_groups_the_profile_holds_each_process(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_PROFILE", json.dumps(PROFILE))

    async def scenario() -> Any:
        async with kernel() as running:
            said = {}
            for code in BEYOND:
                told: list[str] = []
                reply = await running.client.execute_interactive(
                    code, timeout=60, output_hook=lambda m, t=told: t.append(m["content"].get("evalue", ""))
                )
                said[code] = "".join(told) + reply["content"].get("ename", "")
            return said

    said = trial(scenario)
    assert [code for code, refused in BEYOND.items() if refused not in said[code]] == [], said
