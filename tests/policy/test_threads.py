from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from random_policies import NOW, sources_of
from strongroom_policy.decision import Request
from strongroom_policy.engine import Policy


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads take turns after every few instructions."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("impatient")
def test_the_first_questions_to_a_new_policy_may_come_all_at_once() -> None:
    """Each thread makes its own evaluator then; one that saw another's half-made one would deny for no reason."""
    sources = sources_of("g, user:a, role:r\np, R, role:r, read, lab/d, *, , , allow, \n")
    gate = threading.Barrier(4)
    reasons: list[str] = []

    def ask(policy: Policy) -> None:
        gate.wait()
        reasons.append(policy.decide(Request("user:a", "read", "lab/d", label="public", now=NOW)).reason)

    for _ in range(300):
        policy = Policy.build(sources, (), NOW)
        threads = [threading.Thread(target=ask, args=(policy,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(reasons) == {""}
