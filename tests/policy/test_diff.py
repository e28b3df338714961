"""Diff: what changes for whom is exactly what asking both versions about everything says."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from random_policies import NOW, policies, sources_of
from strongroom_policy import diff
from strongroom_policy.catalogue import Column, Dataset
from strongroom_policy.decision import Request
from strongroom_policy.diff import Change, difference
from strongroom_policy.engine import Policy, parse_sources, read_folder
from strongroom_policy.labels import Label
from strongroom_policy.universe import things_known, universe
from strongroom_policy.vocabulary import KINDS, suits

ASKED = ("read", "display", "export", "approve-access", "discover", "administer", "audit", "use")


@pytest.fixture
def shipped(default_folder) -> dict[str, bytes]:
    return read_folder(default_folder)


def changed(files: dict[str, bytes], old: str = "", new: str = "", *, add: str = "", file: str = "policy.csv", **known):
    text = files[file].decode()
    assert old in text
    after = files | {file: (text.replace(old, new, 1) + add).encode()}
    return difference(parse_sources(files), parse_sources(after), NOW, **known).changes


def test_nothing_changes_by_comments_ids_reasons_and_order(shipped) -> None:
    lines = shipped["policy.csv"].decode().splitlines()
    other = "\n".join(["# new", *reversed(lines)]).replace("P1, role", "P9, role").replace("open catalogue", "because")
    found = difference(parse_sources(shipped), parse_sources(shipped | {"policy.csv": other.encode()}), NOW)
    assert not found
    assert found.lines(5) == ["no decision and no obligation changes"]


def test_a_new_rule_in_words(shipped) -> None:
    row = "p, I7, role:analyst, read, health/randhie#age, project:cardio, , , allow, why\n"
    line = shipped["policy.csv"].count(b"\n") + 1
    (told,) = changed(shipped, add=row)
    assert told.text == (
        f"user:analyst may now read health/randhie#age (confidential) in cardio (rule I7, policy.csv:{line})"
    )
    catalogue = [Dataset("health/randhie", Label.INTERNAL, {"age": Column("integer")})]
    assert changed(shipped, add=row, datasets=catalogue) == ()  # internal data was readable already


def test_a_denial_is_told_with_its_rule(shipped) -> None:
    found = changed(shipped, add="p, N, user:analyst2, display, label:public, *, , , deny, why\n")
    (told,) = found
    assert told.kind == "may-not"
    assert told.who == ("user:analyst2",)
    assert told.text.endswith("in cardio and outside projects (rule N, policy.csv:99)")


def test_what_begins_later_is_told_with_its_day(shipped) -> None:
    row = "p, N, role:analyst, read, label:confidential, project:cardio, 2027-01-01, 2027-01-31, allow, why\n"
    (told,) = changed(shipped, add=row)
    assert ", from 2027-01-01 00:00 UTC (rule N" in told.text
    (told, *_) = changed(shipped, add="g, user:auditor, role:analyst, 2027-03-01,\n")
    assert ", from 2027-03-01 00:00 UTC" in told.text


def test_obligations_are_told_where_only_grants_allow(shipped) -> None:
    """Nobody reads confidential data by a rule, and its budget is a change all the same."""
    (told,) = changed(shipped, "cell=64KiB day=2MiB image=512KiB", "cell=1MiB")
    assert told.text == (
        "everybody, display a workspace without sources (confidential), any other data (confidential): "
        "display cell=64KiB day=2MiB image=512KiB becomes display cell=1MiB, by O3 (policy.csv:78)"
    )
    (told,) = changed(shipped, "*, mask, hash, ", "project:cardio, mask, hash, ")
    assert (told.before, told.after, told.projects, told.who) == ("mask hash", "", ("",), ("everybody",))
    assert " elsewhere: mask hash becomes nothing" in told.text


def test_defaults_profiles_guards_clearances_and_projects(shipped) -> None:
    bare = shipped | {"policy.csv": shipped["policy.csv"].replace(b"p2, O8", b"# p2, O8"), "tests.csv": b""}
    (told,) = changed(bare, 'review = "2"', 'review = "3"', file="labels.toml")
    assert (told.before, told.after, told.who) == ("review 2", "review 3", ("everybody",))
    (told,) = changed(shipped, 'title = "Standard"', 'title = "Small"', file="profiles.toml")
    assert told.text == "profile standard, title: Standard is now Small"
    (told,) = changed(shipped, 'on = "policy"', 'on = "system"', file="guards.toml")
    assert told.text == "the guard somebody-administers is changed"
    *also, told = changed(shipped, "user:analyst2, clearance:internal", "user:analyst2, clearance:confidential")
    assert {action for one in also for action in one.actions} == {"save"}  # it is what that clearance opens by itself
    assert told.text == "clearance:confidential now includes user:analyst2"
    *_, told = changed(shipped, "g, user:analyst2, project:cardio\n", "")
    assert told.text == "project:cardio no longer includes user:analyst2"


def test_removing_guards_toml_is_a_change(shipped) -> None:
    without = {name: raw for name, raw in shipped.items() if name != "guards.toml"}
    found = difference(parse_sources(shipped), parse_sources(without), NOW)
    assert len(found.changes) == 9
    assert all(one.text.endswith("is gone") for one in found.changes)


def test_an_account_that_no_row_names_counts(shipped) -> None:
    row = "p, N, *, discover, health/randhie, *, , , allow, why\n"
    assert any("user:new" in one.who for one in changed(shipped, add=row, users=["user:new"]))


def test_more_than_can_be_asked_is_said_and_never_invented(shipped, monkeypatch) -> None:
    after = shipped | {"policy.csv": shipped["policy.csv"] + b"g3, discover, read\n"}
    whole = difference(parse_sources(shipped), parse_sources(after), NOW)
    assert not whole
    monkeypatch.setattr(diff, "MAX_QUESTIONS", 3)
    part = difference(parse_sources(shipped), parse_sources(after), NOW)
    assert part
    assert not part.complete
    assert part.changes == ()
    assert "more was touched" in part.lines(5)[-1]


def test_lines_and_json_are_bounded(shipped) -> None:
    row = "g, user:t{0}, role:steward\np, N{0}, user:t{0}, discover, lab/d{0}, *, , , allow,\n"
    rows = "".join(row.format(n) for n in range(9))
    after = shipped | {"policy.csv": shipped["policy.csv"] + rows.encode()}
    found = difference(parse_sources(shipped), parse_sources(after), NOW)
    assert len(found.changes) > 5
    assert found.lines(5)[-1] == f"... and {len(found.changes) - 5} more"
    told = found.as_json(5)
    assert (len(told["changes"]), told["changes_in_all"], told["changed"]) == (5, len(found.changes), True)


def expanded(changes: tuple[Change, ...], kind: str) -> set[tuple[str, str, str, str]]:
    return {
        told
        for one in changes
        if one.kind == kind and not one.since
        for told in product(one.who, one.actions, one.objects, one.projects)
    }


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies(), policies())
def test_it_says_what_asking_about_everything_says(before: str, after: str) -> None:
    sources = [sources_of(rows) for rows in (before, after)]
    old, new = (Policy.build(one, (), NOW) for one in sources)
    found = difference(*sources, NOW)
    assert found.complete
    ground = universe([old, new], things=things_known([old, new]))
    gained, lost = set(), set()
    for person, thing, action, project in product(ground.people, ground.things, ASKED, ("", *ground.projects)):
        if not suits(action, thing.name):
            continue
        asked = Request(person.user, action, thing.name, project, thing.label, thing.tags, NOW, person.groups)
        verdicts = old.decide(asked).allowed, new.decide(asked).allowed
        if verdicts[0] != verdicts[1]:
            told = (person.shown, action, thing.shown, project.removeprefix("project:"))
            (gained if verdicts[1] else lost).add(told)
    assert expanded(found.changes, "may") == gained
    assert expanded(found.changes, "may-not") == lost


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies(), policies())
def test_obligations_differ_exactly_where_it_says(before: str, after: str) -> None:
    sources = [sources_of(rows) for rows in (before, after)]
    old, new = (Policy.build(one, (), NOW) for one in sources)
    found = [one for one in difference(*sources, NOW).changes if one.kind == "owes" and not one.since]
    ground = universe([old, new], things=things_known([old, new]))
    for person, thing, project in product(ground.people, ground.things, ("", *ground.projects)):
        if thing.label is None:
            continue
        asked = Request(person.user, "read", thing.name, project, thing.label, thing.tags, NOW, person.groups)
        owed = [policy.obligations(asked) for policy in (old, new)]
        differ = {kind for kind in KINDS if owed[0].value(kind) != owed[1].value(kind)}
        bare = project.removeprefix("project:")
        spoken = {name for one in found for name in one.projects}
        where = bare if bare in spoken else ""
        told = {
            (one.before or one.after).partition(" ")[0]
            for one in found
            if (one.who == ("everybody",) or person.shown in one.who)
            and thing.shown in one.objects
            and (not one.projects or where in one.projects or bare in one.projects)
        }
        assert told == differ
