"""Commands on the files of a policy: check, test, coverage, guards, fmt, recertify. Only fmt writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from strongroom_policy.catalogue import catalogue_findings
from strongroom_policy.coverage import coverage
from strongroom_policy.engine import Policy, read_sources, run_cases
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.files import TESTS_FILE, is_rules, read_folder
from strongroom_policy.fmt import formatted
from strongroom_policy.guards import GUARDS_FILE
from strongroom_policy.recertify import standing_json, standings

from strongroom_hub.cli.policy.common import (
    FOUND,
    AsJson,
    Folder,
    Known,
    call,
    findings,
    folder_of,
    print_json,
    refusals,
)


def check(folder: Folder = None, as_json: AsJson = False) -> None:
    """Read the files as the control service would, with their tests and guards. Exit code 1 if they are refused."""
    known = Known.ask()
    with refusals(as_json=as_json):
        sources = read_sources(folder_of(folder))
        now = datetime.now(UTC)
        standing = known.prove(sources, now, as_json=as_json)
        policy = Policy.build(sources, known.grants, now)
    notes = standing + policy.warnings + (catalogue_findings(policy, known.datasets) if known.service else ())
    if as_json:
        print_json({"ok": True, "version": policy.version, "warnings": findings(notes)})
        return
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"policy {policy.version} is in order, and its tests pass")


def run_tests(folder: Folder = None, as_json: AsJson = False) -> None:
    """Run tests.csv and show each case. Exit code 1 if one fails."""
    with refusals(as_json=as_json):
        outcomes = run_cases(read_sources(folder_of(folder)))
    failed = sum(bool(outcome.problem) for outcome in outcomes)
    if as_json:
        cases = [{"line": one.case.line, "case": one.case.text, "problem": one.problem or None} for one in outcomes]
        print_json({"ok": not failed, "cases": cases})
    else:
        for one in outcomes:
            typer.echo(f"{'FAIL' if one.problem else 'pass'}  tests.csv:{one.case.line}  {one.case.text}")
            if one.problem:
                typer.echo(f"      {one.problem}")
        typer.echo(f"{len(outcomes) - failed} of {len(outcomes)} tests pass")
    if failed:
        raise typer.Exit(FOUND)


def show_coverage(folder: Folder = None, as_json: AsJson = False) -> None:
    """Say which rows no test reaches. Exit code 1 if there are any."""
    with refusals(as_json=as_json):
        rows = coverage(read_sources(folder_of(folder)))
    missed = [one.row for one in rows if not one.by]
    if as_json:
        print_json({"ok": not missed, "rows": len(rows), "untested": [row.place for row in missed]})
    else:
        for row in missed:
            typer.echo(f"{row.place}: no test reaches {row.ptype}, {', '.join(row.fields)}")
        typer.echo(f"{len(rows) - len(missed)} of {len(rows)} rows are reached by a test")
    if missed:
        raise typer.Exit(FOUND)


def guards(folder: Folder = None, as_json: AsJson = False) -> None:
    """Try each guard and show its counterexamples. Exit code 1 if one is broken."""
    known = Known.ask()
    with refusals(as_json=as_json):
        sources = read_sources(folder_of(folder))
    broken: list[Finding] = []
    try:
        alone = replace(sources, cases=())  # guards, and nothing else
        broken = list(known.prove(alone, datetime.now(UTC), as_json=as_json))
    except PolicyError as error:
        broken = list(error.problems)
    if as_json:
        told = [{"name": one.name, "kind": one.kind, "line": one.line, "why": one.why} for one in sources.guards]
        print_json({"ok": not broken, "guards": told, "broken": findings(broken)})
    else:
        lines = {one.line for one in broken}
        for guard in sources.guards:
            state = "BROKEN" if guard.line in lines else "holds "
            typer.echo(f"{state}  {GUARDS_FILE}:{guard.line}  {guard.name}: {guard.why}")
        for one in broken:
            typer.echo(f"{one.place}: {one.message}")
        typer.echo(known.note)
    if broken:
        raise typer.Exit(FOUND)


def fmt(
    folder: Folder = None,
    only_check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if something would.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Align the columns of all rule files and of tests.csv; comments and line numbers stay."""
    place = folder_of(folder)
    with refusals(as_json=as_json):
        files = read_folder(place)
        wanted = {
            name: formatted(raw, name).encode() for name, raw in files.items() if is_rules(name) or name == TESTS_FILE
        }
    changed = [name for name, raw in wanted.items() if raw != files[name]]
    for name in changed:
        if not only_check:
            _replace(place / name, wanted[name])
    if as_json:
        print_json({"ok": not (only_check and changed), "changed": changed})
    else:
        for name in changed:
            typer.echo(f"{'would be' if only_check else 'is'} written anew: {name}")
        typer.echo(f"{len(wanted) - len(changed)} of {len(wanted)} files were as they should be")
    if only_check and changed:
        raise typer.Exit(FOUND)


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all: the control service may read it at any moment."""
    beside = path.with_name(f".{path.name}~")
    beside.write_bytes(content)
    beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)


def recertify(
    folder: Folder = None,
    months: Annotated[int, typer.Option(min=1, help="Rows that nobody stood for in so many months.")] = 12,
    as_json: AsJson = False,
) -> None:
    """List old rows to their owners. Exit code 1 if there are any.

    Without FOLDER the control service is asked about the policy in force, and knows since when each row is.
    """
    told = _of_files(folder, months, as_json=as_json) if folder is not None else _in_force(months, as_json=as_json)
    if as_json:
        print_json({"ok": not told["overdue"], **told})
    else:
        for owner in sorted({one["owner"] for one in told["overdue"]}):
            typer.echo(f"{owner}:")
            for one in told["overdue"]:
                if one["owner"] == owner:
                    typer.echo(f"  {one['text']}")
                    typer.echo(f"      {one['says']}")
        typer.echo(f"{len(told['overdue'])} of {told['rows']} rows are older than {months} months")
    if told["overdue"]:
        raise typer.Exit(FOUND)


def _in_force(months: int, *, as_json: bool) -> Any:
    return call("GET", f"policy/recertify?months={months}", as_json=as_json)


def _of_files(folder: Path, months: int, *, as_json: bool) -> dict[str, Any]:
    with refusals(as_json=as_json):
        files = read_folder(folder)
        found = standings(files, read_sources(folder), datetime.now(UTC).date(), months, {})
    return {"months": months, "rows": len(found), "overdue": [standing_json(one) for one in found if one.overdue]}
