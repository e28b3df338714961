"""Which rows of the files no test reaches: a row that nothing asks about can be wrong without anybody noticing.

A test reaches a rule that matches its question; an obligation that binds and that it names in `owing`; and the rows
that led there: memberships on the way to a rule's subject, to the project and to the clearance, tags, and needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from strongroom_policy import times
from strongroom_policy.cases import Case
from strongroom_policy.engine import Policy, Sources
from strongroom_policy.index import ancestors, path
from strongroom_policy.labels import Label
from strongroom_policy.rows import Row


@dataclass(frozen=True, slots=True)
class Covered:
    """One row of the files, and the lines of tests.csv that reach it; none: nobody would notice if it were wrong."""

    row: Row
    by: tuple[int, ...]


def coverage(sources: Sources) -> tuple[Covered, ...]:
    """Every row of the files in their order. Raises PolicyError for rows that are no policy together."""
    reached: dict[Row, set[int]] = defaultdict(set)
    policy = Policy.build(sources, (), datetime.now(UTC))
    for case in sources.cases:
        if not policy.holds_at(case.request.now):
            policy = Policy.build(sources, (), case.request.now)
        try:
            for row in _reached(policy, case):
                reached[row].add(case.line)
        except ValueError:
            continue  # what is no question reaches nothing; running the tests says so
    return tuple(Covered(row, tuple(sorted(reached[row]))) for row in sources.rows)


def _reached(policy: Policy, case: Case) -> Iterator[Row]:
    request = case.request
    rules, duties = policy.matching(request)
    named = {kind for kind, _ in case.owing}
    bound = [duty for duty in duties if duty.kind in named]
    yield from (item.row for item in (*rules, *bound))
    who = policy.membership(request.subject, request.groups)
    ends = [item.subject for item in (*rules, *bound)] + [duty.unless for duty in policy.duties if duty.unless in who]
    yield from _memberships(
        policy, who, [*ends, request.purpose, f"clearance:{Label.parse(request.label)}"], request.now
    )
    carried = {item.object for item in (*rules, *bound)}
    around = ancestors(request.object)
    yield from (row.row for row in policy.taggings if row.tag in carried and row.what in around)
    yield from _needs(policy, request.action, {action for rule in rules if not rule.allows for action in rule.actions})


def _memberships(policy: Policy, who: Mapping[str, str], ends: Iterable[str], now: datetime) -> Iterator[Row]:
    links = set()
    for end in ends:
        names = path(who, end)
        links |= set(pairwise(names))
    instant = times.canonical(now)
    for row in policy.members:
        if (row.who, row.of) in links and row.since <= instant and (not row.until or instant < row.until):
            yield row.row


def _needs(policy: Policy, action: str, denied: set[str]) -> Iterator[Row]:
    """The g3 rows on the ways from `action` to an action that was denied."""
    above = {action}
    rows = []
    while fresh := [row for row in policy.needs if row.action in above and row not in rows]:
        rows += fresh
        above |= {row.needs for row in fresh}
    yield from (row.row for row in rows if row.needs in denied)
