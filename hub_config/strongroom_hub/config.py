"""Where one Strongroom instance keeps its things, and which uid owns each of them.

One file, `instance.toml` in the data folder, is read by the hub, control, the vault and the command line. It holds
places, ports and uids; never a secret.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom_hub.audit.settings import AuditSettings

ENVIRONMENT_VARIABLE = "STRONGROOM_INSTANCE"
FILE, TWO_PERSON = "file", "two-person"


@dataclass(frozen=True, slots=True)
class Uids:
    """Numeric uids (no system accounts needed) of an instance that runs where the hub is root."""

    control: int
    vault: int
    proxy: int
    first_server: int
    """Servers of user x project get `first_server + n`, `n` allocated by control and never used again."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One installation: its folders, ports and uids. `uids` is None where everything runs under one uid."""

    data: Path
    run: Path
    """Short (sockets live here and `sun_path` holds 107 bytes); world-searchable; emptied at each start."""
    public_url: str
    """What people open, for example `https://127.0.0.1:8443/`; always with a trailing slash."""
    proxy_api_port: int
    hub_port: int
    control_port: int
    node: str
    """The Node.js program that runs configurable-http-proxy."""
    proxy_script: str
    server_python: str
    kernel_prefix: str
    """The kernel's virtual environment."""
    uids: Uids | None = None
    policy_activation: str = FILE
    """How a changed policy comes into force: by itself (FILE), or by a proposal that another admin approves."""

    audit: AuditSettings = field(default_factory=AuditSettings)
    database_url: str = ""
    """`database` in the file: `postgresql://USER@HOST/NAME` without a password; empty for a SQLite file."""
    database_password: Path | None = None
    """The file that holds PostgreSQL's password (control, 0600); None where it asks for none."""
    hub_config: str = ""
    """A JupyterHub configuration file of the operator's, for an authenticator other than local accounts."""

    # who may enter is said beside each folder: (owner, mode)
    @property
    def policy_dir(self) -> Path:
        """Casbin model, rules, labels and their tests (root, 0755): read by control."""
        return self.data / "policy"

    @property
    def control_dir(self) -> Path:
        """Database with the audit log, signing keys (control, 0700)."""
        return self.data / "control"

    @property
    def vault_dir(self) -> Path:
        """Key file, encrypted store, staged export files (vault, 0700)."""
        return self.data / "vault"

    @property
    def hub_dir(self) -> Path:
        """Hub database, cookie secret, hub and operator tokens (hub, 0700)."""
        return self.data / "hub"

    @property
    def tls_dir(self) -> Path:
        """CA, certificate and key (hub, 0755; keys 0600)."""
        return self.data / "tls"

    @property
    def public_dir(self) -> Path:
        """Public keys: `control.pub.pem` (tickets, manifests, releases), `log.vkey` (checkpoints). World-readable."""
        return self.data / "public"

    @property
    def projects_dir(self) -> Path:
        """`PROJECT/notebooks/USER` and `PROJECT/work/USER`, each owned by the server uid, 0700."""
        return self.data / "projects"

    @property
    def logs_dir(self) -> Path:
        return self.data / "logs"

    @property
    def database(self) -> Path:
        """The SQLite file, where no `database_url` names another database."""
        return self.control_dir / "strongroom.sqlite"

    @property
    def control_socket(self) -> Path:
        """Internal API over HTTP, for hub, servers and the command line; never proxied to browsers."""
        return self.run / "control" / "control.sock"

    @property
    def cells_socket(self) -> Path:
        """Control's door for begins and ends of cells (framed JSON), for servers."""
        return self.run / "control" / "cells.sock"

    @property
    def vault_socket(self) -> Path:
        """The vault's HTTP door for trusted parties (tickets in the Authorization header)."""
        return self.run / "vault" / "vault.sock"

    @property
    def data_socket(self) -> Path:
        """The vault's door for kernels, alone in its folder: that folder is bound into every sandbox."""
        return self.run / "data" / "data.sock"

    @property
    def servers_run(self) -> Path:
        """One folder per running single-user server; kernels' sockets live below."""
        return self.run / "s"

    @property
    def hub_token_file(self) -> Path:
        """The hub's credential at control's internal API (control keeps only its SHA-256)."""
        return self.hub_dir / "hub.token"

    @property
    def operator_token_file(self) -> Path:
        """The command line's credential at control's internal API."""
        return self.hub_dir / "operator.token"

    @property
    def metrics_token_file(self) -> Path:
        """What a scraper of metrics shows at control's internal API; it opens nothing else."""
        return self.hub_dir / "metrics.token"

    @property
    def path(self) -> Path:
        return self.data / "instance.toml"

    def save(self) -> None:
        """Write `instance.toml` (world-readable: it holds no secret)."""
        lines = [
            f'data = "{self.data}"',
            f'run = "{self.run}"',
            f'public_url = "{self.public_url}"',
            f"proxy_api_port = {self.proxy_api_port}",
            f"hub_port = {self.hub_port}",
            f"control_port = {self.control_port}",
            f'node = "{self.node}"',
            f'proxy_script = "{self.proxy_script}"',
            f'server_python = "{self.server_python}"',
            f'kernel_prefix = "{self.kernel_prefix}"',
        ]
        if self.policy_activation != FILE:
            lines.append(f'policy_activation = "{self.policy_activation}"')
        if self.database_url:
            lines.append(f'database = "{self.database_url}"')
        if self.database_password is not None:
            lines.append(f'database_password = "{self.database_password}"')
        if self.hub_config:
            lines.append(f'hub_config = "{self.hub_config}"')
        if self.uids is not None:
            lines += ["[uids]"] + [
                f"{name} = {getattr(self.uids, name)}" for name in ("control", "vault", "proxy", "first_server")
            ]
        lines += self.audit.lines()
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | None = None) -> Instance:
        """Read an instance file; without an argument the one that `STRONGROOM_INSTANCE` names.

        Raises FileNotFoundError or ValueError in words that say which file and what is wrong with it.
        """
        named = str(path) if path is not None else os.environ.get(ENVIRONMENT_VARIABLE, "")
        if not named:
            raise FileNotFoundError(
                f"no Strongroom instance given: set {ENVIRONMENT_VARIABLE} to its instance.toml or pass --instance"
            )
        file = Path(named)
        try:
            raw: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
            uids = Uids(**raw.pop("uids")) if "uids" in raw else None
            audit = AuditSettings.parse(raw.pop("audit", {}))
            raw["database_url"] = str(raw.pop("database", ""))
            if "database_password" in raw:
                raw["database_password"] = Path(raw["database_password"])
            instance = cls(data=Path(raw.pop("data")), run=Path(raw.pop("run")), uids=uids, audit=audit, **raw)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is not a Strongroom instance file: {error}") from error
        if instance.policy_activation not in {FILE, TWO_PERSON}:
            wanted = f'"{FILE}" or "{TWO_PERSON}"'
            raise ValueError(f"{file}: policy_activation is {instance.policy_activation!r}, but must be {wanted}")
        return instance
