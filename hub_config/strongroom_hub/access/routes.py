"""Routes of reads, access requests and grants: thin."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from strongroom_hub.access import discovery, pages, reads, service, standing, training
from strongroom_hub.catalog import changes
from strongroom_hub.catalog.pages import profile as profile_of
from strongroom_hub.control.callers import Caller, Ctx, Writer, require_operator
from strongroom_hub.control.session import Person

internal = APIRouter()
public = APIRouter()
Name = Annotated[str, Field(max_length=128)]
Columns = Annotated[list[Name], Field(max_length=4096)]
Text = Annotated[str, Field(max_length=10_000)]


class Read(BaseModel):
    kernel: Name
    cell: int | None = None
    """The begin entry of the cell that reads."""
    dataset: Name
    version: Annotated[int, Field(ge=1)] | None = None
    columns: Columns | None = None
    synthetic: bool = False
    """The synthetic twin instead of the data."""
    stream: bool = False
    """In batches."""


class VaultsWord(BaseModel):
    receipt: Annotated[str, Field(max_length=100_000)]
    """Signed with the vault's receipt key, which is who calls."""


class NewRequest(BaseModel):
    dataset: Name
    columns: Columns | None = None
    purpose: Text
    days: int
    prepared: int | None = None
    """The entry of the cell whose code prepared it; None: the person wrote it."""


class NewDecision(BaseModel):
    verdict: Literal["approve", "deny"]
    days: int | None = None
    columns: Columns | None = None
    masks: dict[Name, Name] = Field(default_factory=dict)
    comment: Text = ""


class Revocation(BaseModel):
    reason: Text = ""


class PassedCourse(BaseModel):
    user: Annotated[str, Field(min_length=1, max_length=64)]
    course: Annotated[str, Field(max_length=64)]
    passed: date


@internal.post("/training", status_code=201, dependencies=[Depends(require_operator)])
def record_training(body: PassedCourse, context: Ctx, writer: Writer) -> dict[str, Any]:
    return training.record(writer, context, user=body.user, course=body.course, passed=body.passed)


@internal.get("/training", dependencies=[Depends(require_operator)])
def list_training(context: Ctx, user: Annotated[str | None, Query(max_length=64)] = None) -> dict[str, Any]:
    return {"training": training.records(context, user)}


@internal.post("/reads")
def read(body: Read, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    wanted = reads.Wanted(body.kernel, body.cell, body.dataset, body.version, body.columns, body.synthetic, body.stream)
    return reads.read(writer, context, caller, wanted)


@internal.post("/reads/standing")
def standing_reads(body: VaultsWord, context: Ctx) -> dict[str, Any]:
    entries = context.receipts.read_standing(body.receipt)
    return {"ended": {str(entry): problem.as_json() for entry, problem in standing.ended(context, entries).items()}}


@internal.post("/reads/ended")
def end_read(body: VaultsWord, context: Ctx, writer: Writer) -> dict[str, Any]:
    return {"entry": standing.record_end(writer, context, context.receipts.read_end(body.receipt))}


@internal.post("/vault-starts")
def vault_started(body: VaultsWord, context: Ctx, writer: Writer) -> dict[str, int]:
    return {"interrupted": standing.record_start(writer, context, context.receipts.read_start(body.receipt))}


@internal.post("/abandoned-drafts")
def abandoned_drafts(body: VaultsWord, context: Ctx, writer: Writer) -> dict[str, list[bool]]:
    return {"removed": changes.abandon(writer, context.receipts.read_abandoned(body.receipt))}


@internal.get("/catalog")
def catalog(context: Ctx, caller: Caller) -> dict[str, Any]:
    return {"datasets": discovery.catalog(context, user=caller.user, project=caller.project)}


@internal.get("/catalog/{namespace}/{name}/profile")
def profile(namespace: str, name: str, context: Ctx, caller: Caller, version: int | None = None) -> dict[str, Any]:
    dataset = f"{namespace}/{name}"
    discovery.check_known(context, dataset, version, user=caller.user, project=caller.project)
    return profile_of(context, dataset, version)


@internal.post("/access-requests", status_code=201)
def submit(body: NewRequest, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    return service.submit(
        writer,
        context,
        caller,
        dataset=body.dataset,
        columns=body.columns,
        purpose=body.purpose,
        days=body.days,
        prepared=body.prepared,
    )


@internal.get("/access-requests")
def own_requests(context: Ctx, caller: Caller) -> dict[str, Any]:
    return {"access_requests": pages.own_requests(context, caller)}


@internal.post("/access-requests/{request}/withdraw")
def withdraw(request: str, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    return service.withdraw(writer, context, caller, request)


@public.get("/access-requests")
def stewarded_requests(context: Ctx, person: Person, state: Literal["open", "all"] = "open") -> dict[str, Any]:
    found = pages.stewarded_requests(context, user=person.user, only_open=state == "open")
    return {"access_requests": found}


@public.get("/access-requests/{request}")
def stewarded_request(request: str, context: Ctx, person: Person) -> dict[str, Any]:
    return pages.stewarded_request(context, user=person.user, request_id=request)


@public.post("/access-requests/{request}/decision")
def decide(request: str, body: NewDecision, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    decision = service.Decision(body.verdict == "approve", body.days, body.columns, body.masks, body.comment)
    return service.decide(writer, context, user=person.user, request_id=request, decision=decision)


@public.get("/grants")
def grants(context: Ctx, person: Person) -> dict[str, Any]:
    return {"grants": pages.stewarded_grants(context, user=person.user)}


@public.post("/grants/{grant}/revoke")
def revoke(grant: str, body: Revocation, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return service.revoke(writer, context, user=person.user, grant_id=grant, reason=body.reason)
