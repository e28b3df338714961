"""`strongroom sandbox`: look around in a kernel's box."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from strongroom_policy.errors import Finding
from strongroom_policy.profiles import PROFILES_FILE, read_profiles

from strongroom_hub import config, run_as
from strongroom_hub.cli.common import HomeOption, InstanceOption, fail, load_instance
from strongroom_hub.setup import Runtime

RUN = "strongroom_kernels.run"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

app = typer.Typer(no_args_is_help=True)


@app.callback()
def sandbox() -> None:
    """Look around in a kernel's box."""


@app.command()
def run(
    command: Annotated[list[str], typer.Argument(help="What to run, after `--`.")],
    work: Annotated[Path, typer.Option(help="The folder that is ~/work inside, the only one that can be written.")],
    *,
    data: Annotated[Path | None, typer.Option(help="A folder that is shown read-only as ~/data.")] = None,
    profile: Annotated[str | None, typer.Option(help="Tier and limits, from the instance's profiles.toml.")] = None,
    instance: InstanceOption = None,
    home: HomeOption = None,
) -> None:
    """Run any command in exactly the box of a kernel. Streams, terminal, signals and exit status pass through.

    As root the command runs as the owner of the work folder.
    """
    place = load_instance(instance) if instance is not None or os.environ.get(config.ENVIRONMENT_VARIABLE) else None
    if profile is not None and place is None:
        fail("--profile needs the instance whose profiles.toml has it: give --instance, or set STRONGROOM_INSTANCE.")
    programs = place or Runtime.load(home)
    plan = {
        "work": str(_folder(work, "--work")),
        "data": None if data is None else str(_folder(data, "--data")),
        "prefix": programs.kernel_prefix,
        "profile": None if profile is None or place is None else _profile(place.policy_dir, profile),
    }
    arguments = [programs.server_python, "-P", "-m", RUN, json.dumps(plan), *command]
    if os.geteuid() == 0:
        arguments = run_as.wrap(programs.server_python, _owner(work), arguments)
    os.chdir("/")
    os.execve(arguments[0], arguments, _ENVIRONMENT)  # noqa: S606 - becoming it passes everything through


def _folder(path: Path, option: str) -> Path:
    if not path.is_dir():
        fail(f"{option} {path} is no folder. Make it first.")
    return path.resolve()


def _owner(work: Path) -> int:
    """The uid that a box of root's is run as."""
    uid = work.stat().st_uid
    if uid == 0:
        fail(
            f"{work} belongs to root, and nothing in a box runs as root. Give the folder to an ordinary user "
            f"(chown USER {work}), or run this command as one."
        )
    return uid


def _profile(policy: Path, name: str) -> dict[str, Any]:
    """The PROFILE of that name; ends in words where there is none."""
    findings: list[Finding] = []
    file = policy / PROFILES_FILE
    try:
        known = {profile.name: profile for profile in read_profiles(file.read_bytes(), findings)}
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    if findings:
        fail(f"{file} has mistakes; `strongroom policy check` names them.")
    if name not in known:
        fail(f"there is no profile {name!r}; {file} has: {', '.join(known)}")
    return known[name].as_json()
