"""Who may log in: passwords, one-time codes and lock-out. Pure but for the password hash's randomness."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from strongroom_policy.questions import MAX_GROUPS
from strongroom_policy.vocabulary import SUBJECT

from strongroom_hub.control.times import iso
from strongroom_hub.problems import Problem

USER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NAME_SHOWN = 64
PASSWORD_MIN, PASSWORD_MAX = 12, 256
OTP_DIGITS, OTP_STEP = 6, 30
OTP_WINDOW = 1
"""Steps before and after the current one that count, for clocks that differ."""
OTP_SECRET_BYTES = 20
FAILURES_BEFORE_LOCK = 5
FIRST_LOCK = timedelta(minutes=15)
LONGEST_LOCK = timedelta(days=1)
ITERATIONS, LANES, MEMORY_KIB = 2, 1, 19 * 1024
"""Argon2id cost: OWASP's first choice, about 30 ms and 19 MiB for each try."""


def hash_password(password: str) -> str:
    """Argon2id, PHC form, fresh salt."""
    kdf = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
    return kdf.derive_phc_encoded(password.encode())


def password_matches(password: str, phc: str | None) -> bool:
    """Takes the same time for a name without an account (`phc` None)."""
    try:
        Argon2id.verify_phc_encoded(password.encode(), phc or _nobody())
    except InvalidKey:
        return False
    return phc is not None


@cache
def _nobody() -> str:
    return hash_password(secrets.token_urlsafe(32))


def decode_otp_secret(text: str) -> bytes:
    """Base32 to bytes. Raises Problem 422 when it is not Base32 or shorter than 16 bytes."""
    try:
        secret = base64.b32decode(text.replace(" ", "").upper() + "=" * (-len(text.replace(" ", "")) % 8))
    except binascii.Error as error:
        raise _bad_account("the one-time-code secret is not Base32") from error
    if len(secret) < 16:  # noqa: PLR2004 - RFC 4226 asks for 128 bits
        raise _bad_account("the one-time-code secret is shorter than 128 bits")
    return secret


def otp_step(otp: str, secret: bytes, now: datetime) -> int | None:
    """The time step that this code belongs to, within the window; None when it belongs to none."""
    if not re.fullmatch(rf"[0-9]{{{OTP_DIGITS}}}", otp):
        return None
    totp = TOTP(secret, OTP_DIGITS, SHA1(), OTP_STEP)  # noqa: S303 - what authenticators speak; HMAC-SHA1 is sound
    current = int(now.timestamp()) // OTP_STEP
    matching = [
        step
        for step in range(current - OTP_WINDOW, current + OTP_WINDOW + 1)
        if constant_time.bytes_eq(totp.generate(step * OTP_STEP), otp.encode())
    ]
    return max(matching, default=None)


def lock_length(earlier_locks: int) -> timedelta:
    """15 minutes, doubling with each lock since the last success, at most a day."""
    return min(FIRST_LOCK * (1 << min(earlier_locks, 10)), LONGEST_LOCK)


def check_not_locked(locked_until: datetime | None, now: datetime) -> None:
    """Raises Problem 429 while the lock lasts."""
    if locked_until is not None and now < locked_until:
        raise Problem(
            429,
            "login-locked",
            "Too many failed logins",
            f"Logging in under this name is locked until {iso(locked_until)}.",
            why=(f"{FAILURES_BEFORE_LOCK} logins in a row failed",),
            next="Wait until then, or ask an administrator if it was not you.",
        )


def is_locked(locked_until: datetime | None, now: datetime) -> bool:
    try:
        check_not_locked(locked_until, now)
    except Problem:
        return True
    return False


def refused_login() -> Problem:
    """One text for an unknown name, a wrong password and a wrong code."""
    return Problem(
        401,
        "login-refused",
        "Login refused",
        "The name, the password or the one-time code is not right.",
        next="Check all three; a code is good for about a minute.",
    )


def spent_code() -> Problem:
    return Problem(
        401,
        "code-spent",
        "This one-time code has been used",
        "Each one-time code lets you in once.",
        next="Wait for the next code in your authenticator and log in with that one.",
    )


def check_account(user: str, password: str, otp_secret: str) -> None:
    """Raises Problem 422 naming the first thing that is wrong."""
    if not USER_NAME.fullmatch(user):
        raise _bad_account("a user name is 1 to 32 of a-z 0-9 _ - and starts with a letter")
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise _bad_account(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    decode_otp_secret(otp_secret)


def _bad_account(why: str) -> Problem:
    return Problem(
        422,
        "invalid-account",
        "This account cannot be made",
        "Nothing was created.",
        why=(why,),
        next="Correct what is named above and try again.",
    )


def provided(names: Iterable[str]) -> tuple[frozenset[str], int]:
    """Groups of an identity provider as `group:NAME`, and how many no rule can mean, because their names do not fit.

    Raises Problem 422 where there are more than a decision looks at: leaving some out could undo a denial.
    """
    named = {f"group:{name}" for name in names}
    fitting = frozenset(group for group in named if SUBJECT.fullmatch(group))
    if len(fitting) > MAX_GROUPS:
        raise Problem(
            422,
            "too-many-groups",
            "Too many groups",
            f"The identity provider names {len(fitting)} groups of this person; at most {MAX_GROUPS} are looked at.",
            next="Ask your operator to have the provider send only the groups that concern the enclave.",
        )
    return fitting, len(named) - len(fitting)


def unfit_name(name: str) -> Problem:
    """For who was confirmed by an identity provider, under a name that cannot be a person's here."""
    shown = name if name.isprintable() and len(name) <= NAME_SHOWN else "the name"
    return Problem(
        403,
        "unfit-name",
        "This login name cannot be used here",
        f"{shown} is not made of at most 32 small letters, digits, - and _, beginning with a letter.",
        next="Ask your operator to take the login name from another claim of the identity provider.",
    )
