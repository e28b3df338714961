"""What can be wrong with rows that are each well-formed: names nobody holds, cycles, rows that say the same twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from strongroom_policy.errors import Finding
from strongroom_policy.index import Objects, Subjects
from strongroom_policy.masks import conflict, parse_mask
from strongroom_policy.rows import Duty, Member, Need, Row, Rule, Tagging, Typed
from strongroom_policy.settings import Settings
from strongroom_policy.vocabulary import ANYONE, resembles, suggest

MAX_DEPTH = 9
"""Casbin's role manager silently answers no beyond this many links, for denials too."""


def check(rows: Sequence[Typed], settings: Settings, profiles: Sequence[str]) -> list[Finding]:
    """Everything that forbids these rows to become a policy together; `profiles`: the names in profiles.toml."""
    members = [row for row in rows if isinstance(row, Member)]
    named = [row for row in rows if isinstance(row, Rule | Duty)]
    needs = [row for row in rows if isinstance(row, Need)]
    taggings = [row for row in rows if isinstance(row, Tagging)]
    found = [
        *_twice(rows, named),
        *_graph([(row.who, row.of, row.row) for row in members], "membership"),
        *_graph([(row.action, row.needs, row.row) for row in needs], "needs"),
        *_undefined(members, named, settings.groups),
        *_dead_groups(members, named),
        *_dead_tags(taggings, named),
        *_unknown_profiles(named, [f"profile:{name}" for name in profiles]),
    ]
    # circles would make the next one endless
    return found or list(_contradictions(members, taggings, named))


def _finding(row: Row, message: str, hint: str = "") -> Finding:
    return Finding(row.origin, row.line, message, hint)


def _twice(rows: Sequence[Typed], named: Iterable[Rule | Duty]) -> Iterator[Finding]:
    first: dict[str, Row] = {}
    for item in named:
        earlier = first.setdefault(item.id, item.row)
        if earlier is not item.row:
            yield _finding(item.row, f"the id {item.id} is taken by {earlier.place}", "give each row its own id")
    seen: dict[tuple[str, tuple[str, ...]], Row] = {}
    for typed in rows:
        if isinstance(typed, Member | Tagging | Need):
            earlier = seen.setdefault((typed.row.ptype, typed.row.fields), typed.row)
            if earlier is not typed.row and typed.row.line:
                yield _finding(typed.row, f"the same row stands in {earlier.place}", "remove one of them")


def _graph(links: Sequence[tuple[str, str, Row]], what: str) -> Iterator[Finding]:
    """Cycles, and chains of more than MAX_DEPTH links; iterative, so that no file can exhaust the stack."""
    above: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    waiting: dict[str, int] = defaultdict(int)
    for low, high, row in links:
        above[low].append((high, row))
        waiting[high] += 1
    depth = {name: 0 for name in above if not waiting[name]}
    ready = list(depth)
    while ready:
        name = ready.pop()
        for high, row in above.get(name, ()):
            if depth[name] + 1 > depth.get(high, 0):
                depth[high] = depth[name] + 1
                if depth[high] == MAX_DEPTH + 1:
                    yield _finding(row, f"the {what} chain up to {high} has more than {MAX_DEPTH} links", "shorten it")
            waiting[high] -= 1
            if not waiting[high]:
                ready.append(high)
    left = {name for name, count in waiting.items() if count}
    while outside := left - {low for low, high, _ in links if low in left and high in left}:
        left -= outside  # above a circle, not in it
    within = [link for link in links if link[0] in left and link[1] in left]
    if within:
        low, high, row = max(within, key=lambda link: link[2].line)
        named = ", ".join(sorted(left)[:MAX_DEPTH])
        yield _finding(row, f"{low} and {high} are part of a circle of {what}", f"in it: {named}")


def _undefined(members: Iterable[Member], named: Iterable[Rule | Duty], groups: Iterable[str]) -> Iterator[Finding]:
    """Rules of the files for somebody who appears in no membership: a misspelt denial would bind nobody."""
    known = {name for row in members for name in (row.who, row.of)} | set(groups)
    for item in named:
        if not item.row.line:
            continue
        mentioned = [("who", item.subject), ("purpose", item.purpose)]
        if isinstance(item, Duty) and item.unless:
            mentioned.append(("unless", item.unless))
        for column, name in mentioned:
            if name != ANYONE and name not in known:
                close = resembles(name, known)
                add = (
                    "name it in [groups] of labels.toml"
                    if name.startswith("group:")
                    else "add the g row that says who belongs there"
                )
                hint = f"did you mean {close!r}?" if close else add
                yield _finding(item.row, f"{column}: no membership (g row) names {name}", hint)


def _dead_groups(members: Iterable[Member], named: Iterable[Rule | Duty]) -> Iterator[Finding]:
    used = {row.who for row in members}
    for item in named:
        used |= {item.subject, item.purpose} | ({item.unless} if isinstance(item, Duty) else set())
    for row in members:
        # a project is more than a subject: belonging to it is itself a right (its servers, its shared folder)
        if row.row.line and row.of not in used and not row.of.startswith(("project:", "clearance:")):
            close = resembles(row.of, used)
            hint = f"did you mean {close!r}?" if close else "remove the row, or write the rule that was meant"
            yield _finding(row.row, f"no rule mentions {row.of}", hint)


def _dead_tags(taggings: Iterable[Tagging], named: Iterable[Rule | Duty]) -> Iterator[Finding]:
    used = {item.object for item in named}
    for row in taggings:
        if row.row.line and row.tag not in used:
            yield _finding(row.row, f"no rule mentions {row.tag}", "remove the row, or write the rule that was meant")


def _unknown_profiles(named: Iterable[Rule | Duty], profiles: Sequence[str]) -> Iterator[Finding]:
    for item in named:
        if item.object.startswith("profile:") and item.object not in profiles:
            yield _finding(item.row, f"profiles.toml has no {item.object}", suggest(item.object, profiles))


def _contradictions(
    members: Sequence[Member], taggings: Sequence[Tagging], named: Iterable[Rule | Duty]
) -> Iterator[Finding]:
    """Masks of the files for one and the same column and person of which neither is as strict as the other.

    Only what the files alone prove: where tags of the catalogue bring two such masks together, `redact` holds.
    """
    masks = [item for item in named if isinstance(item, Duty) and item.kind == "mask" and item.row.line]
    if len({parse_mask(str(duty.value)).method for duty in masks}) <= 1 and not _parameters(masks):
        return
    objects, subjects = Objects(taggings), Subjects(members)
    about: dict[str, list[Duty]] = defaultdict(list)
    for duty in masks:
        about[duty.object].append(duty)
    people = {row.who for row in members}
    for below in masks:
        # a tag is known to lie on what a g2 row gives it, and a column has its mask and that of its tags
        for what in objects.closure(below.object) & about.keys():
            for above in about[what]:
                if above.row.line < below.row.line or above.object != below.object:
                    yield from _contradiction(below, above, subjects, people)
    yield from _tagged_twice(taggings, about, subjects, people)


def _parameters(masks: Iterable[Duty]) -> bool:
    return any("(" in str(duty.value) for duty in masks)


def _tagged_twice(
    taggings: Iterable[Tagging], about: dict[str, list[Duty]], subjects: Subjects, people: set[str]
) -> Iterator[Finding]:
    carried: dict[str, list[str]] = defaultdict(list)
    for row in taggings:
        carried[row.what].append(row.tag)
    pairs = {(one, other) for tags in carried.values() for one in tags for other in tags if one < other}
    for one, other in sorted(pairs):
        for left in about.get(one, ()):
            for right in about.get(other, ()):
                yield from _contradiction(left, right, subjects, people)


def _contradiction(one: Duty, other: Duty, subjects: Subjects, people: set[str]) -> Iterator[Finding]:
    if not conflict(parse_mask(str(one.value)), parse_mask(str(other.value))):
        return
    if one.purpose != other.purpose and ANYONE not in (one.purpose, other.purpose):
        return
    for who in sorted(people | {one.subject, other.subject}):
        held = subjects.closure(who)
        if {one.subject, other.subject} <= held.keys() and not {one.unless, other.unless} & held.keys():
            first, last = sorted((one, other), key=lambda duty: duty.row.line)
            message = (
                f"mask {last.value} and mask {first.value} of {first.name} both bind {who}, and neither is stricter"
            )
            yield _finding(last.row, message, "exempt a role from one of them (unless), or write redact")
            return
