"""What the spawner tells a single-user server: its sockets, folders and credential."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CREDENTIAL_FILE = "STRONGROOM_CREDENTIAL_FILE"


@dataclass(frozen=True, slots=True)
class Settings:
    """One single-user server: one user in one project."""

    server_id: str
    project: str
    control_socket: Path
    cells_socket: Path
    """Control's door for begins and ends of cells."""
    vault_socket: Path
    data_socket: Path
    """The vault's door for kernels; bound into each sandbox, never used by the server itself."""
    run_dir: Path
    """Short; sockets of kernels and this server's own state. Of it a kernel can write its own sockets' folder alone."""
    notebooks: Path
    """The contents API's root: written by the browser through the server only."""
    work: Path
    """The kernels' folder, outside the server's root."""
    kernel_prefix: Path
    console_url: str
    config_dir: Path
    """Jupyter's own state for this person and project, invisible to kernels: page settings, trust of notebooks."""
    data_dir: Path
    credential: str = field(repr=False)
    weaker: tuple[str, ...] = ()
    """What this machine lacks, in sentences for people."""
    log_key: str = ""
    """The audit log's public key, as the hub's set-up wrote it: pages check with it what control tells of the log."""
    profile: dict[str, Any] | None = None
    """The limits of this server's kernels (wire formats, section 9), for people to see."""

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Settings:
        """Read `STRONGROOM_*`, and the credential from its file, which is removed at once.

        Raises RuntimeError that names the missing variable or the unreadable file.
        """

        def need(name: str) -> str:
            value = environment.get(name, "")
            if not value:
                raise RuntimeError(f"{name} is not set: this server is started by Strongroom's spawner, not by hand")
            return value

        credential_file = Path(need(CREDENTIAL_FILE))
        try:
            credential = credential_file.read_text(encoding="ascii").strip()
            credential_file.unlink()
        except (OSError, UnicodeDecodeError) as error:
            raise RuntimeError(f"the server's credential file cannot be read and removed: {error}") from error
        if not credential:
            raise RuntimeError("the server's credential file is empty")
        del environment[CREDENTIAL_FILE]
        run_dir = Path(need("STRONGROOM_RUN_DIR"))
        return cls(
            server_id=need("STRONGROOM_SERVER_ID"),
            project=need("STRONGROOM_PROJECT"),
            control_socket=Path(need("STRONGROOM_CONTROL_SOCKET")),
            cells_socket=Path(need("STRONGROOM_CELLS_SOCKET")),
            vault_socket=Path(need("STRONGROOM_VAULT_SOCKET")),
            data_socket=Path(need("STRONGROOM_DATA_SOCKET")),
            run_dir=run_dir,
            notebooks=Path(need("STRONGROOM_NOTEBOOKS")),
            work=Path(need("STRONGROOM_WORK")),
            kernel_prefix=Path(need("STRONGROOM_KERNEL_PREFIX")),
            console_url=environment.get("STRONGROOM_CONSOLE_URL", ""),
            config_dir=Path(environment.get("JUPYTER_CONFIG_DIR") or run_dir / "jupyter" / "config"),
            data_dir=Path(environment.get("JUPYTER_DATA_DIR") or run_dir / "jupyter" / "data"),
            credential=credential,
            weaker=tuple(json.loads(environment.get("STRONGROOM_WEAKER") or "[]")),
            log_key=environment.get("STRONGROOM_LOG_KEY", ""),
            profile=json.loads(environment.get("STRONGROOM_PROFILE") or "null"),
        )
