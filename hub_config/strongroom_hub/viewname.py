"""A view as a ticket says it, and its name: control and vault mean the same only if they give it the same name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from strongroom_policy.masks import parse_mask

_PARAMETERS = {
    "generalise": "width",
    "prefix": "characters",
    "date": "unit",
    "round": "decimals",
    "topcode": "quantile",
    "bottomcode": "quantile",
}
"""Under which name a ticket carries the parameter of a method."""


def mask_claims(masks: Mapping[str, str], subject: str | None) -> dict[str, dict[str, Any]]:
    """Masks as policies write them, by column, as a ticket has them. `subject`: the column that names a row's person.

    Raises ValueError for what is no mask, or lacks the subject that it needs.
    """
    return {column: _claim(text, subject) for column, text in masks.items()}


def _claim(text: str, subject: str | None) -> dict[str, Any]:
    mask = parse_mask(text)
    claim: dict[str, Any] = {"method": mask.method}
    if mask.method == "shift-date":
        if subject is None:
            raise ValueError(f"{text} needs a column that says whom a row is about")
        claim["subject"] = subject
    elif mask.parameter is not None:
        claim[_PARAMETERS[mask.method]] = mask.parameter if isinstance(mask.parameter, int) else mask.shown
    return claim


def view_name(
    *,
    dataset: str,
    version: int,
    manifest: str,
    columns: Sequence[str],
    masks: Mapping[str, Mapping[str, Any]],
    rows: Sequence[str] | None,
    project: str,
    group: str = "table",
) -> str:
    """SHA-256 (hex) over everything that says which values are seen. Not over user, kernel or label.

    A claim that the vault does not know would be missing from its own calculation, so a newer control cannot ask an
    older vault for less than it will give.
    """
    said = {
        "dataset": dataset,
        "version": version,
        "manifest": manifest,
        "columns": list(columns),
        "masks": {column: dict(mask) for column, mask in masks.items()},
        "rows": None if rows is None else list(rows),
        "project": project,
    } | ({} if group == "table" else {"group": group})
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
