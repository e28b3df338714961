"""`strongroom audit timeline`: what a person did, what became of a dataset, how a notebook ran, what led to an export.

Asks control, which proves each entry, decrypts texts and records that they were read.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from strongroom_hub.cli.common import InstanceOption, fail, harmless, load_instance
from strongroom_hub.cli.dataset_words import JsonOption, control

_PAGE = 200


class Kind(StrEnum):
    """What there is a timeline of; as control has it (`audit/timelines.py`), which takes long to import."""

    PERSON = "person"
    DATASET = "dataset"
    NOTEBOOK = "notebook"
    EXPORT = "export"


def timeline(  # noqa: PLR0917 - typer passes them by name
    kind: Annotated[Kind, typer.Argument(help="Of what.")],
    of: Annotated[str, typer.Argument(metavar="NAME", help="The account, namespace/name, path or id.")],
    user: Annotated[str | None, typer.Option(help="Whose notebook.")] = None,
    project: Annotated[str | None, typer.Option(help="The notebook's project.")] = None,
    newest: Annotated[int, typer.Option(min=1, help="At most so many entries; an export's come whole.")] = 100,
    before: Annotated[int | None, typer.Option(min=1, help="Those before this entry.")] = None,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """List what happened, newest first; of an export all that led to its files, oldest first. Each entry is proven.

    Needs the service, which records that it was read.
    """
    if kind is not Kind.NOTEBOOK and (user, project) != (None, None):
        fail("--user and --project say which notebook is meant; leave them out")
    client = control(load_instance(instance))
    found: dict[str, Any] = {"timeline": kind.value, "of": of, "entries": [], "next": before}
    while len(found["entries"]) < newest:
        limit = min(_PAGE, newest - len(found["entries"]))
        given = {
            "kind": kind.value,
            "of": of,
            "user": user,
            "project": project,
            "limit": limit,
            "before": found["next"],
        }
        query = urlencode({name: value for name, value in given.items() if value is not None})
        page = client.call("GET", f"audit/timeline?{query}")
        found |= {"next": None} | page | {"entries": found["entries"] + page["entries"]}
        if found["next"] is None:
            break
    if as_json:
        typer.echo(json.dumps(found, indent=1))  # ASCII: an entry must not steer the terminal
        return
    for line in lines_of(found):
        typer.echo(line)
    if not found["entries"]:
        typer.echo(f"the log shows nothing of {kind.value} {harmless(of)!r}", err=True)
    if found["next"] is not None:
        typer.echo(f"there is more: --before {found['next']}", err=True)


def lines_of(found: dict[str, Any]) -> list[str]:
    """The list for a terminal."""
    lines = []
    if "export" in found:
        export = found["export"]
        lines.append(f"--- export {export['id']} of {export['user']} in {export['project']}: {export['state']}")
    for entry in found["entries"]:
        about = " ".join(str(entry[name]) for name in ("role", "object", "label") if entry.get(name) is not None)
        lines.append(f"{entry['index']:>7}  {entry['time']}  {entry['actor']:<20} {entry['action']:<32} {about}")
        if entry.get("end", {}).get("state") == "missing":
            lines.append(f"         NO END: {entry['end']['why']}")
        if entry.get("text"):
            lines += [f"         | {line}" for line in _text(entry["text"]).split("\n")]
    return [harmless(line) for line in lines]


def _text(told: dict[str, Any]) -> str:
    if told["payload_state"] == "erased":
        erased = told["erased"]
        return f"(erased on {erased['time']} by {erased['actor']}, entry {erased['entry']})"
    return told["payload"] or "(unreadable: run strongroom audit verify)"
