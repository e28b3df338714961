"""Holds the policy in force, and replaces it in one assignment when files, grants or memberships change.

- Files are read once: what was hashed is what was parsed, tested, compared and kept.
- A version is recorded, with what it changes and its signed files, in one transaction; then it is swapped in.
- Files that do not pass change nothing: the old policy stays, the refusal is recorded once and shown.
- At start the newest recorded version is used where the present files are refused; without any, everything is denied.
- Where two people bring a policy into force, files in the folder are a draft, and the newest recorded version holds.
- Grants come from the database; a change of them takes effect before the call that made it is answered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select
from strongroom_policy.catalogue import Dataset
from strongroom_policy.decision import Decision, Request
from strongroom_policy.engine import Policy, Sources, parse_sources
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.files import digest_of, rank, read_folder
from strongroom_policy.guards import broken
from strongroom_policy.labels import Label
from strongroom_policy.obligations import CLOSED, Obligations, strictest
from strongroom_policy.profiles import Profile
from strongroom_policy.rows import Row
from strongroom_policy.universe import things_called, universe
from strongroom_policy.vocabulary import UNCLEARED_ACTIONS, resembles

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.times import iso
from strongroom_hub.identity.models import ProvidedGroups
from strongroom_hub.policies.basis import basis
from strongroom_hub.policies.bundle import BundleError, BundleSigner
from strongroom_hub.policies.candidate import Candidate, World, candidate
from strongroom_hub.policies.grants import grant_rows, provided_groups
from strongroom_hub.policies.models import PolicyVersion
from strongroom_hub.policies.rules import Source

log = logging.getLogger("strongroom.control.policy")

NO_POLICY = "no-policy"
SYSTEM = "system:control"
MAX_PROBLEMS = 20
"""Problems that one refusal's entry lists; the console shows all."""
MAX_CHANGES = 40
"""Changes that an activation's entry lists; the version keeps more."""
LOOKS = 3
"""Looks at a candidate before its transaction; where grants or datasets are added each time, the last one is inside."""
_SHORT = 500
"""Characters of each in an entry."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question in bare names; `project` None outside projects; `tags` without their `tag:`."""

    user: str
    action: str
    object: str
    project: str | None = None
    label: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Activation:
    """Who brings a policy into force, how and why."""

    actor: str
    source: Source
    why: str
    proposal: str | None = None
    author: str | None = None
    """Who proposed it, where somebody else brings it into force."""


@dataclass(frozen=True, slots=True)
class _Force:
    """One assignment's worth: the policy with the files it was read from."""

    policy: Policy
    sources: Sources
    files: Mapping[str, bytes]
    loaded_at: datetime
    standing: tuple[Finding, ...] = ()
    """Guards that were broken by grants when the files came into force, and had been before."""


class PolicyKeeper:
    """Decides with the policy in force. Safe to ask from any thread."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        clock: Callable[[], datetime],
        bundles: BundleSigner,
        known: Callable[[Session], World],
        *,
        two_people: bool = False,
    ) -> None:
        """`two_people`: files in the folder are a draft, and come into force only by `policies.service`."""
        self.two_people = two_people
        self._folder = folder
        self._engine = engine
        self._clock = clock
        self.bundles = bundles
        self._known = known
        self._force: _Force | None = None
        self._seen = ""
        self._problems: tuple[Finding, ...] = ()
        self._groups: Mapping[str, frozenset[str]] = {}
        self._swapping = threading.Lock()
        self._activating = threading.RLock()
        self._landing = threading.Lock()
        """Held from a version's record to its swap."""

    # -- keeping it current ---------------------------------------------------------------------------------------

    def start(self, writer: AuditWriter) -> None:
        """Take the newest version, or the present files, into force. Never raises for a bad policy: it denies."""
        with self._swapping, Session(self._engine) as session:
            self._groups = provided_groups(session)
        newest = self.newest()
        if newest is not None:
            self._take_up(writer, newest)
        self.poll(writer)

    def poll(self, writer: AuditWriter) -> None:
        """Look whether the files changed; call each second. Raises AuditUnavailableError."""
        if self.two_people and self.newest() is not None:
            return  # the folder holds a draft
        with self._activating:
            try:
                files = read_folder(self._folder)
            except PolicyError as error:
                self._refuse(writer, error.problems)
                self._seen = ""  # whatever is there once that is mended, it is looked at
                return
            digest = digest_of(files)
            if digest != self._seen:
                self._look_at(writer, files, digest)
                self._seen = digest

    def _look_at(self, writer: AuditWriter, files: Mapping[str, bytes], digest: str) -> None:
        newest = self.newest()
        if newest is not None and digest == newest.folder != newest.digest:
            # set aside by a rollback: they wait for somebody to edit them
            if self._force is None:
                self._take_up(writer, newest)
            return
        try:
            found = self.candidate(files)
            if newest is not None and newest.digest == digest == newest.folder:
                self._adopt(found)  # as before a restart
            elif self._force is None and newest is None:
                self.activate(writer, found, Activation(SYSTEM, Source.FIRST, "the files of the first start"))
            else:
                self.activate(writer, found, Activation(SYSTEM, Source.FILES, "the files in the policy folder"))
            self._problems = ()
        except PolicyError as error:
            self._refuse(writer, error.problems)

    def _take_up(self, writer: AuditWriter, version: PolicyVersion) -> None:
        """Put a recorded version into force as it was kept; it was tested when it came into force."""
        try:
            files = self.bundles.read(version.bundle, version.digest)
            sources = parse_sources(files)
            with Session(self._engine) as session:
                policy = Policy.build(sources, grant_rows(session, self._clock()), self._clock())
        except (BundleError, PolicyError) as error:
            message = f"the kept files of version {version.number} cannot be used: {error}"
            self._refuse(writer, (*self._problems, Finding("policy history", 0, message)))
            return
        log.info("policy %s holds: version %s of the history", policy.version, version.number)
        with self._swapping:
            self._force = _Force(policy, sources, files, self._clock())

    def candidate(self, files: Mapping[str, bytes]) -> Candidate:
        """What these files would be as the policy in force, and would change. Raises PolicyError."""
        with Session(self._engine) as session:
            return self._looked_at(session, files)

    def _looked_at(self, session: Session, files: Mapping[str, bytes]) -> Candidate:
        force, now = self._force, self._clock()
        seen = basis(session)
        known, grants = self._known(session), grant_rows(session, now)
        return candidate(files, None if force is None else force.sources, known, grants, now=now, seen=seen)

    def draft(self) -> dict[str, bytes]:
        """The files that stand in the policy folder. Raises PolicyError where they cannot be read."""
        return read_folder(self._folder)

    def newest(self) -> PolicyVersion | None:
        """The version that came into force last, as the database has it."""
        with Session(self._engine) as session:
            return session.exec(select(PolicyVersion).order_by(col(PolicyVersion.number).desc()).limit(1)).first()

    def activate(
        self,
        writer: AuditWriter,
        found: Candidate,
        by: Activation,
        also: Callable[[Tx, PolicyVersion], None] = lambda _tx, _version: None,
    ) -> PolicyVersion:
        """Record the version, with whatever `also` does in the same transaction, then swap it in.

        A policy whose activation cannot be recorded does not come into force. Where something was granted or became
        visible since `found` was looked at, it is looked at again. Raises PolicyError, also for a BundleError,
        AuditUnavailableError, and what `also` raises.
        """
        with self._activating, self._landing:
            version, found = self._recorded(writer, found, by, also)
            log.info("policy %s comes into force: %s", found.policy.version, by.why)
            self._adopt(found)
            self._problems = ()
            return version

    def _recorded(
        self, writer: AuditWriter, found: Candidate, by: Activation, also: Callable[[Tx, PolicyVersion], None]
    ) -> tuple[PolicyVersion, Candidate]:
        """The version's row, and what was found out about it at that moment."""
        digest, base = found.sources.digest, self.digest
        try:
            bundle = self.bundles.sign(found.files, author=by.actor, why=by.why, base=base)
        except BundleError as error:
            raise PolicyError((Finding("policy folder", 0, str(error)),)) from None
        folder = digest if by.source in {Source.FILES, Source.FIRST} else self._folder_digest()

        def work(tx: Tx, found: Candidate, *, last: bool) -> tuple[PolicyVersion, Candidate]:
            if basis(tx.session) != found.basis:
                if not last:
                    raise _MovedError
                found = self._looked_at(tx.session, found.files)
            version = PolicyVersion(
                digest=digest,
                folder=folder,
                at=self._clock(),
                actor=by.actor,
                why=by.why,
                source=by.source,
                proposal=by.proposal,
                changes=found.changes(),
                bundle=bundle,
                entry=tx.record(_activation(found, by, base)),
            )
            tx.session.add(version)
            tx.session.flush()
            also(tx, version)
            return version, found

        for _ in range(LOOKS):
            try:
                return writer.transact(partial(work, found=found, last=False))
            except _MovedError:
                found = self.candidate(found.files)
        return writer.transact(partial(work, found=found, last=True))

    def _adopt(self, found: Candidate) -> None:
        with self._swapping, Session(self._engine) as session:
            # once more with the grants of this moment: one may have been made or revoked meanwhile
            now = self._clock()
            policy = found.policy.rebuilt(grant_rows(session, now), now=now)
            self._force = _Force(policy, found.sources, found.files, now, found.standing)

    def _folder_digest(self) -> str:
        try:
            return digest_of(read_folder(self._folder))
        except PolicyError:
            return ""

    def rebuild(self, writer: AuditWriter) -> None:
        """Take in what changed in the database: call after a grant was made or ended, before answering."""
        try:
            self._rebuild()
        except PolicyError as error:
            # A grant that cannot be a rule: nothing may be decided from rows that are older than a revocation.
            with self._swapping:
                self._force = None
            self._refuse(writer, error.problems)

    def _rebuild(self) -> None:
        with self._swapping:
            if self._force is not None:
                now = self._clock()
                with Session(self._engine) as session:
                    policy = self._force.policy.rebuilt(grant_rows(session, now), now=now)
                self._force = replace(self._force, policy=policy)

    def wait_for_activation(self) -> None:
        """Return when no version is recorded that is not in force yet. Not from within a transaction."""
        with self._landing:
            pass

    def broken_guards(
        self, session: Session, dataset: Dataset, *, user: str | None = None, more: Sequence[Row] = ()
    ) -> tuple[Finding, ...]:
        """What guards rule out and the policy, with the grants that `session` has and `more`, allows on `dataset`.

        `user`: what this person may do alone, for a grant. Without a policy, or where one cannot be built with these
        grants, that is what is found. Takes as long as `rebuild`, and once more for each future edge of the files.
        """
        force = self._force
        if force is None:
            return (Finding("policy", 0, "no valid policy is in force, so its guards cannot be asked"),)
        if _newest_digest(session) not in {None, force.policy.digest}:
            return (Finding("policy", 0, "another policy is just coming into force; try again in a moment"),)
        # memberships do not change with a grant or a dataset, and nobody loses what they may do by a grant
        aside = {"apart"} if user is None else {"apart", "somebody"}
        guards = [guard for guard in force.sources.guards if guard.kind not in aside]
        if not guards:
            return ()
        now = self._clock()
        rows, known = [*grant_rows(session, now), *more], self._known(session)
        things = [one for name in dataset.names for one in things_called(name, [dataset])]
        try:
            policy = force.policy.rebuilt(rows, now=now)
            asked = universe([policy], known.users, known.projects, things)
            if user is not None:
                asked = replace(asked, people=tuple(one for one in asked.people if one.user == f"user:{user}"))
            return broken(guards, policy, asked, now, rows)
        except PolicyError as error:
            return error.problems

    def take_groups(self, user: str) -> None:
        """Take in what the database says about this person's groups now: call after it changed, before answering."""
        with self._swapping, Session(self._engine) as session:
            kept = session.get(ProvidedGroups, user)
            self._groups = {**self._groups, user: frozenset(kept.groups if kept else ())}

    def groups_of(self, user: str) -> frozenset[str]:
        """`group:NAME`, as the identity provider said last."""
        return self._groups.get(user, frozenset())

    def _refuse(self, writer: AuditWriter, problems: tuple[Finding, ...]) -> None:
        if problems == self._problems:
            return
        for problem in problems:
            log.error("policy refused: %s", problem)
        writer.append(
            Entry(
                action=Action.POLICY_REFUSE,
                actor=SYSTEM,
                object="policy",
                detail={
                    "problems": [str(problem)[:_SHORT] for problem in problems[:MAX_PROBLEMS]],
                    "problems_in_all": len(problems),
                    "in_force": self.version,
                },
            )
        )
        self._problems = problems

    # -- asking it ------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """The files' version (grants do not change it), or `no-policy`."""
        force = self._force
        return NO_POLICY if force is None else force.policy.version

    @property
    def digest(self) -> str:
        """SHA-256 of the files in force: what votes are bound to."""
        force = self._force
        return NO_POLICY if force is None else force.policy.digest

    def decide(self, question: Question) -> Decision:
        """Allow or deny now. Never raises; without a policy everything is denied."""
        return self.decide_all([question])[0]

    def decide_all(self, questions: Iterable[Question]) -> list[Decision]:
        """All of them by one and the same policy and instant: what belongs together is never half of each of two."""
        now = self._clock()
        policy = self._current(now)
        requests = [self._request(question, now) for question in questions]
        if policy is None:
            reason = "no valid policy is in force, so nothing is allowed"
            return [Decision(False, request, NO_POLICY, reason=reason) for request in requests]
        return [policy.decide(request) for request in requests]

    def obligations(self, questions: Iterable[Question]) -> Obligations:
        """The strictest of what is owed for all questions together; CLOSED for none, or without a policy."""
        now = self._clock()
        policy = self._current(now)
        if policy is None:
            return CLOSED
        try:
            return strictest([policy.obligations(self._request(question, now)) for question in questions])
        except ValueError:
            return CLOSED

    def mask(self, question: Question) -> str | None:
        """The mask that a reading of this column would get, whether or not it is allowed."""
        return self.obligations([question]).mask.value

    def is_member(self, user: str, project: str) -> bool:
        now = self._clock()
        policy = self._current(now)
        return policy is not None and policy.is_member(f"user:{user}", f"project:{project}", now, self.groups_of(user))

    def profiles(self, user: str, project: str) -> tuple[Profile, ...]:
        """The profiles that the user may take in the project now, the default first; none without a policy."""
        now = self._clock()
        policy = self._current(now)
        if policy is None:
            return ()
        return policy.profiles_for(f"user:{user}", f"project:{project}", now, self.groups_of(user))

    def is_cleared(self, question: Question) -> bool:
        """Whether the person's clearance reaches the label, whatever else would be needed."""
        policy = self._current(self._clock())
        if question.action in UNCLEARED_ACTIONS or policy is None:
            return True
        return policy.clearance_of(f"user:{question.user}", self.groups_of(question.user)) >= Label.parse(
            question.label
        )

    def meant_tag(self, tag: str) -> str | None:
        """The known tag that this unknown one probably is a misspelling of: with it every decision would be a deny."""
        policy = self._current(self._clock())
        if policy is None or f"tag:{tag}" in policy.settings.tags:
            return None
        meant = resembles(f"tag:{tag}", policy.settings.tags)
        return None if meant is None else meant.removeprefix("tag:")

    def roles_of(self, user: str) -> list[str]:
        """`role:NAME`, sorted."""
        policy = self._current(self._clock())
        return [] if policy is None else list(policy.roles_of(f"user:{user}", self.groups_of(user)))

    def state(self) -> dict[str, Any]:
        """What `GET policy` answers, without the files' texts."""
        force = self._force
        return {
            "version": self.version,
            "loaded_at": None if force is None else iso(force.loaded_at),
            "state": "refused" if self._problems or force is None else "in-force",
            "problems": [
                {
                    "file": one.file,
                    "line": one.line,
                    "message": f"{one.message} - {one.hint}" if one.hint else one.message,
                }
                for one in self._problems
            ],
        }

    def files(self) -> list[dict[str, str]]:
        """The texts in force."""
        force = self._force
        if force is None:
            return []
        return [{"name": name, "text": force.files[name].decode("utf-8-sig")} for name in sorted(force.files, key=rank)]

    @property
    def policy(self) -> Policy | None:
        """The policy in force now, for tools that look at all of it."""
        return self._current(self._clock())

    @property
    def standing(self) -> tuple[Finding, ...]:
        """Guards that were broken by grants when the policy came into force, and had been before."""
        force = self._force
        return () if force is None else force.standing

    @property
    def sources(self) -> Sources | None:
        force = self._force
        return None if force is None else force.sources

    def _request(self, question: Question, now: datetime) -> Request:
        return Request(
            subject=f"user:{question.user}",
            action=question.action,
            object=question.object,
            purpose="" if question.project is None else f"project:{question.project}",
            label=question.label,
            tags=frozenset(f"tag:{tag}" for tag in question.tags),
            now=now,
            groups=self.groups_of(question.user),
        )

    def _current(self, now: datetime) -> Policy | None:
        """The policy, rebuilt where a membership began or ended since. A stale one that cannot be rebuilt denies."""
        force = self._force
        if force is None:
            return None
        if not force.policy.holds_at(now):
            try:
                self._rebuild()
            except PolicyError:
                log.exception("the policy cannot be rebuilt at a change of memberships")
            force = self._force
        return None if force is None else force.policy


class _MovedError(Exception):
    """What a candidate's guards were asked about has changed since."""


def _newest_digest(session: Session) -> str | None:
    return session.exec(select(PolicyVersion.digest).order_by(col(PolicyVersion.number).desc()).limit(1)).first()


def _activation(found: Candidate, by: Activation, base: str) -> Entry:
    lines = ["there was no policy before"] if found.difference is None else found.difference.lines(MAX_CHANGES)
    return Entry(
        action=Action.POLICY_ACTIVATE,
        actor=by.actor,
        object="policy",
        detail={
            "version": found.policy.version,
            "digest": found.sources.digest,
            "before": base,
            "source": by.source,
            "proposal": by.proposal,
            "author": by.author,
            "why": by.why[:_SHORT],
            "changes": [line[:_SHORT] for line in lines],
        },
    )
