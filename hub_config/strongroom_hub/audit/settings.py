"""What an operator decides about the log: the table `[audit]` of `instance.toml`. Never a secret, only where one lies.

[audit]
erasure = "two-person"          # or "off", the default: texts may be erased by two people, or never
witness_alarm_minutes = 10      # how long no witness may have co-signed before that is an alarm
witness_required = false        # true: then nothing is written any more

[[audit.witnesses]]
url = "https://witness.example:8460/"
key = "witness.example/w1+0a1b2c3d+BE..."
ca_file = "/etc/strongroom/witness-ca.pem"      # where it is not one of the system's

[audit.push]
url = "syslog+tls://siem.example:6514"          # syslog+tcp, syslog+unix:///path, https or http (webhook)
form = "ocsf"                                   # or "jsonl"
secret_file = "/etc/strongroom/webhook.key"     # webhooks: what signs them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

OFF, TWO_PERSON = "off", "two-person"
T = TypeVar("T")
PUSH_SCHEMES = ("syslog+tls", "syslog+tcp", "syslog+unix", "https", "http")
PUSH_FORMS = ("ocsf", "jsonl")
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    url: str
    key: str
    """The witness's verifier key, type 0x04."""
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    url: str
    form: str = "ocsf"
    secret_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    erasure: str = OFF
    text_search: bool = True
    witness_alarm_minutes: int = 10
    witness_required: bool = False
    witnesses: tuple[WitnessSettings, ...] = ()
    push: PushSettings | None = None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> AuditSettings:
        """Raises ValueError in words that name what is wrong."""
        values = dict(raw)
        witnesses = tuple(_table(WitnessSettings, one, "audit.witnesses") for one in values.pop("witnesses", []))
        push = _table(PushSettings, values.pop("push"), "audit.push") if "push" in values else None
        settings = _table(cls, values, "audit", witnesses=witnesses, push=push)
        settings.check()
        return settings

    def check(self) -> None:
        """Raises ValueError."""
        if self.erasure not in {OFF, TWO_PERSON}:
            raise ValueError(f'audit.erasure is {self.erasure!r}, but must be "{OFF}" or "{TWO_PERSON}"')
        if self.witness_alarm_minutes < 1:
            raise ValueError("audit.witness_alarm_minutes must be 1 or more")
        if self.witness_required and not self.witnesses:
            raise ValueError("audit.witness_required is true, but no [[audit.witnesses]] is named")
        for witness in self.witnesses:
            _check_url(witness.url, ("https", "http"), "audit.witnesses: url")
        if self.push is None:
            return
        _check_url(self.push.url, PUSH_SCHEMES, "audit.push: url")
        if self.push.form not in PUSH_FORMS:
            raise ValueError(f"audit.push: form is {self.push.form!r}, but must be one of {', '.join(PUSH_FORMS)}")
        if self.push.url.startswith("http") and self.push.secret_file is None:
            raise ValueError("audit.push: a webhook needs a secret_file, whose content signs what is sent")

    def lines(self) -> list[str]:
        """As TOML, to stand at the end of `instance.toml`; nothing where all is as by default."""
        if self == AuditSettings():
            return []
        return (
            ["[audit]", *_lines(self)]
            + [line for witness in self.witnesses for line in ("[[audit.witnesses]]", *_lines(witness))]
            + ([] if self.push is None else ["[audit.push]", *_lines(self.push)])
        )


def _table(kind: type[T], raw: Any, name: str, **more: Any) -> T:
    if not isinstance(raw, dict):
        raise ValueError(f"{name} must be a table")  # noqa: TRY004 - a file's content, not a type
    known = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise ValueError(f"{name} has no setting {key!r}; it has {', '.join(known)}")
        wanted = {"int": int, "bool": bool}.get(known[key], str)
        if type(value) is not wanted:
            raise ValueError(f"{name}: {key} must be of the kind {wanted.__name__}")
        values[key] = Path(str(value)) if known[key].startswith("Path") else value
    try:
        return kind(**values, **more)
    except TypeError as error:
        raise ValueError(f"{name} lacks a setting: {error}") from error


def _check_url(url: str, schemes: tuple[str, ...], name: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"{name} must begin with one of {', '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.scheme == "syslog+unix":
        if not parts.path:
            raise ValueError(f"{name} must name a socket, for example syslog+unix:///run/siem.sock")
        return
    if not parts.hostname:
        raise ValueError(f"{name} names no host")
    if parts.scheme in {"http", "syslog+tcp"} and parts.hostname not in LOOPBACK:
        raise ValueError(f"{name} leaves this machine unencrypted: use https:// or syslog+tls://")


def _lines(table: Any) -> list[str]:
    lines = []
    for field in fields(table):
        value = getattr(table, field.name)
        if isinstance(value, bool):
            lines.append(f"{field.name} = {str(value).lower()}")
        elif isinstance(value, int):
            lines.append(f"{field.name} = {value}")
        elif isinstance(value, str | Path):
            lines.append(f'{field.name} = "{value}"')
    return lines
