from __future__ import annotations

import pytest
from strongroom_policy.decision import Request
from strongroom_policy.engine import load
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.profiles import Profile, read_profiles

GOOD = """\
[small]
title = "Small"
sandbox = "bubblewrap"
memory = "1GiB"
cpus = 0.5
processes = 64
open-files = 256
file = "100MiB"
work = "1GiB"
work-files = 1000
tmp = "16MiB"
shm = "64KiB"
"""
RULES = """\
g, user:a, role:r
g, user:a, project:x
g, user:b, role:r
p, U1, role:r, use, profile:large, project:x, , , allow, "needs room"
p, U2, role:r, use, profile:standard, *, , , allow,
p, U3, user:b, use, profile:standard, *, , 2026-11-30, deny, "was noisy"
"""


def refused(text: str) -> list[str]:
    findings: list[Finding] = []
    read_profiles(text.encode(), findings)
    return [str(one) for one in findings]


def test_a_profile_as_the_parts_exchange_it() -> None:
    findings: list[Finding] = []
    (profile,) = read_profiles(GOOD.encode(), findings)
    assert not findings
    assert profile == Profile("small", "Small", "bubblewrap", 1 << 30, 0.5, 64, 256, 100 << 20, 1 << 30, 1000, 1 << 24,
                              1 << 16)  # fmt: skip
    assert profile.as_json() == {
        "name": "small", "title": "Small", "sandbox": "bubblewrap", "memory_bytes": 1 << 30, "cpus": 0.5,
        "processes": 64, "open_files": 256, "file_bytes": 100 << 20, "work_bytes": 1 << 30, "work_files": 1000,
        "tmp_bytes": 1 << 24, "shm_bytes": 1 << 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[small]", "[sm all]", "not TOML"),
        ("[small]", '["sm all"]', "cannot be a profile's name"),
        ("[small]", "small = 1\n[other]", "[small] is no section"),
        ("memory =", "memroy =", "did you mean 'memory'"),
        ('memory = "1GiB"\n', "", "memory is missing"),
        ('"bubblewrap"', '"bublewrap"', "did you mean 'bubblewrap'"),
        ('"bubblewrap"', "3", "unknown tier"),
        ('"1GiB"\ncpus', '"1 GB"\ncpus', "is no size"),
        ('"1GiB"\ncpus', "1073741824\ncpus", "is no size"),
        ('"1GiB"\ncpus', '"1MiB"\ncpus', "is not between 256MiB and"),
        ("cpus = 0.5", "cpus = true", "number of processors"),
        ("cpus = 0.5", "cpus = 0", "number of processors"),
        ("cpus = 0.5", "cpus = nan", "number of processors"),
        ("processes = 64", "processes = -1", "whole number from 32"),
        ("processes = 64", "processes = 64.0", "whole number from 32"),
        ("processes = 64", "processes = true", "whole number from 32"),
        ('title = "Small"', 'title = " "', "write a title"),
        ('title = "Small"', 'title = "a\\u001b[31m"', "write a title"),
        ('file = "100MiB"', 'file = "2GiB"', "file is more than work"),
        ('shm = "64KiB"', 'shm = "2GiB"', "shm is more than memory"),
        (GOOD, "", "there is no profile"),
        (GOOD, "\udcff", "not UTF-8"),
    ],
)
def test_what_is_no_profile_is_refused(old: str, new: str, says: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new).encode("utf-8", "surrogateescape")
    findings: list[Finding] = []
    read_profiles(text, findings)
    assert any(says in str(one) for one in findings), findings


def test_who_may_take_which_in_file_order(make, noon) -> None:
    policy = make(RULES)

    def names(user: str, project: str, when=noon) -> list[str]:
        return [one.name for one in policy.profiles_for(f"user:{user}", project, when)]

    assert [one.name for one in policy.profiles] == ["standard", "large", "sealed"]
    assert names("a", "project:x") == ["standard", "large"]
    assert names("a", "") == ["standard"]
    assert names("b", "project:x") == []  # not a member
    assert names("b", "") == ["standard"]
    assert names("b", "", noon.replace(month=11)) == []
    assert names("stranger", "") == []
    assert names("a\n", "project:x") == []


def test_a_profile_carries_no_label_and_asks_for_no_clearance(make, noon) -> None:
    decision = make(RULES).decide(Request("user:a", "use", "profile:large", "project:x", now=noon))
    assert decision.allowed
    assert decision.explain().startswith("ALLOW: user:a use profile:large for project:x  policy")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("p, X, role:r, use, profile:larg, *, , , allow,", "did you mean 'profile:large'"),
        ("p, X, role:r, use, lab/d, *, , , allow,", "use goes with profile:NAME"),
        ("p, X, role:r, use, label:public, *, , , allow,", "use goes with profile:NAME"),
        ("p, X, role:r, read, profile:large, *, , , allow,", "read goes with data"),
        ("p, X, role:r, administer, profile:large, *, , , allow,", "administer goes with"),
        ("g2, profile:large, tag:sensitive", "cannot carry a tag"),
        ("p2, X, *, read, profile:large, *, sandbox, gvisor, ,", "read on profile:large means nothing"),
    ],
)
def test_rules_about_profiles_that_mean_nothing_are_refused(problems, row: str, says: str) -> None:
    assert any(says in str(one) for one in problems(RULES + row))


def test_profiles_are_part_of_the_version_and_a_missing_file_says_what_to_add(make, folder, noon) -> None:
    before = make(RULES)
    file = folder / "profiles.toml"
    file.write_text(file.read_text().replace('memory = "4GiB"', 'memory = "5GiB"'))
    assert load(folder, now=noon).digest != before.digest
    file.unlink()
    with pytest.raises(PolicyError) as caught:
        load(folder, now=noon)
    (found,) = caught.value.problems
    assert found.file == "profiles.toml"
    assert "p, U1, role:analyst, use, profile:standard" in found.hint


def test_an_older_labels_file_is_told_what_to_add(folder, noon) -> None:
    file = folder / "labels.toml"
    file.write_text(file.read_text().replace('sandbox = "bubblewrap"\n', ""))
    with pytest.raises(PolicyError) as caught:
        load(folder, now=noon)
    assert str(caught.value.problems[0]) == ('labels.toml: [defaults] sandbox is missing - add: sandbox = "bubblewrap"')


def test_the_strongest_tier_wins_and_a_denial_needs_the_strongest(make, noon) -> None:
    policy = make(
        "g, user:a, role:r\n"
        "p, R, *, read, lab/**, *, , , allow,\n"
        "p2, S1, *, read, lab/**, *, sandbox, launcher, ,\n"
        "p2, S2, *, read, lab/d, *, sandbox, gvisor, , why\n"
        "p2, S3, role:r, read, lab/d, *, sandbox, bubblewrap, ,\n"
    )

    def tier(what: str):
        return policy.decide(Request("user:a", "read", what, label="public", now=noon)).obligations.sandbox

    assert tier("lab/e").value == "launcher"  # a row speaks, so the default does not
    assert tier("lab/d").value == "gvisor"
    assert tier("lab/d").rule == "S2 (policy.csv:4)"
    assert policy.obligations(Request("user:a", "read", "other/d", now=noon)).sandbox.value == "bubblewrap"
    assert tier("other/d").value == "gvisor"  # beside a denial
