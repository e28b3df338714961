"""Outputs that do something: what of them passes is data, never code.

A table of ITables comes as HTML whose script calls a library with one object. Of that object the parts that are data
are kept, as a MIME type of our own; the page gives them to the library in a frame of its own (`frames`). The HTML
becomes a plain table, which is what is shown where nothing may be interactive, and what other readers of a saved
notebook see. Pure.
"""

from __future__ import annotations

import contextlib
import html
import json
import re
from typing import Any

TABLE = "application/vnd.strongroom.table+json"
"""The gate's own type; no kernel can send one."""
PLOTLY = "application/vnd.plotly.v1+json"
STILL_ROWS = 100
READY = "<p>Tables of ITables are interactive at label public.</p>"
_CALL = "let dt_args = "
_MARKER = re.compile(r'<table id="itables_[0-9a-f_]{36}"')
_SETUP = "cell from ITables v"
_SORTED = "function (data, type, row, meta) { return type === 'sort' || type === 'type' ? data[1] : data[0]; }"
"""The one function that ITables writes for columns of numbers: cells are pairs of what is shown and what is sorted."""
_SORTED_AS_DATA = {"_": "0", "display": "0", "filter": "0", "sort": "1", "type": "1"}
"""The same, in the words of DataTables for data."""
_KEPT = frozenset(
    {
        *("data_json", "table_html", "caption", "classes", "style", "table_style", "column_filters"),
        *("text_in_header_can_be_selected", "downsampling_warning", "filtered_row_count", "selected_rows", "select"),
        *("order", "ordering", "paging", "pageLength", "lengthMenu", "searching", "search", "info", "autoWidth"),
        *("scrollX", "scrollY", "scrollCollapse", "stripeClasses", "orderClasses", "fixedColumns"),
    }
)
"""Arguments that pass as they are. Not: addresses to load from, code, buttons that save or copy."""
_KEPT_OF_COLUMNS = frozenset({"targets", "className", "visible", "width", "orderable", "searchable", "title"})
_KEPT_IN_LAYOUT = frozenset({"pageLength", "search", "info", "paging"})


def rebuilt(source: str) -> dict[str, Any]:
    """MIME types and values in place of the HTML `source`; none where it is no output of ITables."""
    if len(_MARKER.findall(source)) == 1 and _CALL in source:
        with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            arguments = _arguments(source)
            return {"text/html": _still(arguments), TABLE: arguments}
    if _SETUP in source and _CALL not in source and "injectModule(" in source:
        return {"text/html": READY}
    return {}


def _arguments(source: str) -> dict[str, Any]:
    """The data among the arguments that the script gives to the library. Raises ValueError and its like."""
    given, _ = json.JSONDecoder().raw_decode(source, source.index(_CALL) + len(_CALL))
    kept = {name: value for name, value in given.items() if name in _KEPT}
    kept["table_html"] = str(given["table_html"])
    kept["data_json"] = str(given["data_json"])
    columns = [_column(column) for column in given.get("columnDefs", [])]
    layout = given.get("layout", {})
    places = {place: what if what in _KEPT_IN_LAYOUT else None for place, what in layout.items() if _is_plain(what)}
    return {**kept, "columnDefs": columns, "layout": places}


def _column(given: dict[str, Any]) -> dict[str, Any]:
    column = {name: value for name, value in given.items() if name in _KEPT_OF_COLUMNS}
    return {**column, "render": _SORTED_AS_DATA} if given.get("render") == _SORTED else column


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _still(arguments: dict[str, Any]) -> str:
    """The first rows as a plain table."""
    rows = json.loads(arguments["data_json"])
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows[:STILL_ROWS])
    head = re.sub(r"</table>\s*\Z", "", arguments["table_html"])
    more = f"<p>The first {STILL_ROWS} of {len(rows)} rows.</p>" if len(rows) > STILL_ROWS else ""
    return f"{head.replace('<table>', '<table border=1 class=dataframe>', 1)}<tbody>{body}</tbody></table>{more}"


def _cell(value: Any) -> str:
    """What a cell shows: texts are HTML already, as ITables escaped them."""
    shown = value[0] if isinstance(value, list) else value
    return shown if isinstance(shown, str) else html.escape(json.dumps(shown))
