from __future__ import annotations

import datetime as dt
import io
from typing import Any

import openpyxl
import polars as pl
import pyreadstat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_hub.problems import Problem
from strongroom_hub.vault.formats import delimited, excel, statistics
from strongroom_hub.vault.formats.opening import open_table
from strongroom_hub.vault.formats.table import Table, storable


def table(data: bytes, fmt: str = "csv", declared: dict[str, str] | None = None, **reading: Any) -> Table:
    return open_table(io.BytesIO(data), fmt, reading, declared or {})  # type: ignore[arg-type]


def frame(data: bytes, fmt: str = "csv", declared: dict[str, str] | None = None, **reading: Any) -> pl.DataFrame:
    return pl.concat(table(data, fmt, declared, **reading).batches())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n3\n", "Row 3, column 2: the row has 1 fields, the header has 2"),
        (b"a,b\n1,2\n3,4,5\n", "Row 3, column 3: the row has 3 fields, the header has 2"),
        (b"a,b\n1,2\n3\n4,5,6\n", "Row 3, column 2: the row has 1 fields, the header has 2"),
        (b'a,b\n"1",2\n3\n', "Row 3, column 2: the row has 1 fields, the header has 2"),
        (b"a,a\n1,2\n", "two columns are named 'a'"),
        (b"a,\n1,2\n", "Column 2: its name is empty"),
        (b"a,b\n\n1,2\n", "Row 2 is empty"),
        (b"a,b\n1,2\n\n\n3,4\n", "Row 3 is empty"),
        (b"a,b\n1,\xff\n", "Row 2, column 2: it is not UTF-8 text"),
        (b'a,b\n1,"2\n', "Row 2: unexpected end of data"),
        (b'a,b\n1,"2"x\n', "Row 2, column 2: there is text behind a closing quote"),
        (b'a,b\n1,2\nx"y,3\n', "Row 3, column 1: a quote stands within a field"),
        (b'a,b\n1,2\nx"y"z,3\n', "Row 3, column 1: a quote stands within a field"),
        (b"a,b\n", "only a header"),
        (b"", "It is empty"),
        (b"\xef\xbb\xbf", "no rows or no columns|its name is empty"),
        (b"\x00\x01", "not printable"),
        (b"a\x1bb\n1\n", "not printable"),
        (b"a\r1\r2\r", "carriage return alone"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (("x" * 201).encode() + b"\n1\n", "longer than 200"),
        (b"a\n" + b"x" * (17 << 20) + b"\n", "longer than 16 MiB"),
    ],
)
def test_a_bad_csv_is_refused_by_row_and_column(content: bytes, words: str) -> None:
    with pytest.raises(Problem, match=words) as refused:
        table(content)
    assert (refused.value.status, refused.value.slug) == (422, "bad-file")
    assert refused.value.next


@pytest.mark.parametrize(
    ("content", "reading", "rows"),
    [
        (b"\xef\xbb\xbfa,b\r\n1,x\r\n", {}, [(1, "x")]),
        (b"a;b\n1;x\n", {}, [(1, "x")]),
        (b"a\tb\n1\tx\n", {}, [(1, "x")]),
        (b"a|b\n1|x", {}, [(1, "x")]),
        (b'"a,1";b\n1;x\n\n\n', {}, [(1, "x")]),
        (b"a;b\n1;x,y\n", {"separator": ";"}, [(1, "x,y")]),
        (b"a,b\n1,caf\xe9\n", {"encoding": "latin-1"}, [(1, "café")]),
        (b"a,b\n1,\x80\n", {"encoding": "windows-1252"}, [(1, "€")]),
        (b"a;b\n1,5;x\n1.234,25;y\n", {"decimal": ","}, [(1.5, "x"), (1234.25, "y")]),
        (b"a,b\n31.12.2020,x\n", {"dates": "%d.%m.%Y"}, [(dt.date(2020, 12, 31), "x")]),
        (b"a,b\n1,x\nNA,-\n", {"missing": ["NA", "-"]}, [(1, "x"), (None, None)]),
        (b'a,b\n1,"x\ny"\n2,"say ""so"""\n', {}, [(1, "x\ny"), (2, 'say "so"')]),
        (b"a,b\n9223372036854775808,007\n1,008\n", {}, [("9223372036854775808", "007"), ("1", "008")]),
    ],
)
def test_text_files_as_people_write_them(content: bytes, reading: dict[str, Any], rows: list[Any]) -> None:
    assert frame(content, **reading).rows() == rows


def test_a_declared_type_holds_for_every_value_and_a_misfit_is_named() -> None:
    assert frame(b"a,b\n1,2\n", declared={"a": "text", "b": "number"}).rows() == [("1", 2.0)]
    with pytest.raises(Problem, match="Row 4, column 'a': expected a whole number"):
        table(b"a,b\n1,x\n,y\n1.5,z\n", declared={"a": "integer"})
    with pytest.raises(Problem, match="Row 3, column 'b': expected a date"):
        table(b"a,b\n1,2020-01-01\n2,2020-02-31\n", declared={"b": "date"})


def test_mixed_types_become_text_and_the_first_other_row_is_told() -> None:
    made = table(b"n\n" + b"".join(b"%d\n" % n for n in range(50)) + b"many\n7\n")
    assert made.schema == {"n": pl.String}
    assert made.notes == ["Column 'n' stays text: row 52 is not a whole number, as those before it are."]


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs", "Cc"]))
        ),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([7, 64, 1 << 20]),
)
@settings(max_examples=60, deadline=None)
def test_what_polars_writes_comes_back_whatever_the_block(rows: list[tuple[int | None, str]], block: int) -> None:
    written = pl.DataFrame(rows, schema={"n": pl.Int64, "t": pl.String}, orient="row").with_row_index("row")
    before = delimited.BLOCK
    delimited.BLOCK = block
    try:
        read = frame(written.write_csv(quote_style="non_numeric").encode(), declared={"n": "integer", "t": "text"})
    finally:
        delimited.BLOCK = before
    assert read["n"].to_list() == written["n"].to_list()
    assert read["t"].fill_null("").to_list() == written["t"].to_list()


def workbook(*rows: list[Any], sheets: int = 1) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    for _ in range(sheets - 1):
        book.create_sheet()
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_sheet_keeps_its_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "BATCH_ROWS", 2)
    day = dt.date(2020, 1, 2)
    data = workbook(
        ["id", "day", "when", "mixed", "share", "yes"],
        [1, day, dt.datetime(2020, 1, 2, 3, 4), "x", 0.5, True],  # noqa: DTZ001 - sheets know no zones
        [2, None, day, 5, 2, None],
        [3, day, None, None, None, False],
    )
    made = table(data, "excel")
    assert made.schema == {
        "id": pl.Int64,
        "day": pl.Date,
        "when": pl.Datetime("us"),
        "mixed": pl.String,
        "share": pl.Float64,
        "yes": pl.Boolean,
    }
    assert made.notes == ["Column 'mixed' becomes text: it holds number and str."]
    assert pl.concat(made.batches())["mixed"].to_list() == ["x", "5", None]
    assert pl.concat(made.batches())["share"].to_list() == [0.5, 2.0, None]


@pytest.mark.parametrize(
    ("data", "reading", "words"),
    [
        (workbook(["a", "b"], [1, "#DIV/0!"]), {}, "Row 2, column 'b': the formula there ends in the error #DIV/0!"),
        (workbook(["a"], [1, 2]), {}, "Row 2, column B: there is a value, but the header names no column"),
        (workbook(["a"], [], [1]), {}, "Row 2 is empty"),
        (workbook(["a", "a"], [1, 2]), {}, "two columns are named 'a'"),
        (workbook(["a"]), {}, "only a header"),
        (workbook(), {}, "no rows or no columns"),
        (workbook(["a"], [1]), {"sheet": "Data"}, "It has no sheet 'Data'; there are 'Sheet'"),
        (b"PK\x03\x04garbage", {}, "cannot be read as an Excel workbook"),
        (b"", {}, "cannot be read as an Excel workbook"),
    ],
)
def test_a_bad_sheet_is_refused_by_its_cell(data: bytes, reading: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem, match=words):
        table(data, "excel", **reading)


def test_a_declared_type_holds_in_a_sheet_and_other_sheets_are_told_of() -> None:
    with pytest.raises(Problem, match="Row 3, column 'a': expected a whole number"):
        table(workbook(["a"], [1], ["x"]), "excel", {"a": "integer"})
    assert table(workbook(["a"], [1], sheets=3), "excel").notes == [
        "The workbook has 3 sheets; the first, 'Sheet', was taken."
    ]


def test_a_workbook_that_would_unpack_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "_MAX_UNPACKED", 100)
    with pytest.raises(Problem, match="Unpacked it would take more"):
        table(workbook(["a"], [1]), "excel")


@pytest.mark.parametrize(
    ("fmt", "write"),
    [("spss", pyreadstat.write_sav), ("stata", pyreadstat.write_dta), ("xport", pyreadstat.write_xport)],
)
def test_statistics_packages_bring_labels_and_code_lists(
    fmt: str, write: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BATCH", 2)
    data = pl.DataFrame({"SEX": [1.0, 2.0, None], "WT": [71.5, 80.25, 66.0], "TOWN": ["Oslo", "Åre", "X"]})
    labels = {} if fmt == "xport" else {"variable_value_labels": {"SEX": {1: "female", 2: "male"}}}
    file = tmp_path / "data"
    write(data, str(file), column_labels={"SEX": "Sex", "WT": "Weight", "TOWN": "Town"}, **labels)
    made = table(file.read_bytes(), fmt)
    assert made.schema == {"SEX": pl.Int64, "WT": pl.Float64, "TOWN": pl.String}
    assert pl.concat(made.batches()).rows() == [(1, 71.5, "Oslo"), (2, 80.25, "Åre"), (None, 66.0, "X")]
    assert made.told["SEX"].as_json() == {
        "description": "Sex",
        "codes": {} if fmt == "xport" else {"1": "female", "2": "male"},
    }


@pytest.mark.parametrize("fmt", ["parquet", "arrow", "sas", "xport", "stata", "spss"])
def test_what_is_not_of_its_format_is_refused(fmt: str) -> None:
    for content in (b"", b"a,b\n1,2\n", b"PAR1" + b"\x00" * 40 + b"PAR1", b"ARROW1\0\0" + b"\xff" * 40):
        with pytest.raises(Problem, match="cannot be read as") as refused:
            frame(content, fmt)
        assert refused.value.slug == "bad-file"


@pytest.mark.parametrize("dtype", [pl.List(pl.Int8), pl.Struct({"a": pl.Int8}), pl.Binary(), pl.Int128(), pl.UInt128()])
def test_a_column_that_no_kernel_could_be_given_is_refused(dtype: pl.DataType) -> None:
    with pytest.raises(Problem, match=r"Column 'wide': values of type .* cannot be stored"):
        storable({"n": pl.Int64(), "wide": dtype})


def test_a_parquet_file_in_many_groups_comes_in_bounded_batches() -> None:
    out = io.BytesIO()
    pl.DataFrame({"n": range(200_000)}).write_parquet(out, row_group_size=150_000)
    heights = [batch.height for batch in table(out.getvalue(), "parquet").batches()]
    assert sum(heights) == 200_000
    assert max(heights) <= 65_536
