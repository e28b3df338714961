"""Who looks after the enclave: administrators of the policy and auditors of the log."""

from __future__ import annotations

from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.problems import Problem


def may(context: Context, user: str, action: str, thing: str) -> bool:
    """Whether the policy in force lets the user do `action` (`administer`, `audit`) to a part of the enclave."""
    return context.policy.decide(Question(user=user, action=action, object=thing, label="public")).allowed


def may_look_after(context: Context, user: str) -> bool:
    """Rules, violations and metrics name people and datasets, so not everybody may read them."""
    return may(context, user, "administer", "policy") or may(context, user, "audit", "log")


def check_may_look_after(context: Context, user: str, what: str) -> None:
    """Raises Problem 403 for who may not. `what`, for people: `the violations`."""
    if not may_look_after(context, user):
        raise Problem(
            403,
            "not-permitted",
            f"{what[:1].upper()}{what[1:]} may not be read by you",
            f"Only those who may administer the policy or audit the log read {what}.",
            next="A refusal always tells the rules that matter to you; ask an administrator about others.",
        )
