"""A kernel's gate from its start to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.extension.conftest import Lab


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
