"""`import strongroom` against doors that speak the wire format."""

from __future__ import annotations

import builtins
import importlib.metadata
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import strongroom
from strongroom import _wire

from tests.kernels.client.conftest import arrow_file

_REFUSED = {
    "ok": False,
    "problem": {
        "type": "urn:strongroom:problem:no-grant",
        "title": "You may not read health/randhie",
        "status": 403,
        "detail": "Nobody has granted project cardio this dataset.",
        "why": ["rule G2 (policy.csv:30)"],
        "next": "",
    },
}

_CATALOG = [
    {
        "name": "nature/penguins",
        "version": 1,
        "title": "Palmer penguins",
        "description": "Sizes",
        "label": "public",
        "columns": [{"name": "bill", "type": "Float64", "description": "mm"}],
        "access": {"read": True, "columns": ["bill"], "masked": {}, "until": None, "request": None},
        "used_by": ["cardio/<b>@1"],
    },
    {
        "name": "health/randhie",
        "version": 2,
        "title": "RAND <b>HIE</b>",
        "description": "Visits",
        "label": "confidential",
        "columns": [{"name": "income", "type": "Float64", "description": "<script>x</script>"}],
        "access": {"read": False, "columns": [], "masked": {}, "until": None, "request": None},
    },
]


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _is_in_a_view(address: int) -> bool:
    """Whether the vault's memory file is mapped there."""
    with Path("/proc/self/maps").open(encoding="ascii") as maps:
        spans = [line.split()[0].split("-") for line in maps if "memfd:view" in line]
    return any(int(begin, 16) <= address < int(end, 16) for begin, end in spans)


def _settles_at(count: int) -> bool:
    """Whether as many files are open again, once the doors' threads have closed their ends."""
    deadline = time.monotonic() + 2
    while _open_files() != count and time.monotonic() < deadline:
        time.sleep(0.01)
    return _open_files() == count


def test_open_reads_what_the_ticket_gives(doors: Any, table: pa.Table) -> None:
    data = strongroom.open("health/randhie", version=2, columns=["age", "income"])
    assert doors.ask.requests == [
        {"v": 1, "op": "open", "dataset": "health/randhie", "version": 2, "columns": ["age", "income"]}
    ]
    assert doors.data.requests == [{"v": 1, "ticket": "a-ticket"}]
    assert data.arrow().equals(table)
    assert data.to_polars().to_arrow().column_names == ["age", "income"]
    assert (data.name, data.version, data.label) == ("health/randhie", 2, "confidential")
    assert (data.columns, data.masked, len(data)) == (("age", "income"), {"income": "hash"}, 3)


def test_data_is_mapped_and_not_copied(doors: Any) -> None:
    data = strongroom.open("health/randhie")
    assert _is_in_a_view(data.arrow().column("age").chunk(0).buffers()[1].address)


TEXTS = ["p1", None, "a text that is longer than twelve bytes", "", "p1"]


def test_texts_are_for_every_library_what_they_always_were(doors: Any) -> None:
    """pandas and DuckDB: `test_habits.py`, in the kernel's environment."""
    doors.data.answer = lambda _request: (
        {"ok": True},
        arrow_file(pa.table({"text": pa.array(TEXTS, pa.large_string()), "number": range(5)})),
    )
    data = strongroom.open("health/randhie")
    assert data.schema == data.arrow().schema == pa.schema({"text": pa.large_string(), "number": pa.int64()})
    assert pc.sum(pc.equal(data["text"], "p1")).as_py() == 2
    assert data.text is data["text"], "they are copied once"
    assert data.arrow().sort_by("text")["number"].to_pylist() == [3, 2, 0, 4, 1]
    assert data.select("text").arrow().filter(pc.field("text") == "p1").num_rows == 2
    assert pa.table(data).equals(data.arrow())
    assert data.to_polars().to_dict(as_series=False) == {"text": TEXTS, "number": [*range(5)]}
    assert pl.DataFrame(data).equals(data.to_polars())
    assert [batch["text"].to_pylist() for batch in data.iter_batches(rows=2)] == [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]


def test_polars_has_texts_where_they_are_mapped(doors: Any) -> None:
    texts = [f"T{number}" for number in range(100_000)]
    doors.data.answer = lambda _request: (
        {"ok": True},
        arrow_file(pa.table({"text": pa.array(texts, pa.large_string())})),
    )
    frame = strongroom.open("health/randhie").to_polars()
    address = frame["text"].to_arrow(compat_level=pl.CompatLevel.newest()).buffers()[1].address
    assert _is_in_a_view(address)
    assert frame["text"].to_list() == texts


def test_no_descriptor_stays_open(doors: Any) -> None:
    before = _open_files()
    strongroom.open("health/randhie")
    doors.opened = _REFUSED
    with pytest.raises(strongroom.AccessDenied):
        strongroom.open("health/randhie")
    assert _settles_at(before)


def test_defaults_are_the_newest_and_all(doors: Any) -> None:
    strongroom.open("health/randhie")
    assert doors.ask.requests[0]["version"] is None
    assert doors.ask.requests[0]["columns"] is None


def test_reprs_tell_facts_and_no_data(doors: Any) -> None:
    doors.opened["dataset"] = "<b>x</b>"
    data = strongroom.open("health/randhie")
    for text in (repr(data), data._repr_html_()):
        for fact in ("confidential", "3", "age, income", "income (hash)"):
            assert fact in text
        assert "p1" not in text
    assert "<b>" not in data._repr_html_()


def test_a_refusal_is_short_and_kind(doors: Any) -> None:
    doors.opened = _REFUSED
    with pytest.raises(strongroom.AccessDenied) as caught:
        strongroom.open("health/randhie")
    lines = caught.value._render_traceback_()
    assert lines[:3] == [
        "You may not read health/randhie",
        "Nobody has granted project cardio this dataset.",
        "  because rule G2 (policy.csv:30)",
    ]
    assert lines[3].startswith("Next: Ask for access: open the Datasets panel")
    assert "Traceback" not in "".join(lines)
    assert caught.value.slug == "no-grant"


def test_the_servers_own_next_step_stands(doors: Any) -> None:
    doors.opened = {"ok": False, "problem": {**_REFUSED["problem"], "next": "Renew your grant."}}
    with pytest.raises(strongroom.AccessDenied, match="Next: Renew your grant"):
        strongroom.open("health/randhie")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, strongroom.AccessDenied),
        (404, strongroom.UnknownDataset),
        (503, strongroom.Unavailable),
        (500, strongroom.Unavailable),
        (400, strongroom.StrongroomError),
        (None, strongroom.Unavailable),
    ],
)
def test_status_decides_the_kind(doors: Any, status: int | None, kind: type[Exception]) -> None:
    doors.opened = {"ok": False, "problem": {"title": "x", "status": status}}
    with pytest.raises(strongroom.StrongroomError) as caught:
        strongroom.open("a/b")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0\0",
        struct.pack(">I", 1 << 21),
        struct.pack(">I", 9) + b"short",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 1) + b"{",
    ],
    ids=["nothing", "half a length", "too long", "cut", "no object", "no JSON"],
)
@pytest.mark.parametrize("door", ["ask", "data"])
def test_a_broken_door_is_unavailable(doors: Any, door: str, said: bytes) -> None:
    getattr(doors, door).answer = lambda _request: (said, None)
    before = _open_files()
    with pytest.raises(strongroom.Unavailable, match="does not answer"):
        strongroom.open("a/b")
    assert _settles_at(before)


def test_a_door_that_is_not_there(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wire, "DATA_SOCKET", "/nowhere/data.sock")
    with pytest.raises(strongroom.Unavailable, match="The vault does not answer"):
        strongroom.open("a/b")


@pytest.mark.parametrize("data", [None, b"", b"not arrow at all", b"ARROW1\0\0" + b"x" * 100])
def test_broken_data_is_said(doors: Any, data: bytes | None) -> None:
    doors.data.answer = lambda _request: ({"ok": True}, data)
    before = _open_files()
    with pytest.raises(strongroom.Unavailable, match="did not arrive whole"):
        strongroom.open("a/b")
    assert _settles_at(before)


def test_the_vaults_refusal_counts_even_with_data(doors: Any, table: pa.Table) -> None:
    doors.data.answer = lambda _request: (_REFUSED, b"x")
    before = _open_files()
    with pytest.raises(strongroom.AccessDenied):
        strongroom.open("a/b")
    assert _settles_at(before)


def test_wrong_arguments_say_what_is_meant() -> None:
    with pytest.raises(TypeError, match=r"strongroom\.catalog"):
        strongroom.open(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="list of names"):
        strongroom.open("a/b", columns="age")  # type: ignore[arg-type]


def test_label_and_budget(doors: Any) -> None:
    doors.opened = {"ok": True, "label": "confidential", "sources": [{"dataset": "health/randhie", "version": 2}]}
    assert repr(strongroom.label()) == "This kernel is confidential, because it has read health/randhie version 2."
    assert str(strongroom.label()) == "confidential"
    display = {
        "allowed": True,
        "cell_bytes": 65536,
        "day_bytes_left": None,
        "image_bytes": 9,
        "rule": "O5",
        "text": "T.",
    }
    doors.opened = {"ok": True, "display": display}
    assert repr(strongroom.budget()) == "May be shown: 65,536 bytes a cell, 9 bytes an image. T. (O5)"
    doors.opened = {"ok": True, "display": {**display, "allowed": False}}
    assert repr(strongroom.budget()) == "Nothing may be shown now. T. (O5)"
    doors.opened = {"ok": True}
    assert strongroom.budget().allowed is False


def test_catalog_lists_searches_and_escapes(doors: Any) -> None:
    doors.opened = {"ok": True, "datasets": _CATALOG}
    found = strongroom.catalog()
    assert [dataset["name"] for dataset in found] == ["health/randhie", "nature/penguins"]
    assert repr(found).splitlines()[1].split() == [
        "health/randhie",
        "confidential",
        "ask",
        "for",
        "access",
        "RAND",
        "<b>HIE</b>",
    ]
    assert [dataset["name"] for dataset in found.search("PALMER bill")] == ["nature/penguins"]
    assert len(found.search("nothing like this")) == 0
    assert "<b>HIE" not in found._repr_html_()
    assert found["nature/penguins"]["label"] == "public"
    assert found._ipython_key_completions_() == ["health/randhie", "nature/penguins"]
    with pytest.raises(KeyError):
        found["no/such"]


def test_catalog_widget_narrows_and_shows(doors: Any) -> None:
    doors.opened = {"ok": True, "datasets": _CATALOG}
    search, found, details = strongroom.catalog().widget().children
    assert len(found.options) == 2
    search.value = "penguin"
    assert [value for _, value in found.options] == ["nature/penguins"]
    assert "strongroom.open(&quot;nature/penguins&quot;).to_pandas()" in details.value
    assert "Used in cardio/&lt;b&gt;@1" in details.value
    search.value = "income"
    assert "Ask for access in the Datasets panel" in details.value
    assert "<script>" not in details.value
    search.value = "nothing like this"
    assert details.value == ""


def test_catalog_without_ipywidgets_is_text(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    doors.opened = {"ok": True, "datasets": _CATALOG}
    found = strongroom.catalog()
    assert "application/vnd.jupyter.widget-view+json" in found._repr_mimebundle_()
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert set(found._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_import_needs_neither_pandas_polars_nor_widgets() -> None:
    code = (
        "import strongroom, sys; print([m for m in ('pandas', 'polars', 'ipywidgets', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_versions_go_in_step() -> None:
    assert importlib.metadata.version("strongroom-client") == strongroom.__version__
    assert importlib.metadata.version("jupyter-strongroom") == strongroom.__version__


def test_open_is_only_ours() -> None:
    assert builtins.open is not strongroom.open
    assert strongroom.open.__module__ == "strongroom._api"
