"""What the sub-commands share: the instance option, and an end in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from strongroom_hub.config import Instance

InstanceOption = Annotated[
    Path | None, typer.Option("--instance", help="The instance.toml (default: STRONGROOM_INSTANCE).")
]

HomeOption = Annotated[
    Path | None, typer.Option(help="The folder that `make setup` filled (default: STRONGROOM_HOME).")
]


def fail(text: str) -> NoReturn:
    """Say why on standard error and exit with 1."""
    typer.echo(f"strongroom: {text}", err=True)
    raise typer.Exit(1)


def load_instance(path: Path | None) -> Instance:
    """The instance that the option or `STRONGROOM_INSTANCE` names; ends in words when there is none."""
    try:
        return Instance.load(path)
    except PermissionError as error:
        fail(f"{error.filename} cannot be read by this user")
    except (FileNotFoundError, ValueError) as error:
        fail(str(error))


def harmless(line: str) -> str:
    """What people typed must not steer the terminal."""
    return "".join(one if one.isprintable() or one == "\t" else ascii(one)[1:-1] for one in line)
