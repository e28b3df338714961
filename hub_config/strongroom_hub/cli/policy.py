"""`strongroom policy`: check a policy folder, run its tests, explain one decision. Reads files; changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from strongroom_policy import times
from strongroom_policy.decision import Request
from strongroom_policy.engine import load, read_sources, run_cases
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.files import RULES_FILE
from strongroom_policy.labels import Label

from strongroom_hub.config import Instance

app = typer.Typer(help="Check, test and explain the policy.", no_args_is_help=True)

_REFUSED = 1
_USAGE = 2

Folder = Annotated[Path | None, typer.Argument(help="Policy folder; without it, that of this installation.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")]


@app.command()
def check(folder: Folder = None, as_json: AsJson = False) -> None:
    """Read the files as the control service would. Exit code 1 if they could not come into force."""
    try:
        policy = load(_folder(folder))
    except PolicyError as error:
        _refused(error, as_json)
    if as_json:
        typer.echo(json.dumps({"ok": True, "version": policy.version, "warnings": _findings(policy.warnings)}))
        return
    for warning in policy.warnings:
        typer.echo(f"note: {warning}")
    typer.echo(f"policy {policy.version} is in order, and its tests pass")


@app.command("test")
def run_tests(folder: Folder = None, as_json: AsJson = False) -> None:
    """Run tests.csv and show each case. Exit code 1 if one fails."""
    try:
        outcomes = run_cases(read_sources(_folder(folder)))
    except PolicyError as error:
        _refused(error, as_json)
    failed = sum(bool(outcome.problem) for outcome in outcomes)
    if as_json:
        cases = [{"line": one.case.line, "case": one.case.text, "problem": one.problem or None} for one in outcomes]
        typer.echo(json.dumps({"ok": not failed, "cases": cases}))
    else:
        for one in outcomes:
            typer.echo(f"{'FAIL' if one.problem else 'pass'}  tests.csv:{one.case.line}  {one.case.text}")
            if one.problem:
                typer.echo(f"      {one.problem}")
        typer.echo(f"{len(outcomes) - failed} of {len(outcomes)} tests pass")
    if failed:
        raise typer.Exit(_REFUSED)


@app.command()
def explain(  # noqa: PLR0917 - the arguments and options of one command
    subject: Annotated[str, typer.Argument(help="A user: NAME or user:NAME.")],
    action: Annotated[str, typer.Argument(help="For example read.")],
    what: Annotated[str, typer.Argument(metavar="OBJECT", help="For example health/randhie or health/randhie#age.")],
    project: Annotated[str, typer.Option(help="The project they work in.")] = "",
    label: Annotated[str, typer.Option(help="The data's label; without one it counts as secret.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the data; may be repeated.")] = None,
    at: Annotated[str, typer.Option(help="A date, or date and time with zone; now if left out.")] = "",
    directory: Annotated[Path | None, typer.Option("--dir", help="Policy folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the files decide, by which rule, and what is owed. Grants in the database are not considered."""
    if label and label not in list(Label):
        _usage(f"unknown label {label!r}: it is one of {', '.join(Label)}")
    try:
        now = datetime.fromisoformat(times.parse(at)) if at else datetime.now(UTC)
    except ValueError as error:
        _usage(str(error))
    try:
        policy = load(_folder(directory), now=now)
    except PolicyError as error:
        _refused(error, as_json)
    request = Request(
        subject=_prefixed("user:", subject),
        action=action,
        object=what,
        purpose=_prefixed("project:", project) if project else "",
        label=label or None,
        tags=frozenset(_prefixed("tag:", name) for name in tag or ()),
        now=now,
    )
    decision = policy.decide(request)
    if as_json:
        typer.echo(json.dumps(decision.as_json()))
        return
    typer.echo(decision.explain())
    typer.echo(f"({RULES_FILE} alone; grants of approved requests are kept by the control service)")


def _folder(given: Path | None) -> Path:
    if given is not None:
        return given
    try:
        return Instance.load().policy_dir
    except (FileNotFoundError, ValueError) as error:
        _usage(f"no policy folder given, and {error}")


def _prefixed(prefix: str, name: str) -> str:
    return name if name.startswith(prefix) else prefix + name


def _refused(error: PolicyError, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"ok": False, "problems": _findings(error.problems)}))
    else:
        for problem in error.problems:
            typer.echo(f"{problem.place}: {problem.message}", err=True)
            if problem.hint:
                typer.echo(f"    {problem.hint}", err=True)
        typer.echo(f"refused: {len(error.problems)} problem(s); a policy in force stays as it is", err=True)
    raise typer.Exit(_REFUSED)


def _usage(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(_USAGE)


def _findings(found: tuple[Finding, ...]) -> list[dict[str, object]]:
    return [{"file": one.file, "line": one.line, "message": one.message, "hint": one.hint} for one in found]
