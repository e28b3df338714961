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

    async def scenario() -> Any:
        km = AsyncKernelManager(kernel_name=NAME, kernel_spec_manager=KernelSpecManager(kernel_dirs=kernel_dirs()))
        await km.start_kernel()
        door = AskDoor(kernel_folder(km.kernel_id).ask_socket, handler)
        await door.start()
        client = km.client()
        client.start_channels()
        messages: list[dict[str, Any]] = []
        try:
            await client.wait_for_ready(timeout=30)
            for code in (_OPEN, "strongroom.open('a/b')"):
                await client.execute_interactive(code, timeout=30, output_hook=messages.append, allow_stdin=False)
        finally:
            client.stop_channels()
            await door.stop()
            await km.shutdown_kernel(now=True)
        return [(message["msg_type"], message["content"]) for message in messages]

    found = unprivileged(lambda: asyncio.run(scenario()))
    printed = "".join(content["text"] for kind, content in found if kind == "stream")
    assert [content["ename"] for kind, content in found if kind == "error"] == ["AccessDenied"], found
    assert printed == "130 (3, 2) confidential Catalog\n"
    (error,) = [content for kind, content in found if kind == "error"]
    assert error["ename"] == "AccessDenied"
    assert error["traceback"] == ["You may not read a/b", "No grant.", "  because rule G2", "Next: Ask."]
