"""The verbs of `import strongroom`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from strongroom import _dataset, _wire
from strongroom._catalog import Catalog
from strongroom._dataset import Dataset
from strongroom._errors import from_problem


@dataclass(frozen=True, slots=True)
class Label:
    """The label of this kernel: the highest among all that it has read (`sources`, "name version N")."""

    name: str
    sources: tuple[str, ...]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        read = f", because it has read {', '.join(self.sources)}" if self.sources else ""
        return f"This kernel is {self.name}{read}."


@dataclass(frozen=True, slots=True)
class Budget:
    """How much output may still be shown. None means no limit; sizes are bytes."""

    allowed: bool
    cell_bytes: int | None
    day_bytes_left: int | None
    image_bytes: int | None
    rule: str
    text: str

    def __repr__(self) -> str:
        if not self.allowed:
            return f"Nothing may be shown now. {self.text} ({self.rule})"
        sizes = (("a cell", self.cell_bytes), ("left today", self.day_bytes_left), ("an image", self.image_bytes))
        said = ", ".join(f"{size:,} bytes {what}" for what, size in sizes if size is not None)
        return f"May be shown: {said or 'everything'}. {self.text} ({self.rule})"


def open(name: str, *, version: int | None = None, columns: list[str] | None = None) -> Dataset:  # noqa: A001
    """Read a dataset: the newest version and all columns that you may read, unless told otherwise.

    `name` is "namespace/name". Raises AccessDenied (with the way to ask for access), UnknownDataset or Unavailable.
    """
    if not isinstance(name, str):
        raise TypeError('the name of a dataset is a text such as "health/randhie"; strongroom.catalog() lists them')
    if isinstance(columns, str):
        raise TypeError('columns is a list of names, for example columns=["age", "income"]')
    return _dataset.read(name, version, None if columns is None else [str(column) for column in columns])


def catalog() -> Catalog:
    """All datasets that you may discover. Raises StrongroomError."""
    return Catalog(_asked("catalog").get("datasets") or [])


def label() -> Label:
    """The label of this kernel and what raised it. Raises StrongroomError."""
    answer = _asked("label")
    sources = (f"{source['dataset']} version {source['version']}" for source in answer.get("sources") or [])
    return Label(str(answer.get("label", "secret")), tuple(sources))


def budget() -> Budget:
    """How much output may still be shown. Raises StrongroomError."""
    display = _asked("budget").get("display") or {}
    return Budget(
        allowed=display.get("allowed") is True,
        cell_bytes=display.get("cell_bytes"),
        day_bytes_left=display.get("day_bytes_left"),
        image_bytes=display.get("image_bytes"),
        rule=str(display.get("rule") or ""),
        text=str(display.get("text") or ""),
    )


def _asked(operation: str) -> dict[str, Any]:
    answer = _wire.ask(operation)
    if answer.get("ok") is not True:
        raise from_problem(answer.get("problem"))
    return answer
