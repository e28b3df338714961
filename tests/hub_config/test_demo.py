"""The demo's people, its codes, and what RESET may delete."""

from __future__ import annotations

import base64
import stat

import pytest
from strongroom_hub import demo
from strongroom_hub.cli import demo as cli
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
