"""Datasets that are no tables: models, images, documents, texts, each opened by its name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO, overload

from strongroom import _wire
from strongroom._errors import StrongroomError, Unavailable, UnknownDataset, from_problem

_FILE_TYPE = "File"


class Files(Sequence[str]):
    """The names of the files of one dataset; `open(name)` reads one. Listing them reads nothing."""

    def __init__(self, name: str, version: int, label: str, names: Sequence[str], readable: Sequence[str]) -> None:
        self.name = name
        self.version = version
        self.label = label
        self.readable = tuple(readable)
        """Those that you may read now."""
        self._names = tuple(names)

    def open(self, name: str) -> BinaryIO:
        """One file, opened for reading: it lies in memory and has no name. Raises StrongroomError."""
        if name not in self._names:
            raise UnknownDataset(
                "No such file",
                f"{self.name} version {self.version} holds no {name!r}.",
                next_step=f"It holds: {', '.join(self._names[:20])}.",
                slug="unknown-file",
            )
        return os.fdopen(_fetch(self.name, self.version, name), "rb")

    def read(self, name: str) -> bytes:
        """All of one file. Raises StrongroomError."""
        with self.open(name) as content:
            return content.read()

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[str]: ...
    def __getitem__(self, key: int | slice) -> str | Sequence[str]:
        return self._names[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __repr__(self) -> str:
        lines = [f"{self.name} version {self.version} ({self.label})"]
        lines += [f"  {name}" + ("" if name in self.readable else "   (ask for access)") for name in self._names]
        return "\n".join(lines)


def listed(name: str) -> Files:
    """The files of the newest version of a dataset. Raises UnknownDataset, StrongroomError."""
    answer = _wire.ask("catalog")
    if answer.get("ok") is not True:
        raise from_problem(answer.get("problem"), name)
    for dataset in answer.get("datasets") or []:
        if dataset.get("name") == name:
            break
    else:
        raise UnknownDataset(
            "No such dataset",
            f"There is no dataset {name!r} that you may know of.",
            next_step="strongroom.catalog() lists what there is.",
            slug="unknown-dataset",
        )
    columns = dataset.get("columns") or []
    names = [str(column["name"]) for column in columns if column.get("type") == _FILE_TYPE]
    if not names:
        raise StrongroomError(
            "This dataset is a table",
            f"{name} holds columns, not files.",
            next_step=f'Read it with strongroom.open("{name}").',
            slug="not-files",
        )
    allowed = (dataset.get("access") or {}).get("columns") or []
    return Files(name, int(dataset["version"]), str(dataset["label"]), names, [one for one in names if one in allowed])


def _fetch(dataset: str, version: int, file: str) -> int:
    """A descriptor of one file; the caller closes it."""
    answer = _wire.ask("open", dataset=dataset, version=version, columns=[file])
    if answer.get("ok") is not True:
        raise from_problem(answer.get("problem"), dataset)
    given, descriptor = _wire.fetch(str(answer.get("ticket", "")))
    if given.get("ok") is not True or descriptor is None or given.get("kind") != "files":
        if descriptor is not None:
            os.close(descriptor)
        if given.get("ok") is not True:
            raise from_problem(given.get("problem"), dataset)
        raise Unavailable(
            "The file did not arrive",
            "The vault sent something else.",
            next_step="Run the cell again. If it stays so, tell whoever runs this Strongroom.",
            slug="broken-data",
        )
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
