"""The verbs of projects: projects, server registrations, kernels, shown bytes, and what a workspace may be shown."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, col, select
from strongroom_policy.profiles import Profile

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.callers import ServerCaller, digest, uid_index
from strongroom_hub.control.context import Context, settle
from strongroom_hub.control.times import iso_or_none
from strongroom_hub.identity.groups import take_groups
from strongroom_hub.problems import Problem
from strongroom_hub.projects import rules
from strongroom_hub.projects.knowledge import Knowledge, knowledge
from strongroom_hub.projects.models import Cell, Kernel, Project, Server, Shown, Source, Workspace

CONSOLE_ROLES = frozenset({"role:steward", "role:admin", "role:auditor"})
_SOURCES = (
    select(Source).where(Source.workspace == bindparam("workspace")).order_by(Source.dataset, col(Source.version))
)


@dataclass(frozen=True, slots=True)
class Registration:
    """A server's start: the credential is told once, to the spawner, and kept nowhere."""

    server: str
    credential: str
    uid_index: int
    label: str
    project: Project
    profile: Profile
    profiles: tuple[Profile, ...]
    """All that the user may take there."""


# -- projects -----------------------------------------------------------------------------------------------------


def create_project(
    writer: AuditWriter,
    context: Context,
    *,
    name: str,
    title: str,
    purpose: str,
    since: datetime | None,
    until: datetime | None,
) -> None:
    """Raises Problem 422 for unfit values and 409 when the name is taken."""
    rules.check_new_project(name, since, until)

    def work(tx: Tx) -> None:
        if tx.session.get(Project, name) is not None:
            raise Problem(
                409,
                "project-exists",
                "This project is there already",
                f"Nothing was changed: {name} exists.",
                next="Choose another name.",
            )
        tx.session.add(
            Project(name=name, title=title, purpose=purpose, since=since, until=until, created=context.clock())
        )
        tx.record(
            Entry(
                action=Action.PROJECT_CREATE,
                actor="operator",
                project=name,
                object=f"project:{name}",
                detail={"title": title, "since": iso_or_none(since), "until": iso_or_none(until)},
            )
        )

    writer.transact(work)


def projects_of(context: Context, user: str) -> list[dict[str, Any]]:
    """The projects that the user can work in now, as the hub's spawn page lists them."""
    now = context.clock()
    with context.reading() as session:
        projects = session.exec(select(Project).order_by(Project.name)).all()
        labels = dict(session.exec(select(Workspace.project, Workspace.label).where(Workspace.user == user)).all())
    return [
        project_json(project)
        | {
            "label": labels.get(project.name, "public"),
            "profiles": [profile.as_json() for profile in context.policy.profiles(user, project.name)],
        }
        for project in projects
        if rules.can_work(project.since, project.until, now) and context.policy.is_member(user, project.name)
    ]


def sees_console(context: Context, user: str) -> bool:
    """Whether the hub's pages lead the user to the console: those who decide or look after something there."""
    return not CONSOLE_ROLES.isdisjoint(context.policy.roles_of(user))


def project_json(project: Project) -> dict[str, Any]:
    return {
        "name": project.name,
        "title": project.title,
        "purpose": project.purpose,
        "until": iso_or_none(project.until),
    }


def check_member(session: Session, context: Context, user: str, project: str) -> Project:
    """The project, when the user belongs to it and it is open. Raises Problem 403."""
    found = session.get(Project, project)
    if found is None or not context.policy.is_member(user, project):
        raise rules.not_a_member(project)
    rules.check_window(project, found.since, found.until, context.clock())
    return found


# -- servers ------------------------------------------------------------------------------------------------------


def register_server(
    writer: AuditWriter, context: Context, *, user: str, project: str, profile: str | None, groups: list[str]
) -> Registration:
    """Void the workspace's earlier credentials and make a new one. Raises Problem 403 or 422, which is an entry.

    `profile`: the name of the one that was chosen; without one it is the first that the user may take there.
    `groups`: of the identity provider, in its words; they count from now on, and those that are gone do not.
    """
    try:
        held = take_groups(writer, context, user, groups, "spawn")
    except Problem as problem:
        writer.append(_refused_spawn(user, project, profile, problem))
        raise
    server, credential = secrets.token_hex(8), secrets.token_urlsafe(32)

    def work(tx: Tx) -> Registration | Problem:
        try:
            found = check_member(tx.session, context, user, project)
            allowed = context.policy.profiles(user, project)
            taken = rules.choose_profile(profile, allowed)
        except Problem as problem:
            tx.record(_refused_spawn(user, project, profile, problem))
            return problem
        workspace = _workspace(tx.session, user, project)
        for old in tx.session.exec(
            select(Server).where(Server.workspace == workspace.id, col(Server.ended).is_(None))
        ).all():
            _end_server(tx, context, old, "replaced")
        assert workspace.id is not None  # noqa: S101 - flushed
        tx.session.add(
            Server(
                id=server,
                workspace=workspace.id,
                user=user,
                project=project,
                credential_sha256=digest(credential),
                started=context.clock(),
            )
        )
        tx.record(
            Entry(
                action=Action.SERVER_SPAWN,
                actor=f"user:{user}",
                project=project,
                server=server,
                label=workspace.label,
                detail={"profile": taken.as_json(), "groups": held},
            )
        )
        copy = Project.model_validate(found.model_dump())
        return Registration(server, credential, uid_index(workspace.id), workspace.label, copy, taken, allowed)

    return settle(writer.transact(work))


def _refused_spawn(user: str, project: str, profile: str | None, problem: Problem) -> Entry:
    return Entry(
        action=Action.SERVER_REFUSE_SPAWN,
        actor=f"user:{user}",
        project=project,
        detail={"problem": problem.slug, "profile": profile},
    )


def _workspace(session: Session, user: str, project: str) -> Workspace:
    found = session.exec(select(Workspace).where(Workspace.user == user, Workspace.project == project)).first()
    if found is None:
        found = Workspace(user=user, project=project)
        session.add(found)
        session.flush()
    return found


def stop_server(writer: AuditWriter, context: Context, *, server: str, reason: str) -> None:
    """Void the credential at once; stopping twice is no error. Raises Problem 404 for a server that never was."""

    def work(tx: Tx) -> None:
        found = tx.session.get(Server, server)
        if found is None:
            raise Problem(
                404,
                "unknown-server",
                "No such server",
                "No server of that id was ever registered.",
                next="Check the id.",
            )
        if found.ended is None:
            _end_server(tx, context, found, reason)

    writer.transact(work)


def _end_server(tx: Tx, context: Context, server: Server, reason: str) -> None:
    server.ended = context.clock()
    tx.session.add(server)
    for kernel in tx.session.exec(select(Kernel).where(Kernel.server == server.id, col(Kernel.ended).is_(None))).all():
        kernel.ended = server.ended
        tx.session.add(kernel)
    tx.record(
        Entry(
            action=Action.SERVER_STOP,
            actor=f"user:{server.user}",
            project=server.project,
            server=server.id,
            detail={"reason": reason},
        )
    )


# -- kernels ------------------------------------------------------------------------------------------------------


def entry_of(caller: ServerCaller, action: Action, **fields: Any) -> Entry:
    """An entry of what this server's user did."""
    return Entry(action=action, actor=caller.actor, project=caller.project, server=caller.server, **fields)


def start_kernel(
    writer: AuditWriter, context: Context, caller: ServerCaller, *, kernel: str, notebook: str | None, tier: str
) -> int:
    """Raises Problem 403 when the person may not work in the project any more, 409 when another server used the id.

    `tier`: of the kernel's box, which counts for what it may read. Problem 422 for one that is not known.
    """
    rules.check_kernel_id(kernel)
    rules.check_tier(tier)

    def work(tx: Tx) -> int:
        check_member(tx.session, context, caller.user, caller.project)
        found = tx.session.get(Kernel, kernel) or Kernel(
            id=kernel, server=caller.server, tier=tier, started=context.clock()
        )
        if found.server != caller.server:
            raise rules.kernel_taken()
        # A restart keeps its kernel's id.
        found.notebook, found.tier, found.started, found.ended = notebook, tier, context.clock(), None
        found.session_until = found.session_rule = None
        tx.session.add(found)
        label = workspace_of(tx.session, caller).label
        return tx.record(
            entry_of(caller, Action.KERNEL_START, kernel=kernel, object=notebook, label=label, detail={"tier": tier})
        )

    return writer.transact(work)


def stop_kernel(writer: AuditWriter, context: Context, caller: ServerCaller, *, kernel: str, reason: str) -> int:
    """Raises Problem 404 for a kernel that is not running in this server."""

    def work(tx: Tx) -> int:
        found = running_kernel(tx.session, caller, kernel)
        found.ended = context.clock()
        tx.session.add(found)
        return tx.record(entry_of(caller, Action.KERNEL_STOP, kernel=kernel, detail={"reason": reason}))

    return writer.transact(work)


def running_kernel(session: Session, caller: ServerCaller, kernel: str) -> Kernel:
    found = session.get(Kernel, kernel)
    if found is None or found.server != caller.server or found.ended is not None:
        raise rules.unknown_kernel()
    return found


def working_kernel(session: Session, context: Context, caller: ServerCaller, kernel: str) -> Kernel:
    """A kernel that may go on to work. Raises Problem 404 as `running_kernel`, 403 `session-over`."""
    found = running_kernel(session, caller, kernel)
    rules.check_session(found.session_until, found.session_rule, context.clock())
    return found


def check_cells(session: Session, caller: ServerCaller, cells: list[int]) -> None:
    """Only cells of this workspace can be named as the origin of a file or request. Raises Problem 422."""
    known = session.exec(select(Cell.entry).where(col(Cell.entry).in_(cells), Cell.workspace == caller.workspace)).all()
    unknown = sorted(set(cells) - set(known))
    if unknown:
        raise Problem(
            422,
            "unknown-cell",
            "Not a cell of this workspace",
            f"These entries are no cells of yours in this project: {', '.join(map(str, unknown[:10]))}.",
            next="Name the entries of the cells that made the files.",
        )


# -- shown bytes and saves ------------------------------------------------------------------------------------------


def charge(session: Session, context: Context, workspace: Workspace, count: int) -> None:
    """Add shown bytes to the workspace's day; what a `public` workspace shows is free."""
    if workspace.label == "public" or count == 0:
        return
    assert workspace.id is not None  # noqa: S101 - a stored row has its key
    day = context.clock().date().isoformat()
    shown = session.get(Shown, (workspace.id, day)) or Shown(workspace=workspace.id, day=day)
    shown.bytes += count
    session.add(shown)


def charge_display(
    writer: AuditWriter, context: Context, caller: ServerCaller, *, kernel: str | None, route: str, count: int
) -> Knowledge:
    """Charge bytes that are about to be shown and answer what may be shown now."""

    def work(tx: Tx) -> None:
        workspace = workspace_of(tx.session, caller)
        charge(tx.session, context, workspace, count)
        tx.record(
            entry_of(
                caller,
                Action.DISPLAY_SHOW,
                kernel=kernel,
                label=workspace.label,
                detail={"route": route, "bytes": count},
            )
        )

    writer.transact(work)
    return knowledge(context, caller)


def record_save(writer: AuditWriter, caller: ServerCaller, *, path: str, count: int, sha256: str) -> int:
    """The entry of a notebook's save, durable before the save is done."""

    def work(tx: Tx) -> int:
        return tx.record(
            entry_of(
                caller,
                Action.FILE_SAVE,
                object=path,
                label=workspace_of(tx.session, caller).label,
                detail={"bytes": count, "sha256": sha256},
            )
        )

    return writer.transact(work)


# -- what a workspace knows ---------------------------------------------------------------------------------------


def workspace_of(session: Session, caller: ServerCaller) -> Workspace:
    found = session.get(Workspace, caller.workspace)
    assert found is not None  # noqa: S101 - the caller was found through it
    return found


def sources_of(session: Session, workspace: int) -> list[Source]:
    """All that it has read, by dataset and version."""
    return list(session.exec(_SOURCES, params={"workspace": workspace}).all())


def source_names(sources: list[Source]) -> tuple[str, ...]:
    """`namespace/name@version`, as entries carry them."""
    return tuple(f"{source.dataset}@{source.version}" for source in sources)


def session_view(context: Context, caller: ServerCaller) -> dict[str, Any]:
    """SESSION of the wire formats."""
    known = knowledge(context, caller)
    with context.reading() as session:
        project = session.get(Project, caller.project)
        assert project is not None  # noqa: S101 - servers are registered for existing projects
        return {
            "user": caller.user,
            "project": project_json(project),
            **known.as_json(),
            "policy_version": context.policy.version,
            "mode": "one-uid" if context.instance.uids is None else "separate-uids",
        }
