"""Reading what is no table: file by file, each of them whole and as it is."""

from __future__ import annotations

from collections.abc import Mapping

from strongroom_policy.decision import Decision

from strongroom_hub.catalog.rules import FILE_TYPE
from strongroom_hub.catalog.service import View
from strongroom_hub.problems import Problem


def check_files(view: View, rulings: Mapping[str, Decision]) -> None:
    """Raises Problem 422 where several files are asked for at once, 403 where one may be seen only in disguise."""
    wanted = [column.name for column in view.columns if column.type == FILE_TYPE and column.name in rulings]
    if not wanted:
        return
    if len(wanted) > 1:
        raise Problem(
            422,
            "files-one-by-one",
            "This dataset holds files, not a table",
            f"{view.name} version {view.version.version}: {', '.join(wanted[:12])}.",
            next=f'List them with strongroom.files("{view.name}"), open one with .open("{wanted[0]}").',
        )
    due = rulings[wanted[0]].obligations
    if due.mask.value is not None:
        raise Problem(
            403,
            "not-carried-out",
            "This file may be seen only in disguise",
            f"{wanted[0]} of {view.name} is owed the mask {due.mask.value!r}, and a file cannot be masked.",
            why=(f"rule {due.mask.rule}",),
            next="Ask the steward for a version without what is hidden, or an administrator about the rule.",
        )
