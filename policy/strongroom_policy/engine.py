"""Loading a policy folder into an immutable `Policy`, and deciding with it.

A `Policy` never changes: a new one is built aside and takes the old one's place in one assignment, or it is not built
at all and the old one stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path

from strongroom_policy import times
from strongroom_policy.adapter import built_in_rows, check_model, read_rows, shared
from strongroom_policy.cases import Case, read_cases
from strongroom_policy.catalogue import Dataset
from strongroom_policy.checks import check
from strongroom_policy.decision import Decision, Request, View
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.files import (
    MODEL_FILE,
    TESTS_FILE,
    digest_of,
    is_rules,
    rank,
    read_folder,
)
from strongroom_policy.guards import BROKEN_BY_GRANTS, GUARDS_FILE, Guard, breaches, broken, read_guards
from strongroom_policy.index import Index, Objects, Subjects, path
from strongroom_policy.labels import Label
from strongroom_policy.matcher import Matcher, Words
from strongroom_policy.misses import near_misses
from strongroom_policy.notes import Rows, notes
from strongroom_policy.obligations import Obligations, due_from
from strongroom_policy.profiles import PROFILES_FILE, Profile, read_profiles
from strongroom_policy.questions import MalformedRequestError, checked
from strongroom_policy.reader import Reader
from strongroom_policy.rows import Duty, Member, Need, Row, Rule, Tagging, Typed
from strongroom_policy.settings import LABELS_FILE, Settings, read_settings
from strongroom_policy.universe import Universe, things_called, things_known, universe
from strongroom_policy.vocabulary import MASKS, SUBJECT

log = logging.getLogger(__name__)

_SHORT = 12
_OF_GRANTS = "; a grant of the database allows it: revoke that, or write a row that denies"
_REMEMBERED = 1024
"""Sets of duties whose strictest is kept."""
_NO_GROUPS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a policy, read once: what was hashed is what was parsed."""

    digest: str
    rows: tuple[Row, ...]
    settings: Settings
    profiles: tuple[Profile, ...]
    cases: tuple[Case, ...]
    guards: tuple[Guard, ...]
    """None where the folder has no guards.toml."""
    masks: tuple[str, ...]
    """The methods of masking that the enforcement point carries out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case of tests.csv and what became of it; `problem` is empty where it passed."""

    case: Case
    problem: str


def load(
    folder: Path, extra: Iterable[Row] = (), *, now: datetime | None = None, masks: Collection[str] = MASKS
) -> Policy:
    """Read and prove the policy in `folder`, then join it with the rows of the database in `extra`.

    `now` (default: the clock) says which memberships hold; `masks`: the methods that the vault carries out. Raises
    PolicyError with everything that is wrong.
    """
    sources = read_sources(folder, masks)
    now = now or datetime.now(UTC)
    prove(sources, now)
    return Policy.build(sources, extra, now)


def prove(
    sources: Sources,
    now: datetime,
    *,
    users: Iterable[str] | Mapping[str, frozenset[str]] = (),
    projects: Iterable[str] = (),
    datasets: Sequence[Dataset] = (),
) -> None:
    """Run the folder's tests and guards. Raises PolicyError with every one that fails.

    They see the files alone: what they expect must not change with the grants of the day (`prove_with_grants` looks at
    those). Guards are asked about accounts, projects and datasets, too, where those are given (as `universe` wants
    them).
    """
    failed = [Finding(TESTS_FILE, one.case.line, one.problem) for one in run_cases(sources) if one.problem]
    policy = Policy.build(sources, (), now)
    if sources.guards:
        failed += broken(sources.guards, policy, _around(sources.guards, policy, users, projects, datasets), now)
    if failed:
        raise PolicyError(tuple(failed))


def prove_with_grants(
    sources: Sources,
    extra: Iterable[Row],
    now: datetime,
    *,
    before: Callable[[], Sources | None],
    users: Iterable[str] | Mapping[str, frozenset[str]] = (),
    projects: Iterable[str] = (),
    datasets: Sequence[Dataset] = (),
) -> tuple[Finding, ...]:
    """Ask the guards of files that are proved once more, with the rows of the database in `extra`.

    `before`: what is in force, asked for where something is found. A guard that it has, too, and that is broken there
    as well, must not hold up changes that may mend it: that is returned. Raises PolicyError for every other one.
    """
    rows = tuple(extra)
    guards = [guard for guard in sources.guards if guard.kind in BROKEN_BY_GRANTS]
    if not guards or not rows:
        return ()

    def tried(guards: Sequence[Guard], of: Sources) -> list[tuple[Guard, Finding]]:
        policy = Policy.build(of, rows, now)
        return breaches(guards, policy, _around(guards, policy, users, projects, datasets), now, rows)

    found = tried(guards, sources)
    old = before() if found else None
    had = {guard.said for guard in old.guards} if old is not None else set()
    kept = [guard for guard in dict.fromkeys(guard for guard, _ in found) if guard.said in had]
    broken_already = {guard for guard, _ in tried(kept, old)} if kept and old is not None else set()
    _refuse([replace(one, message=one.message + _OF_GRANTS) for guard, one in found if guard not in broken_already])
    return tuple(one for _, one in found)


def _around(
    guards: Iterable[Guard],
    policy: Policy,
    users: Iterable[str] | Mapping[str, frozenset[str]],
    projects: Iterable[str],
    datasets: Sequence[Dataset],
) -> Universe:
    named = [thing for guard in guards for thing in things_called(guard.on, datasets)]
    return universe([policy], users, projects, dict.fromkeys((*things_known([policy], datasets), *named)))


def read_sources(folder: Path, masks: Collection[str] = MASKS) -> Sources:
    """The files of `folder`, each row understood on its own. Raises PolicyError."""
    return parse_sources(read_folder(folder), masks)


def parse_sources(files: Mapping[str, bytes], masks: Collection[str] = MASKS) -> Sources:
    """The same from the files' contents, by their names in the folder. Raises PolicyError."""
    findings: list[Finding] = []
    settings = read_settings(files[LABELS_FILE], LABELS_FILE, findings)
    model_findings: list[Finding] = []
    check_model(files[MODEL_FILE], MODEL_FILE, model_findings)
    profiles = read_profiles(files[PROFILES_FILE], findings)
    rows = [row for name in sorted(files, key=rank) if is_rules(name) for row in read_rows(files[name], name, findings)]
    cases = read_cases(files[TESTS_FILE], TESTS_FILE, findings)
    guards = read_guards(files.get(GUARDS_FILE, b""), findings)
    _refuse([*model_findings, *findings])
    return Sources(digest_of(files), tuple(rows), settings, profiles, tuple(cases), guards, tuple(masks))


def run_cases(sources: Sources) -> list[Outcome]:
    """Every case of tests.csv against the files alone, each at its own time. Raises PolicyError for bad rows."""
    outcomes: list[Outcome] = []
    policy = Policy.build(sources, (), datetime.now(UTC))
    for case in sources.cases:
        if not policy.holds_at(case.request.now):
            policy = Policy.build(sources, (), case.request.now)
        outcomes.append(Outcome(case, _problem(case, policy)))
    return outcomes


def _problem(case: Case, policy: Policy) -> str:
    try:
        owed = policy.obligations(case.request)
    except MalformedRequestError as error:
        return f"this is no question: {error}"  # it would be denied, and pass a test that expects that
    return case.problem(policy.decide(case.request), owed)


@dataclass(frozen=True, eq=False)
class Policy:
    """One version of the policy, for the time from `valid_from` (inclusive) to `valid_until` (exclusive).

    Outside that time some membership begins or ends, so `decide` denies until the policy was `rebuilt`.
    """

    version: str
    """The first twelve digits of `digest`."""
    digest: str
    """SHA-256 (hex) over names and bytes of the files. Rows of the database do not change it."""
    valid_from: datetime
    valid_until: datetime
    _built_at: datetime
    settings: Settings
    profiles: tuple[Profile, ...]
    """All there are, in file order; who may take which, says `profiles_for`."""
    rules: tuple[Rule, ...]
    """All `p` rows, those of the database included; denials first."""
    duties: tuple[Duty, ...]
    """All `p2` rows."""
    members: tuple[Member, ...]
    """All `g` rows, whether or not they hold now."""
    taggings: tuple[Tagging, ...]
    """All `g2` rows."""
    needs: tuple[Need, ...]
    """All `g3` rows."""
    _sources: Sources
    _casbin_rows: tuple[tuple[str, ...], ...]
    _rule_index: Index
    _duty_index: Index
    _subjects: Subjects
    _objects: Objects
    _words: Words
    _matcher: Matcher
    _owed: Callable[[tuple[int, ...]], Obligations]
    """What the duties of these numbers make together; remembered, because few sets of them ever bind."""

    @classmethod
    def build(cls, sources: Sources, extra: Iterable[Row], now: datetime) -> Policy:
        """Join the files' rows with those of the database. Raises PolicyError."""
        reader = Reader(sources.settings, sources.masks)
        rows = reader.read([*built_in_rows(), *sources.rows, *map(shared, extra)])
        _refuse(reader.findings)
        _refuse(check(rows, sources.settings, [profile.name for profile in sources.profiles]))
        instant = times.canonical(now)
        start, end = _validity(rows, instant)
        members = tuple(row for row in rows if isinstance(row, Member))
        current = [row for row in members if row.since <= instant and (not row.until or instant < row.until)]
        # denies first: Casbin stops at the first one that matches
        rules = tuple(sorted((row for row in rows if isinstance(row, Rule)), key=lambda rule: rule.allows))
        duties = tuple(row for row in rows if isinstance(row, Duty))
        subjects = Subjects(current)
        taggings = tuple(row for row in rows if isinstance(row, Tagging))
        objects = Objects(taggings)
        needs = tuple(row for row in rows if isinstance(row, Need))
        words = Words(objects, needs)
        return cls(
            version=sources.digest[:_SHORT],
            digest=sources.digest,
            valid_from=datetime.fromisoformat(start),
            valid_until=datetime.fromisoformat(end),
            _built_at=now,
            settings=sources.settings,
            profiles=sources.profiles,
            rules=rules,
            duties=duties,
            members=members,
            taggings=taggings,
            needs=needs,
            _sources=sources,
            _casbin_rows=tuple(rule.casbin_row() for rule in rules),
            _rule_index=Index((rule.subject, rule.object) for rule in rules),
            _duty_index=Index((duty.subject, duty.object) for duty in duties),
            _subjects=subjects,
            _objects=objects,
            _words=words,
            _matcher=Matcher(words),
            _owed=lru_cache(maxsize=_REMEMBERED)(
                lambda numbers: due_from((duties[number] for number in numbers), sources.settings.defaults)
            ),
        )

    @cached_property
    def warnings(self) -> tuple[Finding, ...]:
        """What an admin may want to tidy up (rows that are over, dead, shadowed); none of it makes a policy wrong."""
        rows = Rows(self.rules, self.duties, self.members, self._objects, self._words)
        return notes(rows, self.profiles, self._built_at)

    def rebuilt(self, extra: Iterable[Row] = (), *, now: datetime | None = None) -> Policy:
        """The same files with other rows of the database, or at another time.

        The folder is not read again: a half-edited file cannot hold up a revocation. Raises PolicyError where `extra`
        is wrong.
        """
        return Policy.build(self._sources, extra, now or datetime.now(UTC))

    def holds_at(self, now: datetime) -> bool:
        """Whether no membership begins or ends between the time this was built for and `now`."""
        return self.valid_from <= now < self.valid_until

    def decide(self, request: Request) -> Decision:
        """Allow or deny, with reasons. Never raises: whatever goes wrong inside is a denial that says so."""
        try:
            return self._decide(checked(request, self.settings))
        except MalformedRequestError as error:
            return self._denied(request, f"could not decide: {error}")
        except Exception:  # an error in deciding is a deny
            log.exception("deciding failed")
            return self._denied(
                request, "could not decide: the policy engine failed; the log of the service says where"
            )

    def obligations(self, request: Request) -> Obligations:
        """All that is owed for this subject, purpose and object, whatever the action; the strictest of each kind.

        Raises ValueError for a request that makes no sense. Does not ask whether anything is allowed.
        """
        asked = checked(request, self.settings)
        who = self._subjects.closure(asked.subject, asked.groups)
        return self._owed(self._binding(asked, who, self._around(asked)))

    def view(self, request: Request, columns: Mapping[str, Iterable[str]]) -> View:
        """Decide `request` (its object a dataset) for each of `columns`: `{name: its tags, as "tag:..."}`.

        A decision on a dataset speaks of the dataset; what may be read of it is decided column by column.
        """
        return View(
            {
                name: self.decide(
                    replace(request, object=f"{request.object}#{name}", tags=request.tags | frozenset(tags))
                )
                for name, tags in columns.items()
            }
        )

    def profiles_for(
        self, user: str, project: str, now: datetime, groups: frozenset[str] = _NO_GROUPS
    ) -> tuple[Profile, ...]:
        """The profiles that `user:NAME` may take in `project:NAME`, in file order; the first one is the default."""
        return tuple(
            profile
            for profile in self.profiles
            if self.decide(Request(user, "use", f"profile:{profile.name}", project, now=now, groups=groups)).allowed
        )

    def is_member(self, user: str, group: str, now: datetime, groups: frozenset[str] = _NO_GROUPS) -> bool:
        """Whether `user:NAME` belongs to `project:NAME` (or a role, a group) at `now`; no, where that is not known.

        `groups`, here and below: those `group:NAME` that the identity provider says the user belongs to.
        """
        named = SUBJECT.fullmatch(user) and SUBJECT.fullmatch(group) and user != group
        return bool(named) and self.holds_at(now) and group in self._subjects.closure(user, groups)

    def roles_of(self, user: str, groups: frozenset[str] = _NO_GROUPS) -> tuple[str, ...]:
        """All `role:NAME` that `user:NAME` holds, sorted."""
        return self._groups(user, groups, "role:")

    def projects_of(self, user: str, groups: frozenset[str] = _NO_GROUPS) -> tuple[str, ...]:
        """All `project:NAME` that `user:NAME` belongs to, sorted."""
        return self._groups(user, groups, "project:")

    def clearance_of(self, user: str, groups: frozenset[str] = _NO_GROUPS) -> Label:
        """The highest label that `user:NAME` is cleared for."""
        return self._words.clearance(self._subjects.closure(user, groups))

    def membership(self, user: str, groups: frozenset[str] = _NO_GROUPS) -> Mapping[str, str]:
        """Everything that `user:NAME` is now, each with the name through which it is; for `index.path`."""
        return self._subjects.closure(user, groups)

    def matching(self, request: Request) -> tuple[tuple[Rule, ...], tuple[Duty, ...]]:
        """All rules that match, allows and denials, and all duties that bind: what a decision is made of.

        Raises ValueError for a request that makes no sense, or at a time that this policy was not built for.
        """
        asked = checked(request, self.settings)
        if not self.holds_at(asked.now):
            raise MalformedRequestError("this policy was not built for that time")
        around = self._around(asked)
        who = self._subjects.closure(asked.subject, asked.groups)
        rules = [self.rules[number] for number in self._rule_index.find(who, around)]
        # one by one: Casbin stops at the first denial
        matched = tuple(rule for rule in rules if self._ask(asked, who, [rule.casbin_row()])[1])
        return matched, tuple(self.duties[number] for number in self._binding(asked, who, around))

    def tags_of(self, name: str) -> frozenset[str]:
        """The tags that g2 rows give an object, or anything that it is part of."""
        return self._objects.tags(name)

    def names_of(self, name: str) -> frozenset[str]:
        """All that rows may call an object by: itself, what it is part of, and the tags of g2 rows."""
        return self._objects.closure(name)

    def named(self, prefix: str) -> tuple[str, ...]:
        """All subjects of that kind (`user:`, `role:`, `project:`, `group:`) in any row, sorted."""
        subjects = {name for row in self.members for name in (row.who, row.of)}
        subjects |= {name for rule in (*self.rules, *self.duties) for name in (rule.subject, rule.purpose)}
        return tuple(sorted(name for name in subjects | set(self.settings.groups) if name.startswith(prefix)))

    def _groups(self, user: str, groups: frozenset[str], prefix: str) -> tuple[str, ...]:
        return tuple(sorted(name for name in self._subjects.closure(user, groups) if name.startswith(prefix)))

    def _denied(self, request: Request, reason: str) -> Decision:
        return Decision(False, request, self.version, reason=reason)

    def _decide(self, request: Request) -> Decision:
        if not self.holds_at(request.now):
            return self._denied(
                request,
                f"could not decide: this policy was built for the time from {_when(self.valid_from)} to "
                f"{_when(self.valid_until)}, then memberships change; it must be rebuilt",
            )
        around = self._around(request)
        who = self._subjects.closure(request.subject, request.groups)
        numbers = self._rule_index.find(who, around)
        allowed, matched = False, []
        if numbers:
            allowed, places = self._ask(request, who, [self._casbin_rows[number] for number in numbers])
            matched = [self.rules[numbers[place]] for place in places]
        if not allowed:
            denying = tuple(rule for rule in matched if not rule.allows)
            return self._denial(request, who, denying, numbers, around)
        rules = tuple(matched)
        owed = self._owed(self._binding(request, who, around))
        return Decision(True, request, self.version, rules, path(who, rules[0].subject), obligations=owed)

    def _ask(self, request: Request, who: Mapping[str, str], rows: list[tuple[str, ...]]) -> tuple[bool, list[int]]:
        what = (request.object, _marks(request), str(request.label), request.action, times.canonical(request.now))
        return self._matcher.ask((who, request.purpose, *what), rows)

    def _denial(
        self,
        request: Request,
        who: Mapping[str, str],
        denying: tuple[Rule, ...],
        numbers: list[int],
        around: frozenset[str],
    ) -> Decision:
        if denying:
            return Decision(False, request, self.version, denying, path(who, denying[0].subject))
        others = self._rule_index.about(around, _SCANNED)
        rules = [self.rules[number] for number in dict.fromkeys([*numbers, *others])]
        misses = near_misses(request, who, rules, self._words)
        return Decision(False, request, self.version, near_misses=misses, reason="no rule grants it")

    def _around(self, request: Request) -> frozenset[str]:
        return self._objects.closure(request.object) | _marks(request)

    def _binding(self, request: Request, who: Mapping[str, str], around: frozenset[str]) -> tuple[int, ...]:
        """Numbers of the duties that bind."""
        found = []
        for number in self._duty_index.find(who, around):
            duty = self.duties[number]
            if duty.purpose in ("*", request.purpose) and not (duty.unless and duty.unless in who):
                found.append(number)
        return tuple(found)


_SCANNED = 500
"""How many rules for other subjects a denial looks at, to say who could."""


def _marks(request: Request) -> frozenset[str]:
    """What the data carries: tags and its label, as rules name them."""
    return request.tags | {f"label:{request.label}"}


def _validity(rows: Iterable[Typed], now: str) -> tuple[str, str]:
    edges = {edge for row in rows if isinstance(row, Member) for edge in (row.since, row.until) if edge}
    before = max((edge for edge in edges if edge <= now), default=times.START)
    return before, min((edge for edge in edges if edge > now), default=times.END)


def _when(moment: datetime) -> str:
    return times.readable(times.canonical(moment))


def _refuse(findings: list[Finding]) -> None:
    if findings:
        raise PolicyError(tuple(sorted(findings, key=lambda one: (rank(one.file), one.line))))
