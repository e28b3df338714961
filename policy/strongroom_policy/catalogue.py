"""The policy against the datasets that there are: filters and masks that do not fit, and names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom_policy import filters
from strongroom_policy.errors import Finding
from strongroom_policy.files import rank
from strongroom_policy.filter_types import Kind, type_problems
from strongroom_policy.labels import Label
from strongroom_policy.masks import parse_mask, unsuited
from strongroom_policy.rows import Duty, Row
from strongroom_policy.values import Rows
from strongroom_policy.vocabulary import DATASET, NAMESPACE, resembles

if TYPE_CHECKING:
    from strongroom_policy.engine import Policy


@dataclass(frozen=True, slots=True)
class Column:
    """What a column holds, and its tags (`tag:...`)."""

    kind: Kind
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as the catalogue knows it; `name` is `namespace/name`."""

    name: str
    label: Label
    columns: Mapping[str, Column] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Itself and its columns, as objects."""
        return self.name, *(f"{self.name}#{column}" for column in self.columns)


def catalogue_findings(policy: Policy, datasets: Sequence[Dataset]) -> tuple[Finding, ...]:
    """What in the files does not fit `datasets`, in file order. A dataset that is still to come is no mistake."""
    found = [*_unknown_names(policy, datasets)]
    for duty in policy.duties:
        if duty.row.line and duty.kind in ("rows", "mask"):
            found += dict.fromkeys(_misfits(policy, duty, datasets))
    return tuple(sorted(found, key=lambda one: (rank(one.file), one.line)))


def _misfits(policy: Policy, duty: Duty, datasets: Iterable[Dataset]) -> Iterator[Finding]:
    for dataset in datasets:
        bound = [name for name in dataset.columns if duty.object in _names(policy, dataset, name)]
        if not bound:
            continue
        if isinstance(duty.value, Rows):
            schema = {name: column.kind for name, column in dataset.columns.items()}
            for text in duty.value.filters:
                for problem in type_problems(filters.parse(text), schema):
                    yield _finding(duty.row, f"the filter does not fit {dataset.name}: {problem}")
            continue
        for name in bound:
            problem = unsuited(parse_mask(str(duty.value)), dataset.columns[name].kind)
            if problem:
                yield _finding(duty.row, f"{dataset.name}#{name}: {problem}")


def _names(policy: Policy, dataset: Dataset, column: str) -> frozenset[str]:
    return policy.names_of(f"{dataset.name}#{column}") | dataset.columns[column].tags | {f"label:{dataset.label}"}


def _unknown_names(policy: Policy, datasets: Sequence[Dataset]) -> Iterator[Finding]:
    columns = {dataset.name: dataset.columns for dataset in datasets}
    namespaces = {name.rpartition("/")[0] for name in columns}
    places = [(item.object, item.row) for item in (*policy.rules, *policy.duties)]
    for what, row in (*places, *((tagging.what, tagging.row) for tagging in policy.taggings)):
        if not row.line:
            continue
        dataset, _, column = what.partition("#")
        below = NAMESPACE.fullmatch(what)
        if below is not None and below[1] and not any(f"{name}/".startswith(f"{below[1]}/") for name in namespaces):
            yield _absent(row, f"namespace {below[1]}", below[1], namespaces)
        elif below is None and DATASET.fullmatch(dataset) and dataset not in columns:
            yield _absent(row, f"dataset {dataset}", dataset, columns)
        elif column and column not in columns.get(dataset, {column: None}):
            yield _absent(row, f"column {what}", column, columns[dataset])


def _absent(row: Row, what: str, name: str, known: Iterable[str]) -> Finding:
    close = resembles(name, known)
    hint = f"did you mean {close!r}?" if close else "right if it is still to come"
    return _finding(row, f"the catalogue has no {what}", hint)


def _finding(row: Row, message: str, hint: str = "") -> Finding:
    return Finding(row.origin, row.line, message, hint)
