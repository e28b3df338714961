"""How a policy comes into force: by files, by two people, back again; and what must never happen on the way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from enclave import Clock, Enclave, Vault, make_instance, open_enclave
from sqlalchemy import text
from strongroom_hub.config import TWO_PERSON, Instance
from strongroom_hub.control import setup
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.database import writing
from strongroom_hub.policies.bundle import BundleError
from strongroom_hub.problems import Problem

DENY = "p, BAN, role:analyst, discover, *, *, , , deny, stop\n"
DISCOVER = Question(user="analyst", action="discover", object="health/x", project="cardio", label="public")
SECOND_ADMIN = "g, user:admin2, role:admin\n"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Enclave]:
    """An instance in which two people bring a policy into force; `admin` and `admin2` administer it."""
    instance = make_instance(tmp_path, policy_activation=TWO_PERSON)
    with (instance.policy_dir / "policy.csv").open("a") as file:
        file.write(SECOND_ADMIN)
    setup.create(instance)
    made = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    yield made
    made.close()


def edit(enclave: Enclave, rows: str) -> None:
    enclave.add_policy(rows)  # polls as well


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def decision(proposal, verdict: str = "approve", **more) -> tuple[str, str, dict]:
    body = {"verdict": verdict, "digest": proposal["digest"], **more}
    return "POST", f"policy/proposals/{proposal['id']}/decision", body


def newest(enclave: Enclave) -> dict:
    return enclave.operator("GET", "policy/versions")["versions"][0]


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_an_entry_with_what_it_changes(enclave: Enclave) -> None:
    first = newest(enclave)
    assert (first["number"], first["source"], first["changes"]) == (1, "first-start", {})
    edit(enclave, "p, N, user:auditor, discover, label:public, *, , , allow, why\n")
    (told, *_) = enclave.entries("control:policy:activate")[-1]["detail"]["changes"]
    assert told.startswith("user:auditor may now discover")
    assert "rule N, policy.csv:" in told
    version = newest(enclave)
    assert (version["number"], version["source"], version["in_force"]) == (2, "files", True)
    assert version["changes"]["changes"][0]["text"] == told
    assert version["entry"] == enclave.entries("control:policy:activate")[-1]["index"]


def test_a_change_of_comments_is_a_version_that_changes_nothing(enclave: Enclave) -> None:
    edit(enclave, "# a remark\n")
    assert enclave.entries("control:policy:activate")[-1]["detail"]["changes"] == [
        "no decision and no obligation changes"
    ]


def test_a_restart_is_no_new_version(enclave: Enclave) -> None:
    edit(enclave, DENY)
    again = enclave.restarted()
    try:
        assert [one["number"] for one in again.operator("GET", "policy/versions")["versions"]] == [2, 1]
        assert len(again.entries("control:policy:activate")) == 2
        assert not again.context.policy.decide(DISCOVER).allowed
    finally:
        again.close()


def test_a_broken_guard_is_refused_like_a_failed_test(enclave: Enclave) -> None:
    version = enclave.context.policy.version
    guards = '[none]\nkind = "never"\nwhy = "not on Sundays"\nmay = ["discover"]\non = "label:public"\n'
    (enclave.instance.policy_dir / "guards.toml").write_text(guards)
    enclave.context.policy.poll(enclave.writer)
    (problem, *_) = enclave.context.policy.state()["problems"]
    assert (problem["file"], problem["line"]) == ("guards.toml", 1)
    assert "the guard none is broken: user:" in problem["message"]
    assert enclave.context.policy.version == version


def test_guards_see_the_catalogue(cardio: Enclave) -> None:
    cardio.dataset("lab/names", "public", ("name",), {"name": ["direct-identifier"]})
    guard = '[g]\nkind = "never"\nwhy = "w"\nmay = ["read"]\non = "lab/names#name"\n'
    (cardio.instance.policy_dir / "guards.toml").write_text(guard)
    cardio.context.policy.poll(cardio.writer)
    assert "lab/names#name (public)" in cardio.context.policy.state()["problems"][0]["message"]


def test_a_version_put_back_stays_until_the_folder_is_edited(enclave: Enclave) -> None:
    edit(enclave, DENY)
    bad = enclave.context.policy.version
    done = enclave.person("admin")("POST", "policy/rollback", {"number": 1, "why": "it denies too much"})
    assert (done["number"], done["source"], done["actor"]) == (3, "rollback", "user:admin")
    assert enclave.context.policy.decide(DISCOVER).allowed
    entry = enclave.entries("control:policy:activate")[-1]
    assert (entry["actor"], entry["detail"]["source"]) == ("user:admin", "rollback")
    assert any("may now discover" in line for line in entry["detail"]["changes"])
    for _ in range(2):
        enclave.context.policy.poll(enclave.writer)
    assert enclave.context.policy.decide(DISCOVER).allowed
    overview = enclave.person("admin")("GET", "policy")
    assert overview["draft"] == {"version": bad, "differs": True, "problems": []}
    again = enclave.restarted()
    try:
        assert again.context.policy.decide(DISCOVER).allowed  # not even a restart brings it back
        edit(again, "# mended\n" + DENY.replace("BAN", "BAN2"))
        assert not again.context.policy.decide(DISCOVER).allowed
    finally:
        again.close()


def test_what_was_never_in_force_cannot_be_put_back(enclave: Enclave) -> None:
    edit(enclave, "rubbish\n")
    for number in (2, 99):
        problem = refused(enclave.operator, "POST", "policy/rollback", {"number": number, "why": "try"})
        assert (problem.status, problem.slug) == (404, "unknown-version")
    assert refused(enclave.operator, "POST", "policy/rollback", {"number": 1, "why": "x"}).slug == "nothing-changed"
    assert refused(enclave.operator, "POST", "policy/rollback", {"number": 1, "why": " "}).status == 422


def test_a_tampered_version_is_not_put_back(enclave: Enclave) -> None:
    edit(enclave, DENY)
    with enclave.context.engine.connect() as connection:
        bundle = connection.execute(text("SELECT bundle FROM policy_version WHERE number = 1")).scalar_one()
    head, body, signature = bundle.split(".")
    claims = jwt.decode(bundle, options={"verify_signature": False})
    claims["policy"]["files"][0]["text"] += "# more\n"
    forged = jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA")
    unsigned = ".".join((head, forged.split(".")[1], signature))
    for number, stored in enumerate((forged, unsigned, f"{head}.{body}.", "")):
        with writing(enclave.context.engine) as connection:
            connection.execute(text("UPDATE policy_version SET bundle = :b WHERE number = 1"), {"b": stored})
        problem = refused(enclave.operator, "POST", "policy/rollback", {"number": 1, "why": f"try {number}"})
        assert problem.slug == "damaged-bundle"
    assert not enclave.context.policy.decide(DISCOVER).allowed


def test_a_bundle_is_bound_to_what_it_was_signed_for(enclave: Enclave) -> None:
    bundles, files = enclave.context.policy.bundles, enclave.context.policy.draft()
    one = bundles.sign(files, author="operator", why="w", base="b")
    other = bundles.sign(files | {"tests.csv": b"# other\n"}, author="operator", why="w", base="b")
    digest = enclave.context.policy.digest
    assert bundles.read(one, digest) == files
    with pytest.raises(BundleError, match="other files"):
        bundles.read(other, digest)
    with pytest.raises(BundleError, match="signature"):
        bundles.read(enclave.context.tickets.fetch(export="e", sha256=digest), digest)  # signed by the same key


def test_an_activation_that_cannot_be_recorded_keeps_the_old_policy(enclave: Enclave) -> None:
    edit(enclave, DENY)
    enclave.writer.close()
    assert refused(enclave.operator, "POST", "policy/rollback", {"number": 1, "why": "x"}).slug == "audit-unavailable"
    assert not enclave.context.policy.decide(DISCOVER).allowed
    assert enclave.context.policy.newest().number == 2


def test_a_comparison_that_fails_refuses_the_change(enclave: Enclave, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("strongroom_hub.policies.candidate.difference", broken)
    version = enclave.context.policy.version
    edit(enclave, DENY)
    assert enclave.context.policy.version == version
    assert "could not be found out" in enclave.context.policy.state()["problems"][0]["message"]


def test_proposals_are_for_two_person_mode_alone(enclave: Enclave) -> None:
    problem = refused(enclave.operator, "POST", "policy/proposals", {"why": "w"})
    assert (problem.status, problem.slug) == (409, "no-proposals-here")


def test_the_setting_is_one_of_two_words(tmp_path: Path) -> None:
    instance = make_instance(tmp_path, policy_activation=TWO_PERSON)
    instance.save()
    assert Instance.load(instance.path) == instance
    replace(instance, policy_activation="three-person").save()
    with pytest.raises(ValueError, match="policy_activation is 'three-person', but must be"):
        Instance.load(instance.path)


# -- two people -------------------------------------------------------------------------------------------------------


def test_files_do_not_come_into_force_by_themselves(pair: Enclave) -> None:
    version = pair.context.policy.version
    edit(pair, DENY)
    for _ in range(3):
        pair.housekeeper.tick()
    assert pair.context.policy.version == version
    assert pair.operator("POST", "policy/reload")["version"] == version
    again = pair.restarted()
    try:
        assert again.context.policy.version == version
        overview = again.person("admin")("GET", "policy")
        assert (overview["activation"], overview["draft"]["differs"]) == ("two-person", True)
    finally:
        again.close()


def test_one_proposes_and_another_approves(pair: Enclave) -> None:
    edit(pair, DENY)
    admin, other = pair.person("admin"), pair.person("admin2")
    proposal = admin("POST", "policy/proposals", {"why": "stop everything"})
    assert (proposal["state"], proposal["author"], proposal["may"]) == (
        "open", "user:admin", {"decide": False, "withdraw": True},
    )  # fmt: skip
    assert any("may no longer discover" in one["text"] for one in proposal["results"]["changes"]["changes"])
    assert pair.context.policy.decide(DISCOVER).allowed
    (seen,) = other("GET", "policy")["proposals"]
    assert seen["may"] == {"decide": True, "withdraw": False}
    done = other(*decision(seen, comment="yes"))
    assert (done["state"], done["decided_by"], done["comment"]) == ("activated", "user:admin2", "yes")
    assert not pair.context.policy.decide(DISCOVER).allowed
    entry = pair.entries("control:policy:activate")[-1]
    assert entry["actor"] == "user:admin2"
    told = {name: entry["detail"][name] for name in ("source", "proposal", "author", "why")}
    assert told == {
        "source": "proposal", "proposal": proposal["id"], "author": "user:admin", "why": "stop everything",
    }  # fmt: skip
    assert newest(pair)["proposal"] == proposal["id"]
    assert pair.entries("control:policy:propose")[-1]["actor"] == "user:admin"
    again = pair.restarted()
    try:
        assert not again.context.policy.decide(DISCOVER).allowed
    finally:
        again.close()


def test_nobody_approves_their_own_proposal(pair: Enclave) -> None:
    edit(pair, DENY)
    admin = pair.person("admin")
    for author in (admin, pair.operator):
        proposal = author("POST", "policy/proposals", {"why": "mine"})
        for verdict in ("approve", "reject"):
            problem = refused(author, *decision(proposal, verdict))
            assert (problem.status, problem.slug) == (403, "own-request")
    assert pair.context.policy.decide(DISCOVER).allowed
    # the command line is one person, and a person at the console another one
    done = admin(*decision(proposal))
    assert done["state"] == "activated"


def test_who_may_not_administer_decides_nothing(pair: Enclave) -> None:
    edit(pair, DENY)
    proposal = pair.operator("POST", "policy/proposals", {"why": "w"})
    for user in ("steward", "auditor", "analyst"):
        person = pair.person(user)
        for call in (
            decision(proposal),
            ("POST", "policy/proposals", {"why": "w"}),
            ("POST", "policy/rollback", {"number": 1, "why": "w"}),
        ):
            assert refused(person, *call).status == 403
    assert pair.context.policy.decide(DISCOVER).allowed
    pair.project()
    server = pair.server()
    assert refused(server, "POST", "policy/proposals", {"why": "w"}).status == 401


def test_an_approval_holds_for_the_files_that_were_seen(pair: Enclave) -> None:
    """What is in the folder after the proposal does not slip in with it, and an approval of other files is void."""
    edit(pair, "# harmless\n")
    admin, other = pair.person("admin"), pair.person("admin2")
    seen = admin("POST", "policy/proposals", {"why": "a remark"})
    edit(pair, "p, ALL, *, read, *, *, , , allow, open\n")
    fresh = admin("POST", "policy/proposals", {"why": "a remark"})
    assert fresh["digest"] != seen["digest"]
    # the approval of the first draft, replayed at the second one
    problem = refused(other, "POST", f"policy/proposals/{fresh['id']}/decision",
                      {"verdict": "approve", "digest": seen["digest"]})  # fmt: skip
    assert (problem.status, problem.slug) == (409, "other-files")
    # and at the first, which the second one has outdated
    problem = refused(other, *decision(seen))
    assert (problem.status, problem.slug) == (409, "already-decided")
    assert pair.context.policy.newest().number == 1


def test_the_folder_after_the_proposal_is_not_what_is_approved(pair: Enclave) -> None:
    edit(pair, "# harmless\n")
    proposal = pair.person("admin")("POST", "policy/proposals", {"why": "a remark"})
    edit(pair, DENY)
    pair.person("admin2")(*decision(proposal))
    assert pair.context.policy.digest == proposal["digest"]
    assert pair.context.policy.decide(DISCOVER).allowed


def test_a_decision_is_taken_once(pair: Enclave) -> None:
    edit(pair, DENY)
    admin, other = pair.person("admin"), pair.person("admin2")
    proposal = admin("POST", "policy/proposals", {"why": "w"})
    other(*decision(proposal, "reject", comment="no"))
    assert pair.entries("control:policy:reject")[-1]["detail"]["comment"] == "no"
    for verdict in ("approve", "reject"):
        assert refused(other, *decision(proposal, verdict)).slug == "already-decided"
    proposal = admin("POST", "policy/proposals", {"why": "w"})
    assert refused(other, *decision(proposal, "withdraw")).slug == "not-yours"
    assert admin(*decision(proposal, "withdraw"))["state"] == "withdrawn"
    assert pair.context.policy.decide(DISCOVER).allowed


def test_a_proposal_is_outdated_when_another_policy_came_into_force(pair: Enclave) -> None:
    admin, other = pair.person("admin"), pair.person("admin2")
    edit(pair, DENY)
    other(*decision(admin("POST", "policy/proposals", {"why": "deny"})))
    edit(pair, "# more\n")
    waiting = admin("POST", "policy/proposals", {"why": "a remark on top"})
    pair.operator("POST", "policy/rollback", {"number": 1, "why": "it broke everything"})
    problem = refused(other, *decision(waiting))
    assert problem.slug == "already-decided"
    assert pair.operator("GET", "policy/proposals")["proposals"][0]["state"] == "outdated"
    assert pair.context.policy.decide(DISCOVER).allowed


def test_a_tampered_proposal_does_not_come_into_force(pair: Enclave) -> None:
    edit(pair, "# harmless\n")
    proposal = pair.person("admin")("POST", "policy/proposals", {"why": "w"})
    with writing(pair.context.engine) as connection:
        bundle = connection.execute(text("SELECT bundle FROM policy_proposal")).scalar_one()
        claims = jwt.decode(bundle, options={"verify_signature": False})
        claims["policy"]["files"][1]["text"] += "p, ALL, *, read, *, *, , , allow, open\n"
        forged = jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA")
        connection.execute(text("UPDATE policy_proposal SET bundle = :b"), {"b": forged})
    version = pair.context.policy.version
    assert refused(pair.person("admin2"), *decision(proposal)).slug == "damaged-bundle"
    assert pair.context.policy.version == version


def test_a_damaged_history_denies_everything_and_lets_no_file_in(pair: Enclave) -> None:
    edit(pair, "# other\n")
    with writing(pair.context.engine) as connection:
        connection.execute(text("UPDATE policy_version SET bundle = 'rubbish'"))
    again = pair.restarted()
    try:
        for _ in range(2):
            again.context.policy.poll(again.writer)
        assert again.context.policy.version == "no-policy"
        assert "signature is not control's" in again.context.policy.state()["problems"][0]["message"]
        assert not again.context.policy.decide(DISCOVER).allowed
    finally:
        again.close()


def test_the_operator_mends_a_damaged_history_by_a_version_that_is_whole(pair: Enclave) -> None:
    edit(pair, DENY)
    pair.person("admin2")(*decision(pair.operator("POST", "policy/proposals", {"why": "w"})))
    with writing(pair.context.engine) as connection:
        connection.execute(text("UPDATE policy_version SET bundle = 'rubbish' WHERE number = 2"))
    again = pair.restarted()
    try:
        assert again.context.policy.version == "no-policy"
        assert refused(again.person("admin"), "POST", "policy/rollback", {"number": 1, "why": "w"}).status == 403
        again.operator("POST", "policy/rollback", {"number": 1, "why": "number 2 was tampered with"})
        assert again.context.policy.decide(DISCOVER).allowed
        assert again.context.policy.state()["state"] == "in-force"
    finally:
        again.close()


def test_what_would_be_refused_cannot_be_proposed(pair: Enclave) -> None:
    assert refused(pair.operator, "POST", "policy/proposals", {"why": "w"}).slug == "nothing-changed"
    edit(pair, "p, X, *, reed, *, *, , , allow, why\n")
    problem = refused(pair.operator, "POST", "policy/proposals", {"why": "w"})
    assert problem.slug == "policy-refused"
    assert "unknown action 'reed'" in problem.why[0]
    assert refused(pair.operator, "POST", "policy/proposals", {"why": "  "}).slug == "no-reason"


def test_what_is_refused_by_now_is_not_approved(pair: Enclave) -> None:
    """A dataset that came meanwhile breaks a guard of the proposal."""
    guard = '[g]\nkind = "never"\nwhy = "w"\nmay = ["train"]\non = "lab/new#name"\n'
    (pair.instance.policy_dir / "guards.toml").write_text(guard)
    edit(pair, "p, LAB, role:analyst, train, tag:quasi-identifier, *, , , allow, why\n")
    proposal = pair.operator("POST", "policy/proposals", {"why": "w"})
    assert proposal["results"]["guards"][0]["name"] == "g"
    pair.dataset("lab/new", "public", ("name",), {"name": ["quasi-identifier"]})
    problem = refused(pair.person("admin"), *decision(proposal))
    assert problem.slug == "policy-refused"
    assert "may train lab/new#name (public)" in problem.why[0]
    assert pair.context.policy.newest().number == 1


def test_an_approval_that_cannot_be_recorded_changes_nothing(pair: Enclave) -> None:
    edit(pair, DENY)
    proposal = pair.operator("POST", "policy/proposals", {"why": "w"})
    other = pair.person("admin2")
    pair.writer.close()
    assert refused(other, *decision(proposal)).slug == "audit-unavailable"
    assert pair.context.policy.decide(DISCOVER).allowed
    assert pair.operator("GET", "policy/proposals")["proposals"][0]["state"] == "open"


def test_two_approvals_at_once_activate_once(pair: Enclave) -> None:
    edit(pair, DENY)
    proposal = pair.operator("POST", "policy/proposals", {"why": "w"})
    people = [pair.person("admin"), pair.person("admin2")]
    outcomes: list[str] = []

    def approve(person) -> None:
        try:
            outcomes.append(person(*decision(proposal))["state"])
        except Problem as problem:
            outcomes.append(problem.slug)

    threads = [threading.Thread(target=approve, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) in (["activated", "already-decided"], ["activated", "outdated"])
    assert [one["number"] for one in pair.operator("GET", "policy/versions")["versions"]] == [2, 1]


# -- swaps ------------------------------------------------------------------------------------------------------------


def test_decisions_during_a_thousand_swaps_never_mix_two_versions(cardio: Enclave) -> None:
    """Two policies that contradict each other on two columns: every pair of answers is one of theirs, never a third."""
    rows = "p, X1, role:analyst, read, lab/d#{}, *, , , allow, why\n"
    keeper, folder = cardio.context.policy, cardio.instance.policy_dir
    held = ("role:analyst", "project:cardio", "clearance:confidential")
    base = "".join(f"g, user:analyst, {name}\n" for name in held)
    answers = {}
    found = []
    for column in ("a", "b"):
        (folder / "policy.csv").write_text(base + rows.format(column))
        keeper.poll(cardio.writer)
        found.append(keeper.candidate(keeper.draft()))
        answers[keeper.version] = column == "a"
    question = Question(user="analyst", action="read", object="lab/d#a", project="cardio", label="confidential")
    both = [question, replace(question, object="lab/d#b")]
    wrong: list[str] = []
    asked = 0
    stop = threading.Event()

    def ask() -> None:
        nonlocal asked
        while not stop.is_set():
            first, second = keeper.decide_all(both)
            asked += 1
            expected = answers.get(first.policy_version)
            if (first.policy_version != second.policy_version) or (first.allowed, second.allowed) != (
                expected, not expected,
            ):  # fmt: skip
                wrong.append(f"{first.explain()}\n{second.explain()}")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # threads take turns often: more places at which a swap can fall
    try:
        for number in range(1000):
            keeper._adopt(found[number % 2])
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert asked > 100


def test_expiry_and_revocation_act_without_a_reload(cardio: Enclave) -> None:
    edit(cardio, "g, user:auditor, role:analyst, 2026-11-21, 2026-11-21\n")
    question = replace(DISCOVER, user="auditor", project=None)
    assert cardio.context.policy.decide(question).allowed
    cardio.clock.now += timedelta(days=1)
    assert not cardio.context.policy.decide(question).allowed
