from __future__ import annotations

import json

import pytest
from strongroom_hub.cli.policy import app
from typer.testing import CliRunner


@pytest.fixture
def run():
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words])


def test_check_of_the_default_policy(run, default_folder) -> None:
    done = run("check", default_folder)
    assert done.exit_code == 0
    assert "is in order, and its tests pass" in done.output
    found = json.loads(run("check", default_folder, "--json").output)
    assert found["ok"] is True
    assert len(found["version"]) == 12


def test_check_says_file_line_and_what_was_meant(run, folder) -> None:
    (folder / "policy.csv").write_text("# rules\np, R, *, raed, lab/d, *, , , allow, why\n")
    done = run("check", folder)
    assert done.exit_code == 1
    assert "policy.csv:2: unknown action 'raed'" in done.output
    assert "did you mean 'read'?" in done.output
    assert "Traceback" not in done.output
    found = json.loads(run("check", folder, "--json").output)
    assert found == {
        "ok": False,
        "problems": [
            {"file": "policy.csv", "line": 2, "message": "unknown action 'raed'", "hint": "did you mean 'read'?"}
        ],
    }


def test_test_shows_each_case(run, folder) -> None:
    (folder / "policy.csv").write_text("p, R, *, read, lab/d, *, , , allow, why\n")
    line = "{}, user:a, read, lab/d, public, , , 2026-12-01, , why\n"
    (folder / "tests.csv").write_text(line.format("allow"))
    done = run("test", folder)
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "pass  tests.csv:1  allow user:a read lab/d (label public)",
        "1 of 1 tests pass",
    ]
    (folder / "tests.csv").write_text(line.format("allow") + line.format("deny"))
    done = run("test", folder)
    assert done.exit_code == 1
    assert "FAIL  tests.csv:2" in done.output
    assert "R (policy.csv:1)" in done.output
    found = json.loads(run("test", folder, "--json").output)
    assert (found["ok"], [bool(case["problem"]) for case in found["cases"]]) == (False, [False, True])


def test_explain(run, default_folder) -> None:
    words = ("explain", "analyst", "read", "transport/flights", "--dir", default_folder, "--label", "internal")
    done = run(*words, "--project", "cardio", "--at", "2026-12-01")
    assert done.exit_code == 0
    assert done.output.startswith("ALLOW: user:analyst read transport/flights (label internal) for project:cardio")
    assert "because rule I1 (policy.csv:" in done.output
    assert "owing display cell=4MiB by O2 (policy.csv:" in done.output
    done = run(*words)
    assert done.output.startswith("DENY")
    assert "no project was given" in done.output
    assert json.loads(run(*words, "--json").output)["allowed"] is False


def test_explain_refuses_what_it_does_not_understand(run, default_folder) -> None:
    words = ("explain", "analyst", "read", "transport/flights", "--dir", default_folder)
    for more, says in ((("--label", "open"), "unknown label"), (("--at", "soon"), "is no date")):
        done = run(*words, *more)
        assert done.exit_code == 2
        assert says in done.output


def test_without_a_folder_or_an_installation_it_says_so(run, monkeypatch) -> None:
    monkeypatch.delenv("STRONGROOM_INSTANCE", raising=False)
    done = run("check")
    assert done.exit_code == 2
    assert "no policy folder given" in done.output
