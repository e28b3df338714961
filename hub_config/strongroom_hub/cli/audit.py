"""`strongroom audit`: verify, show and export the audit log, offline and without any secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from strongroom_hub.audit import store
from strongroom_hub.audit.note import Checkpoint, NoteError, VerifierKey, open_checkpoint
from strongroom_hub.audit.verify import Report, prove
from strongroom_hub.audit.verify import verify as verify_log
from strongroom_hub.config import Instance

app = typer.Typer(no_args_is_help=True, help="Verify, show and export the audit log. Needs no service and no secret.")

EXIT_ALTERED = 1
EXIT_UNREADABLE = 2
_SHOWN_FINDINGS = 50

InstanceOption = Annotated[Path | None, typer.Option(help="The instance.toml; default: STRONGROOM_INSTANCE.")]
DatabaseOption = Annotated[Path | None, typer.Option(help="The SQLite file; default: the instance's.")]
VkeyOption = Annotated[Path | None, typer.Option(help="The log's public key file; default: the instance's log.vkey.")]


@app.command()
def verify(
    instance: InstanceOption = None,
    database: DatabaseOption = None,
    directory: Annotated[Path | None, typer.Option(help="Verify an exported folder instead of a database.")] = None,
    vkey: VkeyOption = None,
    checkpoint: Annotated[Path | None, typer.Option(help="An earlier checkpoint that the log must extend.")] = None,
) -> None:
    """Verify the whole log: exit code 0 sound, 1 altered (each finding names the entry), 2 could not verify."""
    with _unreadable():
        verifier = _verifier(instance, vkey)
        earlier = _checkpoint(checkpoint, verifier)
        if directory is not None:
            report = verify_log(store.open_directory(directory), verifier, earlier)
        else:
            with store.open_database(_database(instance, database)) as log:
                report = verify_log(log, verifier, earlier)
    _tell(report, verifier)


@app.command()
def show(
    index: Annotated[int, typer.Argument(min=0, help="The entry's number.")],
    instance: InstanceOption = None,
    database: DatabaseOption = None,
    vkey: VkeyOption = None,
) -> None:
    """Print one entry after proving that it is in the signed log. Encrypted texts stay encrypted."""
    with _unreadable(), store.open_database(_database(instance, database)) as log:
        verifier = _verifier(instance, vkey)
        try:
            fields, path, note = prove(log, verifier, index)
        except ValueError as error:
            typer.echo(f"entry {index} cannot be proven: {error}\nRun: strongroom audit verify", err=True)
            raise typer.Exit(EXIT_ALTERED) from None
    typer.echo(json.dumps(fields, indent=2))  # ASCII: an entry must not steer the terminal
    size = open_checkpoint(note, verifier).size
    typer.echo(f"proven: entry {index} of {size} in the log {verifier.name} ({len(path)} hashes)", err=True)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    instance: InstanceOption = None,
    database: DatabaseOption = None,
    vkey: VkeyOption = None,
) -> None:
    """Write the log as static tiles (C2SP tlog-tiles) that any transparency-log client reads, and verify them."""
    with _unreadable():
        verifier = _verifier(instance, vkey)
        with store.open_database(_database(instance, database)) as log:
            store.export(log, directory, open_checkpoint(log.note() or "", verifier).size)
        report = verify_log(store.open_directory(directory), verifier)
    _tell(report, verifier)


@contextmanager
def _unreadable() -> Iterator[None]:
    """Say in words why there is nothing to work on, and exit with 2."""
    try:
        yield
    except (store.UnreadableLogError, NoteError, LookupError, OSError, ValueError) as error:
        _stop(str(error.args[0] if isinstance(error, LookupError) else error))


def _stop(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(EXIT_UNREADABLE)


def _database(instance: Path | None, database: Path | None) -> Path:
    return database if database is not None else Instance.load(instance).database


def _verifier(instance: Path | None, vkey: Path | None) -> VerifierKey:
    file = vkey if vkey is not None else Instance.load(instance).public_dir / "log.vkey"
    return VerifierKey.parse(file.read_text(encoding="utf-8"))


def _checkpoint(file: Path | None, verifier: VerifierKey) -> Checkpoint | None:
    return None if file is None else open_checkpoint(file.read_text(encoding="utf-8"), verifier)


def _tell(report: Report, verifier: VerifierKey) -> None:
    if report.ok:
        typer.echo(f"sound: {report.size} entries of {verifier.name}, root {report.root.hex()}")
        return
    for finding in report.findings[:_SHOWN_FINDINGS]:
        typer.echo(str(finding))
    more = len(report.findings) - _SHOWN_FINDINGS
    if more > 0:
        typer.echo(f"... and {more} more")
    typer.echo("ALTERED: this log is not as it was written. Keep it as it is and tell the auditor.", err=True)
    raise typer.Exit(EXIT_ALTERED)
