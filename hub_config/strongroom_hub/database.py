"""Control's database: how it is opened, who may write, and its migrations.

SQLite in WAL mode with `synchronous=FULL`: a transaction that was acknowledged survives a power cut. Every
connection is read-only unless it was opened with `writing`, which the audit writer alone uses: no state can change
without passing through the unit of work that also records it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 10_000
_WRITES = "strongroom_writes"
# what each connection must answer: anything else would lose acknowledged entries or keep erased ones
_REQUIRED: dict[str, Any] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "foreign_keys": 1,
    "secure_delete": 1,
    "busy_timeout": BUSY_TIMEOUT_MS,
}


def open_engine(path: Path) -> Engine:
    """An engine on the SQLite file at `path` (made 0600 if missing).

    Raises RuntimeError when the database cannot give the required durability, and sqlalchemy's OperationalError
    when it cannot be opened.
    """
    path.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with engine.connect():
        pass  # asserts the settings now, not at the first request
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write and holds the write lock from its start; committed at the end of the block."""
    with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        yield connection


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest version, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _configure(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin says, not where the driver guesses
    cursor = connection.cursor()
    for pragma, value in _REQUIRED.items():
        cursor.execute(f"PRAGMA {pragma} = {value}")
    for pragma, value in _REQUIRED.items():
        cursor.execute(f"PRAGMA {pragma}")
        found = cursor.fetchone()
        if found is None or found[0] != value:
            raise RuntimeError(f"the database does not accept {pragma}={value} (it answers {found}); refusing to start")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
