"""`strongroom audit`: verify, show and export the audit log, offline and without any secret.

`replay` alone, which shows what people typed, asks the service (`cli/replay.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from strongroom_hub.audit import entries as leaves
from strongroom_hub.audit import standalone, store
from strongroom_hub.audit.note import Checkpoint, NoteError, VerifierKey, open_checkpoint
from strongroom_hub.audit.proof import Proof
from strongroom_hub.audit.proof import prove as prove_entry
from strongroom_hub.audit.verify import Report
from strongroom_hub.audit.verify import verify as verify_log
from strongroom_hub.config import Instance
from strongroom_hub.database import open_for


class Form(StrEnum):
    """What an export is written as."""

    TILES = "tiles"
    JSONL = "jsonl"
    OCSF = "ocsf"
    PARQUET = "parquet"


app = typer.Typer(no_args_is_help=True, help="Verify, show and export the audit log. Only replay needs the service.")

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
            with _opened(instance, database) as log:
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
    proof = _prove(index, instance, database, vkey)
    typer.echo(json.dumps(leaves.parse(proof.leaf), indent=2))  # ASCII: an entry must not steer the terminal
    typer.echo(f"proven: entry {index} of {proof.size} in the signed log ({len(proof.hashes)} hashes)", err=True)


@app.command()
def prove(
    index: Annotated[int, typer.Argument(min=0, help="The entry's number.")],
    file: Annotated[Path, typer.Argument(help="A new file, for example entry-41.tlog-proof.")],
    instance: InstanceOption = None,
    database: DatabaseOption = None,
    vkey: VkeyOption = None,
) -> None:
    """Write a file that proves one entry to whoever has the public key (C2SP tlog-proof, entry included)."""
    proof = _prove(index, instance, database, vkey)
    with _unreadable(), file.open("x", encoding="utf-8") as out:
        out.write(proof.text())
    typer.echo(f"{file}: check it with  python3 verify.py --vkey log.vkey proof {file.name}")


@app.command()
def verifier() -> None:
    """Print the stand-alone verifier: one file of Python for people who do not trust this program."""
    typer.echo(Path(standalone.__file__).read_text(encoding="utf-8"), nl=False)


@app.command()
def export(  # noqa: PLR0917 - typer passes them by name
    place: Annotated[Path, typer.Argument(help="A new or empty folder for tiles; a new file for all else.")],
    form: Annotated[Form, typer.Option("--as", help="What to write.")] = Form.TILES,
    cosigned: Annotated[bool, typer.Option(help="As the log was when witnesses last co-signed it (tiles).")] = False,
    instance: InstanceOption = None,
    database: DatabaseOption = None,
    vkey: VkeyOption = None,
) -> None:
    """Verify the log and write it out. Encrypted texts are left out.

    tiles: static files (C2SP tlog-tiles) that any transparency-log client reads. jsonl: the entries, byte for byte.
    ocsf: events for a SIEM. parquet: a table.
    """
    # pyarrow takes long to import, and verifying does not need it
    from strongroom_hub.audit.exports import WRITERS  # noqa: PLC0415

    with _unreadable():
        verifier = _verifier(instance, vkey)
        with _opened(instance, database) as log:
            report = verify_log(log, verifier)
            if form == Form.TILES:
                note = (log.cosigned() if cosigned else log.note()) or ""
                store.export(log, place, open_checkpoint(note, verifier).size, note)
            elif report.ok:
                WRITERS[form](log, report.size, place, verifier.name)
        if form == Form.TILES:
            report = verify_log(store.open_directory(place), verifier)
    _tell(report, verifier)


def _prove(index: int, instance: Path | None, database: Path | None, vkey: Path | None) -> Proof:
    with _unreadable(), _opened(instance, database) as log:
        verifier = _verifier(instance, vkey)
        try:
            return prove_entry(log, verifier, index)
        except ValueError as error:
            typer.echo(f"entry {index} cannot be proven: {error}\nRun: strongroom audit verify", err=True)
            raise typer.Exit(EXIT_ALTERED) from None


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


@contextmanager
def _opened(instance: Path | None, database: Path | None) -> Iterator[store.DatabaseLog]:
    """The log in the file that was named, or in the database of the instance."""
    if database is None and (place := Instance.load(instance)).database_url:
        engine = open_for(place)
        try:
            with store.open_postgres(engine) as log:
                yield log
        finally:
            engine.dispose()
        return
    with store.open_database(database or Instance.load(instance).database) as log:
        yield log


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
