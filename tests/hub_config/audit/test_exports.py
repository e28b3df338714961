from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from strongroom_hub.audit import store
from strongroom_hub.audit.entries import BEGINS, Action, Entry
from strongroom_hub.audit.exports import MISSING
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.tree import leaf_hash, root_of
from strongroom_hub.audit.writer import AuditWriter
from strongroom_hub.cli.audit import app
from typer.testing import CliRunner, Result


@pytest.fixture
def export(writer: AuditWriter, keys: LogKeys, database: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A log of a login, a cell with its end, a refused read and a cell whose kernel died, written out as ..."""
    cell = {"actor": "user:analyst", "project": "cardio", "kernel": "k", "object": "day.ipynb", "label": "internal"}
    entries = [
        Entry(action=Action.USER_REFUSE_LOGIN, actor="user:anna"),
        Entry(action=Action.CELL_BEGIN, payload="x = 'a secret word'", detail={"cell": "c1"}, **cell),  # type: ignore[arg-type]
        Entry(
            action=Action.CELL_END,
            sources=("health/randhie@1",),
            detail={"begin": 1, "cell": "c1", "status": "error", "shown": 3, "withheld": 4, "duration_ms": 5},
            **cell,  # type: ignore[arg-type]
        ),
        Entry(action=Action.READ_DENY, actor="user:analyst", object="health/randhie@1"),
        Entry(action=Action.CELL_BEGIN, payload="kill()", detail={"cell": "ü\u2028"}, **cell),  # type: ignore[arg-type]
    ]
    for entry in entries:
        writer.append(entry)
    writer.close()
    (tmp_path / "log.vkey").write_text(keys.vkey)

    def write(form: str) -> Path:
        file = tmp_path / f"log.{form}"
        done: Result = CliRunner().invoke(
            app,
            ["export", str(file), "--as", form, "--database", str(database), "--vkey", str(tmp_path / "log.vkey")],
        )
        assert done.exit_code == 0, done.output
        return file

    return write


def test_json_lines_are_the_leaves(export: Callable[[str], Path], database: Path) -> None:
    lines = export("jsonl").read_bytes().split(b"\n")[:-1]
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2, 3, 4]
    with store.open_database(database) as log:
        note = log.note()
    assert note is not None
    root = root_of(leaf_hash(line) for line in lines)
    assert base64.b64encode(root).decode() == note.split("\n")[2]


def test_the_table_says_which_cells_have_no_end(export: Callable[[str], Path]) -> None:
    table = pl.read_parquet(export("parquet"))
    assert table["index"].to_list() == [0, 1, 2, 3, 4]
    assert table["status"].to_list() == [None, "error", "error", None, MISSING]
    assert table["end"].to_list() == [None, 2, None, None, None]
    assert table["shown"].to_list() == [None, None, 3, None, None]
    assert table["sources"].to_list()[2] == ["health/randhie@1"]
    assert str(table.schema["time"]) == "Datetime(time_unit='ms', time_zone='UTC')"


def test_events_are_those_that_a_siem_expects(export: Callable[[str], Path]) -> None:
    events = [json.loads(line) for line in export("ocsf").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [(e["class_uid"], e["activity_id"], e["status_id"]) for e in events] == [
        (3002, 1, 2),
        (6003, 1, 1),
        (6003, 3, 2),
        (6005, 1, 2),
        (6003, 1, 1),
    ]
    for index, event in enumerate(events):
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["category_uid"] == event["class_uid"] // 1000
        assert event["metadata"]["uid"] == str(index)
        assert event["time"] > 1_700_000_000_000
        assert json.loads(event["raw_data"])["index"] == index


@pytest.mark.parametrize("form", ["jsonl", "ocsf", "parquet", "tiles"])
def test_no_payload_is_written_and_nothing_is_overwritten(export: Callable[[str], Path], form: str) -> None:
    place = export(form)
    files = [file for file in place.rglob("*") if file.is_file()] if place.is_dir() else [place]
    assert all(b"a secret word" not in file.read_bytes() for file in files)
    with pytest.raises(AssertionError, match=r"not empty|File exists"):
        export(form)


def test_an_altered_log_is_not_exported(log_of: Callable[[int], Path], keys: LogKeys, tmp_path: Path) -> None:
    database = log_of(20)
    (tmp_path / "log.vkey").write_text(LogKeys.create(tmp_path / "others").vkey)
    done = CliRunner().invoke(
        app,
        [
            "export",
            str(tmp_path / "x"),
            "--as",
            "jsonl",
            "--database",
            str(database),
            "--vkey",
            str(tmp_path / "log.vkey"),
        ],
    )
    assert done.exit_code == 1
    assert not (tmp_path / "x").exists()


def test_what_begins_is_known() -> None:
    assert {action.value for action in BEGINS} <= {action.value for action in Action}
