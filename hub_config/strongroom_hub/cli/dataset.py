"""`strongroom dataset`: bring data in, list it, check what the vault holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom_hub.cli.common import InstanceOption, fail, load_instance

app = typer.Typer(no_args_is_help=True)

_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".xlsx": "excel",
    ".sas7bdat": "sas",
    ".xpt": "xport",
    ".dta": "stata",
    ".sav": "spss",
    ".zsav": "spss",
}


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A table: .csv .parquet .arrow .xlsx .sas7bdat .xpt .dta .sav")],
    name: Annotated[str, typer.Option(help="The dataset: namespace/name.")],
    label: Annotated[str, typer.Option(help="public, internal, confidential or secret.")],
    metadata: Annotated[
        Path | None, typer.Option(help="What is told about it, in TOML (docs/stewards/datasets.md).")
    ] = None,
    instance: InstanceOption = None,
) -> None:
    """Encrypt a table into the vault as a new version and make it visible."""
    # The command line starts without polars: only what brings data in needs it.
    from strongroom_hub.cli.metadata import describe  # noqa: PLC0415
    from strongroom_hub.demo_data import intake  # noqa: PLC0415

    place = load_instance(instance)
    file_format = _FORMATS.get(file.suffix.lower())
    if file_format is None:
        fail(f"{file.name}: the format is not known by its name; use one of {', '.join(_FORMATS)}")
    body = {"name": name, "label": label, **describe(name, metadata)}
    try:
        with file.open("rb") as content:
            dataset, version = intake.add(place, body, content, file_format)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    typer.echo(f"{dataset} version {version} is there, labelled {label}")


@app.command("list")
def show(instance: InstanceOption = None) -> None:
    """All versions that control knows, in whatever state."""
    from strongroom_hub.demo_data import intake  # noqa: PLC0415

    listed = intake.versions(load_instance(instance))
    if not listed:
        typer.echo("no datasets")
    for one in listed:
        rows = "-" if one["rows"] is None else one["rows"]
        typer.echo(f"{one['name']:<32} {one['version']:>4}  {one['state']:<10} {one['label']:<14} {rows:>10}")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="The dataset: namespace/name (default: all).")] = None,
    instance: InstanceOption = None,
) -> None:
    """Check every stored file against its signed manifest; needs to read the vault's folder, but no key."""
    from strongroom_hub.problems import Problem  # noqa: PLC0415
    from strongroom_hub.vault.places import Places  # noqa: PLC0415
    from strongroom_hub.vault.store import Store  # noqa: PLC0415
    from strongroom_hub.vault.tickets import load_public_key  # noqa: PLC0415

    place = load_instance(instance)
    store = Store(Places.of(place).store, load_public_key(place.public_dir / "control.pub.pem"))
    try:
        next(store.root.iterdir(), None)
    except OSError as error:
        fail(f"{store.root} cannot be read: {error.strerror}. Run this as root or as the vault's user.")
    chosen = [(dataset, version) for dataset, version in store.datasets() if name in (None, dataset)]
    if not chosen:
        fail(f"the vault holds no published version of {name}" if name else "the vault holds no datasets")
    bad = 0
    for dataset, version in chosen:
        try:
            manifest = store.verify(dataset, version)
        except Problem as problem:
            bad += 1
            typer.echo(f"BAD  {problem.detail}", err=True)
        else:
            typer.echo(f"good {dataset} version {version}: {len(manifest.parts)} part(s), {manifest.rows} rows")
    if bad:
        fail(f"{bad} of {len(chosen)} version(s) are not what was signed; restore them from backup")
