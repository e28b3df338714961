"""The kernel provisioner: starts kernels in boxes, and nowhere else.

Whatever a client sends along (command, environment, working folder, kernel name) is ignored: a kernel's box is made of
the server's own `Places` and the kernel's id.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import time
from collections.abc import Callable
from typing import Any, ClassVar, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from strongroom_kernels import box as inside
from strongroom_kernels.box import BoxError, Places
from strongroom_kernels.cgroups import Delegation, KernelCgroup
from strongroom_kernels.folders import KernelFolder, sweep
from strongroom_kernels.limits import LimitWatch
from strongroom_kernels.log import OutputLog
from strongroom_kernels.probe import require_sound
from strongroom_kernels.profiles import Profiles
from strongroom_kernels.sandbox import Boxed, Sandbox, refuse_unfit_caller, sandbox_of, start_failure
from strongroom_kernels.watch import Answering

OnViolation = Callable[[str, dict[str, int], str], None]
"""(kind, counts by name, words) of what a kernel tried or ran into; called in the event loop's thread."""

_PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4, "control_port": 5}
_START_SECONDS = 20.0
_POLL_SECONDS = 0.02
_LOOK_SECONDS = 2.0
_REMOVE_TRIES = 50
_REFUSED_CALLS = "Code in the kernel made system calls that boxes refuse and that no library makes by itself."


def kernel_folder(kernel_id: str, places: Places | None = None) -> KernelFolder:
    """Where a kernel's folder is. The gate puts an `AskDoor` at its `ask_socket` once the kernel has started."""
    return KernelFolder.of((places or Places.from_environment()).run_dir, kernel_id)


class StrongroomProvisioner(KernelProvisionerBase):
    """One kernel in its box, from launch to removal of its folder."""

    _sound: ClassVar[set[tuple[str, Places]]] = set()
    """Boxes that held when this process tried them."""

    on_violation: OnViolation | None = None
    """Set by whoever reports; what comes before that is not told."""

    _boxed: Boxed | None = None
    _folder: KernelFolder | None = None
    _log: OutputLog | None = None
    _status: int | None = None
    _death: str | None = None
    _asked_to_end = False
    _group: KernelCgroup | None = None
    _limits: LimitWatch | None = None
    _looking: asyncio.Task[None] | None = None
    _answering: Answering | None = None

    @property
    def has_process(self) -> bool:
        return self._boxed is not None

    @property
    def death_words(self) -> str | None:
        """Why the kernel ended by itself, for people; None while it runs or when somebody asked it to end.

        Known as soon as `poll` has seen the end (the restarter's callbacks can use it), forgotten at the next launch.
        """
        return self._death

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002 - they come from clients
        """Make the kernel's folder and tell the manager its sockets."""
        refuse_unfit_caller()
        places = Places.from_environment()
        self._require_sound_box(places)
        folder = self._folder or KernelFolder.of(places.run_dir, self.kernel_id)
        folder.create()
        self._folder = folder
        manager: Any = self.parent
        manager.transport = "ipc"
        manager.ip = str(folder.sockets / "c")
        manager.connection_file = str(folder.connection_file)
        for name, number in _PORTS.items():
            setattr(manager, name, number)
        manager.write_connection_file()
        self.connection_info = manager.get_connection_info()
        return {"cmd": list(self.kernel_spec.argv)}

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ARG002 - see above
        """Start the box and return once it is closed around the launcher. Raises BoxError in words."""
        if self._folder is None:
            raise BoxError("No kernel can start: its folder was not prepared. Start kernels through the server.")
        try:
            self._start(self._folder, Places.from_environment())
            await self._until_closed()
        except BaseException:
            await self.cleanup()
            raise
        self._answer_watched()
        self._looking = asyncio.create_task(self._look())
        return self.connection_info

    async def poll(self) -> int | None:
        """None while the kernel runs, else its exit status (0 when it never ran)."""
        if self._boxed is None:
            return 0 if self._status is None else self._status
        status = self._boxed.poll()
        if status is not None:
            self._note_end(status)
        return status

    async def wait(self) -> int | None:
        """Wait for the end and give back what the host held for the process."""
        while self._boxed is not None:
            if await self.poll() is None:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                await self._settle()
        return self._status

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel and its process group, not bubblewrap."""
        if self._boxed is not None:
            self._asked_to_end = self._asked_to_end or signum in (signal.SIGTERM, signal.SIGKILL)
            self._boxed.send_signal(signum)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002 - the base class's signature
        """End everything in the box at once."""
        self._asked_to_end = True
        if self._boxed is not None:
            self._boxed.kill()

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        """Ask the kernel to end."""
        await self.send_signal(signal.SIGTERM)

    async def shutdown_requested(self, restart: bool = False) -> None:  # noqa: ARG002
        """Remember that the end was wanted."""
        self._asked_to_end = True

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the kernel's folder; before a restart it stays, because connected clients know its sockets."""
        if self._boxed is not None:
            self._boxed.kill()
            await self.wait()
        if not restart and self._folder is not None:
            self._folder.remove()
            self._folder = None

    def resolve_path(self, path: str) -> str | None:  # noqa: ARG002
        """Never: the answer would tell a client which paths exist on the host."""
        return None

    @staticmethod
    def sandboxes(tier: str) -> Sandbox:
        """The way to build boxes of a tier. Raises BoxError."""
        return sandbox_of(tier)

    def _require_sound_box(self, places: Places) -> None:
        sandbox = self.sandboxes(places.tier)
        key = (sandbox.name, places)
        if key not in self._sound:
            sweep(places.run_dir)
            for weakness in require_sound(sandbox, places):
                self.log.warning("The kernels' box is weaker than it could be: %s", weakness)
            self._sound.add(key)

    def _inside_view(self, sockets: str) -> bytes:
        """The connection file that the kernel reads: the same key, its own paths. Never on the host's disk."""
        key = cast("bytes", self.connection_info["key"]).decode("ascii")
        return json.dumps({**self.connection_info, "ip": f"{sockets}/c", "key": key}).encode()

    def _start(self, folder: KernelFolder, places: Places) -> None:
        profiles = Profiles.from_environment()
        group = self._make_group(folder, profiles)
        if group is not None:
            places = dataclasses.replace(places, limits=group.beside(places.limits))
        sandbox, box = self.sandboxes(places.tier), places.box(folder.ask, folder.sockets)
        for left in folder.sockets.iterdir():
            left.unlink()  # of the process before a restart
        log = OutputLog(folder.log)
        try:
            files = {inside.CONNECTION_FILE: self._inside_view(sandbox.sockets(box))}
            self._boxed = sandbox.start(box, ["kernel", inside.CONNECTION_FILE], log, files, cgroup=group, watch=True)
        except BaseException:
            log.close()
            raise
        self._log, self._status, self._death, self._asked_to_end = log, None, None, False
        self._limits = LimitWatch(profiles, group, places.work)

    def _answer_watched(self) -> None:
        """Answer the calls that the box's filters pass on to this server; report those that are refused."""
        watch = None if self._boxed is None else self._boxed.watch
        if watch is not None:
            self._answering = Answering(watch, lambda counts: self._report("syscall", counts, _REFUSED_CALLS))
            self._answering.start()

    def _make_group(self, folder: KernelFolder, profiles: Profiles) -> KernelCgroup | None:
        delegation = Delegation.from_environment()
        if delegation is None:
            return None
        self._group = KernelCgroup(delegation, folder.path.name, profiles.chosen)
        self._group.create()
        return self._group

    async def _look(self) -> None:
        """Tell, every now and then, which limits the kernel ran into."""
        while self._boxed is not None and self._limits is not None:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._status is None:
                for told in self._limits.look():
                    self._report("limit", {told.name: told.count}, told.text)

    def _report(self, kind: str, counts: dict[str, int], text: str) -> None:
        if self.on_violation is not None:
            self.on_violation(kind, counts, text)

    async def _until_closed(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while (log := self._log) is not None and not log.ready.is_set():
            if await self.poll() is not None or time.monotonic() > deadline:
                await self.kill()
                await asyncio.to_thread(log.close)
                if log.ready.is_set():
                    return  # it came up and ended between two looks: the manager will see a dead kernel
                raise BoxError(start_failure(log))
            await asyncio.sleep(_POLL_SECONDS / 4)

    def _note_end(self, status: int) -> None:
        if self._status is not None:
            return
        self._status = status
        if self._asked_to_end or self._limits is None:
            return
        self._death, limit = self._limits.death(status)
        if limit is not None:
            self._report("limit", {limit.name: limit.count}, limit.text)

    async def _settle(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._answering is not None:
            self._answering.stop()
            self._answering = None
        if self._boxed is not None:
            self._boxed.close()
            self._boxed = None
        if self._log is not None:
            self._log.close()
        await self._remove_group()

    async def _remove_group(self) -> None:
        """Its last process may still be ending; the hub's sweep takes what stays."""
        for _ in range(_REMOVE_TRIES):
            if self._group is None or self._group.remove():
                break
            await asyncio.sleep(_POLL_SECONDS)
        self._group = None
