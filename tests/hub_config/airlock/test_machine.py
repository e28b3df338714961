"""Whatever people do in whatever order: nobody decides on their own export, and nothing leaves without its votes."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from desk import export, reading, vote
from enclave import Clock, Enclave, Vault, make_instance, open_enclave
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from strongroom_hub.control import setup
from strongroom_hub.problems import Problem

REVIEWERS = ("steward", "steward2", "steward3")
PEOPLE = (*REVIEWERS, "requester")
VERDICTS = ("approve", "approve", "approve", "reject", "changes")


class Airlock(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        instance = make_instance(Path(self.folder.name))
        setup.create(instance)
        self.enclave: Enclave = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
        self.enclave.project()
        # the requester is a reviewer too: of others' exports
        self.enclave.add_policy(
            "g, user:requester, role:analyst\ng, user:requester, project:cardio\ng, user:requester, role:steward\n"
            "g, user:steward3, role:steward\n"
        )
        self.enclave.dataset("surveys/fair", "secret")
        self.server, _ = reading(self.enclave, "surveys/fair", "requester")
        self.edits = itertools.count(1)
        self.approvals: set[str] = set()
        self.released = False
        self.ended = False

    @initialize()
    def ask(self) -> None:
        self.id = export(self.enclave, self.server)["id"]

    @property
    def state(self) -> str:
        (one,) = self.server("GET", "exports")["exports"]
        return str(one["state"])

    @rule(user=st.sampled_from(PEOPLE), verdict=st.sampled_from(VERDICTS))
    def decide(self, user: str, verdict: str) -> None:
        before = self.state
        try:
            after = vote(self.enclave, user, self.id, verdict)["state"]
        except Problem:
            assert self.state == before
            return
        assert user != "requester"
        assert before == "in_review"
        assert user not in self.approvals
        if verdict == "approve":
            self.approvals.add(user)
            assert (after == "approved") is (len(self.approvals) >= 2)
        else:
            assert after == {"reject": "rejected", "changes": "returned"}[verdict]
            self.ended = True

    @rule()
    def edit_policy(self) -> None:
        self.enclave.add_policy(f"# edit {next(self.edits)}\n")
        self.approvals.clear()

    @rule()
    def withdraw(self) -> None:
        try:
            self.server("POST", f"exports/{self.id}/withdraw")
        except Problem:
            return
        assert not self.released
        self.ended = True

    @rule()
    def download(self) -> None:
        try:
            self.server("POST", f"exports/{self.id}/download")
        except Problem:
            return
        assert self.released or (len(self.approvals) >= 2 and not self.ended)
        self.released = True

    @invariant()
    def a_release_is_for_good_and_alone(self) -> None:
        releases = self.enclave.entries("control:export:release")
        assert len(releases) == int(self.released)
        if self.released:
            assert self.state == "released"
            assert len(releases[0]["detail"]["reviewers"]) >= 2
            assert "requester" not in releases[0]["detail"]["reviewers"]

    def teardown(self) -> None:
        self.enclave.close()
        self.folder.cleanup()


TestAirlock = Airlock.TestCase
TestAirlock.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
