"""Who passed which course and when: what the obligation `training` is held against at each read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from sqlmodel import Session, select
from strongroom_policy.obligations import Due
from strongroom_policy.values import Training
from strongroom_policy.vocabulary import COURSE

from strongroom_hub.access.models import TrainingRecord
from strongroom_hub.access.rules import invalid_request
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.context import Context
from strongroom_hub.problems import Problem


def record(writer: AuditWriter, context: Context, *, user: str, course: str, passed: date) -> dict[str, Any]:
    """Note that a course was passed; a later day takes the place of an earlier one. Raises Problem 422."""
    if not COURSE.fullmatch(course):
        raise invalid_request(f"{course!r} is no name of a course")
    if passed > context.clock().date():
        raise invalid_request(f"{passed.isoformat()} has not been yet")

    def work(tx: Tx) -> TrainingRecord:
        held = tx.session.get(TrainingRecord, (user, course))
        if held is not None and held.passed >= passed.isoformat():
            raise invalid_request(f"{user} passed {course} on {held.passed} already")
        if held is None:
            held = TrainingRecord(user=user, course=course, passed=passed.isoformat())
        held.passed = passed.isoformat()
        tx.session.add(held)
        tx.record(
            Entry(
                action=Action.TRAINING_RECORD,
                actor="operator",
                object=f"user:{user}",
                detail={"course": course, "passed": held.passed},
            )
        )
        return held

    return _as_json(writer.transact(work))


def records(context: Context, user: str | None) -> list[dict[str, Any]]:
    """All that is noted, of one person or of everybody."""
    query = select(TrainingRecord).order_by(TrainingRecord.user, TrainingRecord.course)
    if user is not None:
        query = query.where(TrainingRecord.user == user)
    with context.reading() as session:
        return [_as_json(one) for one in session.exec(query).all()]


def check_training(session: Session, due: Due[Training | None], *, user: str, today: date, of: str) -> None:
    """Raises Problem 403 `training-missing` where a course was never passed, or so long ago that it holds no more."""
    if due.value is None:
        return
    query = select(TrainingRecord).where(TrainingRecord.user == user)
    passed = {one.course: date.fromisoformat(one.passed) for one in session.exec(query).all()}
    missing = list(_missing(due.value.courses, passed, today))
    if missing:
        raise Problem(
            403,
            "training-missing",
            "A course is missing",
            f"You may read {of} once you have passed what is named here.",
            why=(f"rule {due.rule} training {due.value}", *missing),
            next="Take the course; whoever runs this Strongroom then records it, and you can read at once.",
        )


def _missing(courses: Iterable[tuple[str, int | None]], passed: dict[str, date], today: date) -> Iterable[str]:
    for course, days in courses:
        if course not in passed:
            yield f"{course}: it is not recorded that you passed it"
        elif days is not None and today >= passed[course] + timedelta(days=days):
            yield f"{course}: passed on {passed[course].isoformat()}, which held for {days} days"


def _as_json(one: TrainingRecord) -> dict[str, Any]:
    return {"user": one.user, "course": one.course, "passed": one.passed}
