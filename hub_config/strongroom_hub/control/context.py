"""What every verb of the control service may lean on: database, policy in force, signer, clock and the vault's door.

The audit writer is not among it on purpose: a verb that writes takes it as an argument of its own, so that a route
which was not given a writer cannot change anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Engine
from sqlmodel import Session

from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.push import Pusher
from strongroom_hub.audit.witnessing import Witnessing
from strongroom_hub.audit.words import WordIndex
from strongroom_hub.boxes.rates import Bounds
from strongroom_hub.config import Instance
from strongroom_hub.control.policykeeper import PolicyKeeper
from strongroom_hub.control.tickets import ReceiptReader, TicketSigner
from strongroom_hub.control.vaultdoor import VaultDoor
from strongroom_hub.problems import Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    instance: Instance
    engine: Engine
    policy: PolicyKeeper
    tickets: TicketSigner
    receipts: ReceiptReader
    vault: VaultDoor
    log_keys: LogKeys
    clock: Callable[[], datetime]
    bounds: Bounds
    witnessing: Witnessing
    words: WordIndex | None = None
    """Finds text in what people typed, where the operator allows that."""
    push: Pusher | None = None
    """Where entries are sent on to a SIEM."""

    def reading(self) -> Session:
        """A session for reading only; writes go through the audit writer."""
        return Session(self.engine)

    def kernel_uid(self, uid_index: int) -> int | None:
        """The host uid of a workspace's kernels; None where everything runs under one uid."""
        return None if self.instance.uids is None else self.instance.uids.first_server + uid_index


def settle(outcome: T | Problem) -> T:
    """Raise the refusal that a transaction answered with.

    A verb that refuses *and* records the refusal returns the Problem from its transaction, so that the entry is
    committed; raising inside would undo it.
    """
    if isinstance(outcome, Problem):
        raise outcome
    return outcome
