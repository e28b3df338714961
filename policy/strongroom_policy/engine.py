"""Loading a policy folder into an immutable `Policy`, and deciding with it.

A `Policy` never changes: a new one is built aside and takes the old one's place in one assignment, or it is not built
at all and the old one stays.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from strongroom_policy import times
from strongroom_policy.adapter import Settings, built_in_rows, check_model, read_rows, read_settings
from strongroom_policy.cases import Case, read_cases
from strongroom_policy.checks import check, warnings
from strongroom_policy.decision import Decision, Request, View
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.index import Index, Objects, Subjects
from strongroom_policy.labels import Label
from strongroom_policy.matcher import Matcher, Words
from strongroom_policy.misses import near_misses
from strongroom_policy.obligations import Obligations, due_from
from strongroom_policy.profiles import MISSING, PROFILES_FILE, Profile, read_profiles
from strongroom_policy.rows import Duty, Member, Need, Reader, Row, Rule, Tagging, Typed, invisible
from strongroom_policy.vocabulary import ACTIONS, SUBJECT, TAG, is_object, resembles, suggest

log = logging.getLogger(__name__)

MODEL_FILE, RULES_FILE, LABELS_FILE, TESTS_FILE = "model.conf", "policy.csv", "labels.toml", "tests.csv"
FILES = (MODEL_FILE, RULES_FILE, LABELS_FILE, PROFILES_FILE, TESTS_FILE)
_SHORT = 12


class MalformedRequestError(ValueError):
    """A question that makes no sense; the text says which part."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a policy, read once: what was hashed is what was parsed."""

    digest: str
    rows: tuple[Row, ...]
    settings: Settings
    profiles: tuple[Profile, ...]
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case of tests.csv and what became of it; `problem` is empty where it passed."""

    case: Case
    problem: str


def load(folder: Path, extra: Iterable[Row] = (), *, now: datetime | None = None) -> Policy:
    """Read, check and test the policy in `folder`, joined by the rows of the database in `extra`.

    `now` (default: the clock) says which memberships hold. The folder's own tests run without `extra`: what they expect
    must not change with the grants of the day. Raises PolicyError with everything that is wrong.
    """
    sources = read_sources(folder)
    failed = [outcome for outcome in run_cases(sources) if outcome.problem]
    if failed:
        raise PolicyError(tuple(Finding(TESTS_FILE, one.case.line, one.problem) for one in failed))
    return Policy.build(sources, extra, now or datetime.now(UTC))


def read_sources(folder: Path) -> Sources:
    """The files, each row understood on its own. Raises PolicyError."""
    findings: list[Finding] = []
    raw: dict[str, bytes] = {}
    for name in FILES:
        try:
            raw[name] = (folder / name).read_bytes()
        except OSError as error:
            hint = f"it belongs into {folder}"
            if name == PROFILES_FILE:
                hint += f": {MISSING}"
            findings.append(Finding(name, 0, f"cannot be read: {error.strerror}", hint))
    _refuse(findings)
    settings = read_settings(raw[LABELS_FILE], LABELS_FILE, findings)
    model_findings: list[Finding] = []
    check_model(raw[MODEL_FILE], MODEL_FILE, model_findings)
    profiles = read_profiles(raw[PROFILES_FILE], findings)
    rows = read_rows(raw[RULES_FILE], RULES_FILE, findings)
    cases = read_cases(raw[TESTS_FILE], TESTS_FILE, findings)
    _refuse([*model_findings, *findings])
    return Sources(_digest(raw), tuple(rows), settings, profiles, tuple(cases))


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
    warnings: tuple[Finding, ...]
    settings: Settings
    profiles: tuple[Profile, ...]
    """All there are, in file order; who may take which, says `profiles_for`."""
    _sources: Sources
    _rules: tuple[Rule, ...]
    _casbin_rows: tuple[list[str], ...]
    _rule_index: Index
    _duties: tuple[Duty, ...]
    _duty_index: Index
    _subjects: Subjects
    _objects: Objects
    _words: Words
    _matcher: Matcher

    @classmethod
    def build(cls, sources: Sources, extra: Iterable[Row], now: datetime) -> Policy:
        """Join the files' rows with those of the database. Raises PolicyError."""
        reader = Reader(sources.settings.tags)
        rows = reader.read([*built_in_rows(), *sources.rows, *extra])
        _refuse(reader.findings)
        _refuse(check(rows, [profile.name for profile in sources.profiles]))
        instant = times.canonical(now)
        start, end = _validity(rows, instant)
        current = [
            row
            for row in rows
            if isinstance(row, Member) and row.since <= instant and (not row.until or instant < row.until)
        ]
        # denies first: Casbin stops at the first one that matches
        rules = tuple(sorted((row for row in rows if isinstance(row, Rule)), key=lambda rule: rule.allows))
        duties = tuple(row for row in rows if isinstance(row, Duty))
        subjects = Subjects(current)
        objects = Objects([row for row in rows if isinstance(row, Tagging)])
        words = Words(subjects, objects, [row for row in rows if isinstance(row, Need)])
        return cls(
            version=sources.digest[:_SHORT],
            digest=sources.digest,
            valid_from=datetime.fromisoformat(start),
            valid_until=datetime.fromisoformat(end),
            warnings=tuple(warnings(rows, instant)),
            settings=sources.settings,
            profiles=sources.profiles,
            _sources=sources,
            _rules=rules,
            _casbin_rows=tuple(rule.casbin_row() for rule in rules),
            _rule_index=Index((rule.subject, rule.object) for rule in rules),
            _duties=duties,
            _duty_index=Index((duty.subject, duty.object) for duty in duties),
            _subjects=subjects,
            _objects=objects,
            _words=words,
            _matcher=Matcher(words),
        )

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
            return self._decide(_checked(request, self.settings))
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
        return self._obligations(_checked(request, self.settings))

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

    def profiles_for(self, user: str, project: str, now: datetime) -> tuple[Profile, ...]:
        """The profiles that `user:NAME` may take in `project:NAME`, in file order; the first one is the default."""
        return tuple(
            profile
            for profile in self.profiles
            if self.decide(Request(user, "use", f"profile:{profile.name}", project, now=now)).allowed
        )

    def is_member(self, user: str, group: str, now: datetime) -> bool:
        """Whether `user:NAME` belongs to `project:NAME` (or a role, a group) at `now`; no, where that is not known."""
        named = SUBJECT.fullmatch(user) and SUBJECT.fullmatch(group) and user != group
        return bool(named) and self.holds_at(now) and self._words.is_a(user, group)

    def roles_of(self, user: str) -> tuple[str, ...]:
        """All `role:NAME` that `user:NAME` holds, sorted."""
        return self._groups(user, "role:")

    def projects_of(self, user: str) -> tuple[str, ...]:
        """All `project:NAME` that `user:NAME` belongs to, sorted."""
        return self._groups(user, "project:")

    def clearance_of(self, user: str) -> Label:
        """The highest label that `user:NAME` is cleared for."""
        return self._words.clearance(user)

    def tags_of(self, name: str) -> frozenset[str]:
        """The tags that g2 rows give an object, or anything that it is part of."""
        return self._objects.tags(name)

    def _groups(self, user: str, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(name for name in self._subjects.closure(user) if name.startswith(prefix)))

    def _denied(self, request: Request, reason: str) -> Decision:
        return Decision(False, request, self.version, reason=reason)

    def _decide(self, request: Request) -> Decision:
        if not self.holds_at(request.now):
            return self._denied(
                request,
                f"could not decide: this policy was built for the time from {_when(self.valid_from)} to "
                f"{_when(self.valid_until)}, then memberships change; it must be rebuilt",
            )
        marks = _marks(request)
        around = self._objects.closure(request.object) | marks
        numbers = self._rule_index.find(self._subjects.closure(request.subject), around)
        allowed, matched = False, []
        if numbers:
            now = times.canonical(request.now)
            who, what = (request.subject, request.purpose), (request.object, marks, str(request.label))
            rows = [self._casbin_rows[number] for number in numbers]
            allowed, places = self._matcher.ask((*who, *what, request.action, now), rows)
            matched = [self._rules[numbers[place]] for place in places]
        if not allowed:
            denying = tuple(rule for rule in matched if not rule.allows)
            return self._denial(request, denying, numbers, around)
        rules = tuple(matched)
        path = self._subjects.path(request.subject, rules[0].subject)
        return Decision(True, request, self.version, rules, path, obligations=self._obligations(request))

    def _denial(
        self, request: Request, denying: tuple[Rule, ...], numbers: list[int], around: frozenset[str]
    ) -> Decision:
        if denying:
            path = self._subjects.path(request.subject, denying[0].subject)
            return Decision(False, request, self.version, denying, path)
        others = self._rule_index.about(around, _SCANNED)
        rules = [self._rules[number] for number in dict.fromkeys([*numbers, *others])]
        misses = near_misses(request, rules, self._words)
        return Decision(False, request, self.version, near_misses=misses, reason="no rule grants it")

    def _obligations(self, request: Request) -> Obligations:
        closure = self._subjects.closure(request.subject)
        around = self._objects.closure(request.object) | _marks(request)
        found = (self._duties[number] for number in self._duty_index.find(closure, around))
        return due_from(
            (
                duty
                for duty in found
                if duty.purpose in ("*", request.purpose) and not (duty.unless and duty.unless in closure)
            ),
            self.settings.defaults,
        )


_SCANNED = 500
"""How many rules for other subjects a denial looks at, to say who could."""


def _marks(request: Request) -> frozenset[str]:
    """What the data carries: tags and its label, as rules name them."""
    return request.tags | {f"label:{request.label}"}


def _checked(request: Request, settings: Settings) -> Request:
    """The request with its label parsed. Raises MalformedRequestError for whatever is not a question."""
    found = SUBJECT.fullmatch(request.subject)
    if found is None or found[1] != "user":
        raise MalformedRequestError(f"the subject {request.subject!r} is no user")
    if request.action not in ACTIONS:
        raise MalformedRequestError(f"unknown action {request.action!r} - {suggest(request.action, ACTIONS)}")
    if not is_object(request.object):
        raise MalformedRequestError(f"{request.object!r} is no object")
    if request.purpose:
        found = SUBJECT.fullmatch(request.purpose)
        if found is None or found[1] != "project":
            raise MalformedRequestError(f"the purpose {request.purpose!r} is no project")
    for tag in request.tags:
        if tag not in settings.tags and (not TAG.fullmatch(tag) or resembles(tag, settings.tags)):
            raise MalformedRequestError(f"unknown tag {tag!r} - {suggest(tag, settings.tags)}")
    if request.now.utcoffset() is None:
        raise MalformedRequestError("the time has no time zone")
    if invisible(request.object):
        raise MalformedRequestError("the object's name holds an invisible character")
    return replace(request, label=Label.parse(request.label), tags=frozenset(request.tags))


def _validity(rows: Iterable[Typed], now: str) -> tuple[str, str]:
    edges = {edge for row in rows if isinstance(row, Member) for edge in (row.since, row.until) if edge}
    before = max((edge for edge in edges if edge <= now), default=times.START)
    return before, min((edge for edge in edges if edge > now), default=times.END)


def _when(moment: datetime) -> str:
    return times.readable(times.canonical(moment))


def _digest(raw: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in FILES:
        whole.update(f"{name} {len(raw[name])}\n".encode())
        whole.update(raw[name])
    return whole.hexdigest()


def _refuse(findings: list[Finding]) -> None:
    if findings:
        order = {name: number for number, name in enumerate(FILES)}
        raise PolicyError(tuple(sorted(findings, key=lambda one: (order.get(one.file, len(order)), one.line))))
