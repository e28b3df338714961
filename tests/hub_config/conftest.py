from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `import enclave`: shared by the control service's test folders

from enclave import Clock, Enclave, Vault, make_instance, open_enclave
from strongroom_hub.control import setup

from tests.postgres_server import PostgresServer, created


@pytest.fixture
def enclave(tmp_path: Path) -> Iterator[Enclave]:
    """A control service with the default policy and nothing else."""
    instance = make_instance(tmp_path)
    setup.create(instance)
    made = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    yield made
    made.close()


@pytest.fixture
def cardio(enclave: Enclave) -> Enclave:
    """With project cardio and the confidential dataset health/randhie."""
    enclave.project()
    enclave.dataset()
    return enclave


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests; each has a database of its own."""
    with created() as server:
        server.start()
        yield server


@pytest.fixture
def cardio_on_postgres(postgres: PostgresServer, tmp_path: Path) -> Iterator[Enclave]:
    """As `cardio`, with control's data in PostgreSQL."""
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(postgres.password)
    instance = make_instance(tmp_path, database_url=postgres.database(), database_password=password)
    setup.create(instance)
    made = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    made.project()
    made.dataset()
    yield made
    made.close()
