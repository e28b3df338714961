"""Internal routes of projects, servers, kernels and cells: thin."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from strongroom_policy.vocabulary import TIERS

from strongroom_hub.control.callers import Caller, Ctx, Writer, require_hub, require_operator
from strongroom_hub.control.times import end_of_day, parse
from strongroom_hub.identity.routes import Groups
from strongroom_hub.projects import rules, service
from strongroom_hub.projects.knowledge import knowledge

internal = APIRouter()
Name = Annotated[str, Field(max_length=64)]
Place = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0, le=1 << 50)]


class NewProject(BaseModel):
    name: Name
    title: str = Field(min_length=1, max_length=200)
    purpose: str = Field(min_length=1, max_length=4000)
    since: str | None = None
    until: str | None = None
    """A plain date means that whole day."""


class NewServer(BaseModel):
    user: Name
    project: Name
    profile: Name | None = None
    groups: Groups = []
    """As the identity provider says now."""


class Reason(BaseModel):
    reason: str = Field(default="", max_length=500)


class NewKernel(BaseModel):
    kernel: Name
    notebook: Place | None = None
    tier: Name = TIERS[0]
    """Of its box; a server that does not say counts as the weakest."""


class ShownOutside(BaseModel):
    kernel: Name | None = None
    route: Literal["cell", "work"]
    bytes: Count


class SavedFile(BaseModel):
    path: Place
    bytes: Count
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def _moment(text: str | None, field: str, *, last: bool) -> datetime | None:
    if text is None or not text:
        return None
    try:
        moment = parse(text)
    except ValueError as error:
        raise rules.bad_project(f"{field}: {text!r} is not a date or time") from error
    return end_of_day(moment) if last and len(text) == len("2026-12-31") else moment


@internal.post("/projects", status_code=201, dependencies=[Depends(require_operator)])
def create_project(body: NewProject, context: Ctx, writer: Writer) -> dict[str, str]:
    service.create_project(
        writer,
        context,
        name=body.name,
        title=body.title,
        purpose=body.purpose,
        since=_moment(body.since, "since", last=False),
        until=_moment(body.until, "until", last=True),
    )
    return {"project": body.name}


@internal.get("/users/{user}/projects", dependencies=[Depends(require_hub)])
def projects_of(user: str, context: Ctx) -> dict[str, Any]:
    return {"projects": service.projects_of(context, user), "console": service.sees_console(context, user)}


@internal.post("/servers", status_code=201, dependencies=[Depends(require_hub)])
def register_server(body: NewServer, context: Ctx, writer: Writer) -> dict[str, Any]:
    made = service.register_server(
        writer, context, user=body.user, project=body.project, profile=body.profile, groups=body.groups
    )
    return {
        "server": made.server,
        "credential": made.credential,
        "uid_index": made.uid_index,
        "label": made.label,
        "project": service.project_json(made.project),
        "profile": made.profile.as_json(),
        "profiles": [profile.as_json() for profile in made.profiles],
    }


@internal.delete("/servers/{server}", status_code=204, dependencies=[Depends(require_hub)])
def stop_server(server: str, context: Ctx, writer: Writer, body: Reason | None = None) -> None:
    service.stop_server(writer, context, server=server, reason=body.reason if body else "")


@internal.get("/session")
def session(context: Ctx, caller: Caller) -> dict[str, Any]:
    return service.session_view(context, caller)


@internal.post("/kernels", status_code=201)
def start_kernel(body: NewKernel, context: Ctx, writer: Writer, caller: Caller) -> dict[str, int]:
    entry = service.start_kernel(writer, context, caller, kernel=body.kernel, notebook=body.notebook, tier=body.tier)
    return {"entry": entry}


@internal.delete("/kernels/{kernel}")
def stop_kernel(
    kernel: str, context: Ctx, writer: Writer, caller: Caller, body: Reason | None = None
) -> dict[str, int]:
    reason = body.reason if body else ""
    return {"entry": service.stop_kernel(writer, context, caller, kernel=kernel, reason=reason)}


@internal.get("/display")
def display(context: Ctx, caller: Caller) -> dict[str, Any]:
    return knowledge(context, caller).as_json()


@internal.post("/display")
def charge_display(body: ShownOutside, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    return service.charge_display(
        writer, context, caller, kernel=body.kernel, route=body.route, count=body.bytes
    ).as_json()


@internal.post("/files", status_code=201)
def record_save(body: SavedFile, writer: Writer, caller: Caller) -> dict[str, int]:
    return {"entry": service.record_save(writer, caller, path=body.path, count=body.bytes, sha256=body.sha256)}
