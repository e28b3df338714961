"""Starts one notebook server per user and project, under its own uid and with a credential of its own.

The person never sees that credential: control makes it, it reaches the server in a file that the server reads once,
and it is void as soon as the server has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, ClassVar

import httpx
from jupyterhub.spawner import LocalProcessSpawner, SpawnException
from jupyterhub.utils import random_port, url_path_join
from traitlets import Instance as InstanceOf

from strongroom_hub import pages, run_as, run_folders
from strongroom_hub.audit.keys import VERIFIER_KEY
from strongroom_hub.config import Instance
from strongroom_hub.ground import Ground, private_folder
from strongroom_hub.internal import ControlClient
from strongroom_hub.machine.start import StartCheck
from strongroom_hub.problems import Problem

SERVER_PROGRAM = "from strongroom_lab.main import main; main()"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where servers look for programs."""
SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
READY_POLL_SECONDS = 0.1
STOP_GRACE_SECONDS = 10
END_RETRIES, END_RETRY_SECONDS = 10, 1.0
LOG_LINES_BYTES = 4 * 1024 * 1024
"""A server's log starts afresh above this size."""


class StrongroomSpawner(LocalProcessSpawner):
    """A named server is a project. Arguments and environment are ours alone; a person chooses a profile."""

    place = InstanceOf(Instance, help="The instance this hub runs.").tag(config=True)
    control = InstanceOf(ControlClient, help="Control's internal API with the hub's credential.").tag(config=True)
    machine: ClassVar[StartCheck]
    """What the doctor found at the hub's start. Not a trait: each spawner would get a copy."""

    last_profile = ""
    """What the server was started with last, for the page that offers a choice."""

    _server_id = ""
    _uid: int | None = None
    _ground: Ground | None = None

    # ------------------------------------------------------------------------------------------------------- start

    async def start(self) -> str:
        """Register with control, lay out folders, start the process and wait until it answers.

        Returns the server's URL. Raises SpawnException in words: a refusal by control, or a server that ended while
        starting (reported at once, not when some timeout is over).
        """
        if not SAFE_NAME.fullmatch(self.name) or not SAFE_NAME.fullmatch(self.user.name):
            raise _refusal(_no_project())
        if self._server_id:
            await self._clean_up("left over from an earlier start")
        groups = [group.name for group in self.user.orm_user.groups]
        asked = {"user": self.user.name, "project": self.name, "profile": self._choice(), "groups": groups}
        try:
            grant = await self.control.call_async("POST", "servers", asked)
        except Problem as problem:
            raise _refusal(problem) from None
        self._server_id, self.last_profile = str(grant["server"]), str(grant["profile"]["name"])
        self._marker.parent.mkdir(mode=0o700, exist_ok=True)
        self._marker.touch(mode=0o600)
        weak = await self.machine.refusal(str(grant["profile"]["sandbox"]))
        if weak is not None:
            self.log.error("no server starts: %s", weak)
            raise _refusal(weak)
        uids = self.place.uids
        self._uid = uids.first_server + int(grant["uid_index"]) if uids is not None else None
        self.port = random_port()
        ground = self._ground = Ground(
            self.place, self.name, self.user.name, self._server_id, self._uid, grant["profile"]
        )
        try:
            await asyncio.to_thread(ground.lay)
            credential = run_folders.write_once(ground.run, "credential", str(grant["credential"]), self._uid)
            self._start_process(self._environment(ground, credential, grant), ground.folders["state"])
            ground.admit(self.pid)
        except OSError as error:
            raise _refusal(_no_folders(error)) from error
        await self._wait_until_ready()
        return f"http://127.0.0.1:{self.port}"

    def _choice(self) -> str | None:
        """The profile that this start asks for; None for the default. A choice counts once.

        Where a choice is refused, JupyterHub tries again without it: then the page's own question is still the answer.
        """
        chosen = self.user_options.get("profile")
        self.orm_spawner.user_options = {}
        if chosen is None and self.handler is not None:
            chosen = self.handler.get_query_argument("opt-profile", None)
        return None if chosen is None else str(chosen)

    def _start_process(self, environment: dict[str, str], cwd: Path) -> None:
        command = run_as.wrap(
            sys.executable, self._uid, [self.place.server_python, "-c", SERVER_PROGRAM], kill_with_parent=True
        )
        self.log.info("starting server %s (%s) under uid %s", self._log_name, self._server_id, self._uid)
        with self._open_log() as log:
            self.proc = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.proc.pid

    def _open_log(self) -> IO[bytes]:
        folder = self.place.logs_dir / "servers"
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / f"{self.user.name}-{self.name}.log"
        fresh = file.exists() and file.stat().st_size > LOG_LINES_BYTES
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if fresh else os.O_APPEND)
        return os.fdopen(os.open(file, flags, 0o600), "wb")

    async def _wait_until_ready(self) -> None:
        """Return once the server answers HTTP. Raises SpawnException as soon as its process has ended."""
        url = f"http://127.0.0.1:{self.port}{url_path_join(self.server.base_url, 'api')}"
        async with httpx.AsyncClient(timeout=5) as client:
            while True:
                status = self.proc.poll()
                if status is not None:
                    raise _refusal(_ended_at_start(self.name, status))
                try:
                    await client.get(url)
                except httpx.HTTPError:
                    await asyncio.sleep(READY_POLL_SECONDS)
                else:
                    return

    def _environment(self, ground: Ground, credential: Path, grant: dict[str, Any]) -> dict[str, str]:
        """Everything the server gets to know, built from nothing: the hub's own environment stays with the hub."""
        place = self.place
        state = ground.folders["state"]
        hub = {name: value for name, value in self.get_env().items() if name.startswith("JUPYTERHUB_")}
        console = url_path_join(self.hub.base_url.removesuffix("hub/"), "services", "control/")
        told = hub | ground.environment()
        return told | {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": str(state),
            "TMPDIR": str(private_folder(ground.run / "tmp", self._uid)),
            "JUPYTER_CONFIG_DIR": str(state / "config"),
            "JUPYTER_DATA_DIR": str(state / "data"),
            "JUPYTER_RUNTIME_DIR": str(private_folder(ground.run / "jupyter", self._uid)),
            "JUPYTER_PREFER_ENV_PATH": "1",
            # Nothing is ever imported from where a process happens to be.
            "PYTHONSAFEPATH": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "STRONGROOM_SERVER_ID": self._server_id,
            "STRONGROOM_PROJECT": self.name,
            "STRONGROOM_CONTROL_SOCKET": str(place.control_socket),
            "STRONGROOM_CELLS_SOCKET": str(place.cells_socket),
            "STRONGROOM_VAULT_SOCKET": str(place.vault_socket),
            "STRONGROOM_DATA_SOCKET": str(place.data_socket),
            "STRONGROOM_CREDENTIAL_FILE": str(credential),
            "STRONGROOM_PROFILE": json.dumps(grant["profile"]),
            "STRONGROOM_PROFILES": json.dumps(grant["profiles"]),
            "STRONGROOM_KERNEL_PREFIX": place.kernel_prefix,
            "STRONGROOM_CONSOLE_URL": console,
            "STRONGROOM_LOG_KEY": self._log_key(),
        }

    def _log_key(self) -> str:
        """Of the audit log; empty where the file is gone: then pages say that they cannot check, and cells run."""
        try:
            return (self.place.public_dir / VERIFIER_KEY).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            self.log.error("servers are started without the audit log's public key: %s", error)  # noqa: TRY400 - words suffice
            return ""

    def options_from_form(self, form_data: dict[str, Any]) -> dict[str, Any]:
        """The profile that somebody chose; control decides whether they may have it."""
        chosen = form_data.get("profile")
        return {"profile": str(chosen[0])} if isinstance(chosen, list) and chosen else {}

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """No system account stands behind a person here."""
        return env

    # -------------------------------------------------------------------------------------------------------- stop

    async def stop(self, now: bool = False) -> None:
        """SIGTERM, some grace, then SIGKILL to the whole process group."""
        if await self.poll() is not None:
            return
        if not now:
            await self._signal(signal.SIGTERM)
            await self.wait_for_death(STOP_GRACE_SECONDS)
        self._kill_group()
        await self.wait_for_death(STOP_GRACE_SECONDS)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.killpg(self.pid, signal.SIGKILL)

    async def poll(self) -> int | None:
        """As the hub defines it; a server that has died takes what is left of it along at once."""
        pid = self.pid
        status: int | None = await super().poll()
        if status is not None and pid:
            self.pid = pid
            self._kill_group()
            self.pid = 0
            await self._clean_up("the server's process ended")
        return status

    async def run_post_stop_hook(self) -> None:
        """Runs after every stop, also of a server that never came up."""
        await self._clean_up("stopped")

    async def _clean_up(self, reason: str) -> None:
        """End what runs under the server's uid, remove its run folder, void its credential. May be repeated."""
        server, uid, ground = self._server_id, self._uid, self._ground
        self._server_id, self._uid, self._ground = "", None, None
        if not server:
            return
        if uid is not None:
            ending = await asyncio.create_subprocess_exec(*run_as.wrap_end_all(sys.executable, uid), env={})
            await ending.wait()
        if ground is not None:
            try:
                await asyncio.to_thread(ground.clear)
            except OSError as error:
                self.log.error("something of server %s stays until the hub's next start: %s", server, error)  # noqa: TRY400 - words suffice
        ending_call = asyncio.create_task(end_server(self.control, self.place, server, reason, self.log))
        _running.add(ending_call)
        ending_call.add_done_callback(_running.discard)
        await asyncio.wait([ending_call], timeout=END_RETRY_SECONDS * 2)

    @property
    def _marker(self) -> Path:
        return markers(self.place) / self._server_id

    # ------------------------------------------------------------------------------------------------------- state

    def load_state(self, state: dict[str, Any]) -> None:
        """Servers end with their hub, so a process number from an earlier life means nothing."""
        super().load_state(state)
        self.pid = 0


_running: set[asyncio.Task[None]] = set()


def markers(place: Instance) -> Path:
    """A file per server whose credential may still be valid; what is here at the hub's start is ended then."""
    return place.hub_dir / "servers"


async def end_server(control: ControlClient, place: Instance, server: str, reason: str, log: Any) -> None:
    """Have control void a server's credential; keeps trying for a while, and leaves the marker when it cannot."""
    for attempt in range(END_RETRIES):
        try:
            await control.call_async("DELETE", f"servers/{server}", {"reason": reason})
        except Problem as problem:
            if problem.status not in {404, 410}:
                if attempt == END_RETRIES - 1:
                    log.error("server %s could not be ended at control: %s", server, problem)  # noqa: TRY400
                    return
                await asyncio.sleep(END_RETRY_SECONDS)
                continue
        (markers(place) / server).unlink(missing_ok=True)
        return


def _refusal(problem: Problem) -> SpawnException:
    text = pages.sentences(problem)
    error = SpawnException(text, reason=problem.slug, status_code=problem.status)
    error.jupyterhub_message = text
    return error


def _no_project() -> Problem:
    return Problem(
        400,
        "no-project",
        "No project chosen",
        "A notebook server always belongs to one of your projects.",
        next="Choose a project on the home page.",
    )


def _no_folders(error: OSError) -> Problem:
    return Problem(
        500,
        "no-folders",
        "The server's folders could not be made",
        f"{error.strerror or 'failed'}: {error.filename or error}",
        next="Tell your operator: the hub's log says more.",
    )


def _ended_at_start(project: str, status: int) -> Problem:
    ended = f"signal {-status}" if status < 0 else f"exit code {status}"
    return Problem(
        502,
        "server-ended",
        "The notebook server did not start",
        f"The server of project {project} ended while starting ({ended}).",
        next="Try again; if it happens again, tell your operator: the server's own log in the logs folder says why.",
    )
