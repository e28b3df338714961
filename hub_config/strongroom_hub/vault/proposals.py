"""Which columns seem sensitive, and why: proposed to the steward, who decides. Evidence is shares and counts only."""

from __future__ import annotations

import datetime as dt
from itertools import combinations
from typing import Any

import polars as pl

from strongroom_hub.vault.looks import ColumnLook, Groups
from strongroom_hub.vault.sensitive import DIRECT, QUASI, SENSITIVE, Sign, by_name, by_values

_LABELS = ("public", "internal", "confidential", "secret")
_SAMPLED = 2000
"""Different values of a column that are looked at one by one."""
_COMBINED = 5
_LONG_TEXT = 40
_YEAR = dt.timedelta(days=365)
_SMALL = 10
"""Rows: a group of fewer is small."""


class Proposals:
    """Looks for signs as the batches pass; `decided` are the tags that somebody has given already."""

    def __init__(self, schema: dict[str, pl.DataType], decided: dict[str, list[str]]) -> None:
        self._schema = schema
        self._decided = decided
        self._signs = {name: by_name(name) for name in schema}
        self._values: dict[str, pl.Series] = {}
        self._groups: list[Groups] | None = None

    def see(self, frame: pl.DataFrame) -> None:
        for name, series in zip(frame.columns, frame.iter_columns(), strict=True):
            self._collect(name, series)
        if self._groups is None:
            self._groups = self._combinations()
        for group in self._groups:
            group.see(frame)

    def report(self, looks: dict[str, ColumnLook], label: str) -> dict[str, Any]:
        """`columns`: what is proposed for each that has signs; `label` and `groups` for the whole."""
        found: dict[str, list[Sign]] = {
            name: [*signs, *self._from_values(name, looks[name])] for name, signs in self._signs.items()
        }
        columns: dict[str, dict[str, Any]] = {
            name: {
                "tags": sorted({sign.tag for sign in signs}),
                "evidence": [sign.as_json() for sign in signs],
                "decided": name in self._decided,
            }
            for name, signs in found.items()
            if signs
        }
        tags = {name: set(self._decided.get(name, told["tags"])) for name, told in columns.items()}
        tags |= {name: set(told) for name, told in self._decided.items()}
        groups = [_group_json(group) for group in self._groups or []]
        proved = [name for name, signs in found.items() if any(sign.kind == "checksum" for sign in signs)]
        return {"columns": columns, "groups": groups, "label": _label(tags, proved, groups, label)}

    def _collect(self, name: str, series: pl.Series) -> None:
        if not (series.dtype == pl.String or series.dtype.is_integer()):
            return
        kept = self._values.get(name)
        if kept is not None and len(kept) >= _SAMPLED:
            return
        more = series.drop_nulls().unique(maintain_order=True).head(_SAMPLED).cast(pl.String)
        self._values[name] = (more if kept is None else pl.concat([kept, more]).unique(maintain_order=True)).head(
            _SAMPLED
        )

    def _combinations(self) -> list[Groups]:
        """The quasi-identifiers, as they are known after the first batch: all together, and each two or three."""
        quasi = [
            name
            for name in self._schema
            if (QUASI in self._decided[name] if name in self._decided else self._seems(name, QUASI))
        ]
        if not quasi:
            return []
        whole = [quasi] if len(quasi) > 1 else []
        few = quasi[:_COMBINED]
        smaller = [list(some) for count in (1, 2, 3) for some in combinations(few, count) if list(some) != quasi]
        return [Groups(columns) for columns in (*whole, *smaller)]

    def _seems(self, name: str, tag: str) -> bool:
        signs = [*self._signs[name], *self._forms(name)]
        return any(sign.tag == tag for sign in signs) and not any(sign.tag == DIRECT for sign in signs)

    def _forms(self, name: str) -> list[Sign]:
        values = self._values.get(name)
        return [] if values is None else by_values([value for value in values.to_list() if value])

    def _from_values(self, name: str, look: ColumnLook) -> list[Sign]:
        signs = self._forms(name)
        values = self._values.get(name)
        if look.dtype == pl.Date and _like_births(look):
            signs.append(Sign(QUASI, "pattern", "its dates lie where dates of birth do"))
        if look.dtype == pl.String and look.unique and look.known >= _SMALL:
            signs.append(Sign(DIRECT, "uniqueness", "every value occurs once, so that each names one row"))
        if values is not None and look.dtype == pl.String and look.distinct > _SMALL:
            length = values.str.len_chars().mean()
            if isinstance(length, float) and length > _LONG_TEXT:
                signs.append(
                    Sign(SENSITIVE, "pattern", "it holds long texts, in which anything may be said of anybody")
                )
        return signs


def _like_births(look: ColumnLook) -> bool:
    """Dates of the last 110 years over at least thirty of them, few of them in the last ten."""
    today = dt.datetime.now(dt.UTC).date()
    values = look.sample().to_list()
    if len(values) < _SMALL or look.low < today - 110 * _YEAR or look.high > today:
        return False
    recent = sum(value > today - 10 * _YEAR for value in values) / len(values)
    return bool(look.high - look.low >= 30 * _YEAR and recent < 0.2)  # noqa: PLR2004 - as the words above say


def _group_json(group: Groups) -> dict[str, Any]:
    return {
        "columns": group.columns,
        "smallest": group.smallest,
        "alone": round(group.share_below(2), 3),
        "small": round(group.share_below(_SMALL), 3),
        "exact": group.exact,
    }


def _label(tags: dict[str, set[str]], proved: list[str], groups: list[dict[str, Any]], drafted: str) -> dict[str, Any]:
    """The label that the signs call for; never below the one that was drafted."""
    direct = sorted(name for name, told in tags.items() if DIRECT in told)
    sensitive = sorted(name for name, told in tags.items() if SENSITIVE in told)
    alone = max((group["alone"] for group in groups), default=0.0)
    evidence, wanted = [], "internal"
    if direct:
        wanted = "confidential"
        evidence.append(f"it names people directly: {', '.join(direct[:10])}")
    if sensitive:
        wanted = "confidential"
        evidence.append(f"it says what people would keep to themselves: {', '.join(sensitive[:10])}")
    if alone > 0:
        evidence.append(f"{alone:.1%} of its rows are alone in their combination of quasi-identifiers")
        wanted = "confidential"
    if sensitive and proved:
        wanted = "secret"
        evidence.append(f"numbers with right check digits name people: {', '.join(proved)}")
    there = _LABELS.index(drafted) if drafted in _LABELS else len(_LABELS) - 1
    return {"label": _LABELS[max(there, _LABELS.index(wanted))] if evidence else drafted, "evidence": evidence}
