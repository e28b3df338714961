"""What a decision costs as the rules grow, in one run with plain Casbin and, where they are installed, Cedar and oso.

Roles with twenty rules each on datasets and namespaces, every tenth a denial. What is asked is alike at every size, so
that rules alone grow: a thousand people with three roles each; half of the questions are about what a role of theirs is
about (two rules), half about what none of theirs is (a denial that says who could). They are asked in two ways: about
datasets that were asked about before ("familiar": a thousand questions again and again, spread over all rules), and
about columns whose names nobody has asked about yet ("new": what they are part of is worked out first). Decisions at
all sizes are taken in turn, in the thread's processor time, so that a busy machine slows them alike; ratios count, not
microseconds.
Every answer of the other engines is compared with ours. cedarpy and oso are looked for and skipped by name; oso wants
an older cffi than cryptography does, so install them aside: `pip install --no-deps --target DIR cedarpy oso`, and run
with PYTHONPATH=DIR.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import casbin
from strongroom_policy.decision import Request
from strongroom_policy.engine import Policy, parse_sources
from strongroom_policy.files import RULES_FILE, TESTS_FILE, read_folder
from strongroom_policy.guards import GUARDS_FILE
from strongroom_policy.index import ancestors
from strongroom_policy.labels import Label
from strongroom_policy.reach import who_can
from strongroom_policy.universe import Thing, universe

DEFAULT = Path(__file__).parents[1] / "policy"
SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
OTHERS_UP_TO = {"plain Casbin": 100_000, "cedarpy": 10_000, "oso": 10_000}
PER_ROLE = 20
ROUNDS, BATCH = 60, 50
ASKING, FAMILIAR = 1000, 1000
"""People who ask, and questions that are asked again and again, at every size."""
GROUPS = (1, 5, 50, 500)
SECONDS_EACH = 3.0
"""How long another engine is asked at one size."""
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
FLAT = 1.5

Rule = tuple[str, str, bool]
"""Role, object as rows have it, whether it allows."""


@dataclass(frozen=True)
class World:
    """`members`: user and role, as g rows have them."""

    rules: list[Rule]
    members: list[tuple[str, str]]
    users: list[str]

    @classmethod
    def of(cls, size: int) -> World:
        """`size` rules."""
        roles = max(1, size // PER_ROLE)
        rules = [
            (f"role:r{n // PER_ROLE % roles}", _object(n, roles), n % 10 != 9)  # noqa: PLR2004
            for n in range(size)
        ]
        users = [f"user:u{n}" for n in range(max(ASKING, roles // 3 + 1))]
        members = [(user, f"role:r{(3 * n + k) % roles}") for n, user in enumerate(users) for k in range(3)]
        return cls(rules, list(dict.fromkeys(members)), users)

    def questions(self, chance: random.Random) -> Iterator[tuple[str, str]]:
        """User and dataset for ever: half about what a role of theirs is about, half about what none of theirs is."""
        held = set(self.members)
        roles = list(dict.fromkeys(role for _, role in self.members))
        asking = set(chance.sample(self.users, ASKING))
        members = [(user, role) for user, role in self.members if user in asking]
        while True:
            user, role = chance.choice(members)
            if chance.random() < 0.5:  # noqa: PLR2004
                while (user, role) in held:
                    role = chance.choice(roles)
            yield user, f"ns{role.removeprefix('role:r')}/d{chance.randrange(PER_ROLE)}"


def _object(number: int, roles: int) -> str:
    role, place = number // PER_ROLE % roles, number % PER_ROLE
    return f"ns{role}/**" if place == 0 else f"ns{role}/d{place}"


class Ours:
    """One policy, and questions about it."""

    def __init__(self, size: int, files: dict[str, bytes]) -> None:
        gc.collect()
        self.world = World.of(size)
        rows = [f"g, {user}, {role}" for user, role in self.world.members]
        rows += [
            f"p, R{n}, {role}, read, {what}, *, , , {'allow' if allows else 'deny'},"
            for n, (role, what, allows) in enumerate(self.world.rules)
        ]
        raw = "\n".join(rows).encode()
        before, began = _resident(), time.process_time()
        self.policy = Policy.build(parse_sources(files | {RULES_FILE: raw, TESTS_FILE: b""}), (), NOW)
        self.seconds = time.process_time() - began
        self.bytes = _resident() - before
        questions = self.world.questions(random.Random(size))  # noqa: S311 - the same ones each time
        self.familiar = cycle([next(questions) for _ in range(FAMILIAR)])
        self.new = ((user, f"{what}#c{number}") for number, (user, what) in enumerate(questions))
        self.taken: dict[str, list[int]] = {"familiar": [], "new": []}

    def ask(self, user: str, what: str) -> bool:
        return self.policy.decide(Request(user, "read", what, label="public", now=NOW)).allowed

    def round(self) -> None:
        """A batch of decisions of each kind, each timed."""
        for kind, questions in (("familiar", self.familiar), ("new", self.new)):
            for user, what in islice(questions, BATCH):
                request = Request(user, "read", what, label="public", now=NOW)
                began = time.thread_time_ns()
                self.policy.decide(request)
                self.taken[kind].append(time.thread_time_ns() - began)

    def cut(self, kind: str, part: int) -> float:
        """That percentile in microseconds."""
        return statistics.quantiles(self.taken[kind], n=100)[part - 1] / 1000


def plain_casbin(world: World) -> Callable[[str, str], bool]:
    """Casbin's enforcer with its own role manager, as its documentation shows it."""
    model = casbin.Model()
    model.load_model_from_text(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act, eft\n"
        "[role_definition]\ng = _, _\n"
        "[policy_effect]\ne = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n"
        "[matchers]\nm = g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && r.act == p.act\n"
    )
    enforcer = casbin.Enforcer(model)
    enforcer.add_policies(
        [(role, what.replace("/**", "/*"), "read", "allow" if allows else "deny") for role, what, allows in world.rules]
    )
    enforcer.add_grouping_policies(world.members)
    return lambda user, what: bool(enforcer.enforce(user, what, "read"))


def cedar(world: World) -> Callable[[str, str], bool]:
    """Policies and entities parsed once."""
    cedarpy = importlib.import_module("cedarpy")
    policies = cedarpy.PolicySet.from_str(
        "\n".join(
            f"{'permit' if allows else 'forbid'}"
            f'(principal in Role::"{role}", action == Action::"read", resource in Data::"{what}");'
            for role, what, allows in world.rules
        )
    )

    def entity(kind: str, name: str, parents: Sequence[tuple[str, str]]) -> dict[str, Any]:
        above = [{"type": one, "id": other} for one, other in parents]
        return {"uid": {"type": kind, "id": name}, "attrs": {}, "parents": above}

    above: dict[str, list[tuple[str, str]]] = {}
    for user, role in world.members:
        above.setdefault(user, []).append(("Role", role))

    def ask(user: str, what: str) -> bool:
        # only what the question is about: with all entities it would be slower by far
        namespace = what.partition("/")[0] + "/**"
        entities = [entity("User", user, above[user]), entity("Data", what, [("Data", namespace)])]
        request = {"principal": f'User::"{user}"', "action": 'Action::"read"', "resource": f'Data::"{what}"'}
        return bool(cedarpy.is_authorized(request, policies, entities).allowed)

    return ask


def oso(world: World) -> Callable[[str, str], bool]:
    """The last release of the library that was."""
    engine = importlib.import_module("oso").Oso()
    facts = [f'rule({json.dumps(role)}, {json.dumps(what)}, "{allows}");' for role, what, allows in world.rules]
    facts += [f"member({json.dumps(user)}, {json.dumps(role)});" for user, role in world.members]
    facts.append('allow(u, _a, o) if hit(u, [o], "True");')  # without it the library warns on stdout
    facts.append("hit(u, objects, effect) if member(u, r) and o in objects and rule(r, o, effect);")
    engine.load_str("\n".join(facts))

    def ask(user: str, what: str) -> bool:
        objects = list(ancestors(what))

        def hit(effect: str) -> bool:
            return next(iter(engine.query_rule("hit", user, objects, effect)), None) is not None

        return hit("True") and not hit("False")

    return ask


OTHERS: dict[str, Callable[[World], Callable[[str, str], bool]]] = {
    "plain Casbin": plain_casbin,
    "cedarpy": cedar,
    "oso": oso,
}


def compared(name: str, ours: Ours) -> str:
    """Median microseconds of another engine at this size, and how often it answered otherwise than we do."""
    if len(ours.world.rules) > OTHERS_UP_TO[name]:
        return "-"
    try:
        ask = OTHERS[name](ours.world)
    except ImportError:
        return "not installed"
    questions = ours.familiar
    taken: list[int] = []
    wrong = 0
    until = time.perf_counter() + SECONDS_EACH
    while time.perf_counter() < until or len(taken) < 3:  # noqa: PLR2004
        user, what = next(questions)
        began = time.thread_time_ns()
        answer = ask(user, what)
        taken.append(time.thread_time_ns() - began)
        wrong += answer is not ours.ask(user, what)
    return f"{statistics.median(taken) / 1000:,.0f}" + (f" ({wrong} of {len(taken)} differ)" if wrong else "")


def groups(ours: Ours) -> dict[int, float]:
    """Median microseconds for users of so many groups of the identity provider."""
    taken: dict[int, list[int]] = {count: [] for count in GROUPS}
    asked = [Request(user, "read", what, label="public", now=NOW) for user, what in islice(ours.familiar, BATCH)]
    for _ in range(ROUNDS // 4):
        for count in GROUPS:
            held = frozenset(f"group:g{number}" for number in range(count))
            for request in asked:
                grouped = replace(request, groups=held)
                began = time.thread_time_ns()
                ours.policy.decide(grouped)
                taken[count].append(time.thread_time_ns() - began)
    return {count: statistics.median(times) / 1000 for count, times in taken.items()}


def who_can_seconds(files: dict[str, bytes]) -> float:
    """Median seconds of processor time for who-can over 10,000 users and 100,000 rules."""
    chance = random.Random(1)  # noqa: S311 - the same ones each time
    rows = [
        f"g, user:u{n}, role:{kind}{place}" for n in range(10_000) for kind, place in (("r", n % 500), ("s", n // 20))
    ]
    for n in range(100_000):
        what = f"ns{chance.randrange(2000)}/" + ("**" if n % 10 == 0 else f"d{chance.randrange(20)}")
        effect = "deny" if n % 10 == 9 else "allow"  # noqa: PLR2004
        rows.append(f"p, R{n}, role:{'rs'[n % 2]}{chance.randrange(500)}, read, {what}, *, , , {effect},")
    policy = Policy.build(parse_sources(files | {RULES_FILE: "\n".join(rows).encode(), TESTS_FILE: b""}), (), NOW)
    taken = []
    for n in range(20):
        began = time.process_time()
        who_can(policy, universe([policy], things=[Thing(f"ns{n}/d{n}", Label.PUBLIC)]), "read", NOW)
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def main() -> None:
    """Print the table; exit code 1 where a decision is not flat."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--up-to", type=int, default=SIZES[-1], help="leave out larger sizes")
    up_to = options.parse_args().up_to
    files = {name: raw for name, raw in read_folder(DEFAULT).items() if name != GUARDS_FILE}
    sides = [Ours(size, files) for size in SIZES if size <= up_to]
    gc.freeze()  # a policy lives long; its collection is not part of a decision
    warm = FAMILIAR // BATCH
    for number in range(ROUNDS + warm):
        for side in sides:
            if number == warm:
                side.taken = {kind: [] for kind in side.taken}
            side.round()
    print(
        f"{'rules':>9} {'familiar: p50 us':>17} {'p99 us':>7} {'new: p50 us':>12} {'p99 us':>7} "
        f"{'load s':>7} {'MiB':>6}   " + "   ".join(f"{name:>14}" for name in OTHERS)
    )
    for side in sides:
        print(
            f"{len(side.world.rules):>9,} {side.cut('familiar', 50):>17.0f} {side.cut('familiar', 99):>7.0f} "
            f"{side.cut('new', 50):>12.0f} {side.cut('new', 99):>7.0f} {side.seconds:>7.1f} "
            f"{side.bytes / (1 << 20):>6.0f}   " + "   ".join(f"{compared(name, side):>14}" for name in OTHERS)
        )
    print("groups of the user: " + ", ".join(f"{count}: {us:.0f} us" for count, us in groups(sides[-1]).items()))
    print(f"who-can over 10,000 users and 100,000 rules: {who_can_seconds(files):.2f} s (at most 1)")
    most, fewest = len(sides[-1].world.rules), len(sides[0].world.rules)
    steep = False
    for kind in sides[0].taken:
        ratio = sides[-1].cut(kind, 50) / sides[0].cut(kind, 50)
        steep |= ratio > FLAT
        print(f"{kind} names: p50 at {most:,} rules / p50 at {fewest:,}: {ratio:.2f} (at most {FLAT})")
    if steep:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
