"""The verbs about keys: orders to the vault, each an entry before and after; two people for what destroys data."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from strongroom_hub.access.stewards import stewarded_datasets
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog.models import Column, DatasetVersion
from strongroom_hub.catalog.rules import unknown_dataset
from strongroom_hub.control.context import Context
from strongroom_hub.control.permissions import may
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.keys import rules
from strongroom_hub.keys.models import Shred
from strongroom_hub.keys.rules import ShredState
from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict

OPERATOR = "operator"
_GONE = (
    select(Shred)
    .where(
        Shred.dataset == bindparam("dataset"),
        Shred.version == bindparam("version"),
        col(Shred.state).in_(rules.GONE),
    )
    .order_by(col(Shred.entry))
)
_ACTIONS = {"rotate": Action.KEY_ROTATE, "rekey": Action.KEY_REKEY, "destroy": Action.KEY_DESTROY}


def operate(writer: AuditWriter, context: Context, operation: str, **about: Any) -> dict[str, Any]:
    """Have the vault rotate, rekey or destroy, or say how its keys are; what it did. Raises Problem.

    `about`: `dataset` and `version` (rekey of one), `generation` (destroy). The order is an entry before it is given,
    and its outcome is another one.
    """
    if operation == "status":
        return context.vault.key_operation(context.tickets.keys(operation))
    thing = f"{about['dataset']}@{about['version']}" if about.get("dataset") else about.get("generation") or "keys"
    entry = Entry(action=_ACTIONS[operation], actor=OPERATOR, object=thing, detail={"stage": "ordered"})
    writer.transact(lambda tx: tx.record(entry))
    try:
        done = context.vault.key_operation(context.tickets.keys(operation, **about))
    except Problem as problem:
        _outcome(writer, _ACTIONS[operation], thing, {"stage": "failed", "problem": problem.slug})
        raise
    _outcome(writer, _ACTIONS[operation], thing, {"stage": "done", **done})
    return done


def _outcome(writer: AuditWriter, action: Action, thing: str, detail: dict[str, Any]) -> int:
    return writer.transact(lambda tx: tx.record(Entry(action=action, actor=OPERATOR, object=thing, detail=detail)))


def ask(
    writer: AuditWriter,
    context: Context,
    *,
    actor: str,
    dataset: str,
    version: int,
    columns: list[str] | None,
    why: str,
) -> dict[str, Any]:
    """Ask for columns or a version to be destroyed. Raises Problem 403, 404 or 422."""
    _check_may(context, actor, dataset)

    def work(tx: Tx) -> Shred:
        if tx.session.get(DatasetVersion, (dataset, version)) is None:
            raise unknown_dataset(f"{dataset}@{version}")
        rules.check_wish(why, columns, _columns(tx.session, dataset, version))
        shred = Shred(
            id=secrets.token_hex(8),
            state=ShredState.OPEN,
            dataset=dataset,
            version=version,
            columns=columns,
            why=why.strip(),
            asked_by=actor,
            asked_at=context.clock(),
            entry=-1,
        )
        shred.entry = _record(tx, shred, actor, "asked")
        tx.session.add(shred)
        return shred

    return _as_json(context, writer.transact(work), actor)


def decide(
    writer: AuditWriter, context: Context, *, actor: str, shred_id: str, verdict: Verdict, comment: str
) -> dict[str, Any]:
    """Reject, withdraw, or approve: from then on nothing of it is read, and the vault removes the keys.

    Raises Problem 403, 404, 409; 503 where the vault is away: approving again then has it removed.
    """

    def work(tx: Tx) -> Shred:
        shred = tx.session.get(Shred, shred_id)
        if shred is None:
            raise Problem(404, "unknown-shred", "No such shredding", "Nobody asked for it.", next="Look at the list.")
        _check_may(context, actor, shred.dataset)
        rules.check_decision(ShredState(shred.state), shred.asked_by, actor, verdict)
        if shred.state == ShredState.OPEN:
            shred.state, shred.decided_by, shred.decided_at = rules.TRANSITIONS[verdict], actor, context.clock()
            shred.decided_entry = _record(tx, shred, actor, f"{verdict}", comment=comment)
            tx.session.add(shred)
        return shred

    shred = writer.transact(work)
    return _as_json(context, shred if shred.state != ShredState.APPROVED else _carry_out(writer, context, shred), actor)


def _carry_out(writer: AuditWriter, context: Context, shred: Shred) -> Shred:
    order = context.tickets.keys(
        "shred",
        dataset=shred.dataset,
        version=shred.version,
        columns=shred.columns,
        asked_by=shred.asked_by,
        agreed_by=shred.decided_by,
        why=shred.why,
        entry=shred.decided_entry,
        at=iso_or_none(shred.decided_at),
    )
    removed = context.vault.key_operation(order)["removed"]

    def work(tx: Tx) -> Shred:
        found = tx.session.get(Shred, shred.id)
        assert found is not None  # noqa: S101 - shreds are never removed
        found.state = ShredState.DONE
        digest = hashlib.sha256(order.encode()).hexdigest()
        found.done_entry = _record(tx, found, "system:vault", "done", removed=removed, order=digest)
        tx.session.add(found)
        return found

    return writer.transact(work)


def shreds(context: Context, *, actor: str) -> list[dict[str, Any]]:
    """Those of datasets that the caller looks after, newest first."""
    with context.reading() as session:
        found = session.exec(select(Shred).order_by(col(Shred.entry).desc())).all()
    return [_as_json(context, one, actor) for one in found if _looks_after(context, actor, one.dataset)]


def gone(session: Session, dataset: str, version: int, columns: Iterable[str]) -> dict[str, Shred]:
    """Which of these columns were shredded, and by what."""
    found = session.exec(_GONE, params={"dataset": dataset, "version": version}).all()
    return {
        column: next(one for one in found if one.columns is None or column in one.columns)
        for column in columns
        if any(one.columns is None or column in one.columns for one in found)
    }


def refusal(shred: Shred, column: str) -> Problem:
    """The answer to whoever asks for what is gone."""
    return Problem(
        410,
        "shredded",
        "This data was destroyed",
        f"{column} of {shred.dataset} version {shred.version} was shredded on {iso_or_none(shred.decided_at)}, "
        f"asked for by {shred.asked_by}, agreed to by {shred.decided_by}, entry {shred.decided_entry}.",
        why=(f"reason given: {shred.why}",),
        next="It cannot be brought back. Use another column or another version.",
    )


def _columns(session: Session, dataset: str, version: int) -> list[str]:
    query = select(Column.name).where(Column.dataset == dataset, Column.version == version)
    return list(session.exec(query.order_by(col(Column.position))).all())


def _looks_after(context: Context, actor: str, dataset: str) -> bool:
    if actor == OPERATOR:
        return True
    user = actor.removeprefix("user:")
    return may(context, user, "administer", "policy") or dataset in stewarded_datasets(
        context, user=user, action="approve-access"
    )


def _check_may(context: Context, actor: str, dataset: str) -> None:
    if not _looks_after(context, actor, dataset):
        raise Problem(
            403,
            "not-permitted",
            "You do not look after this dataset",
            f"Its stewards and administrators decide whether anything of {dataset} is destroyed.",
            next="Ask one of them.",
        )


def _record(tx: Tx, shred: Shred, actor: str, stage: str, **more: Any) -> int:
    detail = {"shred": shred.id, "stage": stage, "columns": shred.columns, "why": shred.why, **more}
    thing = f"{shred.dataset}@{shred.version}"
    return tx.record(Entry(action=Action.KEY_SHRED, actor=actor, object=thing, detail=detail))


def _as_json(context: Context, shred: Shred, actor: str) -> dict[str, Any]:
    state = ShredState(shred.state)
    return {
        "id": shred.id,
        "state": shred.state,
        "dataset": shred.dataset,
        "version": shred.version,
        "columns": shred.columns,
        "why": shred.why,
        "asked_by": shred.asked_by,
        "asked_at": iso(shred.asked_at),
        "entry": shred.entry,
        "decided_by": shred.decided_by,
        "decided_at": iso_or_none(shred.decided_at),
        "decided_entry": shred.decided_entry,
        "done_entry": shred.done_entry,
        "proof": _proof(context, shred.done_entry),
        "may": {
            "decide": rules.can_decide(state, shred.asked_by, actor, Verdict.APPROVE),
            "withdraw": rules.can_decide(state, shred.asked_by, actor, Verdict.WITHDRAW),
        },
    }


def _proof(context: Context, index: int | None) -> dict[str, Any] | None:
    """Which keys the vault removed, and the hash of the order that it keeps: out of the verified entry."""
    found = None if index is None else reader.entry(context.engine, index)
    return None if found is None else {name: found.fields["detail"][name] for name in ("removed", "order")}
