"""All that is found while a table passes: profile, proposals and quality, for the steward's decision."""

from __future__ import annotations

from typing import Any

import polars as pl

from strongroom_hub.vault.looks import ColumnLook
from strongroom_hub.vault.profile import column_profile
from strongroom_hub.vault.proposals import Proposals
from strongroom_hub.vault.quality import Quality
from strongroom_hub.vault.tickets import Plan


class Findings:
    """Sees every batch once."""

    def __init__(self, schema: dict[str, pl.DataType], label: str, plan: Plan) -> None:
        """Raises Problem where a declared check cannot be made."""
        self._label = label
        self._plan = plan
        self._looks = {name: ColumnLook(dtype) for name, dtype in schema.items()}
        self._proposals = Proposals(schema, plan.tags)
        self._quality = Quality(plan.checks, plan.codes, plan.today, schema)

    def see(self, frame: pl.DataFrame) -> None:
        self._quality.see(frame)
        for name, look in self._looks.items():
            look.see(frame[name])
        self._proposals.see(frame)

    def report(self) -> dict[str, Any]:
        """Raises Problem where a check of severity `error` failed."""
        quality = self._quality.results()
        proposals = self._proposals.report(self._looks, self._label)
        # until the steward has decided, a column is told of as if every proposal held
        label = proposals["label"]["label"]
        tags = {
            name: [*self._plan.tags.get(name, []), *proposals["columns"].get(name, {}).get("tags", [])]
            for name in self._looks
        }
        profile = {name: column_profile(look, label, tags[name]) for name, look in self._looks.items()}
        return {"quality": quality, "proposals": proposals, "profile": {"label": label, "columns": profile}}
