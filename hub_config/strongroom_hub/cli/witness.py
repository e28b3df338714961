"""`strongroom witness`: a program of its own that co-signs the checkpoints of logs, on another host than theirs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from strongroom_hub.audit.note import NoteError
from strongroom_hub.audit.witness import Witness, application
from strongroom_hub.cli.common import fail

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The witness's own folder: its key and what it has seen.")]


@app.command()
def init(
    folder: Folder,
    name: Annotated[str, typer.Option(help="Its name, for example witness.example/w1.")],
) -> None:
    """Make a witness: its folder and key. Give the printed key to whoever runs the log and to those who verify it."""
    try:
        typer.echo(str(Witness.create(folder, name)))
    except (OSError, NoteError) as error:
        fail(f"no witness was made in {folder}: {error}")


@app.command("add-log")
def add_log(folder: Folder, vkey: Annotated[Path, typer.Argument(help="The log's public key, log.vkey.")]) -> None:
    """Let the witness co-sign for a log, from its next start on."""
    try:
        typer.echo(f"knows {Witness.add_log(folder, vkey.read_text(encoding='utf-8')).name}")
    except (OSError, ValueError) as error:
        fail(f"{vkey} was not taken: {error}")


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8460,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain; without it plain HTTP.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
) -> None:
    """Answer until SIGTERM."""
    # the one command that needs a web server
    import uvicorn  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        witness = Witness.load(folder)
    except (OSError, ValueError) as error:
        fail(f"{folder} holds no witness: {error}")
    typer.echo(f"witness {witness.vkey.name} for {', '.join(witness.logs) or 'no log yet: see add-log'}", err=True)
    uvicorn.run(
        application(witness),
        host=host,
        port=port,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=30,
    )
