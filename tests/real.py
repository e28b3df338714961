"""One real instance for tests: hub, control, vault, demo data, on free ports in a folder of its own; and its people."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom_hub.config import Instance
from strongroom_hub.internal import ControlClient
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.person import Person, Server


@contextmanager
def fresh_instance(change: Callable[[Instance], Instance] = lambda instance: instance) -> Iterator[RunningInstance]:
    home = os.environ.get("STRONGROOM_TEST_HOME", "")
    assert home, (
        "STRONGROOM_TEST_HOME is not set: run these tests with `make test`, which sets up the runtime environments"
    )
    with RunningInstance.fresh(Path(home), change=change) as instance:
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

    def at_console(self, name: str) -> Person:
        """The person with the console's page open."""
        person = self[name]
        if not person.cookie("_strongroom_xsrf"):
            person.open_console()
        return person

    def server(self, name: str, project: str, profile: str = "") -> Server:
        if (name, project) not in self.servers:
            self.servers[name, project] = self[name].open_project(project, profile)
        return self.servers[name, project]

    def restart(self, name: str, project: str, profile: str = "") -> Server:
        """Stop the server at the hub and open the project again, with the profile that is named."""
        person = self[name]
        header = {"X-XSRFToken": person.cookie("_xsrf", "/hub/")}
        answer = person.http.delete(f"/hub/api/users/{name}/servers/{project}", headers=header)
        assert answer.status_code in {202, 204}, answer.text
        self.servers.pop((name, project), None)
        return self.server(name, project, profile)

    def close(self) -> None:
        for person in self.known.values():
            person.http.close()


@contextmanager
def policy_rows(
    running: RunningInstance, rows: str, guards: str | None = None, *, instead: tuple[str, str] = ("", "")
) -> Iterator[None]:
    """The policy in force with these rows added (and with these guards in place of its own); the former afterwards.

    `instead`: words of the rows, guards and tests that there are, and what stands there for them.
    """
    policy, guarding, tests = (
        running.instance.policy_dir / name for name in ("policy.csv", "guards.toml", "tests.csv")
    )
    before = {file: file.read_text(encoding="utf-8") for file in (policy, guarding, tests)}
    now = {file: text.replace(*instead) for file, text in before.items()}
    now[policy] += f"\n{rows}\n"
    if guards is not None:
        now[guarding] = guards
    for file, text in now.items():
        file.write_text(text, encoding="utf-8")
    try:
        reload_policy(running)
        yield
    finally:
        for file, text in before.items():
            file.write_text(text, encoding="utf-8")
        reload_policy(running)


def reload_policy(running: RunningInstance) -> None:
    instance = running.instance
    state = ControlClient(instance.control_socket, instance.operator_token_file).call("POST", "policy/reload")
    assert state["state"] == "in-force", state["problems"]
