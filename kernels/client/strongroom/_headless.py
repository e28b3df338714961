"""Kernels inside a kernel's box, as papermill and nbclient start them: they speak over Unix sockets, like their parent.

A box has no TCP, not even to itself, so the usual ports cannot be had. This provisioner is the kernelspec's own; the
child shares the parent's doors, and what it reads is recorded under the parent's cell.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner


class InnerProvisioner(LocalProvisioner):
    """As jupyter_client's own, over `ipc`."""

    _folder: str | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Choose Unix sockets before ports are looked for."""
        manager: Any = self.parent
        if manager is not None and self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="kernel-")
            manager.transport, manager.ip = "ipc", f"{self._folder}/s"
        prepared: dict[str, Any] = await super().pre_launch(**kwargs)
        return prepared

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """What it says beside Jupyter's channels (no TCP, no look at processes) is no output of the notebook."""
        return await super().launch_kernel(cmd, **{**kwargs, "stderr": subprocess.DEVNULL})

    async def cleanup(self, restart: bool = False) -> None:
        await super().cleanup(restart=restart)
        if not restart and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
