"""`strongroom dataset list|show|diff|profile|twin|relabel|retire`: look at versions, change what can be changed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from strongroom_hub.cli.common import InstanceOption, load_instance
from strongroom_hub.cli.dataset_words import JsonOption, control, reference, segment, show_json, waiting_lines

VersionArgument = Annotated[str, typer.Argument(help="namespace/name@3, or @latest.")]
WhyOption = Annotated[str, typer.Option(help="Why; it is kept in the audit log.")]


def list_all(
    state: Annotated[str, typer.Option(help="Only these: draft, loaded, signed, active or retired.")] = "",
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """All versions that control knows, in whatever state."""
    listed = control(load_instance(instance)).call("GET", "datasets")["datasets"]
    listed = [one for one in listed if state in ("", one["state"])]
    if as_json:
        show_json({"datasets": listed})
        return
    if not listed:
        typer.echo("no datasets")
    for one in listed:
        rows = "-" if one["rows"] is None else one["rows"]
        typer.echo(f"{one['name']:<32} {one['version']:>4}  {one['state']:<10} {one['label']:<14} {rows:>10}")


def show(version: VersionArgument, as_json: JsonOption = False, instance: InstanceOption = None) -> None:
    """All that is told about one version, and what was found in it."""
    name, number = reference(version)
    found = control(load_instance(instance)).call("GET", f"datasets/{name}/{segment(number)}")
    if as_json:
        show_json(found)
        return
    typer.echo(f"{found['name']}@{found['version']}  {found['state']}  {found['label']}  {_rows(found['rows'])}")
    for field in ("title", "owner", "source", "licence", "legal_basis", "consent_column", "contact", "retained_until"):
        if found[field]:
            typer.echo(f"  {field.replace('_', ' ')}: {found[field]}")
    typer.echo(f"  stewards: {', '.join(found['stewards'])}")
    if found["retired"]:
        typer.echo(f"  retired: {found['retired']} by {found['retired_by']}: {found['retired_why']}")
    if found["sources"]:
        typer.echo(f"  made from: {', '.join(found['sources'])}")
    for column in found["columns"]:
        unit = f" [{column['unit']}]" if column["unit"] else ""
        tags = f"  ({', '.join(column['tags'])})" if column["tags"] else ""
        typer.echo(f"  {column['name']}{unit}: {column['type']}{tags}  {column['description']}")
        for value, meaning in column["codes"].items():
            typer.echo(f"      {value} = {meaning}")
    for line in waiting_lines(found):
        typer.echo(f"  {line}")


def diff(
    name: Annotated[str, typer.Argument(help="The dataset: namespace/name.")],
    before: Annotated[int, typer.Argument(help="The older version.")],
    after: Annotated[int | None, typer.Argument(help="The newer one (default: the newest).")] = None,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """What differs between two versions: schema, rows, shares of missing values."""
    query = f"before={before}" + ("" if after is None else f"&after={after}")
    found = control(load_instance(instance)).call("GET", f"datasets/{name}/diff?{query}")
    if as_json:
        show_json(found)
        return
    old, new = found["before"], found["after"]
    typer.echo(f"{name}: version {old['version']} -> {new['version']}")
    for field in ("label", "rows"):
        if old[field] != new[field]:
            typer.echo(f"  {field}: {old[field]} -> {new[field]}")
    for word, columns in (("added", found["added"]), ("removed", found["removed"])):
        for column in columns:
            typer.echo(f"  {word}: {column}")
    for one in found["changed"]:
        for field in one["fields"]:
            typer.echo(f"  {one['name']}, {field}: {one['before'][field]} -> {one['after'][field]}")
    for one in found["missing"]:
        typer.echo(f"  {one['name']}, missing: {_share(one['before'])} -> {_share(one['after'])}")


def profile(version: VersionArgument, as_json: JsonOption = False, instance: InstanceOption = None) -> None:
    """What the label of a version lets be told of its data."""
    name, number = reference(version)
    found = control(load_instance(instance)).call("GET", f"datasets/{name}/{segment(number)}")
    told = found["profile"]
    if as_json:
        show_json({"dataset": name, "version": found["version"], "label": found["label"], "profile": told})
        return
    if told is None:
        typer.echo(f"{name}@{found['version']} has no profile: it was taken in before there were any, or is no table")
        return
    for column, one in told["columns"].items():
        typer.echo(f"{column}: missing {_share(one['missing'])}, different {one.get('different', '-')}")
        if "quantiles" in one:
            typer.echo("    " + "  ".join(f"{float(q):.0%}: {value}" for q, value in one["quantiles"].items()))
        for value, count in one.get("values", []):
            typer.echo(f"    {value}: {count if isinstance(count, int) else _share(count)}")


def twin(
    name: Annotated[str, typer.Argument(help="The dataset: namespace/name.")],
    allowed: Annotated[
        bool | None,
        typer.Option("--open/--withhold", help="Let whoever may discover the dataset read it, or nobody."),
    ] = None,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """The synthetic twin of a dataset: whether there is one and who reads it; open it or withhold it.

    What it keeps of the data, and what it was attacked with: docs/stewards/synthetic.md. Read that before you open one.
    """
    caller = control(load_instance(instance))
    if allowed is not None:
        caller.call("PUT", f"datasets/{name}/synthetic", {"allowed": allowed})
    told = caller.call("GET", f"datasets/{name}")["twin"]
    if as_json:
        show_json({"dataset": name, "twin": told})
    elif told is None:
        typer.echo(f"{name} has no version that people see, and so no twin")
    else:
        by = "as decided" if told["decided"] else "as its label says; nobody has decided"
        typer.echo(
            f"{name}@{told['version']}: "
            + (f"{told['rows']} made-up rows" if told["rows"] is not None else told["why"])
        )
        typer.echo(
            f"  {'read by whoever may discover the dataset' if told['allowed'] else 'withheld: nobody reads it'} ({by})"
        )


def relabel(
    version: VersionArgument,
    label: Annotated[str, typer.Option(help="public, internal, confidential or secret.")],
    why: WhyOption,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """Give a version another label: a higher one acts at once, a lower one when a steward agrees in the console."""
    name, number = reference(version, exact=True)
    done = control(load_instance(instance)).call(
        "POST", f"datasets/{name}/{number}/relabel", {"label": label, "why": why}
    )
    if as_json:
        show_json(done)
        return
    words = {
        "done": f"{name} version {number} is {label} now, and so is every workspace that has read it",
        "open": f"proposed: a steward of {name} has to agree in the console before it comes down to {label}",
        "unchanged": f"{name} version {number} is {label} already; its manifest was handed to the vault again",
    }
    typer.echo(words[done["state"]])
    for broken in done.get("broken_guards", ()):
        typer.echo(f"  but now {broken}", err=True)


def retire(
    version: VersionArgument, why: WhyOption, as_json: JsonOption = False, instance: InstanceOption = None
) -> None:
    """End reading of a version; its data stays until it is shredded."""
    name, number = reference(version, exact=True)
    control(load_instance(instance)).call("POST", f"datasets/{name}/{number}/retire", {"why": why})
    if as_json:
        show_json({"dataset": name, "version": number, "state": "retired"})
    else:
        typer.echo(f"{name} version {number} is retired; nobody reads it from now on")


def _rows(rows: Any) -> str:
    return "" if rows is None else f"{rows} rows"


def _share(share: Any) -> str:
    return "-" if share is None else f"{share:.1%}"
