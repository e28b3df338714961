from __future__ import annotations

from typing import Any

import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import wrapped
from strongroom_hub.vault.keys import WrappedKey
from strongroom_hub.vault.manifest import FOOTER, Manifest

PART = {"name": "part-00000.parquet", "sha256": "0" * 64, "bytes": 10, "rows": 3}
COLUMN = {"name": "age", "type": "Int64", "tags": ["quasi-identifier"]}
TWIN = {"rows": 2, "columns": [{"name": "age", "type": "Int64"}], "parts": [PART | {"name": "synthetic-00000.parquet"}]}
FILE = {"name": "model.skops", "stored": "file-00000.sealed", "sha256": "0" * 64, "bytes": 10, "length": 3}
TABLE: dict[str, Any] = {
    "format": "strongroom-manifest/2",
    "dataset": "a/b",
    "version": 1,
    "kind": "table",
    "label": "secret",
    "rows": 3,
    "columns": [COLUMN],
    "parts": [PART],
}
FILES = {key: TABLE[key] for key in ("format", "dataset", "version", "label")} | {"kind": "files", "files": [FILE]}


def test_a_table_with_a_twin_lists_every_file_and_key() -> None:
    manifest = Manifest.parse(TABLE | {"companions": {"synthetic": TWIN}, "sources": ["a/raw@12"]})
    assert manifest.stored_names == ["part-00000.parquet", "synthetic-00000.parquet"]
    assert manifest.slots() == {
        ("table", FOOTER),
        ("table", "age"),
        ("synthetic", FOOTER),
        ("synthetic", "age"),
    }
    assert (manifest.table().rows, manifest.table("synthetic").rows) == (3, 2)
    assert manifest.visible_names == ["age"]


def test_files_have_a_key_each_and_are_no_table() -> None:
    manifest = Manifest.parse(FILES)
    assert manifest.slots() == {("files", "model.skops")}
    assert (manifest.stored_names, manifest.visible_names) == (["file-00000.sealed"], ["model.skops"])
    assert manifest.file("model.skops").length == 3
    for ask in (manifest.table, lambda: manifest.file("other"), lambda: manifest.table("synthetic")):
        with pytest.raises(Problem, match="holds no"):
            ask()


def test_what_control_decides_is_not_the_vault_s_to_vouch_for() -> None:
    given = Manifest.parse(TABLE)
    other = TABLE | {"label": "public", "columns": [COLUMN | {"tags": []}], "sources": ["a/raw@1"]}
    assert Manifest.parse(other).as_stored() == given.as_stored()
    assert Manifest.parse(TABLE | {"rows": 4}).as_stored() != given.as_stored()


@pytest.mark.parametrize(
    "broken",
    [
        TABLE | {"format": "strongroom-manifest/1"},
        TABLE | {"kind": "files"},
        TABLE | {"kind": "other"},
        TABLE | {"parts": []},
        TABLE | {"columns": []},
        TABLE | {"files": [FILE]},
        TABLE | {"columns": [COLUMN, COLUMN]},
        TABLE | {"columns": [COLUMN | {"tags": ["Not A Tag"]}]},
        TABLE | {"parts": [PART, PART]},
        TABLE | {"parts": [PART | {"name": "../part-00000.parquet"}]},
        TABLE | {"parts": [PART | {"name": "synthetic-00000.parquet"}]},
        TABLE | {"companions": {"table": TWIN}},
        TABLE | {"companions": {"part": TWIN}},
        TABLE | {"companions": {"other": TWIN}},
        TABLE | {"companions": {"Synthetic": TWIN}},
        TABLE | {"sources": ["a/raw"]},
        TABLE | {"sources": ["a/raw@0"]},
        FILES | {"rows": 1},
        FILES | {"files": []},
        FILES | {"files": [FILE, FILE]},
        FILES | {"files": [FILE, FILE | {"name": "other"}]},
        *(
            FILES | {"files": [FILE | {"name": name}]}
            for name in ("", "../x", ".hidden", "a/b", "a\x1bb", "x" * 200, "a ")
        ),
        FILES | {"files": [FILE | {"stored": "manifest.jws"}]},
        {**TABLE, "more": 1},
    ],
)
def test_what_is_not_understood_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(Problem, match="missing, unknown or wrong"):
        Manifest.parse(broken)


def test_wrapped_keys_come_back_as_they_went_and_nothing_else_does() -> None:
    keys = {("table", FOOTER): WrappedKey("local:1", "AA=="), ("files", "a b"): WrappedKey("local:2", "BB==")}
    assert wrapped.decode(wrapped.encode(keys)) == keys
    for raw in (b"", b"[]", b"{}", b'{"format": "strongroom-keys/1"}', b'{"format": "x", "keys": []}'):
        with pytest.raises(ValueError, match=r"it|Expecting"):
            wrapped.decode(raw)
