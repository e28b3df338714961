"""Commands that speak with the control service: propose, decide, put back, history, what-if.

They act as `operator`: one person, whoever types.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from strongroom_policy.files import read_folder

from strongroom_hub.cli.policy.common import FOUND, AsJson, call, print_json, refusals, usage
from strongroom_hub.internal import quoted

SHOWN = 20
Why = Annotated[str, typer.Option(help="The reason; it is kept and shown.")]
Proposal = Annotated[str, typer.Argument(metavar="PROPOSAL", help="Its id, as `strongroom policy proposals` shows it.")]


def propose(why: Why, as_json: AsJson = False) -> None:
    """Propose the files in the policy folder; another person approves them. Exit code 1 if they are refused."""
    _proposed(call("POST", "policy/proposals", {"why": why}, as_json=as_json), as_json=as_json)


def proposals(as_json: AsJson = False) -> None:
    """List proposals, the newest first."""
    found = call("GET", "policy/proposals", as_json=as_json)["proposals"]
    if as_json:
        print_json({"proposals": found})
        return
    for one in found:
        decided = f" by {one['decided_by']}" if one["decided_by"] else ""
        typer.echo(
            f"{one['id']}  {one['version']}  {one['state']}{decided}  {one['at']}  {one['author']}: {one['why']}"
        )
    if not found:
        typer.echo("there are no proposals")


def approve(proposal: Proposal, comment: Annotated[str, typer.Option()] = "", as_json: AsJson = False) -> None:
    """Approve a proposal that somebody made in the console: it comes into force. Exit code 1 if that is refused."""
    _decide(proposal, "approve", comment, as_json=as_json)


def reject(proposal: Proposal, comment: Annotated[str, typer.Option()] = "", as_json: AsJson = False) -> None:
    """Reject a proposal that somebody made in the console."""
    _decide(proposal, "reject", comment, as_json=as_json)


def withdraw(proposal: Proposal, as_json: AsJson = False) -> None:
    """Take back a proposal that was made by this command line."""
    _decide(proposal, "withdraw", "", as_json=as_json)


def _decide(proposal: str, verdict: str, comment: str, *, as_json: bool) -> None:
    known = {one["id"]: one for one in call("GET", "policy/proposals", as_json=as_json)["proposals"]}
    if proposal not in known:
        usage(f"there is no proposal {proposal!r}; `strongroom policy proposals` lists them")
    if not as_json and verdict == "approve":
        _changes(known[proposal]["results"]["changes"])
    body = {"verdict": verdict, "digest": known[proposal]["digest"], "comment": comment}
    _proposed(call("POST", f"policy/proposals/{quoted(proposal)}/decision", body, as_json=as_json), as_json=as_json)


def _proposed(one: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    if one["state"] == "open":
        _changes(one["results"]["changes"])
        results = one["results"]
        broken = results.get("guards_broken", 0)  # a proposal of an earlier release does not say
        stands = f", {broken} broken by grants as before" if broken else ""
        typer.echo(f"{results['tests']} tests pass, {len(results['guards']) - broken} guards hold{stands}")
        typer.echo(f"{len(results['untested'])} of {results['rows']} rows are reached by no test")
        for note in results["notes"]:
            typer.echo(f"note: {note}")
    typer.echo(f"proposal {one['id']} (policy {one['version']}) is {one['state']}")


def _changes(changes: Any) -> None:
    for one in changes.get("changes", ())[:SHOWN]:
        typer.echo(one["text"])
    more = changes.get("changes_in_all", 0) - SHOWN
    if more > 0:
        typer.echo(f"... and {more} more")
    if not changes.get("changed", True):
        typer.echo("no decision and no obligation changes")


def history(as_json: AsJson = False) -> None:
    """List every policy that came into force: number, version, when, by whom, how and why."""
    found = call("GET", "policy/versions", as_json=as_json)["versions"]
    if as_json:
        print_json({"versions": found})
        return
    for one in found:
        mark = "*" if one["in_force"] else " "
        changes = one["changes"].get("changes_in_all", 0)
        told = f"{one['at']}  {one['actor']}  {one['source']}: {one['why']}  ({changes} changes, entry {one['entry']})"
        typer.echo(f"{mark}{one['number']:>4}  {one['version']}  {told}")


def rollback(
    number: Annotated[int, typer.Argument(min=1, help="As `strongroom policy history` shows it.")],
    why: Why,
    as_json: AsJson = False,
) -> None:
    """Bring a version back into force that was in force before. Exit code 1 if that is refused."""
    done = call("POST", "policy/rollback", {"number": number, "why": why}, as_json=as_json)
    if as_json:
        print_json(done)
        return
    _changes(done["changes"])
    typer.echo(f"policy {done['version']} is in force again, as version {done['number']}")
    typer.echo("The files in the policy folder are as they were; they wait there until somebody edits them.")


def what_if(
    folder: Annotated[
        Path | None, typer.Argument(help="A draft; without it, the installation's policy folder.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=2000, help="Decisions of the log, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Decide the log's last readings, outputs and exports once more under a draft. Exit code 1 if any would change."""
    files = None
    if folder is not None:
        with refusals(as_json=as_json):
            files = [{"name": name, "text": raw.decode(errors="replace")} for name, raw in read_folder(folder).items()]
    told = call("POST", "policy/what-if", {"files": files, "last": last}, as_json=as_json)
    if as_json:
        print_json({"ok": not told["changes"], **told})
    else:
        for one in told["changes"]:
            verdict = "allowed" if one["was"] else "denied"
            typer.echo(f"entry {one['entry']}  {one['user']} {one['action']} in {one['project']}: was {verdict}")
            for line in one["differs"]:
                typer.echo(f"    {line}")
        beyond = f", {told['not_by_rules']} more were not decided by rules" if told["not_by_rules"] else ""
        typer.echo(
            f"{len(told['changes'])} of {told['looked_at']} decisions would be others under {told['version']}{beyond}"
        )
    if told["changes"]:
        raise typer.Exit(FOUND)
