"""What a catalogue entry must look like, and the life of a version. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from strongroom_policy.labels import Label

from strongroom_hub.catalog.models import VersionState
from strongroom_hub.catalog.schema import ColumnAbout
from strongroom_hub.control.times import end_of_day, parse
from strongroom_hub.problems import Problem

DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}")
TAG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MANIFEST_FORMAT = "strongroom-manifest/2"
FILE_TYPE = "File"
"""The type that stands in the catalogue for what is no column of a table but a file of its own."""

TRANSITIONS: Mapping[VersionState, frozenset[VersionState]] = {
    VersionState.DRAFT: frozenset({VersionState.LOADED, VersionState.SIGNED, VersionState.ABANDONED}),
    VersionState.LOADED: frozenset({VersionState.SIGNED, VersionState.ABANDONED}),
    VersionState.SIGNED: frozenset({VersionState.ACTIVE, VersionState.ABANDONED}),
    VersionState.ACTIVE: frozenset({VersionState.RETIRED}),
    VersionState.RETIRED: frozenset(),
    VersionState.ABANDONED: frozenset(),
}


def check_transition(dataset: str, version: int, state: VersionState, to: VersionState) -> None:
    """Raises Problem 409 when a version in `state` cannot become `to`."""
    if to not in TRANSITIONS[state]:
        raise wrong_state(dataset, version, state, to)


def wrong_state(dataset: str, version: int, state: str, to: str) -> Problem:
    return Problem(
        409,
        "wrong-state",
        "This version is past that",
        f"{dataset} version {version} is {state}; it cannot become {to} now.",
        next="Versions never change: make a new version instead.",
    )


def can_transition(state: VersionState, to: VersionState) -> bool:
    try:
        check_transition("", 0, state, to)
    except Problem:
        return False
    return True


def check_draft(name: str, label: str, stewards: list[str], columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises Problem 422."""
    if not DATASET_NAME.fullmatch(name):
        raise invalid("a dataset is named namespace/name in a-z 0-9 _ -")
    check_label(label)
    if not stewards:
        raise invalid("a dataset needs at least one steward, or nobody could decide on requests for it")
    for column, described in columns.items():
        for tag in described["tags"] or []:
            if not TAG.fullmatch(tag):
                raise invalid(f"column {column}: {tag!r} cannot be a tag: a-z 0-9 _ -")


def check_label(label: str) -> None:
    """Raises Problem 422."""
    if label not in set(Label):
        raise invalid(f"no such label: {label!r}; labels are {', '.join(Label)}")


def check_why(why: str) -> None:
    """Raises Problem 422."""
    if not why.strip():
        raise invalid("say why: whoever meets this later will ask")


def untold() -> dict[str, Any]:
    """A column about which nothing was told."""
    return ColumnAbout().model_dump()


def reference(text: str) -> tuple[str, int | None]:
    """`ns/name`, `ns/name@latest` (both: version None) or `ns/name@3` as (name, version). Raises Problem 422."""
    name, mark, version = text.partition("@")
    if not DATASET_NAME.fullmatch(name) or (
        mark and version != "latest" and not re.fullmatch("[1-9][0-9]{0,8}", version)
    ):
        raise invalid(f"{text!r} names no dataset: namespace/name, and @3 or @latest for a version")
    return name, int(version) if mark and version != "latest" else None


def retained_until(retention: Mapping[str, Any] | None, activated: datetime | None) -> datetime | None:
    """The first moment at which a version is kept no longer; None without retention, or before it is visible."""
    if not retention or activated is None:
        return None
    if retention["days"] is not None:
        return activated + timedelta(days=retention["days"])
    return end_of_day(parse(str(retention["until"])))


def ingest_plan(described: Mapping[str, Any], today: date) -> dict[str, Any]:
    """What the vault must know of a draft to take its file in (`plan` of an ingest ticket)."""
    columns: Mapping[str, Mapping[str, Any]] = described["columns"]
    coded = {name for check in described["checks"] if check["kind"] == "codes" for name in check["columns"]}
    required = [name for name, told in columns.items() if not told["nullable"]]
    checks = list(described["checks"])
    if required:
        empty = dict.fromkeys(("min", "max", "pattern", "days"))
        checks.append({"kind": "not-null", "columns": required, "severity": "error", "why": "declared so", **empty})
    return {
        "reading": described["reading"],
        "types": {name: told["type"] for name, told in columns.items() if told["type"] is not None},
        "checks": checks,
        "codes": {name: list(columns[name]["codes"]) for name in coded if name in columns},
        "tags": {name: told["tags"] for name, told in columns.items() if told["tags"] is not None},
        "today": today.isoformat(),
    }


def check_manifest(
    manifest: Mapping[str, Any], *, dataset: str, version: int, label: str, described: Mapping[str, Any]
) -> None:
    """The vault's account of a draft must be about that draft. Raises Problem 422 naming the difference."""
    wanted = {"format": MANIFEST_FORMAT, "dataset": dataset, "version": version, "label": label}
    for field, value in wanted.items():
        if manifest.get(field) != value:
            raise invalid(f"the manifest says {field} {manifest.get(field)!r}, the draft {value!r}")
    if manifest.get("kind") not in {"table", "files"}:
        raise invalid("the manifest is neither of a table nor of files")
    columns = manifest.get("columns" if is_table(manifest) else "files")
    needed = ("name", "type") if is_table(manifest) else ("name",)
    if not isinstance(columns, list) or not columns or not all(_has_texts(column, needed) for column in columns):
        raise invalid("the manifest lists no columns and no files, or not as name and type")
    names = [column["name"] for column in columns]
    if len(set(names)) != len(names):
        raise invalid("the manifest names a column twice")
    missing = [name for name in described if name not in names]
    if missing:
        raise invalid(f"described but not in the data: {', '.join(missing)}")
    rows = manifest.get("rows")
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise invalid("the manifest gives no number of rows")


def is_table(manifest: Mapping[str, Any]) -> bool:
    return manifest.get("kind") == "table"


def visible_columns(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What can be granted, one by one: a table's columns; of files each one, under its name and of type `File`."""
    if is_table(manifest):
        return [dict(column) for column in manifest["columns"]]
    return [{"name": file["name"], "type": FILE_TYPE} for file in manifest["files"]]


def decided(
    manifest: Mapping[str, Any], *, label: str, described: Mapping[str, Any], sources: Sequence[str] = ()
) -> dict[str, Any]:
    """The manifest as control signs it: with the label, the tags and the sources that were decided here."""
    member = "columns" if is_table(manifest) else "files"
    tagged = [{**one, "tags": described.get(one["name"], {}).get("tags") or []} for one in manifest[member]]
    return {**manifest, "label": label, member: tagged, "sources": list(sources)}


def _has_texts(column: object, keys: Sequence[str]) -> bool:
    return isinstance(column, dict) and all(isinstance(column.get(key), str) for key in keys)


def twin_allowed(label: str, decided: bool | None) -> bool:
    """Whether the synthetic twin of a version may be read: as a steward decided, else up to `confidential`."""
    return Label.parse(label) < Label.SECRET if decided is None else decided


def invalid(why: str) -> Problem:
    return Problem(
        422,
        "invalid-dataset",
        "This dataset cannot be catalogued so",
        "Nothing was changed.",
        why=(why,),
        next="Correct what is named above and try again.",
    )


def unknown_dataset(name: str) -> Problem:
    """The same answer for what does not exist and for what the caller may not know of."""
    return Problem(
        404,
        "unknown-dataset",
        "No such dataset",
        f"There is no dataset {name!r} that you may know of.",
        next="The Datasets panel, or strongroom.catalog(), lists what there is.",
    )


def retired(name: str, version: int, when: str, why: str) -> Problem:
    """Said only to who may know of the dataset."""
    return Problem(
        410,
        "version-retired",
        "This version is retired",
        f"{name} version {version} has not been read since {when}.",
        why=(f"reason given: {why}",),
        next=f"Open {name}@latest, or ask its steward.",
    )


def relabelling_open(dataset: str, version: int, by: str) -> Problem:
    return Problem(
        409,
        "relabelling-open",
        "A new label waits for a decision already",
        f"{by} has proposed one for {dataset} version {version}.",
        next="A steward other than that one decides on it in the console.",
    )


def unknown_relabelling() -> Problem:
    return Problem(
        404,
        "unknown-relabelling",
        "No such proposal",
        "There is no open proposal of a label of that id for you.",
        next="Look at the dataset's page: it may have been decided.",
    )


def guards_forbid(what: str, broken: tuple[str, ...]) -> Problem:
    return Problem(
        409,
        "guard-broken",
        "A guard of the policy forbids this",
        f"Nothing was changed: with {what}, what the guard rules out would be possible.",
        why=broken,
        next="Ask an administrator to mend the rule that is named (or the guard), or choose another label, other tags "
        "or other columns; then try again.",
    )


def own_relabelling() -> Problem:
    return Problem(
        403,
        "own-proposal",
        "Somebody else has to agree",
        "You proposed this lower label yourself.",
        why=("a label comes down only by two people",),
        next="Ask another steward of the dataset.",
    )
