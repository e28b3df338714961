from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from enclave import make_instance
from strongroom_hub.audit.settings import AuditSettings, PushSettings, WitnessSettings
from strongroom_hub.config import Instance

ALL = AuditSettings(
    erasure="two-person",
    witness_alarm_minutes=3,
    witness_required=True,
    witnesses=(
        WitnessSettings(url="https://w.example:8460/", key="w+00000000+BA==", ca_file=Path("/etc/ca.pem")),
        WitnessSettings(url="http://127.0.0.1:1/", key="v+00000000+BA=="),
    ),
    push=PushSettings(url="syslog+unix:///run/siem.sock", form="jsonl"),
)


@pytest.mark.parametrize("settings", [AuditSettings(), ALL])
def test_settings_come_back_from_the_instance_file(tmp_path: Path, settings: AuditSettings) -> None:
    instance = make_instance(tmp_path, audit=settings)
    instance.save()
    assert Instance.load(instance.path) == instance


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('erasure = "maybe"', "must be"),
        ("erasure = true", "erasure must be of the kind str"),
        ("erasures = 1", "no setting 'erasures'"),
        ("witness_alarm_minutes = 0", "1 or more"),
        ("witness_required = true", "no [[audit.witnesses]]"),
        ('[[audit.witnesses]]\nurl = "https://w/"', "key"),
        ('[[audit.witnesses]]\nurl = "http://w/"\nkey = "k"', "unencrypted"),
        ('[[audit.witnesses]]\nurl = "ftp://w/"\nkey = "k"', "must begin with"),
        ('[audit.push]\nurl = "https://s/"', "secret_file"),
        ('[audit.push]\nurl = "syslog+tcp://s:1"', "unencrypted"),
        ('[audit.push]\nurl = "syslog+unix:"', "name a socket"),
        ('[audit.push]\nurl = "syslog+tls:///x"', "no host"),
        ('[audit.push]\nurl = "syslog+tls://s"\nform = "xml"', "one of ocsf, jsonl"),
        ("push = 1", "must be a table"),
    ],
)
def test_what_is_wrong_is_said_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match="audit") as caught:
        AuditSettings.parse(tomllib.loads(f"[audit]\n{text}")["audit"])
    assert words in str(caught.value)
    instance = make_instance(tmp_path)
    instance.save()
    with instance.path.open("a") as file:
        file.write(f"[audit]\n{text}\n")
    with pytest.raises(ValueError, match=r"instance\.toml"):
        Instance.load(instance.path)
