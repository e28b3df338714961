"""Reading the synthetic twin of a dataset: for whoever may discover it; no label rises and nothing is a source."""

from __future__ import annotations

from strongroom_policy.labels import Label

from strongroom_hub.access.rules import ASK
from strongroom_hub.catalog.service import View
from strongroom_hub.problems import Problem

GROUP = "synthetic"
LABEL = Label.PUBLIC
"""Of every twin: what it was made from does not count, which is why a steward may withhold it."""


def twin_columns(view: View, wanted: list[str] | None) -> list[str]:
    """The columns to read. Raises Problem 404 `no-twin` or 403 `twin-withheld`."""
    if not view.twin_allowed:
        raise Problem(
            403,
            "twin-withheld",
            "The synthetic twin of this dataset is withheld",
            f"Who looks after {view.name} has decided that its synthetic twin is not read, "
            "or, since it is secret, has not opened it.",
            next=f"Write your code by the columns in the catalogue. {ASK}",
        )
    if view.version.twin is None:
        raise Problem(
            404,
            "no-twin",
            "There is no synthetic twin",
            f"{view.name} version {view.version.version} has none: it was taken in before there were twins, holds "
            "files, was derived in a project, or no twin could be made of it.",
            next="Write your code by the columns in the catalogue. Its steward knows why; a new version may have one.",
        )
    return [column.name for column in view.columns] if wanted is None else wanted
