"""`strongroom training record|list`: who passed which course, for policies that ask for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from strongroom_hub.cli.common import InstanceOption, fail, load_instance
from strongroom_hub.cli.dataset_words import control
from strongroom_hub.internal import quoted
from strongroom_hub.problems import Problem

app = typer.Typer(no_args_is_help=True, help="Record who passed which course.")


@app.command()
def record(
    user: Annotated[str, typer.Argument(help="The person's login name.")],
    course: Annotated[str, typer.Argument(help="The course, by its name in policy.csv.")],
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="When (default: today, UTC).")] = None,
    instance: InstanceOption = None,
) -> None:
    """Note that somebody passed a course; they may read from then on."""
    day = (on or datetime.now(UTC)).date().isoformat()
    try:
        control(load_instance(instance)).call("POST", "training", {"user": user, "course": course, "passed": day})
    except Problem as problem:
        fail(f"{problem.title}: {'; '.join(problem.why) or problem.detail}")
    typer.echo(f"{user} passed {course} on {day}.")


@app.command("list")
def list_all(
    user: Annotated[str | None, typer.Argument(help="Only this person's.")] = None, instance: InstanceOption = None
) -> None:
    """All that is noted."""
    query = "" if user is None else f"?user={quoted(user)}"
    for one in control(load_instance(instance)).call("GET", f"training{query}")["training"]:
        typer.echo(f"{one['user']:<20} {one['course']:<24} {one['passed']}")
