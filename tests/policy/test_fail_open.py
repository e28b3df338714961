"""The ways in which raw Casbin 2.8 allows what was meant to be denied, or falls over: each closed here.

1-2 rows silently ignored, 3-4 timed memberships, 5 reloading, 6 recursion, 7 deep chains, 8 the empty policy,
9 wildcards, 10 quotes and brackets, 11 evaluation, 12 the fast enforcer, 13-14 cost, 15 explanations.
"""

from __future__ import annotations

import gc
from datetime import UTC, datetime

import casbin
import pytest
from casbin import FastEnforcer
from casbin.model import FastModel
from casbin.persist.adapters import StringAdapter
from strongroom_policy.adapter import MODEL
from strongroom_policy.decision import Request
from strongroom_policy.matcher import Matcher, Words

ALLOW = "g, user:a, role:r\np, A, *, read, lab/**, *, , , allow,\np, S, role:r, audit, log, *, , , allow,\n"


def ask(now, what: str = "lab/d", **given) -> Request:
    return Request(**{"subject": "user:a", "action": "read", "object": what, "label": "public", "now": now} | given)


@pytest.mark.parametrize("effect", ["denny", "DENY", "Deny", "deny # for ever", "deny ; for ever", ""])
def test_1_a_deny_that_is_not_spelt_deny_is_refused(problems, effect) -> None:
    row = f"p, D, role:r, read, lab/d, *, , , {effect}, why"
    raw = casbin.Model()
    raw.load_model_from_text(MODEL.replace(MODEL[MODEL.index("m = ") :], "m = r.act == p.act\n"))
    enforcer = casbin.Enforcer(raw, StringAdapter(f"{ALLOW}{row}"))
    assert enforcer.enforce("user:a", "", "lab/d", "", "public", "read", "")  # the trap is real
    assert [problem.line for problem in problems(ALLOW + row)] == [4]


@pytest.mark.parametrize(
    "row",
    [
        "P, D, role:r, read, lab/d, *, , , deny, why",
        "p4, D, role:r, read, lab/d, *, , , deny, why",
        "g4, user:b, role:r",
        "p, D, role:rr, read, lab/d, *, , , deny, why",
    ],
)
def test_2_a_row_of_an_unknown_kind_or_group_is_refused(problems, row) -> None:
    assert [problem.line for problem in problems(ALLOW + row)] == [4]


def test_2_a_byte_order_mark_does_not_swallow_the_first_row(make, noon) -> None:
    policy = make(b"\xef\xbb\xbfp, D, *, read, lab/d, *, , , deny, why\np, A, *, read, lab/**, *, , , allow,\n")
    assert [rule.id for rule in policy.decide(ask(noon)).rules] == ["D"]
    assert policy.decide(ask(noon, "lab/e")).allowed


def test_3_an_expired_membership_is_gone_and_stays_gone_after_rebuilding(make, noon) -> None:
    policy = make("g, user:a, role:r, , 2026-11-30\np, A, role:r, read, lab/d, *, , , allow,\n")
    for one in (policy, policy.rebuilt(now=noon), policy.rebuilt(now=noon).rebuilt(now=noon)):
        assert not one.decide(ask(noon)).allowed
    assert policy.rebuilt(now=datetime(2026, 11, 30, 23, tzinfo=UTC)).valid_until == datetime(2026, 12, 1, tzinfo=UTC)


def test_4_a_deny_through_a_role_holds_beside_timed_memberships_and_tags(make, noon) -> None:
    policy = make(
        "g, user:a, role:r, 2026-01-01, 2026-12-31\ng, role:r, role:s\n"
        "g2, lab/d, tag:sensitive\n"
        "p, A, role:r, read, lab/**, *, , , allow,\np, D, role:s, read, tag:sensitive, *, , , deny,\n"
    )
    assert [rule.id for rule in policy.decide(ask(noon)).rules] == ["D"]
    assert policy.decide(ask(noon, "lab/e")).allowed


def test_5_a_snapshot_goes_on_answering_while_the_next_is_built(make, noon) -> None:
    policy = make(ALLOW + "p, D, role:r, read, lab/d, *, , , deny,\n")
    policy.rebuilt(now=noon)
    assert not policy.decide(ask(noon)).allowed  # the swap under load: test_engine


def test_6_thousands_of_members_build_again_and_again(make, noon) -> None:
    rows = "".join(f"g, user:u{n}, role:{role}\n" for n in range(2000) for role in ("r", "s", "t"))
    uses = "".join(f"p, A-{role}, role:{role}, read, lab/{role}, *, , , allow,\n" for role in ("r", "s", "t"))
    policy = make(rows + uses).rebuilt(now=noon).rebuilt(now=noon)
    assert policy.decide(ask(noon, "lab/t", subject="user:u1999")).allowed


def test_7_a_chain_too_deep_for_a_deny_is_refused(problems) -> None:
    chain = "".join(f"g, role:r{n}, role:r{n + 1}\n" for n in range(10))
    found = problems("p, A, *, read, lab/d, *, , , allow,\np, D, role:r10, read, lab/d, *, , , deny,\n" + chain)
    assert "more than 9 links" in found[0].message


def test_8_an_empty_policy_allows_nothing_not_even_emptiness(make, noon) -> None:
    policy = make("")
    assert not policy.decide(ask(noon)).allowed
    assert not policy.decide(Request("", "", "", now=noon)).allowed
    words = Words(policy._objects, [])
    with pytest.raises(ValueError, match="empty fields"):
        Matcher(words).ask(({}, "", "", frozenset(), "", "", ""), [])


@pytest.mark.parametrize("pattern", ["lab/*/phi", "lab/*", "*/d", "lab/**/phi", "**", "lab**", "lab/d*"])
def test_9_a_wildcard_anywhere_but_at_the_end_is_refused(problems, pattern) -> None:
    assert problems(ALLOW + f"p, B, role:r, read, {pattern}, *, , , allow,")[0].line == 4


def test_10_quotes_are_honoured_and_brackets_harmless(make, problems, noon) -> None:
    policy = make('p, A, *, read, "lab/d#f(x[1), y", *, , , allow, "yes, (this"\n')
    decision = policy.decide(ask(noon, "lab/d#f(x[1), y"))
    assert decision.allowed
    assert decision.rules[0].why == "yes, (this"
    for row in ('p, D, *, read, "lab/d, *, , , deny,', "p, D, *, read, lab/[d, *, , , deny,", "p, D, *, read, lab/d"):
        assert problems(ALLOW + row)[0].line == 4  # never a decision that raises


@pytest.mark.parametrize(
    "text", ["r.sub.__class__", "eval(r.sub)", 'user:a" || "1" == "1', "!user:a", "user:a && true", "True"]
)
def test_11_nothing_in_a_row_or_a_request_is_ever_evaluated(problems, make, noon, text) -> None:
    assert problems(ALLOW + f"p, B, {text}, read, lab/d, *, , , allow,")
    assert not make(ALLOW).decide(ask(noon, text)).allowed
    assert not make(ALLOW).decide(ask(noon, subject=text)).allowed
    policy = make('p, A, *, read, "lab/d#!a && b || c", *, , , allow, "!x"\n')
    assert policy.decide(ask(noon, "lab/d#!a && b || c")).allowed
    assert not policy.decide(ask(noon, "lab/d#not a and b or c")).allowed


def test_12_what_the_fast_enforcer_loses_is_kept(make, noon) -> None:
    """It finds rows by exact keys alone, and forgets the second kinds of rows: namespaces, tags and roles are lost."""
    fast = FastModel([0])
    fast.load_model_from_text(MODEL)
    assert ("p2" in fast["p"], "g2" in fast["g"]) == (False, False)  # the trap is real: obligations and tags are gone
    plain = (
        "[request_definition]\nr = sub, obj\n[policy_definition]\np = sub, obj, eft\n[role_definition]\ng = _, _\n"
        "[policy_effect]\ne = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n"
        "[matchers]\nm = g(r.sub, p.sub) && r.obj == p.obj\n"
    )
    rows = "p, user:a, lab/d, allow\np, role:r, lab/d, deny\ng, user:a, role:r"
    models = [casbin.Model(), FastModel([0])]
    for model in models:
        model.load_model_from_text(plain)
    asked = [
        casbin.Enforcer(models[0], StringAdapter(rows)),
        FastEnforcer(models[1], StringAdapter(rows), False, None, [0]),
    ]
    assert [one.enforce("user:a", "lab/d") for one in asked] == [False, True]  # and so is the deny of a role
    policy = make(
        "g, user:a, role:r\ng2, lab/d#name, tag:direct-identifier\n"
        "p, A, *, read, lab/**, *, , , allow,\n"
        "p, N, role:r, read, lab/closed/**, *, , , deny,\np, T, role:r, read, tag:direct-identifier, *, , , deny,\n"
        "p2, O, *, read, lab/**, *, mask, hash, ,\n"
    )
    for what, denied_by in (("lab/d", []), ("lab/closed/d", ["N"]), ("lab/d#name", ["T"]), ("lab/d#age", [])):
        decision = policy.decide(ask(noon, what))
        assert (decision.allowed, [rule.id for rule in decision.rules if not rule.allows]) == (not denied_by, denied_by)
    assert policy.decide(ask(noon, "lab/d#age")).obligations.mask.value == "hash"


def test_13_three_thousand_links_load_and_answer_quickly(make, noon) -> None:
    rows = "".join(f"g, user:u{n}, project:p{n % 300}\n" for n in range(3000))
    policy = make(rows + "p, A, project:p7, read, lab/d, project:p7, , , allow,\n")
    assert policy.decide(ask(noon, subject="user:u307", purpose="project:p7")).allowed


def test_14_asking_about_unknown_names_is_forgotten(make, noon) -> None:
    policy = make(ALLOW + "p, B, role:r, read, lab/d, *, , , allow,\n")
    for number in range(9000):
        policy._subjects.closure(f"user:stranger{number}")
        policy._subjects.closure(f"user:stranger{number}", frozenset({"group:g"}))
        policy._objects.closure(f"lab/d{number}")
    gc.collect()
    for cache in (policy._subjects._alone, policy._subjects._grouped, policy._objects.closure):
        assert cache.cache_info().currsize <= 8192


def test_15_all_allowing_rules_are_named_and_a_default_deny_explains_itself(make, noon) -> None:
    policy = make(ALLOW + "p, B, role:r, read, lab/d, *, , , allow,\n")
    assert [rule.id for rule in policy.decide(ask(noon)).rules] == ["A", "B"]
    assert policy.decide(ask(noon, "other/d")).why() == ("no rule grants it",)
