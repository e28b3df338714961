"""Names with versions, each library's habit, what code used, completion: the client beside its doors."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import strongroom
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from strongroom import _complete, _names, _used


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins as a fresh kernel does."""
    for name in ("_touched", "_known", "_told"):
        monkeypatch.setattr(_used, name, {})
    monkeypatch.setattr(_used, "_words", set())
    monkeypatch.setattr(_used, "_looked_at", 0)
    monkeypatch.setattr(_complete, "_asked_at", float("-inf"))


@pytest.mark.parametrize(
    ("name", "version", "found"),
    [
        ("a/b", None, ("a/b", None)),
        ("a/b", 2, ("a/b", 2)),
        ("a/b@3", None, ("a/b", 3)),
        ("a/b@3", 3, ("a/b", 3)),
        (" a/b@latest ", None, ("a/b", None)),
    ],
)
def test_names_with_versions(name: str, version: int | None, found: tuple[str, int | None]) -> None:
    assert _names.parse(name, version) == found


@pytest.mark.parametrize(("name", "version"), [("a/b@", None), ("a/b@0", None), ("a/b@two", None), ("a/b@3", 2)])
def test_what_no_version_is_gets_words(name: str, version: int | None) -> None:
    with pytest.raises(ValueError, match="version"):
        _names.parse(name, version)


@given(st.from_regex(r"[a-z]{1,8}/[a-z]{1,8}", fullmatch=True), st.integers(1, 10**9))
def test_a_spelt_name_opens_the_same_version(name: str, version: int) -> None:
    assert _names.parse(_names.spelt(name, version)) == (name, version)


def test_a_version_in_the_name_is_asked_for_and_shown(doors: Any) -> None:
    data = strongroom.open("health/randhie@2")
    assert doors.ask.requests[0]["version"] == 2
    assert 'strongroom.open("health/randhie@2")' in repr(data)
    assert "health/randhie@2" in data._repr_html_()


def test_columns_one_by_one_and_narrowed(doors: Any, table: pa.Table) -> None:
    data = strongroom.open("health/randhie")
    assert data["age"].to_pylist() == data.age.to_pylist() == [31, 47, 52]
    narrow = data[["income"]]
    assert (narrow.columns, narrow.masked, len(narrow)) == (("income",), {"income": "hash"}, 3)
    assert data.select("age").masked == {}
    assert data.schema == table.schema
    assert data._ipython_key_completions_() == ["age", "income"]
    assert {"age", "income", "to_pandas"} <= set(dir(data))
    assert pa.table(data).equals(table)
    with pytest.raises(KeyError, match="it has age, income"):
        data["weight"]
    with pytest.raises(AttributeError, match="no such column"):
        data.weight  # noqa: B018


HABITS = """
import json, sys
import duckdb, pandas as pd, polars as pl, strongroom
people = strongroom.open("health/randhie")
frame = people.to_pandas(arrow_types=True)
relation = people.duckdb()
print(json.dumps({
    "pandas": int(people.to_pandas().age.sum()),
    "arrow_types": [str(kind) for kind in frame.dtypes],
    "same_memory": frame["age"].array._pa_array.chunk(0).buffers()[1].address
                   == people.arrow().column("age").chunk(0).buffers()[1].address,
    "polars": list(people.to_polars().shape),
    "polars_takes_it": list(pl.DataFrame(people).shape),
    "duckdb": relation.aggregate("sum(age)").fetchall()[0][0],
    "sql": duckdb.sql("select count(*) from people where age > 40").fetchall()[0][0],
    "head": len(people.head(2)),
    "texts": [
        int((people.to_pandas().income == "p1").sum()), int((frame.income == "p1").sum()),
        len(people.to_pandas().groupby("income")), len(people.to_polars().filter(pl.col("income") == "p1")),
        relation.filter("income = 'p1'").aggregate("count(*)").fetchall()[0][0],
        duckdb.sql("select count(distinct income) from people").fetchall()[0][0],
    ],
    "saved": [strongroom._save.as_table(one).column_names for one in (
        people.to_pandas(), people.to_pandas().groupby("income").sum(), people.to_polars(), people.arrow(),
        relation.project("age"), people)],
}))
"""


def test_each_library_has_its_habit(doors: Any, kernel_prefix: Path) -> None:
    environment = {
        **os.environ,
        "STRONGROOM_ASK_SOCKET": str(doors.ask_path),
        "STRONGROOM_DATA_SOCKET": str(doors.data_path),
        "PYTHONPATH": str(Path(strongroom.__file__).parents[1]),
    }
    done = subprocess.run(
        [kernel_prefix / "bin" / "python", "-c", HABITS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "pandas": 130,
        "arrow_types": ["int64[pyarrow]", "large_string[pyarrow]"],
        "same_memory": True,
        "polars": [3, 2],
        "polars_takes_it": [3, 2],
        "duckdb": 130,
        "sql": 2,
        "head": 2,
        "texts": [2, 2, 2, 2, 2, 2],
        "saved": [
            ["age", "income"],
            ["age", "income"],
            ["age", "income"],
            ["age", "income"],
            ["age"],
            ["age", "income"],
        ],
    }


def test_what_is_no_table_cannot_be_saved() -> None:
    with pytest.raises(TypeError, match="a list cannot be saved"):
        strongroom.save([1, 2], "cardio/cohort1")
    with pytest.raises(ValueError, match="counted by itself"):
        strongroom.save(pa.table({"a": [1]}), "cardio/cohort1@3")


def test_used_are_the_columns_asked_for_and_named_in_cells(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = ["import strongroom", "frame.groupby('income')"]
    shell = SimpleNamespace(history_manager=SimpleNamespace(input_hist_parsed=cells))
    monkeypatch.setattr(_used, "_shell", lambda: shell)
    data = strongroom.open("health/randhie")
    assert _used.of("health/randhie") == ["income"]
    assert _used.fresh() == {"health/randhie": ["income"]}
    assert _used.fresh() == {}
    data["age"]
    assert _used.fresh() == {"health/randhie": ["age", "income"]}
    cells.append("ols('visits ~ weight')")
    assert _used.of("a/b", ["weight", "height", "visits"]) == ["weight", "visits"]


def test_whole_tables_count_as_using_nothing(doors: Any) -> None:
    strongroom.open("health/randhie").arrow()
    assert _used.of("health/randhie") == []
    strongroom.open("health/randhie", columns=["age"])
    assert _used.of("health/randhie") == ["age"]


_CATALOG = [
    {"name": "health/randhie", "columns": [{"name": "age"}, {"name": "income"}]},
    {"name": "health/fair", "columns": [{"name": "age"}]},
    {"name": "nature/penguins", "columns": []},
]


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ('strongroom.open("hea', ("hea", ["health/fair", "health/randhie"])),
        ("sr.open('", ("", ["health/fair", "health/randhie", "nature/penguins"])),
        ('strongroom.catalog()["nat', ("nat", ["nature/penguins"])),
        ('request("health/randhie", columns=["age", "in', ("in", ["income"])),
        ('open("health/fair",\n    columns=["', ("", ["age"])),
        ('open("health/randhie@2", columns=["a', ("a", ["age"])),
        ('print("hea', None),
        ('open("health/fair") ', None),
    ],
)
def test_names_are_completed(doors: Any, before: str, found: Any) -> None:
    doors.opened = {"ok": True, "datasets": _CATALOG}
    assert _complete.matches(before) == found


def test_completion_asks_once_a_minute_and_never_fails(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    doors.opened = {"ok": False, "problem": {"title": "x", "status": 503}}
    assert _complete.matches('open("h') == ("h", [])
    assert _complete.matches('open("h') == ("h", [])
    assert len(doors.ask.requests) == 1


def test_ipython_shows_the_names(doors: Any) -> None:
    doors.opened = {"ok": True, "datasets": _CATALOG}
    shell = InteractiveShell.instance()
    try:
        _complete.install()
        _complete.install()
        assert len(shell.Completer.custom_matchers) == 1
        with provisionalcompleter():
            code = 'x = 1\nstrongroom.open("health/f'
            assert [found.text for found in shell.Completer.completions(code, len(code))] == ["health/fair"]
            code = "le"
            assert "health/fair" not in [found.text for found in shell.Completer.completions(code, len(code))]
    finally:
        InteractiveShell.clear_instance()
