"""guards.toml: each kind with what breaks it, what does not, and how its counterexample reads."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from random_policies import NOW, policies, policy_of, sources_of
from strongroom_policy.catalogue import Column, Dataset
from strongroom_policy.decision import Request
from strongroom_policy.engine import prove, read_folder
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.guards import FIELDS, broken, read_guards
from strongroom_policy.labels import Label
from strongroom_policy.universe import things_known, universe

PEOPLE = """\
g, user:ann, role:analyst
g, user:ann, project:x
g, user:ann, clearance:secret
g, user:sue, role:steward
p, S, role:steward, approve-access, lab/d, *, , , allow,
p, R, role:analyst, read, lab/d, project:x, , , allow,
"""
GUARD = '[g]\nwhy = "because"\nkind = "{}"\n{}\n'


def found(rows: str, kind: str, keys: str, **known) -> list[str]:
    sources = sources_of(rows, guards=GUARD.format(kind, keys))
    problems: tuple[Finding, ...] = ()
    try:
        prove(sources, NOW, **known)
    except PolicyError as error:
        problems = error.problems
    assert {(problem.file, problem.line, problem.hint) for problem in problems} <= {("guards.toml", 1, "because")}
    return [problem.message.removeprefix("the guard g is broken: ") for problem in problems]


def test_never() -> None:
    keys = 'may = ["read"]\non = "lab/**"'
    assert found(PEOPLE, "never", f'{keys}\nwho = "role:steward"') == []
    (told, *_) = found(PEOPLE, "never", keys)
    assert told == "user:ann may read lab/d (public) in x by R (policy.csv:6)"
    assert found(PEOPLE, "never", f'{keys}\nunless = "role:analyst"') == []
    assert found(PEOPLE, "never", keys.replace("lab/**", "lab2/**")) == []
    assert found(PEOPLE, "never", keys.replace("read", "export")) == []


def test_never_both_looks_at_one_thing_at_a_time() -> None:
    keys = 'may = ["read", "approve-access"]\non = "lab/**"'
    assert found(PEOPLE, "never-both", keys) == []
    other = PEOPLE + "p, T, role:analyst, approve-access, lab/e, *, , , allow,\n"
    assert found(other, "never-both", keys) == []
    told = found(PEOPLE + "g, user:ann, role:steward\n", "never-both", keys)
    assert told[0] == (
        "user:ann may approve-access lab/d (public) outside projects by S (policy.csv:5); "
        "and user:ann may read lab/d (public) in x by R (policy.csv:6)"
    )


def test_only_in() -> None:
    keys = 'may = ["read"]\non = "lab/d"\nproject = "{}"'
    for project in ("*", "project:x"):
        assert found(PEOPLE, "only-in", keys.format(project)) == []
    more = PEOPLE + "g, user:ann, project:y\np, Y, project:y, read, lab/d, project:y, , , allow,\n"
    assert found(more, "only-in", keys.format("*")) == []
    assert "in y by Y (policy.csv:8)" in found(more, "only-in", keys.format("project:x"))[0]
    outside = PEOPLE + "p, Z, user:ann, read, lab/d, *, , , allow,\n"
    assert "outside projects by Z (policy.csv:7)" in found(outside, "only-in", keys.format("*"))[0]


def test_apart_tells_the_ways_and_the_rows() -> None:
    keys = 'groups = ["role:analyst", "role:steward"]'
    assert found(PEOPLE, "apart", keys) == []
    rows = PEOPLE + "g, user:ann, group:board\ng, group:board, role:steward\n"
    ways = "user:ann -> role:analyst and user:ann -> group:board -> role:steward"
    assert found(rows, "apart", keys) == [f"user:ann: {ways} (policy.csv:1, policy.csv:7, policy.csv:8)"]


def test_at_least_counts_what_no_row_speaks_of() -> None:
    keys = 'owing = "review 2"\non = "label:secret"'
    assert found(PEOPLE, "at-least", keys) == []  # labels.toml's default
    one = PEOPLE + "p2, O, *, export, label:secret, *, review, 1, , why\n"
    assert "would owe review 1 by O (policy.csv:7)" in found(one, "at-least", keys)[0]
    two = one + "p2, P, *, export, label:secret, *, review, 3, role:steward, why\n"
    told = found(two, "at-least", keys)
    assert all("user:sue" in line for line in told)  # the one who is exempt
    assert found(two, "at-least", f'{keys}\nunless = "role:steward"') == []
    mask = 'owing = "mask redact"\non = "tag:sensitive"'
    row = "p2, M, *, read, tag:sensitive, {}, mask, {}, , why\n"
    assert found(PEOPLE + row.format("*", "null"), "at-least", mask) == []
    assert "would owe mask hash" in found(PEOPLE + row.format("*", "hash"), "at-least", mask)[0]
    assert "would owe no mask" in found(PEOPLE + row.format("project:x", "redact"), "at-least", mask)[0]


def test_somebody() -> None:
    people = PEOPLE + "g, role:steward, clearance:secret\n"
    keys = 'may = ["approve-access"]\non = "lab/d"\npeople = {}'
    assert found(people, "somebody", keys.format(1)) == []
    (told, *_) = found(people, "somebody", keys.format(2))
    assert told.startswith("only user:sue may approve-access lab/d (public)")
    # how many are in a group of the identity provider, nobody here knows
    assert found(people + "g, group:board, role:steward\n", "somebody", keys.format(2)) == []
    (told,) = found(people, "somebody", 'may = ["administer"]\non = "policy"')
    assert told == "nobody may administer policy, and it takes 1"


def test_what_a_row_brings_later_is_found_now() -> None:
    keys = 'may = ["read"]\non = "*"\nwho = "role:steward"'
    later = PEOPLE + "g, role:steward, role:analyst, 2027-01-01,\ng, user:sue, project:x\n"
    (told, *_) = found(later, "never", keys)
    assert told.endswith(", from 2027-01-01 00:00 UTC")
    rule = PEOPLE + "p, L, role:steward, read, label:public, *, 2027-03-01, , allow,\n"
    assert ", from 2027-03-01 00:00 UTC" in found(rule, "never", keys)[0]
    ends = (
        PEOPLE
        + "p, A, role:steward, read, label:public, *, , , allow,\np, D, *, read, label:public, *, , 2026-12-31, deny,\n"
    )
    assert ", from 2027-01-01 00:00 UTC" in found(ends, "never", keys)[0]


def test_the_catalogue_and_the_accounts_are_looked_at() -> None:
    keys = 'may = ["read"]\non = "tag:direct-identifier"'
    rows = PEOPLE + "p, C, role:analyst, read, lab/d#ssn, *, , , allow,\n"
    assert not any("lab/d#ssn" in line for line in found(rows, "never", keys))
    column = Column("text", frozenset({"tag:direct-identifier"}))
    catalogue = [Dataset("lab/d", Label.PUBLIC, {"ssn": column})]
    assert "lab/d#ssn (public)" in found(rows, "never", keys, datasets=catalogue)[0]
    everyone = PEOPLE + "p, E, *, read, lab/e, *, , , allow,\n"
    keys = 'may = ["read"]\non = "lab/e"\nwho = "user:ann"'
    assert found(everyone, "never", keys, users=["user:new"])[0].startswith("user:ann")


def test_a_guard_about_nobody_is_a_mistake() -> None:
    told = []
    for keys in ('who = "role:stewrd"', 'unless = "role:stewrd"'):
        with pytest.raises(PolicyError) as caught:
            prove(sources_of(PEOPLE, guards=GUARD.format("never", f'may = ["read"]\non = "*"\n{keys}')), NOW)
        told += [str(problem) for problem in caught.value.problems]
    assert told == ["guards.toml:1: [g] no row names role:stewrd - did you mean 'role:steward'?"] * 2
    with pytest.raises(PolicyError, match="unknown tag 'tag:sensitiv'"):
        prove(sources_of(PEOPLE, guards=GUARD.format("never", 'may = ["read"]\non = "tag:sensitiv"')), NOW)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "this is not TOML"),
        ("a = 1", "is no section"),
        ('[g]\nkind = ["never"]\nwhy = "w"', "unknown kind ['never']"),
        ('[g]\nkind = "nevr"\nwhy = "w"', "unknown kind 'nevr' - did you mean 'never'?"),
        ('[g]\nkind = "never"\nmay = ["read"]\non = "*"', "why is missing"),
        ('[g]\nkind = "never"\nwhy = "w"\nmay = ["read"]', "on is missing"),
        ('[g]\nkind = "never"\nwhy = "w"\nmay = ["reed"]\non = "*"', "unknown action 'reed'"),
        ('[g]\nkind = "never"\nwhy = "w"\nmay = "read"\non = "*"', "write a list"),
        ('[g]\nkind = "never"\nwhy = "w"\nmay = ["read"]\non = "lab/*/x"', "is no object"),
        ('[g]\nkind = "never"\nwhy = "w"\nmay = ["read"]\non = "*"\nwhoo = "*"', "never has no key 'whoo'"),
        ('[g]\nkind = "never"\nwhy = "w"\nmay = ["read"]\non = "*"\nwho = "ann"', "is nobody"),
        ('[g]\nkind = "never-both"\nwhy = "w"\nmay = ["read"]', "at least two actions"),
        ('[g]\nkind = "only-in"\nwhy = "w"\nmay = ["read"]\non = "*"\nproject = "role:r"', "is no project"),
        ('[g]\nkind = "apart"\nwhy = "w"\ngroups = ["role:r"]', "name at least two"),
        ('[g]\nkind = "at-least"\nwhy = "w"\non = "*"\nowing = "reviews 2"', "unknown obligation 'reviews'"),
        ('[g]\nkind = "at-least"\nwhy = "w"\non = "*"\nowing = "review 0"', "owing: "),
        ('[g]\nkind = "somebody"\nwhy = "w"\nmay = ["read"]\non = "*"\npeople = true', "is no number"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        sources_of(PEOPLE, guards=text)
    assert says in str(caught.value)


def test_every_kind_can_be_asked() -> None:
    findings: list = []
    for kind, (needed, _) in FIELDS.items():
        examples = {"may": '["read", "export"]', "on": '"lab/d"', "project": '"*"', "owing": '"review 1"'}
        examples["groups"] = '["role:analyst", "role:steward"]'
        keys = "\n".join(f"{key} = {examples[key]}" for key in needed)
        (guard,) = read_guards(GUARD.format(kind, keys).encode(), findings)
        policy = policy_of(PEOPLE)
        broken([guard], policy, universe([policy], things=things_known([policy])), NOW)
    assert findings == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies())
def test_a_never_guard_is_broken_exactly_where_somebody_may(rows: str) -> None:
    policy = policy_of(rows)
    guard = GUARD.format("never", 'may = ["read"]\non = "label:internal"\nwho = "role:r"')
    (one,) = read_guards(guard.encode(), [])
    ground = universe([policy], things=things_known([policy]))
    asked = (
        policy.is_member(person.user, "role:r", NOW, person.groups)
        and policy.decide(
            Request(person.user, "read", thing.name, project, thing.label, thing.tags, NOW, person.groups)
        ).allowed
        for person, thing, project in product(ground.people, ground.things, ("", *ground.projects))
        if thing.label is Label.INTERNAL
    )
    now = [line for line in broken([one], policy, ground, NOW) if ", from " not in line.message]
    assert bool(now) == any(asked)


def test_the_guards_that_are_shipped_are_part_of_the_policy(default_folder) -> None:
    files = read_folder(default_folder)
    assert "guards.toml" in files
    assert len(sources_of(files["policy.csv"].decode(), guards=files["guards.toml"].decode()).guards) == 9


@pytest.mark.parametrize(
    ("row", "guard"),
    [
        ("g, user:steward, role:analyst", "roles-apart"),
        ("g, user:auditor, role:admin", "watchers-apart"),
        ("p, X, role:steward, read, label:public, *, , , allow,", "no-access-by-approvers"),
        ("p, X, role:analyst, approve-export, label:public, *, , , allow,", "no-release-by-readers"),
        (
            "p, X, role:admin, read, health/randhie, *, , , allow,\ng, user:admin, clearance:secret",
            "admins-see-no-data",
        ),
        ("p, X, user:new, read, surveys/fair, *, , , allow,\ng, user:new, clearance:secret", "secret-in-projects-only"),
    ],
)
def test_each_shipped_guard_stops_what_it_is_for(default_folder, row: str, guard: str) -> None:
    files = {name: raw.decode() for name, raw in read_folder(default_folder).items()}
    with pytest.raises(PolicyError, match=f"the guard {guard} is broken"):
        prove(sources_of(files["policy.csv"] + row + "\n", guards=files["guards.toml"]), NOW)


@pytest.mark.parametrize(
    ("old", "new", "guard"),
    [
        ("label:secret      , *, review, 2", "label:secret, *, review, 1", "secret-by-two"),
        ("*, mask, hash", "project:cardio, mask, hash", "names-masked"),
        ("p, A1, role:admin  , administer, policy", "p, A1, role:admin, administer, log", "somebody-administers"),
    ],
)
def test_each_shipped_guard_stops_what_is_taken_away(default_folder, old: str, new: str, guard: str) -> None:
    files = {name: raw.decode() for name, raw in read_folder(default_folder).items()}
    assert old in files["policy.csv"]
    with pytest.raises(PolicyError, match=f"the guard {guard} is broken"):
        prove(sources_of(files["policy.csv"].replace(old, new), guards=files["guards.toml"]), NOW)


def test_without_time_nothing_is_asked_twice(make) -> None:
    """A guard that is broken now is not told again for each later moment."""
    rows = PEOPLE + "".join(f"g, user:t{n}, role:analyst, 2027-01-{n:02},\n" for n in range(1, 9))
    told = found(rows, "apart", 'groups = ["role:analyst", "project:x"]')
    assert told == ["user:ann: user:ann -> role:analyst and user:ann -> project:x (policy.csv:1, policy.csv:2)"]
