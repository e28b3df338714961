from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import stream


def findings(receipt: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [finding for finding in receipt["findings"] if finding["check"] == check]


def worst(receipt: dict[str, Any], check: str = "") -> str:
    told = [finding["severity"] for finding in receipt["findings"] if check in ("", finding["check"])]
    return next((severity for severity in ("block", "warn") if severity in told), "pass" if told else "none")


def png(extra: bytes = b"", tail: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    note = chunk(b"tEXt", b"Comment\0" + extra) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + head + note + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"") + tail


@pytest.fixture
def read(room: Any, microdata: pl.DataFrame) -> list[dict[str, Any]]:
    """The workspace has read all of it, the person hashed."""
    room.publish("health/micro", microdata)
    return [room.view("health/micro", microdata.columns, masks={"person": {"method": "hash"}})]


def test_the_receipt_binds_name_content_and_findings(room: Any) -> None:
    data = b"town,n\na,20\nb,31\n"
    receipt = room.stage(data, "out/table.csv", index=3)
    assert {key: receipt[key] for key in ("export", "index", "name", "sha256", "bytes", "type")} == {
        "export": "e1",
        "index": 3,
        "name": "out/table.csv",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "type": "csv",
    }
    assert worst(receipt) == "pass"
    assert {finding["check"] for finding in receipt["findings"]} == {"size", "type", "small-counts"}


@pytest.mark.parametrize("size", [0, 1, stream.CHUNK - 1, stream.CHUNK, stream.CHUNK + 1, 3 * stream.CHUNK])
def test_staged_bytes_come_back_and_lie_encrypted(room: Any, size: int) -> None:
    data = b"Zephyrine," * (size // 10) + b"x" * (size % 10)
    receipt = room.stage(data, "note.txt")
    stored = room.instance.vault_dir / "exports" / "e1" / f"{receipt['sha256']}.sealed"
    assert b"Zephyrine" not in stored.read_bytes()
    length, content = room.vault.exports.open("e1", receipt["sha256"])
    assert (length, b"".join(content)) == (size, data)


def test_every_change_to_a_staged_file_is_noticed(room: Any) -> None:
    data = bytes(range(32, 127)) * (2 * stream.CHUNK // 95 + 5)
    receipt = room.stage(data, "note.txt")
    stored: Path = room.instance.vault_dir / "exports" / "e1" / f"{receipt['sha256']}.sealed"
    whole = stored.read_bytes()
    head = stream.HEAD
    step = stream.CHUNK + 16
    chunks = [whole[at : at + step] for at in range(head, len(whole), step)]
    assert len(chunks) == 3
    other = room.stage(data, "note.txt", export="e2")
    elsewhere = (room.instance.vault_dir / "exports" / "e2" / f"{other['sha256']}.sealed").read_bytes()
    attacks = [
        whole[:-1],
        whole[:head] + chunks[0] + chunks[1],
        whole[:head] + chunks[1] + chunks[0] + chunks[2],
        whole[:head] + chunks[0] + chunks[0] + chunks[1] + chunks[2],
        whole[:head],
        whole + b"x",
        b"",
        b"SRS1",
        b"SRS1\xff\xff\xff\xff",
        data,
        elsewhere,
        *[whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, 5, head - 1, head + 1, len(whole) - 1)],
    ]
    for number, attack in enumerate(attacks):
        stored.write_bytes(attack)
        with pytest.raises(Problem) as refused:
            room.vault.exports.open("e1", receipt["sha256"])
        assert refused.value.slug in {"staged-file-damaged", "key-refused"}, number
    stored.unlink()
    with pytest.raises(Problem, match="holds no file"):
        room.vault.exports.open("e1", receipt["sha256"])


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("model.pkl", pickle.dumps({"a": 1}), "named .pkl"),
        ("table.csv", pickle.dumps({"a": 1}), "Python pickle"),
        ("table.csv", b"\x1f\x8b\x08\x00", "gzip"),
        ("table.csv", b"PK\x03\x04abc", "zip"),
        ("table.txt", b"a\x00b", "binary"),
        ("table.txt", b"\x1b[2Jx", "binary"),
        ("table.csv", png(), "PNG"),
        ("table.parquet", b"a,b\n1,2\n", "binary data|named .parquet"),
        ("plot.png", b"a,b\n1,2\n", "named .png"),
        ("plot.png", png(tail=b"secret rows"), "11 bytes behind its end"),
        ("plot.png", png()[:-6], "broken"),
        ("plot.png", png().replace(b"IDAT", b"IDAU"), "broken"),
        ("table", b"a,b\n1,2\n", "named ."),
        ("page.html", b"<b>x</b>", "named .html"),
        ("a\u202egnp.csv", b"a,b\n1,2\n", "do not print"),
        ("a\x1b[m.csv", b"a,b\n1,2\n", "do not print"),
    ],
)
def test_what_is_not_on_the_list_by_name_and_content_is_blocked(room: Any, name: str, data: bytes, words: str) -> None:
    receipt = room.check(data, name)
    (blocked,) = [finding for finding in findings(receipt, "type") if finding["severity"] == "block"]
    assert receipt["type"] == "unknown"
    assert any(word in blocked["text"] for word in words.split("|")), blocked["text"]


def test_a_type_that_the_rules_do_not_name_is_blocked(room: Any) -> None:
    assert worst(room.check(b"a,b\n1,2\n", rules={"types": ["parquet"]}), "type") == "block"
    assert worst(room.check(b"a", "x.pkl", rules={"types": ["pkl"]}), "type") == "block"


def test_an_image_and_free_text_need_a_person(room: Any) -> None:
    receipt = room.check(png(extra=b"hidden" * 50), "plot.png")
    assert (receipt["type"], worst(receipt)) == ("png", "warn")
    assert "tEXt" in findings(receipt, "type")[1]["text"]
    assert worst(room.check(b"All is well.\n", "note.txt"), "unreadable") == "warn"


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2,3\n4\n"])
def test_a_table_that_is_none_is_blocked(room: Any, data: bytes) -> None:
    assert worst(room.check(data), "unreadable") == "block"


def test_nested_columns_are_blocked(room: Any) -> None:
    out = io.BytesIO()
    pl.DataFrame({"a": [[1, 2], [3]]}).write_parquet(out)
    assert worst(room.check(out.getvalue(), "table.parquet"), "unreadable") == "block"


@pytest.mark.parametrize(
    ("data", "places"),
    [
        (b"town,n\na,20\nb,3\nc,9\nd,10\n", [("n", [2, 3])]),
        (b"town,patient_count\na,1\n", [("patient_count", [1])]),
        (b"town,nCases\na,1\n", [("nCases", [1])]),
        (b"town;n\na;20\nb;3\n", [("n", [2])]),
        (b"age,yes,no\n20-29,40,3\n30-39,2,50\n", [("yes", [2]), ("no", [1])]),
        (b"town,n\na,20.0\nb,\nc,4.0\n", [("n", [3])]),
        (b"town,n\na,0\nb,20\n", []),
        (b"town,mean\na,3.5\nb,2.25\n", []),
        (b"year,mean\n2001,3.5\n2002,2.25\n", []),
    ],
)
def test_small_counts_are_found_where_counts_are(room: Any, data: bytes, places: list[Any]) -> None:
    (finding,) = findings(room.check(data), "small-counts")
    assert finding["severity"] == ("warn" if places else "pass")
    assert [(cell["column"], cell["rows"]) for cell in finding["evidence"].get("cells", [])] == places


def test_counts_are_found_in_printed_tables_too(room: Any) -> None:
    for name, text in (
        ("t.txt", "town   n\na     20\nb      3\n"),
        ("t.json", json.dumps([{"town": "a", "n": 20}, {"town": "b", "n": 3}])),
        ("t.json", json.dumps({"town": {"0": "a", "1": "b"}, "n": {"0": 20, "1": 3}})),
    ):
        (finding,) = findings(room.check(text.encode(), name), "small-counts")
        assert finding["evidence"]["cells"] == [{"column": "n", "rows": [2]}], name


def test_raw_rows_are_blocked_and_no_value_is_told(
    room: Any, microdata: pl.DataFrame, read: list[dict[str, Any]]
) -> None:
    rows = microdata.drop("person").head(60)
    out = io.BytesIO()
    rows.write_parquet(out)
    for name, data in (("rows.csv", rows.write_csv().encode()), ("rows.parquet", out.getvalue())):
        receipt = room.stage(data, name, sources=read)
        (finding,) = findings(receipt, "row-overlap")
        evidence = finding["evidence"]
        assert (finding["severity"], evidence["matched"], evidence["of"]) == ("block", 60, 60)
        assert (evidence["dataset"], evidence["version"]) == ("health/micro", 1)
        raw = json.dumps(receipt["findings"])
        assert not [value for row in rows.rows() for value in row if isinstance(value, float) and str(value) in raw]


def test_rows_as_text_are_blocked_too(room: Any, microdata: pl.DataFrame, read: list[dict[str, Any]]) -> None:
    rows = microdata.drop("person").head(40)
    receipt = room.check(json.dumps(rows.to_dicts()).encode(), "rows.json", sources=read)
    assert worst(receipt, "row-overlap") == "block"
    receipt = room.check(rows.write_csv(separator=" ").encode(), "rows.txt", sources=read)
    assert worst(receipt, "row-overlap") == "block"


def test_a_list_of_pseudonyms_is_blocked(room: Any, microdata: pl.DataFrame, read: list[dict[str, Any]]) -> None:
    pseudonyms = room.frame("health/micro", ["person"], masks={"person": {"method": "hash"}}).head(30)
    assert worst(room.check(pseudonyms.write_csv().encode(), sources=read), "row-overlap") == "block"
    made_up = pl.DataFrame({"person": [f"{n:032x}" for n in range(30)]})
    assert worst(room.check(made_up.write_csv().encode(), sources=read), "row-overlap") == "pass"


def test_a_few_rows_are_a_warning(room: Any, microdata: pl.DataFrame, read: list[dict[str, Any]]) -> None:
    (finding,) = findings(room.check(microdata.head(2).write_csv().encode(), sources=read), "row-overlap")
    assert (finding["severity"], finding["evidence"]["rows"]) == ("warn", [1, 2])


def test_rows_that_were_never_read_and_aggregates_pass(
    room: Any, microdata: pl.DataFrame, read: list[dict[str, Any]]
) -> None:
    made = random.Random(8)
    unread = microdata.with_columns(
        income=pl.Series([round(made.lognormvariate(10, 0.6), 2) for _ in range(400)]),
        weight=pl.Series([round(made.gauss(75, 14), 3) for _ in range(400)]),
    ).drop("person")
    assert worst(room.check(unread.write_csv().encode(), sources=read), "row-overlap") == "pass"
    table = (
        microdata.group_by("town").agg(pl.len().alias("n"), pl.mean("income", "weight"), pl.median("age")).sort("town")
    )
    assert worst(room.check(table.write_csv().encode(), sources=read)) == "pass"


def test_extremes_in_a_table_of_aggregates_are_for_a_person_to_judge(
    room: Any, microdata: pl.DataFrame, read: list[dict[str, Any]]
) -> None:
    """The highest income of a town and age is one person's, but the table is no copy of rows."""
    numbers = [pl.len().alias("n"), pl.max("income"), pl.mean("weight").round(4), pl.std("weight").alias("spread")]
    table = microdata.group_by("town", "age").agg(numbers).sort("town", "age")
    (finding,) = findings(room.check(table.write_csv().encode(), sources=read), "row-overlap")
    assert (finding["severity"], finding["evidence"]["columns"]) == ("warn", ["town", "age", "income"])


def test_public_rows_may_leave(room: Any, microdata: pl.DataFrame) -> None:
    room.publish("public/micro", microdata, label="public")
    receipt = room.check(microdata.write_csv().encode(), sources=[room.view("public/micro", microdata.columns)])
    assert findings(receipt, "row-overlap") == []


def test_a_source_that_cannot_be_read_again_stops_the_staging(room: Any, microdata: pl.DataFrame, read: Any) -> None:
    part = room.part("health/micro")
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(Problem, match="part-00000"):
        room.stage(b"town,n\na,20\n", sources=read)
    with pytest.raises(Problem, match="no published version"):
        room.stage(b"town,n\na,20\n", sources=[room.view("health/gone", ["x"])])
    assert list((room.instance.vault_dir / "exports").rglob("*.sealed")) == []


def test_half_written_files_are_swept(room: Any) -> None:
    room.stage(b"town,n\na,20\n")
    draft = room.instance.vault_dir / "exports" / "e1" / ".draft-1"
    draft.write_bytes(b"half")
    assert room.vault.exports.sweep() == [draft]
    assert sorted(path.suffix for path in draft.parent.iterdir()) == [".key", ".sealed"]
