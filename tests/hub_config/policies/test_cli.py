"""The commands against a control service: answers, exit codes, JSON, and what a refusal looks like."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from enclave import Clock, Enclave, Vault, make_instance, open_enclave
from strongroom_hub.cli.policy import app, common
from strongroom_hub.config import TWO_PERSON
from strongroom_hub.control import setup
from strongroom_hub.control.times import iso
from strongroom_hub.problems import Problem
from typer.testing import CliRunner

Run = Callable[..., Result]
NEW = "p, N, user:auditor, discover, label:public, *, , , allow, why\n"


def commands(enclave: Enclave, monkeypatch: pytest.MonkeyPatch) -> Run:
    class Line:
        def __init__(self, *_: Path) -> None:
            pass

        def call(self, method: str, path: str, body: object = None) -> object:
            return enclave.operator(method, path, body)

    enclave.instance.save()
    monkeypatch.setenv("STRONGROOM_INSTANCE", str(enclave.instance.path))
    monkeypatch.setattr(common, "ControlClient", Line)
    monkeypatch.setattr(common, "listens", lambda _: True)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def run(cardio: Enclave, monkeypatch: pytest.MonkeyPatch) -> Run:
    return commands(cardio, monkeypatch)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Enclave]:
    instance = make_instance(tmp_path, policy_activation=TWO_PERSON)
    setup.create(instance)
    made = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    yield made
    made.close()


def draft(enclave: Enclave, tmp_path: Path, rows: str = NEW) -> Path:
    folder = shutil.copytree(enclave.instance.policy_dir, tmp_path / "draft")
    with (folder / "policy.csv").open("a") as file:
        file.write(rows)
    return folder


def test_who_can_knows_labels_accounts_and_grants(cardio: Enclave, run: Run) -> None:
    cardio.account("zoe")
    cardio.grant(cardio.server(), columns=["age"], masks={"age": "hash"})
    done = run("who-can", "read", "health/randhie#age")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "user:analyst may read health/randhie#age (confidential) in cardio"
    assert "rule grant-" in lines[1]
    assert any(line.strip().startswith("owing mask hash by grant-") for line in lines)
    told = json.loads(run("who-can", "discover", "health/randhie", "--project", "cardio", "--json").output)
    assert told["service"] is True
    assert {name for one in told["answers"] for name in one["who"]} == {"user:analyst", "user:analyst2"}
    done = run("who-can", "train", "health/randhie")
    assert (done.exit_code, "nobody may" in done.output) == (1, True)


def test_what_can(run: Run) -> None:
    done = run("what-can", "auditor")
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == "user:auditor may audit log outside projects"
    assert run("what-can", "nobody").exit_code == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("who-can", "raed", "health/randhie"), "did you mean 'read'?"),
        (("who-can", "read", "no object"), "is no object"),
        (("explain", "analyst", "raed", "health/randhie"), "did you mean 'read'?"),
        (("explain", "analyst", "read", "no object"), "is no object"),
        (("explain", "two words", "read", "health/randhie"), "is no user"),
        (("who-can", "read", "health/randhie", "--label", "open"), "unknown label"),
        (("what-can", "analyst", "--at", "soon"), "is no date"),
        (("diff", "nowhere", "."), "is neither a folder nor the number of a version"),
        (("approve", "feed"), "there is no proposal 'feed'"),
    ],
)
def test_what_is_no_question_is_said_and_exits_with_2(run: Run, words: tuple[str, ...], says: str) -> None:
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert says in done.output
    done = run(*words, "--json")
    assert done.exit_code == 2, done.output
    assert json.loads(done.stdout)["ok"] is False
    assert says in json.loads(done.stdout)["detail"]


def test_diff_of_the_folder_and_of_versions(cardio: Enclave, run: Run, tmp_path: Path) -> None:
    assert run("diff").exit_code == 0
    folder = draft(cardio, tmp_path)
    done = run("diff", "1", folder)
    assert done.exit_code == 1
    assert done.output.startswith("user:auditor may now discover ")
    told = json.loads(run("diff", cardio.instance.policy_dir, folder, "--json").output)
    assert (told["ok"], told["service"], told["changes"][0]["kind"]) == (False, True, "may")
    cardio.add_policy(NEW)
    assert "user:auditor may no longer discover" in run("diff", "2", "1").output
    assert run("diff", "99", "1").exit_code == 1


def test_history_and_rollback(cardio: Enclave, run: Run) -> None:
    cardio.add_policy(NEW)
    lines = run("history").output.splitlines()
    assert lines[0].startswith("*   2  ")
    assert lines[1].startswith("    1  ")
    done = run("rollback", "1", "--why", "too wide")
    assert done.exit_code == 0
    assert "user:auditor may no longer discover" in done.output
    assert "as version 3" in done.output
    assert [one["number"] for one in json.loads(run("history", "--json").output)["versions"]] == [3, 2, 1]
    done = run("rollback", "9", "--why", "x")
    assert done.exit_code == 1
    assert "No such version" in done.output
    problem = json.loads(run("rollback", "9", "--why", "x", "--json").output)
    assert (problem["ok"], problem["status"]) == (False, 404)


def test_propose_approve_and_the_rest(pair: Enclave, monkeypatch: pytest.MonkeyPatch) -> None:
    run = commands(pair, monkeypatch)
    assert run("propose", "--why", "w").exit_code == 1
    pair.add_policy(NEW)
    done = run("propose", "--why", "the auditor looks around")
    assert done.exit_code == 0, done.output
    assert "user:auditor may now discover" in done.output
    mine = json.loads(run("proposals", "--json").output)["proposals"][0]
    done = run("approve", mine["id"])
    assert done.exit_code == 1
    assert "This is your own proposal" in done.output
    assert run("withdraw", mine["id"]).exit_code == 0
    theirs = pair.person("admin")("POST", "policy/proposals", {"why": "from the console"})
    assert run("reject", theirs["id"], "--comment", "not now").exit_code == 0
    theirs = pair.person("admin")("POST", "policy/proposals", {"why": "from the console"})
    done = run("approve", theirs["id"])
    assert done.exit_code == 0
    assert "is activated" in done.output
    assert pair.context.policy.digest == theirs["digest"]
    assert run("proposals").output.count("from the console") == 2


def test_what_if_re_decides_readings_outputs_and_exports(
    cardio: Enclave, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom_hub.audit.entries.now", lambda: iso(cardio.clock()))
    cardio.dataset("open/data", "public", ("x", "y"))
    server = cardio.server()
    kernel = cardio.kernel(server)
    with pytest.raises(Exception, match="may not read"):
        cardio.read(server, kernel)
    cardio.read(server, kernel, "open/data")
    cardio.clock.forward(seconds=1)
    cardio.grant(server, columns=["age"], masks={})
    read = cardio.read(server, kernel, columns=["age"])
    server("POST", "display", {"kernel": kernel, "route": "work", "bytes": 10})
    assert run("what-if").output.endswith(f"0 of 4 decisions would be others under {cardio.context.policy.version}\n")
    folder = draft(cardio, tmp_path, 'p, STOP, *, read, health/randhie#age, *, , , deny, "no more"\n')
    done = run("what-if", folder)
    assert done.exit_code == 1
    assert f"entry {read['entry']}  analyst read in cardio: was allowed" in done.output
    assert "health/randhie#age would be denied: rule STOP (policy.csv:" in done.output
    told = json.loads(run("what-if", folder, "--json").output)
    assert [(one["action"], one["was"], one["would_be"]) for one in told["changes"]] == [
        ("display", True, False), ("read", True, False),
    ]  # fmt: skip
    wide = draft(cardio, tmp_path / "wide", "p, ALL, role:analyst, read, health/randhie, *, , , allow, why\n")
    (one,) = json.loads(run("what-if", wide, "--json").output)["changes"]
    assert (one["was"], one["would_be"]) == (False, True)
    masked = draft(cardio, tmp_path / "mask", "p2, M, *, read, open/data#x, *, mask, redact, , why\n")
    (one,) = json.loads(run("what-if", masked, "--json").output)["changes"]
    assert one["differs"] == ["open/data#x: mask none would be redact by M (policy.csv:99)"]
    assert cardio.entries("control:log:read")[-1]["actor"] == "operator"
    # a grant that has ended since still counts for what was read under it
    cardio.clock.forward(days=60)
    assert run("what-if").exit_code == 0


def test_what_if_is_refused_what_is_no_policy(cardio: Enclave, run: Run, tmp_path: Path) -> None:
    done = run("what-if", draft(cardio, tmp_path, "rubbish\n"))
    assert done.exit_code == 1
    assert "unknown kind of row 'rubbish'" in done.output
    with pytest.raises(Exception, match="cannot come into force"):
        cardio.operator("POST", "policy/what-if", {"files": [{"name": "policy.csv", "text": ""}], "last": 5})


def test_recertify_knows_since_when_rows_are_in_force(cardio: Enclave, run: Run) -> None:
    assert run("recertify").exit_code == 0
    cardio.clock.forward(days=200)
    cardio.add_policy("\n# certified 2027-05-01 by user:dora\n" + NEW)
    cardio.clock.forward(days=200)
    done = run("recertify")
    assert done.exit_code == 1
    assert "policy.csv:34: D1, in force since 2026-11-21" in done.output
    assert "N, " not in done.output
    told = json.loads(run("recertify", "--months", "3", "--json").output)
    assert {"place": "policy.csv:101", "owner": "user:dora", "on": "2027-05-01",
            "text": "policy.csv:101: N, certified 2027-05-01",
            "says": "p, N, user:auditor, discover, label:public, *, , , allow, why"} in told["overdue"]  # fmt: skip


def test_check_and_guards_ask_about_the_catalogue(cardio: Enclave, run: Run) -> None:
    with (cardio.instance.policy_dir / "policy.csv").open("a") as file:
        file.write("p, M, role:analyst, discover, health/randhei, *, , , allow, why\n")
    assert "did you mean 'health/randhie'?" in run("check").output
    guard = '[g]\nkind = "never"\nwhy = "w"\nmay = ["read"]\non = "open/data#x"\n'
    (cardio.instance.policy_dir / "guards.toml").write_text(guard)
    done = run("guards")
    assert done.exit_code == 1
    assert "BROKEN  guards.toml:1  g: w" in done.output
    cardio.dataset("open/data", "secret", ("x",))
    done = run("guards")
    assert (done.exit_code, "holds   guards.toml:1  g: w" in done.output) == (0, True)
    assert json.loads(run("guards", "--json").output)["ok"] is True


def test_check_and_guards_ask_about_grants_as_the_service_does(cardio: Enclave, run: Run) -> None:
    grant = cardio.grant(cardio.server())["grant"]["id"]
    with (cardio.instance.policy_dir / "guards.toml").open("a") as file:
        file.write('[no-age]\nkind = "never"\nwhy = "w"\nmay = ["read"]\non = "health/randhie#age"\n')
    for command in ("check", "guards"):
        done = run(command)
        assert done.exit_code == 1
        assert f"in cardio by grant-{grant}" in done.output
        assert "revoke that, or write a row that denies" in done.output
    (cardio.instance.policy_dir / "guards.toml").write_text("")
    assert run("check").exit_code == 0


def test_explain_knows_grants_and_the_catalogue(cardio: Enclave, run: Run) -> None:
    asked = ("explain", "analyst", "read", "health/randhie#age", "--project", "cardio")
    assert run(*asked).output.startswith("DENY: user:analyst read health/randhie#age (label confidential) for project:")
    grant = cardio.grant(cardio.server())["grant"]["id"]
    told = run(*asked).output
    assert told.startswith("ALLOW: user:analyst read health/randhie#age (label confidential) for project:cardio")
    assert f"because rule grant-{grant}" in told
    assert json.loads(run(*asked, "--json").output)["service"] is True
    # what is said beats what the catalogue says
    assert run(*asked, "--label", "secret").output.startswith(
        "DENY: user:analyst read health/randhie#age (label secret)"
    )


def test_the_console_compares_versions_and_the_folder(cardio: Enclave) -> None:
    cardio.add_policy(NEW)
    admin = cardio.person("admin")
    assert admin("GET", "policy/diff")["changed"] is False
    assert "user:auditor may now discover" in admin("GET", "policy/diff", old=1, new=2)["changes"][0]["text"]
    (cardio.instance.policy_dir / "guards.toml").write_text("rubbish")
    with pytest.raises(Problem) as caught:
        admin("GET", "policy/diff")
    assert "this is not TOML" in caught.value.why[0]
    # refused, and compared all the same: nothing is proved here
    (cardio.instance.policy_dir / "guards.toml").write_text(
        '[somebody]\nkind = "somebody"\nmay = ["administer"]\non = "policy"\npeople = 9\nwhy = "w"\n'
    )
    cardio.edit_policy(NEW, "")
    assert cardio.context.policy.state()["state"] == "refused"
    told = [one["text"] for one in cardio.person("auditor")("GET", "policy/diff")["changes"]]
    assert any("user:auditor may no longer discover" in line for line in told)
    with pytest.raises(Problem, match="No policy with the number 9"):
        admin("GET", "policy/diff", old=9)
    with pytest.raises(Problem) as caught:
        cardio.person("analyst")("GET", "policy/diff")
    assert caught.value.status == 403


def test_without_a_service_the_files_alone_are_asked_and_it_says_so(cardio: Enclave, run: Run, monkeypatch) -> None:
    monkeypatch.setattr(common, "listens", lambda _: False)
    done = run("who-can", "discover", "health/randhie", "--label", "public")
    assert done.exit_code == 0
    assert "no control service was asked" in done.output


def test_everything_that_is_found_is_json_too(cardio: Enclave, run: Run) -> None:
    for words in (("check",), ("test",), ("coverage",), ("guards",), ("fmt", "--check"), ("recertify",), ("history",),
                  ("proposals",), ("what-if",), ("diff",), ("who-can", "read", "policy"), ("what-can", "admin"),
                  ("explain", "admin", "administer", "policy"), ("propose", "--why", "w"),
                  ("rollback", "1", "--why", "w")):  # fmt: skip
        done = run(*words, "--json")
        assert isinstance(json.loads(done.output), dict), words
        assert done.exit_code in {0, 1}, words
