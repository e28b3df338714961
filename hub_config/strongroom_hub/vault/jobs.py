"""What the vault asks of a worker, in one place for both ends: plain JSON, keys in base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from strongroom_policy import filters

from strongroom_hub.problems import Problem
from strongroom_hub.vault.holding import Needed
from strongroom_hub.vault.keys import Keys
from strongroom_hub.vault.manifest import FOOTER, TABLE, Manifest, Table
from strongroom_hub.vault.masks import is_keyed, needed_columns
from strongroom_hub.vault.parts import Mark
from strongroom_hub.vault.store import Published
from strongroom_hub.vault.tickets import Mask, View
from strongroom_hub.vault.tokenmaps import Place, TokenMaps

_MASKS = TypeAdapter(dict[str, Mask])


@dataclass(frozen=True, slots=True)
class ViewJob:
    """One view to read: where it lies, what of it, and the keys of exactly the columns that must be decrypted."""

    folder: Path
    manifest: Manifest
    columns: list[str]
    masks: dict[str, Mask]
    rows: list[str]
    """Filters that all have to be true of a row that is kept."""
    keys: dict[str, bytes]
    project_key: str
    """Hex text; empty where no mask is keyed."""
    checked: dict[str, Mark] = field(default_factory=dict)
    """Parts that this vault found to be right before, with the marks they had then."""
    group: str = TABLE
    """Which table of the version."""
    tokens: Place | None = None
    """The project's token map, where a mask needs it."""

    @classmethod
    def prepare(
        cls,
        published: Published,
        view: View,
        keys: Keys,
        checked: Mapping[str, Mark] | None = None,
        *,
        token_maps: TokenMaps | None = None,
    ) -> ViewJob:
        """Unwrap what this view needs and nothing else. Raises Problem, also where it is not of this version."""
        check_view(view, published.manifest)
        decrypted = dict.fromkeys([*needed_columns(view.columns, view.masks), *sorted(filter_columns(view))])
        shown = [view.masks[name] for name in view.columns if name in view.masks]
        keyed = any(is_keyed(mask) for mask in shown)
        tokens = None
        if any(mask.method == "token" for mask in shown):
            if token_maps is None:
                raise bad_view("It needs a token map, and there is none here.")
            tokens = token_maps.of(view.project)
        return cls(
            folder=published.folder,
            manifest=published.manifest,
            columns=list(view.columns),
            masks=dict(view.masks),
            rows=list(view.rows or ()),
            keys=published.unwrap(list(decrypted), keys, view.group),
            project_key=keys.project_key(view.project) if keyed else "",
            checked=dict(checked or {}),
            group=view.group,
            tokens=tokens,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "manifest": self.manifest.model_dump(),
            "columns": self.columns,
            "masks": {name: mask.model_dump() for name, mask in self.masks.items()},
            "rows": self.rows,
            "keys": encode_keys(self.keys),
            "project_key": self.project_key,
            "checked": self.checked,
            "group": self.group,
            "tokens": None if self.tokens is None else self.tokens.as_json(),
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ViewJob:
        return cls(
            folder=Path(raw["folder"]),
            manifest=Manifest.parse(raw["manifest"]),
            columns=raw["columns"],
            masks=_MASKS.validate_python(raw["masks"]),
            rows=raw["rows"],
            keys=decode_keys(raw["keys"]),
            project_key=raw["project_key"],
            checked=marks(raw["checked"]),
            group=raw["group"],
            tokens=None if raw["tokens"] is None else Place.from_json(raw["tokens"]),
        )

    @property
    def changes(self) -> list[Path]:
        """Folders that reading this view changes: of the token map, which gives new values new tokens."""
        return [] if self.tokens is None else [self.tokens.folder]

    @property
    def needed(self) -> Needed:
        """What has to be at hand while it is opened."""
        return Needed(self.folder, self.manifest, self.table.parts)

    @property
    def table(self) -> Table:
        return self.manifest.table(self.group)

    @property
    def footer_key(self) -> bytes:
        return self.keys[FOOTER]

    @property
    def column_keys(self) -> dict[str, bytes]:
        return {name: key for name, key in self.keys.items() if name != FOOTER}


def filter_columns(view: View) -> frozenset[str]:
    """The columns that its filters look at. Raises Problem where one of them is no filter, or is not bound."""
    found: set[str] = set()
    for text in view.rows or ():
        try:
            condition = filters.parse(text)
        except filters.FilterError as error:
            raise bad_view(f"Its filter of rows cannot be read: {error}.") from error
        if any(isinstance(one, filters.Today | filters.UserProject) for one in filters.operands(condition)):
            raise bad_view("Its filter of rows is not bound to a day and a project.")
        found |= filters.columns(condition)
    return frozenset(found)


_RANK = {"public": 0, "internal": 1, "confidential": 2, "secret": 3}


def check_view(view: View, manifest: Manifest) -> None:
    """Raises Problem where the view is not of this version: an unknown column, a column twice, too low a label."""
    if view.group == TABLE and _rank(view.label) < _rank(manifest.label):  # a twin has a label of its own
        raise bad_view(f"It says label {view.label!r}, the stored version is labelled {manifest.label!r}.")
    subjects = {mask.subject for mask in view.masks.values() if mask.method == "shift-date"}
    names = manifest.visible_names if view.group == TABLE else manifest.table(view.group).column_names
    unknown = (set(view.columns) | set(view.masks) | subjects | filter_columns(view)) - set(names)
    if unknown:
        raise bad_view(f"{view.dataset} version {view.version} has no column {min(unknown)!r}.")
    if len(set(view.columns)) != len(view.columns):
        raise bad_view("It names a column twice.")


def _rank(label: str) -> int:
    return _RANK.get(label, max(_RANK.values()))


def bad_view(detail: str) -> Problem:
    return Problem(
        422,
        "bad-view",
        "The view cannot be read",
        detail,
        why=("control's catalogue and the vault's signed manifest disagree",),
        next="Tell an operator: the dataset must be published again under its new label or columns.",
    )


def marks(raw: Mapping[str, list[int]]) -> dict[str, Mark]:
    """Marks of parts as they come out of JSON."""
    return {name: (one[0], one[1], one[2], one[3], one[4]) for name, one in raw.items()}


def encode_keys(keys: dict[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(key).decode() for name, key in keys.items()}


def decode_keys(raw: dict[str, str]) -> dict[str, bytes]:
    return {name: base64.b64decode(key) for name, key in raw.items()}
