"""What a person may discover: a list that prints as text everywhere and as a searchable view where widgets are."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any

_WIDGETS = "application/vnd.jupyter.widget-view+json"


class Catalog(Sequence[dict[str, Any]]):
    """The datasets, each a dictionary (name, label, title, columns, access ...); `search` narrows."""

    def __init__(self, datasets: list[dict[str, Any]]) -> None:
        self._datasets = sorted(datasets, key=lambda dataset: str(dataset.get("name")))

    def __len__(self) -> int:
        return len(self._datasets)

    def __getitem__(self, key: Any) -> Any:
        """By position, or by name."""
        if isinstance(key, str):
            for dataset in self:
                if dataset.get("name") == key:
                    return dataset
            raise KeyError(key)
        return self._datasets[key]

    def _ipython_key_completions_(self) -> list[str]:
        return [str(dataset.get("name")) for dataset in self]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._datasets)

    def search(self, text: str) -> Catalog:
        """Those that have all words of `text` in name, title, description or a column's name."""
        words = text.casefold().split()
        return Catalog([dataset for dataset in self if all(word in _searchable(dataset) for word in words)])

    def __repr__(self) -> str:
        if not self._datasets:
            return "No dataset to discover here."
        rows = [("dataset", "label", "access", "title"), *map(_row, self)]
        widths = [max(len(row[n]) for row in rows) for n in range(3)]
        return "\n".join("  ".join([*(row[n].ljust(widths[n]) for n in range(3)), row[3]]) for row in rows)

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in _row(one))}</tr>" for one in self)
        return f"<table><tr><th>dataset</th><th>label</th><th>access</th><th>title</th></tr>{cells}</table>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Text always; the searchable view where ipywidgets is installed and works."""
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        try:
            view = self.widget()._repr_mimebundle_()
        except Exception:  # noqa: BLE001 - whatever is wrong with widgets, the text stands
            return bundle
        return {**bundle, _WIDGETS: view[_WIDGETS]}

    def widget(self) -> Any:
        """The searchable view. Raises ImportError without ipywidgets."""
        import ipywidgets  # noqa: PLC0415 - only where it is wanted

        search = ipywidgets.Text(placeholder="Search names, titles, columns", description="Search")
        wide = ipywidgets.Layout(width="auto")
        found = ipywidgets.Select(options=_options(self), rows=8, description="Datasets", layout=wide)
        details = ipywidgets.HTML()

        def narrow(change: dict[str, Any]) -> None:
            found.options = _options(self.search(change["new"]))

        def show(_change: Any = None) -> None:
            details.value = "" if found.value is None else _details(self[found.value])

        search.observe(narrow, names="value")
        found.observe(show, names="value")
        show()
        return ipywidgets.VBox([search, found, details])


def _options(datasets: Catalog) -> list[tuple[str, str]]:
    return [(" · ".join(filter(None, _row(dataset))), str(dataset.get("name"))) for dataset in datasets]


def _searchable(dataset: dict[str, Any]) -> str:
    columns = " ".join(str(column.get("name")) for column in dataset.get("columns") or [])
    return f"{dataset.get('name')} {dataset.get('title')} {dataset.get('description')} {columns}".casefold()


def _row(dataset: dict[str, Any]) -> tuple[str, str, str, str]:
    return (str(dataset.get("name")), str(dataset.get("label")), _access(dataset), str(dataset.get("title") or ""))


def _access(dataset: dict[str, Any]) -> str:
    access = dataset.get("access") or {}
    if access.get("read"):
        until = access.get("until")
        return f"readable until {str(until)[:10]}" if until else "readable"
    return "requested" if access.get("request") else "ask for access"


def _details(dataset: dict[str, Any]) -> str:
    access = dataset.get("access") or {}
    allowed, masked = set(access.get("columns") or []), access.get("masked") or {}
    columns = "".join(
        f"<tr><td>{_text(column, 'name')}</td><td>{_text(column, 'type')}</td><td>{_text(column, 'description')}</td>"
        f"<td>{html.escape(_column_access(str(column.get('name')), allowed, masked))}</td></tr>"
        for column in dataset.get("columns") or []
    )
    name = str(dataset.get("name"))
    code = html.escape(f'strongroom.open("{name}").to_pandas()')
    ask = html.escape(f'strongroom.request("{name}", purpose="...")')
    how = (
        f"Read it with <code>{code}</code>"
        if access.get("read")
        else f"Ask for access in the Datasets panel of the left sidebar, or with <code>{ask}</code>"
    )
    lines = [how, *(f"{words} {html.escape(', '.join(map(str, found)))}" for words, found in _lineage(dataset))]
    return (
        f"<b>{html.escape(name)}</b> version {_text(dataset, 'version')} · {_text(dataset, 'label')} · "
        f"{html.escape(_access(dataset))}<br>{_text(dataset, 'description')}<br>{'<br>'.join(lines)}"
        f"<table><tr><th>column</th><th>type</th><th>meaning</th><th>you see</th></tr>{columns}</table>"
    )


def _lineage(dataset: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    ways = (("Made from", "sources"), ("Used in", "used_by"))
    return [(words, list(dataset[key])) for words, key in ways if dataset.get(key)]


def _text(of: dict[str, Any], key: str) -> str:
    return html.escape(str(of.get(key) or ""))


def _column_access(name: str, allowed: set[str], masked: dict[str, str]) -> str:
    if name not in allowed:
        return "no"
    return f"masked ({masked[name]})" if name in masked else "yes"
