"""The box of the vault's workers, from inside: a parser that was taken over against what it could reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pyreadstat
import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import confine, workers

HOSTILE = Path(__file__).with_name("hostile_worker.py")


@pytest.fixture
def targets(room: Any, people: pl.DataFrame, tmp_path: Path) -> dict[str, Any]:
    """Another dataset's part and keys, the vault's own keys, somebody else's upload, and this process as vault."""
    room.publish("health/people", people)
    with room.vault.uploads.of("health/other", 1) as upload:
        upload.write_chunk(0, b"another's")
        chunk = upload.folder / "chunk-0"
    vault = room.instance.vault_dir
    victim = tmp_path / "victim"
    victim.write_bytes(b"whole")
    (tmp_path / "other").write_bytes(b"whole")
    files = {
        "the master key": next((vault / "keys").rglob("*")),
        "the receipt key": next((vault / "keys").glob("receipt*")),
        "another's keys": room.folder("health/people") / "keys.json",
        "another's part": room.part("health/people"),
        "another's upload": chunk,
        "the instance": room.instance.path,
        "a file of this test": tmp_path / "other",
    }
    return {
        "pid": os.getpid(),
        "folder": str(room.folder("health/people")),
        "part": str(room.part("health/people")),
        "scratch": str(tmp_path),
        "victim": str(victim),
        "files": {name: str(path) for name, path in files.items()},
    }


def hostile(room: Any, monkeypatch: pytest.MonkeyPatch, targets: dict[str, Any]) -> None:
    """From here on every worker is one."""
    for pool in (room.vault.intake, room.vault.workers):
        pool.close()  # spares that were started before
    monkeypatch.setattr(workers, "_PROGRAM", (str(HOSTILE), json.dumps(targets)))


def tried(call: Any) -> dict[str, str]:
    with pytest.raises(Problem) as refused:
        call()
    assert refused.value.slug == "tried", refused.value
    found: dict[str, str] = json.loads(refused.value.detail)
    return found


@pytest.mark.skipif(bool(confine.weaknesses()), reason="this Linux lacks a part of the box")
def test_a_parser_that_was_taken_over_reaches_nothing(
    room: Any, targets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(room, monkeypatch, targets)
    found = tried(lambda: room.ingest("health/next", b"a\n1\n"))
    assert {name for name, what in found.items() if what == "done"} == set()
    assert Path(targets["victim"]).read_bytes() == b"whole"
    assert not (Path(targets["folder"]) / "planted").exists()


@pytest.mark.skipif(bool(confine.weaknesses()), reason="this Linux lacks a part of the box")
def test_a_reader_that_was_taken_over_sees_what_is_encrypted_and_no_more(
    room: Any, targets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(room, monkeypatch, targets)
    found = tried(lambda: room.read("health/people", ["age"]))
    done = {name for name, what in found.items() if what == "done"}
    assert done == {"reading another's keys", "reading another's part"}  # wrapped, and encrypted


def test_without_the_box_it_would_get_out(targets: dict[str, Any]) -> None:
    """What the tests above try is possible: else they would show nothing."""
    ran = subprocess.run(
        [sys.executable, str(HOSTILE), json.dumps(targets), "--unboxed"], capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    possible = {name for name in found if not name.startswith("system call")} - {"a new namespace"}
    assert {name for name in possible if found[name] != "done"} == set()
    Path("/tmp/strongroom-hostile-worker").unlink()
    (Path(targets["folder"]) / "planted").unlink()


@pytest.mark.parametrize("kind", ["excel", "spss", "stata", "xport"])
def test_libraries_that_parse_foreign_files_work_in_the_box(room: Any, tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame({"age": [40, 50], "town": ["Åbo", "Zephyrville"]})
    file = tmp_path / "table"
    if kind == "excel":
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in [frame.columns, *frame.rows()]:
            book.active.append(row)
        book.save(file)
    else:
        write = {"spss": pyreadstat.write_sav, "stata": pyreadstat.write_dta, "xport": pyreadstat.write_xport}[kind]
        write(frame, file)
    room.publish("health/people", file.read_bytes(), fmt=kind)
    assert room.frame("health/people", ["age", "town"]).equals(frame)


@pytest.mark.parametrize("asked", [-1, 7, "../chunk-0", "0", None])
def test_a_worker_gets_pieces_of_its_own_file_alone(
    room: Any, targets: dict[str, Any], monkeypatch: pytest.MonkeyPatch, asked: Any
) -> None:
    hostile(room, monkeypatch, {**targets, "ask": asked})
    with pytest.raises(Problem) as refused:
        room.ingest("health/next", b"a\n1\n")
    assert refused.value.slug == "worker-died"


def test_what_a_dead_worker_began_is_gone(room: Any, targets: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    hostile(room, monkeypatch, targets)
    store = room.instance.vault_dir / "store"
    before = {path for path in store.rglob("*") if ".desk-" not in path.name}
    with pytest.raises(Problem):
        room.ingest("health/next", b"a\n1\n")
    room.vault.close()
    assert {path for path in store.rglob("*") if path.is_file()} == {path for path in before if path.is_file()}
    assert not list(store.glob(".desk-*"))


def test_the_table_s_numbers_are_linux_s() -> None:
    libseccomp = pytest.importorskip("pyseccomp")
    for name, numbers in {**confine.CALLS, **confine._OWN, "clone": confine._CLONE}.items():
        for arch, number in zip((libseccomp.Arch.X86_64, libseccomp.Arch.AARCH64), numbers, strict=True):
            known = libseccomp.resolve_syscall(arch, name)
            assert (known if known >= 0 else None) == number, (name, arch)


def test_threads_that_would_be_left_out_forbid_the_box() -> None:
    code = (
        "import threading; from strongroom_hub.vault import confine\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "confine.confine(confine.Reach())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "threads already" in ran.stderr
