"""Saving a kernel's table as a dataset of the project: copy the bytes first, then ask control under what label.

The order matters: what the kernel may read after the copy is not in it, and the label that control gives is at least
that of everything it had read before. What code chose (names, words, columns) reaches pages through the catalogue, so
it is counted like output; where nothing may be shown, pages get the name alone, and only one that the person typed.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom_hub.problems import Problem

from strongroom_lab import workfiles
from strongroom_lab.values import encode
from strongroom_lab.vault import Vault
from strongroom_lab.workspace import Workspace

_FILE = re.compile(r"\.saving-[0-9a-f]{16}\.arrow")
LINE, TEXT, NAMES = 200, 10_000, 4096


@dataclass(frozen=True, slots=True)
class Table:
    """What a kernel asks to save; `names` are the table's columns, `columns` describes some of them."""

    file: str
    dataset: str
    title: str
    description: str
    columns: dict[str, str]
    names: list[str]

    @classmethod
    def of(cls, request: dict[str, Any]) -> Table:
        """Raises Problem 400."""
        file, dataset = request.get("file"), request.get("dataset")
        title, description = request.get("title", ""), request.get("description", "")
        columns, names = request.get("columns", {}), request.get("names")
        if not (
            isinstance(file, str)
            and _FILE.fullmatch(file)
            and _is_text(dataset, LINE)
            and _is_text(title, LINE)
            and _is_text(description, TEXT)
            and isinstance(names, list)
            and 0 < len(names) <= NAMES
            and all(_is_text(name, LINE) for name in names)
            and isinstance(columns, dict)
            and all(column in names and _is_text(text, TEXT) for column, text in columns.items())
        ):
            raise Problem(
                400,
                "bad-question",
                "This cannot be saved so",
                f"Title up to {LINE} characters, description up to {TEXT:,}, up to {NAMES:,} columns, and descriptions "
                "of columns that the table has.",
                next="See help(strongroom.save).",
            )
        return cls(file, str(dataset), title, description, columns, names)

    def chosen(self) -> dict[str, Any]:
        """What pages will be told of it."""
        return {
            "dataset": self.dataset,
            "title": self.title,
            "description": self.description,
            "columns": self.columns,
            "names": self.names,
        }


class Saver:
    """Saves for all kernels of one server, one table at a time: a copy lies in memory."""

    def __init__(self, workspace: Workspace, vault: Vault, work: Path) -> None:
        self._workspace = workspace
        self._vault = vault
        self._work = work
        self._lock = asyncio.Lock()

    async def save(self, table: Table, *, kernel: str, cell: int, code: str) -> dict[str, Any]:
        """The dataset's name, version, label and sources. `code`: of the cell that runs. Raises Problem."""
        async with self._lock:
            copy = await self._copied(table)
            try:
                return await self._send(table, copy, kernel=kernel, cell=cell, code=code)
            finally:
                copy.file.close()

    async def _copied(self, table: Table) -> workfiles.Copied:
        try:
            [copy] = await asyncio.to_thread(workfiles.copy_for_export, self._work, [table.file])
        except Problem as problem:
            raise Problem(
                problem.status,
                problem.slug,
                "This table cannot be saved",
                problem.detail,
                next="Save fewer columns or rows, or an aggregate. See help(strongroom.save).",
            ) from problem
        return copy

    async def _send(self, table: Table, copy: workfiles.Copied, *, kernel: str, cell: int, code: str) -> dict[str, Any]:
        quiet = bool(await self._workspace.count_shown(len(encode(table.chosen()))))
        if quiet and table.dataset not in code:
            raise _name_not_typed(table.dataset)
        words = {"title": table.title, "description": table.description, "columns": table.columns}
        control = self._workspace.control
        made = await control.begin_save(
            {
                "kernel": kernel,
                "cell": cell,
                "dataset": table.dataset,
                **({} if quiet else words),
                "quiet": quiet,
                "sha256": copy.sha256,
                "bytes": copy.size,
            }
        )
        dataset, version, ticket = str(made.get("dataset")), made.get("version"), made.get("ticket")
        if dataset != table.dataset or not isinstance(version, int) or not isinstance(ticket, str):
            raise Problem.from_json(None)
        manifest, receipt = await self._vault.ingest(dataset, version, ticket, copy.file)
        if [column.get("name") for column in manifest.get("columns", [])] != table.names:
            raise _other_columns()
        await control.finish_save(dataset, version, receipt)
        return {name: made.get(name) for name in ("dataset", "version", "label", "sources", "entry")}


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most


def _name_not_typed(dataset: str) -> Problem:
    return Problem(
        403,
        "name-not-typed",
        "The name has to stand in the cell",
        f"Nothing that code chose may be shown here, and the name {dataset[:128]!r} will be.",
        why=("the display budget of this workspace shows nothing now",),
        next='Write the name out in the cell that saves, as in strongroom.save(table, "project/name").',
    )


def _other_columns() -> Problem:
    return Problem(
        422,
        "other-columns",
        "This table was not saved",
        "Its columns are not those that were announced.",
        next="Use strongroom.save to save a table.",
    )
