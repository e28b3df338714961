"""What answers of guards rest on, as a few counters: while none of them moved, an answer holds."""

from __future__ import annotations

from sqlmodel import Session, col, func, select

from strongroom_hub.access.models import Grant
from strongroom_hub.catalog.models import DatasetVersion, Relabelling, VersionState
from strongroom_hub.derived.models import DerivedDataset
from strongroom_hub.policies.models import PolicyVersion

Basis = tuple[int, ...]
_COUNTED = (
    select(func.count()).select_from(PolicyVersion),
    select(func.count()).select_from(Grant),
    select(func.count()).select_from(DerivedDataset),
    select(func.count()).select_from(DatasetVersion).where(col(DatasetVersion.activated).is_not(None)),
    select(func.count()).select_from(DatasetVersion).where(DatasetVersion.state == VersionState.RETIRED),
    select(func.count()).select_from(Relabelling).where(Relabelling.state == "done"),
)
"""One of these grows with whatever may let somebody do more; none of them ever shrinks."""


def basis(session: Session) -> Basis:
    """The counters now. Take them before what is asked about, and again where the answer is used."""
    return tuple(session.exec(one).one() for one in _COUNTED)
