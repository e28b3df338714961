"""Whom and what a policy is asked about: accounts, projects and catalogue, as the database has them."""

from __future__ import annotations

from sqlmodel import Session, select
from strongroom_policy.catalogue import Column, Dataset
from strongroom_policy.labels import Label

from strongroom_hub.catalog.kinds import kind_of
from strongroom_hub.catalog.service import active_views
from strongroom_hub.identity.models import Account
from strongroom_hub.policies.candidate import World
from strongroom_hub.policies.grants import provided_groups
from strongroom_hub.projects.models import Project, Workspace


def world(session: Session) -> World:
    groups = provided_groups(session)
    users = {*session.exec(select(Account.user)).all(), *session.exec(select(Workspace.user)).all(), *groups}
    views = active_views(session)
    datasets = [
        Dataset(
            view.name,
            Label.parse(view.version.label),
            {
                column.name: Column(kind_of(column.type), frozenset(f"tag:{tag}" for tag in column.tags))
                for column in view.columns
            },
        )
        for view in views
    ]
    return World(
        {f"user:{user}": groups.get(user, frozenset()) for user in sorted(users)},
        tuple(sorted(f"project:{name}" for name in session.exec(select(Project.name)).all())),
        tuple(datasets),
    )
