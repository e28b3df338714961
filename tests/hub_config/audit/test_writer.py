from __future__ import annotations

import logging
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session, select
from strongroom_hub import database as db
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Action, Entry, EntryRefusedError
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.models import LogPayloadKey
from strongroom_hub.audit.note import NoteError
from strongroom_hub.audit.store import open_database
from strongroom_hub.audit.verify import verify
from strongroom_hub.audit.writer import AuditUnavailableError, AuditWriter, Tx, open_writer
from strongroom_hub.database import Statement

CellMaker = Callable[..., Entry]


def sound(database: Path, keys: LogKeys) -> int:
    """The size of the log, after asserting that it verifies."""
    with open_database(database) as log:
        report = verify(log, keys.verifier)
    assert report.findings == []
    return report.size


def person(name: str) -> LogPayloadKey:
    """A row of some table with a unique column, to change state with."""
    return LogPayloadKey(subject=name, person=name, wrapped=b"")


def people(engine: Engine) -> set[str]:
    with Session(engine) as session:
        return {row.person for row in session.exec(select(LogPayloadKey))}


def test_the_checkpoint_covers_what_was_written_and_is_none_after_a_failure(
    engine: Engine, writer: AuditWriter, keys: LogKeys, cell: CellMaker
) -> None:
    assert writer.checkpoint is None  # of what others have written before it says nothing
    for _ in range(3):
        index = writer.append(cell())
        assert writer.checkpoint is not None
        assert keys.open(writer.checkpoint).size == index + 1

    def fails(tx: Tx) -> None:
        raise OperationalError("", {}, sqlite3.OperationalError("disk I/O error"))

    with pytest.raises(AuditUnavailableError):
        writer.transact(fails)
    assert writer.checkpoint is None
    writer.append(cell())
    assert reader.checkpoint(engine) == writer.checkpoint


@contextmanager
def blocked(writer: AuditWriter) -> Iterator[threading.Event]:
    """Holds a transaction inside a unit until the event is set, so that other units gather in one batch."""
    inside, go = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        inside.set()
        assert go.wait(20)

    thread = threading.Thread(target=writer.transact, args=(wait,))
    thread.start()
    assert inside.wait(20)
    yield go
    go.set()
    thread.join()


def test_an_acknowledged_entry_is_there_with_its_change(
    writer: AuditWriter, engine: Engine, keys: LogKeys, database: Path, cell: CellMaker
) -> None:
    def work(tx: Tx) -> tuple[LogPayloadKey, int]:
        row = person("p")
        tx.session.add(row)
        return row, tx.record(cell("hello"))

    row, index = writer.transact(work)
    assert (row.person, index) == ("p", 0)  # usable although its session is gone
    assert people(engine) == {"p"}
    assert reader.entries(engine)[0]["detail"] == {"text": "hello"}
    assert writer.append(cell()) == 1
    assert sound(database, keys) == 2


def test_a_failing_unit_takes_only_its_own_work_with_it(
    writer: AuditWriter, engine: Engine, keys: LogKeys, database: Path, cell: CellMaker
) -> None:
    writer.transact(lambda tx: tx.session.add(person("taken")))

    def good(name: str) -> Callable[[Tx], int]:
        def work(tx: Tx) -> int:
            tx.session.add(person(name))
            return tx.record(cell(name))

        return work

    def raises(tx: Tx) -> None:
        tx.record(cell("lost", payload="lost"))
        tx.session.add(person("lost"))
        tx.session.flush()
        raise KeyError("mine")

    def clashes(tx: Tx) -> None:
        tx.record(cell("clash"))
        tx.session.add(person("taken"))

    def bad_statement(tx: Tx) -> None:
        tx.record(cell("bad"))
        tx.session.execute(text("SELECT * FROM no_such_table"))

    def too_large(tx: Tx) -> None:
        tx.record(cell("before"))
        tx.record(cell("x" * 70_000))

    works = [good("a"), raises, good("b"), clashes, bad_statement, good("c"), too_large, good("d")]
    with ThreadPoolExecutor(len(works)) as pool, blocked(writer) as go:
        futures = []
        for work in works:
            futures.append(pool.submit(writer.transact, work))
            while writer.waiting < len(futures):
                pass
        go.set()
        outcomes = [future.exception() or future.result() for future in futures]
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [0, 1, 2, 3]
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [int, KeyError, int, IntegrityError, OperationalError, int, EntryRefusedError, int]
    assert people(engine) == {"taken", "a", "b", "c", "d"}
    assert [fields["detail"]["text"] for fields in reader.entries(engine)] == ["d", "c", "b", "a"]
    assert sound(database, keys) == 4


def test_a_unit_that_fails_alone_leaves_nothing(
    writer: AuditWriter, engine: Engine, keys: LogKeys, database: Path, cell: CellMaker
) -> None:
    write = Statement("INSERT INTO log_payload_keys (subject, person, wrapped) VALUES (:name, :name, :name)")

    def raises(tx: Tx) -> None:
        tx.record(cell("lost", payload="lost"))
        write(tx.connection, name="lost")
        raise KeyError("mine")

    def clashes(tx: Tx) -> None:
        write(tx.connection, name="lost")
        write(tx.connection, name="lost")

    with pytest.raises(KeyError):
        writer.transact(raises)
    with pytest.raises(sqlite3.IntegrityError):
        writer.transact(clashes)
    assert people(engine) == set()
    assert writer.append(cell("kept")) == 0
    assert sound(database, keys) == 1


def test_many_threads_share_transactions(engine: Engine, keys: LogKeys, database: Path, cell: CellMaker) -> None:
    commits = []
    event.listen(engine, "commit", commits.append)
    writer = open_writer(engine, keys)
    with ThreadPoolExecutor(20) as pool:
        indexes = sorted(pool.map(lambda n: writer.append(cell(str(n))), range(600)))
    writer.close()
    assert indexes == list(range(600))
    assert sound(database, keys) == 600
    assert len(commits) < 300


def test_two_processes_write_one_log(engine: Engine, keys: LogKeys, database: Path, cell: CellMaker) -> None:
    script = Path(__file__).with_name("writing_process.py")
    other = subprocess.Popen(
        [sys.executable, str(script), str(database), str(database.parent / "keys"), "4", "150"],
        stdout=subprocess.PIPE,
        text=True,
    )
    writer = open_writer(engine, keys)
    mine = [writer.append(cell(f"mine {number}")) for number in range(150)]
    output, _ = other.communicate(timeout=60)
    mine += [writer.append(cell("last"))]
    writer.close()
    theirs = [int(line.split()[0]) for line in output.splitlines()]
    assert other.returncode == 0
    assert sorted(mine + theirs) == list(range(301))
    assert mine[-1] == 300
    assert sound(database, keys) == 301


def test_what_a_unit_must_not_do_is_refused(writer: AuditWriter, engine: Engine, cell: CellMaker) -> None:
    def nested(tx: Tx) -> None:
        writer.append(cell())

    def commits(tx: Tx) -> None:
        tx.session.add(person("p"))
        tx.session.commit()

    def rolls_back(tx: Tx) -> None:
        tx.session.rollback()

    for work, words in ((nested, "within a unit"), (commits, "do not commit"), (rolls_back, "do not roll back")):
        with pytest.raises(RuntimeError, match=words):
            writer.transact(work)
    kept = writer.transact(lambda tx: tx)
    with pytest.raises(RuntimeError, match="has ended"):
        kept.record(cell())
    with pytest.raises(RuntimeError, match="has ended"):
        kept.session  # noqa: B018
    assert people(engine) == set()
    assert writer.append(cell()) == 0


def test_a_unit_may_use_savepoints_of_its_own(writer: AuditWriter, engine: Engine, cell: CellMaker) -> None:
    def work(tx: Tx) -> int:
        tx.session.add(person("kept"))
        with suppress(ZeroDivisionError), tx.session.begin_nested():
            tx.session.add(person("dropped"))
            tx.session.flush()
            raise ZeroDivisionError
        return tx.record(cell())

    assert writer.transact(work) == 0
    assert people(engine) == {"kept"}


def test_what_a_session_changed_goes_with_an_entry_that_could_not_be_written(
    writer: AuditWriter, engine: Engine, database: Path, cell: CellMaker
) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON log_hashes BEGIN SELECT RAISE(ABORT, 'full'); END")
    connection.close()

    def work(tx: Tx) -> None:
        tx.session.add(person("new"))
        tx.record(cell())

    with pytest.raises(AuditUnavailableError, match="full"):
        writer.transact(work)
    assert people(engine) == set()


def test_a_loaded_object_stays_usable_and_unchanged_by_others(writer: AuditWriter, cell: CellMaker) -> None:
    writer.transact(lambda tx: tx.session.add(person("p")))
    with ThreadPoolExecutor(3) as pool, blocked(writer) as go:

        def change(value: bytes) -> Callable[[Tx], LogPayloadKey]:
            def work(tx: Tx) -> LogPayloadKey:
                row = tx.session.exec(select(LogPayloadKey)).one()
                row.wrapped = value
                return row

            return work

        first = pool.submit(writer.transact, change(b"first"))
        while writer.waiting < 1:
            pass
        second = pool.submit(writer.transact, change(b"second"))
        while writer.waiting < 2:
            pass
        go.set()
        assert (first.result().wrapped, second.result().wrapped) == (b"first", b"second")


def test_a_locked_database_refuses_and_then_works_again(
    writer: AuditWriter, engine: Engine, keys: LogKeys, database: Path, cell: CellMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writer.append(cell()) == 0
    monkeypatch.setitem(db._REQUIRED, "busy_timeout", 50)
    engine.dispose()
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(5) as pool:
        refused = [pool.submit(writer.append, cell()) for _ in range(5)]
        for future in refused:
            with pytest.raises(AuditUnavailableError, match="database is locked"):
                future.result()
    holder.execute("ROLLBACK")
    holder.close()
    assert writer.append(cell()) == 1
    assert sound(database, keys) == 2


def test_a_failing_commit_refuses_every_unit_of_the_batch(
    writer: AuditWriter,
    engine: Engine,
    keys: LogKeys,
    database: Path,
    cell: CellMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(connection: object) -> None:
        raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

    event.listen(engine, "commit", fail)
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(AuditUnavailableError, match="disk I/O error") as refused,
    ):
        writer.transact(lambda tx: (tx.session.add(person("p")), tx.record(cell("secret words", payload="p"))))
    event.remove(engine, "commit", fail)
    assert refused.value.status == 503
    assert refused.value.next
    assert "secret words" not in caplog.text + str(refused.value.as_json())
    assert people(engine) == set()
    assert writer.append(cell()) == 0
    assert sound(database, keys) == 1


def test_a_full_queue_and_a_late_turn_are_refused(engine: Engine, keys: LogKeys, cell: CellMaker) -> None:
    writer = open_writer(engine, keys, waiting=1, timeout=0.2)
    with ThreadPoolExecutor(2) as pool, blocked(writer):
        late = pool.submit(writer.append, cell("late"))
        while writer.waiting < 1:
            pass
        with pytest.raises(AuditUnavailableError, match="too many"):
            writer.append(cell("refused"))
        with pytest.raises(AuditUnavailableError, match="did not take"):
            late.result()
    assert writer.append(cell("after")) == 0  # what was refused as late was not written afterwards
    writer.close()


def test_closing_writes_what_waits_and_then_refuses(engine: Engine, keys: LogKeys, cell: CellMaker) -> None:
    writer = open_writer(engine, keys)
    with ThreadPoolExecutor(4) as pool, blocked(writer) as go:
        waiting = [pool.submit(writer.append, cell()) for _ in range(3)]
        while writer.waiting < 3:
            pass
        closing = pool.submit(writer.close)
        while not writer._closed:
            pass
        go.set()
        closing.result()
        assert sorted(future.result() for future in waiting) == [0, 1, 2]
    with pytest.raises(AuditUnavailableError, match="closed"):
        writer.append(cell())
    writer.close()


def test_another_key_does_not_extend_the_log(
    writer: AuditWriter, engine: Engine, tmp_path: Path, cell: CellMaker
) -> None:
    writer.append(cell())
    with pytest.raises(NoteError, match="no valid signature"):
        open_writer(engine, LogKeys.create(tmp_path / "other"))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE log_head SET size = 2, edge = substr(edge, 1, 32)", "not the one that was signed"),
        ("UPDATE log_head SET edge = zeroblob(64)", "not the one that was signed"),
        ("UPDATE log_head SET note = 'none'", "not a signed note"),
        ("UPDATE log_head SET edge = x'00'", "right edge"),
        ("DELETE FROM log_head", "head is missing"),
    ],
)
def test_a_tampered_head_is_not_extended(
    writer: AuditWriter, engine: Engine, database: Path, cell: CellMaker, statement: str, words: str
) -> None:
    for _ in range(3):
        writer.append(cell())
    with sqlite3.connect(database) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(AuditUnavailableError, match=words):
        writer.append(cell())
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM log_entries")).scalar_one() == 3


@pytest.mark.parametrize(
    "statement", ['DELETE FROM log_hashes WHERE "index" = 9', "UPDATE log_hashes SET hash = x'00'"]
)
def test_a_tile_whose_hashes_are_not_all_there_does_not_become_whole(
    writer: AuditWriter, database: Path, cell: CellMaker, statement: str
) -> None:
    writer.transact(lambda tx: [tx.record(cell()) for _ in range(255)])
    with sqlite3.connect(database) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(AuditUnavailableError, match="tile 0/0 holds"):
        writer.append(cell())


@pytest.mark.parametrize("batches", [[1] * 3, [255, 1], [255, 2], [256], [300, 300], [1, 255, 1]])
def test_hashes_are_stored_singly_until_their_tile_is_whole(
    writer: AuditWriter, engine: Engine, database: Path, keys: LogKeys, cell: CellMaker, batches: list[int]
) -> None:
    for count in batches:
        writer.transact(lambda tx, count=count: [tx.record(cell()) for _ in range(count)])
        size = sound(database, keys)
        with engine.connect() as connection:
            tiles = connection.execute(text("SELECT length(hashes) FROM log_tiles WHERE level = 0")).scalars().all()
            singly = connection.execute(text('SELECT "index" FROM log_hashes ORDER BY "index"')).scalars().all()
        assert tiles == [8192] * (size // 256)
        assert singly == list(range(size // 256 * 256, size))


def test_entries_without_a_head_are_not_started_anew(
    writer: AuditWriter, engine: Engine, keys: LogKeys, database: Path, cell: CellMaker
) -> None:
    writer.append(cell())
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM log_head")
    connection.close()
    with pytest.raises(NoteError, match="no head"):
        open_writer(engine, keys)


def test_payload_keys_are_one_per_person(writer: AuditWriter, engine: Engine, cell: CellMaker) -> None:
    writer.append(cell(payload="x"))
    writer.append(cell(payload="y"))
    writer.append(cell(payload="z", payload_subject="user:other"))
    subjects = [fields["payload"]["subject"] for fields in reader.entries(engine)]
    assert subjects[1] == subjects[2] != subjects[0]
    assert people(engine) == {"user:analyst", "user:other"}


def test_text_that_is_no_unicode_is_refused(writer: AuditWriter, engine: Engine, cell: CellMaker) -> None:
    with pytest.raises(EntryRefusedError, match="Unicode"):
        writer.append(cell(payload="\ud800"))
    assert people(engine) == set()


@contextmanager
def limited_files(folder: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder whose files cannot grow beyond 800 kB until the returned function is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, hard))
    try:
        yield folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full_disk(folder: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A file system of 2 MB that is nearly full until the returned function is called."""
    place = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(place)], check=True)
    try:
        ballast = place / "ballast"
        ballast.write_bytes(bytes(1_200_000))
        yield place, ballast.unlink
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


# as root a really full file system; everywhere a limit on the files' size
DISKS = [limited_files, full_disk] if os.geteuid() == 0 else [limited_files]


@pytest.mark.parametrize("disk", DISKS)
def test_a_full_disk_refuses_loses_nothing_and_then_works_again(
    disk: Callable[[Path], object], tmp_path: Path, keys: LogKeys, cell: CellMaker
) -> None:
    with disk(tmp_path) as (folder, make_room):  # type: ignore[attr-defined]
        database = folder / "log.sqlite"
        engine = db.open_engine(database)
        db.migrate(engine)
        writer = open_writer(engine, keys)
        acknowledged = 0
        with suppress(AuditUnavailableError):
            while acknowledged < 500:
                assert writer.append(cell("x" * 20_000)) == acknowledged
                acknowledged += 1
        assert 0 < acknowledged < 500
        with pytest.raises(AuditUnavailableError, match=r"disk"):
            writer.transact(lambda tx: (tx.record(cell("y" * 60_000)), tx.record(cell("y" * 60_000))))
        make_room()
        assert writer.append(cell("after")) == acknowledged
        writer.close()
        engine.dispose()
        assert sound(database, keys) == acknowledged + 1


def test_system_entries_need_no_project(writer: AuditWriter) -> None:
    assert writer.append(Entry(action=Action.SYSTEM_START, actor="system:control")) == 0
