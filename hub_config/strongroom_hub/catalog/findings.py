"""What the vault found, and what a steward makes of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from strongroom_policy.labels import Label

from strongroom_hub.catalog import rules
from strongroom_hub.catalog.schema import Tag

Verdict = Literal["accept", "change", "refuse"]


class ColumnDecision(BaseModel):
    """What becomes of the tags proposed for a column; `tags` only where they are changed."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    tags: list[Tag] = Field(default_factory=list, max_length=20)


class Decision(BaseModel):
    """A steward's answer to a draft: each undecided column, and the label that the version gets."""

    model_config = ConfigDict(extra="forbid")

    columns: dict[str, ColumnDecision] = Field(default_factory=dict)
    label: str | None = None
    """None: the one that was drafted."""
    comment: str = Field(default="", max_length=2000)


def undecided(report: Mapping[str, Any] | None, described: Mapping[str, Any]) -> list[str]:
    """Columns for which something is proposed and for which nobody has said yet which tags they get."""
    if report is None:
        return []
    told = described["columns"]
    return [name for name in report["proposals"]["columns"] if told.get(name, {}).get("tags") is None]


def raises_label(report: Mapping[str, Any] | None, label: str) -> bool:
    """Whether a higher label than this one is proposed."""
    return report is not None and Label.parse(report["proposals"]["label"]["label"]) > Label.parse(label)


def accept_all(report: Mapping[str, Any], described: Mapping[str, Any], label: str) -> Decision:
    """As the vault proposes: all its tags, and its label where that is the higher one."""
    columns = {name: ColumnDecision(verdict="accept") for name in undecided(report, described)}
    proposed = report["proposals"]["label"]["label"]
    return Decision(columns=columns, label=proposed if raises_label(report, label) else label)


def decided_tags(
    report: Mapping[str, Any], described: Mapping[str, Any], decision: Decision
) -> dict[str, tuple[str, list[str]]]:
    """(Verdict, tags) by column. Raises Problem 422 for a column that is left out, or about which nothing is open."""
    still = undecided(report, described)
    missing = [name for name in still if name not in decision.columns]
    if missing:
        raise rules.invalid(f"nothing was decided on {', '.join(missing[:12])}")
    needless = sorted(set(decision.columns) - set(still))
    if needless:
        raise rules.invalid(f"nothing is open about {', '.join(needless[:12])}")
    found: dict[str, tuple[str, list[str]]] = {}
    for name in still:
        one, proposed = decision.columns[name], report["proposals"]["columns"][name]["tags"]
        if one.verdict != "change" and one.tags:
            raise rules.invalid(f"{name}: tags are given only where the proposal is changed")
        tags = {"accept": list(proposed), "change": list(one.tags), "refuse": []}[one.verdict]
        found[name] = (one.verdict, tags)
    return found


def with_tags(described: Mapping[str, Any], tags: Mapping[str, tuple[str, list[str]]]) -> dict[str, Any]:
    """What is told about the version, with the tags that were decided on."""
    columns = {name: dict(told) for name, told in described["columns"].items()}
    for name, (_, decided) in tags.items():
        columns.setdefault(name, rules.untold())["tags"] = decided
    return {**described, "columns": columns}


def with_told(described: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """With the descriptions and code lists that came in the file, where the metadata says nothing."""
    columns = {name: dict(told) for name, told in described["columns"].items()}
    for name, told in report["told"].items():
        column = columns.setdefault(name, rules.untold())
        column["description"] = column["description"] or told["description"][:2000]
        column["codes"] = column["codes"] or {key[:200]: text[:200] for key, text in told["codes"].items()}
    return {**described, "columns": columns}


def shown_profile(report: Mapping[str, Any] | None, label: str) -> dict[str, Any] | None:
    """The profile as far as the version's present label lets it be told; None where there is none.

    It was made for the label that was proposed. Where the version is labelled higher now, next to nothing is left.
    """
    if report is None:
        return None
    profile: dict[str, Any] = report["profile"]
    if Label.parse(label) <= Label.parse(profile["label"]):
        return profile
    columns = {name: {"missing": round(one["missing"] * 20) / 20} for name, one in profile["columns"].items()}
    return {"label": label, "columns": columns}


def shown_quality(report: Mapping[str, Any] | None, label: str) -> dict[str, Any] | None:
    """How the declared checks went, for who does not look after the dataset; None where nothing was declared.

    A check names rows, and one that fails tells of an extreme: above `internal` only how many were satisfied is told.
    """
    if report is None or not report["quality"]:
        return None
    failed = [one for one in report["quality"] if one["state"] != "passed"]
    told = [{name: one[name] for name in ("kind", "severity", "state", "text", "why")} for one in failed]
    return {
        "checks": len(report["quality"]),
        "passed": len(report["quality"]) - len(failed),
        "failed": told if Label.parse(label) <= Label.INTERNAL else None,
    }


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What changed between two versions, each `{"version","label","rows","columns","profile"}`; shares as they may be
    shown.
    """
    old = {column["name"]: column for column in before["columns"]}
    new = {column["name"]: column for column in after["columns"]}
    changed = []
    for name in [name for name in new if name in old]:
        fields = [
            field
            for field in ("type", "tags", "unit", "codes", "nullable", "description")
            if old[name][field] != new[name][field]
        ]
        if fields:
            changed.append(
                {
                    "name": name,
                    "fields": fields,
                    "before": {field: old[name][field] for field in fields},
                    "after": {field: new[name][field] for field in fields},
                }
            )
    return {
        "before": {key: before[key] for key in ("version", "label", "rows")},
        "after": {key: after[key] for key in ("version", "label", "rows")},
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": changed,
        "missing": _missing(before, after, [name for name in new if name in old]),
    }


def _missing(before: Mapping[str, Any], after: Mapping[str, Any], columns: list[str]) -> list[dict[str, Any]]:
    told = [one["profile"]["columns"] if one["profile"] is not None else {} for one in (before, after)]
    shares = [(name, *(side.get(name, {}).get("missing") for side in told)) for name in columns]
    return [{"name": name, "before": old, "after": new} for name, old, new in shares if old != new]
