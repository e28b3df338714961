from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta

import pytest
from strongroom_policy.decision import Request
from strongroom_policy.engine import load
from strongroom_policy.errors import PolicyError
from strongroom_policy.labels import Label
from strongroom_policy.rows import Row
from strongroom_policy.values import NOTHING

RULES = """\
g , user:a, role:r
g , user:a, project:x
g , user:b, role:r
g , user:a, clearance:confidential
g2, lab/d#ssn, tag:direct-identifier
p , R1, role:r, read|display, lab/**, project:x, , , allow, "contract, part 2"
p , R2, *, read, lab/closed, *, , , deny, closed
p , R3, *, export, tag:direct-identifier, *, , , deny, never
p , R4, role:r, export, lab/d, project:x, , , allow,
"""


def ask(now: datetime, /, **given: object) -> Request:
    return Request(**{"subject": "user:a", "action": "read", "object": "lab/d", "purpose": "project:x",
                      "label": "internal", "now": now} | given)  # fmt: skip


def test_an_allow_names_rule_file_line_path_and_reason(make, noon) -> None:
    decision = make(RULES).decide(ask(noon))
    assert decision.allowed
    assert [(rule.id, rule.file, rule.line) for rule in decision.rules] == [("R1", "policy.csv", 6)]
    assert decision.path == ("user:a", "role:r")
    assert decision.why() == (
        'rule R1 (policy.csv:6) allows read|display on lab/** to role:r for project:x: "contract, part 2"',
    )
    assert decision.explain().splitlines()[:2] == [
        f"ALLOW: user:a read lab/d (label internal) for project:x  policy {decision.policy_version}",
        '  because rule R1 (policy.csv:6) allows read|display on lab/** to role:r for project:x ; user:a -> role:r ; "contract, part 2"',  # noqa: E501
    ]
    assert "  owing display 0 by default (labels.toml) display" in decision.explain().splitlines()[2:]


def test_nothing_is_allowed_by_default(make, noon) -> None:
    for csv in ("", RULES):
        policy = make(csv)
        for subject in ("user:a", "user:b", "user:nobody"):
            for what in ("other/d", "lab2/d", "policy", "log", "system", "workspace", "export:1"):
                decision = policy.decide(ask(noon, subject=subject, object=what))
                assert not decision.allowed
                assert decision.obligations.display.value == NOTHING
                assert decision.reason == "no rule grants it"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"purpose": ""}, "R1 (policy.csv:6) would, but it holds for project:x only, and no project was given"),
        ({"subject": "user:b", "label": "public"}, "R1 (policy.csv:6) would, but user:b is not a member of project:x"),
        ({"label": "secret"}, "user:a is cleared up to confidential"),
        ({"label": None}, "the label secret needs a clearance"),
        ({"subject": "user:c", "purpose": "", "label": "public"}, "it is for role:r, which user:c is not and it holds"),
    ],
)
def test_near_misses_say_what_was_lacking(make, noon, given, says) -> None:
    decision = make(RULES).decide(ask(noon, **given))
    assert not decision.allowed
    assert any(says in miss for miss in decision.near_misses), decision.near_misses


def test_near_misses_keep_what_others_were_granted_to_themselves(make, noon) -> None:
    extra = [Row("p", ("grant-1", "user:b", "read", "other/d", "project:x", "", "", "allow", ""), "grant 1")]
    policy = make(RULES, extra=extra)
    assert "grant-1" not in policy.decide(ask(noon, object="other/d")).explain()
    assert "grant-1" in policy.decide(ask(noon, object="other/d", subject="user:b")).explain()


def test_deny_wins_and_covers_what_needs_the_denied_action(make, noon) -> None:
    policy = make(RULES + "p, R5, role:r, display|export|train|reidentify, lab/closed, *, , , allow,\n")
    for action in ("read", "display", "export", "train", "reidentify"):
        decision = policy.decide(ask(noon, object="lab/closed", action=action))
        assert not decision.allowed
        assert [rule.id for rule in decision.rules] == ["R2"]
        assert "denies read on lab/closed to anyone" in decision.explain()


def test_a_tag_on_a_column_denies_that_column_only(make, noon) -> None:
    policy = make(RULES)
    assert policy.tags_of("lab/d#ssn") == {"tag:direct-identifier"}
    assert policy.tags_of("lab/d") == frozenset()
    asked = ask(noon, action="export")
    view = policy.view(asked, {"age": (), "ssn": (), "name": ("tag:direct-identifier",)})
    assert view.columns == ("age",)
    assert not view.allowed
    assert [decision.rules[0].id for decision in view.decisions.values()] == ["R4", "R3", "R3"]
    assert "R3" in view.why()[0]
    assert not policy.view(asked, {}).allowed


def test_a_pattern_covers_whole_segments_only(make, noon) -> None:
    policy = make(RULES)
    answers = {what: policy.decide(ask(noon, object=what)).allowed for what in ("lab/d", "lab/d/e#c", "lab2/d", "la/d")}
    assert answers == {"lab/d": True, "lab/d/e#c": True, "lab2/d": False, "la/d": False}


def test_clearance_includes_the_lower_ones_and_labels_missing_count_as_secret(make, noon) -> None:
    policy = make(RULES)
    allowed = [label for label in (*Label, None, "typo") if policy.decide(ask(noon, label=label)).allowed]
    assert allowed == ["public", "internal", "confidential"]
    assert policy.clearance_of("user:a") is Label.CONFIDENTIAL
    assert policy.clearance_of("user:b") is Label.PUBLIC


@pytest.mark.parametrize(
    "given",
    [
        {"subject": "role:r"},
        {"subject": "*"},
        {"subject": ""},
        {"subject": "user:a\n"},
        {"action": "Read"},
        {"action": "*"},
        {"object": "lab/**"},
        {"object": "*"},
        {"object": ""},
        {"object": "lab/d#"},
        {"object": "label:public"},
        {"object": "lab/../closed"},
        {"object": "lab//d"},
        {"object": "lab/d#\u200bssn"},
        {"object": "lab/d#a\nb"},
        {"purpose": "role:r"},
        {"purpose": "*"},
        {"tags": frozenset({"tag:direct-identifer"})},
        {"tags": frozenset({"direct-identifier"})},
        {"tags": frozenset({"label:public"})},
        {"now": datetime(2026, 12, 1)},  # noqa: DTZ001
        {"now": None},
        {"object": None},
        {"subject": 7},
        {"tags": None},
    ],
)
def test_what_is_no_question_is_denied(make, noon, given) -> None:
    policy = make("g, user:a, project:x\ng, user:a, clearance:secret\np, R, *, read, *, *, , , allow,\n")
    assert policy.decide(ask(noon)).allowed
    decision = policy.decide(ask(noon, **given))
    assert not decision.allowed
    assert decision.reason.startswith("could not decide")
    assert decision.obligations.display.value == NOTHING


def test_an_error_inside_deciding_is_a_deny_without_its_details(make, noon, monkeypatch, caplog) -> None:
    policy = make(RULES)

    def broken(*_: object) -> None:
        raise RuntimeError("the inner secret")

    monkeypatch.setattr(policy._matcher, "ask", broken)
    decision = policy.decide(ask(noon))
    assert not decision.allowed
    assert "could not decide" in decision.reason
    assert "inner secret" not in decision.explain()
    assert "inner secret" in caplog.text


def test_windows_are_exact_at_their_edges(make, noon) -> None:
    tick = timedelta(microseconds=1)
    policy = make(
        "g, user:a, project:x\n"
        "p, D, user:a, read, lab/day, *, 2026-03-01, 2026-03-31, allow,\n"
        "p, T, user:a, read, lab/time, *, 2026-03-01T10:00:00Z, 2026-03-01T12:00:00+01:00, allow,\n"
    )

    def at(what: str, moment: datetime) -> bool:
        return policy.decide(ask(moment, object=what, label="public")).allowed

    first, last = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    assert [at("lab/day", when) for when in (first - tick, first, last - tick, last)] == [False, True, True, False]
    first, last = datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert [at("lab/time", when) for when in (first - tick, first, last - tick, last)] == [False, True, True, False]
    miss = policy.decide(ask(last, object="lab/time", label="public")).near_misses[0]
    assert "holds from 2026-03-01T10:00:00Z until 2026-03-01T12:00:00+01:00, and now is 2026-03-01 11:00 UTC" in miss


def test_a_membership_begins_and_ends_exactly_and_the_policy_says_when_to_rebuild(make) -> None:
    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    rows = "g, user:a, project:x, 2026-03-01, 2026-03-31\np, R, project:x, read, lab/d, project:x, , , allow,\n"
    before = make(rows, now=start - tick)
    inside = before.rebuilt(now=start)
    after = inside.rebuilt(now=end)
    assert (before.valid_until, inside.valid_from, inside.valid_until, after.valid_from) == (start, start, end, end)
    asked = {moment: ask(moment, label="public") for moment in (start - tick, start, end - tick, end)}
    assert not before.decide(asked[start - tick]).allowed
    assert inside.decide(asked[start]).allowed
    assert inside.decide(asked[end - tick]).allowed
    assert not after.decide(asked[end]).allowed
    for policy, moment in ((before, start), (inside, end), (inside, start - tick), (after, end - tick)):
        decision = policy.decide(asked[moment])
        assert not decision.allowed
        assert "must be rebuilt" in decision.reason
        assert not policy.is_member("user:a", "project:x", moment)
    assert inside.is_member("user:a", "project:x", start)
    assert not after.is_member("user:a", "project:x", end)


def test_who_belongs_where(make, noon) -> None:
    policy = make(RULES)
    assert policy.roles_of("user:a") == ("role:r",)
    assert policy.projects_of("user:a") == ("project:x",)
    assert policy.projects_of("user:b") == ()
    assert policy.is_member("user:a", "project:x", noon)
    for user, group in (("user:b", "project:x"), ("user:a", "*"), ("user:a", "user:a"), ("", ""), ("a", "project:x")):
        assert not policy.is_member(user, group, noon)


def test_a_policy_that_fails_its_own_tests_is_none(problems, make) -> None:
    line = "{}, user:a, read, lab/d, internal, , project:x, 2026-12-01, {}, why\n"
    make(RULES, tests=line.format("allow", ""))
    found = problems(RULES, tests="# comment\n" + line.format("deny", ""))
    assert (found[0].file, found[0].line) == ("tests.csv", 2)
    assert "expected deny, but" in found[0].message
    assert "R1 (policy.csv:6)" in found[0].message
    assert "expected display" in problems(RULES, tests=line.format("allow", "display cell=1KiB"))[0].message
    assert "expected mask hash, but none is owed" in problems(RULES, tests=line.format("allow", "mask hash"))[0].message


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("deny", "denny", "did you mean 'deny'"),
        ("read", "raed", "did you mean 'read'"),
        ("internal", "intern", "did you mean 'internal'"),
        ("2026-12-01", "", "the time is missing"),
        ("2026-12-01", "soon", "is no date"),
        ("user:c", "role:r", "this is no question"),
        ("lab/d", "lab", "this is no question"),
        (", why", "", "10 fields"),
        (", , why", ", displ 0, why", "did you mean 'display'"),
    ],
)
def test_a_test_that_is_none_is_refused_even_if_it_would_be_denied(problems, old, new, says) -> None:
    line = "deny, user:c, read, lab/d, internal, , project:x, 2026-12-01, , why"
    assert any(says in str(one) for one in problems(RULES, tests=line.replace(old, new)) if one.file == "tests.csv")


def test_the_files_tests_do_not_depend_on_grants_or_on_the_day(make, noon) -> None:
    rows = "g, user:a, project:x, , 2026-12-31\np, R, project:x, read, lab/d, project:x, , , allow,\n"
    tests = (
        "allow, user:a, read, lab/d, public, , project:x, 2026-12-31, ,\n"
        "deny , user:a, read, lab/d, public, , project:x, 2027-01-01, ,\n"
        "deny , user:a, read, lab/e, public, , project:x, 2026-12-01, ,\n"
    )
    extra = [Row("p", ("grant-1", "user:a", "read", "lab/e", "project:x", "", "", "allow", ""), "grant 1")]
    for now in (noon, noon + timedelta(days=400)):
        make(rows, tests=tests, extra=extra, now=now)


def test_rebuilding_does_not_read_the_folder_again(make, folder, noon) -> None:
    policy = make(RULES)
    (folder / "policy.csv").write_text("half-edited rubb")
    extra = [Row("p", ("grant-1", "user:a", "read", "other/d", "project:x", "", "", "allow", ""), "grant 1")]
    again = policy.rebuilt(extra, now=noon)
    assert again.version == policy.version
    assert again.decide(ask(noon, object="other/d")).allowed
    assert not policy.decide(ask(noon, object="other/d")).allowed
    with pytest.raises(PolicyError):
        load(folder, now=noon)
    with pytest.raises(PolicyError, match="grant 2"):
        policy.rebuilt([Row("p", ("x",), "grant 2")], now=noon)


def test_the_version_follows_every_byte_of_every_file(make, folder, noon) -> None:
    versions = {make(RULES).digest}
    for name in ("model.conf", "policy.csv", "labels.toml", "profiles.toml", "tests.csv"):
        copy = folder.parent / f"copy-of-{folder.name}-{name}"
        shutil.copytree(folder, copy)
        with (copy / name).open("a") as file:
            file.write("\n# touched\n")
        policy = load(copy, now=noon)
        assert policy.digest.startswith(policy.version)
        versions.add(policy.digest)
    assert len(versions) == 6


def test_a_policy_cannot_be_changed(make) -> None:
    policy = make(RULES)
    with pytest.raises(AttributeError):
        policy.version = "other"  # type: ignore[misc]


def test_threads_do_not_disturb_each_other(make, noon) -> None:
    policy = make(RULES)
    wrong: list[str] = []

    def work(subject: str, expected: bool) -> None:
        answers = [policy.decide(ask(noon, subject=subject)).allowed for _ in range(300)]
        wrong.extend(subject for answer in answers if answer is not expected)

    threads = [threading.Thread(target=work, args=pair) for pair in (("user:a", True), ("user:b", False)) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_decisions_during_swaps_never_mix_versions(make, noon) -> None:
    """The deny stands in one version through a role, in the other by name: raw Casbin allows while it reloads."""
    start = "g, user:a, role:r\ng, user:a, project:x\np, A, *, read, lab/d, *, , , allow,\n"
    versions = [
        make(start + "p, D, role:r, read, lab/d, *, , , deny,\n"),
        make(start + "p, D, user:a, read, lab/d, *, , , deny,\np, E, role:r, discover, lab/d, *, , , allow,\n"),
    ]
    force = versions[0]
    wrong: list[object] = []
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            decision = force.decide(ask(noon, label="public"))
            if decision.allowed or decision.reason:
                wrong.append(decision)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1000):
        force = versions[number % 2].rebuilt(now=noon)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
