"""What the database adds to the files: grants as rows of the policy, and groups that an identity provider says."""

from __future__ import annotations

import logging
from datetime import datetime

from sqlmodel import Session, select
from strongroom_policy.grants import rows_for_derived, rows_for_grant
from strongroom_policy.rows import Row

from strongroom_hub.access.models import Grant
from strongroom_hub.access.rules import GrantState
from strongroom_hub.derived.models import DerivedDataset
from strongroom_hub.identity.models import ProvidedGroups

log = logging.getLogger("strongroom.control.policy")


def grant_rows(session: Session, now: datetime) -> list[Row]:
    """The rows of all grants that hold at `now`."""
    grants = session.exec(select(Grant).where(Grant.state == GrantState.ACTIVE, Grant.until > now)).all()
    return [*(row for grant in grants for row in rows_of(grant)), *_derived(session)]


def rows_of(grant: Grant) -> list[Row]:
    """The rows of one grant; none where it cannot be a rule."""
    return _rows(grant, grant.until)


def grant_rows_ever(session: Session) -> list[Row]:
    """The rows of all grants there ever were, each up to the moment at which it ended."""
    found: list[Row] = []
    for grant in session.exec(select(Grant)).all():
        until = min(grant.until, grant.ended_at or grant.until)
        if grant.since < until:
            found += _rows(grant, until)
    return [*found, *_derived(session)]


def _derived(session: Session) -> list[Row]:
    """What projects saved is theirs: who may read it besides is decided by its sources, at each reading."""
    return [
        rows_for_derived(dataset=one.dataset, project=one.project, user=one.user)
        for one in session.exec(select(DerivedDataset)).all()
    ]


def _rows(grant: Grant, until: datetime) -> list[Row]:
    try:
        return rows_for_grant(
            grant=grant.id,
            user=grant.user,
            project=grant.project,
            dataset=grant.dataset,
            columns=grant.columns,
            masks=grant.masks,
            since=grant.since,
            until=until,
            request=grant.request,
        )
    except ValueError as error:
        log.error("grant %s gives no rule and allows nothing: %s", grant.id, error)  # noqa: TRY400 - told, not traced
        return []


def provided_groups(session: Session) -> dict[str, frozenset[str]]:
    """`group:NAME` by login name, of everybody of whom an identity provider said something."""
    return {row.user: frozenset(row.groups) for row in session.exec(select(ProvidedGroups)).all()}
