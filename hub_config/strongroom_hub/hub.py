"""The hub of an instance: its configuration, and `python -m strongroom_hub.hub INSTANCE_FILE`, which runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from tornado.ioloop import PeriodicCallback
from traitlets.utils.importstring import import_item

import strongroom_hub
from strongroom_hub import pages, reaper, run_as, run_folders
from strongroom_hub.authenticator import StrongroomAuthenticator, enclave_authenticator
from strongroom_hub.config import ENVIRONMENT_VARIABLE, Instance
from strongroom_hub.internal import ControlClient
from strongroom_hub.locks import AlreadyRunningError, lock
from strongroom_hub.machine.start import StartCheck
from strongroom_hub.roles import ROLES
from strongroom_hub.scrub import scrub_logs
from strongroom_hub.spawner import StrongroomSpawner, end_server, markers

SESSION_DAYS = 0.5
SERVICE_CHECK_MS = 1000
PROXY_PATIENCE_SECONDS = 5
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ")
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class StrongroomHub(JupyterHub):
    """JupyterHub that ends servers while control can still record it, and ends at control what an earlier hub left."""

    _watch: PeriodicCallback | None = None

    async def initialize(self, *arguments: Any, **keywords: Any) -> None:
        """As JupyterHub does, with session ids and other secrets of requests kept out of the log."""
        await super().initialize(*arguments, **keywords)
        logging.getLogger("tornado.application").addFilter(_names_no_session)
        scrub_logs(self.log)

    async def start(self) -> None:
        """Start all, then void the credentials of servers that ended together with an earlier hub."""
        await super().start()
        self._watch = PeriodicCallback(self._restart_dead_services, SERVICE_CHECK_MS)
        self._watch.start()
        place = Instance.load()
        control = ControlClient(place.control_socket, place.hub_token_file)
        StrongroomSpawner.machine.begin(control, self.log)
        left = [path.name for path in markers(place).glob("*")] if markers(place).is_dir() else []
        self._leftovers = [
            asyncio.ensure_future(end_server(control, place, server, "the hub was restarted", self.log))
            for server in left
        ]

    async def _restart_dead_services(self) -> None:
        """Notice a dead control or vault within a second; JupyterHub alone looks every half minute."""
        for service in self._service_map.values():
            process = service.spawner.proc if service.managed and service.spawner else None
            if process is not None and process.poll() is not None:
                await service.spawner.poll_and_notify()

    async def cleanup(self) -> None:
        """Stop the users' servers first; JupyterHub alone would stop control before them."""
        if self._watch is not None:
            self._watch.stop()
        stopping = [
            user.stop(name)
            for user in list(self.users.values())
            for name, spawner in list(user.spawners.items())
            if spawner.active
        ]
        for outcome in await asyncio.gather(*stopping, return_exceptions=True):
            if isinstance(outcome, BaseException):
                self.log.error("a server did not stop cleanly: %s", outcome)
        await super().cleanup()
        process = self.proxy.proxy_process
        if process is not None:
            # JupyterHub sends the signal and leaves: who started a process also sees it end.
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, PROXY_PATIENCE_SECONDS)


def _names_no_session(record: logging.LogRecord) -> bool:
    """Drop the line that JupyterHub writes at each new XSRF cookie: it names the session of that cookie."""
    return not str(record.msg).startswith("Setting new xsrf cookie")


def operators_files() -> list[str]:
    """The configuration file that the instance names, if any; it is read first, so that what we set wins."""
    place = Instance.load()
    return [place.hub_config] if place.hub_config else []


def _authenticator(chosen: Any) -> type[Authenticator]:
    """The class, by itself, by its name `package.module.Class` or by the short name that it is registered under."""
    if isinstance(chosen, type):
        return chosen
    registered = entry_points(group="jupyterhub.authenticators", name=str(chosen).lower())
    found: type[Authenticator] = next(iter(registered)).load() if registered else import_item(str(chosen))
    return found


def configure(c: Any) -> None:
    """Fill in JupyterHub's configuration object `c` from the instance that `STRONGROOM_INSTANCE` names."""
    place = Instance.load()
    control = ControlClient(place.control_socket, place.hub_token_file)
    _network(c, place)
    _sessions(c, place)
    chosen = c.JupyterHub.get("authenticator_class") or StrongroomAuthenticator
    c.JupyterHub.authenticator_class = enclave_authenticator(_authenticator(chosen))
    c.InEnclave.control = control
    c.Authenticator.refresh_pre_spawn = True
    c.Authenticator.admin_users = set()
    c.JupyterHub.spawner_class = StrongroomSpawner
    c.StrongroomSpawner.place = place
    c.StrongroomSpawner.control = control
    StrongroomSpawner.machine = StartCheck(place)
    c.Spawner.env_keep = []
    c.Spawner.poll_interval = 2
    c.Spawner.start_timeout = 60
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.redirect_to_server = False
    c.JupyterHub.default_url = "/hub/home"
    c.JupyterHub.template_paths = [str(pages.TEMPLATES)]
    c.JupyterHub.tornado_settings = {"headers": SECURITY_HEADERS}
    c.JupyterHub.load_roles = ROLES
    c.JupyterHub.services = _services(place)
    c.JupyterHub.admin_access = False
    c.JupyterHub.last_activity_interval = 60


def _network(c: Any, place: Instance) -> None:
    uid = place.uids.proxy if place.uids else None
    c.JupyterHub.bind_url = place.public_url
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{place.hub_port}"
    c.JupyterHub.ssl_key = str(place.tls_dir / "server.key")
    c.JupyterHub.ssl_cert = str(place.tls_dir / "server.pem")
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{place.proxy_api_port}"
    c.ConfigurableHTTPProxy.command = run_as.wrap(sys.executable, uid, [place.node, place.proxy_script])
    c.ConfigurableHTTPProxy.pid_file = str(place.hub_dir / "proxy.pid")
    c.ConfigurableHTTPProxy.log_level = "warn"


def _sessions(c: Any, place: Instance) -> None:
    c.JupyterHub.db_url = f"sqlite:///{place.hub_dir / 'hub.sqlite'}"
    c.JupyterHub.cookie_secret_file = str(place.hub_dir / "cookie_secret")
    c.JupyterHub.cookie_max_age_days = SESSION_DAYS
    c.JupyterHub.oauth_token_expires_in = int(SESSION_DAYS * 86400)


def _services(place: Instance) -> list[dict[str, Any]]:
    """Control and vault: the hub starts them, restarts them when they die and stops them."""
    uids = place.uids
    environment = {ENVIRONMENT_VARIABLE: str(place.path), "PYTHONDONTWRITEBYTECODE": "1"}
    shared: dict[str, Any] = {"environment": environment, "cwd": "/"}

    def command(module: str, uid: int | None) -> list[str]:
        return run_as.wrap(sys.executable, uid, [sys.executable, "-m", module])

    return [
        # First: the hub starts them in this order and waits for control's page, not for the vault.
        {"name": "vault", "command": command("strongroom_hub.vault", uids.vault if uids else None), **shared},
        {
            "name": "control",
            "url": f"http://127.0.0.1:{place.control_port}",
            "oauth_no_confirm": True,
            "command": command("strongroom_hub.control", uids.control if uids else None),
            **shared,
        },
    ]


def config_file() -> Path:
    """`jupyterhub_config.py`: inside the installed package, or beside it in a checkout."""
    package = Path(strongroom_hub.__file__).parent
    shipped = package / "jupyterhub_config.py"
    return shipped if shipped.is_file() else package.parent / "jupyterhub_config.py"


def serve(place: Instance) -> None:
    """Run the hub of `place` until SIGTERM or Ctrl-C. Raises AlreadyRunningError, OSError (the run folder)."""
    os.umask(0o077)
    lock(place)
    reaper.reap(place)
    run_folders.prepare(place)
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=str(place.hub_dir))
    os.environ[ENVIRONMENT_VARIABLE] = str(place.path)
    os.chdir(place.hub_dir)
    StrongroomHub.launch_instance(["-f", str(config_file())])


def main(arguments: list[str]) -> int:
    try:
        serve(Instance.load(Path(arguments[0]) if arguments else None))
    except (AlreadyRunningError, OSError, ValueError) as error:
        print(f"strongroom: {error}", file=sys.stderr)  # noqa: T201 - the command's own words
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
