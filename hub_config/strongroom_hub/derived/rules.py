"""What may be saved, under which name, and what a reader of it must be allowed of its sources. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from strongroom_hub.boxes.rules import SAVES
from strongroom_hub.catalog.rules import DATASET_NAME
from strongroom_hub.problems import Problem

MAX_BYTES = 100 << 20
"""Of one table, as Arrow."""
MAX_VERSIONS = 1000
"""Versions that all datasets of one project may have, failed saves included."""
MAX_TITLE, MAX_DESCRIPTION, MAX_COLUMN_TEXT, MAX_COLUMNS = 200, 10_000, 2000, 4096
NOTHING_KNOWN = "null"
"""The mask that leaves nothing of a column."""


def check_name(dataset: str, project: str) -> None:
    """Raises Problem 422 unless the dataset is `PROJECT/name`."""
    if not DATASET_NAME.fullmatch(dataset) or dataset.partition("/")[0] != project:
        raise Problem(
            422,
            "not-your-name",
            "A project saves under its own name",
            f"{dataset[:128]!r} is not a name below {project}/.",
            why=("names are namespace/name in a-z 0-9 _ -, and the namespace is the project",),
            next=f'Choose a name such as "{project}/cohort1".',
        )


def check_size(size: int) -> None:
    """Raises Problem 413."""
    if size > MAX_BYTES:
        raise Problem(
            413,
            "too-large",
            "This table is too large to be saved",
            f"It has {size:,} bytes; a project may save up to {MAX_BYTES:,} at a time.",
            next="Save fewer columns or rows, or an aggregate.",
        )


def check_room(versions: int, project: str) -> None:
    """Raises Problem 409 where the project has as many versions as it may."""
    if versions >= MAX_VERSIONS:
        raise Problem(
            409,
            "too-many-versions",
            "The project has saved as much as it may",
            f"{project} has {versions} saved versions; {MAX_VERSIONS} is the most.",
            next="Ask a steward or the operator to retire some.",
        )


def name_taken(dataset: str) -> Problem:
    return Problem(
        409,
        "name-taken",
        "This name belongs to another dataset",
        f"{dataset} was not saved by this project, and is never overwritten.",
        next="Choose another name.",
    )


def not_a_draft_of_yours(dataset: str, version: int) -> Problem:
    """The same for a version that never was and for one that another workspace saves."""
    return Problem(
        404,
        "unknown-save",
        "No such save",
        f"{dataset} version {version} is not being saved here.",
        next="Save the table again.",
    )


def too_fast() -> Problem:
    return Problem(
        429,
        "too-many-saves",
        "Too many saves",
        f"A workspace may save {SAVES} tables at once, then one a minute.",
        next="Wait a minute, and save a table when it is finished instead of in a loop.",
    )


def source_gone(source: str, of: str) -> Problem:
    return Problem(
        403,
        "source-retired",
        "What this was made from is not readable any more",
        f"{of} was made from {source}, which was withdrawn.",
        next="Ask the steward of the source.",
    )


def source_refused(source: str, of: str, why: tuple[str, ...]) -> Problem:
    """`of`: the derived dataset, or what is being saved."""
    return Problem(
        403,
        "source-not-readable",
        "This was made from data that you may not read",
        f"{of} was made from {source}, and not all that it was made from may be read by you now.",
        why=why,
        next=f"Ask for access to {source.partition('@')[0]} in the Datasets panel: a derived dataset opens with its "
        "sources.",
    )


def relabelled(source: str, of: str) -> Problem:
    return Problem(
        403,
        "source-relabelled",
        "What this was made from is held more closely now",
        f"{of} was made from {source}, whose label has been raised above its own since.",
        next="Make it again from the source and save it, or ask a steward to relabel it.",
    )


def ask_for_sources(dataset: str, sources: Iterable[str]) -> Problem:
    names = ", ".join(sorted({source.partition("@")[0] for source in sources})) or "none"
    return Problem(
        422,
        "derived-dataset",
        "A derived dataset opens with its sources",
        f"{dataset} was saved by a project; no request for it is needed or possible.",
        why=(f"it was made from: {names}",),
        next="Ask for access to its sources instead.",
    )


def mask_covers(due: str, seen: Any) -> bool:
    """Whether what was seen of a column under the mask `seen` may be known to somebody who is due the mask `due`.

    `seen` None: it was seen in clear. Anything but the very same mask, or nothing at all, does not cover.
    """
    return seen is not None and seen in {due, NOTHING_KNOWN}


def rows_cover(due: Iterable[str], seen: Iterable[str] | None) -> bool:
    """Whether rows that were seen under the filters `seen` may be known to somebody who is due the filters `due`.

    `seen` None: all rows were seen. Filters that are not the very same, also of another day, do not cover.
    """
    return seen is not None and set(due) <= set(seen)


def inherited_tags(
    column: str, sources: Iterable[tuple[Mapping[str, list[str]], Iterable[str], Mapping[str, Any]]]
) -> list[str]:
    """Tags that a saved column gets from source columns of its name that had been read in clear.

    `sources`: of each, tags by column, the columns that were read, and their masks. A column that was masked is no
    longer what its tags say.
    """
    found: dict[str, None] = {}
    for tags, read, masks in sources:
        if column in read and column not in masks:
            found.update(dict.fromkeys(tags.get(column, ())))
    return list(found)
