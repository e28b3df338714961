"""Groups that an identity provider knows people by: taken at login, at each start of a server, and when refreshed.

They are kept by person, so that a group that is gone counts for nothing from the next decision on, whichever of the
person's servers asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.context import Context
from strongroom_hub.identity import rules
from strongroom_hub.identity.models import ProvidedGroups

Via = Literal["login", "spawn", "refresh", "console"]


def take_groups(writer: AuditWriter, context: Context, user: str, names: Iterable[str], via: Via) -> tuple[str, ...]:
    """What holds from now on, `group:NAME`, sorted; an entry where it changed. Raises Problem 422 (too many)."""
    groups, left_out = rules.provided(names)
    writer.transact(lambda tx: _keep(tx, context, user, groups, left_out=left_out, via=via))
    context.policy.take_groups(user)
    return tuple(sorted(groups))


def provided_login(
    writer: AuditWriter, context: Context, *, user: str, names: Iterable[str], address: str
) -> list[str]:
    """Record the login of somebody whom an identity provider confirmed, and take their groups.

    Returns their roles. Raises Problem 403 for a name that cannot be a person's here, or 422 (too many groups).
    """
    if not rules.USER_NAME.fullmatch(user):
        raise rules.unfit_name(user)
    groups, left_out = rules.provided(names)

    def work(tx: Tx) -> None:
        detail = {"address": address, "by": "identity provider"}
        tx.record(Entry(action=Action.USER_LOGIN, actor=f"user:{user}", detail=detail))
        _keep(tx, context, user, groups, left_out=left_out, via="login")

    writer.transact(work)
    context.policy.take_groups(user)
    return context.policy.roles_of(user)


def _keep(tx: Tx, context: Context, user: str, groups: frozenset[str], *, left_out: int, via: Via) -> None:
    kept = tx.session.get(ProvidedGroups, user) or ProvidedGroups(user=user, groups=[], taken=context.clock())
    before, kept.taken = set(kept.groups), context.clock()
    if before != groups:
        kept.groups = sorted(groups)
        tx.record(
            Entry(
                action=Action.USER_GROUPS,
                actor=f"user:{user}",
                detail={
                    "via": via,
                    "added": tuple(sorted(groups - before)),
                    "removed": tuple(sorted(before - groups)),
                    "names_that_do_not_fit": left_out,
                },
            )
        )
    if before or groups:
        tx.session.add(kept)
