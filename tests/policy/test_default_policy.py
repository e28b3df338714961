"""The policy that is shipped serves the demonstration: who may do what with its six datasets."""

from __future__ import annotations

from datetime import timedelta

import pytest
from strongroom_policy.decision import Request
from strongroom_policy.engine import load
from strongroom_policy.grants import rows_for_grant
from strongroom_policy.labels import Label

DATASETS = {
    "public/penguins": "public",
    "transport/flights": "internal",
    "health/randhie": "confidential",
    "surveys/anes96": "confidential",
    "surveys/fair": "secret",
    "health/lymph_node": "secret",
}
HANDS_ON = ("read", "display", "export", "train", "reidentify")


@pytest.fixture
def policy(default_folder, noon):
    return load(default_folder, now=noon)


def may(policy, now, user: str, action: str, dataset: str, project: str = "") -> bool:
    purpose = f"project:{project}" if project else ""
    return policy.decide(Request(f"user:{user}", action, dataset, purpose, DATASETS.get(dataset), now=now)).allowed


def test_it_has_nothing_to_tidy_up(policy) -> None:
    assert policy.warnings == ()


def test_people(policy, noon) -> None:
    assert policy.projects_of("user:analyst") == ("project:cardio", "project:elections")
    assert policy.projects_of("user:analyst2") == ("project:cardio",)
    roles = {name: policy.roles_of(f"user:{name}") for name in ("analyst", "analyst2", "steward2", "admin", "auditor")}
    assert roles == {
        "analyst": ("role:analyst",),
        "analyst2": ("role:analyst",),
        "steward2": ("role:steward",),
        "admin": ("role:admin",),
        "auditor": ("role:auditor",),
    }
    assert policy.clearance_of("user:analyst") is Label.CONFIDENTIAL
    assert policy.clearance_of("user:analyst2") is Label.INTERNAL


def test_what_analysts_reach_without_a_grant(policy, noon) -> None:
    def reached(user: str, action: str, project: str) -> set[str]:
        return {dataset for dataset in DATASETS if may(policy, noon, user, action, dataset, project)}

    below_secret = {dataset for dataset, label in DATASETS.items() if label != "secret"}
    open_to_projects = {"public/penguins", "transport/flights"}
    for user, project in (("analyst", "cardio"), ("analyst", "elections"), ("analyst2", "cardio")):
        assert reached(user, "discover", project) == below_secret
        for action in ("read", "display", "export"):
            assert reached(user, action, project) == open_to_projects
        for action in ("train", "reidentify", "approve-access", "approve-export"):
            assert reached(user, action, project) == set()
    assert reached("analyst2", "read", "elections") == set()


def test_nobody_but_analysts_lays_hands_on_data(policy, noon) -> None:
    for user in ("steward", "steward2", "admin", "auditor", "stranger"):
        for dataset in DATASETS:
            assert not any(may(policy, noon, user, action, dataset) for action in HANDS_ON)


def test_stewards_decide_on_everything_and_nobody_else_does(policy, noon) -> None:
    for dataset in DATASETS:
        for action in ("approve-access", "approve-export"):
            able = [user for user in ("analyst", "analyst2", "steward", "steward2", "admin", "auditor")
                    if may(policy, noon, user, action, dataset)]  # fmt: skip
            assert able == ["steward", "steward2"]


def test_a_grant_helps_the_cleared_only(default_folder, noon) -> None:
    def with_grant(user: str, dataset: str) -> object:
        rows = rows_for_grant(grant=1, user=user, project="cardio", dataset=dataset, columns=["age"], masks={},
                              since=noon, until=noon + timedelta(days=1), request=1)  # fmt: skip
        policy = load(default_folder, rows, now=noon)
        return policy.decide(
            Request(f"user:{user}", "read", f"{dataset}#age", "project:cardio", DATASETS[dataset], now=noon)
        )

    assert with_grant("analyst", "health/randhie").allowed
    for user, dataset in (("analyst2", "health/randhie"), ("analyst", "health/lymph_node")):
        decision = with_grant(user, dataset)
        assert not decision.allowed
        assert "needs a clearance" in decision.why()[1]


@pytest.mark.parametrize(
    ("label", "display", "review", "small", "days"),
    [
        ("public", "none", 1, 1, 30),
        ("internal", "cell=4MiB", 1, 1, 30),
        ("confidential", "cell=64KiB day=2MiB image=512KiB", 1, 10, 365),
        ("secret", "0", 2, 10, 90),
        (None, "0", 2, 10, 90),
    ],
)
def test_obligations_by_label(policy, noon, label, display, review, small, days) -> None:
    owed = policy.obligations(Request("user:analyst", "display", "any/thing", "project:cardio", label, now=noon))
    assert (str(owed.display.value), owed.review.value, owed.min_count.value, owed.max_days.value) == (
        display, review, small, days,
    )  # fmt: skip
    assert "policy.csv:" in owed.display.rule
