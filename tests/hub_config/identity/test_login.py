from __future__ import annotations

import threading
import time

import pytest
from enclave import PASSWORD, Enclave
from strongroom_hub.identity import rules
from strongroom_hub.identity.models import Account
from strongroom_hub.problems import Problem


@pytest.fixture
def analyst(enclave: Enclave) -> Enclave:
    enclave.account("analyst")
    return enclave


def refusal(enclave: Enclave, **attempt: str) -> Problem:
    with pytest.raises(Problem) as refused:
        enclave.login(**attempt)
    return refused.value


def test_password_and_code_let_in_with_the_policys_roles(analyst: Enclave) -> None:
    assert analyst.login() == {"name": "analyst", "groups": ["role:analyst"], "admin": False}
    (entry,) = analyst.entries("hub:user:login")
    assert entry["actor"] == "user:analyst"
    assert entry["detail"] == {"address": "127.0.0.1"}


def test_unknown_user_wrong_password_and_wrong_code_get_the_same_words(analyst: Enclave) -> None:
    answers = [
        refusal(analyst, user="nobody"),
        refusal(analyst, password="wrong password!"),
        refusal(analyst, otp="000000"),
        refusal(analyst, otp="not a code"),
        refusal(analyst, password="", otp=""),
    ]
    assert {str(answer.as_json()) for answer in answers} == {str(answers[0].as_json())}
    assert answers[0].status == 401
    reasons = [entry["detail"]["reason"] for entry in analyst.entries("hub:user:refuse-login")]
    assert reasons == ["no such account", "password", "code", "code", "password"]


def test_an_unknown_user_costs_as_much_as_a_wrong_password(analyst: Enclave) -> None:
    def seconds(user: str) -> float:
        began = time.perf_counter()
        rules.password_matches("wrong password!", rules.hash_password(PASSWORD) if user == "known" else None)
        return time.perf_counter() - began

    rules.password_matches("", None)
    unknown = min(seconds("unknown") for _ in range(5))
    hashed = rules.hash_password(PASSWORD)
    known = []
    for _ in range(5):
        began = time.perf_counter()
        rules.password_matches("wrong password!", hashed)
        known.append(time.perf_counter() - began)
    assert 0.4 < unknown / min(known) < 2.5


def test_secrets_are_stored_hashed_and_never_recorded(analyst: Enclave) -> None:
    code = analyst.otp()
    analyst.login()
    refusal(analyst, user=PASSWORD)  # typed into the wrong field
    refusal(analyst, password="hunter2hunter2")
    with analyst.context.reading() as session:
        account = session.get(Account, "analyst")
        assert account is not None
        assert account.password.startswith("$argon2id$")
    recorded = str(analyst.entries())
    for secret in (PASSWORD, "hunter2hunter2", code):
        assert secret not in recorded


def test_a_code_is_good_once_even_in_its_window(analyst: Enclave) -> None:
    code = analyst.otp()
    analyst.login(otp=code)
    assert refusal(analyst, otp=code).slug == "code-spent"
    analyst.clock.forward(seconds=30)  # still within the window
    assert refusal(analyst, otp=code).slug == "code-spent"
    analyst.login()  # the next one works
    # an older code that was never used is spent too
    assert refusal(analyst, otp=analyst.otp(steps=-1)).slug == "code-spent"


@pytest.mark.parametrize(("steps", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_the_window_is_one_step_to_each_side(analyst: Enclave, steps: int, accepted: bool) -> None:
    code = analyst.otp(steps=steps)
    if accepted:
        analyst.login(otp=code)
    else:
        assert refusal(analyst, otp=code).slug == "login-refused"


def test_of_many_at_once_one_gets_in_with_a_code(analyst: Enclave) -> None:
    code, outcomes, gate = analyst.otp(), [], threading.Barrier(6)

    def attempt() -> None:
        gate.wait()
        try:
            analyst.login(otp=code)
            outcomes.append("in")
        except Problem as problem:
            outcomes.append(problem.slug)

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["code-spent"] * 5 + ["in"]


def test_five_failures_lock_for_fifteen_minutes_across_a_restart(analyst: Enclave) -> None:
    for _ in range(5):
        assert refusal(analyst, password="wrong password!").slug == "login-refused"
    assert refusal(analyst).slug == "login-locked"
    again = analyst.restarted()
    try:
        locked = refusal(again)
        assert (locked.status, locked.slug) == (429, "login-locked")
        assert again.entries("hub:user:refuse-login")[-1]["detail"]["reason"] == "locked"
        again.clock.forward(minutes=14, seconds=59)
        assert refusal(again).slug == "login-locked"
        again.clock.forward(seconds=1)
        again.login()
    finally:
        again.close()


def test_each_further_lock_is_longer_until_a_login_succeeds(analyst: Enclave) -> None:
    def lock() -> None:
        for _ in range(5):
            refusal(analyst, password="wrong password!")

    lock()
    analyst.clock.forward(minutes=15)
    lock()
    analyst.clock.forward(minutes=15)
    assert refusal(analyst).slug == "login-locked"
    analyst.clock.forward(minutes=15)
    analyst.login()
    lock()
    analyst.clock.forward(minutes=15)
    analyst.login()


def test_a_lock_does_not_tell_whether_the_name_exists(analyst: Enclave) -> None:
    for _ in range(5):
        refusal(analyst, user="nobody")
    assert refusal(analyst, user="nobody").slug == "login-locked"


def test_lock_lengths_double_and_end_at_a_day() -> None:
    minutes = [rules.lock_length(n).total_seconds() / 60 for n in (0, 1, 2, 6, 7, 1000)]
    assert minutes == [15, 30, 60, 960, 1440, 1440]


@pytest.mark.parametrize(
    ("user", "password", "otp_secret"),
    [
        ("Analyst", PASSWORD, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
        ("a" * 33, PASSWORD, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
        ("ann", "short", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
        ("ann", PASSWORD, "GEZDGNBV"),
        ("ann", PASSWORD, "not base32!"),
    ],
)
def test_unfit_accounts_are_refused(enclave: Enclave, user: str, password: str, otp_secret: str) -> None:
    body = {"user": user, "full_name": "Ann", "password": password, "otp_secret": otp_secret}
    with pytest.raises(Problem) as refused:
        enclave.operator("POST", "accounts", body)
    assert refused.value.status == 422
    assert password not in str(refused.value.as_json())


def test_an_account_is_made_once(analyst: Enclave) -> None:
    with pytest.raises(Problem) as refused:
        analyst.account("analyst")
    assert refused.value.status == 409


def test_logout_is_recorded(analyst: Enclave) -> None:
    analyst.hub_caller("POST", "logouts", {"user": "analyst"})
    assert [entry["actor"] for entry in analyst.entries("hub:user:logout")] == ["user:analyst"]
