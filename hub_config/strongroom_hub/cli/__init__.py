"""The command `strongroom`: run an instance, look at it, and the demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from strongroom_hub import setup, supervisor
from strongroom_hub.cli import (
    audit,
    dataset,
    dataset_files,
    dataset_look,
    demo,
    doctor,
    keys,
    policy,
    replay,
    sandbox,
    timeline,
    training,
    witness,
)
from strongroom_hub.cli.common import HomeOption, InstanceOption, fail, load_instance
from strongroom_hub.internal import ControlClient
from strongroom_hub.locks import AlreadyRunningError
from strongroom_hub.problems import Problem

app = typer.Typer(
    help="Strongroom: a secure data enclave on JupyterHub.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(demo.app, name="demo", help="The demo: real data, six people, two projects.")
app.add_typer(policy.app, name="policy", help="Check and explain the policy files.")
app.add_typer(audit.app, name="audit", help="Verify and read the audit log.")
app.add_typer(witness.app, name="witness", help="Co-sign the audit log of another host.")
app.add_typer(dataset.app, name="dataset", help="Bring data in.")
app.add_typer(training.app, name="training", help="Record who passed which course.")
app.add_typer(sandbox.app, name="sandbox", help="Look around in a kernel's box.")


app.add_typer(keys.app, name="keys", help="The vault's master key.")
dataset.app.command()(keys.rekey)
dataset.app.command()(keys.shred)
dataset.app.command("add-files")(dataset_files.add_files)
dataset.app.command("list")(dataset_look.list_all)
dataset.app.command("show")(dataset_look.show)
dataset.app.command("diff")(dataset_look.diff)
dataset.app.command("profile")(dataset_look.profile)
dataset.app.command("twin")(dataset_look.twin)
dataset.app.command("relabel")(dataset_look.relabel)
dataset.app.command("retire")(dataset_look.retire)
audit.app.command()(replay.replay)
audit.app.command()(timeline.timeline)
app.command()(doctor.doctor)


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="The data folder of the new instance.")],
    port: Annotated[int, typer.Option(help="Port of https://127.0.0.1:PORT/.")] = 8443,
    home: HomeOption = None,
) -> None:
    """Make a new instance: folders, keys, tokens, certificate, default policy."""
    data = data.resolve()
    if (data / "instance.toml").exists():
        fail(f"{data} holds an instance already. Run it with: strongroom serve --instance {data / 'instance.toml'}")
    instance = setup.new_instance(data, setup.Runtime.load(home), port=port)
    setup.create(instance)
    for line in setup.separation(instance):
        typer.echo(line)
    typer.echo(f"Made. Run it with: strongroom serve --instance {instance.path}")


@app.command()
def serve(instance: InstanceOption = None) -> None:
    """Run the hub in the foreground; Ctrl-C or SIGTERM stops everything."""
    # JupyterHub takes seconds to import, and no other command needs it.
    from strongroom_hub import hub  # noqa: PLC0415

    try:
        hub.serve(load_instance(instance))
    except (AlreadyRunningError, OSError) as error:
        fail(str(error))


@app.command()
def status(instance: InstanceOption = None) -> None:
    """What control says about itself, and what the way this instance runs weakens."""
    place = load_instance(instance)
    answer = ControlClient(place.control_socket, place.operator_token_file).call("GET", "status")
    for name, value in answer.items():
        told = ", ".join(f"{key} {part}" for key, part in value.items() if part) if isinstance(value, dict) else value
        if told:
            typer.echo(f"{name}: {told}")
    for line in setup.separation(place):
        typer.echo(line)


@app.command()
def tour(
    home: HomeOption = None,
) -> None:
    """Walk through an analyst's day on a fresh instance, without a browser; ends at the first broken promise."""
    # The walk needs an HTTP and a websocket client that no other command needs.
    from strongroom_hub.tour.day import walk  # noqa: PLC0415
    from strongroom_hub.tour.person import TourError  # noqa: PLC0415

    demo.stop_on_signals()
    folder = demo.home_folder(home)
    with supervisor.RunningInstance.fresh(folder, typer.echo) as running:
        try:
            walk(running.instance, running.accounts, typer.echo)
        except TourError as error:
            fail(str(error))


def main() -> None:
    """Run the command line; refusals are printed in words, without a stack trace, and exit with 1."""
    try:
        app()
    except Problem as problem:
        for line in problem.lines():
            typer.echo(line, err=True)
        sys.exit(1)
