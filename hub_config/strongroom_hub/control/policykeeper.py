"""Holds the policy in force, and replaces it in one assignment when files, grants or memberships change.

- Files are copied before they are read: what was hashed is what was parsed is what is kept.
- Files that do not load change nothing: the old policy stays, the refusal is recorded once and shown.
- At start the last files that were good are used when the present ones are not; without any, everything is denied.
- Grants come from the database; a change of them takes effect before the call that made it is answered.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, select
from strongroom_policy.decision import Decision, Request
from strongroom_policy.engine import Policy, load
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.files import file_names
from strongroom_policy.grants import rows_for_grant
from strongroom_policy.labels import Label
from strongroom_policy.obligations import CLOSED, Obligations, strictest
from strongroom_policy.profiles import Profile
from strongroom_policy.rows import Row
from strongroom_policy.vocabulary import UNCLEARED_ACTIONS, resembles

from strongroom_hub.access.models import Grant
from strongroom_hub.access.rules import GrantState
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter
from strongroom_hub.control.times import iso

log = logging.getLogger("strongroom.control.policy")

NO_POLICY = "no-policy"
MAX_PROBLEMS = 20
"""Problems that one refusal's entry lists; the console shows all."""


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
class _Force:
    """One assignment's worth: the policy with the texts it was read from."""

    policy: Policy
    files: tuple[tuple[str, str], ...]
    loaded_at: datetime


class PolicyKeeper:
    """Decides with the policy in force. Safe to ask from any thread."""

    def __init__(self, folder: Path, last_good: Path, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._last_good = last_good
        self._engine = engine
        self._clock = clock
        self._force: _Force | None = None
        self._seen = ""
        self._problems: tuple[Finding, ...] = ()
        self._changing = threading.Lock()

    # -- keeping it current ---------------------------------------------------------------------------------------

    def start(self, writer: AuditWriter) -> None:
        """Load the present files; failing that, the last good ones. Never raises for a bad policy: it denies."""
        self.poll(writer)
        if self._force is not None or not self._last_good.is_dir():
            return
        try:
            force = self._load(self._last_good)
        except (PolicyError, OSError) as error:
            log.error("the last good policy cannot be used either: %s", error)  # noqa: TRY400 - told, not traced
            return
        self._activate(writer, force, "the last good files, because the present ones are refused")

    def poll(self, writer: AuditWriter) -> None:
        """Look whether the files changed; call each second. Raises AuditUnavailableError."""
        try:
            content = {name: _read(self._folder / name) for name in file_names(self._folder)}
        except PolicyError as error:
            self._refuse(writer, error.problems)
            self._seen = ""  # whatever is there once that is mended, it is looked at
            return
        digest = _digest(content)
        if digest == self._seen:
            return
        candidate = self._last_good.with_name(f"{self._last_good.name}.candidate")
        try:
            _write(candidate, content)
            force = self._load(candidate)
            self._activate(writer, force, "the files in the policy folder")
            self._keep(candidate)
            self._problems = ()
        except PolicyError as error:
            self._refuse(writer, tuple(_said_of(self._folder, candidate, problem) for problem in error.problems))
        except OSError as error:
            self._refuse(writer, (Finding("policy folder", 0, f"cannot be copied: {error.strerror}"),))
            return  # not seen: tried again, because it says nothing about the content
        self._seen = digest

    def rebuild(self, writer: AuditWriter) -> None:
        """Take in what changed in the database: call after a grant was made or ended, before answering."""
        try:
            self._rebuild()
        except PolicyError as error:
            # A grant that cannot be a rule: nothing may be decided from rows that are older than a revocation.
            with self._changing:
                self._force = None
            self._refuse(writer, error.problems)

    def _rebuild(self) -> None:
        with self._changing:
            if self._force is not None:
                now = self._clock()
                policy = self._force.policy.rebuilt(self._grant_rows(now), now=now)
                self._force = replace(self._force, policy=policy)

    def _load(self, folder: Path) -> _Force:
        now = self._clock()
        policy = load(folder, self._grant_rows(now), now=now)
        texts = tuple((name, (folder / name).read_text(encoding="utf-8")) for name in file_names(folder))
        return _Force(policy, texts, now)

    def _grant_rows(self, now: datetime) -> list[Row]:
        with Session(self._engine) as session:
            grants = session.exec(select(Grant).where(Grant.state == GrantState.ACTIVE, Grant.until > now)).all()
        return [row for grant in grants for row in _rows(grant)]

    def _keep(self, candidate: Path) -> None:
        old = self._last_good.with_name(f"{self._last_good.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self._last_good.exists():
            self._last_good.rename(old)
        candidate.rename(self._last_good)
        shutil.rmtree(old, ignore_errors=True)

    def _refuse(self, writer: AuditWriter, problems: tuple[Finding, ...]) -> None:
        if problems == self._problems:
            return
        for problem in problems:
            log.error("policy refused: %s", problem)
        writer.append(
            Entry(
                action=Action.POLICY_REFUSE,
                actor="system:control",
                object="policy",
                detail={
                    "problems": [str(problem)[:500] for problem in problems[:MAX_PROBLEMS]],
                    "problems_in_all": len(problems),
                    "in_force": self.version,
                },
            )
        )
        self._problems = problems

    def _activate(self, writer: AuditWriter, force: _Force, source: str) -> None:
        """Record, then swap: a policy whose activation cannot be recorded does not come into force."""
        if self._force is None or force.policy.digest != self._force.policy.digest:
            log.info("policy %s comes into force: %s", force.policy.version, source)
            writer.append(
                Entry(
                    action=Action.POLICY_ACTIVATE,
                    actor="system:control",
                    object="policy",
                    detail={"version": force.policy.version, "digest": force.policy.digest, "source": source},
                )
            )
        with self._changing:
            # once more with the grants of this moment: one may have been made or revoked meanwhile
            now = self._clock()
            self._force = replace(force, policy=force.policy.rebuilt(self._grant_rows(now), now=now))

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
        request = self._request(question)
        policy = self._current(request.now)
        if policy is None:
            return Decision(False, request, NO_POLICY, reason="no valid policy is in force, so nothing is allowed")
        return policy.decide(request)

    def obligations(self, questions: Iterable[Question]) -> Obligations:
        """The strictest of what is owed for all questions together; CLOSED for none, or without a policy."""
        held: list[Obligations] = []
        for question in questions:
            request = self._request(question)
            policy = self._current(request.now)
            if policy is None:
                return CLOSED
            try:
                held.append(policy.obligations(request))
            except ValueError:
                return CLOSED
        return strictest(held)

    def mask(self, question: Question) -> str | None:
        """The mask that a reading of this column would get, whether or not it is allowed."""
        return self.obligations([question]).mask.value

    def is_member(self, user: str, project: str) -> bool:
        now = self._clock()
        policy = self._current(now)
        return policy is not None and policy.is_member(f"user:{user}", f"project:{project}", now)

    def profiles(self, user: str, project: str) -> tuple[Profile, ...]:
        """The profiles that the user may take in the project now, the default first; none without a policy."""
        now = self._clock()
        policy = self._current(now)
        return () if policy is None else policy.profiles_for(f"user:{user}", f"project:{project}", now)

    def is_cleared(self, question: Question) -> bool:
        """Whether the person's clearance reaches the label, whatever else would be needed."""
        policy = self._current(self._clock())
        if question.action in UNCLEARED_ACTIONS or policy is None:
            return True
        return policy.clearance_of(f"user:{question.user}") >= Label.parse(question.label)

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
        return [] if policy is None else list(policy.roles_of(f"user:{user}"))

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
        return [] if force is None else [{"name": name, "text": text} for name, text in force.files]

    def _request(self, question: Question) -> Request:
        return Request(
            subject=f"user:{question.user}",
            action=question.action,
            object=question.object,
            purpose="" if question.project is None else f"project:{question.project}",
            label=question.label,
            tags=frozenset(f"tag:{tag}" for tag in question.tags),
            now=self._clock(),
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


def _rows(grant: Grant) -> list[Row]:
    try:
        return rows_for_grant(
            grant=grant.id,
            user=grant.user,
            project=grant.project,
            dataset=grant.dataset,
            columns=grant.columns,
            masks=grant.masks,
            since=grant.since,
            until=grant.until,
            request=grant.request,
        )
    except ValueError as error:
        log.error("grant %s gives no rule and allows nothing: %s", grant.id, error)  # noqa: TRY400 - told, not traced
        return []


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _said_of(folder: Path, candidate: Path, problem: Finding) -> Finding:
    """The same finding about the admin's folder instead of our copy of it."""
    return replace(
        problem,
        message=problem.message.replace(str(candidate), str(folder)),
        hint=problem.hint.replace(str(candidate), str(folder)),
    )


def _digest(content: Mapping[str, bytes | None]) -> str:
    whole = hashlib.sha256()
    for name, raw in content.items():
        whole.update(f"{name} {-1 if raw is None else len(raw)}\n".encode())
        whole.update(raw or b"")
    return whole.hexdigest()


def _write(folder: Path, content: Mapping[str, bytes | None]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    for name, raw in content.items():
        if raw is not None:
            (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
            (folder / name).write_bytes(raw)
