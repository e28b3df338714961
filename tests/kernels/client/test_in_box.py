"""The client inside a real kernel: data arrives through the box, and a refusal reads well in the cell."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import strongroom
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from strongroom_kernels.box import Places
from strongroom_kernels.doors import AskDoor
from strongroom_kernels.kernelspec import NAME, kernel_dirs
from strongroom_kernels.provisioner import kernel_folder

pytestmark = pytest.mark.usefixtures("environment")

_OPEN = (
    "import strongroom; d = strongroom.open('health/randhie')\n"
    "print(d.to_pandas().age.sum(), d.to_polars().shape, d.label, type(strongroom.catalog()).__name__)"
)


_NOTEBOOK = """
import nbformat, papermill
v4 = nbformat.v4
first = v4.new_code_cell("extra = 0", metadata={"tags": ["parameters"]})
second = v4.new_code_cell("import strongroom; print(strongroom.open('health/randhie').to_pandas().age.sum() + extra)")
spec = {"name": "strongroom", "display_name": "Strongroom", "language": "python"}
notebook = v4.new_notebook(cells=[first, second], metadata={"kernelspec": spec})
nbformat.write(notebook, "in.ipynb")
papermill.execute_notebook("in.ipynb", "out.ipynb", parameters={"extra": 5}, progress_bar=False)
"""
_PAPERMILL = f"{_NOTEBOOK}print(nbformat.read('out.ipynb', 4).cells[-1].outputs[0].text)"
_NBCLIENT = """
from nbclient import NotebookClient
print(NotebookClient(notebook).execute().cells[-1].outputs[0].text)
"""


async def cells(handler: Any, *codes: str) -> Any:
    """The types and contents of all messages that these cells of one kernel sent."""
    km = AsyncKernelManager(kernel_name=NAME, kernel_spec_manager=KernelSpecManager(kernel_dirs=kernel_dirs()))
    await km.start_kernel()
    door = AskDoor(kernel_folder(km.kernel_id).ask_socket, handler)
    await door.start()
    client = km.client()
    client.start_channels()
    messages: list[dict[str, Any]] = []
    try:
        await client.wait_for_ready(timeout=30)
        for code in codes:
            await client.execute_interactive(code, timeout=90, output_hook=messages.append, allow_stdin=False)
    finally:
        client.stop_channels()
        await door.stop()
        await km.shutdown_kernel(now=True)
    return [(message["msg_type"], message["content"]) for message in messages]


@pytest.fixture
def data_door(places: Places, doors: Any) -> None:
    """The vault's stand-in where kernels look for it."""
    doors.data_path.rename(places.data_socket)
    shutil.copytree(Path(strongroom.__file__).parent, places.work / "strongroom")  # this source, not an installed copy


@pytest.mark.usefixtures("data_door")
def test_the_whole_road_of_a_read(unprivileged: Callable[[Callable[[], Any]], Any]) -> None:
    opened = {"ok": True, "ticket": "t", "dataset": "health/randhie", "version": 2, "label": "confidential"}
    refused = {
        "title": "You may not read a/b",
        "status": 403,
        "detail": "No grant.",
        "why": ["rule G2"],
        "next": "Ask.",
    }

    async def handler(request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "catalog":
            return {"ok": True, "datasets": []}
        if request["dataset"] == "a/b":
            return {"ok": False, "problem": refused}
        return opened

    found = unprivileged(lambda: asyncio.run(cells(handler, _OPEN, "strongroom.open('a/b')")))
    printed = "".join(content["text"] for kind, content in found if kind == "stream")
    assert [content["ename"] for kind, content in found if kind == "error"] == ["AccessDenied"], found
    assert printed == "130 (3, 2) confidential Catalog\n"
    (error,) = [content for kind, content in found if kind == "error"]
    assert error["ename"] == "AccessDenied"
    assert error["traceback"] == ["You may not read a/b", "No grant.", "  because rule G2", "Next: Ask."]


@pytest.mark.usefixtures("data_door")
def test_papermill_and_nbclient_run_inside_the_box(unprivileged: Callable[[Callable[[], Any]], Any]) -> None:
    """A notebook that a cell runs has a kernel of its own in the same box; it reads through the same doors."""

    async def handler(request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "open":
            return {"ok": True, "ticket": "t", "dataset": "health/randhie", "version": 2, "label": "confidential"}
        return {"ok": True}

    found = unprivileged(lambda: asyncio.run(cells(handler, _PAPERMILL, _NBCLIENT)))
    assert [content["evalue"] for kind, content in found if kind == "error"] == []
    printed = "".join(content["text"] for kind, content in found if kind == "stream" and content["name"] == "stdout")
    assert printed.split() == ["135", "130"]


@pytest.mark.usefixtures("data_door")
def test_duckdb_opens_and_reads_the_mapped_data(unprivileged: Callable[[Callable[[], Any]], Any]) -> None:
    """It looks into /proc/self/cgroup when it starts, and gives up where that may not be read."""
    opened = {"ok": True, "ticket": "t", "dataset": "health/randhie", "version": 2, "label": "confidential"}

    async def handler(request: dict[str, Any]) -> dict[str, Any]:
        return opened if request["op"] == "open" else {"ok": True}

    code = (
        "import duckdb, strongroom; people = strongroom.open('health/randhie')\n"
        "print(duckdb.sql('select sum(age) from people').fetchall()[0][0], len(people.duckdb().fetchall()))\n"
        "print({line.rpartition(':')[2].strip() for line in open('/proc/self/cgroup')})"
    )
    found = unprivileged(lambda: asyncio.run(cells(handler, code)))
    assert [content["evalue"] for kind, content in found if kind == "error"] == []
    printed = "".join(content["text"] for kind, content in found if kind == "stream")
    assert printed.split()[:2] == ["130", "3"]
    assert printed.endswith("{'/'}\n")  # nothing of the host's own names
