"""The verbs: ask, decide, show. Each is decided by the policy in force at that moment, and each step is an entry.

The log says how many tokens, of which column, and a commitment to them; never a token or a value. Values pass through
here on their way from the vault to one person's page, and are written down nowhere.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from strongroom_hub.access.questions import column_questions, may_discover
from strongroom_hub.access.reads import CARRIED_OUT
from strongroom_hub.access.stewards import stewarded_datasets
from strongroom_hub.access.training import check_training
from strongroom_hub.access.viewing import row_filters, subject_of
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog.rules import unknown_dataset
from strongroom_hub.catalog.service import View, active_view
from strongroom_hub.control.context import Context, settle
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.derived import lineage
from strongroom_hub.keys.service import gone, refusal
from strongroom_hub.problems import Problem
from strongroom_hub.projects.service import check_member
from strongroom_hub.reidentification import rules
from strongroom_hub.reidentification.models import Reidentification
from strongroom_hub.reidentification.rules import ShownTo, State
from strongroom_hub.two_people import Verdict

_MASK = "token"
_WHY_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for; `version` None: the newest."""

    project: str
    dataset: str
    version: int | None
    column: str
    tokens: list[str]
    shown_to: ShownTo
    why: str


@dataclass(frozen=True, slots=True)
class _Allowed:
    view: View
    rows: tuple[str, ...] | None
    """Where the asker may look."""


def ask(writer: AuditWriter, context: Context, *, user: str, wish: Wish) -> dict[str, Any]:
    """Ask for tokens to be turned back. Raises Problem 403, 404, 410, 422 or 429; a refusal is an entry."""
    rules.check_wish(wish.tokens, wish.why)

    def work(tx: Tx) -> Reidentification | Problem:
        try:
            allowed = _check_allowed(tx.session, context, user, wish.project, wish.dataset, wish.version, wish.column)
            rules.check_day(_charged(tx.session, context, user, wish.project), len(wish.tokens))
        except Problem as problem:
            if problem.status == 422:  # noqa: PLR2004 - a question that makes no sense is no decision
                raise
            _record_refusal(tx, user, wish, problem)
            return problem
        version = allowed.view.version.version
        asked = Reidentification(
            id=secrets.token_hex(8),
            state=State.OPEN,
            user=user,
            project=wish.project,
            dataset=wish.dataset,
            version=version,
            column=wish.column,
            tokens=list(wish.tokens),
            salt=secrets.token_hex(16),
            shown_to=wish.shown_to,
            why=wish.why.strip(),
            asked_at=context.clock(),
            entry=-1,
        )
        asked.entry = _record(tx, asked, user, "asked", payload=asked.why)
        tx.session.add(asked)
        return asked

    return _as_json(context, settle(writer.transact(work)), user)


def decide(
    writer: AuditWriter, context: Context, *, user: str, wanted: str, verdict: Verdict, comment: str
) -> dict[str, Any]:
    """Approve, reject or withdraw. Raises Problem 403, 404 or 409, also where the asker's own right is gone."""

    def work(tx: Tx) -> Reidentification:
        asked = _known(tx.session, context, user, wanted)
        rules.check_decision(rules.State(asked.state), asked.user, user, verdict)
        if verdict is Verdict.APPROVE:
            _still_allowed(tx.session, context, asked)
            asked.until = context.clock() + rules.WINDOW
        asked.state, asked.decided_by, asked.decided_at = rules.TRANSITIONS[verdict], user, context.clock()
        asked.decided_entry = _record(tx, asked, user, f"{verdict}", payload=comment.strip() or None)
        tx.session.add(asked)
        return asked

    return _as_json(context, writer.transact(work), user)


def show(writer: AuditWriter, context: Context, *, user: str, wanted: str) -> dict[str, Any]:
    """The values, once. Raises Problem 403, 404, 409, 410; 503 where the vault is away: then it can be shown later.

    From the entry on it counts as seen, so that nobody sees it unrecorded or twice, whatever ends in between.
    """

    def work(tx: Tx) -> tuple[Reidentification, str] | Problem:
        asked = _known(tx.session, context, user, wanted)
        state = rules.state_now(asked.state, asked.until, context.clock())
        rules.check_show(state, user, rules.viewer(asked.shown_to, asked.user, asked.decided_by))
        try:
            allowed = _still_allowed(tx.session, context, asked)
        except Problem as problem:
            _record(tx, asked, user, "refused", problem=problem.slug)
            return problem
        asked.state, asked.shown_at = State.SHOWN, context.clock()
        asked.shown_entry = _record(tx, asked, user, "shown")
        tx.session.add(asked)
        return asked, _ticket(context, asked, allowed)

    asked, ticket = settle(writer.transact(work))
    try:
        values = context.vault.identify(ticket)
    except Problem as problem:
        slug = problem.slug
        writer.transact(lambda tx: _take_back(tx, wanted, user, slug))
        raise
    writer.transact(lambda tx: _record(tx, asked, user, "told", found=len(values)))
    told = [{"token": token, "value": values.get(token)} for token in asked.tokens]
    return _as_json(context, asked, user) | {"values": told}


def listed(context: Context, *, user: str) -> list[dict[str, Any]]:
    """One's own, and those of datasets that one decides on, newest first."""
    stewarded = _stewarded(context, user)
    with context.reading() as session:
        found = session.exec(select(Reidentification).order_by(col(Reidentification.entry).desc())).all()
    mine = [one for one in found if one.user == user or one.dataset in stewarded]
    return [_as_json(context, one, user, stewarded) for one in mine]


def _check_allowed(  # noqa: PLR0917 - what a wish names
    session: Session, context: Context, user: str, project: str, dataset: str, version: int | None, column: str
) -> _Allowed:
    """Raises Problem where the asker may not (any more) have tokens of that column turned back."""
    check_member(session, context, user, project)
    view = active_view(session, dataset, version)
    if view is None or not may_discover(context, view, user=user, project=project):
        raise unknown_dataset(dataset if version is None else f"{dataset}@{version}")
    if lineage.told(session, view) is not None:
        raise _not_so(f"{dataset} was made in a project; ask for the dataset that its values come from")
    if view.column(column) is None:
        raise _not_so(f"{view.name} version {view.version.version} has no column {column!r}")
    asked = [column_questions(view, action, user=user, project=project)[column] for action in ("reidentify", "read")]
    identify, read = context.policy.decide_all(asked)
    if not (identify.allowed and read.allowed):
        why = tuple(dict.fromkeys(line for one in (identify, read) if not one.allowed for line in one.why()))
        raise Problem(
            403,
            "not-permitted",
            "You may not have tokens of this column turned back",
            f"Nothing permits you to re-identify {column} of {view.name} in project {project}.",
            why=why[:_WHY_LINES],
            next="Who may stands in the policy files (action reidentify): ask an administrator.",
        )
    due = read.obligations
    if due.mask.value != _MASK:
        raise Problem(
            403,
            "no-tokens",
            "You are shown no tokens of this column",
            f"{column} of {view.name} is shown to you " + (f"as {due.mask.value}." if due.mask.value else "as it is."),
            why=(f"rule {due.mask.rule}",) if due.mask.rule else (),
            next="Only what the mask `token` made can be turned back.",
        )
    if unmet := due.unmet("read", CARRIED_OUT):
        raise Problem(
            403,
            "not-carried-out",
            "This data comes with a condition that cannot be met here",
            f"You may read {view.name}, but on conditions that this installation cannot carry out yet.",
            why=unmet[:_WHY_LINES],
            next="Ask an administrator: the rule stands in the policy files.",
        )
    check_training(session, due.training, user=user, today=context.clock().date(), of=view.name)
    if lost := gone(session, view.name, view.version.version, [column]):
        raise refusal(lost[column], column)
    subject_of(view, {column: _MASK})
    return _Allowed(view, row_filters(view, due.rows, project=project, today=context.clock().date()))


def _still_allowed(session: Session, context: Context, asked: Reidentification) -> _Allowed:
    return _check_allowed(session, context, asked.user, asked.project, asked.dataset, asked.version, asked.column)


def _stewarded(context: Context, user: str) -> set[str]:
    return stewarded_datasets(context, user=user, action="approve-access")


def _known(session: Session, context: Context, user: str, wanted: str) -> Reidentification:
    """One's own request, or one that one decides on as a steward; all others look as if they did not exist."""
    asked = session.get(Reidentification, wanted)
    if asked is None or (asked.user != user and asked.dataset not in _stewarded(context, user)):
        raise Problem(
            404, "unknown-reidentification", "No such request", "There is none for you.", next="Look at the list."
        )
    return asked


def _charged(session: Session, context: Context, user: str, project: str) -> int:
    """Tokens that a person asked for in a project in the last 24 hours."""
    since = context.clock() - rules.DAY
    found = session.exec(
        select(Reidentification).where(
            Reidentification.user == user,
            Reidentification.project == project,
            col(Reidentification.state).not_in(rules.UNCHARGED),
        )
    ).all()
    return sum(len(one.tokens) for one in found if one.asked_at > since)


def _ticket(context: Context, asked: Reidentification, allowed: _Allowed) -> str:
    version = allowed.view.version
    return context.tickets.identify(
        dataset=asked.dataset,
        version=asked.version,
        manifest=version.manifest_digest,
        label=version.label,
        columns=[asked.column],
        rows=None if allowed.rows is None else list(allowed.rows),
        project=asked.project,
        tokens=list(asked.tokens),
        asked_by=f"user:{asked.user}",
        agreed_by=f"user:{asked.decided_by}",
        entry=asked.shown_entry,
    )


def _take_back(tx: Tx, wanted: str, user: str, slug: str) -> None:
    asked = tx.session.get(Reidentification, wanted)
    assert asked is not None  # noqa: S101 - requests are never removed
    asked.state, asked.shown_at, asked.shown_entry = State.APPROVED, None, None
    _record(tx, asked, user, "failed", problem=slug)
    tx.session.add(asked)


def _record(tx: Tx, asked: Reidentification, user: str, stage: str, *, payload: str | None = None, **more: Any) -> int:
    detail = {
        "reidentification": asked.id,
        "stage": stage,
        "column": asked.column,
        "tokens": len(asked.tokens),
        "commitment": rules.commitment(asked.salt, asked.tokens),
        "shown_to": asked.shown_to,
        **more,
    }
    return tx.record(
        Entry(
            action=Action.REIDENTIFY,
            actor=f"user:{user}",
            project=asked.project,
            object=f"{asked.dataset}@{asked.version}",
            detail=detail,
            payload=payload,
        )
    )


def _record_refusal(tx: Tx, user: str, wish: Wish, problem: Problem) -> None:
    detail = {
        "reidentification": None,
        "stage": "refused",
        "column": wish.column,
        "tokens": len(wish.tokens),
        "commitment": None,
        "shown_to": wish.shown_to,
        "problem": problem.slug,
    }
    thing = wish.dataset if wish.version is None else f"{wish.dataset}@{wish.version}"
    tx.record(Entry(action=Action.REIDENTIFY, actor=f"user:{user}", project=wish.project, object=thing, detail=detail))


def _not_so(why: str) -> Problem:
    return Problem(
        422,
        "invalid-reidentification",
        "This cannot be asked so",
        "Nothing was changed.",
        why=(why,),
        next="Name the dataset, version and column that the tokens were read from.",
    )


def _as_json(context: Context, asked: Reidentification, user: str, stewarded: set[str] | None = None) -> dict[str, Any]:
    state = rules.state_now(asked.state, asked.until, context.clock())
    decides = asked.dataset in (_stewarded(context, user) if stewarded is None else stewarded)
    return {
        "id": asked.id,
        "state": state,
        "asked_by": f"user:{asked.user}",
        "project": asked.project,
        "dataset": asked.dataset,
        "version": asked.version,
        "column": asked.column,
        "tokens": list(asked.tokens),
        "shown_to": asked.shown_to,
        "why": asked.why,
        "asked_at": iso(asked.asked_at),
        "entry": asked.entry,
        "decided_by": None if asked.decided_by is None else f"user:{asked.decided_by}",
        "decided_at": iso_or_none(asked.decided_at),
        "decided_entry": asked.decided_entry,
        "until": iso_or_none(asked.until),
        "shown_at": iso_or_none(asked.shown_at),
        "shown_entry": asked.shown_entry,
        "may": {
            "decide": decides and rules.can_decide(state, asked.user, user, Verdict.APPROVE),
            "withdraw": rules.can_decide(state, asked.user, user, Verdict.WITHDRAW),
            "show": state is State.APPROVED and rules.viewer(asked.shown_to, asked.user, asked.decided_by) == user,
        },
    }
