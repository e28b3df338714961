"""Requests for access and exports that code prepared: they wait here until the person submits or discards them.

Their words are a kernel's. They were counted like output when they were prepared, so pages may show them; where nothing
may be shown none is taken. Bounded, in memory, lost with the server.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from strongroom_hub.problems import Problem

MOST = 20
USED_DATASETS = 200
Kind = Literal["access-request", "export"]


@dataclass(frozen=True, slots=True)
class Draft:
    """`body`: what the panel would send, as code filled it in. `entry`: of the cell whose code it was."""

    kind: Kind
    body: dict[str, Any]
    notebook: str
    entry: int
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "notebook": self.notebook,
            "entry": self.entry,
            "at": self.at,
            **self.body,
        }

    @property
    def about(self) -> tuple[str, Any]:
        """A second draft about the same thing takes the place of the first."""
        return self.kind, self.body["dataset"] if self.kind == "access-request" else tuple(self.body["paths"])


class Drafts:
    """What waits for the person, and which columns code says that it used."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}
        self._used: dict[str, list[str]] = {}

    def add(self, draft: Draft) -> None:
        """Raises Problem 429 where too many wait."""
        for other in [one for one in self._drafts.values() if one.about == draft.about]:
            del self._drafts[other.id]
        if len(self._drafts) >= MOST:
            raise Problem(
                429,
                "too-many-drafts",
                "Too much is prepared already",
                f"{MOST} requests and exports that code prepared wait to be submitted or discarded.",
                next="Go through them in the Datasets and Exports panels of the left sidebar.",
            )
        self._drafts[draft.id] = draft

    def listed(self) -> list[dict[str, Any]]:
        """Oldest first."""
        return [draft.as_json() for draft in self._drafts.values()]

    def get(self, identifier: str) -> Draft:
        """Raises Problem 404."""
        found = self._drafts.get(identifier)
        if found is None:
            raise Problem(
                404,
                "unknown-draft",
                "This is not waiting any more",
                "It was submitted, discarded or replaced, or the server was started anew.",
                next="Look at the list, or run the cell again that prepared it.",
            )
        return found

    def discard(self, identifier: str) -> None:
        """Nothing happens when it is gone."""
        self._drafts.pop(identifier, None)

    def note_used(self, dataset: str, columns: list[str]) -> None:
        """Code's word on which columns of a dataset it used; the latest counts, of so many datasets."""
        self._used.pop(dataset, None)
        if len(self._used) >= USED_DATASETS:
            del self._used[next(iter(self._used))]
        self._used[dataset] = columns

    def used(self, dataset: str, known: list[str]) -> list[str]:
        """Those of the `known` columns that code said it used: nothing but names of the catalogue comes back."""
        said = set(self._used.get(dataset, ()))
        return [column for column in known if column in said]
