"""What must never both come about, once more where control's data is in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from enclave import Clock, Enclave, Vault, make_instance, open_enclave
from strongroom_hub.control import setup

from tests.hub_config.audit.servers import PostgresServer, programs
from tests.hub_config.policies import test_guards as guards


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer(programs())
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def cardio(server: PostgresServer, tmp_path: Path) -> Iterator[Enclave]:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(server.password)
    instance = make_instance(tmp_path, database_url=server.database(), database_password=password)
    setup.create(instance)
    made = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    made.project()
    made.dataset()
    yield made
    made.close()


test_a_new_guard = guards.test_a_new_guard_is_tried_on_the_grants_that_there_are
test_a_guard_after_the_look = guards.test_a_guard_that_comes_into_force_after_the_look_stops_the_grant
test_a_grant_after_the_look = guards.test_a_grant_that_is_made_after_the_look_stops_the_guard
test_the_last_look_inside = guards.test_where_something_is_added_at_each_look_the_last_one_is_inside_the_transaction
test_both_in_one_transaction = guards.test_a_grant_and_a_guard_against_it_in_one_transaction_are_never_both_made
test_nobody_waits = guards.test_nobody_waits_while_guards_are_asked_about_a_grant
test_two_grants_at_once = guards.test_two_grants_at_once_are_looked_at_together
