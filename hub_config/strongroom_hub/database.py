"""Control's database: how it is opened, who may write, and its migrations.

SQLite in WAL mode with `synchronous=FULL`, or PostgreSQL (`postgres`): a transaction that was acknowledged survives
a power cut. Every connection is read-only unless it was opened with `writing`, which the audit writer alone uses: no
state can change without passing through the unit of work that also records it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Dialect, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from strongroom_hub import postgres
from strongroom_hub.config import Instance

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
# SQLite's result codes that say "this statement is wrong"; all others say "this database cannot be written now"
_STATEMENT_CODES = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
}
_PRIMARY_CODE = 0xFF


def open_engine(place: Path | str, password: str = "") -> Engine:
    """An engine on the SQLite file at `place` (made 0600 if missing), or on the PostgreSQL database of that URL.

    Raises RuntimeError when the database cannot give the required durability, and sqlalchemy's OperationalError
    when it cannot be opened.
    """
    if isinstance(place, str):
        engine = postgres.engine(place, password)
    else:
        place.touch(mode=0o600)
        engine = create_engine(f"sqlite:///{place}", hide_parameters=True)
        event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with engine.connect():
        pass  # asserts the settings now, not at the first request
    return engine


def open_for(instance: Instance) -> Engine:
    """The database of an instance. Raises OSError for a password that cannot be read, and as `open_engine`."""
    if not instance.database_url:
        return open_engine(instance.database)
    file = instance.database_password
    return open_engine(instance.database_url, file.read_text(encoding="utf-8").strip() if file is not None else "")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write and holds the write lock from its start; committed at the end of the block."""
    with writing_connection(engine) as connection, connection.begin():
        if _is_postgres(connection):
            postgres.alone(driver_of(connection))
        yield connection


def writing_connection(engine: Engine) -> Connection:
    """A connection each of whose transactions is as `writing` makes them. Raises sqlalchemy's errors."""
    return engine.connect().execution_options(**{_WRITES: True})


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction of a `writing_connection`, begun and ended at the driver; committed at the end of the block.

    sqlalchemy's own costs as much as SQLite's: it joins this one where a session or a query of its own asks for it.
    Raises sqlalchemy's errors and the driver's.
    """
    _begin(connection)
    try:
        yield
        if connection.in_transaction():
            connection.commit()
        else:
            driver_of(connection).commit()
    except BaseException:
        with suppress(SQLAlchemyError, connection.dialect.loaded_dbapi.Error):  # what came first is what is told
            roll_back(connection)
        raise


def roll_back(connection: Connection) -> None:
    """Undo all that a `transaction` has done so far."""
    if connection.in_transaction():
        connection.rollback()
    else:
        driver_of(connection).rollback()


class Statement:
    """SQL with `:name` values for the paths that every cell takes: compiled once for each kind of database.

    It goes straight to the driver inside the connection's transaction. Values go in as they are and come back as the
    driver gives them: times are text (`times.iso`), JSON is text. Raises the driver's own errors (`driver_error`).
    """

    def __init__(self, sql: str, *, locks: bool = False) -> None:
        """`locks`: the rows it finds are this transaction's until it ends (SQLite's transaction has all anyway)."""
        self._sql = sql
        self._locks = locks
        self._compiled: dict[str, tuple[str, list[str] | None]] = {}

    def __call__(self, connection: Connection, **values: Any) -> Any:
        """Execute once; the answer is the driver's cursor. Raises KeyError for a value that is missing."""
        sql, order = self._for(connection)
        return driver_of(connection).execute(sql, _arranged(values, order))

    def many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Execute for each row, of two values at least. Raises as a call does."""
        sql, order = self._for(connection)
        many = rows if order is None else map(itemgetter(*order), rows)
        driver_of(connection).cursor().executemany(sql, many)

    def _for(self, connection: Connection) -> tuple[str, list[str] | None]:
        """The SQL as the driver wants it, and the order of its values (None where it takes them by name)."""
        dialect = connection.dialect
        found = self._compiled.get(dialect.name)
        if found is None:
            locks = " FOR UPDATE" if self._locks and dialect.name == postgres.NAME else ""
            compiled = text(self._sql + locks).compile(dialect=dialect)
            order = getattr(compiled, "positiontup", None)
            found = self._compiled[dialect.name] = (str(compiled), order)
        return found


def _arranged(values: Mapping[str, Any], order: list[str] | None) -> Any:
    return values if order is None else [values[name] for name in order]


def driver_of(connection: Connection) -> Any:
    """The driver's own connection, for what must not cost more than the database itself does."""
    return connection.connection.dbapi_connection


def in_one_go(connection: Connection) -> AbstractContextManager[Any]:
    """Statements inside are sent together where each would wait for the network; errors may come at the end."""
    return driver_of(connection).pipeline() if _is_postgres(connection) else nullcontext()


def driver_error(error: BaseException, dialect: Dialect) -> BaseException | None:
    """The driver's own error behind `error`, whether sqlalchemy wrapped it or not; None where it is none."""
    if isinstance(error, DBAPIError):
        return error.orig
    return error if isinstance(error, dialect.loaded_dbapi.Error) else None


def database_failed(error: BaseException, dialect: Dialect) -> bool:
    """Whether the database itself failed, and not what was asked of it: then its transaction is good for nothing."""
    told = driver_error(error, dialect)
    code = getattr(told, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY_CODE not in _STATEMENT_CODES
    driver: Any = dialect.loaded_dbapi
    return isinstance(told, (driver.OperationalError, driver.InterfaceError, driver.InternalError))


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == postgres.NAME


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
    driver = driver_of(connection)
    if writes and _in_transaction(connection, driver):
        return  # sqlalchemy joins a `transaction`
    if _is_postgres(connection):
        driver.read_only = not writes
        return  # the driver begins with the first statement
    if connection.info.get(_WRITES) is not writes:
        driver.execute(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
        connection.info[_WRITES] = writes
    driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")


def _in_transaction(connection: Connection, driver: Any) -> bool:
    if _is_postgres(connection):
        return bool(driver.info.transaction_status)
    return bool(driver.in_transaction)
