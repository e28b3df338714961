"""The single-user server: JupyterLab with everything closed that is not needed, behind the hub's login.

All settings are made here. Neither a command line nor a file of a user or of the machine changes them. Start it with
`python -c "from strongroom_lab.main import main; main()"`: under the hub's environment it is a hub's server, without
one it asks for the token in JUPYTER_TOKEN.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_server.auth.identity import IdentityProvider
from jupyter_server.serverapp import ServerApp
from jupyterlab.handlers.announcements import NeverCheckForUpdate
from strongroom_hub.problems import Problem
from strongroom_hub.scrub import scrub_logs
from strongroom_kernels.kernelspec import NAME, PROVISIONER
from traitlets.config import Config

from strongroom_lab import page
from strongroom_lab.contents import Notebooks
from strongroom_lab.control import Control
from strongroom_lab.gate import Gate
from strongroom_lab.handlers import routes
from strongroom_lab.kernels import KernelManager, MappingManager, OnlyStrongroom, Sessions
from strongroom_lab.lean import JupyterHubSingleUser
from strongroom_lab.routes import SERVICES, prune
from strongroom_lab.saves import Saver
from strongroom_lab.settings import Settings
from strongroom_lab.vault import Vault
from strongroom_lab.workspace import Workspace

MESSAGE_LIMIT = 16 << 20
BODY_LIMIT = 64 << 20
IDLE_KERNEL_SECONDS = 8 * 3600
"""A kernel that runs nothing and that no page shows ends after this time, and gives its memory back."""
CULL_SECONDS = 300
LAB = Path(sys.prefix) / "share" / "jupyter"
HUB = "JUPYTERHUB_SERVICE_URL"


def fixed(settings: Settings) -> Config:
    """The whole configuration of the server."""
    config = Config()
    server = config.ServerApp
    server.root_dir = str(settings.notebooks)
    server.terminals_enabled = False
    server.default_url = "/lab"
    server.open_browser = False
    server.quit_button = False
    server.allow_root = False
    server.allow_unauthenticated_access = False
    server.reraise_server_extension_failures = True
    server.max_body_size = BODY_LIMIT
    server.max_buffer_size = BODY_LIMIT
    server.kernel_manager_class = MappingManager
    server.kernel_spec_manager_class = OnlyStrongroom
    server.kernel_websocket_connection_class = Gate
    server.session_manager_class = Sessions
    server.contents_manager_class = Notebooks
    server.tornado_settings = {
        "headers": {
            "Content-Security-Policy": page.policy(LAB / "lab" / "static" / "index.html"),
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        },
        "websocket_max_message_size": MESSAGE_LIMIT,
    }
    config.MappingKernelManager.buffer_offline_messages = False
    config.MappingKernelManager.default_kernel_name = NAME
    config.MappingKernelManager.cull_idle_timeout = IDLE_KERNEL_SECONDS
    config.MappingKernelManager.cull_interval = CULL_SECONDS
    config.MappingKernelManager.cull_connected = False
    config.MappingKernelManager.cull_busy = False
    config.MultiKernelManager.kernel_manager_class = f"{KernelManager.__module__}.{KernelManager.__qualname__}"
    config.KernelProvisionerFactory.default_provisioner_name = PROVISIONER
    config.ContentsManager.allow_hidden = False
    config.FileContentsManager.delete_to_trash = False
    config.NotebookNotary.data_dir = str(settings.data_dir)
    config.NotebookNotary.db_file = str(settings.data_dir / "signatures.db")
    config.NotebookNotary.secret_file = str(settings.data_dir / "notebook_secret")
    lab = config.LabApp
    lab.extension_manager = "readonly"
    lab.lock_all_plugins = True
    lab.news_url = None
    lab.check_for_updates_class = NeverCheckForUpdate
    lab.labextensions_path = [str(LAB / "labextensions")]
    lab.extra_labextensions_path = []
    lab.user_settings_dir = str(settings.config_dir / "lab" / "user-settings")
    lab.workspaces_dir = str(settings.config_dir / "lab" / "workspaces")
    return config


class StrongroomServer(ServerApp):
    """Jupyter's server with Strongroom's parts in it and no way to configure it from outside."""

    default_services = SERVICES  # type: ignore[assignment]  # Jupyter's knob; its type is that of the default value
    config_file_paths: ClassVar[list[str]] = []
    settings: Settings
    workspace: Workspace
    vault: Vault
    saver: Saver

    def load_config_file(self, suppress_errors: bool = True) -> None:  # type: ignore[override]  # as in JupyterApp
        """No configuration file counts."""

    def init_configurables(self) -> None:
        scrub_logs(self.log)
        self.workspace = Workspace(
            Control(self.settings.control_socket, self.settings.cells_socket, self.settings.credential)
        )
        self.vault = Vault(self.settings.vault_socket)
        self.saver = Saver(self.workspace, self.vault, self.settings.work)
        # A factory is a singleton: whatever was made before this must not decide who starts kernels.
        KernelProvisionerFactory.clear_instance()
        super().init_configurables()
        try:
            self.io_loop.run_sync(self.workspace.start)
        except Problem as problem:
            self.log.critical("The server does not start. %s", " ".join(problem.lines()))
            self.exit(1)

    def load_server_extensions(self) -> None:
        """Load the extensions, add our own routes, then remove all that are not allowed. The socket opens later."""
        super().load_server_extensions()
        base = self.base_url.rstrip("/")
        own = [
            (base + pattern, handler, shared)
            for pattern, handler, shared in routes(self.settings, self.workspace, self.vault)
        ]
        self.web_app.add_handlers(".*$", own)
        for removed in prune(self.web_app, hub=HUB in os.environ):
            self.log.debug("Route removed: %s", removed)
        self.web_app.settings["page_config_hook"] = page.hardened(self.web_app.settings.get("page_config_hook"))

    async def _cleanup(self) -> None:
        await super()._cleanup()
        await self.workspace.stop()
        await self.vault.close()


class StrongroomSingleUser(JupyterHubSingleUser):
    """The hub's login around the server. Our own package is its extension package, so that nothing else is loaded."""

    serverapp_class = StrongroomServer
    load_other_extensions = False
    serverapp_config: ClassVar[dict[str, Any]] = {"jpserver_extensions": {"jupyterlab": True}}

    @classmethod
    def make_serverapp(cls, **kwargs: Any) -> ServerApp:
        made: ServerApp = super().make_serverapp(config=fixed(StrongroomServer.settings), **kwargs)
        return made


def prepare(settings: Settings) -> None:
    """Give Jupyter folders of this server's own, so that it reads no user's and no machine's files."""
    runtime = settings.run_dir / "jupyter" / "runtime"
    lab = settings.config_dir / "lab"
    for folder in (settings.config_dir, settings.data_dir, runtime, lab / "user-settings", lab / "workspaces"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Otherwise Jupyter looks for settings of older versions in the home folder.
    (settings.config_dir / "migrated").touch()
    os.environ |= {
        "JUPYTER_CONFIG_DIR": str(settings.config_dir),
        "JUPYTER_DATA_DIR": str(settings.data_dir),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    for name in (
        "JUPYTER_PATH",
        "JUPYTER_CONFIG_PATH",
        "JUPYTERLAB_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERHUB_ROOT_DIR",
    ):
        os.environ.pop(name, None)
    # `python -c` would import from the current folder; the browser can write Python files into the notebooks.
    sys.path[:] = [entry for entry in sys.path if entry]
    os.chdir("/")


def main() -> None:
    """Run the server until it is told to stop."""
    try:
        settings = Settings.from_environment(os.environ)
        prepare(settings)
    except (RuntimeError, OSError) as error:
        sys.exit(f"Strongroom's server does not start: {error}")
    StrongroomServer.settings = settings
    if HUB in os.environ:
        StrongroomSingleUser.launch_instance(argv=[])
        return
    config = fixed(settings)
    token = os.environ.pop("JUPYTER_TOKEN", "")
    if not token:
        sys.exit("Strongroom's server does not start: there is neither a hub nor a JUPYTER_TOKEN to log in with")
    config.ServerApp.identity_provider_class = IdentityProvider
    config.IdentityProvider.token = token
    config.ServerApp.jpserver_extensions = {"jupyterlab": True}
    config.ServerApp.ip = "127.0.0.1"
    config.ServerApp.port = int(os.environ.get("JUPYTER_PORT", "8888"))
    config.ServerApp.port_retries = 0
    asyncio.set_event_loop(asyncio.new_event_loop())
    StrongroomServer.launch_instance(argv=[], config=config, find_extensions=False)
