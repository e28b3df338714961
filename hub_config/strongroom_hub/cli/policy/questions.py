"""Commands that ask a policy: explain, who-can, what-can, diff. They change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from strongroom_policy.decision import Request
from strongroom_policy.diff import difference, several
from strongroom_policy.engine import Policy, Sources, read_sources
from strongroom_policy.labels import Label
from strongroom_policy.questions import MalformedRequestError, checked
from strongroom_policy.reach import Reach, what_can, who_can
from strongroom_policy.universe import Person, Thing, Universe, things_called, things_known, universe
from strongroom_policy.vocabulary import ACTIONS, suggest

from strongroom_hub.cli.policy.common import (
    FOUND,
    AsJson,
    At,
    Directory,
    Known,
    Project,
    folder_of,
    in_force,
    moment,
    prefixed,
    print_json,
    refusals,
    usage,
    version_of,
)
from strongroom_hub.policies.service import reach_json

Labelled = Annotated[str, typer.Option("--label", help="The data's label, where the catalogue does not say it.")]
Tagged = Annotated[list[str] | None, typer.Option("--tag", help="A tag of the data; may be repeated.")]
What = Annotated[str, typer.Argument(metavar="OBJECT", help="For example health/randhie or health/randhie#age.")]


def explain(  # noqa: PLR0917 - the arguments and options of one command
    subject: Annotated[str, typer.Argument(help="A user: NAME or user:NAME.")],
    action: Annotated[str, typer.Argument(help="For example read.")],
    what: What,
    project: Project = "",
    label: Labelled = "",
    tag: Tagged = None,
    group: Annotated[
        list[str] | None, typer.Option(help="A group of the identity provider that they are in; may be repeated.")
    ] = None,
    at: At = "",
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Say what the files and all grants decide, by which rule, and what is owed."""
    _check_label(label)
    known, now = Known.ask(), moment(at)
    with refusals(as_json=as_json):
        policy = Policy.build(read_sources(folder_of(directory)), known.grants, now)
    (thing, *others) = things_called(what, known.datasets) or (Thing(what),)
    if label or tag or others:  # what the catalogue does not know is secret, as everywhere
        thing = Thing(what, Label.parse(label or None), frozenset(prefixed("tag:", name) for name in tag or ()))
    user = prefixed("user:", subject)
    groups = known.users.get(user, frozenset()) | {prefixed("group:", name) for name in group or ()}
    purpose = prefixed("project:", project) if project else ""
    request = Request(user, action, what, purpose, thing.label, thing.tags, now, frozenset(groups))
    try:
        decision = policy.decide(checked(request, policy.settings))
    except MalformedRequestError as error:
        usage(str(error))
    if as_json:
        print_json({"service": known.service, **decision.as_json()})
        return
    typer.echo(decision.explain())
    typer.echo(known.note)


def who_can_command(  # noqa: PLR0917 - the arguments and options of one command
    action: Annotated[str, typer.Argument(help="For example read.")],
    what: What,
    project: Project = "",
    label: Labelled = "",
    tag: Tagged = None,
    at: At = "",
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """List everybody who may do it, by which rules, and what they owe. Exit code 1 if nobody may."""
    _check_label(label)
    if action not in ACTIONS:
        usage(f"unknown action {action!r} - {suggest(action, ACTIONS)}")
    known, now = Known.ask(), moment(at)
    things: Sequence[Thing] = things_called(what, known.datasets)
    if not things:
        usage(f"{what!r} is no object: write namespace/dataset, namespace/dataset#column, policy, log or system")
    if label or tag:
        things = [Thing(what, Label.parse(label or None), frozenset(prefixed("tag:", name) for name in tag or ()))]
    with refusals(as_json=as_json):
        policy = Policy.build(read_sources(folder_of(directory)), known.grants, now)
    _tell(who_can(policy, _asked(policy, known, things, project), action, now), known, as_json=as_json)


def what_can_command(
    user: Annotated[str, typer.Argument(help="A user: NAME or user:NAME.")],
    project: Project = "",
    at: At = "",
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """List everything that somebody may do, by which rules, and what they owe. Exit code 1 if that is nothing."""
    known, now = Known.ask(), moment(at)
    with refusals(as_json=as_json):
        policy = Policy.build(read_sources(folder_of(directory)), known.grants, now)
    asked = _asked(policy, known, things_known([policy], known.datasets), project)
    _tell(what_can(policy, asked, _person(known, user), now), known, as_json=as_json)


def _person(known: Known, user: str) -> Person:
    name = prefixed("user:", user)
    return Person(name, known=known.users.get(name, frozenset()))


def _asked(policy: Policy, known: Known, things: Iterable[Thing], project: str) -> Universe:
    asked = universe([policy], known.users, known.projects, things)
    return asked.within(prefixed("project:", project)) if project else asked


def _tell(found: Sequence[Reach], known: Known, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": bool(found), "service": known.service, "answers": [reach_json(one) for one in found]})
    else:
        for one in found:
            told = reach_json(one)
            where = f" in {told['project']}" if told["project"] else " outside projects"
            typer.echo(f"{several(told['who'])} may {one.action} {several(told['objects'])}{where}")
            for rule in one.decision.rules:
                typer.echo(f"    rule {rule.name} {rule.text}")
            for kind, due in one.decision.obligations.of(one.action).items():
                typer.echo(f"    owing {kind} {due.value} by {due.rule}")
        if not found:
            typer.echo("nobody may, and nothing")
        typer.echo(known.note)
    if not found:
        raise typer.Exit(FOUND)


def diff(
    old: Annotated[
        str, typer.Argument(help="A folder, or a version's number in the history; the policy in force.")
    ] = "",
    new: Annotated[str, typer.Argument(help="The same; this installation's policy folder.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Changes that are shown at most.")] = 200,
    at: At = "",
    as_json: AsJson = False,
) -> None:
    """Say who may do what now, or no longer, and what is owed. Exit code 1 if anything changes."""
    known, now = Known.ask(), moment(at)
    with refusals(as_json=as_json):
        before = _side(old, as_json=as_json) if old else in_force(as_json=as_json)
        if before is None:
            usage("no policy was ever in force here: name two folders")
        after = _side(new or str(folder_of(None)), as_json=as_json)
        found = difference(
            before,
            after,
            now,
            extra=known.grants,
            users=known.users,
            projects=known.projects,
            datasets=known.datasets,
        )
    if as_json:
        print_json({"ok": not found, "service": known.service, **found.as_json(limit)})
    else:
        for line in found.lines(limit):
            typer.echo(line)
        typer.echo(known.note)
    if found:
        raise typer.Exit(FOUND)


def _side(name: str, *, as_json: bool) -> Sources:
    if name.isdecimal() and not Path(name).exists():
        return version_of(name, as_json=as_json)
    if not Path(name).is_dir():
        usage(f"{name!r} is neither a folder nor the number of a version")
    return read_sources(Path(name))


def _check_label(label: str) -> None:
    if label and label not in list(Label):
        usage(f"unknown label {label!r}: it is one of {', '.join(Label)}")
