"""A kernel's gate from its start to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.extension.conftest import FREE, Lab, of_type, running_lab, text_of

SOON_CULLED = """
from strongroom_lab import kernels, main
kernels.minute = lambda moment: moment
main.IDLE_KERNEL_SECONDS, main.CULL_SECONDS = 4, 1
main.main()
"""
LATE_BROADCASTS = """
import zmq
from jupyter_client import KernelManager
from strongroom_lab.main import main
from tornado.ioloop import IOLoop
connected = KernelManager._create_connected_socket
def late(self, channel, identity=None):
    if channel != "iopub":
        return connected(self, channel, identity)
    socket = self.context.socket(zmq.SUB)
    socket.linger = 1000
    IOLoop.current().call_later(1, socket.connect, self._make_url(channel))
    return socket
KernelManager._create_connected_socket = late
main()
"""
"""A busy machine: what a kernel broadcasts is heard only a second after what it answers."""


def open_files(lab: Lab) -> int:
    return len(list(Path(f"/proc/{lab.process.pid}/fd").iterdir()))


async def test_kernels_that_came_and_went_leave_no_descriptor_behind(lab: Lab) -> None:
    async def come_and_go() -> None:
        kernel = lab.start_kernel()
        async with lab.page(kernel) as page:
            await page.run("1")
        assert lab.call("DELETE", f"api/kernels/{kernel}").status_code == 204

    await come_and_go()
    before = open_files(lab)
    for _ in range(3):
        await come_and_go()
    for _ in range(50):
        if open_files(lab) <= before + 2:
            break
        await asyncio.sleep(0.2)
    assert open_files(lab) <= before + 2


async def test_a_cell_sent_while_a_kernel_starts_waits_for_it_and_loses_nothing(kernel_prefix: str) -> None:
    with running_lab(kernel_prefix, "public", FREE, program=LATE_BROADCASTS) as lab:
        kernel = lab.start_kernel()
        async with lab.page(kernel) as page:
            for restarts in range(1, 3):
                restart = asyncio.create_task(asyncio.to_thread(lab.call, "POST", f"api/kernels/{kernel}/restart"))
                for _ in range(1000):
                    if len(lab.control.named("DELETE kernels/ID")) == restarts:  # the former one is gone
                        break
                    await asyncio.sleep(0.01)
                messages = await page.run_once_up("print('soon')")
                assert text_of(messages) == "soon\n"
                assert of_type(messages, "execute_reply")[0]["content"]["status"] == "ok"
                assert (await restart).status_code == 200


def processes_below(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return children + [below for child in children for below in processes_below(child)]


async def running_kernels(lab: Lab, wanted: set[str]) -> set[str]:
    """The kernels once they are the wanted ones, else after some seconds."""
    for _ in range(150):
        found = {kernel["id"] for kernel in lab.call("GET", "api/kernels").json()}
        if found == wanted:
            break
        await asyncio.sleep(0.2)
    return found


async def test_an_idle_kernel_without_a_page_is_culled_and_leaves_nothing(kernel_prefix: str) -> None:
    with running_lab(kernel_prefix, "public", FREE, program=SOON_CULLED) as lab:
        before = processes_below(lab.process.pid)
        busy = lab.start_kernel("busy.ipynb")
        async with lab.page(busy) as page:
            await page.send("execute_request", {"code": "import time; time.sleep(600)", "silent": False})
            while (await page.receive())["msg_type"] != "execute_input":
                pass
        watched = lab.start_kernel("watched.ipynb")
        async with lab.page(watched) as page:
            await page.run("1")
            await asyncio.sleep(8)
            assert await running_kernels(lab, {busy, watched}) == {busy, watched}
            await page.run("2")
        assert await running_kernels(lab, {busy}) == {busy}
        assert [stopped["reason"] for stopped in lab.control.named("DELETE kernels/ID")] == ["shutdown"]
        assert lab.call("DELETE", f"api/kernels/{busy}").status_code == 204
        assert await running_kernels(lab, set()) == set()
        await asyncio.sleep(0.5)
        assert processes_below(lab.process.pid) == before
        left = [path.name for path in (lab.root / "run").rglob("*") if watched in path.name or busy in path.name]
        assert left == [], "folders and sockets of kernels that are gone"
