"""What the commands on datasets share: how a version is named, and how what was found is told."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from strongroom_hub.cli.common import fail
from strongroom_hub.config import Instance
from strongroom_hub.internal import ControlClient

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def control(place: Instance) -> ControlClient:
    return ControlClient(place.control_socket, place.operator_token_file)


def reference(text: str, *, exact: bool = False) -> tuple[str, int]:
    """`ns/name@3` as (name, 3); without a number, or with @latest, (name, 0). Ends in words for anything else."""
    from strongroom_hub.catalog.rules import reference as named  # noqa: PLC0415 - with control's tables

    name, version = named(text)
    if exact and version is None:
        fail(f"{text}: say which version: {name}@3")
    return name, version or 0


def segment(version: int) -> str:
    """A version in an address."""
    return str(version) if version else "latest"


def show_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


def waiting_lines(waiting: dict[str, Any]) -> list[str]:
    """What was found in a draft, for the one who decides on it."""
    lines = [f"note: {note}" for note in waiting["notes"]]
    lines += [f"check: {one['text']}" for one in waiting["quality"] if one["state"] != "passed"]
    proposals = waiting["proposals"]
    if proposals is None:
        return lines
    for name, told in proposals["columns"].items():
        if name in waiting["undecided"]:
            lines.append(f"proposed: {name}: {', '.join(told['tags'])}")
            lines += [f"    {one['text']}" for one in told["evidence"]]
    if waiting["undecided"] or waiting["raises_label"]:
        lines += [f"groups: {_group(one)}" for one in worst(proposals["groups"])]
    if waiting["raises_label"]:
        lines.append(f"proposed: label {proposals['label']['label']}")
        lines += [f"    {text}" for text in proposals["label"]["evidence"]]
    return lines


def worst(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The combinations in which the most rows are alone, at most three of them."""
    return sorted((one for one in groups if one["alone"] or one["small"]), key=lambda one: -one["alone"])[:3]


def _group(one: dict[str, Any]) -> str:
    about = "" if one["exact"] else "about "
    return (
        f"{' + '.join(one['columns'])}: smallest group {one['smallest']}, {about}{one['alone']:.1%} of rows alone, "
        f"{about}{one['small']:.1%} in groups below ten"
    )
