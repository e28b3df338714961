"""Guards hold against what the database adds, too: grants, and datasets that are new or get another label."""

from __future__ import annotations

from typing import Any

import pytest
from enclave import Enclave
from strongroom_hub.catalog.service import active_view
from strongroom_hub.problems import Problem

NO_AGE = """
[nobody-reads-age]
kind = "never"
may = ["read"]
on = "health/randhie#age"
why = "ages stay here"
"""
NOT_BOTH = """
[no-access-by-approvers]
kind = "never-both"
may = ["read", "approve-access"]
why = "nobody opens data for themselves"
"""
NO_TRAINING = """
[no-training]
kind = "never"
may = ["train"]
on = "lab/new#name"
why = "no contract for that"
"""
WHY = {"purpose": "To learn."}
RELABEL = "datasets/health/randhie/1/relabel"


def refused(call: Any, *arguments: Any, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def guarded(enclave: Enclave, guards: str, rows: str = "") -> None:
    """The guards beside the files' own; they must be in force."""
    before = enclave.context.policy.digest
    with (enclave.instance.policy_dir / "guards.toml").open("a", encoding="utf-8") as file:
        file.write(guards)
    enclave.add_policy(rows)
    assert enclave.context.policy.state()["problems"] == []
    assert enclave.context.policy.digest != before


def test_a_grant_that_breaks_a_guard_is_not_made(cardio: Enclave) -> None:
    guarded(cardio, NO_AGE)
    server = cardio.server()
    problem = refused(cardio.grant, server)
    assert (problem.status, problem.slug) == (409, "guard-broken")
    (told,) = [line for line in problem.why if "nobody-reads-age" in line]
    assert told.startswith("guards.toml:")
    assert "user:analyst may read health/randhie#age (confidential) in cardio by grant-" in told
    assert told.endswith("ages stay here")
    assert "administrator" in problem.next
    # nothing of it remains, and the request waits for a decision that can be made
    assert cardio.entries("control:grant:create") == cardio.entries("control:access-request:approve") == []
    (waiting,) = cardio.person("steward")("GET", "access-requests")["access_requests"]
    assert waiting["grant"] is None
    path = f"access-requests/{waiting['id']}/decision"
    done = cardio.person("steward")("POST", path, {"verdict": "approve", "columns": ["visits"]})
    assert done["grant"]["columns"] == ["visits"]


def test_a_grant_may_break_a_guard_together_with_a_rule(cardio: Enclave) -> None:
    """One permission by a rule of the files, the other by a grant."""
    guarded(
        cardio,
        NOT_BOTH,
        "p, HELPS, user:analyst2, approve-access, health/randhie, *, , , allow, helps out\n"
        "g, user:analyst2, clearance:confidential\n",
    )
    problem = refused(cardio.grant, cardio.server("analyst2"))
    assert problem.slug == "guard-broken"
    assert "no-access-by-approvers" in problem.why[0]
    assert "by HELPS (policy.csv:" in problem.why[0]
    assert "by grant-" in problem.why[0]
    cardio.grant(cardio.server("analyst"))  # others are not held up


def test_a_grant_is_tried_against_what_rows_will_say_while_it_holds(cardio: Enclave) -> None:
    guard = NO_AGE.replace("on = ", 'who = "role:auditor"\non = ')
    guarded(cardio, guard, "g, user:analyst, role:auditor, 2026-12-10, 2026-12-12\n")
    asked = cardio.server()("POST", "access-requests", {"dataset": "health/randhie", "columns": None, "days": 30} | WHY)
    path = f"access-requests/{asked['id']}/decision"
    problem = refused(cardio.person("steward"), "POST", path, {"verdict": "approve"})
    assert "from 2026-12-10" in problem.why[0]
    cardio.person("steward")("POST", path, {"verdict": "approve", "days": 5})


def test_without_a_policy_no_grant_is_called_harmless(cardio: Enclave) -> None:
    with cardio.context.reading() as session:
        view = active_view(session, "health/randhie")
        assert view is not None
        assert cardio.context.policy.broken_guards(session, view.known, user="analyst") == ()
        cardio.context.policy._force = None
        (found,) = cardio.context.policy.broken_guards(session, view.known, user="analyst")
    assert "no valid policy" in found.message


def test_a_dataset_that_breaks_a_guard_does_not_become_visible(enclave: Enclave) -> None:
    enclave.project()
    guarded(enclave, NO_TRAINING, "p, LAB, role:analyst, train, tag:quasi-identifier, *, , , allow, why\n")
    problem = refused(enclave.dataset, "lab/new", "public", ("name",), {"name": ["quasi-identifier"]})
    assert (problem.status, problem.slug) == (409, "guard-broken")
    assert problem.why[0].startswith("guards.toml:")
    assert "user:analyst" in problem.why[0]
    assert "may train lab/new#name (public) outside projects by LAB (policy.csv:" in problem.why[0]
    assert enclave.operator("GET", "datasets/lab/new/1")["state"] == "signed"
    assert enclave.server()("GET", "catalog")["datasets"] == []
    enclave.edit_policy("train, tag:quasi-identifier", "train, tag:sensitive")
    enclave.context.policy.poll(enclave.writer)
    enclave.operator("POST", "datasets/lab/new/1/activate")  # the same version, once the rule is mended


def test_a_lower_label_that_breaks_a_guard_is_refused(cardio: Enclave) -> None:
    guarded(cardio, NO_AGE)
    asked = cardio.person("steward")("POST", RELABEL, {"label": "public", "why": "Aggregated."})
    path = f"relabellings/{asked['id']}/decision"
    problem = refused(cardio.person("steward2"), "POST", path, {"verdict": "approve"})
    assert (problem.status, problem.slug) == (409, "guard-broken")
    assert "may read health/randhie#age (public)" in problem.why[0]
    assert "by P1 (policy.csv:" in problem.why[0]
    assert cardio.operator("GET", "datasets/health/randhie/1")["label"] == "confidential"
    assert cardio.person("steward2")("POST", path, {"verdict": "refuse"})["state"] == "refused"


def test_a_higher_label_holds_and_says_which_guard_it_breaks(enclave: Enclave) -> None:
    enclave.project()
    enclave.dataset("lab/new", "internal", ("name",))
    rows = "p, LAB, role:analyst, train, label:confidential, *, , , allow, why\n"
    guarded(enclave, NO_TRAINING, rows)
    done = enclave.operator("POST", "datasets/lab/new/1/relabel", {"label": "confidential", "why": "It names people."})
    assert done["state"] == "done"
    assert enclave.operator("GET", "datasets/lab/new/1")["label"] == "confidential"
    told = done["broken_guards"][0]
    assert "the guard no-training is broken: user:analyst" in told
    assert enclave.entries("control:dataset:relabel")[-1]["detail"]["broken_guards"] == done["broken_guards"]
