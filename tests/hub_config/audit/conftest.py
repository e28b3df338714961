from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.writer import AuditWriter, open_writer
from strongroom_hub.database import migrate, open_engine

from tests.postgres_server import PostgresServer, created


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def keys_dir(tmp_path: Path, keys: LogKeys) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keys(tmp_path: Path) -> LogKeys:
    return LogKeys.create(tmp_path / "keys")


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that is not started yet, for a test that may do anything to it."""
    with created() as server:
        yield server


@pytest.fixture
def engine(database: Path) -> Iterator[Engine]:
    engine = open_engine(database)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def writer(engine: Engine, keys: LogKeys) -> Iterator[AuditWriter]:
    writer = open_writer(engine, keys)
    yield writer
    writer.close()


@pytest.fixture
def cell() -> Callable[..., Entry]:
    def make(text: str = "x", **fields: object) -> Entry:
        values = {"action": Action.CELL_BEGIN, "actor": "user:analyst", "detail": {"text": text}} | fields
        return Entry(**values)  # type: ignore[arg-type]

    return make


@pytest.fixture
def log_of(database: Path, engine: Engine, keys: LogKeys, cell: Callable[..., Entry]) -> Callable[[int], Path]:
    """Fills the database with that many entries, every seventh with a payload, and answers with its path."""

    def fill(count: int) -> Path:
        with ExitStack() as stack:
            writer = open_writer(engine, keys)
            stack.callback(writer.close)

            def work(tx: object) -> None:
                for number in range(count):
                    tx.record(  # type: ignore[attr-defined]
                        cell(f"number {number}", object=f"o/{number % 3}", payload="a = 1" if number % 7 == 0 else None)
                    )

            if count:
                writer.transact(work)
        engine.dispose()
        return database

    return fill
