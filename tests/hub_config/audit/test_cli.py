from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.cli.audit import app
from strongroom_hub.config import Instance
from typer.testing import CliRunner, Result

RUNNER = CliRunner()


@pytest.fixture
def run(log_of: Callable[[int], Path], keys: LogKeys, tmp_path: Path) -> Callable[..., Result]:
    """Runs a command on a log of 20 entries."""
    database = log_of(20)
    vkey = tmp_path / "public.vkey"
    vkey.write_text(keys.vkey)

    def command(*arguments: str) -> Result:
        options = [] if "--directory" in arguments else ["--database", str(database)]
        return RUNNER.invoke(app, [*arguments, *options, "--vkey", str(vkey)])

    return command


def spoil(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER log_entries_no_update")
        connection.execute("UPDATE log_entries SET leaf = leaf || 'x' WHERE \"index\" = 13")
        connection.commit()


def test_verify_says_sound(run: Callable[..., Result], keys: LogKeys) -> None:
    result = run("verify")
    assert result.exit_code == 0
    assert f"sound: 20 entries of {keys.name}" in result.output


def test_verify_names_the_altered_entry(run: Callable[..., Result], database: Path) -> None:
    spoil(database)
    result = run("verify")
    assert result.exit_code == 1
    assert "entry 13: leaf: it was changed" in result.output
    assert "ALTERED" in result.output
    assert run("show", "13").exit_code == 1
    assert run("show", "12").exit_code == 0


def test_verify_says_why_it_cannot(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "rubbish").write_text("rubbish")
    for arguments, words in (
        (("verify", "--directory", str(tmp_path)), "no file 'checkpoint'"),
        (("verify", "--checkpoint", str(tmp_path / "rubbish")), "not a signed note"),
        (("verify", "--checkpoint", str(tmp_path / "nowhere")), "nowhere"),
    ):
        result = run(*arguments)
        assert (result.exit_code, words in result.output) == (2, True), result.output
    for options in (["--vkey", str(tmp_path / "rubbish")], ["--instance", str(tmp_path / "rubbish")]):
        result = RUNNER.invoke(app, ["verify", *options])
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_verify_compares_with_an_earlier_checkpoint(run: Callable[..., Result], keys: LogKeys, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    earlier.write_text(keys.sign(21, bytes(32)))
    result = run("verify", "--checkpoint", str(earlier))
    assert result.exit_code == 1
    assert "cut back" in result.output


def test_show_prints_the_proven_entry(run: Callable[..., Result]) -> None:
    result = run("show", "7")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["index"] == 7
    assert "proven: entry 7 of 20" in result.stderr
    assert run("show", "20").exit_code == 2
    assert "no entry 20" in run("show", "20").output


def test_export_writes_a_folder_that_verifies(run: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    assert run("export", str(folder)).exit_code == 0
    assert run("verify", "--directory", str(folder)).exit_code == 0
    again = run("export", str(folder))
    assert again.exit_code == 2
    assert "not empty" in again.output
    (folder / "tile" / "0" / "000.p" / "20").write_bytes(b"")
    assert run("verify", "--directory", str(folder)).exit_code == 1


def test_the_instance_says_where_everything_is(
    log_of: Callable[[int], Path], keys: LogKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = Instance(
        data=tmp_path / "data",
        run=tmp_path / "run",
        public_url="https://127.0.0.1:8443/",
        proxy_api_port=1,
        hub_port=2,
        control_port=3,
        node="node",
        proxy_script="proxy",
        server_python="python",
        kernel_prefix="kernel",
    )
    instance.control_dir.mkdir(parents=True)
    instance.public_dir.mkdir()
    log_of(3).rename(instance.database)
    (instance.public_dir / "log.vkey").write_text(keys.vkey + "\n")
    instance.save()
    monkeypatch.setenv("STRONGROOM_INSTANCE", str(instance.path))
    result = RUNNER.invoke(app, ["verify"])
    assert (result.exit_code, "sound: 3 entries" in result.output) == (0, True), result.output
