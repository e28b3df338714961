"""The verbs of `import strongroom`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

from strongroom import _complete, _dataset, _drafts, _files, _forms, _names, _save, _stream, _used, _wire
from strongroom._catalog import Catalog
from strongroom._dataset import Dataset
from strongroom._drafts import DAYS, Draft
from strongroom._errors import StrongroomError, UnknownDataset
from strongroom._files import Files
from strongroom._save import Saved
from strongroom._stream import Stream


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


@overload
def open(  # noqa: A001
    name: str,
    *,
    version: int | None = None,
    columns: list[str] | None = None,
    synthetic: bool = False,
    stream: Literal[False] = False,
    progress: bool = True,
) -> Dataset: ...
@overload
def open(  # noqa: A001
    name: str,
    *,
    version: int | None = None,
    columns: list[str] | None = None,
    synthetic: bool = False,
    stream: Literal[True],
    progress: bool = True,
) -> Stream: ...
def open(  # noqa: A001
    name: str,
    *,
    version: int | None = None,
    columns: list[str] | None = None,
    synthetic: bool = False,
    stream: bool = False,
    progress: bool = True,
) -> Dataset | Stream:
    """Read a dataset: the newest version and all columns that you may read, unless told otherwise.

    `name` is "namespace/name", also with a version ("health/randhie@3") or "@latest". What you get says which version
    it is. With `synthetic` you get its synthetic twin, made-up rows of the same form, which needs no access and raises
    no label: write your code on that first. With `stream` nothing is read yet: `.iter_batches()` and `.scan()` bring it
    in batches, for what does not fit into memory. What takes longer than a second shows how far it is (`progress`).
    Raises AccessDenied (with the way to ask for access), UnknownDataset or Unavailable; TypeError or ValueError for
    what cannot be meant.
    """
    dataset, wanted = _names.parse(name, version)
    if stream:
        return _stream.opened(dataset, wanted, _listed(columns), synthetic=bool(synthetic), progress=progress)
    return _dataset.read(dataset, wanted, _listed(columns), synthetic=bool(synthetic), progress=progress)


def files(name: str) -> Files:
    """The files of a dataset that is no table (models, images, documents): `files("lab/models").open("net.skops")`.

    Lists the newest version without reading it. Raises UnknownDataset, StrongroomError.
    """
    if not isinstance(name, str):
        raise TypeError('the name of a dataset is a text such as "lab/models"; strongroom.catalog() lists them')
    return _files.listed(name)


def catalog() -> Catalog:
    """All datasets that you may discover. Raises StrongroomError."""
    return Catalog(_wire.asked("catalog").get("datasets") or [])


def label() -> Label:
    """The label of this kernel and what raised it. Raises StrongroomError."""
    answer = _wire.asked("label")
    sources = (f"{source['dataset']} version {source['version']}" for source in answer.get("sources") or [])
    return Label(str(answer.get("label", "secret")), tuple(sources))


def budget() -> Budget:
    """How much output may still be shown. Raises StrongroomError."""
    display = _wire.asked("budget").get("display") or {}
    return Budget(
        allowed=display.get("allowed") is True,
        cell_bytes=display.get("cell_bytes"),
        day_bytes_left=display.get("day_bytes_left"),
        image_bytes=display.get("image_bytes"),
        rule=str(display.get("rule") or ""),
        text=str(display.get("text") or ""),
    )


def save(
    data: Any, name: str, *, title: str = "", description: str = "", columns: dict[str, str] | None = None
) -> Saved:
    """Save a table of pandas, polars, pyarrow or DuckDB as a dataset of your project: `save(df, "cardio/cohort1")`.

    `name` begins with the project's name; the same name again makes the next version. `columns` describes columns. The
    dataset inherits the label and all sources of this workspace: who may not read those may not read it, and when your
    access to one of them ends, it ends for this too. Raises AccessDenied or StrongroomError; TypeError for what is no
    table.
    """
    dataset, version = _names.parse(name)
    if version is not None:
        raise ValueError("the version is counted by itself: give the name alone")
    return _save.save(data, dataset, title=title, description=description, columns=dict(columns or {}))


def request(dataset: str = "", *, columns: list[str] | None = None, purpose: str = "", days: int = DAYS) -> Draft | Any:
    """Prepare a request for access: `request("health/randhie", columns=["age"], purpose="...", days=90)`.

    Without `columns` it asks for those that your code has used so far, or for all. Nothing is sent: the request waits
    in the Datasets panel until you submit it there, because code is not a person. Without a purpose you get a form
    instead. Raises StrongroomError.
    """
    name = _names.parse(dataset)[0] if dataset else ""
    wanted = _listed(columns)
    if name and purpose.strip():
        used = _used.of(name) or _used.of(name, _columns_of(name))
        return _drafts.access(name, wanted or used or None, purpose, days, used)
    datasets = catalog()
    if name and name not in [one.get("name") for one in datasets]:
        raise UnknownDataset(
            "No such dataset",
            f"There is no dataset {name!r} that you may know of.",
            next_step="strongroom.catalog() lists what there is.",
            slug="unknown-dataset",
        )
    try:
        return _forms.request(datasets, name, wanted, purpose, days)
    except ImportError:
        raise _no_form('strongroom.request("namespace/name", columns=["..."], purpose="...", days=90)') from None


def export(*paths: Any, justification: str = "") -> Draft | Any:
    """Prepare an export of files in the work folder: `export("table.csv", justification="...")`.

    Nothing leaves and nothing is sent: it waits in the Exports panel until you submit it there; then it is checked and
    reviewed like any other. Without files or justification you get a form instead. Raises StrongroomError, or
    ValueError for files outside the work folder.
    """
    names = [_drafts.below_work(path) for path in paths]
    if names and justification.strip():
        return _drafts.export(names, justification)
    try:
        return _forms.export(names, justification)
    except ImportError:
        raise _no_form('strongroom.export("table.csv", justification="...")') from None


def _listed(columns: list[str] | None) -> list[str] | None:
    if isinstance(columns, str):
        raise TypeError('columns is a list of names, for example columns=["age", "income"]')
    return None if columns is None else [str(column) for column in columns]


def _columns_of(dataset: str) -> list[str]:
    try:
        return [str(column.get("name")) for column in catalog()[dataset].get("columns") or []]
    except KeyError:
        return []  # the server says that there is no such dataset


def _no_form(call: str) -> StrongroomError:
    return StrongroomError(
        "There is no form here", "Forms need ipywidgets.", next_step=f"Say it in one call: {call}", slug="no-form"
    )


def _tell_used(dataset: str, columns: list[str]) -> None:
    """A hint for the panel's request form; whoever does not take it has it not."""
    try:
        _wire.ask("used", dataset=dataset, columns=columns)
    except StrongroomError:
        return


_complete.install()
_used.watch(_tell_used)
