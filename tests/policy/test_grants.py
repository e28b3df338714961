from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from strongroom_policy.decision import Request
from strongroom_policy.engine import load
from strongroom_policy.errors import PolicyError
from strongroom_policy.grants import rows_for_grant

SINCE = datetime(2026, 12, 1, 12, 30, 15, 123457, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=90)
TICK = timedelta(microseconds=1)
GRANT = {
    "grant": 12,
    "user": "analyst",
    "project": "cardio",
    "dataset": "health/randhie",
    "columns": ["age", "km/h, net", "income"],
    "masks": {"income": "hash"},
    "since": SINCE,
    "until": UNTIL,
    "request": 7,
}


def ask(now: datetime = SINCE, /, **given: object) -> Request:
    return Request(**{"subject": "user:analyst", "action": "read", "object": "health/randhie#age",
                      "purpose": "project:cardio", "label": "confidential", "now": now} | given)  # fmt: skip


@pytest.fixture
def policy(default_folder):
    return load(default_folder, rows_for_grant(**GRANT), now=SINCE)


def test_a_grant_allows_its_columns_to_its_user_in_its_project(policy) -> None:
    for action in ("read", "display", "export"):
        decision = policy.decide(ask(action=action))
        assert decision.allowed
        assert decision.rules[0].name == "grant-12-c1 (grant 12)"
        assert "request 7" in decision.explain()
    assert policy.decide(ask(object="health/randhie#km/h, net")).allowed
    for other in (
        {"object": "health/randhie#sex"},
        {"object": "health/randhie"},
        {"object": "health/randhie2#age"},
        {"purpose": "project:elections"},
        {"purpose": ""},
        {"subject": "user:analyst2"},
        {"action": "train"},
        {"action": "approve-access"},
        {"label": "secret"},
        {"label": None},
    ):
        assert not policy.decide(ask(**other)).allowed, other


def test_a_grant_on_one_column_does_not_show_or_release_another(policy) -> None:
    for action in ("read", "display", "export"):
        assert policy.view(ask(object="health/randhie", action=action), {"age": (), "sex": ()}).columns == ("age",)


def test_masks_belong_to_the_grants_project(default_folder, policy) -> None:
    view = policy.view(ask(object="health/randhie"), {"age": (), "income": ()})
    assert view.allowed
    assert view.masks == {"income": "hash"}
    assert view.decisions["income"].obligations.mask.rule == "grant-12-m3 (grant 12)"
    other = rows_for_grant(**GRANT | {"grant": 13, "project": "elections", "masks": {}})
    both = load(default_folder, [*rows_for_grant(**GRANT), *other], now=SINCE)
    assert both.view(ask(object="health/randhie", purpose="project:elections"), {"income": ()}).masks == {}


def test_a_tag_masks_where_the_grant_does_not(policy) -> None:
    view = policy.view(ask(object="health/randhie"), {"age": ("tag:direct-identifier",)})
    assert view.masks == {"age": "hash"}
    assert view.decisions["age"].obligations.mask.rule.startswith("O15 (policy.csv:")


@pytest.mark.parametrize(
    ("moment", "allowed"), [(SINCE - TICK, False), (SINCE, True), (UNTIL - TICK, True), (UNTIL, False)]
)
def test_the_window_is_exact_to_the_microsecond(policy, moment, allowed) -> None:
    assert policy.decide(ask(moment)).allowed is allowed


def test_times_of_other_zones_are_the_same_instants(default_folder) -> None:
    elsewhere = timezone(timedelta(hours=-7))
    rows = rows_for_grant(**GRANT | {"since": SINCE.astimezone(elsewhere), "until": UNTIL.astimezone(elsewhere)})
    assert rows == rows_for_grant(**GRANT)


def test_without_its_rows_the_grant_is_gone(policy) -> None:
    assert not policy.rebuilt((), now=SINCE).decide(ask()).allowed


def test_many_grants_live_side_by_side(default_folder) -> None:
    rows = [row for number in range(50) for row in rows_for_grant(**GRANT | {"grant": number, "user": f"u{number}"})]
    policy = load(default_folder, rows, now=SINCE)
    assert not policy.decide(ask(subject="user:u1")).allowed  # not a member, not cleared
    assert "would, but" in policy.decide(ask(subject="user:u1")).explain()


@pytest.mark.parametrize(
    "bad",
    [
        {"columns": []},
        {"columns": ["a", "a"]},
        {"columns": ["*"]},
        {"columns": [" a"]},
        {"dataset": "health/**"},
        {"dataset": "*"},
        {"masks": {"sex": "hash"}},
        {"masks": {"age": "none"}},
        {"until": SINCE},
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001
    ],
)
def test_what_is_no_grant_is_refused(bad) -> None:
    with pytest.raises((ValueError, TypeError)):
        rows_for_grant(**GRANT | bad)


@pytest.mark.parametrize("user", ["*", "a b", "user:analyst", "", "a,b"])
def test_a_user_that_is_none_never_becomes_a_rule(default_folder, user) -> None:
    with pytest.raises(PolicyError, match="grant 12"):
        load(default_folder, rows_for_grant(**GRANT | {"user": user}), now=SINCE)
