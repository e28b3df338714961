"""The demo's people, its codes, and what RESET may delete."""

from __future__ import annotations

import base64
import csv
import dataclasses
import stat

import pytest
from strongroom_hub import demo, setup
from strongroom_hub.cli import demo as cli
from strongroom_hub.config import Uids
from typer import Exit

RFC_6238_SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_codes_are_those_of_rfc_6238(at, code):
    assert demo.one_time_code(RFC_6238_SECRET, at) == code


def test_accounts_are_random_and_kept_private(tmp_path):
    first, second = demo.new_accounts(), demo.new_accounts()
    assert set(first) == {"analyst", "analyst2", "steward", "steward2", "admin", "auditor"}
    assert not {a.password for a in first.values()} & {a.password for a in second.values()}
    assert len({a.otp_secret for a in first.values()}) == len(first)
    demo._save(tmp_path / demo.ACCOUNTS_FILE, first)
    assert stat.S_IMODE((tmp_path / demo.ACCOUNTS_FILE).stat().st_mode) == 0o600
    assert demo.load_accounts(tmp_path) == first


def test_reset_deletes_only_what_the_demo_made(tmp_path, capsys):
    data = tmp_path / "demo"
    cli._reset(data)
    data.mkdir()
    (data / "precious").touch()
    with pytest.raises(Exit):
        cli._reset(data)
    assert (data / "precious").exists()
    assert "was not made by the demo" in capsys.readouterr().err
    (data / cli.MARKER).touch()
    cli._reset(data)
    assert not data.exists()


def test_reset_does_not_follow_a_link(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / cli.MARKER).touch()
    (tmp_path / "demo").symlink_to(real)
    with pytest.raises(Exit):
        cli._reset(tmp_path / "demo")
    assert (real / cli.MARKER).exists()


@pytest.mark.parametrize("name", ["analyst", "analyst2"])
def test_what_is_said_of_an_analyst_is_what_the_policy_gives(name):
    lines = (setup.default_policy() / "policy.csv").read_text(encoding="utf-8").splitlines()
    rows = [[field.strip() for field in row] for row in csv.reader(lines)]
    given = {row[2] for row in rows if row and row[0] == "g" and row[1] == f"user:{name}"}
    projects = [project for project in demo.PROJECTS if f"project:{project}" in given]
    (clearance,) = [one.removeprefix("clearance:") for one in given if one.startswith("clearance:")]
    assert demo.ROLE_TEXTS[name] == f"works in {' and '.join(projects)}, cleared up to {clearance}"


def test_the_last_page_of_the_start_says_what_runs_where_and_what_is_weaker(tmp_path):
    runtime = setup.Runtime("/node", "/proxy", "/python", "/kernel")
    accounts = demo.new_accounts()
    one_uid = dataclasses.replace(setup.new_instance(tmp_path, runtime, port=8443), uids=None)
    page = cli._table(one_uid, accounts)
    for words in (
        "https://127.0.0.1:8443/services/control/",
        str(one_uid.tls_dir / "ca.pem"),
        "make otp USER=",
        "make policy-check",
        "make verify",
        "under one uid",
        *(account.password for account in accounts.values()),
    ):
        assert words in page
    assert all(len(line) <= 120 for line in page.splitlines() if str(tmp_path) not in line)
    separate = dataclasses.replace(one_uid, uids=Uids(1, 2, 3, 100))
    assert "under one uid" not in cli._table(separate, accounts)
