"""Guards hold against what the database adds, too: grants, and datasets that are new or get another label."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from enclave import Enclave
from strongroom_hub.catalog.service import active_view
from strongroom_hub.control import policykeeper
from strongroom_hub.control.policykeeper import LOOKS
from strongroom_hub.policies import trial
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
    enclave.operator("POST", "datasets/lab/new/1/release")  # the same version, once the rule is mended


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


# -- a policy against the grants that there are -----------------------------------------------------------------------

HELPS = "p, HELPS, user:analyst, approve-access, health/randhie, *, , , allow, helps out\n"


def added(enclave: Enclave, guards: str = "", rows: str = "") -> list[str]:
    """What keeps the files from coming into force with these guards and rows."""
    with (enclave.instance.policy_dir / "guards.toml").open("a", encoding="utf-8") as file:
        file.write(guards)
    before = enclave.context.policy.digest
    enclave.add_policy(rows)
    told = [one["message"] for one in enclave.context.policy.state()["problems"]]
    assert bool(told) == (enclave.context.policy.digest == before)
    return told


def test_a_new_guard_is_tried_on_the_grants_that_there_are(cardio: Enclave) -> None:
    grant = cardio.grant(cardio.server())["grant"]["id"]
    told = added(cardio, NO_AGE)
    assert "the guard nobody-reads-age is broken: user:analyst may read health/randhie#age (confidential)" in told[0]
    assert f"in cardio by grant-{grant}" in told[0]
    assert "a grant of the database allows it: revoke that, or write a row that denies" in told[0]
    refusal = cardio.entries("control:policy:refuse")[-1]["detail"]["problems"]
    assert f"by grant-{grant}" in refusal[0]
    cardio.person("steward")("POST", f"grants/{grant}/revoke", {"reason": "The guard."})
    assert added(cardio, rows="# once the grant is revoked\n") == []


def test_or_a_row_denies_what_the_grant_allows(cardio: Enclave) -> None:
    cardio.grant(cardio.server())
    assert added(cardio, NO_AGE) != []
    deny = "p, NO, *, read, health/randhie#age, *, , , deny, the guard\n"
    assert added(cardio, rows=deny) == []


def test_a_rule_that_breaks_a_guard_together_with_a_grant_is_refused(cardio: Enclave) -> None:
    grant = cardio.grant(cardio.server())["grant"]["id"]
    guarded(cardio, NOT_BOTH)
    (told, *_) = added(cardio, rows=HELPS)
    assert "the guard no-access-by-approvers is broken" in told
    assert "by HELPS (policy.csv:" in told
    assert f"by grant-{grant}" in told


def test_what_was_broken_before_does_not_hold_up_other_changes_and_is_told(cardio: Enclave) -> None:
    """The label rose under a grant: nothing of that is the fault of who edits the files next."""
    guard = '\n[no-secrets]\nkind = "never"\nmay = ["read"]\non = "label:secret"\nwhy = "not here"\n'
    guarded(cardio, guard, "g, user:analyst, clearance:secret\n")
    cardio.grant(cardio.server())
    done = cardio.operator("POST", RELABEL, {"label": "secret", "why": "It names people."})
    assert "no-secrets" in done["broken_guards"][0]
    assert added(cardio, rows="p, N, user:auditor, discover, label:public, *, , , allow, why\n") == []
    (note, *_) = cardio.person("admin")("GET", "policy")["checks"]["notes"]
    assert "the guard no-secrets is broken: user:analyst may read health/randhie" in note
    assert "no-secrets" in added(cardio, guard.replace("no-secrets", "no-secrets-either").replace("read", "display"))[0]


def test_a_restart_with_a_guard_that_is_broken_by_now_keeps_the_policy(cardio: Enclave) -> None:
    guarded(cardio, '\n[no-secrets]\nkind = "never"\nmay = ["read"]\non = "label:secret"\nwhy = "not here"\n',
            "g, user:analyst, clearance:secret\n")  # fmt: skip
    cardio.grant(cardio.server())
    cardio.operator("POST", RELABEL, {"label": "secret", "why": "It names people."})
    again = cardio.restarted()
    try:
        assert again.context.policy.digest == cardio.context.policy.digest
        assert again.context.policy.state()["problems"] == []
    finally:
        again.close()


def test_files_that_changed_while_the_service_was_down_are_compared_with_what_was_in_force(cardio: Enclave) -> None:
    before = cardio.context.policy.digest
    with (cardio.instance.policy_dir / "policy.csv").open("a", encoding="utf-8") as file:
        file.write("p, N, user:auditor, discover, label:public, *, , , allow, why\n")
    again = cardio.restarted()
    try:
        detail = again.entries("control:policy:activate")[-1]["detail"]
        assert detail["before"] == before
        assert any("user:auditor may now discover" in line for line in detail["changes"])
    finally:
        again.close()


# -- at the same time -------------------------------------------------------------------------------------------------


def once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, then: Any) -> list[int]:
    """After the first call of `owner.name` do `then`, as somebody else would; how often it was called."""
    calls: list[int] = []
    real = getattr(owner, name)

    def wrapped(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        first, answer = len(calls) == 1, real(*arguments, **more)
        if first:
            then()
        return answer

    monkeypatch.setattr(owner, name, wrapped)
    return calls


def test_a_guard_that_comes_into_force_after_the_look_stops_the_grant(cardio: Enclave, monkeypatch) -> None:
    calls = once(monkeypatch, cardio.context.policy, "broken_guards", lambda: guarded(cardio, NO_AGE))
    problem = refused(cardio.grant, cardio.server())
    assert problem.slug == "guard-broken"
    assert "nobody-reads-age" in problem.why[0]
    assert len(calls) == 2
    assert cardio.entries("control:grant:create") == []


def test_a_grant_that_is_made_after_the_look_stops_the_guard(cardio: Enclave, monkeypatch) -> None:
    server = cardio.server()
    calls = once(monkeypatch, policykeeper, "candidate", lambda: cardio.grant(server))
    (told, *_) = added(cardio, NO_AGE)
    assert "nobody-reads-age" in told
    assert len(calls) == 2
    assert len(cardio.entries("control:grant:create")) == 1


def test_where_something_is_added_at_each_look_the_last_one_is_inside_the_transaction(
    cardio: Enclave, monkeypatch
) -> None:
    guarded(cardio, NO_AGE)
    inside: list[bool] = []
    real = cardio.context.policy.broken_guards

    def watched(session: Any, *arguments: Any, **more: Any) -> Any:
        inside.append(cardio.writer._runs_units is not None)
        return real(session, *arguments, **more)

    monkeypatch.setattr(cardio.context.policy, "broken_guards", watched)
    restless = count()
    monkeypatch.setattr(trial, "basis", lambda _: (next(restless),))
    assert refused(cardio.grant, cardio.server()).slug == "guard-broken"
    assert inside == [False] * LOOKS + [True]
    assert cardio.entries("control:grant:create") == []


def test_an_activation_looks_inside_the_transaction_at_last(cardio: Enclave, monkeypatch) -> None:
    cardio.grant(cardio.server())
    restless = count()
    monkeypatch.setattr(policykeeper, "basis", lambda _: (next(restless),))
    assert added(cardio, rows="# a comment\n") == []
    assert "nobody-reads-age" in added(cardio, NO_AGE)[0]


def test_between_record_and_swap_no_grant_is_called_harmless(cardio: Enclave, monkeypatch) -> None:
    told: list[str] = []
    real = cardio.context.policy._adopt

    def watched(found: Any) -> None:
        with cardio.context.reading() as session:
            view = active_view(session, "health/randhie")
            assert view is not None
            told.extend(map(str, cardio.context.policy.broken_guards(session, view.known, user="analyst")))
        real(found)

    monkeypatch.setattr(cardio.context.policy, "_adopt", watched)
    guarded(cardio, NO_AGE)
    assert told == ["policy: another policy is just coming into force; try again in a moment"]
    with cardio.context.reading() as session:
        view = active_view(session, "health/randhie")
        assert view is not None
        assert cardio.context.policy.broken_guards(session, view.known, user="analyst") == ()


def test_nobody_waits_while_guards_are_asked_about_a_grant(cardio: Enclave, monkeypatch) -> None:
    asking, go_on = threading.Event(), threading.Event()
    real = cardio.context.policy.broken_guards

    def slow(*arguments: Any, **more: Any) -> Any:
        asking.set()
        assert go_on.wait(20)
        return real(*arguments, **more)

    monkeypatch.setattr(cardio.context.policy, "broken_guards", slow)
    server = cardio.server()
    with ThreadPoolExecutor(1) as pool:
        granting = pool.submit(cardio.grant, server)
        assert asking.wait(20)
        cardio.account("zoe")  # a state change with its entry
        assert cardio.entries("control:grant:create") == []
        go_on.set()
        assert granting.result()["grant"]["user"] == "analyst"


@pytest.mark.parametrize("first", ["grant", "guard"])
def test_a_grant_and_a_guard_against_it_in_one_transaction_are_never_both_made(
    cardio: Enclave, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Each passes alone, and the database writes both at once; the one that came first wins."""
    server, busy, go_on = cardio.server(), threading.Event(), threading.Event()
    asked = server("POST", "access-requests", {"dataset": "health/randhie", "columns": None, "days": 30} | WHY)
    steward = cardio.person("steward")
    digest = cardio.context.policy.digest

    def hold(_: Any) -> None:
        busy.set()
        assert go_on.wait(20)

    def grant() -> Any:
        return steward("POST", f"access-requests/{asked['id']}/decision", {"verdict": "approve"})

    looked = threading.Event()

    def queued(number: int) -> None:
        deadline = time.monotonic() + 20
        while cardio.writer.waiting < number:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def after_the_look() -> None:
        looked.set()
        if first == "guard":
            queued(1)

    once(monkeypatch, cardio.context.policy, "broken_guards", after_the_look)
    with ThreadPoolExecutor(3) as pool:
        holding = pool.submit(cardio.writer.transact, hold)
        try:
            assert busy.wait(20)
            granting = pool.submit(grant)
            assert looked.wait(20)
            if first == "grant":
                queued(1)
            guarding = pool.submit(added, cardio, NO_AGE)
            queued(2)
        finally:
            go_on.set()
        holding.result()
        if first == "grant":
            assert granting.result()["grant"]
            assert "nobody-reads-age" in guarding.result()[0]
        else:
            assert guarding.result() == []
            assert refused(granting.result).slug == "guard-broken"
    granted = len(cardio.entries("control:grant:create"))
    assert granted + (cardio.context.policy.digest != digest) == 1


def test_two_grants_at_once_are_looked_at_together(cardio: Enclave, monkeypatch) -> None:
    """Both looks end before either is made; the second is looked at again, with the first."""
    cardio.dataset("health/other", "confidential", ("age",))
    server, both = cardio.server(), threading.Barrier(2)
    real, looks = cardio.context.policy.broken_guards, []

    def together(session: Any, *arguments: Any, **more: Any) -> Any:
        looks.append(len(more["more"]))
        answer = real(session, *arguments, **more)
        if len(looks) <= 2:
            both.wait(20)
        return answer

    monkeypatch.setattr(cardio.context.policy, "broken_guards", together)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda name: cardio.grant(server, name), ("health/randhie", "health/other")))
    assert all(one["grant"] for one in made)
    assert len(looks) == 3
