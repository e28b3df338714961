"""Whom and what a policy is asked about: accounts, projects and catalogue, as the database has them."""

from __future__ import annotations

from sqlmodel import Session, select

from strongroom_hub.catalog.service import active_views
from strongroom_hub.identity.models import Account
from strongroom_hub.policies.candidate import World
from strongroom_hub.policies.grants import provided_groups
from strongroom_hub.projects.models import Project, Workspace


def world(session: Session) -> World:
    groups = provided_groups(session)
    users = {*session.exec(select(Account.user)).all(), *session.exec(select(Workspace.user)).all(), *groups}
    return World(
        {f"user:{user}": groups.get(user, frozenset()) for user in sorted(users)},
        tuple(sorted(f"project:{name}" for name in session.exec(select(Project.name)).all())),
        tuple(view.known for view in active_views(session)),
    )
