"""Guards are asked about what a transaction would add before it begins, so that nobody waits for the answer.

In the transaction only the basis of the answer is compared. Where something came into force, was granted or became
visible meanwhile, they are asked again: two changes that break a guard together are never both made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlmodel import Session
from strongroom_policy.catalogue import Dataset
from strongroom_policy.rows import Row

from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import LOOKS
from strongroom_hub.policies.basis import Basis, basis

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be possible with `dataset` as it says; for `user` alone where one is named, by `rows` of a grant."""

    dataset: Dataset
    user: str | None = None
    rows: tuple[Row, ...] = ()


About = Callable[[Session], Trial | None]
"""Looks and changes nothing; None where there is nothing to ask."""


class _MovedError(Exception):
    """What guards were asked about has changed since."""


def tried(writer: AuditWriter, context: Context, about: About, work: Callable[[Tx, tuple[str, ...]], T]) -> T:
    """Run `work` in a transaction with what guards rule out and would be possible, each in a sentence.

    Raises what `about`, `work` and `transact` raise.
    """
    for _ in range(LOOKS):
        context.policy.wait_for_activation()
        with context.reading() as session:
            seen = basis(session)
            broken = _broken(session, context, about)

        def unit(tx: Tx, seen: Basis = seen, broken: tuple[str, ...] = broken) -> T:
            if basis(tx.session) != seen:
                raise _MovedError
            return work(tx, broken)

        try:
            return writer.transact(unit)
        except _MovedError:
            continue
    return writer.transact(lambda tx: work(tx, _broken(tx.session, context, about)))


def _broken(session: Session, context: Context, about: About) -> tuple[str, ...]:
    trial = about(session)
    if trial is None:
        return ()
    found = context.policy.broken_guards(session, trial.dataset, user=trial.user, more=trial.rows)
    return tuple(str(one) for one in found)
