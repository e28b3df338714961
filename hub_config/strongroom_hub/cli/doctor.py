"""`strongroom doctor`: what is fine, weaker or broken on this machine, in words. Changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from strongroom_hub import config
from strongroom_hub.cli.common import HomeOption, InstanceOption, load_instance
from strongroom_hub.config import Instance
from strongroom_hub.machine.check import Check, State, worst
from strongroom_hub.machine.doctor import Programs, examine
from strongroom_hub.setup import HOME_VARIABLE, Runtime

EXIT = {State.FINE: 0, State.WEAKER: 1, State.BROKEN: 2}


def doctor(
    instance: InstanceOption = None,
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Look at this machine, the box that kernels get on it, and an instance if there is one.

    Exit status 0: all is fine; 1: something is weaker than it could be; 2: something is broken.
    """
    place = _instance(instance)
    found = examine(_programs(place, home), place)
    state = worst(found)
    if as_json:
        typer.echo(json.dumps({"state": state, "checks": [check.as_json() for check in found]}))
    else:
        for check in found:
            for line in lines(check):
                typer.echo(line)
        typer.echo(_verdict(found))
    raise typer.Exit(EXIT[state])


def lines(check: Check) -> list[str]:
    """One check for people: how it is, and below it what to do."""
    told = [f"{check.state.upper() if check.state is not State.FINE else check.state:<7} {check.name}: {check.text}"]
    return told + ([f"        -> {check.next}"] if check.next else [])


def _instance(given: Path | None) -> Instance | None:
    """Before set-up there is none, and that is no error."""
    return load_instance(given) if given is not None or os.environ.get(config.ENVIRONMENT_VARIABLE) else None


def _programs(place: Instance | None, home: Path | None) -> Programs:
    if place is not None:
        return Programs.of_instance(place)
    if home is not None or os.environ.get(HOME_VARIABLE):
        return Programs.of_runtime(Runtime.load(home))
    return Programs()


def _verdict(found: list[Check]) -> str:
    counts = {state: sum(check.state is state for check in found) for state in State}
    return f"{counts[State.FINE]} fine, {counts[State.WEAKER]} weaker, {counts[State.BROKEN]} broken"
