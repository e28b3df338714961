"""Groups of the identity provider: they come with the request, and count like memberships of the files."""

from __future__ import annotations

import pytest
from strongroom_policy.decision import Request
from strongroom_policy.labels import Label
from strongroom_policy.questions import MAX_GROUPS

STAFF = frozenset({"group:staff"})
RULES = """\
g, group:staff, role:analyst
g, group:staff, project:x
g, role:analyst, clearance:internal
g, user:boss, role:boss
p, A, role:analyst, read, lab/**, project:x, , , allow,
p, B, group:guests, read, lab/closed, *, , , deny,
p, C, group:guests, discover, lab/**, *, , , allow,
p, D, role:boss, discover, lab/**, *, , , allow,
p2, O1, group:staff, read, lab/d, *, mask, hash, role:boss,
"""


@pytest.fixture
def policy(make, folder):
    file = folder / "labels.toml"
    file.write_text(file.read_text() + '\n[groups]\nguests = "Visitors, from the identity provider"\n')
    return make(RULES)


def ask(noon, groups: frozenset[str] = STAFF, **given: object) -> Request:
    return Request(**{"subject": "user:ann", "action": "read", "object": "lab/d", "purpose": "project:x",
                      "label": "internal", "now": noon, "groups": groups} | given)  # fmt: skip


def test_groups_give_roles_projects_and_clearances_for_this_request_only(policy, noon) -> None:
    decision = policy.decide(ask(noon))
    assert decision.allowed
    assert decision.path == ("user:ann", "group:staff", "role:analyst")
    assert "user:ann -> group:staff -> role:analyst" in decision.explain()
    assert decision.as_json()["groups"] == ["group:staff"]
    assert decision.obligations.mask.value == "hash"
    assert not policy.decide(ask(noon, frozenset())).allowed
    assert policy.decide(ask(noon)).allowed


def test_denials_reach_through_groups_too(policy, noon) -> None:
    both = STAFF | {"group:guests"}
    assert policy.decide(ask(noon, object="lab/closed")).allowed
    decision = policy.decide(ask(noon, both, object="lab/closed"))
    assert [rule.id for rule in decision.rules] == ["B"]


def test_what_somebody_is_with_their_groups(policy, noon) -> None:
    assert policy.roles_of("user:ann", STAFF) == ("role:analyst",)
    assert policy.projects_of("user:ann", STAFF) == ("project:x",)
    assert policy.clearance_of("user:ann", STAFF) is Label.INTERNAL
    assert policy.is_member("user:ann", "project:x", noon, STAFF)
    assert (policy.roles_of("user:ann"), policy.clearance_of("user:ann")) == ((), Label.PUBLIC)
    assert not policy.is_member("user:ann", "project:x", noon)


def test_groups_that_no_rule_names_change_nothing(policy, noon) -> None:
    many = STAFF | {f"group:g{number}" for number in range(MAX_GROUPS - 1)}
    assert policy.decide(ask(noon, many)).allowed
    assert not policy.decide(ask(noon, many - STAFF)).allowed


@pytest.mark.parametrize(
    "groups",
    [
        frozenset({"role:analyst"}),
        frozenset({"project:x"}),
        frozenset({"clearance:secret"}),
        frozenset({"user:boss"}),
        frozenset({"staff"}),
        frozenset({"*"}),
        frozenset({"group:"}),
        frozenset({"group:a b"}),
        frozenset(f"group:g{number}" for number in range(MAX_GROUPS + 1)),
        None,
    ],
)
def test_nothing_but_groups_comes_from_the_identity_provider(policy, noon, groups) -> None:
    decision = policy.decide(ask(noon, groups))
    assert not decision.allowed
    assert decision.reason.startswith("could not decide")


def test_a_rule_for_a_group_that_nobody_named_is_a_mistake(problems) -> None:
    (found,) = problems("p, A, group:stff, read, lab/d, *, , , deny,\n")
    assert str(found).endswith("no membership (g row) names group:stff - name it in [groups] of labels.toml")


def test_tests_name_groups_behind_the_user(make, problems) -> None:
    line = "{}, user:ann {}, read, lab/d, internal, , project:x, 2026-12-01, {},\n"
    rules = RULES.replace("group:guests", "group:staff")
    make(rules, tests=line.format("allow", "group:staff", "by A; mask hash") + line.format("deny", "", "by nothing"))
    found = problems(rules, tests=line.format("allow", "group:staff", "by D"))
    assert "expected allow user:ann read lab/d" in found[0].message
    assert "by D, but it is by A" in found[0].message
    assert "no question" in problems(rules, tests=line.format("deny", "role:analyst", ""))[0].message
