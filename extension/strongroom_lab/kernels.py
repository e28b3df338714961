"""Kernel, kernelspec and session managers: only Strongroom's kernel, only in its box, each with a gate and an ask door.

What a client sends along when it starts a kernel (name, id, folder, environment) decides nothing.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import datetime
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_server._tz import utcnow
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager, ServerKernelManager
from jupyter_server.services.sessions.sessionmanager import SessionManager
from strongroom_hub.problems import Problem
from strongroom_kernels.box import BoxError, Places
from strongroom_kernels.doors import AskDoor
from strongroom_kernels.kernelspec import NAME, PROVISIONER, kernel_dirs
from strongroom_kernels.provisioner import kernel_folder
from tornado import web
from traitlets import Bool, Enum

from strongroom_lab.ask import Questions
from strongroom_lab.gate import KernelGate
from strongroom_lab.lifetime import Lifetime
from strongroom_lab.workspace import Workspace

RESTART_PATIENCE = 20.0
"""Seconds for which the end of a kernel waits for its start."""


class OnlyStrongroom(KernelSpecManager):
    """Knows one kernelspec, whatever is installed beside it and whatever name a client asks for."""

    def find_kernel_specs(self) -> dict[str, str]:
        return {NAME: f"{kernel_dirs()[0]}/{NAME}"}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The spec. Raises HTTPError 404 for any other name, and 500 for a spec that would not start a box."""
        if kernel_name != NAME:
            raise web.HTTPError(404, "There is no kernel of that name here; the only one is Strongroom's.")
        spec = KernelSpec.from_resource_dir(self.find_kernel_specs()[NAME])
        if spec.metadata.get("kernel_provisioner", {}).get("provisioner_name") != PROVISIONER:
            raise web.HTTPError(500, "The installed kernelspec is not Strongroom's own.")
        return spec

    def get_all_specs(self) -> dict[str, Any]:
        return {
            name: {"resource_dir": folder, "spec": self.get_kernel_spec(name).to_dict()}
            for name, folder in self.find_kernel_specs().items()
        }


class KernelManager(ServerKernelManager):
    """One kernel with its gate and its ask door; its start and stop are recorded by control."""

    execution_state = Enum(["starting", "idle", "busy", "restarting", "dead"], allow_none=True)
    died = Bool(False)
    """Whether the kernel ended without having been asked to."""

    _recorded = False
    _touched: datetime | None = None
    _limits_told: set[str]
    _door: AskDoor | None = None
    _gate: KernelGate | None = None
    _lifetime: Lifetime | None = None
    _over = ""
    """Why this server ended the kernel, where it did."""

    @property
    def workspace(self) -> Workspace:
        manager: Any = self.parent
        found: Workspace = manager.parent.workspace
        return found

    @property
    def gate(self) -> KernelGate:
        if self._gate is None:
            self._gate = KernelGate(self, self.workspace)
        return self._gate

    @property
    def lifetime(self) -> Lifetime:
        if self._lifetime is None:
            self._lifetime = Lifetime(self.kernel_id, self.workspace, self._end_session)
        return self._lifetime

    async def _end_session(self, words: str) -> None:
        """Kill it: it is started anew as after any death, and a cell that ran says why it ended."""
        self._over = words
        if self.provisioner is not None:
            await self.provisioner.kill()

    def touch(self) -> None:
        """Note activity, to the minute: more would tell when exactly the kernel did something."""
        now = minute(utcnow())
        if now != self._touched:
            self._touched = self.last_activity = now
            if self.parent is not None:
                self.parent.last_kernel_activity = now

    async def _async_pre_start_kernel(self, **kw: Any) -> tuple[list[str], dict[str, Any]]:
        # Folder and environment come from clients and from the server's own environment.
        for name in ("cwd", "env"):
            kw.pop(name, None)
        self.kernel_id = self.kernel_id or kw.pop("kernel_id", str(uuid.uuid4()))
        notebook = self.workspace.notebooks.get(self.kernel_id, "")
        try:
            # The end of the kernel before a restart comes first in the log.
            await self.workspace.reported()
            await self.workspace.control.open_kernel(self.kernel_id, notebook, Places.from_environment().tier)
        except Problem as problem:
            raise in_words(problem) from problem
        self._recorded = True
        self.died = False
        self._over = ""
        self._limits_told = set()
        try:
            command: tuple[list[str], dict[str, Any]] = await super()._async_pre_start_kernel(**kw)
            provisioner: Any = self.provisioner
            provisioner.on_violation = self._note_violation
            await self._open_door()
        except Exception as error:
            await self._failed(error)
            raise
        return command

    def _note_violation(self, kind: str, counts: dict[str, int], text: str) -> None:
        """Report it; a limit is told to the person too, each once in a kernel's life: more would carry a message."""
        self.workspace.violations.note(self.kernel_id, kind, counts, text)
        if kind == "limit" and not self._limits_told & counts.keys():
            self._limits_told |= counts.keys()
            self.workspace.publish("notice", {"kernel": self.kernel_id, "rule": "limit", "text": text, "bytes": 0})

    async def _open_door(self) -> None:
        if self._door is None:
            manager: Any = self.parent
            questions = Questions(
                self.kernel_id,
                self.workspace,
                manager.parent.saver,
                lambda: (self.gate.current_entry, self.gate.current_code),
                self.lifetime.limit,
            )
            self._door = AskDoor(kernel_folder(self.kernel_id).ask_socket, questions.answer)
            await self._door.start()

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        try:
            await super()._async_launch_kernel(kernel_cmd, **kw)
        except Exception as error:
            await self._failed(error)
            raise

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, BoxError):
            self.workspace.violations.note(self.kernel_id, "start", {"box": 1}, str(error))
        await self._closed("did not start")

    async def _async_post_start_kernel(self, **kw: Any) -> None:
        await super()._async_post_start_kernel(**kw)
        self.gate.open()

    async def _async_cleanup_resources(self, restart: bool = False) -> None:
        self.lifetime.forget()
        words = self._over or getattr(self.provisioner, "death_words", None)
        await self.gate.close(died=self.died, words=words)
        reason = "died" if self.died else "restart" if restart else "shutdown"
        await self._closed(f"{reason}: {words}" if self.died and words else reason)
        await super()._async_cleanup_resources(restart=restart)

    async def _closed(self, reason: str) -> None:
        if self._door is not None:
            await self._door.stop()
            self._door = None
        if self._recorded:
            self._recorded = False
            self.workspace.close_kernel(self.kernel_id, reason)


class MappingManager(AsyncMappingKernelManager):
    """The server's kernels. Activity is what their gates saw of it; no second listener hears them."""

    default_kernel_name = NAME

    async def _async_start_kernel(self, *, kernel_id: str | None = None, path: Any = None, **kwargs: Any) -> str:  # noqa: ARG002
        """Start a kernel under an id that is a UUID: it becomes the name of folders."""
        if kernel_id is not None and not _is_uuid(kernel_id):
            raise web.HTTPError(400, "A kernel's id is a UUID.")
        name = kwargs.get("kernel_name") or NAME
        specs: Any = self.kernel_spec_manager
        specs.get_kernel_spec(name)
        started: str = await super()._async_start_kernel(kernel_id=kernel_id, kernel_name=name)
        return started

    start_kernel = _async_start_kernel  # type: ignore[assignment]  # as the base class does it

    async def _async_shutdown_kernel(
        self, kernel_id: str, now: bool | None = False, restart: bool | None = False
    ) -> None:
        """As the base class, which fails over a kernel that has died and is just being started again."""
        kernel = self._kernels.get(kernel_id)
        deadline = time.monotonic() + RESTART_PATIENCE
        # Looked at, not awaited: it is one of two kinds of future, by who started it.
        while kernel is not None and not kernel.ready.done() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await super()._async_shutdown_kernel(kernel_id, now=now, restart=restart)

    shutdown_kernel = _async_shutdown_kernel  # type: ignore[assignment]  # as the base class does it

    async def _async_shutdown_all(self, now: bool = False) -> None:  # noqa: ARG002 - the base class's signature
        """End all kernels at once: the server stops, and asking a busy one first would only take time."""
        await super()._async_shutdown_all(now=True)

    shutdown_all = _async_shutdown_all  # type: ignore[assignment]  # as the base class does it

    def start_watching_activity(self, kernel_id: str) -> None:
        kernel = self._kernels[kernel_id]
        kernel.reason = ""
        kernel.touch()
        kernel.add_restart_callback(lambda: self._note_death(kernel, "restarting"), "restart")
        kernel.add_restart_callback(lambda: self._note_death(kernel, "dead"), "dead")

    def stop_watching_activity(self, kernel_id: str) -> None:
        """Nothing listens beside the gate."""

    def _note_death(self, kernel: KernelManager, state: str) -> None:
        kernel.died = True
        kernel.execution_state = state
        kernel.gate.announce(state)

    def kernel_model(self, kernel_id: str) -> dict[str, Any]:
        """The REST model without anything that a kernel could have written, and times to the minute."""
        model: dict[str, Any] = super().kernel_model(kernel_id)
        model.pop("reason", None)
        return model


class Sessions(SessionManager):
    """Sessions as Jupyter knows them; which notebook a kernel belongs to is what its cells are recorded under."""

    def get_kernel_env(self, path: str | None, name: str | None = None) -> dict[str, str]:  # noqa: ARG002
        return {}

    @property
    def _workspace(self) -> Workspace:
        server: Any = self.parent
        found: Workspace = server.workspace
        return found

    async def start_kernel_for_session(  # noqa: PLR0917 - the base class's signature
        self,
        session_id: str,
        path: str | None,
        name: Any,
        type: Any,  # noqa: A002 - the base class's signature
        kernel_name: Any,
        kernel_id: str | None = None,  # noqa: ARG002 - ids are made here
    ) -> str:
        minted = str(uuid.uuid4())
        self._workspace.notebooks[minted] = path or ""
        try:
            return str(await super().start_kernel_for_session(session_id, path, name, type, kernel_name, minted))
        except Exception:
            self._workspace.notebooks.pop(minted, None)
            raise

    async def save_session(
        self,
        session_id: str,
        path: Any = None,
        name: Any = None,
        type: Any = None,  # noqa: A002 - the base class's signature
        kernel_id: Any = None,
    ) -> dict[str, Any]:
        self._note(kernel_id, path)
        saved: dict[str, Any] = await super().save_session(session_id, path, name, type, kernel_id)
        return saved

    async def update_session(self, session_id: str, **changes: Any) -> None:
        await super().update_session(session_id, **changes)
        row = self.cursor.execute("SELECT kernel_id, path FROM session WHERE session_id=?", (session_id,)).fetchone()
        if row is not None:
            self._note(row["kernel_id"], row["path"])

    def _note(self, kernel_id: Any, path: Any) -> None:
        if isinstance(kernel_id, str) and isinstance(path, str):
            self._workspace.rename(kernel_id, path[:1024])


def minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def in_words(problem: Problem) -> web.HTTPError:
    """A problem for Jupyter's own handlers, whose error texts take arguments."""
    return web.HTTPError(problem.status, " ".join(problem.lines()).replace("%", "%%"))


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False
