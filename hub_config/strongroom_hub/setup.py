"""Makes an instance: its folders with owners and modes, tokens, TLS, policy files, and what control and vault need."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import strongroom_hub.control.setup
import strongroom_hub.vault.setup
from strongroom_hub import tls
from strongroom_hub.config import Instance, Uids
from strongroom_hub.problems import Problem

FIRST_UID, UIDS_PER_INSTANCE, INSTANCES = 300_000_000, 10_000, 10_000
"""Numeric uids far from system accounts and from the ranges of user namespaces."""
FIRST_SERVER_OFFSET = 100
TOKEN_BYTES = 32
POLICY_FILES = ("model.conf", "policy.csv", "labels.toml", "profiles.toml", "tests.csv")
GUARDS = "guards.toml"
"""Comes with a new policy folder only: in an old one it could refuse rules that are in force."""
RUNTIME_FILE = "runtime.json"
HOME_VARIABLE = "STRONGROOM_HOME"
LONGEST_RUN_FOLDER = 40
"""Sockets of kernels lie below it, and a socket's path holds 107 bytes."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The programs an instance runs: absolute paths."""

    node: str
    proxy_script: str
    server_python: str
    kernel_prefix: str

    @classmethod
    def load(cls, home: Path | None = None) -> Runtime:
        """What `make` set up in the home folder (default: `STRONGROOM_HOME`). Raises Problem when there is none."""
        named = str(home) if home is not None else os.environ.get(HOME_VARIABLE, "")
        file = Path(named) / RUNTIME_FILE
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise Problem(
                500,
                "no-runtime",
                "Not set up",
                f"The environments for servers and kernels are not known: {file} cannot be read.",
                next="Run `make setup` in the checkout, or start through `make`.",
            ) from error


def uids_for(data: Path) -> Uids | None:
    """The uid range of an instance, by its data folder: two instances on one machine share none. None without root."""
    if os.geteuid() != 0:
        return None
    base = FIRST_UID + zlib.crc32(str(data).encode()) % INSTANCES * UIDS_PER_INSTANCE
    return Uids(control=base + 1, vault=base + 2, proxy=base + 3, first_server=base + FIRST_SERVER_OFFSET)


def run_folder_for(data: Path) -> Path:
    """A short run folder for an instance: below `/run` as root, else in the user's own run folder or temp folder."""
    name = f"strongroom-{zlib.crc32(str(data).encode()):08x}"
    if os.geteuid() == 0:
        return Path("/run") / name
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(own) / name] if own and os.access(own, os.W_OK | os.X_OK) else []
    candidates += [Path(folder) / f"{name}-{os.geteuid()}" for folder in (tempfile.gettempdir(), "/tmp")]  # noqa: S108
    return next((path for path in candidates if len(str(path)) <= LONGEST_RUN_FOLDER), candidates[-1])


def free_ports(count: int) -> list[int]:
    """Different free loopback ports (free now: whoever needs them binds them soon)."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def new_instance(data: Path, runtime: Runtime, *, port: int, run: Path | None = None) -> Instance:
    """Describe an instance below `data` that people open at `https://127.0.0.1:PORT/`; nothing is written yet."""
    proxy_api, hub, control = free_ports(3)
    return Instance(
        data=data,
        run=run or run_folder_for(data),
        public_url=f"https://127.0.0.1:{port}/",
        proxy_api_port=proxy_api,
        hub_port=hub,
        control_port=control,
        node=runtime.node,
        proxy_script=runtime.proxy_script,
        server_python=runtime.server_python,
        kernel_prefix=runtime.kernel_prefix,
        uids=uids_for(data),
    )


def create(instance: Instance) -> None:
    """Make everything that a first start needs. Repeating it replaces no key and no token.

    `instance.toml` is written last, so an interrupted run is simply done again. Raises OSError, or Problem where a
    folder on the way cannot be entered by the other uids.
    """
    uids = instance.uids
    if uids is not None:
        _check_searchable(instance.data)
    _folder(instance.data, 0o755)
    _folder(instance.policy_dir, 0o755)
    _folder(instance.public_dir, 0o755)
    _folder(instance.tls_dir, 0o755)
    _folder(instance.hub_dir, 0o700)
    _folder(instance.logs_dir, 0o700)
    _folder(instance.projects_dir, 0o711 if uids else 0o700)
    _folder(instance.control_dir, 0o700, uids.control if uids else None)
    _folder(instance.vault_dir, 0o700, uids.vault if uids else None)
    for file in (instance.hub_token_file, instance.operator_token_file, instance.metrics_token_file):
        if not file.exists():
            _write_secret(file, secrets.token_urlsafe(TOKEN_BYTES))
    _copy_policy(instance.policy_dir)
    tls.create(instance.tls_dir, key_owner=uids.proxy if uids else None)
    strongroom_hub.control.setup.create(instance)
    strongroom_hub.vault.setup.create(instance)
    instance.save()


def separation(instance: Instance) -> tuple[str, ...]:
    """What the way this instance runs weakens, in sentences for people; empty with one uid for each part."""
    if instance.uids is not None:
        return ()
    return (
        "Everything runs under one uid, because the hub is not root. Kernels are sandboxed all the same, but:",
        "- a notebook server could read the log, the keys and the data of the vault if its code were subverted;",
        "- the log is protected by its signed checkpoints alone, not by file ownership.",
        "Run the hub as root for separate uids.",
    )


def _folder(path: Path, mode: int, owner: int | None = None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, owner, follow_symlinks=False)


def _check_searchable(data: Path) -> None:
    closed = [parent for parent in data.resolve().parents if parent.exists() and not parent.stat().st_mode & 0o001]
    if closed:
        raise Problem(
            500,
            "closed-folder",
            "Folder closed to other users",
            f"{closed[-1]} cannot be entered by other users, but the parts run under uids of their own.",
            next=f"Choose a data folder elsewhere (for example below /srv), or allow passage: chmod o+x {closed[-1]}",
        )


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")


def _copy_policy(target: Path) -> None:
    """Put the default policy files where none are; an admin's files are never touched."""
    source = default_policy()
    new = not (target / "policy.csv").exists()
    for name in (*POLICY_FILES, GUARDS) if new else POLICY_FILES:
        if not (target / name).exists():
            shutil.copyfile(source / name, target / name)
            (target / name).chmod(0o644)


def default_policy() -> Path:
    """The folder of the policy files that come with the product: in the wheel, or in the checkout."""
    package = Path(str(resources.files("strongroom_policy")))
    shipped = package / "default"
    return shipped if shipped.is_dir() else package.parent
