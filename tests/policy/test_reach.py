"""Who can and what can: classes of people and things answer exactly as asking for each of them does."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_policies import NOW, policies, policy_of
from strongroom_policy.catalogue import Column, Dataset
from strongroom_policy.decision import Request
from strongroom_policy.labels import Label
from strongroom_policy.reach import Classes, what_can, who_can
from strongroom_policy.universe import Person, Thing, things_called, things_known, universe
from strongroom_policy.vocabulary import ACTIONS, suits

SLOW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def asked_one_by_one(policy, ground, actions) -> set[tuple[str, str, str, str]]:
    found = set()
    for person, thing, action, project in product(ground.people, ground.things, actions, ("", *ground.projects)):
        if not suits(action, thing.name):
            continue
        request = Request(person.user, action, thing.name, project, thing.label, thing.tags, NOW, person.groups)
        if policy.decide(request).allowed:
            found.add((person.shown, thing.shown, action, project))
    return found


def told(reaches) -> set[tuple[str, str, str, str]]:
    return {
        (person.shown, thing.shown, reach.action, reach.project)
        for reach in reaches
        for person in reach.people.all
        for thing in reach.things.all
    }


@SLOW
@given(policies())
def test_all_permissions_are_those_that_deciding_gives(rows: str) -> None:
    policy = policy_of(rows)
    ground = universe([policy], things=things_known([policy]))
    actions = ("read", "display", "approve-access", "administer", "use")
    assert told(Classes([policy], ground, NOW).allowed(actions)) == asked_one_by_one(policy, ground, actions)


@SLOW
@given(policies(), st.data())
def test_who_can_and_what_can_agree_with_decide(rows: str, data: st.DataObject) -> None:
    policy = policy_of(rows)
    thing = data.draw(st.sampled_from(things_known([policy])))
    ground = universe([policy], things=[thing])
    assert told(who_can(policy, ground, "read", NOW)) == asked_one_by_one(policy, ground, ["read"])
    person = data.draw(st.sampled_from(ground.people))
    ground = universe([policy], things=things_known([policy]))
    mine = {line for line in asked_one_by_one(policy, ground, ACTIONS) if line[0] == person.shown}
    assert told(what_can(policy, ground, person, NOW)) == mine


@SLOW
@given(policies())
def test_within_a_class_obligations_are_the_same(rows: str) -> None:
    policy = policy_of(rows)
    ground = universe([policy], things=things_known([policy]))
    for reach in Classes([policy], ground, NOW).allowed(["read"]):
        first = reach.decision
        for person, thing in product(reach.people.all, reach.things.all):
            other = policy.decide(
                Request(person.user, "read", thing.name, reach.project, thing.label, thing.tags, NOW, person.groups)
            )
            assert other.obligations == first.obligations
            assert other.rules == first.rules


def test_obligations_come_with_their_rule(make) -> None:
    policy = make(
        "g, user:a, role:r\np, R, role:r, read, lab/d, *, , , allow,\np2, O, *, read, lab/d, *, mask, hash, ,\n"
    )
    (reach,) = who_can(policy, universe([policy], things=[Thing("lab/d", Label.PUBLIC)]), "read", NOW)
    assert reach.people.shown == ("user:a",)
    assert (reach.decision.obligations.mask.value, reach.decision.obligations.mask.rule) == ("hash", "O (policy.csv:3)")


def test_anybody_and_groups_of_the_identity_provider_are_told(make) -> None:
    policy = make(
        "g, group:staff, role:r\np, R, role:r, read, lab/d, *, , , allow,\np, D, *, discover, lab/d, *, , , allow,\n"
    )
    ground = universe([policy], users=["user:ann"], things=[Thing("lab/d", Label.PUBLIC)])
    assert {line[0] for line in told(who_can(policy, ground, "read", NOW))} == {"anyone in group:staff"}
    assert {line[0] for line in told(who_can(policy, ground, "discover", NOW))} == {
        "user:ann", "anyone in group:staff", "anyone else",
    }  # fmt: skip


def test_a_user_who_is_called_as_the_stranger_is_not_taken_for_one(make) -> None:
    policy = make("g, user:somebody-else, role:r\np, R, role:r, read, lab/d, *, , , allow,\n")
    ground = universe([policy], things=[Thing("lab/d", Label.PUBLIC)])
    assert {line[0] for line in told(who_can(policy, ground, "read", NOW))} == {"user:somebody-else"}


def test_within_a_project_alone(make) -> None:
    policy = make("g, user:a, project:x\ng, user:a, project:y\np, R, project:x, read, lab/d, *, , , allow,\n")
    ground = universe([policy], things=[Thing("lab/d", Label.PUBLIC)])
    assert {line[3] for line in told(who_can(policy, ground, "read", NOW))} == {"", "project:x", "project:y"}
    assert {line[3] for line in told(who_can(policy, ground.within("project:y"), "read", NOW))} == {"project:y"}


def test_what_the_catalogue_knows_is_asked_as_it_stands_there(make) -> None:
    policy = make("g, user:a, role:r\np, R, role:r, read, lab/d, *, , , allow,\n")
    dataset = Dataset("lab/d", Label.PUBLIC, {"ssn": Column("text", frozenset({"tag:direct-identifier"}))})
    assert things_called("lab/d#ssn", [dataset]) == (
        Thing("lab/d#ssn", Label.PUBLIC, frozenset({"tag:direct-identifier"})),
    )
    assert [thing.label for thing in things_called("lab/e", [dataset])] == list(Label)
    assert things_called("policy", [dataset]) == (Thing("policy"),)
    assert things_called("no object", []) == ()
    names = [thing.name for thing in things_known([policy], [dataset])]
    assert names.count("lab/d") == 1


def test_examples_are_never_what_a_row_names(make) -> None:
    policy = make("g, user:a, role:r\np, R, role:r, read, any/any, *, , , allow,\n")
    examples = {thing.name for thing in things_known([policy]) if thing.example and thing.name != "workspace"}
    assert all(name.startswith("any-other/") for name in examples)


def test_the_cost_follows_classes_and_not_people(make) -> None:
    """Ten thousand people in two roles are two decisions, not ten thousand."""
    rows = "".join(f"g, user:u{n}, role:r{n % 2}\n" for n in range(10_000))
    policy = make(rows + "p, R, role:r0, read, lab/d, *, , , allow,\np, S, role:r1, read, lab/e, *, , , allow,\n")
    asked = []
    decide = type(policy).decide

    class Counting:
        def __getattr__(self, name: str):
            return getattr(policy, name)

        def decide(self, request):
            asked.append(request)
            return decide(policy, request)

    ground = universe([policy], things=[Thing("lab/d", Label.PUBLIC)])
    (reach,) = who_can(Counting(), ground, "read", NOW)
    assert len(reach.people.all) == 5_000
    assert len(asked) == 1


@pytest.mark.parametrize("person", [Person("user:nobody"), Person("user:x", "group:none", named=False)])
def test_who_holds_nothing_can_nothing(make, person) -> None:
    policy = make("g, user:a, role:r\np, R, role:r, read, lab/d, *, , , allow,\n")
    assert what_can(policy, universe([policy], things=things_known([policy])), person, NOW) == []
