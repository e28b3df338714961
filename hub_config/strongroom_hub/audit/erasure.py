"""Erasing what a person typed: two people decide, the person's key goes, the log stays and still verifies.

The leaf keeps the ciphertext's hash and a salted commitment. With the key gone both are noise; the search words that
were made of the texts go in the same transaction. Then the places where a database keeps what was deleted are cleared.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Engine, delete, func
from sqlmodel import col, select

from strongroom_hub.audit import reader, rules, words
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.models import LogErasure, LogPayload, LogPayloadKey
from strongroom_hub.audit.rules import ErasureState
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.context import Context
from strongroom_hub.control.permissions import check_may_look_after
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict

_LOOK = "what is erased from the audit log"


def ask(writer: AuditWriter, context: Context, *, user: str, person: str, why: str) -> dict[str, Any]:
    """Ask for the erasure of all texts of `person` (`user:NAME`). Raises Problem 403, 404, 409 or 422."""
    _check_person(context, user, person)
    rules.check_erasure_reason(why)

    def work(tx: Tx) -> LogErasure:
        key = tx.session.exec(select(LogPayloadKey).where(LogPayloadKey.person == person)).first()
        if key is None:
            raise _nothing_to_erase(person)
        if tx.session.exec(
            select(LogErasure).where(LogErasure.person == person, LogErasure.state == ErasureState.OPEN)
        ).first():
            raise Problem(
                409,
                "erasure-open",
                "This is asked for already",
                f"An erasure of the texts of {person} awaits a decision.",
                next="Decide on that one.",
            )
        erasure = LogErasure(
            id=secrets.token_hex(8),
            person=person,
            subject=key.subject,
            state=ErasureState.OPEN,
            why=why.strip(),
            asked_by=f"user:{user}",
            asked_at=context.clock(),
        )
        detail = {"erasure": erasure.id, "subject": key.subject, "why": erasure.why}
        erasure.entry = tx.record(
            Entry(action=Action.ERASURE_REQUEST, actor=erasure.asked_by, object=person, detail=detail)
        )
        tx.session.add(erasure)
        return erasure

    return erasure_json(writer.transact(work), f"user:{user}")


def decide(
    writer: AuditWriter, context: Context, *, user: str, erasure_id: str, verdict: Verdict, comment: str
) -> dict[str, Any]:
    """Approve, which erases at once and for good, reject or withdraw. Raises Problem 403, 404 or 409."""
    actor = f"user:{user}"
    check_may_look_after(context, user, _LOOK)

    def work(tx: Tx) -> LogErasure:
        erasure = tx.session.get(LogErasure, erasure_id)
        if erasure is None:
            raise Problem(404, "unknown-erasure", "No such erasure", "Nobody asked for it.", next="Look at the list.")
        rules.check_open(ErasureState(erasure.state), erasure.decided_by)
        rules.check_decider(erasure.asked_by, actor, verdict)
        _check_person(context, user, erasure.person)
        erasure.state, erasure.decided_by = rules.TRANSITIONS[verdict], actor
        erasure.decided_at = context.clock()
        detail: dict[str, Any] = {"erasure": erasure.id, "subject": erasure.subject, "asked_by": erasure.asked_by}
        if verdict is Verdict.APPROVE:
            action = Action.ERASURE_CARRY_OUT
            detail["payloads"] = _erase(tx, erasure.subject)
        else:
            action = Action.ERASURE_REJECT if verdict is Verdict.REJECT else Action.ERASURE_WITHDRAW
            detail["comment"] = comment[:500]
        erasure.done_entry = tx.record(Entry(action=action, actor=actor, object=erasure.person, detail=detail))
        tx.session.add(erasure)
        return erasure

    return erasure_json(writer.transact(work), actor)


def _check_person(context: Context, user: str, person: str) -> None:
    rules.check_erasure_is_on(context.instance.audit.erasure)
    check_may_look_after(context, user, _LOOK)
    rules.check_not_about_oneself(person, f"user:{user}")


def _nothing_to_erase(person: str) -> Problem:
    return Problem(
        404,
        "nothing-to-erase",
        "There is nothing to erase",
        f"The log holds no text of {person}, or it was erased before.",
        next="People are named as in the log, for example user:analyst.",
    )


def _erase(tx: Tx, subject: str) -> int:
    """Delete the key; answers how many texts nobody can read any more. Ciphertexts stay: leaves name their hashes."""
    tx.session.exec(delete(LogPayloadKey).where(col(LogPayloadKey.subject) == subject))
    words.forget(tx.connection, subject)
    return tx.session.exec(select(func.count()).select_from(LogPayload).where(LogPayload.subject == subject)).one()


def erasures(context: Context, *, user: str) -> list[dict[str, Any]]:
    """All that was ever asked for, newest first. Raises Problem 403."""
    check_may_look_after(context, user, _LOOK)
    with context.reading() as session:
        found = session.exec(select(LogErasure).order_by(col(LogErasure.entry).desc())).all()
        return [erasure_json(one, f"user:{user}") for one in found]


def erasure_json(erasure: LogErasure, actor: str) -> dict[str, Any]:
    return {
        "id": erasure.id,
        "person": erasure.person,
        "state": erasure.state,
        "why": erasure.why,
        "asked_by": erasure.asked_by,
        "asked_at": iso(erasure.asked_at),
        "entry": erasure.entry,
        "decided_by": erasure.decided_by,
        "decided_at": iso_or_none(erasure.decided_at),
        "done_entry": erasure.done_entry,
        "cleared_at": iso_or_none(erasure.cleared_at),
        "may": {
            "decide": rules.can_decide(erasure.person, erasure.asked_by, actor, ErasureState(erasure.state)),
            "withdraw": erasure.state == ErasureState.OPEN and erasure.asked_by == actor,
        },
    }


def carried_out(context: Context, subject: str) -> dict[str, Any] | None:
    """The verified entry that says that the texts under this pseudonym were erased; None when none does."""
    with context.reading() as session:
        found = session.exec(
            select(LogErasure).where(LogErasure.subject == subject, LogErasure.state == ErasureState.DONE)
        ).first()
    proven = None if found is None or found.done_entry is None else reader.entry(context.engine, found.done_entry)
    if proven is None or proven.fields["action"] != Action.ERASURE_CARRY_OUT:
        return None
    return proven.fields if proven.fields["detail"]["subject"] == subject else None


def clear_up(writer: AuditWriter, context: Context) -> bool:
    """Make the database forget deleted keys for good, where that was not done since the last erasure.

    Repeated by the housekeeper until it succeeds: somebody may be reading what has to go. Answers whether it did so.
    """
    with context.reading() as session:
        waiting = session.exec(
            select(LogErasure.id).where(LogErasure.state == ErasureState.DONE, col(LogErasure.cleared_at).is_(None))
        ).all()
    if not waiting or not _forget_deleted(context.engine):
        return False

    def work(tx: Tx) -> None:
        for erasure_id in waiting:
            erasure = tx.session.get(LogErasure, erasure_id)
            if erasure is not None:
                erasure.cleared_at = context.clock()
                tx.session.add(erasure)

    writer.transact(work)
    return True


def _forget_deleted(engine: Engine) -> bool:
    """Empty what the database keeps beside its rows. SQLite: free pages are zeroed (`secure_delete`), the WAL is cut
    to nothing. PostgreSQL: the table is written anew; its own WAL and its backups live as long as its operator keeps
    them.
    """
    if engine.dialect.name != "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM FULL log_payload_keys")
        return True
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute("PRAGMA query_only = OFF")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        busy, left, _ = cursor.fetchone() or (1, 1, 0)
        return not busy and not left
    finally:
        raw.close()
