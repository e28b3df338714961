"""The verbs of policies: propose, decide, put back; ask who can, what can and why; what if; what is due for a look."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from sqlmodel import Session, col, select
from strongroom_policy.adapter import read_rows
from strongroom_policy.decision import Request
from strongroom_policy.diff import difference
from strongroom_policy.engine import Policy, Sources, parse_sources
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.files import FILES, digest_of, is_rules
from strongroom_policy.reach import Reach, what_can, who_can
from strongroom_policy.recertify import key_of, standing_json, standings
from strongroom_policy.replay import replay
from strongroom_policy.universe import Person, Thing, Universe, things_called, things_known, universe
from strongroom_policy.vocabulary import ACTIONS, suggest

from strongroom_hub.access.rules import not_permitted
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import MAX_CHANGES, Activation, Question
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.policies import rules
from strongroom_hub.policies.asked import last_asked
from strongroom_hub.policies.bundle import BundleError
from strongroom_hub.policies.candidate import Candidate, World, results
from strongroom_hub.policies.grants import grant_rows, grant_rows_ever
from strongroom_hub.policies.models import PolicyProposal, PolicyVersion
from strongroom_hub.policies.rules import ProposalState, Source
from strongroom_hub.policies.world import world
from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict

VERSIONS_SHOWN = 50
MAX_ANSWERS = 1_000
"""Lines of one answer to who-can and what-can."""
_SHORT = 12


def check_may_administer(context: Context, user: str) -> None:
    """Raises Problem 403 unless the policy in force lets the user administer the policy."""
    question = Question(user=user, action="administer", object="policy", label="public")
    decision = context.policy.decide(question)
    if not decision.allowed:
        raise not_permitted("administer", "the policy", tuple(decision.why()))


# -- proposals --------------------------------------------------------------------------------------------------------


def propose(writer: AuditWriter, context: Context, *, actor: str, why: str) -> dict[str, Any]:
    """Make a proposal of the files that stand in the policy folder; an earlier one that is open is outdated by it.

    Raises Problem 409 (files come into force by themselves here, or nothing changed) or 422 (they would be refused).
    """
    rules.check_two_people(context.policy.two_people)
    rules.check_why(why)
    found = _candidate(context, None)
    base = context.policy.digest
    if found.sources.digest == base:
        raise rules.not_changed()
    proposal = PolicyProposal(
        id=secrets.token_hex(8),
        state=ProposalState.OPEN,
        digest=found.sources.digest,
        base=base,
        author=actor,
        why=why.strip(),
        at=context.clock(),
        results=results(found),
        bundle=_signed(context, found, actor, why, base),
        entry=0,
    )

    def work(tx: Tx) -> None:
        _outdate(tx, "another proposal was made")
        proposal.entry = _record(tx, Action.POLICY_PROPOSE, actor, proposal, changes=_lines(found), why=why[:500])
        tx.session.add(proposal)

    writer.transact(work)
    return proposal_json(proposal, actor)


def decide(
    writer: AuditWriter, context: Context, *, actor: str, proposal_id: str, verdict: Verdict, digest: str, comment: str
) -> dict[str, Any]:
    """Approve (which brings it into force), reject or take back. `digest`: of the files that the decider looked at.

    Raises Problem 403 (own proposal), 404, 409 (decided, outdated, other files, damaged) or 422 (refused by now).
    """
    with context.reading() as session:
        proposal = session.get(PolicyProposal, proposal_id)
    if proposal is None:
        raise rules.unknown_proposal()

    def settle(tx: Tx) -> PolicyProposal:
        held = tx.session.get(PolicyProposal, proposal_id)
        assert held is not None  # noqa: S101 - proposals are never deleted
        _check(held, actor, verdict, digest)
        if verdict is Verdict.APPROVE:
            rules.check_base(held.base, context.policy.digest)
        held.state, held.decided_by = rules.TRANSITIONS[verdict], actor
        held.decided_at, held.comment = context.clock(), comment
        tx.session.add(held)
        return held

    _check(proposal, actor, verdict, digest)
    if verdict is not Verdict.APPROVE:
        action = Action.POLICY_REJECT if verdict is Verdict.REJECT else Action.POLICY_WITHDRAW

        def work(tx: Tx) -> PolicyProposal:
            held = settle(tx)
            _record(tx, action, actor, held, comment=comment[:500])
            return held

        return proposal_json(writer.transact(work), actor)
    rules.check_two_people(context.policy.two_people)
    rules.check_base(proposal.base, context.policy.digest)
    found = _candidate(context, _stored(context, proposal.bundle, proposal.digest, "this proposal"))
    by = Activation(actor, Source.PROPOSAL, proposal.why, proposal.id, proposal.author)

    def also(tx: Tx, _version: PolicyVersion) -> None:
        settle(tx)
        _outdate(tx, "another policy came into force")

    _activate(writer, context, found, by, also)
    with context.reading() as session:
        done = session.get(PolicyProposal, proposal_id)
    assert done is not None  # noqa: S101 - proposals are never deleted
    return proposal_json(done, actor)


def _check(proposal: PolicyProposal, actor: str, verdict: Verdict, digest: str) -> None:
    rules.check_open(ProposalState(proposal.state), proposal.decided_by)
    rules.check_decider(proposal.author, actor, verdict)
    rules.check_same(digest, proposal.digest)


def _outdate(tx: Tx, why: str) -> None:
    for one in tx.session.exec(select(PolicyProposal).where(PolicyProposal.state == ProposalState.OPEN)).all():
        one.state, one.comment = ProposalState.OUTDATED, why
        tx.session.add(one)


def proposals(context: Context, viewer: str) -> list[dict[str, Any]]:
    """The newest first; `viewer`: who looks, for what they may do."""
    query = select(PolicyProposal).order_by(col(PolicyProposal.entry).desc()).limit(VERSIONS_SHOWN)
    with context.reading() as session:
        return [proposal_json(one, viewer) for one in session.exec(query).all()]


def proposal_json(one: PolicyProposal, viewer: str) -> dict[str, Any]:
    state = ProposalState(one.state)
    return {
        "id": one.id,
        "state": one.state,
        "digest": one.digest,
        "version": one.digest[:_SHORT],
        "base": one.base[:_SHORT],
        "author": one.author,
        "why": one.why,
        "at": iso(one.at),
        "results": dict(one.results),
        "decided_by": one.decided_by,
        "decided_at": iso_or_none(one.decided_at),
        "comment": one.comment,
        "may": {
            "decide": rules.can_decide(one.author, viewer, state),
            "withdraw": state is ProposalState.OPEN and one.author == viewer,
        },
    }


# -- history ----------------------------------------------------------------------------------------------------------


def rollback(writer: AuditWriter, context: Context, *, actor: str, number: int, why: str) -> dict[str, Any]:
    """Bring a version back into force that was in force before. One person does it, in both modes (ADR 11).

    Raises Problem 404, 409 (it is in force, or damaged) or 422 (it would be refused now).
    """
    rules.check_why(why)
    with context.reading() as session:
        version = session.get(PolicyVersion, number)
    if version is None:
        raise rules.unknown_version(number)
    if version.digest == context.policy.digest:
        raise rules.not_changed()
    found = _candidate(context, _stored(context, version.bundle, version.digest, f"version {number}"))
    by = Activation(actor, Source.ROLLBACK, f"back to version {number}: {why.strip()}")
    done = _activate(writer, context, found, by, lambda tx, _: _outdate(tx, "another policy came into force"))
    return version_json(done, in_force=True)


def versions(context: Context, limit: int = VERSIONS_SHOWN) -> list[dict[str, Any]]:
    """Every policy that came into force, the newest first."""
    query = select(PolicyVersion).order_by(col(PolicyVersion.number).desc()).limit(limit)
    with context.reading() as session:
        found = session.exec(query).all()
    return [version_json(one, in_force=place == 0) for place, one in enumerate(found)]


def version_files(context: Context, number: int) -> list[dict[str, str]]:
    """The texts of a version. Raises Problem 404, or 409 where they are not those that control signed."""
    with context.reading() as session:
        version = session.get(PolicyVersion, number)
    if version is None:
        raise rules.unknown_version(number)
    files = _stored(context, version.bundle, version.digest, f"version {number}")
    return [{"name": name, "text": raw.decode("utf-8-sig")} for name, raw in files.items()]


def version_json(one: PolicyVersion, *, in_force: bool) -> dict[str, Any]:
    return {
        "number": one.number,
        "version": one.digest[:_SHORT],
        "digest": one.digest,
        "at": iso(one.at),
        "actor": one.actor,
        "why": one.why,
        "source": one.source,
        "proposal": one.proposal,
        "entry": one.entry,
        "changes": dict(one.changes),
        "in_force": in_force,
    }


# -- questions --------------------------------------------------------------------------------------------------------


def overview(context: Context, viewer: str) -> dict[str, Any]:
    """How a policy comes into force here, what checks say about the present one, and whether the folder differs."""
    sources = context.policy.sources
    return {
        "activation": context.instance.policy_activation,
        "checks": None if sources is None else _checks(context),
        "draft": _draft(context),
        "proposals": proposals(context, viewer),
        "versions": versions(context),
    }


def _checks(context: Context) -> dict[str, Any]:
    policy, sources = context.policy.policy, context.policy.sources
    assert policy is not None  # noqa: S101 - asked by overview
    assert sources is not None  # noqa: S101 - asked by overview
    with context.reading() as session:
        known = world(session)
    return results(Candidate({}, sources, policy, None, known, context.policy.standing))


def _draft(context: Context) -> dict[str, Any]:
    """Whether the folder holds other files than those in force."""
    try:
        digest = digest_of(context.policy.draft())
    except PolicyError as error:
        return {"version": None, "differs": True, "problems": [_finding(one) for one in error.problems]}
    return {"version": digest[:_SHORT], "differs": digest != context.policy.digest, "problems": []}


def explain(context: Context, *, user: str, action: str, what: str, project: str | None) -> dict[str, Any]:
    """Decisions in full, one for each label that the object may have; grants count. Raises Problem 422."""
    _check_question(action, what)
    policy, known = _policy(context), _known(context)
    purpose = "" if project is None else f"project:{project}"
    now, groups = context.clock(), context.policy.groups_of(user)
    decisions = [
        policy.decide(Request(f"user:{user}", action, one.name, purpose, one.label, one.tags, now, groups))
        for one in _things(known, what)
    ]
    return {"answers": [decision.as_json() | {"text": decision.explain()} for decision in decisions]}


def ask_who_can(context: Context, *, action: str, what: str, project: str | None) -> dict[str, Any]:
    """Everybody who may do it, accounts and grants included. Raises Problem 422 for what is no question."""
    _check_question(action, what)
    known = _known(context)
    asked = _universe(context, known, _things(known, what))
    asked = asked if project is None else asked.within(f"project:{project}")
    return _reaches(who_can(_policy(context), asked, action, context.clock()))


def ask_what_can(context: Context, *, user: str, project: str | None) -> dict[str, Any]:
    """Everything that the user may do, by class of things."""
    policy, known = _policy(context), _known(context)
    asked = _universe(context, known, things_known([policy], known.datasets))
    asked = asked if project is None else asked.within(f"project:{project}")
    person = Person(f"user:{user}", known=context.policy.groups_of(user))
    return _reaches(what_can(policy, asked, person, context.clock()))


def _known(context: Context) -> World:
    with context.reading() as session:
        return world(session)


def _things(known: World, what: str) -> tuple[Thing, ...]:
    return things_called(what, known.datasets)


def _universe(context: Context, known: World, things: Iterable[Thing]) -> Universe:
    return universe([_policy(context)], known.users, known.projects, things)


def _policy(context: Context) -> Policy:
    policy = context.policy.policy
    if policy is None:
        raise Problem(
            409,
            "no-policy",
            "No policy is in force",
            "Nothing is allowed, so there is nothing to ask.",
            next="Mend the policy files first.",
        )
    return policy


def _check_question(action: str, what: str) -> None:
    why = ""
    if action not in ACTIONS:
        why = f"unknown action {action!r} - {suggest(action, ACTIONS)}"
    elif not things_called(what, ()):
        why = f"{what!r} is no object: write namespace/dataset, namespace/dataset#column, policy, log or system"
    if why:
        raise Problem(422, "no-question", "This is no question", why, next="Correct it and ask again.")


def _reaches(found: Iterable[Reach]) -> dict[str, Any]:
    answers = [reach_json(reach) for reach in found]
    return {"answers": answers[:MAX_ANSWERS], "answers_in_all": len(answers)}


def reach_json(reach: Reach) -> dict[str, Any]:
    """One line of who-can and what-can."""
    return {
        "who": list(reach.people.shown),
        "action": reach.action,
        "objects": list(reach.things.shown),
        "project": reach.project.removeprefix("project:") or None,
        "rules": [{"name": rule.name, "text": rule.text, "why": rule.why} for rule in reach.decision.rules],
        "owing": {
            kind: {"value": str(due.value), "rule": due.rule}
            for kind, due in reach.decision.obligations.of(reach.action).items()
        },
    }


# -- what if, and what is due ------------------------------------------------------------------------------------------


def what_if(
    writer: AuditWriter, context: Context, *, actor: str, files: Mapping[str, bytes] | None, last: int
) -> dict[str, Any]:
    """The last decisions of the log under `files` (None: those in the policy folder). Looking at the log is an entry.

    Raises Problem 422 where these files are no policy.
    """
    try:
        if files is not None:
            _check_names(files)
        sources = parse_sources(_folder(context) if files is None else files)
        with context.reading() as session:
            grants = grant_rows_ever(session)
        writer.append(
            Entry(
                action=Action.LOG_READ,
                actor=actor,
                object="log",
                detail={"what-if": sources.digest[:_SHORT], "last": last},
            )
        )
        asked, beyond = last_asked(context, last)
        answers = list(replay(sources, grants, asked))
    except PolicyError as error:
        raise _refused(error) from None
    changed = [
        {
            "entry": one.asked.entry,
            "time": iso(one.asked.requests[0].now),
            "user": one.asked.requests[0].subject.removeprefix("user:"),
            "project": one.asked.requests[0].purpose.removeprefix("project:"),
            "action": one.asked.requests[0].action,
            "was": one.asked.allowed,
            "would_be": one.allowed,
            "differs": list(one.differs[:MAX_CHANGES]),
        }
        for one in answers
        if not one.same
    ]
    return {
        "version": sources.digest[:_SHORT],
        "looked_at": len(answers),
        "not_by_rules": beyond,
        "changes": changed,
    }


def compare(context: Context, *, old: int | None, new: int | None) -> dict[str, Any]:
    """What `new` would change against `old`: versions by number; None: what is in force, and the policy folder.

    Nothing is proved: a draft that is refused can be compared, too. Raises Problem 404, 409 or 422.
    """
    _policy(context)
    before = context.policy.sources if old is None else _sources(version_files(context, old))
    assert before is not None  # noqa: S101 - a policy is in force
    try:
        after = parse_sources(_folder(context)) if new is None else _sources(version_files(context, new))
        with context.reading() as session:
            known, grants = world(session), grant_rows(session, context.clock())
        found = difference(
            before,
            after,
            context.clock(),
            extra=grants,
            users=known.users,
            projects=known.projects,
            datasets=known.datasets,
        )
    except PolicyError as error:
        raise _refused(error) from None
    told = {"old": before.digest[:_SHORT], "new": after.digest[:_SHORT]}
    return told | found.as_json(MAX_CHANGES)


def _sources(files: list[dict[str, str]]) -> Sources:
    return parse_sources({one["name"]: one["text"].encode() for one in files})


def _folder(context: Context) -> Mapping[str, bytes]:
    draft = context.policy.draft()
    _check_names(draft)
    return draft


def recertify(context: Context, *, months: int) -> dict[str, Any]:
    """Every row in force that nobody stood for in so many months. Raises Problem 409 without a policy."""
    _policy(context)
    newest = context.policy.newest()
    assert newest is not None  # noqa: S101 - a policy is in force
    files = _stored(context, newest.bundle, newest.digest, "the policy in force")
    with context.reading() as session:
        seen = _first_seen(context, session)
    today = context.clock().date()
    found = standings(files, parse_sources(files), today, months, seen)
    return {
        "months": months,
        "rows": len(found),
        "overdue": [standing_json(one) for one in found if one.overdue],
    }


def _first_seen(context: Context, session: Session) -> dict[tuple[str, ...], date]:
    seen: dict[tuple[str, ...], date] = {}
    ignored: list[Finding] = []
    for version in session.exec(select(PolicyVersion).order_by(col(PolicyVersion.number))).all():
        files = _stored(context, version.bundle, version.digest, f"version {version.number}")
        for name in files:
            for row in read_rows(files[name], name, ignored) if is_rules(name) else ():
                seen.setdefault(key_of(row), version.at.date())
    return seen


def known_json(context: Context) -> dict[str, Any]:
    """What the command line asks a draft about: accounts, projects, catalogue, and the rows of grants."""
    with context.reading() as session:
        known, grants = world(session), grant_rows(session, context.clock())
    return {
        "users": list(known.users),
        "groups": {user: sorted(groups) for user, groups in known.users.items() if groups},
        "projects": list(known.projects),
        "datasets": [
            {
                "name": one.name,
                "label": one.label,
                "columns": {
                    name: {"kind": column.kind, "tags": sorted(column.tags)} for name, column in one.columns.items()
                },
            }
            for one in known.datasets
        ],
        "grants": [{"ptype": row.ptype, "fields": list(row.fields), "origin": row.origin} for row in grants],
    }


# -- helpers ----------------------------------------------------------------------------------------------------------


def _candidate(context: Context, files: Mapping[str, bytes] | None) -> Candidate:
    try:
        return context.policy.candidate(context.policy.draft() if files is None else files)
    except PolicyError as error:
        raise _refused(error) from None


def _activate(
    writer: AuditWriter, context: Context, found: Candidate, by: Activation, also: Callable[[Tx, PolicyVersion], None]
) -> PolicyVersion:
    try:
        return context.policy.activate(writer, found, by, also)
    except PolicyError as error:
        raise _refused(error) from None


def _check_names(files: Mapping[str, bytes]) -> None:
    missing = [name for name in FILES if name not in files]
    if missing:
        raise PolicyError(tuple(Finding(name, 0, "is missing") for name in missing))


def _signed(context: Context, found: Candidate, actor: str, why: str, base: str) -> str:
    try:
        return context.policy.bundles.sign(found.files, author=actor, why=why, base=base)
    except BundleError as error:
        raise _refused(PolicyError((Finding("policy folder", 0, str(error)),))) from None


def _stored(context: Context, bundle: str, digest: str, what: str) -> dict[str, bytes]:
    try:
        return context.policy.bundles.read(bundle, digest)
    except BundleError as error:
        raise rules.damaged(what, str(error)) from None


def _refused(error: PolicyError) -> Problem:
    return rules.refused(tuple(str(one) for one in error.problems[:MAX_CHANGES]))


def _finding(one: Finding) -> dict[str, Any]:
    return {"file": one.file, "line": one.line, "message": f"{one.message} - {one.hint}" if one.hint else one.message}


def _lines(found: Candidate) -> list[str]:
    return [] if found.difference is None else [line[:500] for line in found.difference.lines(MAX_CHANGES)]


def _record(tx: Tx, action: Action, actor: str, proposal: PolicyProposal, **detail: Any) -> int:
    told = {"proposal": proposal.id, "digest": proposal.digest, "before": proposal.base, **detail}
    return tx.record(Entry(action=action, actor=actor, object="policy", detail=told))
