"""Outputs of ITables become data and a plain table; nothing of their scripts passes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_lab import interactive, mime
from strongroom_lab.interactive import TABLE, rebuilt

ARGUMENTS: dict[str, Any] = {
    "classes": ["display"],
    "columnDefs": [{"render": interactive._SORTED, "targets": [1]}, {"className": "dt-left", "targets": [0]}],
    "data_json": json.dumps([["first", ["1.0", 1.0]], ["&lt;b&gt;second", ["2.0", 2.0]]]),
    "keys_to_be_evaluated": [["columnDefs", 0, "render"]],
    "layout": {"topStart": "pageLength", "topEnd": {"buttons": ["csv"]}, "bottomEnd": "paging"},
    "order": [],
    "table_html": "<table><thead><tr><th>name</th><th>value</th></tr></thead></table>",
}
NAME = "itables_508e4fd3_dcdb_4c40_983e_17e1c5ed1725"


def html(arguments: Any) -> str:
    return (
        f'<table id="{NAME}" hidden="hidden"><tbody><tr><td>Loading</td></tr></tbody></table>'
        f'<script type="module">new ITable(table, {interactive._CALL.strip()} {json.dumps(arguments)};</script>'
    )


ITABLES_HTML = html(ARGUMENTS)


def test_a_table_becomes_its_data_and_a_plain_table() -> None:
    found = rebuilt(ITABLES_HTML)
    assert found.keys() == {TABLE, "text/html"}
    table = found[TABLE]
    assert table["columnDefs"] == [
        {"targets": [1], "render": interactive._SORTED_AS_DATA},
        {"className": "dt-left", "targets": [0]},
    ]
    assert table["layout"] == {"topStart": "pageLength", "bottomEnd": "paging"}
    assert "keys_to_be_evaluated" not in table
    assert "<td>first</td><td>1.0</td>" in found["text/html"]
    assert "<td>&lt;b&gt;second</td>" in found["text/html"]
    assert "<script" not in found["text/html"]


def test_the_plain_table_says_how_many_rows_there_are() -> None:
    rows = json.dumps([[n, n] for n in range(250)])
    still = rebuilt(html({**ARGUMENTS, "data_json": rows}))["text/html"]
    assert still.count("<tr>") == 101
    assert "The first 100 of 250 rows." in still


def test_of_a_bundle_the_type_is_the_gates_own() -> None:
    """A kernel cannot send it; above public the plain table is shown, and that something is left out."""
    assert mime.bundle({TABLE: ARGUMENTS}) == {}
    shown = mime.bundle({"text/html": ITABLES_HTML, TABLE: {"made": "up"}})
    assert shown[TABLE] == rebuilt(ITABLES_HTML)[TABLE]
    above = mime.guarded(shown)
    assert above.data.keys() == {"text/html"}
    assert above.reduced
    assert "first" in above.data["text/html"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        "text",
        {},
        {**ARGUMENTS, "data_json": "no JSON"},
        {**ARGUMENTS, "columnDefs": 3},
        {**ARGUMENTS, "layout": []},
    ],
)
def test_what_is_not_as_it_should_be_stays_as_it_came(arguments: Any) -> None:
    assert rebuilt(html(arguments)) == {}


CODE = ["ajax", "buttons", "dom", "language", "initComplete", "drawCallback", "keys_to_be_evaluated", "render", "data"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(CODE) | st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*CODE, *sorted(interactive._KEPT), "columnDefs", "layout"]), values))
def test_whatever_the_arguments_are_only_known_ones_pass(given_arguments: dict[str, Any]) -> None:
    found = rebuilt(html({**ARGUMENTS, **given_arguments})).get(TABLE, {})
    assert found.keys() <= interactive._KEPT | {"columnDefs", "layout"}
    for column in found.get("columnDefs", []):
        assert column.keys() <= interactive._KEPT_OF_COLUMNS | {"render"}
        assert column.get("render") in (None, interactive._SORTED_AS_DATA)
    assert set(found.get("layout", {}).values()) <= {*interactive._KEPT_IN_LAYOUT, None}


@given(st.text(max_size=200))
def test_any_other_html_is_left_alone(source: str) -> None:
    assert rebuilt(source) == {}
    assert rebuilt(ITABLES_HTML[:60] + source) == {}
