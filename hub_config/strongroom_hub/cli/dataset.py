"""`strongroom dataset`: bring data in, decide on it, check what the vault holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from strongroom_hub.cli.common import InstanceOption, fail, load_instance
from strongroom_hub.cli.dataset_words import JsonOption, control, reference, show_json, waiting_lines
from strongroom_hub.config import Instance

if TYPE_CHECKING:
    from strongroom_hub.vault.store import Store

app = typer.Typer(no_args_is_help=True)

WAITS = 3
"""Exit code where a version waits for its steward."""
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
FileArgument = Annotated[Path, typer.Argument(help="A table: .csv .parquet .arrow .xlsx .sas7bdat .xpt .dta .sav")]
MetadataOption = Annotated[
    Path | None, typer.Option(help="What is told about it, in TOML (docs/stewards/datasets.md).")
]
AcceptOption = Annotated[bool, typer.Option("--accept", help="Take the tags and the label that are proposed.")]
AsToldOption = Annotated[
    bool, typer.Option("--as-told", help="Decline what is proposed: the metadata has said it all.")
]
ResumeOption = Annotated[int | None, typer.Option(help="Go on with the file of this draft version.")]


@app.command()
def add(  # noqa: PLR0917 - options
    file: FileArgument,
    name: Annotated[str, typer.Option(help="The dataset: namespace/name.")],
    label: Annotated[str, typer.Option(help="public, internal, confidential or secret.")],
    metadata: MetadataOption = None,
    accept: AcceptOption = False,
    as_told: AsToldOption = False,
    resume: ResumeOption = None,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """Encrypt a table into the vault as a new version; it is visible at once where nothing is left to decide."""
    # The command line starts without what only bringing data in needs.
    from strongroom_hub.cli.metadata import describe  # noqa: PLC0415

    place = load_instance(instance)
    body = {"name": name, "label": label, **describe(name, metadata)}
    _bring_in(place, body, file, accept=accept, as_told=as_told, resume=resume, as_json=as_json)


@app.command("new-version")
def new_version(  # noqa: PLR0917 - options
    file: FileArgument,
    name: Annotated[str, typer.Option(help="The dataset: namespace/name.")],
    label: Annotated[str | None, typer.Option(help="Its label (default: that of the newest version).")] = None,
    metadata: MetadataOption = None,
    accept: AcceptOption = False,
    as_told: AsToldOption = False,
    resume: ResumeOption = None,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """As `add`, for a dataset that is there: without metadata, what its newest version says of itself holds on."""
    from strongroom_hub.cli.metadata import describe  # noqa: PLC0415

    place = load_instance(instance)
    newest = control(place).call("GET", f"datasets/{name}/latest")
    told = newest["about"] if metadata is None else describe(name, metadata)
    body = {"name": name, "label": label or newest["label"], **told}
    _bring_in(place, body, file, accept=accept, as_told=as_told, resume=resume, as_json=as_json)


@app.command()
def publish(
    version: Annotated[str, typer.Argument(help="The draft: namespace/name@3.")],
    accept: AcceptOption = False,
    as_told: AsToldOption = False,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """Decide on a draft that waits, and make it visible; without --accept or --as-told: show what it waits for."""
    from strongroom_hub.demo_data import intake  # noqa: PLC0415

    place = load_instance(instance)
    name, number = reference(version, exact=True)
    found = control(place).call("GET", f"datasets/{name}/{number}")
    if found["state"] == "signed":
        control(place).call("POST", f"datasets/{name}/{number}/release")
    else:
        taken = intake.Taken(name, number, found["label"], found)
        _settle(place, taken, accept=accept, as_told=as_told, as_json=as_json)
        return
    _told(name, number, found["label"], as_json=as_json)


def _bring_in(
    place: Any, body: dict[str, Any], file: Path, *, accept: bool, as_told: bool, resume: int | None, as_json: bool
) -> None:
    from strongroom_hub.demo_data import intake  # noqa: PLC0415

    file_format = _FORMATS.get(file.suffix.lower())
    if file_format is None:
        fail(f"{file.name}: the format is not known by its name; use one of {', '.join(_FORMATS)}")
    with _opened(file) as content:
        taken = intake.take_in(place, body, content, file_format, version=resume)
    _settle(place, taken, accept=accept, as_told=as_told, as_json=as_json)


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")


def _settle(place: Any, taken: Any, *, accept: bool, as_told: bool, as_json: bool) -> None:
    from strongroom_hub.demo_data import intake  # noqa: PLC0415

    if accept and as_told:
        fail("--accept and --as-told say different things")
    if not as_json:
        for line in waiting_lines(taken.waiting):
            typer.echo(line, err=True)
    if taken.waits and not accept and not as_told:
        named = f"{taken.dataset}@{taken.version}"
        if as_json:
            show_json({"dataset": taken.dataset, "version": taken.version, **taken.waiting})
        else:
            typer.echo(
                f"{taken.dataset} version {taken.version} waits for its steward, in the console or by: "
                f"strongroom dataset publish {named} --accept (or --as-told)"
            )
        raise typer.Exit(WAITS)
    intake.publish(place, taken.dataset, taken.version, None if accept else intake.as_told(taken))
    label = taken.waiting["proposals"]["label"]["label"] if accept and taken.waiting["raises_label"] else taken.label
    _told(taken.dataset, taken.version, label, as_json=as_json)


def _told(name: str, version: int, label: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"dataset": name, "version": version, "state": "active", "label": label})
    else:
        typer.echo(f"{name} version {version} is there, labelled {label}")


def _store(place: Instance) -> Store:
    """The vault's own, to look into."""
    from strongroom_hub.problems import Problem  # noqa: PLC0415
    from strongroom_hub.vault.places import Places  # noqa: PLC0415
    from strongroom_hub.vault.settings import VaultSettings  # noqa: PLC0415
    from strongroom_hub.vault.store import Store  # noqa: PLC0415
    from strongroom_hub.vault.tickets import load_public_key  # noqa: PLC0415

    places = Places.of(place)
    try:
        holding = VaultSettings.load(place).holding(places)
    except Problem as problem:
        fail(f"{problem.detail} {problem.next}")
    return Store(places.store, load_public_key(place.public_dir / "control.pub.pem"), holding)


def _check_readable(root: Path) -> None:
    try:
        next(root.iterdir(), None)
    except OSError as error:
        fail(f"{root} cannot be read: {error.strerror}. Run this as root or as the vault's user.")


def _active_manifests(place: Instance) -> dict[tuple[str, int], str]:
    """The digests of the manifests that control signed last; none, and a word of it, where it cannot be asked."""
    from strongroom_hub.internal import ControlClient  # noqa: PLC0415
    from strongroom_hub.problems import Problem  # noqa: PLC0415

    try:
        listed = ControlClient(place.control_socket, place.operator_token_file).call("GET", "datasets")["datasets"]
    except (Problem, OSError):
        typer.echo("control does not answer: an older version put back whole would not be noticed", err=True)
        return {}
    return {(str(one["name"]), int(one["version"])): str(one["manifest"]) for one in listed if one.get("manifest")}


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="The dataset: namespace/name (default: all).")] = None,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """Check every stored file against its signed manifest; needs to read the vault's folder, but no key.

    Where control answers, an older version put back whole is noticed too. What was shredded must have no key left.
    """
    from strongroom_hub.problems import Problem  # noqa: PLC0415

    place = load_instance(instance)
    store = _store(place)
    _check_readable(store.root)
    chosen = [(dataset, version) for dataset, version in store.datasets() if name in (None, dataset)]
    if not chosen:
        fail(f"the vault holds no published version of {name}" if name else "the vault holds no datasets")
    active = _active_manifests(place)
    bad, lines = 0, []
    for dataset, version in chosen:
        try:
            manifest = store.verify(dataset, version, active=active.get((dataset, version)))
        except Problem as problem:
            if problem.slug in {"object-store", "object-store-away"}:
                fail(f"{problem.detail} {problem.next}")
            bad += 1
            lines.append({"dataset": dataset, "version": version, "good": False, "detail": problem.detail})
            if not as_json:
                typer.echo(f"BAD  {problem.detail}", err=True)
        else:
            lines.append({"dataset": dataset, "version": version, "good": True, "rows": manifest.rows})
            if not as_json:
                typer.echo(f"good {dataset} version {version}: {len(manifest.parts)} part(s), {manifest.rows} rows")
    if as_json:
        show_json({"versions": lines})
    if bad:
        fail(f"{bad} of {len(chosen)} version(s) are not what was signed; restore them from backup")
