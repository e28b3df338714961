"""The whole day again, with control's data and the log in PostgreSQL; then a restart, and a copy of the database."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator

import pytest
from strongroom_hub.config import Instance
from strongroom_hub.database import open_for
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.day import STEPS, walk

from tests.postgres_server import PostgresServer, created
from tests.real import People, fresh_instance

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with created() as server:
        server.root.chmod(0o755)  # control, whose uid is another, goes through it to the socket
        server.start()
        yield server


@pytest.fixture(scope="module")
def on_postgres(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    url = server.database()
    file = server.root / "control-password"

    def change(instance: Instance) -> Instance:
        file.touch(mode=0o600)
        file.write_text(server.password)
        if instance.uids is not None:
            shutil.chown(file, instance.uids.control)
        return dataclasses.replace(instance, database_url=url, database_password=file)

    with fresh_instance(change) as running:
        yield running


def test_the_whole_day_is_in_postgresql(on_postgres: RunningInstance) -> None:
    """Login, project, cells, a request and its grant, reads, an export with its review, the log verified, new rules."""
    told: list[str] = []
    walk(on_postgres.instance, on_postgres.accounts, told.append)
    assert len(told) == len(STEPS)
    assert not on_postgres.instance.database.exists()


def test_what_was_there_is_there_after_a_restart(on_postgres: RunningInstance) -> None:
    engine = open_for(on_postgres.instance)
    on_postgres.stop()
    with engine.connect() as connection:
        (before,) = connection.exec_driver_sql("SELECT size FROM log_head").one()
    on_postgres.start()
    people = People(on_postgres)
    try:
        page = people.at_console("auditor").console("GET", "audit/entries", None, limit=200)
    finally:
        people.close()
    actions = {entry["action"] for entry in page["entries"] if entry["index"] >= before}
    assert {"control:system:start", "hub:user:login"} <= actions
    engine.dispose()
