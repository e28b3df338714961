"""The forms of `request()` and `export()`: native controls in reading order, labelled, sent by Enter or button.

They need ipywidgets; what they do can be said in one call as well.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from strongroom import _drafts, _used
from strongroom._catalog import Catalog
from strongroom._errors import StrongroomError

_ROWS = 8


def request(datasets: Catalog, dataset: str, columns: list[str] | None, purpose: str, days: int) -> Any:
    """The form of an access request. Raises ImportError without ipywidgets."""
    import ipywidgets  # noqa: PLC0415 - only where it is wanted

    names = [str(one["name"]) for one in datasets]
    which = ipywidgets.Dropdown(options=names, value=dataset or None, description="Dataset", **_wide(ipywidgets))
    chosen = ipywidgets.SelectMultiple(description="Columns", rows=_ROWS, **_wide(ipywidgets))
    hint = ipywidgets.HTML()
    why = ipywidgets.Text(value=purpose, description="Purpose", placeholder="What for?", **_wide(ipywidgets))
    how_long = ipywidgets.BoundedIntText(value=days, min=1, max=3650, description="Days", **_wide(ipywidgets))

    def offer(_change: Any = None) -> None:
        known = [] if which.value is None else [str(one["name"]) for one in datasets[which.value]["columns"]]
        used = [] if which.value is None else _used.of(which.value, known)
        chosen.options = known
        chosen.value = tuple(column for column in columns or used or known if column in known)
        hint.value = (
            f"Chosen are the {len(used)} of {len(known)} columns that your code has used."
            if used and not columns
            else "Ask for the columns you need: fewer are granted sooner."
        )

    which.observe(offer, names="value")
    offer()

    def send() -> _drafts.Draft:
        if which.value is None or not why.value.strip() or not chosen.value:
            raise ValueError("choose a dataset and at least one column, and say what for")
        used = _used.of(which.value, chosen.options)
        return _drafts.access(which.value, list(chosen.value), why.value, how_long.value, used)

    return _form(ipywidgets, [which, chosen, hint, why, how_long], why, "Prepare request", send)


def export(paths: list[str], justification: str) -> Any:
    """The form of an export. Raises ImportError without ipywidgets."""
    import ipywidgets  # noqa: PLC0415

    names = [*paths, *(name for name in _drafts.newest_files() if name not in paths)]
    chosen = ipywidgets.SelectMultiple(
        options=names, value=tuple(paths), rows=_ROWS, description="Files", **_wide(ipywidgets)
    )
    why = ipywidgets.Text(
        value=justification, description="What it is", placeholder="One sentence for the reviewer", **_wide(ipywidgets)
    )

    def send() -> _drafts.Draft:
        if not chosen.value or not why.value.strip():
            raise ValueError("choose at least one file, and say what it is")
        return _drafts.export(list(chosen.value), why.value)

    return _form(ipywidgets, [chosen, why], why, "Prepare export", send)


def _wide(ipywidgets: Any) -> dict[str, Any]:
    return {"layout": ipywidgets.Layout(width="auto"), "style": {"description_width": "90px"}}


def _form(ipywidgets: Any, fields: list[Any], last: Any, action: str, send: Callable[[], _drafts.Draft]) -> Any:
    """Fields, a button, and a line that says what came of it; Enter in the field `last` is as good as the button."""
    button = ipywidgets.Button(description=action, button_style="primary", layout=ipywidgets.Layout(width="auto"))
    said = ipywidgets.HTML()

    def submit() -> None:
        button.disabled = True
        try:
            said.value = send()._repr_html_()
        except (StrongroomError, ValueError) as error:
            said.value = _lines(str(error))
        finally:
            button.disabled = False

    def heard(_widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if content.get("event") == "submit":
            submit()

    button.on_click(lambda _button: submit())
    last.on_msg(heard)
    return ipywidgets.VBox([*fields, button, said])


def _lines(text: str) -> str:
    """Plain text for an HTML widget, its lines kept."""
    return html.escape(text).replace("\n", "<br>")
