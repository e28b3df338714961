"""The log in PostgreSQL: the same promises as in SQLite, and several processes that write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session, SQLModel, select
from strongroom_hub import database as db
from strongroom_hub.audit import erasure, reader, store
from strongroom_hub.audit.entries import Entry, EntryRefusedError
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.models import LogPayloadKey
from strongroom_hub.audit.verify import verify
from strongroom_hub.audit.words import WordIndex
from strongroom_hub.audit.writer import AuditUnavailableError, Tx, open_writer
from strongroom_hub.config import Instance

from tests.postgres_server import PostgresServer

CellMaker = Callable[..., Entry]
SCRIPT = Path(__file__).with_name("writing_process.py")


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def engine(postgres: PostgresServer, url: str) -> Iterator[Engine]:
    engine = db.open_engine(url, postgres.password)
    db.migrate(engine)
    yield engine
    engine.dispose()


def sound(engine: Engine, keys: LogKeys) -> int:
    """The size of the log, after asserting that it verifies."""
    with store.open_postgres(engine) as log:
        report = verify(log, keys.verifier)
    assert report.findings == []
    return report.size


def person(name: str) -> LogPayloadKey:
    return LogPayloadKey(subject=name, person=name, wrapped=b"")


def test_units_share_transactions_and_a_failing_one_takes_nothing_with_it(
    engine: Engine, keys: LogKeys, cell: CellMaker
) -> None:
    commits = []
    event.listen(engine, "commit", commits.append)
    writer = open_writer(engine, keys)
    writer.transact(lambda tx: tx.session.add(person("taken")))

    def good(tx: Tx) -> int:
        return tx.record(cell("good", payload="text"))

    def clashes(tx: Tx) -> None:
        tx.record(cell("clash"))
        tx.session.add(person("taken"))

    def bad_statement(tx: Tx) -> None:
        tx.record(cell("bad"))
        tx.session.execute(text("SELECT * FROM no_such_table"))

    def too_large(tx: Tx) -> None:
        tx.record(cell("x" * 70_000))

    def attempt(work: Callable[[Tx], object]) -> object:
        try:
            return writer.transact(work)
        except (IntegrityError, EntryRefusedError, DBAPIError) as error:
            return type(error)

    works = [good, clashes, good, bad_statement, too_large] * 40
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(attempt, works))
    writer.close()
    assert sorted(one for one in outcomes if isinstance(one, int)) == list(range(80))
    assert outcomes.count(IntegrityError) == outcomes.count(EntryRefusedError) == 40
    assert len(commits) < 150
    with Session(engine) as session:
        assert {row.person for row in session.exec(select(LogPayloadKey))} == {"taken", "user:analyst"}
    assert sound(engine, keys) == 80
    assert reader.payload(engine, keys, 3) == "text"


def test_several_processes_write_one_log(postgres: PostgresServer, engine: Engine, url: str, keys_dir: Path) -> None:
    keys = LogKeys.load(keys_dir)
    password = keys_dir.parent / "password"
    password.write_text(postgres.password)
    command = [sys.executable, str(SCRIPT), url, str(keys_dir), "4", "100", str(password)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=120)[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sorted(int(line.split()[0]) for lines in told for line in lines) == list(range(300))
    assert sound(engine, keys) == 300


def test_migrations_make_the_models_tables_and_again_change_nothing(engine: Engine) -> None:
    db.migrate(engine)
    found = inspect(engine)
    for name, table in SQLModel.metadata.tables.items():
        kinds = {column["name"]: column for column in found.get_columns(name)}
        assert kinds.keys() == {column.name for column in table.columns}, name
        for column in table.columns:
            assert kinds[column.name]["nullable"] == bool(column.nullable), (name, column.name)
    assert str(next(c["type"] for c in found.get_columns("shown") if c["name"] == "bytes")) == "BIGINT"


@pytest.mark.parametrize(
    "statement", ["UPDATE log_entries SET actor = 'user:x'", "DELETE FROM log_entries", "TRUNCATE log_entries"]
)
def test_the_database_itself_refuses_to_change_entries(
    statement: str, engine: Engine, keys: LogKeys, cell: CellMaker
) -> None:
    writer = open_writer(engine, keys)
    writer.append(cell())
    writer.close()
    with pytest.raises(DBAPIError, match="only ever appended"), db.writing(engine) as connection:
        connection.execute(text(statement))


def test_only_the_writing_transaction_can_write(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DBAPIError, match="read-only"):
        connection.execute(text("INSERT INTO log_tiles VALUES (0, 0, '')"))
    with db.writing(engine) as connection:
        connection.execute(text("INSERT INTO log_tiles VALUES (0, 0, '')"))
    with engine.connect() as connection, pytest.raises(DBAPIError, match="read-only"):
        connection.execute(text("DELETE FROM log_tiles"))


def test_a_tampered_head_is_not_extended(engine: Engine, keys: LogKeys, cell: CellMaker) -> None:
    writer = open_writer(engine, keys)
    writer.append(cell())
    with db.writing(engine) as connection:
        connection.execute(text("UPDATE log_head SET size = 3"))
    with pytest.raises(AuditUnavailableError, match="right edge"):
        writer.append(cell())
    writer.close()
    with store.open_postgres(engine) as log:
        assert {finding.part for finding in verify(log, keys.verifier).findings} == {"head"}


def test_a_lost_connection_refuses_and_the_next_write_has_another(
    engine: Engine, keys: LogKeys, cell: CellMaker
) -> None:
    writer = open_writer(engine, keys)
    assert writer.append(cell()) == 0
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"))
    with pytest.raises(AuditUnavailableError):
        writer.append(cell())
    assert writer.append(cell()) == 1
    writer.close()
    assert sound(engine, keys) == 2


def test_a_lock_that_is_held_too_long_refuses(
    engine: Engine, keys: LogKeys, cell: CellMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom_hub.postgres.LOCK_SECONDS", 1)
    engine.dispose()
    writer = open_writer(engine, keys)
    writer.append(cell())
    with db.writing(engine) as holder:
        holder.execute(text("SELECT * FROM log_head FOR UPDATE"))
        with pytest.raises(AuditUnavailableError, match="lock timeout"):
            writer.append(cell())
    assert writer.append(cell()) == 1
    writer.close()


def test_an_erased_key_is_gone_from_the_table(engine: Engine, keys: LogKeys, cell: CellMaker) -> None:
    writer = open_writer(engine, keys)
    writer.append(cell(payload="x"))
    writer.close()
    assert erasure._forget_deleted(engine)


def test_searching_and_texts(engine: Engine, keys: LogKeys, cell: CellMaker) -> None:
    writer = open_writer(engine, keys)
    for number in range(300):
        writer.append(cell(payload="needle in hay" if number % 100 == 0 else "hay", object=f"o{number % 2}"))
    index = WordIndex(engine, keys)
    while index.step(writer):
        pass
    with engine.connect() as connection:
        assert index.candidates(connection, {"needle", "hay"}, None, 10) == [200, 100, 0]
        assert index.candidates(connection, {"needle"}, 200, 1) == [100]
    found = reader.entries(engine, object="o1", limit=3)
    assert [entry["index"] for entry in found] == [299, 297, 295]
    assert [entry["index"] for entry in reader.entries_at(engine, [5, 299, 7])] == [5, 299, 7]
    proven = reader.proof(engine, 42)
    assert proven.check(keys.verifier)["index"] == 42
    writer.close()


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_loses_what_it_acknowledged_is_refused(own_postgres: PostgresServer, setting: str) -> None:
    own_postgres.start(**{setting: "off"})
    with pytest.raises(RuntimeError, match=f"{setting} = off"):
        db.open_engine(own_postgres.database(), own_postgres.password)


def test_the_password_is_in_a_file_and_nowhere_else(postgres: PostgresServer, url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds a password") as refused:
        db.open_engine(url.replace("@", ":hunter2@", 1))
    assert "hunter2" not in str(refused.value)
    for wrong in ("mysql://x@y/z", "not a url"):
        with pytest.raises(ValueError, match="URL"):
            db.open_engine(wrong)
    file = tmp_path / "password"
    file.write_text(postgres.password + "\n")
    names = ("data", "run")
    places = {name: tmp_path / name for name in names}
    places["data"].mkdir()
    made = Instance(
        **places, public_url="https://x/", proxy_api_port=1, hub_port=2, control_port=3, node="", proxy_script="",
        server_python="", kernel_prefix="", database_url=url, database_password=file,
    )  # fmt: skip
    made.save()
    assert postgres.password not in made.path.read_text()
    loaded = Instance.load(made.path)
    assert loaded == made
    engine = db.open_for(loaded)
    assert postgres.password not in repr(engine) + str(engine.url)
    engine.dispose()
    file.write_text("wrong")
    with pytest.raises(DBAPIError) as failed:
        db.open_for(loaded)
    assert postgres.password not in str(failed.value)
    assert isinstance(failed.value.orig, psycopg.OperationalError)
    with suppress(DBAPIError):
        engine.dispose()
