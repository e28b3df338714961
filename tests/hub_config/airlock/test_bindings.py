"""What approvals are worth when the database itself was changed behind the service's back: nothing."""

from __future__ import annotations

import pytest
from desk import export, reading, vote
from enclave import Caller, Enclave
from sqlmodel import col, select
from strongroom_hub.airlock.models import Export, ExportFile, Vote
from strongroom_hub.airlock.rules import Verdict
from strongroom_hub.problems import Problem


@pytest.fixture
def server(cardio: Enclave) -> Caller:
    return reading(cardio)[0]


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def test_an_own_approval_in_the_database_does_not_count(cardio: Enclave, server: Caller) -> None:
    """Though its author may review, and though it is bound to exactly these files."""
    made = export(cardio, server)
    cardio.add_policy("g, user:analyst, role:steward\n")
    vote(cardio, "steward", made["id"])

    def usurp(tx) -> None:
        (given,) = tx.session.exec(select(Vote).where(Vote.export == made["id"])).all()
        fields = {**given.model_dump(exclude={"id"}), "reviewer": "analyst", "verdict": Verdict.APPROVE}
        tx.session.delete(given)
        tx.session.flush()
        tx.session.add(Vote(**fields))

    cardio.writer.transact(usurp)
    assert refused(server, "POST", f"exports/{made['id']}/download").slug == "approvals-void"
    assert cardio.entries("control:export:release") == []


@pytest.mark.parametrize("field", ["sha256", "name"])
def test_a_file_changed_after_the_approval_voids_it(cardio: Enclave, server: Caller, field: str) -> None:
    made = export(cardio, server)
    vote(cardio, "steward", made["id"])

    def swap(tx) -> None:
        (file,) = tx.session.exec(select(ExportFile).where(col(ExportFile.export) == made["id"])).all()
        setattr(file, field, "f" * 64)
        tx.session.add(file)

    cardio.writer.transact(swap)
    assert refused(server, "POST", f"exports/{made['id']}/download").slug == "approvals-void"
    assert cardio.entries("control:export:release") == []


def test_a_state_that_was_set_by_hand_releases_nothing(cardio: Enclave, server: Caller) -> None:
    made = export(cardio, server)

    def approve(tx) -> None:
        found = tx.session.get(Export, made["id"])
        found.state = "approved"
        tx.session.add(found)

    cardio.writer.transact(approve)
    assert refused(server, "POST", f"exports/{made['id']}/download").slug == "approvals-void"
    assert server("GET", "exports")["exports"][0]["state"] == "in_review"
