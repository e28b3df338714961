"""`strongroom keys` and `strongroom dataset rekey|shred`: the master key's generations, and data that has to go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from strongroom_hub.cli.common import InstanceOption, fail, load_instance
from strongroom_hub.internal import ControlClient

app = typer.Typer(no_args_is_help=True)


def _control(instance: Any) -> ControlClient:
    place = load_instance(instance)
    return ControlClient(place.control_socket, place.operator_token_file)


@app.command()
def status(instance: InstanceOption = None) -> None:
    """Which generation of the master key wraps, which others there are, and how many data keys each wraps."""
    told = _control(instance).call("GET", "keys")
    for generation in told["generations"]:
        wraps = " (wraps now)" if generation == told["current"] else ""
        typer.echo(f"{generation:<32} {told['wrapped'].get(generation, 0):>8} key(s){wraps}")


@app.command()
def rotate(instance: InstanceOption = None) -> None:
    """Make a new generation of the master key, which wraps from now on."""
    done = _control(instance).call("POST", "keys/rotate")
    typer.echo(f"{done['current']} wraps from now on; exchange the rest with: strongroom dataset rekey --all")


@app.command()
def destroy(
    generation: Annotated[str, typer.Argument(help="As `strongroom keys status` names it.")],
    instance: InstanceOption = None,
) -> None:
    """End an old generation for good; refused while it still wraps anything. Backups of wrapped keys end with it."""
    done = _control(instance).call("POST", "keys/destroy", {"generation": generation})
    typer.echo(f"{generation} is gone; there are: {', '.join(done['generations'])}")


def rekey(
    name: Annotated[str | None, typer.Argument(help="One version: namespace/name@version.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that the vault keeps.")] = False,
    instance: InstanceOption = None,
) -> None:
    """Wrap data keys under the newest generation of the master key; no data is rewritten."""
    if everything == (name is not None):
        fail("name one version (namespace/name@version), or say --all")
    dataset, version = (None, None) if name is None else _version(name)
    done = _control(instance).call("POST", "keys/rekey", {"dataset": dataset, "version": version})
    typer.echo(f"{done['exchanged']} key(s) are now wrapped under {done['current']}; {done['left']} under older ones")


def shred(  # noqa: PLR0917 - options
    name: Annotated[str | None, typer.Argument(help="The version: namespace/name@version.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="A column or file; again for more (default: all).")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stays in the log and beside the data.")] = "",
    confirm: Annotated[str, typer.Option(help="The id of what somebody else asked for: do it.")] = "",
    reject: Annotated[str, typer.Option(help="The id of what somebody else asked for: do not.")] = "",
    withdraw: Annotated[str, typer.Option(help="The id of what was asked for here: forget it.")] = "",
    instance: InstanceOption = None,
) -> None:
    """Make columns or a version unreadable for good. Who asks does not decide: another person has to agree.

    Without arguments: what was asked for.
    """
    control = _control(instance)
    decided = {"approve": confirm, "reject": reject, "withdraw": withdraw}
    if sum(map(bool, (name, *decided.values()))) > 1:
        fail("ask for one thing at a time")
    if name is not None:
        dataset, version = _version(name)
        body = {"dataset": dataset, "version": version, "columns": column or None, "why": reason}
        _tell(control.call("POST", "keys/shreds", body))
        return
    for verdict, shred_id in decided.items():
        if shred_id:
            _tell(control.call("POST", f"keys/shreds/{shred_id}/decision", {"verdict": verdict, "comment": reason}))
            return
    for one in control.call("GET", "keys/shreds")["shreds"]:
        _tell(one)


def _tell(one: dict[str, Any]) -> None:
    what = ", ".join(one["columns"]) if one["columns"] else "everything"
    typer.echo(
        f"{one['id']}  {one['state']:<10} {one['dataset']}@{one['version']}: {what} (asked by {one['asked_by']})"
    )


def _version(name: str) -> tuple[str, int]:
    dataset, at, version = name.rpartition("@")
    if not at or not version.isdecimal():
        fail(f"{name!r} names no version; write namespace/name@version")
    return dataset, int(version)
