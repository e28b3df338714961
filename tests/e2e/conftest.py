"""One real instance for all end-to-end tests: hub, control, vault, demo data, on free ports in a folder of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.person import Person, Server

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def running() -> Iterator[RunningInstance]:
    home = os.environ.get("STRONGROOM_TEST_HOME", "")
    assert home, (
        "STRONGROOM_TEST_HOME is not set: run these tests with `make test`, which sets up the runtime environments"
    )
    with RunningInstance.fresh(Path(home)) as instance:
        yield instance


class People:
    """Logs people in, once each: a one-time code counts once."""

    def __init__(self, running: RunningInstance) -> None:
        self.running = running
        self.known: dict[str, Person] = {}
        self.servers: dict[tuple[str, str], Server] = {}

    def fresh(self, name: str) -> Person:
        account = self.running.accounts[name]
        instance = self.running.instance
        return Person(instance.public_url, str(instance.tls_dir / "ca.pem"), name, account.password, account.otp_secret)

    def __getitem__(self, name: str) -> Person:
        if name not in self.known:
            self.known[name] = self.fresh(name)
            self.known[name].login()
        return self.known[name]

    def server(self, name: str, project: str) -> Server:
        if (name, project) not in self.servers:
            self.servers[name, project] = self[name].open_project(project)
        return self.servers[name, project]

    def close(self) -> None:
        for person in self.known.values():
            person.http.close()


@pytest.fixture(scope="session")
def people(running: RunningInstance) -> Iterator[People]:
    everybody = People(running)
    yield everybody
    everybody.close()
