from __future__ import annotations

import pytest
from strongroom_policy.decision import Request
from strongroom_policy.engine import load, parse_sources
from strongroom_policy.errors import PolicyError
from strongroom_policy.files import file_names, read_folder

ALLOW = "g, user:a, role:r\np, A, role:r, read, lab/**, *, , , allow,\n"


@pytest.fixture
def rules(folder):
    (folder / "policy.csv").write_text(ALLOW)
    (folder / "policy.d").mkdir()
    return folder / "policy.d"


def test_further_files_are_read_in_the_order_of_their_names(folder, rules, noon) -> None:
    (rules / "20-more.csv").write_text("p2, O1, *, read, lab/d, *, mask, null, ,\n")
    (rules / "10-stop.csv").write_text("# closed\np, D, role:r, read, lab/closed, *, , , deny, shut\n")
    assert file_names(folder) == (
        "model.conf", "policy.csv", "policy.d/10-stop.csv", "policy.d/20-more.csv", "labels.toml", "profiles.toml",
        "tests.csv",
    )  # fmt: skip
    policy = load(folder, now=noon)
    decision = policy.decide(Request("user:a", "read", "lab/closed", label="public", now=noon))
    assert "rule D (policy.d/10-stop.csv:2) denies read" in decision.explain()
    owed = policy.decide(Request("user:a", "read", "lab/d", label="public", now=noon)).obligations
    assert owed.mask.rule == "O1 (policy.d/20-more.csv:1)"


def test_mistakes_are_told_with_their_file_and_across_files(folder, rules, noon) -> None:
    (rules / "b.csv").write_text("p, A, role:r, read, lab/d, *, , , deny,\ng, user:a, role:r\n")
    (rules / "a.csv").write_text("p, X, role:r, raed, lab/d, *, , , deny,\n")
    with pytest.raises(PolicyError) as caught:
        load(folder, now=noon)
    assert [(one.file, one.line) for one in caught.value.problems] == [("policy.d/a.csv", 1)]
    (rules / "a.csv").unlink()
    with pytest.raises(PolicyError) as caught:
        load(folder, now=noon)
    assert [one.message for one in caught.value.problems] == [
        "the id A is taken by policy.csv:2",
        "the same row stands in policy.csv:1",
    ]
    assert {one.file for one in caught.value.problems} == {"policy.d/b.csv"}


@pytest.mark.parametrize("name", ["stop.CSV", "stop.csv.txt", "stop", ".stop.csv", "a b.csv", "-x.csv", "stop.csv.bak"])
def test_what_would_not_be_read_is_refused(folder, rules, noon, name: str) -> None:
    (rules / name).write_text("p, D, role:r, read, lab/d, *, , , deny,\n")
    with pytest.raises(PolicyError) as caught:
        load(folder, now=noon)
    assert [(one.file, one.message) for one in caught.value.problems] == [
        (f"policy.d/{name}", "this would not be read")
    ]


def test_a_folder_within_the_folder_is_refused(folder, rules, noon) -> None:
    (rules / "old.csv").mkdir()
    with pytest.raises(PolicyError, match="would not be read"):
        load(folder, now=noon)


def test_what_editors_leave_behind_is_no_rule(folder, rules, noon) -> None:
    for name in (".stop.csv.swp", "stop.csv~", "#stop.csv#", ".#stop.csv.lock"):
        (rules / name).write_text("rubbish")
    before = load(folder, now=noon)
    for entry in rules.iterdir():
        entry.unlink()
    rules.rmdir()
    assert load(folder, now=noon).digest == before.digest


def test_the_version_follows_names_and_contents(folder, rules, noon) -> None:
    digests = {load(folder, now=noon).digest}
    file = rules / "a.csv"
    file.write_text("# nothing\n")
    digests.add(load(folder, now=noon).digest)
    file.write_text("# nothing!\n")
    digests.add(load(folder, now=noon).digest)
    file.rename(rules / "b.csv")
    digests.add(load(folder, now=noon).digest)
    assert len(digests) == 4


def test_the_same_files_from_elsewhere_are_the_same_policy(folder, rules, noon) -> None:
    (rules / "a.csv").write_text("# nothing\n")
    files = read_folder(folder)
    assert parse_sources(dict(reversed(files.items()))).digest == load(folder, now=noon).digest
