"""Random policies and requests against a plain Casbin enforcer that knows nothing of our index, parser or closures."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import casbin
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from strongroom_policy.adapter import MODEL
from strongroom_policy.decision import Request
from strongroom_policy.engine import Policy, load
from strongroom_policy.labels import Label

DEFAULT = Path(__file__).parents[2] / "policy"
DAYS = [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)]
MOMENTS = [
    datetime(2026, 1, day, tzinfo=UTC) + timedelta(microseconds=tick) for day in (1, 2, 3, 4) for tick in (-1, 0, 1)
]
USERS = ["user:a", "user:b"]
PROVIDED = ["group:s", "group:t"]
GROUPS = [*PROVIDED, "role:r1", "role:r2", "role:r3", "project:x", "project:y"]
CLEARANCES = [f"clearance:{label}" for label in Label]
DATA = ["lab/d", "lab/d#c", "lab/d#ssn", "lab/e/f", "lab2/d", "workspace"]
PATTERNS = [
    *DATA,
    "*",
    "/**",
    "lab/**",
    "lab/e/**",
    "lab/d/**",
    "tag:sensitive",
    "tag:direct-identifier",
    "label:internal",
]
ACTIONS = ["read", "display", "export", "train", "discover", "approve-export"]
TAGGED = ["lab/d", "lab/d#ssn", "lab/**"]
TAGS = ["tag:sensitive", "tag:direct-identifier"]


@dataclass(frozen=True)
class P:
    who: str
    acts: tuple[str, ...]
    what: str
    purpose: str
    since: date | None
    until: date | None
    allow: bool


@dataclass(frozen=True)
class World:
    p: tuple[P, ...]
    g: tuple[tuple[str, str, date | None, date | None], ...]
    g2: tuple[tuple[str, str], ...]


# weighted so that a good part of the questions is allowed
_day = st.sampled_from([None, None, None, None, *DAYS])
_window = st.tuples(_day, _day).filter(lambda pair: None in pair or pair[0] <= pair[1])
_rule = st.builds(
    lambda window, **rest: P(since=window[0], until=window[1], **rest),
    window=_window,
    who=st.sampled_from(["*", "*", "*", *USERS, *GROUPS, *CLEARANCES]),
    acts=st.lists(st.sampled_from(ACTIONS), min_size=2, max_size=5, unique=True).map(tuple),
    what=st.sampled_from(["*", "*", "lab/**", "lab/**", *PATTERNS]),
    purpose=st.sampled_from(["*", "*", "*", "*", "project:x", "project:y"]),
    allow=st.sampled_from([True] * 9 + [False]),
)
_up_from_roles = [(low, high) for n, low in enumerate(GROUPS) for high in GROUPS[n + 1 :]]
_edges = [*_up_from_roles, *((low, high) for low in (*USERS, *GROUPS) for high in CLEARANCES)]
_edges += [(low, high) for low in USERS for high in GROUPS]
_member = st.tuples(st.sampled_from(_edges), _window).map(lambda pair: (*pair[0], *pair[1]))
_world = st.builds(
    World,
    p=st.lists(_rule, min_size=2, max_size=10).map(tuple),
    g=st.lists(_member, min_size=4, max_size=12, unique_by=lambda row: row[:2]).map(tuple),
    g2=st.lists(st.tuples(st.sampled_from(TAGGED), st.sampled_from(TAGS)), max_size=3, unique=True).map(tuple),
)
_request = st.builds(
    Request,
    subject=st.sampled_from(USERS),
    action=st.sampled_from(ACTIONS),
    object=st.sampled_from(DATA),
    purpose=st.sampled_from(["", "", "project:x", "project:y"]),
    label=st.sampled_from(["public", "public", "public", "internal", "internal", "confidential", *Label, None]),
    tags=st.sets(st.sampled_from(TAGS), max_size=1).map(frozenset),
    now=st.sampled_from(MOMENTS),
    groups=st.sets(st.sampled_from(PROVIDED), max_size=2).map(frozenset),
)


def written(world: World) -> str:
    """As an admin writes it; filler rows mention every name, so that none is undefined or dead."""
    rows = [f"g, user:filler, {name}" for name in (*GROUPS, *CLEARANCES)] + [
        "g, user:a, role:filler",
        "g, user:b, role:filler",
    ]
    rows += [f"p, F{n}, {name}, discover, filler/x, *, , , allow," for n, name in enumerate([*GROUPS, "role:filler"])]
    rows += [f"p, T{n}, *, discover, {tag}, project:x, , 1999-01-01, allow," for n, tag in enumerate(TAGS)]
    for n, rule in enumerate(world.p):
        effect = "allow" if rule.allow else "deny"
        window = f"{rule.since or ''}, {rule.until or ''}"
        rows.append(
            f'p, R{n}, {rule.who}, {"|".join(rule.acts)}, {rule.what}, {rule.purpose}, {window}, {effect}, "a, b"'
        )
    rows += [f"g, {who}, {of}, {since or ''}, {until or ''}" for who, of, since, until in world.g]
    rows += [f"g2, {what}, {tag}" for what, tag in world.g2]
    return "\n".join(rows)


def build(world: World, now: datetime = MOMENTS[0], text: str | None = None) -> Policy:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("model.conf", "labels.toml", "profiles.toml"):
            shutil.copy(DEFAULT / file, folder)
        (folder / "tests.csv").write_text("")
        (folder / "policy.csv").write_text(written(world) if text is None else text)
        return load(folder, now=now)


def holds(since: date | None, until: date | None, now: datetime) -> bool:
    return (since is None or since <= now.date()) and (until is None or now.date() <= until)


def covers(pattern: str, what: str) -> bool:
    dataset = what.partition("#")[0]
    if pattern == "/**":
        return "/" in dataset
    if pattern.endswith("/**"):
        return (dataset + "/").startswith(pattern[:-2])
    return pattern in ("*", what, dataset)


class Oracle:
    """Casbin's own enforcer with its own role managers, at one time; windows by comparing dates."""

    def __init__(self, world: World, request: Request) -> None:
        self.world, self.request, self.now = world, request, request.now
        model = casbin.Model()
        model.load_model_from_text(MODEL)
        self.enforcer = casbin.Enforcer(model)
        for n, rule in enumerate(world.p):
            effect = "allow" if rule.allow else "deny"
            # dates go round Casbin by row number: its rows hold text only
            self.enforcer.add_policy(
                f"R{n}", rule.who, "|".join(rule.acts), rule.what, rule.purpose, str(n), str(n), effect, "why"
            )
        links = [(who, of) for who, of, since, until in world.g if holds(since, until, self.now)]
        links += [(request.subject, group) for group in request.groups]
        for low, high in (*links, *zip(CLEARANCES[1:], CLEARANCES, strict=False)):
            self.enforcer.add_named_grouping_policy("g", low, high)
        for action in ("display", "export", "train", "reidentify"):
            self.enforcer.add_named_grouping_policy("g3", action, "read")
        self.is_link = self.enforcer.rm_map["g"].has_link
        for name in ("isA", "within", "actIs", "forPurpose", "inWindow", "cleared"):
            self.enforcer.add_function(name, getattr(self, name))

    def isA(self, who: str, name: str) -> bool:  # noqa: N802 - the matcher's word
        return name == "*" or self.is_link(who, name)

    def within(self, what: str, tags: frozenset[str], pattern: str) -> bool:
        tagged = any(tag == pattern and covers(place, what) for place, tag in self.world.g2)
        return covers(pattern, what) or pattern in tags or tagged

    def actIs(self, action: str, acts: str, effect: str) -> bool:  # noqa: N802
        listed = acts.split("|")
        if effect == "allow":
            return action in listed
        return any(self.enforcer.rm_map["g3"].has_link(action, one) for one in listed)

    def forPurpose(self, who: str, purpose: str, wanted: str, effect: str) -> bool:  # noqa: N802
        outside = purpose != "" and not self.is_link(who, purpose)
        return not (effect == "allow" and outside) and wanted in ("*", purpose)

    def inWindow(self, now: datetime, number: str, _: str) -> bool:  # noqa: N802
        return holds(self.world.p[int(number)].since, self.world.p[int(number)].until, now)

    def cleared(self, who: str, action: str, label: str, effect: str) -> bool:
        free = effect == "deny" or action == "discover" or label == "public"
        return free or self.is_link(who, f"clearance:{label}")

    def allows(self) -> bool:
        request = self.request
        label = str(request.label or "secret")
        tags = request.tags | {f"label:{label}"}
        return self.enforcer.enforce(
            request.subject, request.purpose, request.object, tags, label, request.action, self.now
        )


def decide(policy: Policy, request: Request) -> bool:
    if not policy.holds_at(request.now):
        assert not policy.decide(request).allowed
        policy = policy.rebuilt(now=request.now)
    decision = policy.decide(request)
    assert not decision.reason.startswith("could not decide"), decision.explain()
    assert decision.allowed == bool(decision.rules and decision.rules[0].allows)
    return decision.allowed


def compare(world: World, requests: Sequence[Request]) -> None:
    policy = build(world)
    for request in requests:
        expected = Oracle(world, request).allows()
        event(f"allowed: {expected}")
        assert decide(policy, request) == expected, f"{request}\n{written(world)}"


@settings(max_examples=80, deadline=None)
@given(_world, st.lists(_request, min_size=1, max_size=12))
def test_no_disagreement_with_plain_casbin(world: World, requests: Sequence[Request]) -> None:
    compare(world, requests)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=10_000, deadline=None)
@given(_world, st.lists(_request, min_size=1, max_size=6))
def test_no_disagreement_in_ten_thousand_policies(world: World, requests: Sequence[Request]) -> None:
    compare(world, requests)


@settings(max_examples=30, deadline=None)
@given(_world, _rule, st.lists(_request, min_size=1, max_size=12))
def test_adding_a_deny_never_allows(world: World, rule: P, requests: Sequence[Request]) -> None:
    before, after = build(world), build(replace(world, p=(*world.p, replace(rule, allow=False))))
    for request in requests:
        assert decide(after, request) <= decide(before, request)


@settings(max_examples=30, deadline=None)
@given(_world, st.randoms(use_true_random=False), st.lists(_request, min_size=1, max_size=12))
def test_the_order_of_rows_does_not_matter(world: World, random, requests: Sequence[Request]) -> None:
    lines = written(world).splitlines()
    random.shuffle(lines)
    policy, shuffled = build(world), build(world, text="\n".join(lines))
    for request in requests:
        assert decide(policy, request) == decide(shuffled, request)
        current = (policy.rebuilt(now=request.now), shuffled.rebuilt(now=request.now))
        rules = [{rule.id for rule in one.decide(request).rules} for one in current]
        assert rules[0] == rules[1] or not current[0].decide(request).allowed


@settings(max_examples=30, deadline=None)
@given(_world, st.lists(_request, min_size=1, max_size=8))
def test_a_higher_label_or_another_tag_never_helps_without_a_rule_for_it(world: World, requests) -> None:
    """Only discover asks for no clearance, and only rules that name a label can prefer one."""
    neutral = replace(world, p=tuple(rule for rule in world.p if not rule.what.startswith(("label:", "tag:"))))
    policy = build(neutral)
    for request in requests:
        answers = [decide(policy, replace(request, label=label)) for label in Label]
        assert answers == sorted(answers, reverse=True)
        assert answers[-1] == decide(policy, replace(request, label=None))
