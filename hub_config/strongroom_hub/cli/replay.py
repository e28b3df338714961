"""`strongroom audit replay`: the cells of a notebook as they were run, and a clean notebook of them.

Asks control, which decrypts the code and records that it was read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from strongroom_hub.cli.common import InstanceOption, fail, harmless, load_instance
from strongroom_hub.cli.dataset_words import JsonOption, control

_PAGE = 100
_KERNELSPEC = {"name": "strongroom", "display_name": "Strongroom", "language": "python"}
Cells = list[dict[str, Any]]


def replay(  # noqa: PLR0917 - typer passes them by name
    notebook: Annotated[str, typer.Argument(help="Its path as the log names it, for example analysis/day.ipynb.")],
    user: Annotated[str | None, typer.Option(help="Whose; needed where several people have one of that name.")] = None,
    project: Annotated[str | None, typer.Option(help="Of which project.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="A new file: the cells that ran, in that order, without output.")
    ] = None,
    as_json: JsonOption = False,
    instance: InstanceOption = None,
) -> None:
    """List a notebook's cells as they were run, in the order they were run, with the code that the log keeps.

    Needs the service, which records that the code was read.
    """
    place = load_instance(instance)
    if to is not None and to.exists():
        fail(f"{to} is there already; name a new file")
    given = {"notebook": notebook, "user": user, "project": project, "limit": str(_PAGE)}
    query = {name: value for name, value in given.items() if value is not None}
    cells: Cells = []
    before: int | None = None
    while True:
        more = query if before is None else query | {"before": str(before)}
        page = control(place).call("GET", f"audit/replay?{urlencode(more)}")
        cells += page["cells"]
        before = page["next"]
        if before is None:
            break
    cells.reverse()
    if not cells:
        fail(f"the log has no cell of {notebook!r} that this asks for; it names notebooks by their path when they ran")
    if to is not None:
        _write(to, notebook, cells)
    if as_json:
        typer.echo(json.dumps({"notebook": notebook, "cells": cells}, indent=1))  # ASCII, as `show`
        return
    for line in lines_of(cells):
        typer.echo(line)
    if to is not None:
        typer.echo(f"{to}: {sum(1 for cell in cells if ran(cell))} cells that ran, in that order", err=True)


def _write(to: Path, notebook: str, cells: Cells) -> None:
    owners = sorted({f"--user {cell['user']} --project {cell['project']}" for cell in cells})
    if len(owners) > 1:
        fail(f"{len(owners)} notebooks have the name {notebook!r}; say which: {'; '.join(owners)}")
    try:
        with to.open("x", encoding="utf-8") as out:
            out.write(json.dumps(notebook_of(notebook, cells), indent=1) + "\n")
    except OSError as error:
        fail(f"{to} cannot be written: {error.strerror}")


def ran(cell: dict[str, Any]) -> bool:
    """Whether the kernel began it, by its own word; a cell without an end may have run."""
    return not (cell["status"] == "aborted" and cell["count"] is None)


def runs(cells: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each cell, and whether its kernel was started since the one before, or is another: then it knew nothing of it."""
    last = None
    for cell in cells:
        kernel = (cell["kernel"], cell["kernel_start"])
        yield cell, kernel != last
        last = kernel


def lines_of(cells: Cells) -> list[str]:
    """The list for a terminal."""
    lines: list[str] = []
    for cell, fresh in runs(cells):
        if fresh:
            lines.append(
                f"--- kernel {cell['kernel']} of {cell['user']} in {cell['project']}, "
                f"started in entry {cell['kernel_start']}"
            )
        label = cell["label"]
        if cell["label_after"] not in {None, label}:
            label += f" -> {cell['label_after']}"
        count = f"[{cell['count'] or ' '}]"
        lines.append(f"{cell['entry']:>7}  {cell['time']}  {count:<6} {_told(cell):<12} {label}")
        lines += [f"         read {one['dataset']}: {', '.join(one['columns'])}" for one in cell["reads"]]
        lines += [f"         | {line}" for line in (cell["code"] or _absent(cell)).split("\n")]
    return [harmless(line) for line in lines]


def _told(cell: dict[str, Any]) -> str:
    """How it ended, or why nothing says so."""
    told = cell["status"] or {"running": "no end yet: it runs"}.get(
        cell["end"]["state"], f"NO END: {cell['end']['why']}"
    )
    return f"{told}, silent" if cell["silent"] else str(told)


def _absent(cell: dict[str, Any]) -> str:
    if cell["code_state"] == "erased":
        erased = cell["erased"]
        return f"(erased on {erased['time']} by {erased['actor']}, entry {erased['entry']})"
    return {"none": "(no code)", "shown": ""}.get(cell["code_state"], "(unreadable: run strongroom audit verify)")


def notebook_of(name: str, cells: Cells) -> dict[str, Any]:
    """A notebook of format 4.5: the code that ran, in the order it ran, without outputs; what is missing, in words."""
    made: Cells = []
    for cell, fresh in runs(cells):
        if fresh and made:
            text = f"*From here on kernel {cell['kernel']}, started in entry {cell['kernel_start']}.*"
            made.append(_markdown(f"kernel-{cell['entry']}", text))
        if not ran(cell):
            text = f"*Entry {cell['entry']} was aborted before it ran, its kernel said. The log has its code.*"
            made.append(_markdown(f"note-{cell['entry']}", text))
            continue
        if cell["code_state"] not in {"shown", "none"}:
            made.append(_markdown(f"entry-{cell['entry']}", f"*A cell ran here. {_absent(cell)}*") | _metadata(cell))
            continue
        if cell["status"] != "ok":
            words = f"*The next cell did not end well: {_told(cell)}*"
            made.append(_markdown(f"note-{cell['entry']}", words))
        code: dict[str, Any] = {
            "id": f"entry-{cell['entry']}",
            "cell_type": "code",
            "execution_count": None,
            "outputs": [],
        }
        made.append(code | {"source": cell["code"] or ""} | _metadata(cell))
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": _KERNELSPEC,
            "language_info": {"name": "python"},
            "strongroom": {"replay_of": name, "user": cells[0]["user"], "project": cells[0]["project"]},
        },
        "cells": made,
    }


def _markdown(cell_id: str, text: str) -> dict[str, Any]:
    return {"id": cell_id, "cell_type": "markdown", "metadata": {}, "source": text}


def _metadata(cell: dict[str, Any]) -> dict[str, Any]:
    names = (
        "entry",
        "time",
        "kernel",
        "kernel_start",
        "cell",
        "status",
        "count",
        "label",
        "label_after",
        "sources",
        "reads",
    )
    return {"metadata": {"strongroom": {name: cell[name] for name in names}}}
