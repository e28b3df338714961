"""The demo's people and projects: made through the operator's door, like any other account."""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from strongroom_hub.config import Instance
from strongroom_hub.internal import ControlClient
from strongroom_hub.problems import Problem

ACCOUNTS_FILE = "demo-accounts.json"
DATA_STAMP = "demo-data-is-in"
OTP_DIGITS, OTP_SECONDS, OTP_SECRET_BYTES = 6, 30, 20
PROJECT_DAYS = 365
CONFLICT = 409

PEOPLE = {
    "analyst": "Ada Analyst",
    "analyst2": "Ben Analyst",
    "steward": "Sol Steward",
    "steward2": "Tess Steward",
    "admin": "Alex Admin",
    "auditor": "Olga Auditor",
}
ROLE_TEXTS = {
    "analyst": "works in cardio and elections, cleared up to confidential",
    "analyst2": "works in cardio, cleared up to internal",
    "steward": "decides on access and exports, in the console",
    "steward2": "the same; exports of secret data need both stewards",
    "admin": "answers for the policy files",
    "auditor": "reads the audit log, in the console",
}
"""What `policy/policy.csv` gives each of them, in words."""
PROJECTS = {
    "cardio": ("Cardio", "Does cost sharing change how often people see a doctor? (RAND health insurance experiment)"),
    "elections": ("Elections", "How do income and education relate to the vote? (American National Election Study)"),
}


@dataclass(frozen=True, slots=True)
class Account:
    """A demo person with what they need to log in."""

    name: str
    full_name: str
    password: str
    otp_secret: str
    """Base32, as authenticator apps take it."""


def one_time_code(secret: str, at: float | None = None) -> str:
    """The six digits that count now (RFC 6238, SHA-1, 30 s), for a base32 secret."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    totp = TOTP(key, OTP_DIGITS, SHA1(), OTP_SECONDS)  # noqa: S303 - what every authenticator app uses
    return totp.generate(int(time.time() if at is None else at)).decode()


def new_accounts() -> dict[str, Account]:
    """The demo's people with random passwords and code secrets."""
    return {
        name: Account(
            name=name,
            full_name=full_name,
            password=secrets.token_urlsafe(12),
            otp_secret=base64.b32encode(secrets.token_bytes(OTP_SECRET_BYTES)).decode(),
        )
        for name, full_name in PEOPLE.items()
    }


def load_accounts(data: Path) -> dict[str, Account]:
    """What `populate` wrote. Raises FileNotFoundError before the first start, ValueError for a damaged file."""
    raw = json.loads((data / ACCOUNTS_FILE).read_text(encoding="utf-8"))
    return {name: Account(**fields) for name, fields in raw.items()}


def populate(instance: Instance, say: Callable[[str], None]) -> dict[str, Account]:
    """Make accounts, projects and data in a running instance; what is there already stays. Returns the accounts."""
    try:
        accounts = load_accounts(instance.data)
    except FileNotFoundError:
        accounts = new_accounts()
        _save(instance.data / ACCOUNTS_FILE, accounts)
    stamp = instance.data / DATA_STAMP
    if stamp.exists():
        return accounts
    control = ControlClient(instance.control_socket, instance.operator_token_file)
    say("making the demo accounts and projects")
    for account in accounts.values():
        body = {
            "user": account.name,
            "full_name": account.full_name,
            "password": account.password,
            "otp_secret": account.otp_secret,
        }
        _unless_there(control, "accounts", body)
    since = datetime.now(UTC)
    for name, (title, purpose) in PROJECTS.items():
        window = {"since": _rfc3339(since), "until": _rfc3339(since + timedelta(days=PROJECT_DAYS))}
        _unless_there(control, "projects", {"name": name, "title": title, "purpose": purpose, **window})
    say("loading the demo data (real data sets from Python packages)")
    # Heavy (polars and the packages with the data), and only the very first start needs it.
    from strongroom_hub import demo_data  # noqa: PLC0415

    demo_data.ingest(instance, say)
    stamp.touch()
    return accounts


def _unless_there(control: ControlClient, path: str, body: dict[str, str]) -> None:
    try:
        control.call("POST", path, body)
    except Problem as problem:
        if problem.status != CONFLICT:
            raise


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _save(path: Path, accounts: dict[str, Account]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({name: asdict(account) for name, account in accounts.items()}, file, indent=2)
