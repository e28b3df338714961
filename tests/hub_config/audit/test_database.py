from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, OperationalError
from strongroom_hub import database as db
from strongroom_hub.audit.entries import Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.store import open_database
from strongroom_hub.audit.verify import verify
from strongroom_hub.audit.writer import AuditWriter, open_writer


def test_every_connection_is_durable_and_keeps_no_erased_data(engine: Engine, database: Path) -> None:
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            answers = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in db._REQUIRED}
            assert answers == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "secure_delete": 1,
                "busy_timeout": db.BUSY_TIMEOUT_MS,
            }
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_a_database_that_does_not_give_the_durability_is_refused(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(db._REQUIRED, "synchronous", 17)  # SQLite answers with another value
    with pytest.raises(RuntimeError, match="synchronous"):
        db.open_engine(database)


def test_only_the_writing_transaction_can_write(engine: Engine) -> None:
    with db.writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    with engine.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("INSERT INTO t VALUES (1)"))
    with db.writing(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (2)"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT a FROM t")).scalars().all() == [2]


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        before = connection.execute(text("SELECT sql FROM sqlite_master ORDER BY name")).all()
    db.migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT sql FROM sqlite_master ORDER BY name")).all() == before


@pytest.mark.parametrize("size", [0, 3, 255, 256, 300])
def test_a_log_whose_open_tile_was_stored_together_is_gone_on_with(
    engine: Engine, database: Path, keys: LogKeys, cell: Callable[..., Entry], size: int
) -> None:
    writer = open_writer(engine, keys)
    if size:
        writer.transact(lambda tx: [tx.record(cell()) for _ in range(size)])
    with sqlite3.connect(database) as connection:  # as it was before log_hashes
        loose = connection.execute('SELECT hash FROM log_hashes ORDER BY "index"').fetchall()
        if loose:
            together = b"".join(one for (one,) in loose)
            connection.execute("INSERT INTO log_tiles VALUES (0, ?, ?)", (size // 256, together))
        connection.execute("DROP TABLE log_hashes")
        connection.execute("UPDATE alembic_version SET version_num = '0020'")
    connection.close()
    db.migrate(engine)
    for _ in range(3):
        writer.append(cell())
    writer.close()
    with open_database(database) as log:
        report = verify(log, keys.verifier)
    assert (report.findings, report.size) == ([], size + 3)


def test_the_migrated_tables_are_those_of_the_models(engine: Engine, database: Path, tmp_path: Path) -> None:
    from sqlmodel import SQLModel  # noqa: PLC0415 - local: its metadata is what is compared
    from strongroom_hub.audit import models  # noqa: F401, PLC0415

    tables = [table for name, table in SQLModel.metadata.tables.items() if name.startswith("log_")]
    fresh = db.open_engine(tmp_path / "fresh.sqlite")
    with db.writing(fresh) as connection:
        SQLModel.metadata.create_all(connection, tables=tables)
    fresh.dispose()

    def shape(path: Path) -> dict[str, list[tuple[object, ...]]]:
        connection = sqlite3.connect(path)
        try:
            found = {}
            for table in tables:
                found[table.name] = connection.execute(f"PRAGMA table_info({table.name})").fetchall()
                indexes = connection.execute(f"PRAGMA index_list({table.name})").fetchall()
                found[table.name] += sorted(row[1:3] for row in indexes)
            return found
        finally:
            connection.close()

    assert len(tables) == 10
    assert shape(database) == shape(tmp_path / "fresh.sqlite")


@pytest.mark.parametrize("statement", ["UPDATE log_entries SET actor = 'user:x'", "DELETE FROM log_entries"])
def test_the_database_itself_refuses_to_change_entries(
    statement: str, writer: AuditWriter, engine: Engine, cell: object
) -> None:
    writer.append(cell())  # type: ignore[operator]
    with pytest.raises(IntegrityError, match="only ever appended"), db.writing(engine) as connection:
        connection.execute(text(statement))
