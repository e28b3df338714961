"""The verbs of identity: make an account, log in, log out."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.context import Context, settle
from strongroom_hub.identity import rules
from strongroom_hub.identity.models import Account, LoginGuard
from strongroom_hub.problems import Problem


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    user: str
    password: str
    otp: str
    address: str


@dataclass(frozen=True, slots=True)
class Identity:
    name: str
    groups: list[str]


def create_account(
    writer: AuditWriter, context: Context, *, user: str, full_name: str, password: str, otp_secret: str
) -> None:
    """Raises Problem 422 for unfit values and 409 when the name is taken."""
    rules.check_account(user, password, otp_secret)
    hashed = rules.hash_password(password)

    def work(tx: Tx) -> None:
        if tx.session.get(Account, user) is not None:
            raise Problem(
                409,
                "account-exists",
                "This account is there already",
                f"Nothing was changed: {user} exists.",
                next="Choose another name.",
            )
        tx.session.add(
            Account(user=user, full_name=full_name, password=hashed, otp_secret=otp_secret, created=context.clock())
        )
        tx.record(
            Entry(
                action=Action.ACCOUNT_CREATE,
                actor="operator",
                object=f"user:{user}",
                detail={"full_name": full_name},
            )
        )

    writer.transact(work)


def login(writer: AuditWriter, context: Context, attempt: LoginAttempt) -> Identity:
    """Password and one-time code, both right and the code not spent. Every outcome is an entry.

    Raises Problem 401 (refused, code spent) or 429 (locked).
    """
    with context.reading() as session:
        guard = session.get(LoginGuard, attempt.user)
        account = session.get(Account, attempt.user)
        phc = None if account is None else account.password
    locked = guard is not None and rules.is_locked(guard.locked_until, context.clock())
    # The slow part stands outside the transaction: logins of others need not wait for it.
    password_right = not locked and rules.password_matches(attempt.password, phc)
    settle(writer.transact(lambda tx: _judge(tx, context, attempt, password_right=password_right)))
    return Identity(attempt.user, context.policy.roles_of(attempt.user))


def _judge(tx: Tx, context: Context, attempt: LoginAttempt, *, password_right: bool) -> Problem | None:
    now = context.clock()
    guard = tx.session.get(LoginGuard, attempt.user) or LoginGuard(user=attempt.user)
    try:
        rules.check_not_locked(guard.locked_until, now)  # again: another attempt may have locked it meanwhile
    except Problem as problem:
        return _refuse(tx, attempt, problem, "locked")
    account = tx.session.get(Account, attempt.user)
    step = None
    if account is not None and password_right:
        step = rules.otp_step(attempt.otp, rules.decode_otp_secret(account.otp_secret), now)
    if account is None or step is None:
        _count_failure(tx, context, guard)
        reason = "no such account" if account is None else "code" if password_right else "password"
        return _refuse(tx, attempt, rules.refused_login(), reason)
    if step <= account.otp_last_step:
        return _refuse(tx, attempt, rules.spent_code(), "code spent")
    account.otp_last_step = step
    guard.failures, guard.locks, guard.locked_until = 0, 0, None
    tx.session.add_all((account, guard))
    tx.record(Entry(action=Action.USER_LOGIN, actor=f"user:{attempt.user}", detail={"address": attempt.address}))
    return None


def _count_failure(tx: Tx, context: Context, guard: LoginGuard) -> None:
    if not rules.USER_NAME.fullmatch(guard.user):
        return  # cannot be an account, and may be a secret: not kept
    guard.failures += 1
    if guard.failures >= rules.FAILURES_BEFORE_LOCK:
        guard.locked_until = context.clock() + rules.lock_length(guard.locks)
        guard.failures, guard.locks = 0, guard.locks + 1
    tx.session.add(guard)


def _refuse(tx: Tx, attempt: LoginAttempt, problem: Problem, reason: str) -> Problem:
    # What is no user name may be a password in the wrong field: it is not written down.
    name = attempt.user if rules.USER_NAME.fullmatch(attempt.user) else "?"
    tx.record(
        Entry(
            action=Action.USER_REFUSE_LOGIN,
            actor=f"user:{name}",
            detail={"address": attempt.address, "reason": reason, "problem": problem.slug},
        )
    )
    return problem


def logout(writer: AuditWriter, user: str) -> None:
    writer.append(Entry(action=Action.USER_LOGOUT, actor=f"user:{user}"))


def full_name(context: Context, user: str) -> str:
    """The account's full name; the login name where identity comes from elsewhere."""
    with context.reading() as session:
        account = session.get(Account, user)
        return user if account is None else account.full_name
